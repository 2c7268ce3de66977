"""Gives memory back that the C library keeps in the holes between small things.

Blocks of a few megabytes come and go while the ledger's small pieces stay, each in the hole of a
block that went: the next block does not fit there, and memory grows as if every block were kept.
"""

import ctypes
from collections.abc import Callable, Iterator, Mapping
from functools import cache, wraps
from typing import ParamSpec

from model_eval.heldout.batch import Column

_EVERY = 64 << 20
"""Bytes of samples between two times; those that are in use are not touched."""

Arguments = ParamSpec("Arguments")
Chunks = Iterator[Mapping[str, Column]]


def trimming(chunks: Callable[Arguments, Chunks]) -> Callable[Arguments, Chunks]:
    """Decorates `Reader.chunks`: the holes are given back now and then."""

    @wraps(chunks)
    def trimmed(*args: Arguments.args, **kwargs: Arguments.kwargs) -> Chunks:
        given = 0
        for chunk in chunks(*args, **kwargs):
            yield chunk
            given += sum(values.nbytes for values in chunk.values())
            if given >= _EVERY:
                given = 0
                _trim()(0)

    return trimmed


@cache
def _trim() -> Callable[[int], object]:
    """Glibc's `malloc_trim`; elsewhere nothing."""
    try:
        found: Callable[[int], object] = ctypes.CDLL(None).malloc_trim
    except (AttributeError, OSError):
        return lambda _: None
    return found
