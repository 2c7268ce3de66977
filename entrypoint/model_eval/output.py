"""The output folder: writing its files, and reading a report that others may have written."""

import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from fcntl import LOCK_EX, LOCK_NB, flock
from fnmatch import fnmatchcase
from pathlib import Path
from typing import BinaryIO

from model_eval.errors import OutputError, ReportError, UsageError
from model_eval.types import Report

# `model_eval.report` is imported where it is used, because `supervise` clears the folder before its
# child starts, and reads reports after.

REPORT, SUMMARY, LEDGER = "report.json", "summary.md", "ledger.parquet"
_SCRATCH = ".model-eval-parts-"
_PART = ".part"
_PARQUET = b"PAR1"
_MAX_FOOTER = 64 << 20
_OF_LEDGER = (b"model_eval", b'{"format_version": ')
"""What a ledger's footer has of `ledger.save`: a key, and how its value begins."""


def ledger_name(heldout: str) -> str:
    """The file of a further held-out set's ledger."""
    return f"ledger-{heldout}.parquet"


def is_output(path: Path) -> bool:
    """Whether a file of an output folder is what a run has written there, or has begun to write."""
    begun = path.name.startswith(".") and path.name.endswith(_PART)
    name = path.name[1 : -len(_PART)] if begun else path.name
    if fnmatchcase(name, ledger_name("*")):
        return begun or is_ledger(path)  # people call files of theirs so, too: ledger-2024.parquet
    return name in {REPORT, SUMMARY, LEDGER}


def is_ledger(path: Path) -> bool:
    """Whether a file is a ledger of ours, by the end of it: without pyarrow, which takes long to import."""
    try:
        with _regular(path) as file:
            size = file.seek(0, os.SEEK_END)
            file.seek(max(0, size - 8))
            end = file.read(8)
            length = int.from_bytes(end[:4], "little")
            if end[4:] != _PARQUET or length > min(size, _MAX_FOOTER) - 8:
                return False
            file.seek(size - 8 - length)
            footer = file.read(length)
    except (OSError, ValueError):  # a folder, a link: none that we have written
        return False
    return all(words in footer for words in _OF_LEDGER)


def require_free(ledger: Path) -> None:
    """Raises `OutputError` where a further ledger would take the place of a file that is none of ours."""
    if os.path.lexists(ledger) and not is_ledger(ledger):
        raise OutputError(
            f"`{ledger.name}` in `{ledger.parent}` is no ledger of model-eval, and is not overwritten",
            remedy="name another folder with --output, or call the held-out set something else",
        )


def save_report(report: Report, folder: Path) -> None:
    """Writes `summary.md` and then `report.json`, each whole or not at all.

    Raises:
        OutputError: the folder cannot be written, or is full.
    """
    from model_eval.report import render, to_json

    for name, data in [(SUMMARY, render(report).encode()), (REPORT, to_json(report))]:
        with whole(folder / name) as part:
            part.write_bytes(data)


@contextmanager
def whole(path: Path) -> Iterator[Path]:
    """Gives a path beside `path` to write to, which takes its name once it is complete.

    Raises:
        OutputError: it cannot be written; nothing is left of it.
    """
    part = path.with_name(f".{path.name}{_PART}")
    try:
        yield part
        part.replace(path)
    except OSError as error:
        raise OutputError(
            f"`{path.name}` cannot be written to `{path.parent}`: {error.strerror or error}"
        ) from error
    finally:
        with suppress(OSError):
            part.unlink(missing_ok=True)


@contextmanager
def held(folder: Path) -> Iterator[None]:
    """Keeps other runs out of the output folder for the time of the context.

    Two at once would remove each other's files, and one would take the other's report for its own.
    Some file systems of a network have no locks: there nobody is kept out.

    Raises:
        UsageError: another run has it.
    """
    descriptor = None
    try:
        try:
            descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
            flock(descriptor, LOCK_EX | LOCK_NB)
        except BlockingIOError as error:
            raise UsageError(
                f"another run writes to `{folder}`",
                remedy="wait for it to end, or name another folder with --output",
            ) from error
        except OSError:  # no locks here; or no folder, which is said by who writes there
            pass
        yield
    finally:
        if descriptor is not None:
            os.close(descriptor)


@contextmanager
def scratch(folder: Path | None) -> Iterator[Path]:
    """A folder inside of the output folder that is there for the time of the context.

    What a killed process leaves of it is removed by `remove_scratch`.

    Args:
        folder: the output folder; None for the system's folder of such things.

    Raises:
        OSError: it cannot be made.
    """
    with tempfile.TemporaryDirectory(
        prefix=_SCRATCH, dir=folder, ignore_cleanup_errors=True
    ) as made:
        yield Path(made)


def remove_scratch(folder: Path) -> None:
    """Removes what a killed process left of its `scratch`."""
    for path in folder.glob(f"{_SCRATCH}*"):
        shutil.rmtree(path, ignore_errors=True)


def remove_stale(folder: Path, *, keep: Path | None = None) -> None:
    """Removes what an earlier run left, so that it cannot be taken for this one's.

    The folder may be any, the repository among them: further ledgers go only where they are ours.

    Args:
        folder: of the files.
        keep: one of them that stays.

    Raises:
        OutputError: one of them cannot be removed, or is a folder.
    """
    remove_scratch(folder)
    further = [*folder.glob(ledger_name("*")), *folder.glob(f".*{_PART}")]
    for name in (REPORT, SUMMARY, LEDGER, *(path.name for path in further if is_output(path))):
        if keep is not None and name == keep.name:
            continue
        try:
            (folder / name).unlink(missing_ok=True)
        except OSError as error:
            raise OutputError(
                f"`{name}` of an earlier run cannot be removed from `{folder}`: {error.strerror}"
            ) from error


def read_report(path: Path, *, exit_status: int | None = None) -> Report:
    """Reads and validates a report that code of a pull request may have written.

    Args:
        path: links are not followed, and only regular files are read.
        exit_status: what the evaluation ended with, where it is known; the report must agree.

    Raises:
        ReportError: it is missing, is no regular file, is too large, or does not hold together.
    """
    from model_eval.report import from_json
    from model_eval.report.document import MAX_BYTES

    try:
        with _regular(path) as file:
            data = file.read(MAX_BYTES + 1)
    except OSError as error:
        raise ReportError(f"`{path.name}` cannot be read: {error.strerror}") from error
    report = from_json(data or b"")
    if exit_status not in {None, report.exit_code}:
        raise ReportError(
            f"the report says exit status {report.exit_code}, "
            f"and the evaluation ended with {exit_status}"
        )
    return report


def _regular(path: Path) -> BinaryIO:
    """Opens a file that others may have put there: no link is followed, and no pipe is waited for."""
    descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    return os.fdopen(descriptor, "rb")
