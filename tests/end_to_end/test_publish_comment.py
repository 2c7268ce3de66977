"""One comment on a pull request, against GitHub's API description and a server with state."""

import logging
import socket
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from functools import partial

import pytest
import requests

from end_to_end.github_api.rig import TOKENS, GitHubApi
from model_eval.errors import PublishError
from model_eval.github import comment
from model_eval.github.comment import COMMENT_LIMIT, PATIENCE, body_limit, marker
from model_eval.settings import Settings, read_settings

pytestmark = pytest.mark.node

NOW = 1_800_000_000.0


@dataclass
class Time:
    """A clock that moves only when somebody sleeps."""

    now: float = NOW
    waits: list[float] = field(default_factory=list)

    def sleep(self, seconds: float) -> None:
        self.waits.append(seconds)
        self.now += seconds


@pytest.fixture
def time() -> Time:
    return Time()


@pytest.fixture
def settings(github_api: GitHubApi) -> Settings:
    return read_settings(github_api.environment)


Upsert = Callable[..., str]


@pytest.fixture
def upsert(settings: Settings, time: Time) -> Upsert:
    connect = partial(comment.connect, pause=0.0)

    def call(
        body: str = "verdict: pass", *, key: str = "digits", settings: Settings = settings
    ) -> str:
        return comment.upsert_comment(
            settings, key=key, body=body, connect=connect, sleep=time.sleep, clock=lambda: time.now
        )

    return call


def bodies(api: GitHubApi) -> list[str]:
    return [one["body"] for one in api.comments()]


def sent(api: GitHubApi) -> list[str]:
    return [
        f"{one.method} {one.path.partition('?')[0].rpartition('/')[2]} {one.status}"
        for one in api.requests
    ]


def refused(upsert: Upsert, **options) -> PublishError:
    with pytest.raises(PublishError) as raised:
        upsert(**options)
    return raised.value


def test_the_first_run_creates_a_comment_that_begins_with_the_marker(github_api, upsert):
    page = upsert()
    [only] = github_api.comments()
    assert only["body"] == "<!-- model-eval:digits -->\nverdict: pass"
    assert page == only["html_url"]
    assert sent(github_api) == ["GET comments 200", "POST comments 201"]


def test_the_next_run_updates_it_in_place(github_api, upsert):
    first = upsert("verdict: fail")
    assert upsert("verdict: pass") == first
    assert bodies(github_api) == ["<!-- model-eval:digits -->\nverdict: pass"]


def test_nothing_is_written_when_nothing_changed(github_api, upsert):
    first = upsert()
    github_api.requests.clear()
    assert upsert() == first
    assert sent(github_api) == ["GET comments 200", "POST graphql 200"]


def test_other_line_breaks_are_no_change(github_api, upsert):
    upsert("one\r\ntwo\n")
    github_api.requests.clear()
    upsert("one\ntwo")
    assert github_api.writes == []


def test_it_is_found_behind_more_than_a_hundred_others(github_api, upsert):
    for number in range(101):
        github_api.comment(f"remark {number}")
    upsert("verdict: fail")
    assert len(github_api.comments()) == 102
    github_api.requests.clear()
    upsert("verdict: pass")
    assert len(github_api.comments()) == 102
    assert bodies(github_api)[101] == f"{marker('digits')}\nverdict: pass"
    pages = [one.path for one in github_api.requests if one.method == "GET"]
    assert [page.partition("?")[2] for page in pages] == ["per_page=100", "page=2&per_page=100"]


@pytest.mark.parametrize("author", ["person", "owner", "app"])
def test_somebody_elses_comment_with_our_marker_is_left_alone(github_api, upsert, author):
    theirs = f"{marker('digits')}\nverdict: pass, trust me"
    github_api.comment(theirs, by=author)
    upsert("verdict: fail")
    upsert("verdict: undecided")
    assert bodies(github_api) == [theirs, f"{marker('digits')}\nverdict: undecided"]


@pytest.mark.parametrize("author", ["actions", "app", "person"])
def test_a_token_knows_its_own_comment(github_api, upsert, settings, author):
    for other in {"actions", "app", "person"} - {author}:
        github_api.comment(f"{marker('digits')}\n{other}", by=other)
    own = replace(settings, token=TOKENS[author].value)
    upsert("verdict: fail", settings=own)
    upsert("verdict: pass", settings=own)
    assert len(github_api.comments()) == 3
    assert bodies(github_api)[2] == f"{marker('digits')}\nverdict: pass"


def test_the_marker_counts_at_the_beginning_only(github_api, upsert):
    quoted = f"> {marker('digits')}\nas the bot said"
    inside = f"see\n{marker('digits')}"
    longer = f"{marker('digits')} and more"
    for body in (quoted, inside, longer):
        github_api.comment(body, by="actions")
    upsert()
    assert bodies(github_api) == [quoted, inside, longer, f"{marker('digits')}\nverdict: pass"]


