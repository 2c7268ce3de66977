"""Workflow commands and the files of a step, exactly as GitHub's runner reads them.

Lines on standard output that begin with `::` are commands: annotations, groups, and the switch
that stops commands while somebody else's output passes. The summary and the outputs are files.
See https://docs.github.com/actions/reference/workflow-commands-for-github-actions; what the page
leaves open follows the runner's parser (actions/runner, `ActionCommand.cs`,
`FileCommandManager.cs`).
"""

import re
import secrets
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import TextIO

from model_eval.errors import OutputError, PublishError
from model_eval.types import GateResult, GateStatus, Location, Report

ANNOTATIONS_PER_LEVEL = 10
"""GitHub shows so many of each level for a step; the steps of a composite action share them."""
MESSAGE_LIMIT = 4096
TITLE_LIMIT = 255
SUMMARY_LIMIT = 1_048_576
"""Bytes; a larger summary is dropped whole."""

_OUTPUT_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_-]*")
_CONTROL = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f]")
_CUT = "\n\n_The summary is cut here: GitHub shows 1 MiB. The report has the rest._\n"


class Level(StrEnum):
    """How loud an annotation is."""

    ERROR = "error"
    WARNING = "warning"


@dataclass(frozen=True, kw_only=True, slots=True)
class Annotation:
    """A message that GitHub shows on a line of a file, or on the run where there is no place."""

    level: Level
    title: str
    message: str
    location: Location | None = None

    def __str__(self) -> str:
        properties = {}
        if self.location is not None:
            properties["file"] = self.location.file
            properties["line"] = str(self.location.line)
            properties["col"] = str(self.location.column)
        properties["title"] = clip(self.title, TITLE_LIMIT)
        listed = ",".join(f"{name}={escape_property(value)}" for name, value in properties.items())
        return f"::{self.level} {listed}::{escape_data(clip(self.message, MESSAGE_LIMIT))}"


def annotations(report: Report) -> tuple[Annotation, ...]:
    """One for each fault, each gate that did not pass and each loosening; errors come first."""
    found = [
        Annotation(
            level=Level.ERROR,
            title=f"model-eval: {fault.code}",
            message=f"{fault.message}; {fault.remedy}",
            location=fault.location,
        )
        for fault in report.faults
    ]
    found += [_of_gate(gate) for gate in report.gates if gate.status is not GateStatus.PASS]
    found += [
        Annotation(
            level=Level.WARNING if report.loosening_allowed else Level.ERROR,
            title="model-eval: loosened",
            message=f"{one.what} ({one.base or 'nothing'} → {one.head or 'nothing'}): {one.reason}",
            location=one.location,
        )
        for one in report.loosened
    ]
    return tuple(sorted(found, key=lambda annotation: annotation.level is not Level.ERROR))


def annotate(stream: TextIO, found: Iterable[Annotation]) -> None:
    """Writes annotations. Where a level has too many, its last one says how many are left out."""
    by_level: dict[Level, list[Annotation]] = {level: [] for level in Level}
    for annotation in found:
        by_level[annotation.level].append(annotation)
    for level, all_of_it in by_level.items():
        shown = all_of_it
        if len(all_of_it) > ANNOTATIONS_PER_LEVEL:
            shown = all_of_it[: ANNOTATIONS_PER_LEVEL - 1]
            more = f"{len(all_of_it) - len(shown)} more are in the job summary"
            shown = [*shown, Annotation(level=level, title="model-eval", message=more)]
        for annotation in shown:
            stream.write(f"{annotation}\n")
    stream.flush()


@contextmanager
def group(stream: TextIO, title: str) -> Iterator[None]:
    """Folds the lines that are printed inside under a title in the log."""
    stream.write(f"::group::{escape_data(title)}\n")
    stream.flush()
    try:
        yield
    finally:
        stream.write("::endgroup::\n")
        stream.flush()


@contextmanager
def stopped_commands(
    stream: TextIO, *, token: Callable[[], str] = lambda: secrets.token_hex(16)
) -> Iterator[None]:
    """Commands in lines that are printed inside have no effect.

    For output that is not ours. The token that starts commands again cannot be guessed, and
    stands on a line of its own even where the output ended in the middle of one.
    """
    resume = f"model-eval-{token()}"
    stream.write(f"::stop-commands::{resume}\n")
    stream.flush()
    try:
        yield
    finally:
        stream.write(f"\n::{resume}::\n")
        stream.flush()


