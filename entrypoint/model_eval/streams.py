"""The three streams of this process: closed ones, and ones that take nothing more."""

import io
import os
import sys
from contextlib import suppress
from typing import TextIO

_STREAMS = {0: os.O_RDONLY, 1: os.O_WRONLY, 2: os.O_WRONLY}


class _BestEffort(io.TextIOWrapper):
    """Drops what cannot be written: what is said there changes no exit status. Nobody closes it."""

    def write(self, text: str) -> int:
        with suppress(OSError, ValueError):
            super().write(text)
        return len(text)

    def flush(self) -> None:
        with suppress(OSError, ValueError):
            super().flush()

    def close(self) -> None:
        self.flush()  # code of the repository may close it, and the cause of its failing is said here


def make_ready() -> bool:
    """Opens what is closed, so that no other file gets its number, and makes stderr best effort.

    Returns:
        Whether there is a standard output.
    """
    for number, mode in _STREAMS.items():
        try:
            os.fstat(number)
        except OSError:
            os.dup2(os.open(os.devnull, mode), number)
            os.set_inheritable(number, True)
    there = sys.stdout is not None
    if not there:
        sys.stdout = os.fdopen(1, "w", closefd=False)
    if sys.stderr is sys.__stderr__:  # not where somebody has put another in its place
        raw = os.fdopen(2, "wb", closefd=False)
        sys.stderr = _BestEffort(raw, errors="backslashreplace", line_buffering=True)
    return there


def is_broken(stream: TextIO) -> bool:
    """Whether it takes nothing more; what is left in it is thrown away then."""
    try:
        stream.write("\n")
        stream.flush()
    except OSError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())
        return True
    return False