def test_two_keys_are_two_comments(github_api, upsert):
    upsert("one", key="digits")
    upsert("two", key="breast cancer")
    upsert("three", key="digits")
    assert bodies(github_api) == [f"{marker('digits')}\nthree", f"{marker('breast cancer')}\ntwo"]


def test_copies_from_runs_that_raced_are_removed(github_api, upsert):
    for number in range(3):
        github_api.comment(f"{marker('digits')}\nrace {number}", by="actions")
    github_api.comment(f"{marker('digits')}\nmine", by="person")
    oldest = github_api.comments()[0]["html_url"]
    assert upsert() == oldest
    assert bodies(github_api) == [f"{marker('digits')}\nverdict: pass", f"{marker('digits')}\nmine"]


def written_by(run: int, attempt: int, body: str) -> str:
    return f"{marker('digits')}\n<!-- model-eval-run:{run}.{attempt} -->\n{body}"


def test_an_older_run_that_ends_last_leaves_what_the_newer_one_has_said(
    github_api, upsert, settings
):
    upsert("verdict: fail", settings=replace(settings, run_id=43))
    github_api.requests.clear()
    [only] = github_api.comments()
    for attempt in (1, 2):
        older = replace(settings, run_id=42, run_attempt=attempt)
        assert str(refused(upsert, body="verdict: pass", settings=older)) == (
            f"the comment on `octo/demo#{github_api.pull_request}` was left as it is: it is of a newer run"
            f" ({only['html_url']}); the job summary has what this run found"
        )
    assert github_api.writes == []
    assert bodies(github_api) == [written_by(43, 1, "verdict: fail")]


@pytest.mark.parametrize(("run", "attempt"), [(43, 1), (43, 2), (44, 1), (100, 1), (None, 1)])
def test_a_run_that_is_no_older_says_what_it_found(github_api, upsert, settings, run, attempt):
    """Also another attempt of the same run, and other jobs of the same attempt."""
    upsert("verdict: fail", settings=replace(settings, run_id=43))
    upsert("verdict: pass", settings=replace(settings, run_id=run, run_attempt=attempt))
    expected = (
        written_by(run, attempt, "verdict: pass") if run else f"{marker('digits')}\nverdict: pass"
    )
    assert bodies(github_api) == [expected]


def test_of_copies_the_one_of_the_newer_run_stays(github_api, upsert, settings):
    for run, body in ((42, "verdict: pass"), (44, "verdict: fail"), (41, "verdict: pass")):
        github_api.comment(written_by(run, 1, body), by="actions")
    refused(upsert, body="verdict: pass", settings=replace(settings, run_id=43))
    assert bodies(github_api) == [written_by(44, 1, "verdict: fail")]


def test_a_comment_that_names_no_run_is_updated(github_api, upsert, settings):
    """Of a version before, and what looks like a run further down."""
    for body in ("verdict: fail", "verdict: fail\n<!-- model-eval-run:99.1 -->"):
        github_api.comment(f"{marker('digits')}\n{body}", by="actions")
    upsert("verdict: pass", settings=replace(settings, run_id=43))
    assert bodies(github_api) == [written_by(43, 1, "verdict: pass")]


def test_a_copy_that_another_run_has_just_removed_is_no_fault(github_api, upsert):
    for number in range(2):
        github_api.comment(f"{marker('digits')}\nrace {number}", by="actions")
    github_api.fail(404, "Not Found", method="DELETE", after=True)
    upsert()
    assert bodies(github_api) == [f"{marker('digits')}\nverdict: pass"]


def test_github_enterprise_has_another_address(github_api, upsert, settings):
    enterprise = replace(settings, api_url=github_api.enterprise_url)
    for number in range(101):
        github_api.comment(f"remark {number}")
    upsert("verdict: fail", settings=enterprise)
    upsert("verdict: pass", settings=enterprise)
    assert bodies(github_api)[101:] == [f"{marker('digits')}\nverdict: pass"]


