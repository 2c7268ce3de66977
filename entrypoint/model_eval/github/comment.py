"""One comment of ours on the pull request, found again and updated in place.

The comment is known by a hidden marker at its very beginning *and* by its author. Anybody can
write the marker, and a token that may write can edit what others wrote: so a comment is touched
only where its author is the token's own identity.

Who that is only GraphQL's `viewer` says for every kind of token: `GET /user` answers 403 to the
installation tokens of apps, which is what a workflow's `GITHUB_TOKEN` is.

The client retries nothing, because creating a comment twice is not harmless: a request that
failed may have been carried out. Instead the whole operation, beginning with the search, is
repeated, and finds what an earlier attempt left.
"""

import hashlib
import re
import time
from collections.abc import Callable
from typing import Any

import requests
from github import Auth, Github, GithubException
from github.Issue import Issue
from github.IssueComment import IssueComment

from model_eval.errors import PublishError
from model_eval.github.said import message_of, said
from model_eval.settings import Settings

COMMENT_LIMIT = 65_536
"""GitHub's limit in characters; counted in UTF-8 bytes here, which are never fewer."""

ATTEMPTS = 5
PATIENCE = 300.0
"""Seconds that all attempts and the waits between them may take."""

_RATE_LIMIT_WAIT = 60.0
"""Seconds; what GitHub asks for where a rate limit comes without a time."""
_TIMEOUT = 15
"""Seconds for one answer."""
_KEY_LIMIT = 80

_RUN = re.compile(r"<!-- model-eval-run:([1-9][0-9]{0,17})\.([1-9][0-9]{0,17}) -->")

_BROKEN_CONNECTIONS = (
    requests.ConnectionError,
    requests.Timeout,
    requests.exceptions.ChunkedEncodingError,
)

Connect = Callable[[Settings], Github]


def marker(key: str) -> str:
    """The hidden first line of our comment with this key.

    A key of other characters than letters, digits, `.`, `_` and `-` is written with `-` for
    them and a digest behind, so that different keys stay different.
    """
    name = re.sub(r"[^A-Za-z0-9._]+", "-", key).strip("-")[:_KEY_LIMIT]
    if name != key or not name:
        digest = hashlib.sha256(key.encode(errors="surrogatepass")).hexdigest()[:12]
        name = f"{name}-{digest}".strip("-")
    return f"<!-- model-eval:{name} -->"


def body_limit(settings: Settings, key: str) -> int:
    """How many UTF-8 bytes `upsert_comment` takes as the body under this key."""
    return COMMENT_LIMIT - len(_hidden(settings, key))


def connect(settings: Settings, *, pause: float = 1.0) -> Github:
    """A client for the API that the settings name.

    Args:
        settings: the API's address and the token.
        pause: seconds between two writes, as GitHub asks for.
    """
    return Github(
        base_url=settings.api_url,
        auth=Auth.Token(settings.token) if settings.token else None,
        timeout=_TIMEOUT,
        user_agent="model-eval-action",
        per_page=100,
        retry=None,
        seconds_between_requests=None,
        seconds_between_writes=pause,
        lazy=True,
    )


