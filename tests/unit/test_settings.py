"""The environment becomes settings, or one clear error."""

import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from model_eval.errors import UsageError
from model_eval.settings import Settings, read_settings

ACTIONS = {
    "GITHUB_ACTIONS": "true",
    "GITHUB_STEP_SUMMARY": "/run/summary",
    "GITHUB_OUTPUT": "/run/output",
    "GITHUB_WORKSPACE": "/work",
    "GITHUB_API_URL": "https://ghe.example.com/api/v3/",
    "GITHUB_SERVER_URL": "https://ghe.example.com",
    "GITHUB_REPOSITORY": "octo/demo.git",
    "GITHUB_RUN_ID": "1234567890123",
    "GITHUB_RUN_ATTEMPT": "2",
    "GITHUB_SHA": "0" * 40,
    "GITHUB_EVENT_NAME": "push",
    "GITHUB_EVENT_PATH": "/run/event.json",
    "GITHUB_TOKEN": "ghs_job",
}


def event(tmp_path: Path, content: str | bytes, name: str = "pull_request") -> dict[str, str]:
    file = tmp_path / "event.json"
    file.write_bytes(content if isinstance(content, bytes) else content.encode())
    return {"GITHUB_EVENT_NAME": name, "GITHUB_EVENT_PATH": str(file)}


def test_outside_of_actions_there_are_defaults():
    assert read_settings({}) == Settings()
    assert Settings().api_url == "https://api.github.com"
    assert Settings().run_url is None


def test_empty_variables_count_as_not_set():
    names = [*ACTIONS, "MODEL_EVAL_TOKEN", "MODEL_EVAL_HEAD_SHA"]
    assert read_settings(dict.fromkeys(names, "")) == Settings()


def test_in_actions():
    settings = read_settings(ACTIONS)
    assert settings == Settings(
        in_actions=True,
        step_summary=Path("/run/summary"),
        output=Path("/run/output"),
        api_url="https://ghe.example.com/api/v3",
        server_url="https://ghe.example.com",
        repository="octo/demo.git",
        run_id=1234567890123,
        run_attempt=2,
        sha="0" * 40,
        token="ghs_job",
    )
    assert settings.run_url == (
        "https://ghe.example.com/octo/demo.git/actions/runs/1234567890123/attempts/2"
    )


def test_our_own_token_comes_first_and_is_never_shown():
    settings = read_settings({**ACTIONS, "MODEL_EVAL_TOKEN": " ghs_input\n"})
    assert settings.token == "ghs_input"
    assert "ghs_" not in repr(settings)


@pytest.mark.parametrize("name", ["pull_request", "pull_request_target"])
def test_the_event_names_the_pull_request(tmp_path, name):
    payload = json.dumps({"number": 8, "pull_request": {"number": 7}})
    assert read_settings(event(tmp_path, payload, name)).pull_request == 7


def test_the_explicit_number_comes_first(tmp_path):
    environment = event(tmp_path, '{"pull_request": {"number": 7}}')
    assert read_settings({**environment, "MODEL_EVAL_PULL_REQUEST": "12"}).pull_request == 12


HEAD = "0123456789abcdef" * 2 + "01234567"


def test_the_event_names_the_pull_requests_own_commit(tmp_path):
    """`GITHUB_SHA` is a merge that is nowhere on the pull request."""
    payload = {"pull_request": {"number": 7, "head": {"sha": HEAD}}}
    environment = event(tmp_path, json.dumps(payload))
    assert read_settings(environment).head_sha == HEAD
    for other in ("", HEAD[1:], HEAD.upper(), 7, None, {}):
        payload["pull_request"]["head"]["sha"] = other
        settings = read_settings(event(tmp_path, json.dumps(payload)))
        assert (settings.pull_request, settings.head_sha) == (7, None)


def test_the_explicit_commit_is_that_of_the_explicit_number(tmp_path):
    payload = {"pull_request": {"number": 7, "head": {"sha": HEAD}}}
    environment = event(tmp_path, json.dumps(payload)) | {"MODEL_EVAL_PULL_REQUEST": "12"}
    assert read_settings(environment).head_sha is None
    assert read_settings({**environment, "MODEL_EVAL_HEAD_SHA": "a" * 40}).head_sha == "a" * 40
    with pytest.raises(UsageError, match="`MODEL_EVAL_HEAD_SHA` is `main`, which is not 40 or 64"):
        read_settings({"MODEL_EVAL_HEAD_SHA": "main"})


def test_other_events_name_none(tmp_path):
    environment = event(tmp_path, '{"pull_request": {"number": 7}}', "workflow_run")
    assert read_settings(environment).pull_request is None


@pytest.mark.parametrize(
    "content",
    [
        "",
        "null",
        "[]",
        "7",
        "{}",
        '{"pull_request": null}',
        '{"pull_request": []}',
        '{"pull_request": {}}',
        '{"pull_request": {"number": "7"}}',
        '{"pull_request": {"number": 7.0}}',
        '{"pull_request": {"number": true}}',
        '{"pull_request": {"number": 0}}',
        '{"pull_request": {"number": -7}}',
        '{"pull_request": {"number": NaN}}',
        '{"pull_request": {"number": ' + "9" * 30 + "}}",
        '{"pull_request": {"number": ' + "9" * 5000 + "}}",
        '{"pull_request": ' * 100_000,
        "[" * 100_000,
        b"\xff\xfe\x00",
        b"\x00" * 100,
    ],
    ids=range(20),
)
def test_a_hostile_event_names_none(tmp_path, content):
    assert read_settings(event(tmp_path, content)).pull_request is None


