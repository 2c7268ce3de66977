"""Which files are mapped into this process: libraries, wherever the system found them, and data that native code maps."""

from contextlib import suppress
from pathlib import Path

_REMOVED = " (deleted)"


def mapped() -> frozenset[str]:
    """Their absolute paths; none where the system has no /proc. What is removed meanwhile has no path."""
    found = set[str]()
    with suppress(OSError):
        text = Path("/proc/self/maps").read_text(encoding="utf-8", errors="surrogateescape")
        for line in text.splitlines():
            _, slash, rest = line.partition("/")
            if slash and not rest.endswith(_REMOVED):
                found.add(slash + rest)
    return frozenset(found)
