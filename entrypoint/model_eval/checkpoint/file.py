"""A checkpoint's file, opened once: all that looks at it looks at the same open file."""

import os
from collections.abc import Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager
from dataclasses import dataclass, field
from typing import BinaryIO

from model_eval.errors import CheckpointError
from model_eval.spec.eval_spec import PathRef
from model_eval.spec.files import explain, open_regular, stamp_of
from model_eval.wording import quote


@dataclass(frozen=True, kw_only=True, slots=True)
class CheckpointFile:
    """A regular, non-empty file that is open for reading.

    Attributes:
        size: in bytes, when it was opened.
        stamp: what the file system said of its content then.
        parts: see `keep`.
        stack: closes them.
    """

    ref: PathRef
    file: BinaryIO
    size: int
    stamp: tuple[int, ...]
    parts: list["CheckpointFile"] = field(default_factory=list)
    stack: ExitStack = field(default_factory=ExitStack)

    def keep(self, part: AbstractContextManager["CheckpointFile"]) -> "CheckpointFile":
        """Opens a file that this one names, which stays open and is looked after as long as it is."""
        opened = self.stack.enter_context(part)
        self.parts.append(opened)
        return opened

    def error(self, what: str, remedy: str | None = None) -> CheckpointError:
        """The error that begins with this file's name."""
        return CheckpointError(
            f"{quote(self.ref.display)} {what}", remedy=remedy, location=self.ref.location
        )

    def head(self, length: int) -> bytes:
        """The first bytes; leaves the file at its beginning."""
        self.file.seek(0)
        found = self.file.read(length)
        self.file.seek(0)
        return found

    def check_unchanged(self) -> None:
        """Raises `CheckpointError` where it, or a part, was written since it was opened."""
        for part in self.parts:
            part.check_unchanged()
        if stamp_of(os.fstat(self.file.fileno())) != self.stamp:
            raise self.error(
                "changed while it was being used", "run again when nothing else writes it"
            )


@contextmanager
def open_checkpoint(ref: PathRef) -> Iterator[CheckpointFile]:
    """Opens the file, never waiting for a FIFO.

    Raises:
        CheckpointError: missing, a folder, a link to nothing or to itself, a FIFO or a device,
            unreadable or empty.
    """
    try:
        file = open_regular(ref.path)
    except (OSError, ValueError) as error:
        what, remedy = explain(error, ref.path)
        raise CheckpointError(
            f"{quote(ref.display)} {what}", remedy=remedy, location=ref.location
        ) from error
    with file:
        found = os.fstat(file.fileno())
        size, stamp = found.st_size, stamp_of(found)
        opened = CheckpointFile(ref=ref, file=file, size=size, stamp=stamp)
        if size == 0:
            raise opened.error("is empty", "save it again; an upload or a download may have failed")
        with opened.stack:
            yield opened


@contextmanager
def reading(opened: CheckpointFile) -> Iterator[None]:
    """Where the file is read: a disk that fails becomes a `CheckpointError`."""
    try:
        yield
    except OSError as error:
        raise opened.error(
            f"cannot be read: {error.strerror or type(error).__name__}", "check the disk"
        ) from error
