"""Whole runs that must be accepted, rejected or left undecided: a folder is a test.

Each folder under `tests/cases/*/runs` holds the files in which a project differs from
`tests/cases/base`, which passes. `NAME.absent` removes a file. `expected.txt` has what must come
out, and `$FOLDER` in it stands for the folder above the project:

- rejected: the exit status, then every fault as it is printed;
- undecided: the verdict and its reason, then every gate that is not passed, and why.

What no editor can write is made by `tests/cases/make.py`. What git cannot hold is made here.
"""

import importlib.util
import os
import pickle
import shutil
import subprocess
import sys
import time
from contextlib import contextmanager
from pathlib import Path

import pytest
import torch

from builders.reports import ROOT
from model_eval.report import from_json, to_json
from model_eval.run import evaluate
from model_eval.types import GateStatus, Verdict

CASES = ROOT / "tests/cases"


def cases(kind):
    return sorted(path for path in (CASES / kind / "runs").iterdir() if path.is_dir())


def each(kind):
    return pytest.mark.parametrize("case", cases(kind), ids=lambda path: path.name)


@contextmanager
def silence(_total):
    yield lambda _rows: None


def lay(case, project):
    """Puts a case's files over the project; links stay links, and replace what was there."""
    for source in sorted(case.iterdir()):
        target = project / source.name
        if source.name in {"expected.txt", "__pycache__"}:
            continue
        if source.suffix == ".absent":
            target.with_suffix("").unlink()
        elif source.is_symlink():
            target.unlink(missing_ok=True)
            target.symlink_to(source.readlink())
        elif source.is_dir():
            target.mkdir(exist_ok=True)
            lay(source, target)
        else:
            shutil.copyfile(source, target)


@pytest.fixture
def project(tmp_path, monkeypatch):
    """The base project, and another folder as the current one; no payload may run in either."""
    project, elsewhere = tmp_path / "project", tmp_path / "elsewhere"
    project.mkdir()
    elsewhere.mkdir()
    monkeypatch.chdir(elsewhere)
    lay(CASES / "base", project)
    yield project
    assert not list(tmp_path.rglob("EXECUTED"))


def run(project, *roots):
    evaluation = evaluate(
        project / "model-eval.yaml",
        roots=[project, *roots],
        progress=silence,
        clock=time.monotonic,
    )
    assert from_json(to_json(evaluation.report)) == evaluation.report
    return evaluation


def shown(report, project):
    lines = [f"exit {report.exit_code}", *(str(fault) for fault in report.faults)]
    return "\n".join(lines).replace(str(project.parent), "$FOLDER") + "\n"


def undecided(report):
    lines = [f"exit {report.exit_code} {report.verdict}: {report.reason}"]
    lines += [
        f"{gate.metric.label}: {gate.status}: {gate.reason}"
        for gate in report.gates
        if gate.status is not GateStatus.PASS
    ]
    return "\n".join(lines) + "\n"


@each("rejected")
def test_rejected(case, project):
    lay(case, project)
    evaluation = run(project)
    assert shown(evaluation.report, project) == (case / "expected.txt").read_text()
    assert evaluation.report.verdict is Verdict.ERROR
    assert evaluation.report.exit_code in {2, 3, 4}
    assert evaluation.ledger is None


@each("undecided")
def test_undecided(case, project):
    lay(case, project)
    report = run(project).report
    assert report.faults == ()
    assert undecided(report) == (case / "expected.txt").read_text()
    assert report.verdict is Verdict.UNDECIDED
    assert report.exit_code == 4


@each("accepted")
def test_accepted(case, project):
    lay(case, project)
    evaluation = run(project)
    assert evaluation.report.faults == ()
    assert evaluation.report.verdict is Verdict.PASS, evaluation.report.reason
    assert evaluation.report.exit_code == 0


def test_the_base_passes(project):
    assert run(project).report.verdict is Verdict.PASS


def test_cases_are_found():
    assert len(cases("rejected")) > 200
    assert len(cases("undecided")) > 5
    assert len(cases("accepted")) > 45
