"""What GitHub says where it refuses, fit to be shown."""

from typing import Any

from github import GithubException

from model_eval.settings import Settings

_LIMIT = 200


def message_of(error: GithubException) -> str:
    """GitHub's message as it came; empty where it says nothing."""
    data: Any = error.data
    message = data.get("message") if isinstance(data, dict) else None
    return message if isinstance(message, str) else ""


def said(error: GithubException, settings: Settings) -> str:
    """GitHub's message in one line, without the token; empty where it says nothing."""
    text = " ".join(message_of(error).split())
    # Before it is cut: half of a token is too much of one.
    text = text.replace(settings.token, "***") if settings.token else text
    return text.replace("`", "'")[:_LIMIT]
