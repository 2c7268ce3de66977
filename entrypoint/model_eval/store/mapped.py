"""Which files are mapped into this process: libraries, wherever the system found them, and data that native code maps."""

from contextlib import suppress
from pathlib import Path

REMOVED = " (deleted)"
"""Ends the path of a file that is gone, or in whose place is another."""

_MEMORY = ("/memfd:", "/dev/shm/", "/dev/zero", "/SYSV", "/anon_hugepage", "/[aio]")  # noqa: S108
"""What the system shows like one, and is in memory alone."""


def mapped() -> frozenset[str]:
    """Their absolute paths; none where the system has no /proc. Behind what is removed meanwhile is `REMOVED`."""
    found = set[str]()
    with suppress(OSError):
        text = Path("/proc/self/maps").read_text(encoding="utf-8", errors="surrogateescape")
        for line in text.splitlines():
            _, slash, rest = line.partition("/")
            path = slash + rest
            if path and not (path.endswith(REMOVED) and path.startswith(_MEMORY)):
                found.add(path)
    return frozenset(found)
