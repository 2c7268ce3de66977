"""No test is timed, and neither is an example of a property: machines are slow at times."""

from importlib.machinery import SourceFileLoader

import pytest
from hypothesis import settings

settings.register_profile("untimed", deadline=None)
settings.load_profile("untimed")

_PATH_STATS = SourceFileLoader.path_stats


@pytest.fixture(autouse=True)
def _pythons_own_loader(monkeypatch):
    """A run in this process has modules compiled anew, from then on; each test begins without that."""
    monkeypatch.setattr(SourceFileLoader, "path_stats", _PATH_STATS)
