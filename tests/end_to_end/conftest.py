"""Fixtures of the end-to-end tests."""

from end_to_end.action.engine import image
from end_to_end.github_api.rig import github_api, github_rig

__all__ = ["github_api", "github_rig", "image"]