class TestRetries:
    def test_a_server_error_passes(self, github_api, upsert, time):
        github_api.fail(502, times=2)
        github_api.fail(503, method="POST", path="comments")
        upsert()
        assert bodies(github_api) == [f"{marker('digits')}\nverdict: pass"]
        assert time.waits == [1.0, 2.0, 4.0]

    def test_a_comment_whose_answer_was_lost_is_not_created_twice(self, github_api, upsert, time):
        github_api.fail(502, method="POST", path="comments", after=True)
        upsert()
        assert bodies(github_api) == [f"{marker('digits')}\nverdict: pass"]
        assert [one.method for one in github_api.writes] == ["POST"]
        assert time.waits == [1.0]

    def test_a_server_that_stays_broken(self, github_api, upsert, time):
        github_api.fail(500, times=99)
        error = refused(upsert)
        assert error.message == (
            f"GitHub refuses the comment on `octo/demo#{github_api.pull_request}` (500: Server Error)"
        )
        assert time.waits == [1.0, 2.0, 4.0, 8.0]

    @pytest.mark.parametrize("status", [403, 429])
    def test_a_rate_limit_that_says_how_long(self, github_api, upsert, time, status):
        said = "You have exceeded a secondary rate limit. Please wait a few minutes before you try again."
        github_api.fail(status, said, headers={"retry-after": "7"}, method="POST")
        upsert()
        assert len(github_api.comments()) == 1
        assert time.waits == [7.0]

    @pytest.mark.parametrize("status", [403, 429])
    def test_a_rate_limit_that_does_not_say(self, github_api, upsert, time, status):
        github_api.fail(status, "You have exceeded a secondary rate limit.", times=2)
        upsert()
        assert len(github_api.comments()) == 1
        assert time.waits == [60.0, 120.0]

    @pytest.mark.parametrize("status", [403, 429])
    def test_a_rate_limit_that_names_its_end(self, github_api, upsert, time, status):
        headers = {"x-ratelimit-remaining": "0", "x-ratelimit-reset": str(int(NOW) + 30)}
        github_api.fail(status, "API rate limit exceeded for installation ID 1.", headers=headers)
        upsert()
        assert len(github_api.comments()) == 1
        assert time.waits == [31.0]

    def test_a_rate_limit_of_graphql(self, github_api, upsert, time):
        upsert("verdict: fail")
        limited = {"errors": [{"type": "RATE_LIMITED", "message": "API rate limit exceeded"}]}
        github_api.fail(200, path="/graphql", body=limited)
        upsert()
        assert bodies(github_api) == [f"{marker('digits')}\nverdict: pass"]
        assert time.waits == [60.0]

    def test_a_rate_limit_that_is_too_long_is_not_waited_for(self, github_api, upsert, time):
        headers = {"retry-after": "3600"}
        github_api.fail(429, "You have exceeded a secondary rate limit.", headers=headers)
        error = refused(upsert)
        assert str(error) == (
            f"GitHub's rate limit holds back the comment on `octo/demo#{github_api.pull_request}` for 3600 s"
            " more (429: You have exceeded a secondary rate limit.); run the job again later"
        )
        assert time.waits == []
        assert github_api.comments() == []

    def test_all_waits_together_are_bounded(self, github_api, upsert, time):
        github_api.fail(429, "slow down", times=99)
        refused(upsert)
        assert time.waits == [60.0, 120.0]
        assert sum(time.waits) <= PATIENCE


