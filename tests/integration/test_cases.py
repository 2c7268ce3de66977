"""Whole runs that must be accepted or rejected. A folder under `tests/cases/*/runs` is a test.

Each holds the files in which it differs from `tests/cases/base`, a small project that passes, and
`expected.txt`: the exit status, then every fault as it is printed. Files named `*.absent` remove
the file of that name from the project.
"""

import shutil
import time
from contextlib import contextmanager
from pathlib import Path

import pytest

from builders.reports import ROOT
from model_eval.report import from_json, to_json
from model_eval.run import evaluate
from model_eval.types import Verdict

CASES = ROOT / "tests/cases"


def cases(kind):
    return sorted(path for path in (CASES / kind / "runs").iterdir() if path.is_dir())


@contextmanager
def silence(_total):
    yield lambda _rows: None


def run(case: Path, folder: Path):
    project = folder / "project"
    shutil.copytree(CASES / "base", project)
    shutil.copytree(case, project, dirs_exist_ok=True, symlinks=True)
    for mark in project.rglob("*.absent"):
        mark.with_suffix("").unlink()
        mark.unlink()
    evaluation = evaluate(
        project / "model-eval.yaml", roots=[project], progress=silence, clock=time.monotonic
    )
    assert from_json(to_json(evaluation.report)) == evaluation.report
    return evaluation


def shown(report, folder):
    lines = [f"exit {report.exit_code}", *(str(fault) for fault in report.faults)]
    return "\n".join(lines).replace(str(folder), "$FOLDER") + "\n"


@pytest.mark.parametrize("case", cases("rejected"), ids=lambda path: path.name)
def test_rejected(case, tmp_path):
    evaluation = run(case, tmp_path)
    assert shown(evaluation.report, tmp_path) == (case / "expected.txt").read_text()
    assert evaluation.report.verdict is Verdict.ERROR
    assert evaluation.report.exit_code in {2, 3, 4}
    assert evaluation.ledger is None


@pytest.mark.parametrize("case", cases("accepted"), ids=lambda path: path.name)
def test_accepted(case, tmp_path):
    evaluation = run(case, tmp_path)
    assert evaluation.report.faults == ()
    assert evaluation.report.verdict is Verdict.PASS, evaluation.report.reason


def test_the_base_passes_and_cases_are_found(tmp_path):
    empty = tmp_path / "empty"
    empty.mkdir()
    assert run(empty, tmp_path).report.verdict is Verdict.PASS
    assert len(cases("rejected")) > 30
    assert len(cases("accepted")) > 5