def summary_room(path: Path) -> int:
    """How many bytes of text the summary file still takes whole."""
    return max(0, _summary_room(path) - 1)


def append_summary(path: Path, text: str) -> bool:
    """Adds Markdown to the job summary, as much as fits, in whole lines.

    Returns:
        True where all of the text was written.

    Raises:
        PublishError: the file cannot be written.
    """
    data = _utf8(text if text.endswith("\n") else f"{text}\n")
    room = _summary_room(path)
    whole = len(data) <= room
    if not whole:
        note = _utf8(_CUT)
        lines = data[: max(0, room - len(note))].rpartition(b"\n")
        data = b"".join(lines[:2]) + note
    if len(data) <= room:
        _append(path, data, "GITHUB_STEP_SUMMARY", PublishError)
    return whole


def set_outputs(
    path: Path,
    outputs: Mapping[str, str],
    *,
    token: Callable[[], str] = lambda: secrets.token_hex(16),
) -> None:
    """Adds outputs to the step's file; whatever a value holds, it stays one value.

    Args:
        path: the file that `GITHUB_OUTPUT` names.
        outputs: name → value.
        token: draws the part of the delimiter that nobody can guess.

    Raises:
        ValueError: a name is not one, or a value holds the delimiter; nothing is written.
        OutputError: the file cannot be written.
    """
    parts = []
    for name, value in outputs.items():
        if not _OUTPUT_NAME.fullmatch(name):
            raise ValueError(f"{name!r} is not the name of an output")
        delimiter = f"model_eval_{token()}"
        if delimiter in value:
            raise ValueError(f"the value of the output {name!r} holds the delimiter")
        parts.append(f"{name}<<{delimiter}\n{value}\n{delimiter}\n")
    _append(path, _utf8("".join(parts)), "GITHUB_OUTPUT", OutputError)


def escape_data(text: str) -> str:
    r"""Escapes what follows the second `::`; control characters other than \t \r \n become �."""
    text = _CONTROL.sub("\N{REPLACEMENT CHARACTER}", _utf8(text).decode())
    return text.replace("%", "%25").replace("\r", "%0D").replace("\n", "%0A")


def escape_property(text: str) -> str:
    """Escapes the value of a property, which also ends at a colon or a comma."""
    return escape_data(text).replace(":", "%3A").replace(",", "%2C")


def clip(text: str, limit: int) -> str:
    """Cuts to `limit` UTF-8 bytes, and so to as many characters of any kind, never inside one."""
    data = _utf8(text)
    if len(data) <= limit:
        return data.decode()
    return data[: limit - len("…".encode())].decode(errors="ignore") + "…"


def _of_gate(gate: GateResult) -> Annotation:
    advisory = not gate.blocks
    return Annotation(
        level=Level.WARNING if advisory else Level.ERROR,
        title=f"model-eval: {gate.label} {gate.status}",
        message=gate.reason,
        location=gate.location,
    )


def _summary_room(path: Path) -> int:
    """Bytes for text and its last line break, when one more goes before the text."""
    try:
        used = path.stat().st_size
    except OSError:
        used = 0
    return SUMMARY_LIMIT - used - 1


def _append(
    path: Path, data: bytes, variable: str, refusal: type[OutputError | PublishError]
) -> None:
    """Appends, beginning on a line of its own."""
    if not data:
        return
    try:
        with path.open("a+b") as file:
            if file.tell():
                file.seek(-1, 2)
                if file.read(1) != b"\n":
                    data = b"\n" + data
            file.write(data)
    except OSError as error:
        raise refusal(
            f"the file that `{variable}` names cannot be written: {error.strerror}",
            remedy="make it writable, with room on its disk, or unset the variable",
        ) from error


def _utf8(text: str) -> bytes:
    """UTF-8; half a surrogate pair, as from an undecodable file name, becomes `?`."""
    return text.encode(errors="replace")
