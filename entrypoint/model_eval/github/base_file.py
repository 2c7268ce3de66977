"""A file as another commit has it, asked of GitHub's git database.

By trees and not by `contents`: there a file that is not in the commit and a repository that the token
may not see have the same answer, 404. Here every answer but a listing is an error, and a file is not
there only where a whole listing does not have it.
"""

import base64
import posixpath
from collections.abc import Callable

import requests
from github import Auth, Github, GithubException
from github.GitTreeElement import GitTreeElement
from github.Repository import Repository
from urllib3.util.retry import Retry

from model_eval.errors import BaseSpecError
from model_eval.github.said import said
from model_eval.settings import Settings

RETRY = Retry(
    total=4,
    backoff_factor=1,
    status_forcelist=(429, 500, 502, 503, 504),
    raise_on_status=False,
)
"""Reading twice is harmless, so the client's own retries do."""

_TIMEOUT = 15
"""Seconds for one answer."""

Connect = Callable[[Settings], Github]


def connect(settings: Settings, *, retry: Retry = RETRY) -> Github:
    """A client that reads from the API that the settings name, with the token where there is one."""
    return Github(
        base_url=settings.api_url,
        auth=Auth.Token(settings.token) if settings.token else None,
        timeout=_TIMEOUT,
        user_agent="model-eval-action",
        retry=retry,
        lazy=True,
    )


def read_base_file(settings: Settings, path: str, *, connect: Connect = connect) -> bytes | None:
    """A file of the commit `settings.base_sha`; None where the commit has no such file.

    Args:
        settings: the repository, the commit, the API's address and the token.
        path: relative to the top of the repository.
        connect: makes the client.

    Raises:
        BaseSpecError: it cannot be said whether there is such a file, or it is none that can be read;
            the message never holds the token.
    """
    parts = posixpath.normpath(path).split("/")
    if path.startswith("/") or parts[0] == ".." or parts == ["."]:
        raise BaseSpecError(
            f"`{path}` is not a path inside of the repository",
            remedy="name the spec relative to it",
        )
    if settings.repository is None or settings.base_sha is None:
        raise BaseSpecError(
            "it is not known which commit the pull request goes into",
            remedy="set `GITHUB_REPOSITORY` and `MODEL_EVAL_BASE_SHA`",
        )
    try:
        with connect(settings) as client:
            repository = client.get_repo(settings.repository)
            return _read(repository, settings.base_sha, parts)
    except BaseSpecError:
        raise
    except Exception as error:  # noqa: BLE001 — whatever GitHub answers, nothing is known then
        # Not chained: the client's exceptions hold the request, and so the token.
        raise _refusal(error, settings) from None


def _read(repository: Repository, commit: str, parts: list[str]) -> bytes | None:
    tree = commit  # GitHub takes the commit's digest for that of its tree
    for depth, name in enumerate(parts, start=1):
        entry = _entry(repository, tree, name)
        if entry is None:
            return None
        place, last = "/".join(parts[:depth]), depth == len(parts)
        if entry.type == "commit" or entry.mode == "120000":
            kind = "a submodule" if entry.type == "commit" else "a symlink"
            raise BaseSpecError(
                f"`{place}` is {kind} in the base branch, which is not followed",
                remedy="name the spec by the path of the file itself",
            )
        if last and entry.type == "blob":
            return _content(repository, entry.sha)
        if last or entry.type != "tree":
            return None  # a folder where the file should be, or a file where a folder should be
        tree = entry.sha
    raise AssertionError("a path has a last part")


def _entry(repository: Repository, tree: str, name: str) -> GitTreeElement | None:
    listing = repository.get_git_tree(tree)
    found = next((entry for entry in listing.tree if entry.path == name), None)
    if found is None and listing.raw_data.get("truncated") is not False:
        raise BaseSpecError("GitHub lists only a part of a folder of the base branch")
    return found


def _content(repository: Repository, sha: str) -> bytes:
    blob = repository.get_git_blob(sha)
    if blob.encoding != "base64":
        raise TypeError("an answer of another encoding")
    return base64.b64decode(blob.content)


def _refusal(error: Exception, settings: Settings) -> BaseSpecError:
    where = f"`{settings.repository}` at `{settings.api_url}`"
    if isinstance(error, GithubException):
        words = said(error, settings)
        why = f"GitHub answers {error.status}{f': {words}' if words else ''}"
    elif isinstance(error, requests.RequestException):
        why = f"GitHub cannot be reached: {type(error).__name__}"
    else:
        why = f"GitHub's answer cannot be read: {type(error).__name__}"
    return BaseSpecError(f"the base branch of {where} cannot be read: {why}")
