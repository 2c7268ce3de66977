"""Nobody loosens their own gate: the action asks GitHub for the base branch's spec, and believes it."""

import json
import shutil
from pathlib import Path

import pytest

from end_to_end.action.test_action import PROBE, check_out, run, runner, write_project
from model_eval.report import from_json

__all__ = ["runner"]
pytestmark = [pytest.mark.container, pytest.mark.node]

SPEC = "examples/digits/model-eval.yaml"


@pytest.fixture
def pull_request(runner, github_api):
    """Opens a pull request into a commit with these files; `runner` is its job."""
    runner.environment |= github_api.environment | {"MODEL_EVAL_PUBLISH_NETWORK": "host"}
    for variable in ("MODEL_EVAL_TOKEN", "MODEL_EVAL_PULL_REQUEST"):
        del runner.environment[variable]
    runner.environment["TEST_TOKEN"] = github_api.token

    def open_into(files):
        base = {"sha": github_api.add_files(files)}
        runner.event = {"pull_request": {"number": github_api.pull_request, "base": base}}

    return open_into


def spec_of(runner, path=SPEC):
    return (runner.workspace / path).read_text()


def loosen(runner, path=SPEC):
    spec = runner.workspace / path
    assert spec.read_text().count("{metric: accuracy, min: 0.95}") == 1
    spec.write_text(spec.read_text().replace("accuracy, min: 0.95", "accuracy, min: 0.5"))


def written(result):
    return from_json(Path(result.outputs["report"]).read_bytes())


def test_a_spec_that_stays_passes(runner, image, pull_request):
    pull_request({SPEC: spec_of(runner)})
    result = run(runner, image)
    assert result.outputs["verdict"] == "pass", result.log
    assert written(result).loosened == ()
    assert not [note for note in written(result).notes if "base branch" in note]
    assert "in the base branch: found" in result.step("base").log
    left = [path.name for path in runner.temp.glob("model-eval.*")]
    assert left == [Path(result.outputs["output-dir"]).name]


def test_what_is_loosened_fails_until_it_is_allowed(runner, image, pull_request, github_api):
    pull_request({SPEC: spec_of(runner)})
    loosen(runner)
    result = run(runner, image)
    assert (result.outputs["verdict"], result.outputs["exit-code"]) == ("fail", "1"), result.log
    (error,) = result.annotations("error")
    assert error.properties["file"] == SPEC
    assert error.properties["title"] == "model-eval: loosened"
    (comment,) = github_api.comments()
    assert "| `gate accuracy: min` | `0.95` | `0.5`  |" in comment["body"]
    result = run(runner, image, allow_loosening="true")
    assert result.conclusion == "success", result.log
    assert len(result.annotations("warning")) == 1
    (comment,) = github_api.comments()
    assert "**Loosened** against the base branch's spec (allowed)" in comment["body"]


def test_a_base_branch_without_the_spec_is_said(runner, image, pull_request):
    pull_request({"README.md": "nothing here"})
    result = run(runner, image)
    assert result.outputs["verdict"] == "pass", result.log
    assert "the base branch has no such spec" in written(result).notes[0]


@pytest.mark.parametrize("status", [401, 403, 404, 500])
def test_a_refusal_is_no_pass(runner, image, pull_request, github_api, status):
    pull_request({SPEC: spec_of(runner)})
    github_api.fail(status, "No", path="git/", times=9)
    result = run(runner, image)
    assert (result.outputs["verdict"], result.outputs["exit-code"]) == ("error", "4")
    assert [(step.name, step.outcome) for step in result.steps] == [
        ("prepare", "success"),
        ("base", "failure"),
        ("restore", "skipped"),
        ("evaluate", "skipped"),
        ("publish", "success"),
        ("keep", "skipped"),
        ("cleanup", "success"),
        ("verdict", "skipped"),
    ]
    (error,) = result.annotations("error")
    assert f"cannot be read: GitHub answers {status}: No" in error.data
    assert github_api.token not in result.log + result.summary
    (comment,) = github_api.comments()
    assert "Nothing was judged" in comment["body"]


def test_a_wrong_base_spec_is_an_error(runner, image, pull_request):
    pull_request({SPEC: spec_of(runner).replace("accuracy", "acuracy")})
    result = run(runner, image, comment="false")
    assert (result.outputs["verdict"], result.outputs["exit-code"]) == ("error", "2"), result.log
    assert "the base branch's spec is wrong" in result.annotations("error")[0].data


def test_what_is_no_pull_request_asks_nothing(runner, image, pull_request, github_api):
    pull_request({})
    runner.event = {}
    loosen(runner)
    result = run(runner, image, comment="false")
    assert result.outputs["verdict"] == "pass", result.log
    assert not [one for one in github_api.requests if "/git/" in one.path]


@pytest.mark.parametrize("script", ["", "state=", "state=maybe"])
def test_a_step_that_does_not_say_is_no_pass(runner, image, script):
    """As if the container had ended with 0 and said nothing."""
    said = f'echo "{script}" >>"$GITHUB_OUTPUT"\n' if script else "exit 0\n"
    (runner.action / "entrypoint/host/base.sh").write_text(said)
    result = run(runner, image, comment="false")
    assert (result.outputs["verdict"], result.outputs["exit-code"]) == ("error", "4")
    (error,) = result.annotations("error")
    assert "it is not known whether the base branch has this spec" in error.data


def test_the_token_does_not_reach_the_evaluation(runner, image, pull_request, github_api):
    pull_request({SPEC: spec_of(runner)})
    write_project(runner, PROBE)
    result = run(runner, image)
    assert result.outputs["verdict"] == "pass", result.log
    line = next(line for line in result.log.splitlines() if line.startswith("PROBE "))
    found = json.loads(line.removeprefix("PROBE "))
    assert not [name for name in found["environment"] if name.startswith(("MODEL_EVAL", "GITHUB"))]
    assert found["network"] == "ConnectionRefusedError"
    assert found["temp"] == [Path(result.outputs["output-dir"]).name]
    assert github_api.token not in result.log


def test_a_checkout_in_a_folder(runner, image, pull_request):
    """`path:` of actions/checkout: the spec's path in the repository is a shorter one."""
    pull_request({SPEC: spec_of(runner)})
    source = runner.workspace / "source, of it"
    source.mkdir()
    shutil.move(runner.workspace / "examples", source)
    shutil.move(runner.workspace / ".git", source)
    loosen(runner, f"source, of it/{SPEC}")
    result = run(runner, image, spec=f"source, of it/{SPEC}", comment="false")
    assert result.outputs["verdict"] == "fail", result.log
    assert [one.what for one in written(result).loosened] == ["gate accuracy: min"]


def test_a_submodule_does_not_hide_the_spec(runner, image, pull_request):
    """A pull request can make the spec's folder a submodule: the outer repository still counts."""
    pull_request({SPEC: spec_of(runner)})
    check_out(runner.workspace / "examples/digits")
    loosen(runner)
    assert run(runner, image, comment="false").outputs["verdict"] == "fail"
