"""What the environment says, read once: where GitHub is, where its files are, and the token."""

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from model_eval.errors import UsageError

API_URL = "https://api.github.com"
SERVER_URL = "https://github.com"
PULL_REQUEST_EVENTS = frozenset({"pull_request", "pull_request_target"})

_REPOSITORY = re.compile(r"(?!\.\.?/)[A-Za-z0-9_.-]+/(?!\.\.?$)[A-Za-z0-9_.-]+")
_SHA = re.compile(r"[0-9a-f]{40}|[0-9a-f]{64}")
_NUMBER = re.compile(r"[1-9][0-9]{0,17}")
_TOKEN = re.compile(r"[!-~]+")
_EVENT_LIMIT = 32 * 1024 * 1024
"""Bytes; GitHub's own limit on a payload is 25 MB."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Settings:
    """The environment of a run; outside of GitHub Actions nearly all of it is None.

    Attributes:
        step_summary: the file whose Markdown becomes the job summary.
        output: the file that takes the step's outputs.
        api_url: the REST API's root, without a trailing slash; GitHub Enterprise has its own.
        repository: `owner/name`.
        sha: the commit that triggered the run, 40 or 64 hex digits.
        token: never printed, not even by `repr`.
        pull_request: the number of the pull request that this run belongs to.
        comment_key: what tells this comment from others of ours on the same pull request.
        base_sha: the commit that the pull request goes into, 40 or 64 hex digits.
        head_sha: the pull request's own last commit; `sha` is its merge into the base branch, or of that branch.
    """

    in_actions: bool = False
    step_summary: Path | None = None
    output: Path | None = None
    api_url: str = API_URL
    server_url: str = SERVER_URL
    repository: str | None = None
    run_id: int | None = None
    run_attempt: int = 1
    sha: str | None = None
    token: str | None = field(default=None, repr=False)
    pull_request: int | None = None
    comment_key: str | None = None
    base_sha: str | None = None
    head_sha: str | None = None

    @property
    def run_url(self) -> str | None:
        """The page of this run, for a link; None outside of GitHub Actions."""
        if self.repository is None or self.run_id is None:
            return None
        page = f"{self.server_url}/{self.repository}/actions/runs/{self.run_id}"
        return f"{page}/attempts/{self.run_attempt}"


def read_settings(environment: Mapping[str, str]) -> Settings:
    """Reads the variables that GitHub Actions sets, and our own `MODEL_EVAL_*`.

    A variable that is empty counts as not set. `MODEL_EVAL_PULL_REQUEST` names the pull request;
    without it the event's payload does, and its head; a payload that cannot be read names none.

    Raises:
        UsageError: a variable has a value that it cannot have.
    """
    event_name = environment.get("GITHUB_EVENT_NAME") or None
    event_path = _path(environment, "GITHUB_EVENT_PATH")
    pull_request = _number(environment, "MODEL_EVAL_PULL_REQUEST")
    head_sha = _matching(environment, "MODEL_EVAL_HEAD_SHA", _SHA, "40 or 64 hex digits")
    if pull_request is None and event_path is not None and event_name in PULL_REQUEST_EVENTS:
        pull_request, head_sha = _pull_request_of(event_path)
    return Settings(
        in_actions=environment.get("GITHUB_ACTIONS") == "true",
        step_summary=_path(environment, "GITHUB_STEP_SUMMARY"),
        output=_path(environment, "GITHUB_OUTPUT"),
        api_url=_url(environment, "GITHUB_API_URL", default=API_URL),
        server_url=_url(environment, "GITHUB_SERVER_URL", default=SERVER_URL),
        repository=_matching(environment, "GITHUB_REPOSITORY", _REPOSITORY, "owner/name"),
        run_id=_number(environment, "GITHUB_RUN_ID"),
        run_attempt=_number(environment, "GITHUB_RUN_ATTEMPT") or 1,
        sha=_matching(environment, "GITHUB_SHA", _SHA, "40 or 64 hex digits"),
        token=_token(environment, "MODEL_EVAL_TOKEN") or _token(environment, "GITHUB_TOKEN"),
        pull_request=pull_request,
        comment_key=environment.get("MODEL_EVAL_COMMENT_KEY") or None,
        base_sha=_matching(environment, "MODEL_EVAL_BASE_SHA", _SHA, "40 or 64 hex digits"),
        head_sha=head_sha,
    )


def _path(environment: Mapping[str, str], name: str) -> Path | None:
    value = environment.get(name)
    if value and "\0" in value:
        raise UsageError(f"`{name}` is not a path", remedy=f"correct or unset `{name}`")
    return Path(value) if value else None


def _number(environment: Mapping[str, str], name: str) -> int | None:
    text = _matching(environment, name, _NUMBER, "a whole number from 1")
    return None if text is None else int(text)


def _matching(
    environment: Mapping[str, str], name: str, pattern: re.Pattern[str], meaning: str
) -> str | None:
    value = environment.get(name)
    if not value:
        return None
    if not pattern.fullmatch(value):
        raise UsageError(
            f"`{name}` is {_shown(value)}, which is not {meaning}",
            remedy=f"correct or unset `{name}`",
        )
    return value


def _url(environment: Mapping[str, str], name: str, *, default: str) -> str:
    value = environment.get(name)
    if not value:
        return default
    remedy = f"correct or unset `{name}`; {default} is the default"
    try:
        parts = urlsplit(value)
        usable = parts.scheme in {"http", "https"} and bool(parts.hostname) and parts.port != 0
    except ValueError:
        usable = False
    if not usable or not _TOKEN.fullmatch(value):
        raise UsageError(f"`{name}` is not an http(s) address", remedy=remedy)
    if parts.username is not None or parts.query or parts.fragment:
        # Not shown: what stands before an @ may well be a secret.
        raise UsageError(f"`{name}` has more than a host and a path", remedy=remedy)
    return value.rstrip("/")


def _token(environment: Mapping[str, str], name: str) -> str | None:
    value = environment.get(name, "").strip()
    if value and not _TOKEN.fullmatch(value):
        raise UsageError(
            f"`{name}` holds characters that no token has",
            remedy="pass the token alone, without quotes or line breaks",
        )
    return value or None


def _pull_request_of(event_path: Path) -> tuple[int | None, str | None]:
    """The number and the head in a webhook's payload; None for each that is not what it should be."""
    try:
        if not event_path.is_file() or event_path.stat().st_size > _EVENT_LIMIT:
            return None, None
        payload: Any = json.loads(event_path.read_bytes())
    except (OSError, ValueError, RecursionError):
        return None, None
    number = _inside(payload, "pull_request", "number")
    head = _inside(payload, "pull_request", "head", "sha")
    known = isinstance(number, int) and _NUMBER.fullmatch(str(number))  # True is no number
    is_commit = isinstance(head, str) and _SHA.fullmatch(head)
    return number if known else None, head if is_commit else None


def _inside(payload: Any, *keys: str) -> Any:
    for key in keys:
        payload = payload.get(key) if isinstance(payload, dict) else None
    return payload


def _shown(value: str) -> str:
    line = ascii(value)[1:-1].replace("`", "'")
    return f"`{line[:60]}…`" if len(line) > 60 else f"`{line}`"
