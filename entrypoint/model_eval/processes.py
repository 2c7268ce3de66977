"""Which processes this one is the parent of, and that none of them is left behind."""

import os
import signal
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

_PR_SET_PDEATHSIG = 1
_PR_SET_CHILD_SUBREAPER = 36

_ROUNDS = 100
"""So often it is looked for more: what always starts another is faster than who looks."""


def children() -> frozenset[int]:
    """The processes that this one is the parent of; none where the system has no /proc."""
    found = set[int]()
    with suppress(OSError):
        for name in os.listdir("/proc"):  # noqa: PTH208
            if name.isdigit() and _parent(name) == os.getpid():
                found.add(int(name))
    return frozenset(found)


def die_with_parent() -> None:
    """Asks Linux to end this process with its parent, however that ends."""
    _prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)


@contextmanager
def none_left_behind() -> Iterator[None]:
    """At its end all processes are killed that have come to this one, by whatever started them.

    Linux is asked to give it those whose own parent is gone, which no session of their own hides.
    """
    before = children()
    _prctl(_PR_SET_CHILD_SUBREAPER, 1)
    try:
        yield
    finally:
        for _ in range(_ROUNDS):
            left = children() - before
            for process in left:
                with suppress(OSError):
                    os.kill(process, signal.SIGKILL)
                    os.waitpid(process, 0)  # then its children come
            if not left:
                break
        _prctl(_PR_SET_CHILD_SUBREAPER, 0)


def _parent(process: str) -> int | None:
    try:
        # Behind the name, which may hold anything: the state, and the parent.
        return int(Path("/proc", process, "stat").read_bytes().rpartition(b")")[2].split()[1])
    except (OSError, IndexError, ValueError):  # it has ended
        return None


def _prctl(option: int, value: int) -> None:
    import ctypes

    with suppress(OSError, AttributeError):
        ctypes.CDLL(None).prctl(option, value)
