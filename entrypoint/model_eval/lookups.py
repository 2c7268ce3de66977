"""How often a held-out set was looked at: an append-only file, a line of JSON for each run.

    {"heldout": "9f2c…", "checkpoint": "17ab…", "date": "2026-11-25", "commit": "c8a7…", "verdict": "pass"}

A held-out set that has chosen between checkpoints is no longer unseen by the one that was chosen
(Dwork et al. 2015, "The reusable holdout"). Counting looks does not undo that; it says what is left
of the claim.
"""

import json
import os
from pathlib import Path
from typing import Any

from model_eval.errors import HeldOutError, OutputError
from model_eval.spec.eval_spec import PathRef
from model_eval.spec.files import explain, open_regular
from model_eval.types import CheckpointInfo, LookupInfo, Report
from model_eval.wording import quote

MAX_BYTES = 16 * 1024 * 1024
_KEYS = ("heldout", "checkpoint", "date", "commit", "verdict")


def looked_up(ref: PathRef, *, heldout: str, checkpoint: str) -> LookupInfo:
    """Counts the runs on a held-out set; a file that is not there yet has none.

    Args:
        ref: the file.
        heldout: the digest of the set.
        checkpoint: the digest of the checkpoint of this run.

    Raises:
        HeldOutError: the file is there and cannot be used.
    """
    entries = [entry for entry in _entries(ref) if entry["heldout"] == heldout]
    others = {entry["checkpoint"] for entry in entries} - {checkpoint}
    return LookupInfo(path=ref.display, looks=len(entries), checkpoints=len(others))


def claim(known: LookupInfo, confidence: float) -> str:
    """What is left of the claim, as a sentence: Bonferroni's bound over the checkpoints looked at."""
    times = f"this held-out set was looked at {known.looks:,} times before"
    if not known.checkpoints:
        return f"{times}, never for another checkpoint"
    tries = known.checkpoints + 1
    share = (1 - confidence) * tries
    left = (
        f"all hold with at least {1 - share:.0%}"
        if share < 1
        else "nothing is said of all of them together"
    )
    return (
        f"{times}, for {known.checkpoints:,} other checkpoints: an interval holds with "
        f"{confidence:.4g} for one of them, {left}; for {confidence:.4g} together each needs "
        f"{1 - (1 - confidence) / tries:.5g}"
    )


def record(path: Path, report: Report, *, date: str, commit: str) -> None:
    """Appends a run; the line is written whole or not at all.

    Raises:
        OutputError: the file cannot be written, or the report is of a shard, or judged nothing.
    """
    if report.shard is not None:
        raise OutputError(
            "the report is of a shard, which judges nothing",
            remedy="record the report that `model-eval merge` leaves",
        )
    if report.checkpoint is None or report.completion is None or report.heldout is None:
        raise OutputError(
            "the report judged nothing, so there is nothing to record",
            remedy="record the report of a run that finished",
        )
    entry = dict(
        zip(
            _KEYS,
            (
                report.heldout.sha256,
                digest_of(report.checkpoint),
                date,
                commit,
                str(report.verdict),
            ),
            strict=True,
        )
    )
    line = (json.dumps(entry) + "\n").encode()
    try:
        with path.open("a+b") as file:
            if file.tell():  # a last line that an editor left open is closed first
                file.seek(-1, os.SEEK_END)
                line = line if file.read(1) == b"\n" else b"\n" + line
            file.write(line)
    except OSError as error:
        raise OutputError(
            f"`{path}` cannot be written: {error.strerror}", remedy="name a file that can be"
        ) from error


def digest_of(checkpoint: CheckpointInfo) -> str:
    """The digests of a checkpoint's files, as the file has them."""
    return ",".join(file.sha256 for file in checkpoint.files)


def _entries(ref: PathRef) -> list[dict[str, Any]]:
    try:
        with open_regular(ref.path) as file:
            data = file.read(MAX_BYTES + 1)
    except FileNotFoundError:
        return []
    except (OSError, ValueError) as error:
        what, remedy = explain(error, ref.path)
        raise HeldOutError(
            f"{quote(ref.display)} {what}", remedy=remedy, location=ref.location
        ) from error
    if len(data) > MAX_BYTES:
        raise HeldOutError(
            f"{quote(ref.display)} is larger than {MAX_BYTES >> 20} MiB",
            remedy="begin another file",
            location=ref.location,
        )
    return [
        _entry(line, number, ref)
        for number, line in enumerate(data.splitlines(), 1)
        if line.strip()
    ]


def _entry(line: bytes, number: int, ref: PathRef) -> dict[str, Any]:
    try:
        entry = json.loads(line)
        sound = isinstance(entry, dict) and all(isinstance(entry.get(key), str) for key in _KEYS)
    except (ValueError, RecursionError):
        sound = False
    if not sound:
        raise HeldOutError(
            f"line {number} of {quote(ref.display)} is no entry",
            remedy="restore it: the file is only ever appended to, by `model-eval record`",
            location=ref.location,
        )
    found: dict[str, Any] = entry
    return found
