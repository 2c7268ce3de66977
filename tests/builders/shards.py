"""Runs in parts, and what must be the same of a run in parts and of a whole one."""

import json
import math
import shutil
import time
from collections.abc import Sequence
from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from model_eval.ledger import open_ledger
from model_eval.output import REPORT, read_report
from model_eval.parts import Shard
from model_eval.report import to_json
from model_eval.run import Evaluation, Parts, evaluate, save
from model_eval.spec.catalog import COST
from model_eval.stop import Stop
from model_eval.types import Report

EXAMPLE = Path(__file__).parents[2] / "examples" / "digits"
PROVENANCE = ("joined from", "ran in")


def evidence(folder: Path, batch_size: int = 16) -> Path:
    """The example with all the evidence: slices, a baseline, golden cases, a further set, costs."""
    shutil.copytree(EXAMPLE, folder, dirs_exist_ok=True)
    spec = folder / "model-eval-evidence.yaml"
    spec.write_text(f"{spec.read_text()}\nrun: {{batch_size: {batch_size}, device: cpu}}\n")
    return spec


def run(spec: Path, output: Path, /, *, stop: Stop | None = None, **parts: Any) -> Evaluation:
    """In this process; `parts` are those of `Parts`."""
    output.mkdir(parents=True, exist_ok=True)
    done = evaluate(
        spec,
        roots=[spec.parent],
        progress=lambda _: nullcontext(lambda _: None),
        clock=time.monotonic,
        parts=Parts(**parts),
        stop=stop,
    )
    save(done, output)
    return done


def sharded(spec: Path, folder: Path, of: int) -> list[Path]:
    """The folders of all shards."""
    folders = [folder / f"shard-{index}" for index in range(1, of + 1)]
    for index, output in enumerate(folders, start=1):
        done = run(spec, output, shard=Shard(index, of))
        assert done.report.shard is not None, done.report.faults
    return folders


def merged(spec: Path, folder: Path, shards: Sequence[Path]) -> Report:
    return run(spec, folder, shards=list(shards)).report


def refusal(spec: Path, folder: Path, shards: Sequence[Path]) -> tuple[int, str]:
    """The exit code and the one message of a merge that is refused."""
    report = merged(spec, folder, shards)
    [fault] = report.faults
    return report.exit_code, fault.message


def rewrite(folder: Path, **changes: Any) -> None:
    """Changes the report of a shard, as a damaged or forged one would be."""
    known = read_report(folder / REPORT)
    (folder / REPORT).write_bytes(to_json(replace(known, **changes)))


def assert_same_report(some: Report, other: Report) -> None:
    """All but timings, threads, costs, and what says that there were parts: to 1e-12."""
    _assert_same(_judged(some), _judged(other), "report")


def assert_same_ledgers(some: Path, other: Path) -> None:
    names = sorted(path.name for path in some.glob("ledger*.parquet"))
    assert names == sorted(path.name for path in other.glob("ledger*.parquet"))
    for name in names:
        ours, theirs = open_ledger(some / name), open_ledger(other / name)
        assert list(ours.columns) == list(theirs.columns)
        assert (ours.heldout, ours.checkpoint, ours.part) == (
            theirs.heldout,
            theirs.checkpoint,
            None,
        )
        for column, values in ours.columns.items():
            if values.dtype.kind == "f":
                close = 1e-12 if values.dtype == np.float64 else 1.2e-7
                np.testing.assert_allclose(values, theirs[column], rtol=close, err_msg=column)
            else:
                assert values.tolist() == theirs[column].tolist(), column


def _judged(report: Report) -> Any:
    notes = tuple(note for note in report.notes if not note.startswith(PROVENANCE))
    found = json.loads(to_json(replace(report, notes=notes, timings=None, cost=None)))
    found["environment"].pop("threads")  # which torchrun sets
    for name in ("estimates", "gates"):
        found[name] = [one for one in found[name] if one["metric"]["name"] not in COST]
    return found


def _assert_same(some: Any, other: Any, place: str) -> None:
    if isinstance(some, float) and isinstance(other, float):
        assert math.isclose(some, other, rel_tol=1e-12, abs_tol=1e-12), (place, some, other)
    elif isinstance(some, dict) and isinstance(other, dict):
        assert some.keys() == other.keys(), place
        for name in some:
            _assert_same(some[name], other[name], f"{place}.{name}")
    elif isinstance(some, list) and isinstance(other, list):
        assert len(some) == len(other), place
        for index, (one, another) in enumerate(zip(some, other, strict=True)):
            _assert_same(one, another, f"{place}[{index}]")
    else:
        assert some == other, place
