"""The output folder: writing its files, and reading a report that others may have written."""

import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from fnmatch import fnmatchcase
from pathlib import Path

from model_eval.errors import OutputError, ReportError
from model_eval.types import Report

# `model_eval.report` is imported where it is used, because `supervise` clears the folder before its
# child starts, and reads reports after.

REPORT, SUMMARY, LEDGER = "report.json", "summary.md", "ledger.parquet"
_SCRATCH = ".model-eval-parts-"


def ledger_name(heldout: str) -> str:
    """The file of a further held-out set's ledger."""
    return f"ledger-{heldout}.parquet"


def is_output(name: str) -> bool:
    """Whether a run writes a file of this name to its output folder."""
    return name in {REPORT, SUMMARY, LEDGER} or fnmatchcase(name, ledger_name("*"))


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
    part = path.with_name(f".{path.name}.part")
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


def remove_stale(folder: Path) -> None:
    """Removes what an earlier run left, so that it cannot be taken for this one's.

    Raises:
        OutputError: one of them cannot be removed, or is a folder.
    """
    remove_scratch(folder)
    further = [path.name for path in folder.glob(ledger_name("*"))]
    for name in (REPORT, SUMMARY, LEDGER, *further):
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
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
        with os.fdopen(descriptor, "rb") as file:
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
