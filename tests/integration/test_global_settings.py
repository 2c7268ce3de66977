"""What the repository's code sets for the whole process is its own: nothing of ours follows it."""

import numpy as np
import pytest

from builders.projects import MODEL, SPEC, make_project
from model_eval.output import REPORT, read_report

ON_INTERVALS = SPEC.replace("decisions: {decide_on: point}\n", "").replace("min: 0.9", "min: 0.5")
ROWS = 3_000


def report_of(folder, model, spec):
    """Of a run with some wrong labels, so that intervals are no matter of course."""
    project = make_project(folder, model=model, spec=spec, rows=ROWS)
    file = folder / "heldout.csv"
    header, *lines = file.read_text().splitlines()
    wrong = np.random.default_rng(2).random(ROWS) < 0.2
    turned = [
        f"{line[:-1]}{1 - int(line[-1])}" if bad else line
        for line, bad in zip(lines, wrong, strict=True)
    ]
    file.write_text("\n".join([header, *turned]) + "\n")
    done = project.run("--no-cache")
    assert done.returncode == 0, done.stdout + done.stderr
    return read_report(project.output / REPORT)


@pytest.mark.parametrize(
    ("setting", "also"),
    [
        ("import numpy\nnumpy.seterr(all='raise')\n", "metrics: [accuracy, latency_p50_ms]\n"),
        # As `cuda` would on a machine that has it; no untrained model can be built there.
        ("import torch\ntorch.set_default_device('meta')\n", "control: false\n"),
    ],
    ids=["numpy", "device"],
)
@pytest.mark.parametrize("early", [False, True], ids=["whole", "early"])
def test_a_run_is_the_same(tmp_path, setting, also, early):
    spec = ON_INTERVALS.replace("metrics: [accuracy]\n", also)
    if early:
        spec = spec.replace("batch_size: 8", "batch_size: 8, stop_early: true")
    usual, changed = (
        report_of(tmp_path / name, first + MODEL, spec)
        for name, first in (("usual", ""), ("changed", setting))
    )
    assert (usual.stopped is not None) is early
    assert changed.gates == usual.gates
    assert changed.stopped == usual.stopped
    assert changed.completion == usual.completion


PRECISE = """        if torch.get_float32_matmul_precision() != "highest":
            raise ValueError("it is not fp32")
        return self.layer"""


@pytest.mark.parametrize("where", ["imported", "built"])
def test_fp32_is_what_the_spec_says_whatever_the_code_sets(tmp_path, where):
    """Baselines and untrained models are built anew, and set it again."""
    sets = "torch.set_float32_matmul_precision('medium')\n"
    model = MODEL.replace("        return self.layer", PRECISE)
    if where == "imported":
        model = model.replace("class Net", f"{sets}class Net")
    else:
        model = model.replace("        self.layer =", f"        {sets}        self.layer =")
    spec = SPEC + "baseline: {checkpoint: model.safetensors}\n"
    project = make_project(tmp_path, model=model, spec=spec, rows=200)
    done = project.run("--no-cache")
    assert done.returncode == 0, done.stdout + done.stderr
    assert read_report(project.output / REPORT).control.worse is True


def test_a_model_that_sets_another_precision_while_it_runs_is_refused(tmp_path):
    sets = "        torch.backends.cuda.matmul.allow_tf32 = True\n"
    model = MODEL.replace("        return self.layer", f"{sets}        return self.layer")
    project = make_project(tmp_path, model=model)
    assert project.run("--no-cache").returncode == 4
    fault = read_report(project.output / REPORT).faults[0]
    assert "not all of it was computed in fp32" in fault.message
    assert fault.location is not None


def test_an_alarm_that_the_model_sets_is_no_deadline(tmp_path):
    rings = "import signal, time\nsignal.alarm(1)\ntime.sleep(10)\n"
    project = make_project(tmp_path, model=rings + MODEL)
    assert project.run("--no-cache").returncode == 4
    fault = read_report(project.output / REPORT).faults[0]
    assert fault.message == "an alarm (SIGALRM) that is no deadline's came after 0 of 40 samples"
    assert "signal.alarm" in fault.remedy


@pytest.mark.parametrize("stream", ["None", "type('Broken', (), {'flush': lambda _: 1 / 0})()"])
def test_standard_error_that_is_replaced_changes_no_status(tmp_path, stream):
    project = make_project(tmp_path, model=f"import sys\nsys.stderr = {stream}\n{MODEL}")
    done = project.run("--no-cache")
    assert done.returncode == 0, done.stdout + done.stderr
