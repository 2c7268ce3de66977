"""The base branch's version of a file, against GitHub's API description and a server with state."""

from dataclasses import replace
from functools import partial

import pytest
from urllib3.util.retry import Retry

from end_to_end.github_api.rig import TOKENS
from model_eval.cli import main
from model_eval.errors import BaseSpecError
from model_eval.github import base_file
from model_eval.settings import read_settings

pytestmark = pytest.mark.node

FILES = {
    "model-eval.yaml": "version: 1\n",
    "models/digits/model-eval.yaml": "version: 1\nname: ä\n",
    "models/link.yaml": "../model-eval.yaml",
    "odd %3F #name/a b.yaml": "odd",
}
MODES = {"models/link.yaml": "120000"}
NO_PAUSE = Retry(
    total=2,
    backoff_factor=0,
    status_forcelist=base_file.RETRY.status_forcelist,
    raise_on_status=False,
)


@pytest.fixture
def settings(github_api):
    sha = github_api.add_files(FILES, modes=MODES)
    return read_settings(github_api.environment | {"MODEL_EVAL_BASE_SHA": sha})


read = partial(base_file.read_base_file, connect=partial(base_file.connect, retry=NO_PAUSE))


def refused(settings, path="model-eval.yaml"):
    with pytest.raises(BaseSpecError) as caught:
        read(settings, path)
    if settings.token:
        assert settings.token not in str(caught.value)
    assert caught.value.exit_code == 4
    return caught.value.message


@pytest.mark.parametrize("path", ["model-eval.yaml", "models/digits/model-eval.yaml", "odd %3F #name/a b.yaml"])  # fmt: skip
def test_a_file_is_read(settings, path):
    assert read(settings, path) == FILES[path].encode()


def test_a_path_is_normalised(settings):
    assert read(settings, "./models//digits/../../model-eval.yaml") == b"version: 1\n"


def test_a_token_that_may_only_read_is_enough(settings):
    settings = replace(settings, token=TOKENS["read_only"].value)
    assert read(settings, "model-eval.yaml") == b"version: 1\n"


def test_an_enterprise_server(github_api, settings):
    assert read(replace(settings, api_url=github_api.enterprise_url), "model-eval.yaml")


@pytest.mark.parametrize(
    "path",
    [
        "other.yaml",
        "models/other.yaml",
        "no/such/folder.yaml",
        "models/digits",
        "model-eval.yaml/x",
    ],
)
def test_what_is_not_in_the_commit_is_absent(settings, path):
    assert read(settings, path) is None


def test_a_repository_that_cannot_be_seen_is_not_an_absent_file(settings):
    where = f"`octo/secret` at `{settings.api_url}`"
    assert refused(replace(settings, repository="octo/secret")) == (
        f"the base branch of {where} cannot be read: GitHub answers 404: Not Found"
    )


def test_a_commit_that_is_not_there_is_not_an_absent_file(settings):
    assert "GitHub answers 404" in refused(replace(settings, base_sha="f" * 40))


@pytest.mark.parametrize("path", ["git/trees", "git/blobs"])
@pytest.mark.parametrize("status", [401, 403, 404, 409])
def test_a_refusal_is_not_an_absent_file(github_api, settings, path, status):
    github_api.fail(status, f"No, {settings.token}", path=path)
    assert refused(settings) == (
        f"the base branch of `octo/demo` at `{settings.api_url}` cannot be read: "
        f"GitHub answers {status}: No, ***"
    )


@pytest.mark.parametrize("status", [429, 500, 502, 503])
def test_what_passes_by_is_asked_again(github_api, settings, status):
    github_api.fail(status, path="git/trees", times=2)
    assert read(settings, "model-eval.yaml") == b"version: 1\n"
    github_api.fail(status, path="git/trees", times=3)
    assert f"GitHub answers {status}: Server Error" in refused(settings)


@pytest.mark.parametrize(
    "body",
    [
        {},
        [],
        {"sha": "a" * 40, "url": "u", "tree": []},
        {"sha": "a" * 40, "url": "u", "tree": [], "truncated": True},
    ],
)
def test_half_a_listing_is_not_an_absent_file(github_api, settings, body):
    github_api.fail(200, path="git/trees", body=body)
    assert refused(settings)


def test_an_answer_that_is_none_is_not_an_empty_file(github_api, settings):
    github_api.fail(200, path="git/blobs", body={"sha": "a" * 40, "url": "u"})
    assert "cannot be read" in refused(settings)


def test_nobody_answers(settings):
    assert "GitHub cannot be reached: ConnectionError" in refused(
        replace(settings, api_url="http://127.0.0.1:9")
    )


def test_links_are_not_followed(github_api, settings):
    assert refused(settings, "models/link.yaml") == (
        "`models/link.yaml` is a symlink in the base branch, which is not followed"
    )
    entry = {"path": "other", "mode": "160000", "type": "commit", "sha": "a" * 40}
    listing = {"sha": "a" * 40, "url": "u", "tree": [entry], "truncated": False}
    github_api.fail(200, path="git/trees", body=listing)
    assert refused(settings, "other/spec.yaml") == (
        "`other` is a submodule in the base branch, which is not followed"
    )


@pytest.mark.parametrize("path", ["/etc/passwd", "../x", "a/../../x", "", "."])
def test_what_is_no_path_in_the_repository(settings, path):
    assert refused(settings, path) == f"`{path}` is not a path inside of the repository"


def test_without_a_commit_nothing_is_asked(settings):
    message = "it is not known which commit the pull request goes into"
    assert refused(replace(settings, base_sha=None)) == message
    assert refused(replace(settings, repository=None)) == message


@pytest.fixture
def cli(github_api, settings, tmp_path, monkeypatch):
    variables = github_api.environment | {
        "GITHUB_ACTIONS": "true",
        "GITHUB_OUTPUT": str(tmp_path / "outputs"),
        "MODEL_EVAL_BASE_SHA": settings.base_sha,
    }
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    return lambda path: main(["base-spec", "--output", str(tmp_path / "spec.yaml"), "--", path])


def test_the_command_says_found_or_absent(cli, tmp_path, capsys):
    assert cli("other.yaml") == 0
    assert "\nabsent\n" in (tmp_path / "outputs").read_text()
    assert not (tmp_path / "spec.yaml").exists()
    assert cli("model-eval.yaml") == 0
    assert "\nfound\n" in (tmp_path / "outputs").read_text()
    assert (tmp_path / "spec.yaml").read_text() == "version: 1\n"
    assert capsys.readouterr().out == (
        "other.yaml in the base branch: absent\nmodel-eval.yaml in the base branch: found\n"
    )


def test_the_command_fails_closed(cli, github_api, tmp_path, capsys):
    github_api.fail(403, "Resource not accessible by integration")
    assert cli("model-eval.yaml") == 4
    assert not (tmp_path / "outputs").exists()
    assert not (tmp_path / "spec.yaml").exists()
    (line,) = capsys.readouterr().out.splitlines()
    assert line.startswith("::error title=model-eval::the base branch of `octo/demo` at ")
    assert "`permissions: {contents: read}`" in line


def test_an_answer_that_cannot_be_passed_on_is_an_error(cli, tmp_path):
    (tmp_path / "outputs").mkdir()
    assert cli("model-eval.yaml") == 4
