"""Several processes of torchrun: the whole run's report, and an error wherever one of them ends."""

import os
import subprocess
import sys
import time

import pytest

from builders.projects import MODEL, SPEC, make_project
from builders.shards import assert_same_ledgers, assert_same_report, evidence, run
from model_eval.output import LEDGER, REPORT, read_report
from model_eval.types import Verdict

SECONDS = 100
IN_RANK_1 = "if os.environ.get('RANK') == '1': {}\n        return self.layer(x)"
CAUGHT = """
            try:
                os.kill(os.getpid(), signal.SIGTERM)
                time.sleep(0.5)
            except BaseException:
                pass"""


def torchrun(spec, output, processes, *options, arguments=()):
    command = [
        sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node",
        str(processes), *options, "-m", "model_eval", "run", str(spec), "--output", str(output),
        *arguments,
    ]  # fmt: skip
    environ = {"PATH": os.environ["PATH"], "OMP_NUM_THREADS": "1"}
    return subprocess.run(
        command, env=environ, capture_output=True, text=True, timeout=SECONDS, check=False
    )


def project(folder, body):
    """A project whose model does something else in the second process."""
    model = "import os, pathlib, signal, sys, time\n" + MODEL.replace(
        "return self.layer(x)", IN_RANK_1.format(body)
    )
    return make_project(folder, model=model)


@pytest.mark.parametrize("processes", [1, 2, 3])
def test_processes_are_the_whole_run(tmp_path, processes):
    spec = evidence(tmp_path / "project")
    whole = run(spec, tmp_path / "whole").report
    done = torchrun(spec, tmp_path / "out", processes)
    assert done.returncode == 0, done.stdout + done.stderr
    report = read_report(tmp_path / "out" / REPORT)
    assert report.completion.proved
    assert_same_report(whole, report)
    assert_same_ledgers(tmp_path / "whole", tmp_path / "out")
    assert done.stdout.count("pass (exit 0)") == 1
    assert ("joined from 3 ranks" in report.notes) is (processes == 3)


def test_in_process(tmp_path):
    made = make_project(tmp_path)
    done = torchrun(made.spec, made.output, 2, arguments=["--in-process"])
    assert done.returncode == 0, done.stdout + done.stderr
    assert read_report(made.output / REPORT).verdict is Verdict.PASS
    assert done.stdout.count("pass (exit 0)") == 1


def test_a_fail_is_a_fail_and_is_shown(tmp_path):
    made = make_project(
        tmp_path,
        spec=SPEC.replace("{metric: accuracy, min: 0.9}", "{metric: log_loss, max: 0.0001}"),
    )
    done = torchrun(made.spec, made.output, 2)
    assert done.returncode != 0
    assert read_report(made.output / REPORT).verdict is Verdict.FAIL
    assert "sign: fail (exit 1)" in done.stdout


def test_a_wrong_spec_is_said_once(tmp_path):
    made = make_project(tmp_path, spec=SPEC.replace("name:", "nam:"))
    done = torchrun(made.spec, made.output, 2)
    assert done.returncode != 0
    assert read_report(made.output / REPORT).exit_code == 2


@pytest.mark.parametrize(
    ("body", "said"),
    [
        ("os.kill(os.getpid(), signal.SIGKILL)", "before rank 1 of 2 had finished"),
        ("os._exit(0)", "before rank 1 of 2 had finished"),
        ("os._exit(3)", "before rank 1 of 2 had finished"),
        ("raise KeyError('x')", "rank 1 of 2 failed: the model raised KeyError: 'x'"),
        ("sys.exit(0)", "rank 1 of 2 failed: the model raised SystemExit: 0"),
        (CAUGHT, "rank 1 of 2 failed: the run was interrupted after 0 of 24 samples"),
    ],
)
def test_a_process_that_ends_is_an_error_that_names_it(tmp_path, body, said):
    made = project(tmp_path, body)
    begun = time.monotonic()
    done = torchrun(made.spec, made.output, 2)
    assert done.returncode != 0
    assert time.monotonic() - begun < SECONDS / 2
    report = read_report(made.output / REPORT)
    assert (report.verdict, report.exit_code) == (Verdict.ERROR, 4)
    assert said in report.faults[0].message
    assert not (made.output / LEDGER).exists()


def test_the_first_process_that_dies_leaves_an_error(tmp_path):
    body = "os.kill(os.getpid(), signal.SIGKILL)"
    model = "import os, signal\n" + MODEL.replace(
        "return self.layer(x)", f"if os.environ.get('RANK') == '0': {body}\n        return None"
    )
    made = make_project(tmp_path, model=model)
    done = torchrun(made.spec, made.output, 2)
    assert done.returncode != 0
    [fault] = read_report(made.output / REPORT).faults
    assert fault.message == "the evaluation was killed by SIGKILL"


def test_a_restart_gives_the_right_answer(tmp_path):
    body = (
        "(marker := pathlib.Path(__file__).with_name('died')).exists() or "
        "(marker.touch(), os.kill(os.getpid(), signal.SIGKILL))"
    )
    made = project(tmp_path, body)
    done = torchrun(made.spec, made.output, 2, "--max-restarts", "1")
    assert done.returncode == 0, done.stdout + done.stderr
    assert (tmp_path / "died").exists()
    report = read_report(made.output / REPORT)
    assert report.verdict is Verdict.PASS
    assert report.completion.rows == report.completion.distinct == 40
    assert_same_report(run(made.spec, tmp_path / "whole").report, report)


def test_shards_are_run_without_torchrun(tmp_path):
    made = make_project(tmp_path)
    done = torchrun(made.spec, made.output, 2, arguments=["--shard", "1/2"])
    assert done.returncode != 0
    assert "runs its own part and no other" in done.stderr