class TestRefusals:
    @pytest.mark.parametrize("exists", [False, True])
    def test_not_permitted(self, github_api, upsert, settings, exists, time):
        if exists:
            upsert("verdict: fail")
        error = refused(upsert, settings=replace(settings, token=TOKENS["read_only"].value))
        assert error.message == (
            f"GitHub does not let this token comment on `octo/demo#{github_api.pull_request}`"
            " (403: Resource not accessible by integration): either the pull request comes from a"
            " fork, whose token is read-only, or the job lacks the permission"
        )
        assert error.remedy == (
            "add `permissions: {contents: read, pull-requests: write}` to the job; for forks the job"
            " summary stands in for the comment"
        )
        assert time.waits == []
        assert error.exit_code == 0

    def test_an_unknown_token(self, upsert, settings, time):
        error = refused(upsert, settings=replace(settings, token="ghs_expired"))
        assert str(error) == (
            "GitHub does not know the token (401: Bad credentials); pass a token that has not expired"
            " and belongs to the server at `GITHUB_API_URL`"
        )
        assert time.waits == []

    def test_no_such_pull_request(self, upsert, settings, time):
        error = refused(upsert, settings=replace(settings, pull_request=4_000_000))
        assert str(error) == (
            "there is no `octo/demo#4000000` for this token (404: Not Found); check the number of the"
            " pull request, and that the token may read the repository"
        )
        assert time.waits == []

    def test_no_such_repository(self, upsert, settings):
        error = refused(
            upsert, settings=replace(settings, repository="octo/nowhere", pull_request=1)
        )
        assert error.message == "there is no `octo/nowhere#1` for this token (404: Not Found)"

    def test_nobody_is_edited_when_graphql_does_not_say_whose_the_token_is(
        self, github_api, upsert
    ):
        github_api.comment(f"{marker('digits')}\nof somebody", by="person")
        github_api.fail(200, path="/graphql", body={"data": {"viewer": {"login": None}}})
        assert refused(upsert).message == "GitHub does not say whose the token is"
        github_api.fail(403, "no GraphQL here", path="/graphql")
        refused(upsert)
        assert github_api.writes == []

    @pytest.mark.parametrize("method", ["GET", "POST"])
    @pytest.mark.parametrize("answer", [{}, [[]], "text", 7, {"html_url": None}])
    def test_an_answer_that_is_not_about_comments(self, github_api, upsert, method, answer):
        github_api.fail(200, method=method, path="comments", body=answer)
        refused(upsert)
        assert bodies(github_api) == []

    def test_a_refused_connection(self, upsert, settings, time):
        with socket.socket() as nobody:
            nobody.bind(("127.0.0.1", 0))
            url = f"http://127.0.0.1:{nobody.getsockname()[1]}"
            error = refused(upsert, settings=replace(settings, api_url=url))
        assert str(error) == (
            f"GitHub cannot be reached at `{url}`: ConnectionError; check the runner's network and"
            " `GITHUB_API_URL`"
        )
        assert time.waits == [1.0, 2.0, 4.0, 8.0]

    def test_a_server_that_never_answers(self, upsert, settings, monkeypatch, time):
        monkeypatch.setattr(comment, "_TIMEOUT", 0.05)
        monkeypatch.setattr(comment, "Github", partial(_with_any_timeout, comment.Github))
        with socket.socket() as silent:
            silent.bind(("127.0.0.1", 0))
            silent.listen()
            url = f"http://127.0.0.1:{silent.getsockname()[1]}"
            error = refused(upsert, settings=replace(settings, api_url=url))
        assert error.message == f"GitHub cannot be reached at `{url}`: ReadTimeout"
        assert len(time.waits) == 4

    @pytest.mark.parametrize(
        ("missing", "message"),
        [
            ("token", "there is no token to comment with"),
            ("repository", "there is no pull request to comment on"),
            ("pull_request", "there is no pull request to comment on"),
        ],
    )
    def test_without(self, github_api, upsert, settings, missing, message):
        assert refused(upsert, settings=replace(settings, **{missing: None})).message == message
        assert github_api.requests == []


class TestSize:
    @pytest.mark.parametrize("run", [None, 1, 12_345_678_901])
    def test_the_longest_body(self, github_api, upsert, settings, run):
        settings = replace(settings, run_id=run)
        upsert("x" * body_limit(settings, "digits"), settings=settings)
        assert len(bodies(github_api)[0]) == COMMENT_LIMIT

    @pytest.mark.parametrize("letter", ["x", "é", "😀"])
    def test_a_longer_body_is_not_sent(self, github_api, upsert, settings, letter):
        limit = body_limit(settings, "digits")
        body = letter * (limit // len(letter.encode()) + 1)
        size = COMMENT_LIMIT - limit + len(body.encode())
        assert refused(upsert, body=body).message == (
            f"the comment has {size} bytes, more than the 65536 that GitHub takes"
        )
        assert github_api.requests == []

    def test_half_a_surrogate_pair_becomes_a_question_mark(self, github_api, upsert):
        upsert("name \ud800 of a file")
        assert bodies(github_api) == [f"{marker('digits')}\nname ? of a file"]


@pytest.mark.parametrize("status", [401, 403, 404, 422, 429, 500])
def test_the_token_is_in_no_message_and_in_no_log(
    github_api, upsert, settings, status, caplog, capfd
):
    caplog.set_level(logging.DEBUG)
    github_api.fail(status, f"you sent {settings.token}", times=99)
    error = refused(upsert)
    seen = [str(error), repr(error), repr(error.faults), caplog.text, *capfd.readouterr()]
    chain = (
        [error.__cause__, error.__context__]
        if not error.__suppress_context__
        else [error.__cause__]
    )
    assert error.__cause__ is None
    assert all(settings.token not in text for text in [*seen, *map(repr, chain)])
    assert "***" in str(error) or status == 401


def test_the_rig_notices_requests_that_are_not_githubs(github_api, settings):
    headers = {"authorization": f"Bearer {settings.token}"}
    comments = f"{github_api.url}/repos/octo/demo/issues/{github_api.pull_request}/comments"
    wrong = requests.post(comments, json={"text": "no body"}, headers=headers, timeout=30)
    unknown = requests.get(
        f"{github_api.url}/repos/octo/demo/pulls/x/nowhere", headers=headers, timeout=30
    )
    assert (wrong.status_code, unknown.status_code) == (422, 404)
    assert len(github_api.violations) == 2
    github_api.violations.clear()


def _with_any_timeout(client, **options):
    """The client wants whole seconds; a test wants fewer than one."""
    timeout = options.pop("timeout")
    made = client(**options)
    made.requester._Requester__timeout = timeout
    return made