def upsert_comment(
    settings: Settings,
    *,
    key: str,
    body: str,
    connect: Connect = connect,
    sleep: Callable[[float], None] = time.sleep,
    clock: Callable[[], float] = time.time,
) -> str:
    """Creates our comment on the pull request, or updates it where it says something else.

    What a newer run has said stays: of two pushes the first may be evaluated longer. Copies of ours, left by
    runs that raced, are deleted.

    Args:
        settings: repository, pull request, run, address and token.
        key: tells this comment from others of ours on the same pull request.
        body: Markdown, at most `body_limit(settings, key)` bytes; the marker and the run are put before it.
        connect: makes the client.
        sleep: waits so many seconds.
        clock: seconds since 1970.

    Returns:
        The comment's page.

    Raises:
        PublishError: there is no comment that says this; the message never holds the token.
    """
    text = _hidden(settings, key) + body
    size = len(text.encode(errors="replace"))
    if size > COMMENT_LIMIT:
        raise PublishError(
            f"the comment has {size} bytes, more than the {COMMENT_LIMIT} that GitHub takes",
            remedy="render the report shorter; the job summary has all of it",
        )
    if settings.token is None:
        raise PublishError(
            "there is no token to comment with",
            remedy="give the action its `token` input, or set `MODEL_EVAL_TOKEN`",
        )
    if settings.repository is None or settings.pull_request is None:
        raise PublishError(
            "there is no pull request to comment on",
            remedy="run on `pull_request`, or set `GITHUB_REPOSITORY` and `MODEL_EVAL_PULL_REQUEST`",
        )
    text = text.encode(errors="replace").decode()
    deadline = clock() + PATIENCE
    for attempt in range(1, ATTEMPTS + 1):
        try:
            return _upsert(connect(settings), settings, text=text, mark=marker(key))
        except PublishError:
            raise
        except Exception as error:  # noqa: BLE001 — whatever GitHub answers, the verdict stands
            wait = _wait(error, attempt=attempt, now=clock())
            if wait is None or attempt == ATTEMPTS or clock() + wait > deadline:
                # Not chained: the client's exceptions hold the request, and so the token.
                raise _refusal(error, settings, wait=wait or 0.0) from None
        sleep(wait)
    raise AssertionError("the last attempt returns or raises")


def _upsert(client: Github, settings: Settings, *, text: str, mark: str) -> str:
    with client:
        issue = client.get_repo(str(settings.repository)).get_issue(int(settings.pull_request or 0))
        ours = _ours(client, issue, mark)
        if not ours:
            return _page(issue.create_comment(text))
        newest = max(ours, key=_run_of)
        this = (settings.run_id or 0, settings.run_attempt)
        overtaken = settings.run_id is not None and _run_of(newest) > this
        kept = newest if overtaken else ours[0]
        if not overtaken and _plain(kept.body) != _plain(text):
            kept.edit(text)
        for copy in ours:
            if copy is not kept:
                _delete(copy)
        if overtaken:
            raise PublishError(
                f"the comment on `{settings.repository}#{settings.pull_request}` was left as it is: it is of a"
                f" newer run ({_page(kept)})",
                remedy="the job summary has what this run found",
            )
        return _page(kept)


def _hidden(settings: Settings, key: str) -> str:
    """The first lines of our comment: the marker, and the run that writes it where there is one."""
    run = f"<!-- model-eval-run:{settings.run_id}.{settings.run_attempt} -->\n"
    return f"{marker(key)}\n{run if settings.run_id is not None else ''}"


def _run_of(comment: IssueComment) -> tuple[int, int]:
    """The run that wrote a comment of ours, and its attempt; zeros where it does not say.

    A newer run has a higher number, whatever started it, and an attempt keeps that of its run.
    """
    second = _plain(comment.body).split("\n", 2)[1:2]
    found = _RUN.fullmatch(second[0]) if second else None
    return (int(found[1]), int(found[2])) if found else (0, 0)


def _page(comment: IssueComment) -> str:
    page: Any = comment.html_url
    if not isinstance(page, str) or not page:
        raise TypeError("an answer without the comment's page")
    return page


def _ours(client: Github, issue: Issue, mark: str) -> list[IssueComment]:
    """The comments that begin with the marker and that the token's identity wrote, oldest first."""
    marked = [
        comment
        for comment in issue.get_comments()
        if _plain(comment.body).partition("\n")[0] == mark
    ]
    if not marked:
        return []
    me = _login(client)
    # A comment whose author's account is gone has no user at all.
    return [comment for comment in marked if getattr(comment.user, "login", None) == me]


