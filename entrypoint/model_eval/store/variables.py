"""Which environment variables a measurement depends on: those that torch's libraries read, and those that its code asks for.

Nobody is told of `os.environ` as of files, so that mapping learns to tell: its class becomes one that notes the
name and does all else as before. A variable counts with what it held before any code of the repository ran, because what that
code sets follows from the code. What native code asks the C library for is not heard: of that the
key holds the names that begin in one of `NUMERIC`.
"""

import os
import sys
from collections.abc import Callable, Iterator, Mapping
from hashlib import sha256
from types import FrameType
from typing import Any

NUMERIC = (
    *("ATEN_", "TORCH", "PYTORCH_", "NPY_"),
    *("DNNL_", "ONEDNN_", "MKL_", "OPENBLAS_"),
    *("NVIDIA_TF32", "CUBLAS", "CUDNN_", "DISABLE_ADDMM_CUDA_LT"),
    *("ROCBLAS_", "HIPBLAS", "MIOPEN_", "HSA_OVERRIDE"),
    "LD_",  # which libraries all these are
)
"""Such as `ONEDNN_DEFAULT_FPMATH_MODE`, with which float32 is computed as bfloat16."""

_THREADS = "_NUM_THREADS"
"""How many threads there are can change the last digits of sums alone, and is in no key."""

EVERY = "="
"""In place of a name, which holds none: all that there are."""


def numeric_variables(environ: Mapping[str, str]) -> Mapping[str, str]:
    """Those that torch and the libraries below it read themselves, with their values."""
    return {
        name: value
        for name, value in environ.items()
        if name.startswith(NUMERIC) and not name.endswith(_THREADS)
    }


def digest_of(name: str, environ: Mapping[str, str]) -> str | None:
    """SHA-256 of a variable's value, or of all names and values; None where it is not set."""
    if name == EVERY:
        text = "\0".join(f"{one}={environ[one]}" for one in sorted(environ))
    elif name in environ:
        text = environ[name]
    else:
        return None
    return sha256(text.encode("utf-8", "surrogateescape")).hexdigest()


class Asked:
    """The variables that some code asks for in Python, from `listen` on.

    Args:
        environ: all of them, before that code runs.
        counts: whether a frame is that code's, or was called by it.
    """

    def __init__(
        self, environ: Mapping[str, str], counts: Callable[[FrameType | None], bool]
    ) -> None:
        self._before = dict(environ)
        self._counts = counts
        self._names: set[str] = set()

    def listen(self) -> None:
        """Begins, in the place of another one."""
        _Telling.listener = self
        for one in (os.environ, os.environb):
            one.__class__ = _Telling

    def hear(self, name: str, frame: FrameType | None) -> None:
        """Takes in that a frame asks for a variable, or for `EVERY` one."""
        if name not in self._names and self._counts(frame):
            self._names.add(name)

    def dependencies(self) -> dict[str, str | None]:
        """Each that was asked for, with the digest of what it held before."""
        return {name: self.before(name) for name in sorted(self._names)}

    def before(self, name: str) -> str | None:
        """Digest of what a variable held before; what code sets meanwhile says nothing of an entry."""
        return digest_of(name, self._before)


class _Telling(os._Environ):  # type: ignore[type-arg]  # noqa: SLF001 - it takes none when it runs
    """`os.environ`, and `os.environb`, which tell which variables are asked for."""

    listener: Asked | None = None

    def __getitem__(self, key: Any) -> Any:
        if self.listener is not None and isinstance(key, str | bytes):
            self.listener.hear(os.fsdecode(key), sys._getframe(1))  # noqa: SLF001
        return super().__getitem__(key)

    def __delitem__(self, key: Any) -> None:
        if self.listener is not None and isinstance(key, str | bytes):
            self.listener.hear(os.fsdecode(key), sys._getframe(1))  # noqa: SLF001
        super().__delitem__(key)

    def __iter__(self) -> Iterator[Any]:
        self._hear_every()
        return super().__iter__()

    def __len__(self) -> int:
        self._hear_every()
        return super().__len__()

    def __repr__(self) -> str:
        self._hear_every()
        return super().__repr__()

    def _hear_every(self) -> None:
        if self.listener is not None:
            self.listener.hear(EVERY, sys._getframe(2))  # noqa: SLF001