def test_an_event_file_that_is_missing_or_none_names_none(tmp_path):
    for path in (tmp_path / "missing", tmp_path, tmp_path / ("x" * 5000)):
        environment = {"GITHUB_EVENT_NAME": "pull_request", "GITHUB_EVENT_PATH": str(path)}
        assert read_settings(environment).pull_request is None


def test_a_huge_event_is_not_read(tmp_path):
    environment = event(tmp_path, '{"pull_request": {"number": 7}}')
    with Path(environment["GITHUB_EVENT_PATH"]).open("r+b") as file:
        file.truncate(33 * 1024 * 1024)
    assert read_settings(environment).pull_request is None


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("GITHUB_REPOSITORY", "octo", "`GITHUB_REPOSITORY` is `octo`, which is not owner/name"),
        ("GITHUB_REPOSITORY", "o/d/x", "`GITHUB_REPOSITORY` is `o/d/x`, which is not owner/name"),
        (
            "GITHUB_REPOSITORY",
            "../demo",
            "`GITHUB_REPOSITORY` is `../demo`, which is not owner/name",
        ),
        (
            "GITHUB_REPOSITORY",
            "octo/..",
            "`GITHUB_REPOSITORY` is `octo/..`, which is not owner/name",
        ),
        ("GITHUB_REPOSITORY", "o/d\n", "`GITHUB_REPOSITORY` is `o/d\\n`, which is not owner/name"),
        (
            "GITHUB_RUN_ID",
            "x" * 99,
            f"`GITHUB_RUN_ID` is `{'x' * 60}…`, which is not a whole number from 1",
        ),
        (
            "GITHUB_RUN_ATTEMPT",
            "0",
            "`GITHUB_RUN_ATTEMPT` is `0`, which is not a whole number from 1",
        ),
        ("GITHUB_SHA", "`HEAD`", "`GITHUB_SHA` is `'HEAD'`, which is not 40 or 64 hex digits"),
        (
            "MODEL_EVAL_PULL_REQUEST",
            "-1",
            "`MODEL_EVAL_PULL_REQUEST` is `-1`, which is not a whole number from 1",
        ),
        (
            "MODEL_EVAL_PULL_REQUEST",
            "٣",
            "`MODEL_EVAL_PULL_REQUEST` is `\\u0663`, which is not a whole number from 1",
        ),
        ("GITHUB_API_URL", "api.github.com", "`GITHUB_API_URL` is not an http(s) address"),
        ("GITHUB_API_URL", "file:///etc/passwd", "`GITHUB_API_URL` is not an http(s) address"),
        ("GITHUB_API_URL", "https://", "`GITHUB_API_URL` is not an http(s) address"),
        ("GITHUB_API_URL", "https://x:99999", "`GITHUB_API_URL` is not an http(s) address"),
        ("GITHUB_API_URL", "https://[x", "`GITHUB_API_URL` is not an http(s) address"),
        ("GITHUB_API_URL", "https://x/\n", "`GITHUB_API_URL` is not an http(s) address"),
        ("GITHUB_API_URL", "https://me:pw@x", "`GITHUB_API_URL` has more than a host and a path"),
        ("GITHUB_API_URL", "https://x/?a=b", "`GITHUB_API_URL` has more than a host and a path"),
        (
            "GITHUB_SERVER_URL",
            "https://x/#a",
            "`GITHUB_SERVER_URL` has more than a host and a path",
        ),
        ("GITHUB_OUTPUT", "a\0b", "`GITHUB_OUTPUT` is not a path"),
        ("GITHUB_TOKEN", "a b", "`GITHUB_TOKEN` holds characters that no token has"),
        ("MODEL_EVAL_TOKEN", "gh\ns_x", "`MODEL_EVAL_TOKEN` holds characters that no token has"),
        ("MODEL_EVAL_TOKEN", "ghs_é", "`MODEL_EVAL_TOKEN` holds characters that no token has"),
    ],
)
def test_a_value_that_cannot_be(name, value, message):
    with pytest.raises(UsageError) as raised:
        read_settings({**ACTIONS, name: value})
    assert raised.value.message == message


@given(value=st.text(max_size=80), name=st.sampled_from([*ACTIONS, "MODEL_EVAL_PULL_REQUEST"]))
def test_whatever_a_variable_holds_there_are_settings_or_a_usage_error(name, value):
    environment = {**ACTIONS, "GITHUB_EVENT_NAME": "pull_request", name: value}
    try:
        read_settings(environment)
        named = name
    except UsageError as error:
        named = error.message
    assert name in named


def test_the_commit_of_the_base_branch():
    assert read_settings({"MODEL_EVAL_BASE_SHA": "a" * 40}).base_sha == "a" * 40
    assert read_settings({"MODEL_EVAL_BASE_SHA": ""}).base_sha is None
    with pytest.raises(UsageError, match="`MODEL_EVAL_BASE_SHA` is `main`, which is not 40 or 64"):
        read_settings({"MODEL_EVAL_BASE_SHA": "main"})