def _login(client: Github) -> str:
    _, answer = client.requester.graphql_query("query { viewer { login } }", {})
    login = answer["data"]["viewer"]["login"]
    if not isinstance(login, str) or not login:
        raise PublishError("GitHub does not say whose the token is")
    return login


def _plain(body: str | None) -> str:
    """What a comment says, whatever its line breaks became on the way."""
    return (body or "").replace("\r\n", "\n").rstrip()


def _delete(copy: IssueComment) -> None:
    try:
        copy.delete()
    except GithubException as error:
        if error.status != 404:  # another run was faster
            raise


def _wait(error: Exception, *, attempt: int, now: float) -> float | None:
    """Seconds until another attempt makes sense, or None where none does."""
    if isinstance(error, _BROKEN_CONNECTIONS):
        return 2.0 ** (attempt - 1)
    if not isinstance(error, GithubException):
        return None
    if _rate_limited(error):
        return _asked_for(error, now=now) or _RATE_LIMIT_WAIT * 2.0 ** (attempt - 1)
    if error.status >= 500:
        return _asked_for(error, now=now) or 2.0 ** (attempt - 1)
    return None


def _rate_limited(error: GithubException) -> bool:
    headers = error.headers or {}
    if error.status == 429:
        return True
    if error.status == 403:
        message = message_of(error).lower()
        return (
            "retry-after" in headers
            or headers.get("x-ratelimit-remaining") == "0"
            or "rate limit" in message
            or "abuse" in message
        )
    # GraphQL answers 200; the client makes that a 400 with the errors in its data.
    errors = error.data.get("errors") if isinstance(error.data, dict) else None
    return isinstance(errors, list) and any(
        isinstance(one, dict) and one.get("type") == "RATE_LIMITED" for one in errors
    )


def _asked_for(error: GithubException, *, now: float) -> float | None:
    headers = error.headers or {}
    after = headers.get("retry-after", "")
    if after.isascii() and after.isdigit():
        return max(1.0, float(after))
    reset = headers.get("x-ratelimit-reset", "")
    if headers.get("x-ratelimit-remaining") == "0" and reset.isascii() and reset.isdigit():
        return max(1.0, float(reset) - now + 1.0)
    return None


def _refusal(error: Exception, settings: Settings, *, wait: float) -> PublishError:
    """The error as people read it."""
    place = f"`{settings.repository}#{settings.pull_request}`"
    if not isinstance(error, GithubException):
        if isinstance(error, requests.RequestException):
            return PublishError(
                f"GitHub cannot be reached at `{settings.api_url}`: {type(error).__name__}",
                remedy="check the runner's network and `GITHUB_API_URL`",
            )
        return PublishError(
            f"GitHub's answer about {place} cannot be read: {type(error).__name__}",
            remedy="check `GITHUB_API_URL`, and proxies on the way to it",
        )
    answer = f"({_answer(error, settings)})"
    if _rate_limited(error):
        return PublishError(
            f"GitHub's rate limit holds back the comment on {place} for {wait:.0f} s more {answer}",
            remedy="run the job again later",
        )
    if error.status == 401:
        return PublishError(
            f"GitHub does not know the token {answer}",
            remedy="pass a token that has not expired and belongs to the server at `GITHUB_API_URL`",
        )
    if error.status == 403:
        return PublishError(
            f"GitHub does not let this token comment on {place} {answer}: either the pull request"
            " comes from a fork, whose token is read-only, or the job lacks the permission",
            remedy="add `permissions: {contents: read, pull-requests: write}` to the job; for forks"
            " the job summary stands in for the comment",
        )
    if error.status in {404, 410}:
        return PublishError(
            f"there is no {place} for this token {answer}",
            remedy="check the number of the pull request, and that the token may read the repository",
        )
    return PublishError(f"GitHub refuses the comment on {place} {answer}")


def _answer(error: GithubException, settings: Settings) -> str:
    words = said(error, settings)
    return f"{error.status}: {words}" if words else str(error.status)
