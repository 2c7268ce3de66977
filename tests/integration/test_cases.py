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

from builders.broken_checkpoints import of_a_malformed_sparse_tensor
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


AFTER_THE_MODEL = {
    f"custom-metric-{what}" for what in ("exits", "gives-an-array", "raises", "random", "writes")
}
"""Cases that leave a ledger: what they bring is called when the model has run."""


@each("rejected")
def test_rejected(case, project):
    lay(case, project)
    evaluation = run(project)
    expected = (case / "expected.txt").read_text()
    if case.name == "state-dict-sparse-malformed":
        expected = of_a_malformed_sparse_tensor(expected)
    assert shown(evaluation.report, project) == expected
    assert evaluation.report.verdict is Verdict.ERROR
    assert evaluation.report.exit_code in {2, 3, 4}
    assert (evaluation.ledgers != {}) == (case.name in AFTER_THE_MODEL)


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


# --- what git cannot hold -------------------------------------------------------------------

BUILT = {}
"""Name → (what it does to the project, further roots, what must come out)."""


def built(expected, *roots):
    def add(change):
        BUILT[change.__name__] = (change, [Path(root) for root in roots], expected)
        return change

    return add


def spec_of(project, old, new):
    spec = project / "model-eval.yaml"
    text = spec.read_text()
    assert old in text
    spec.write_text(text.replace(old, new))


@built(
    "exit 2\nmodel-eval.yaml:6:20: `model.safetensors` is a FIFO, not a file; name a regular file\n"
)
def checkpoint_is_a_fifo(project):
    (project / "model.safetensors").unlink()
    os.mkfifo(project / "model.safetensors")


@built("exit 2\nmodel-eval.yaml:8:9: `heldout.csv` is a FIFO, not a file; name a regular file\n")
def heldout_is_a_fifo(project):
    (project / "heldout.csv").unlink()
    os.mkfifo(project / "heldout.csv")


@built(
    "exit 2\nmodel-eval.yaml:6:20: `model.safetensors` is a device, not a file; name a regular file\n",
    "/dev",
)
def checkpoint_is_a_device(project):
    (project / "model.safetensors").unlink()
    (project / "model.safetensors").symlink_to("/dev/zero")


@built(
    "exit 2\nmodel-eval.yaml:6:20: `/dev/zero` is outside of `$FOLDER/project`; "
    "move the file inside, or name its folder with `--allow-path`\n"
)
def checkpoint_is_a_device_outside(project):
    spec_of(project, "path: model.safetensors", "path: /dev/zero")


@built(
    "exit 2\nmodel-eval.yaml:6:20: `model.safetensors` is outside of `$FOLDER/project`; it is a "
    "symlink to `$FOLDER/secret.safetensors`; put the file itself there, or name its folder with "
    "`--allow-path`\n"
)
def checkpoint_is_a_link_to_a_file_outside(project):
    (project / "model.safetensors").rename(project.parent / "secret.safetensors")
    (project / "model.safetensors").symlink_to(project.parent / "secret.safetensors")


@built(
    "exit 3\nmodel-eval.yaml:6:20: `model.safetensors` cannot be read: permission denied; "
    "make it readable for the user of this run\n"
)
def checkpoint_is_unreadable(project):
    (project / "model.safetensors").chmod(0)


@built(
    "exit 3\nmodel-eval.yaml:8:9: `heldout.csv` cannot be read: Permission denied; "
    "check the path and its permissions\n"
)
def heldout_is_unreadable(project):
    (project / "heldout.csv").chmod(0)


@built(
    "exit 3\nmodel-eval.yaml:7:9: `images/dark/1.png` is not a regular file; "
    "name a regular file, not a pipe, socket or device\n"
)
def an_image_is_a_fifo(project):
    lay(CASES / "rejected/runs/image-sizes", project)
    (project / "images/dark/1.png").unlink()
    os.mkfifo(project / "images/dark/1.png")


@pytest.mark.parametrize("name", BUILT)
def test_rejected_built(name, project):
    if "unreadable" in name and os.geteuid() == 0:
        pytest.skip("root can read everything")
    change, roots, expected = BUILT[name]
    change(project)
    evaluation = run(project, *roots)
    assert shown(evaluation.report, project) == expected
    assert evaluation.ledgers == {}


@pytest.mark.skipif(torch.accelerator.is_available(), reason="this machine has an accelerator")
def test_a_device_that_is_not_there(project):
    spec_of(project, "run: {", "run: {device: cuda, ")
    assert shown(run(project).report, project) == (
        "exit 3\nmodel-eval.yaml:11:15: `cuda` was asked for and is not here; this machine has only "
        "a CPU; run on a runner that has one (and whose torch is built for it), or write "
        "`device: auto`\n"
    )


# --- that these tests can fail --------------------------------------------------------------


def maker():
    spec = importlib.util.spec_from_file_location("make_cases", CASES / "make.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_a_payload_would_be_noticed(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    pickle.loads((CASES / "rejected/runs/checkpoint-code-raw-pickle/model.pt").read_bytes())
    assert (tmp_path / "EXECUTED").exists()


def test_what_a_person_cannot_read_was_made_by_the_committed_program():
    made = {CASES / path for path in maker().MAKERS}
    assert {path for path in made if not path.is_file()} == set()
    folders = [CASES / kind / "runs" for kind in ("accepted", "rejected", "undecided")]
    files = {path for folder in folders for path in folder.rglob("*") if path.is_file()}
    for path in files - made:
        if not path.is_symlink() and path.suffix != ".pyc":
            assert "\0" not in path.read_text(encoding="utf-8")


# --- the same through the real command ------------------------------------------------------

COMMAND = ["-I", "-m", "model_eval", "run", "model-eval.yaml", "--output", "out"]


@pytest.mark.parametrize(
    "case",
    [
        "rejected/runs/checkpoint-code",
        "rejected/runs/factory-custom-base-exception",
        "rejected/runs/loader-stop-iteration",
        "rejected/runs/output-three-for-binary",
        "rejected/runs/spec-no-gates",
        "undecided/runs/nan-outputs",
    ],
)
def test_the_command_leaves_a_whole_report_and_no_traceback(case, project):
    lay(CASES / case, project)
    done = subprocess.run(
        [sys.executable, *COMMAND],
        cwd=project,
        capture_output=True,
        text=True,
        check=False,
        env={"PATH": os.environ["PATH"], "OMP_NUM_THREADS": "1"},
    )
    report = from_json((project / "out/report.json").read_bytes())
    said = undecided(report) if "undecided" in case else shown(report, project)
    assert said == (CASES / case / "expected.txt").read_text()
    assert done.returncode == report.exit_code
    assert "Traceback" not in done.stdout + done.stderr
    assert "bug in model-eval" not in done.stdout + done.stderr
    for fault in report.faults:
        assert fault.message in " ".join(done.stdout.split())
    left = {path.name for path in (project / "out").iterdir()}
    assert left == {"report.json", "summary.md"} | (
        {"ledger.parquet"} if not report.faults else set()
    )
