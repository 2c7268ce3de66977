"""The main job with real files and real processes: every way to end, and what it leaves."""

import json
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import pyarrow.parquet as pq
import pytest
import torch

from builders.projects import ENVIRON, MODEL, SPEC, make_project
from model_eval.cli import main
from model_eval.output import LEDGER, REPORT, SUMMARY, read_report
from model_eval.types import Verdict

FORWARD = "return self.layer(x)"


def hostile(body):
    """The model, with other code in its forward."""
    return "import os, sys, signal, ctypes, time\n" + MODEL.replace(FORWARD, body)


def test_a_pass_leaves_three_files(tmp_path):
    project = make_project(tmp_path)
    done = project.run()
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.endswith("sign: pass (exit 0): the required gate passed\n")
    assert sorted(path.name for path in project.output.iterdir()) == [LEDGER, REPORT, SUMMARY]
    report = read_report(project.output / REPORT)
    assert report.completion.rows == report.completion.expected == 40
    assert report.checkpoint.parameters == report.checkpoint.parameters_from_file == 3
    assert report.environment.device.used == "cpu"
    assert (project.output / SUMMARY).read_text().startswith("## ✅ `sign`: pass")
    ledger = pq.read_table(project.output / LEDGER)
    assert ledger.num_rows == 40
    assert (ledger["target"].to_numpy() == ledger["prediction"].to_numpy()).all()


def test_a_fail_exits_with_one(tmp_path):
    project = make_project(
        tmp_path,
        spec=SPEC.replace("{metric: accuracy, min: 0.9}", "{metric: log_loss, max: 0.0001}"),
    )
    assert project.run().returncode == 1
    assert read_report(project.output / REPORT).verdict is Verdict.FAIL


def test_a_spec_that_is_wrong_exits_with_two_and_says_all_at_once(tmp_path):
    project = make_project(
        tmp_path, spec=SPEC.replace("name:", "nam:").replace("accuracy,", "acuracy,")
    )
    done = project.run()
    assert done.returncode == 2
    report = read_report(project.output / REPORT)
    assert len(report.faults) >= 2
    assert all(fault.location.file == "model-eval.yaml" for fault in report.faults)
    assert "Traceback" not in done.stdout + done.stderr


def test_a_checkpoint_that_is_not_there_exits_with_an_error(tmp_path):
    project = make_project(tmp_path)
    (tmp_path / "model.safetensors").write_bytes(b"nothing")
    done = project.run()
    assert done.returncode == 3
    assert "model.safetensors" in done.stdout
    assert "Traceback" not in done.stdout + done.stderr


def test_a_pass_of_an_earlier_run_does_not_outlive_a_crash(tmp_path):
    project = make_project(tmp_path)
    assert project.run().returncode == 0
    (tmp_path / "model.py").write_text(hostile("os.kill(os.getpid(), signal.SIGKILL)"))
    assert project.run().returncode == 4
    assert read_report(project.output / REPORT).verdict is Verdict.ERROR
    assert not (project.output / LEDGER).exists()


@pytest.mark.parametrize(
    ("body", "message"),
    [
        ("os._exit(0)", "the evaluation ended with status 0 and no usable report: `report.json` cannot be read: No such file or directory"),
        ("os._exit(3)", "the evaluation ended with status 3 and no usable report: `report.json` cannot be read: No such file or directory"),
        ("os.kill(os.getpid(), signal.SIGKILL)", "the evaluation was killed by SIGKILL"),
        ("ctypes.string_at(0)", "the evaluation was killed by SIGSEGV"),
        ("os.abort()", "the evaluation was killed by SIGABRT"),
        ("os.kill(os.getpid(), 40)", "the evaluation was killed by signal 40"),
    ],
)  # fmt: skip
def test_a_process_that_dies_is_an_error_with_a_report(tmp_path, body, message):
    project = make_project(tmp_path, model=hostile(body))
    done = project.run()
    assert done.returncode == 4
    [fault] = read_report(project.output / REPORT).faults
    assert fault.message == message
    assert "error (exit 4)" in done.stdout


@pytest.mark.parametrize(
    ("body", "said"),
    [
        ("sys.exit(0)", "the model raised SystemExit: 0"),
        ("raise KeyError('x')", "the model raised KeyError: 'x'"),
        ("raise StopIteration", "the model raised StopIteration"),
        ("return x[:1] @ x[:1].T", "the model returned shape (1, 1) for a batch of 8 samples"),
    ],
)
def test_a_model_that_raises_is_an_error(tmp_path, body, said):
    project = make_project(tmp_path, model=hostile(body))
    done = project.run()
    assert done.returncode == 4
    assert said in done.stdout
    assert "Traceback" not in done.stderr


def test_outputs_that_are_nan_are_undecided_and_never_a_pass(tmp_path):
    project = make_project(tmp_path, model=hostile("return self.layer(x) * float('nan')"))
    done = project.run()
    assert done.returncode == 4
    report = read_report(project.output / REPORT)
    assert report.verdict is Verdict.UNDECIDED
    assert report.completion.finite == 0
    assert "have outputs that are not finite" in report.estimates[0].undefined


def started(command, when_hung_up=signal.SIG_DFL, **environ):
    """The process; whoever runs these tests may have SIGHUP ignored, which it would take over."""
    before = signal.signal(signal.SIGHUP, when_hung_up)
    try:
        return subprocess.Popen(
            command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env={**os.environ, **environ}
        )  # fmt: skip
    finally:
        signal.signal(signal.SIGHUP, before)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_an_interrupted_run_says_how_far_it_came(tmp_path, number):
    slow = hostile("print('batch', flush=True); time.sleep(0.5); " + FORWARD)
    project = make_project(tmp_path, model=slow, rows=400)
    child = started(project.command())
    assert child.stdout.readline() == "batch\n"
    asked = time.monotonic()
    child.send_signal(number)
    child.communicate(timeout=20)
    assert time.monotonic() - asked < 10
    assert child.returncode == 4
    [fault] = read_report(project.output / REPORT).faults
    assert fault.message.startswith("the run was interrupted after ")
    assert fault.message.endswith(" of 400 samples")


def test_a_run_that_is_to_outlive_its_terminal_does(tmp_path):
    waits = hostile("print('batch', flush=True); " + FORWARD)
    child = started(make_project(tmp_path, model=waits).command(), signal.SIG_IGN)
    assert child.stdout.readline() == "batch\n"
    child.send_signal(signal.SIGHUP)
    child.communicate(timeout=60)
    assert child.returncode == 0


def test_a_terminal_that_is_closed_leaves_no_temporary_folder(tmp_path):
    slow = hostile("print('batch', flush=True); time.sleep(60); " + FORWARD)
    command = make_project(tmp_path / "project", model=slow).command()
    (tmp_path / "scratch").mkdir()
    child = started(command[: command.index("--output")], TMPDIR=str(tmp_path / "scratch"))
    assert child.stdout.readline() == "batch\n"
    assert list((tmp_path / "scratch").iterdir()) != []
    child.send_signal(signal.SIGHUP)
    child.communicate(timeout=20)
    assert child.returncode == 4
    assert list((tmp_path / "scratch").iterdir()) == []


@pytest.mark.parametrize("options", [[], ["--in-process"]], ids=["supervised", "in-process"])
def test_a_run_ends_at_its_deadline_and_says_how_far_it_came(tmp_path, options):
    slow = hostile("time.sleep(0.5); " + FORWARD)
    project = make_project(tmp_path, model=slow, rows=4000)
    started = time.monotonic()
    done = project.run("--deadline", "7", *options)
    assert 7 <= time.monotonic() - started < 25
    assert done.returncode == 4
    report = read_report(project.output / REPORT)
    [fault] = report.faults
    counted = re.fullmatch(r"the deadline came after (\d+) of 4000 samples", fault.message)
    assert 0 < int(counted[1]) < 4000
    assert (report.verdict, report.estimates) == (Verdict.ERROR, ())


SWALLOWS = """
        global asked
        if len(x) >= {least} and not asked:
            asked = True
            try:
                os.kill({who}, signal.{name})
                time.sleep(60)
            except BaseException as error:
                {then}
        return self.layer(x)

asked = False
"""


def swallowing(*, name="SIGTERM", who="os.getpid()", then="pass", least=1):
    return hostile(SWALLOWS.format(name=name, who=who, then=then, least=least).strip())


@pytest.mark.parametrize("options", [[], ["--in-process"]], ids=["supervised", "in-process"])
@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("SIGTERM", "the run was interrupted"),
        ("SIGALRM", "an alarm (SIGALRM) that is no deadline's came"),
    ],
)
def test_a_stop_that_the_models_code_catches_is_no_pass(tmp_path, name, said, options):
    project = make_project(tmp_path, model=swallowing(name=name))
    done = project.run(*options)
    assert done.returncode == 4
    report = read_report(project.output / REPORT)
    assert report.verdict is Verdict.ERROR
    assert report.faults[0].message == f"{said} after 0 of 40 samples"
    assert not (project.output / LEDGER).exists()


def test_a_stop_that_becomes_another_error_is_no_skipped_check(tmp_path):
    # Thirty-two samples in one batch are those of the noise floor.
    stops = swallowing(then="raise RuntimeError('wrapped') from error", least=32)
    project = make_project(tmp_path, model=stops)
    assert project.run().returncode == 4
    [fault] = read_report(project.output / REPORT).faults
    assert fault.message == "the run was interrupted after 40 of 40 samples"


def test_a_stop_that_the_models_code_catches_leaves_nothing_in_the_store(tmp_path):
    project = make_project(tmp_path, model=swallowing(least=32))
    store = tmp_path / "store"
    assert project.run("--cache", str(store)).returncode == 4
    assert not [path for path in store.rglob("*") if path.is_file()]


def test_a_run_that_undoes_the_handler_is_no_pass_either(tmp_path):
    body = """
        [signal.signal(number, signal.SIG_IGN) for number in (signal.SIGTERM, signal.SIGALRM)]
        os.kill(os.getppid(), signal.SIGTERM)
        return self.layer(x)
"""
    project = make_project(tmp_path, model=hostile(body.strip()))
    assert project.run().returncode == 4
    [fault] = read_report(project.output / REPORT).faults
    assert fault.message == (
        "the run was asked to stop and went on to a result, which may be of other samples: "
        "it does not count"
    )
    assert not (project.output / LEDGER).exists()


def test_a_device_that_fails_is_no_bug_of_ours(tmp_path, monkeypatch, capsys):
    """A kernel that failed is heard of where something waits for it, and no line of the user's is there."""

    def fail(*_, **__):
        raise torch.AcceleratorError(
            "CUDA error: device-side assert triggered\nand advice of torch's"
        )

    monkeypatch.setattr("model_eval.run.outcome.evaluated", fail)
    project = make_project(tmp_path)
    assert main([*project.command()[4:], "--in-process"]) == 4
    [fault] = read_report(project.output / REPORT).faults
    assert str(fault) == (
        "the device failed: CUDA error: device-side assert triggered; run with CUDA_LAUNCH_BLOCKING=1, "
        "which says where; an index that is out of range is the commonest cause"
    )
    assert "bug in model-eval" not in capsys.readouterr().err


SIGNALLED = """
import os, signal, sys
from model_eval import run
from model_eval.run import steps
from model_eval.cli import child, program
old = {where}
def first(*arguments, **named):
    os.kill(os.getpid(), signal.{name})
    return old(*arguments, **named)
{where} = first
program()
"""


def signalled(project, where, name, *options):
    """Runs it with a signal that comes as soon as a function is called."""
    script = SIGNALLED.format(where=where, name=name)
    command = [sys.executable, "-I", "-c", script, *project.command(*options)[4:]]
    return subprocess.run(
        command, env=ENVIRON, capture_output=True, text=True, timeout=120, check=False
    )


@pytest.mark.parametrize("mode", ["--supervised", "--in-process"])
@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("SIGTERM", "the run was interrupted"),
        ("SIGALRM", "an alarm (SIGALRM) that is no deadline's came"),
    ],
)
def test_a_stop_before_the_run_has_a_report_and_is_no_bug(tmp_path, name, said, mode):
    project = make_project(tmp_path)
    done = signalled(project, "child._evaluate", name, mode)
    assert (done.returncode, done.stderr) == (4, "")
    [fault] = read_report(project.output / REPORT).faults
    assert fault.message == f"{said} before the samples were opened"


def test_a_stop_after_a_measurement_was_recalled_says_how_far_it_was(tmp_path):
    project = make_project(tmp_path)
    store = "--cache", str(tmp_path / "store")
    assert project.run(*store).returncode == 0
    done = signalled(project, "steps.find_baseline", "SIGTERM", "--in-process", *store)
    assert done.returncode == 4
    report = read_report(project.output / REPORT)
    assert report.reused is not None
    assert report.faults[0].message == "the run was interrupted after 40 of 40 samples"


@pytest.mark.parametrize("mode", ["--supervised", "--in-process"])
@pytest.mark.parametrize("name", ["SIGINT", "SIGALRM"])
def test_a_stop_while_the_result_is_saved_does_not_change_it(tmp_path, name, mode):
    project = make_project(tmp_path)
    done = signalled(project, "run.save", name, mode)
    assert (done.returncode, done.stderr) == (0, "")
    assert read_report(project.output / REPORT).verdict is Verdict.PASS
    assert (project.output / LEDGER).exists()


def test_a_deadline_before_the_child_listens_is_said_to_be_one(tmp_path):
    project = make_project(tmp_path)
    assert project.run("--deadline", "1e-9").returncode == 4
    [fault] = read_report(project.output / REPORT).faults
    assert fault.message == "the deadline came before it could write a report"


def test_a_run_that_does_not_heed_its_deadline_is_killed(tmp_path):
    ignoring = "signal.signal(signal.SIGALRM, signal.SIG_IGN); print('ready', flush=True); "
    project = make_project(tmp_path, model=hostile(ignoring + "time.sleep(600)"))
    done = project.run("--deadline", "5")
    assert done.returncode == 4
    [fault] = read_report(project.output / REPORT).faults
    assert fault.message.startswith("the run was asked to stop and did not within 8 seconds")


def test_a_run_that_ignores_signals_is_killed(tmp_path):
    deaf = hostile(
        "[signal.signal(s, signal.SIG_IGN) for s in (signal.SIGINT, signal.SIGTERM)]; "
        "print('deaf', flush=True); time.sleep(60); " + FORWARD
    )
    project = make_project(tmp_path, model=deaf)
    child = subprocess.Popen(project.command(), stdout=subprocess.PIPE, text=True)
    assert child.stdout.readline() == "deaf\n"
    child.send_signal(signal.SIGTERM)
    child.communicate(timeout=20)
    assert child.returncode == 4
    [fault] = read_report(project.output / REPORT).faults
    assert fault.message == (
        "the run was asked to stop and did not within 8 seconds, so it was killed"
    )


@pytest.mark.parametrize("options", [[], ["--in-process"]], ids=["supervised", "in-process"])
def test_threads_and_exit_handlers_have_no_say_in_the_verdict(tmp_path, options):
    project = make_project(
        tmp_path,
        model=hostile(
            "import threading, atexit; atexit.register(os._exit, 0); "
            "threading.Thread(target=time.sleep, args=(300,)).start(); " + FORWARD
        ),
        spec=SPEC.replace("{metric: accuracy, min: 0.9}", "{metric: log_loss, max: 0.0001}"),
    )
    started = time.monotonic()
    assert project.run(*options).returncode == 1
    assert time.monotonic() - started < 60


@pytest.mark.parametrize("options", [[], ["--in-process"]], ids=["supervised", "in-process"])
@pytest.mark.parametrize(
    ("body", "status"),
    [
        ("os._exit = lambda _: None; return -self.layer(x)", 1),
        ("sys.stdout = sys.stderr = None; return -self.layer(x)", 1),
        ("sys.stdout = sys.stderr = None; raise KeyError('x')", 4),
    ],
)
def test_what_the_model_takes_away_is_no_pass(tmp_path, options, body, status):
    project = make_project(tmp_path, model=hostile(body))
    assert project.run(*options).returncode == status
    assert read_report(project.output / REPORT).exit_code == status


def test_what_the_model_leaves_running_cannot_speak_afterwards(tmp_path):
    late = hostile(
        "import subprocess; subprocess.Popen(['sh', '-c', 'sleep 3; echo ::error::late']); "
        + FORWARD
    )
    project = make_project(tmp_path, model=late, rows=8)
    done = project.run(GITHUB_ACTIONS="true")
    assert done.returncode == 0
    assert "late" not in done.stdout


def test_a_keyboard_interrupt_of_the_models_is_no_interruption(tmp_path):
    project = make_project(tmp_path, model=hostile("raise KeyboardInterrupt"))
    done = project.run()
    assert done.returncode == 4
    assert "the model raised KeyboardInterrupt" in done.stdout


def test_a_pass_of_an_earlier_run_does_not_outlive_a_wrong_environment(tmp_path):
    project = make_project(tmp_path)
    assert project.run().returncode == 0
    assert project.run(GITHUB_RUN_ID="abc").returncode == 2
    assert list(project.output.iterdir()) == []


@pytest.mark.parametrize("options", [(), ("--in-process",)], ids=["supervised", "in-process"])
@pytest.mark.parametrize(
    ("wrong", "environ"),
    [
        (["--deadline", "0"], {}),
        (["--bogus"], {}),
        (["--cache", "c", "--no-cache"], {}),
        (["--shard", "1/2", "--new-spec"], {}),
        (["--shard", "0/2"], {}),
        ([], {"RANK": "5", "WORLD_SIZE": "2", "MASTER_ADDR": "-", "MASTER_PORT": "1"}),
    ],
)
def test_a_pass_of_an_earlier_run_does_not_outlive_a_wrong_command_line(
    tmp_path, wrong, environ, options
):
    project = make_project(tmp_path)
    project.output.mkdir()
    for name in (REPORT, SUMMARY, LEDGER):
        (project.output / name).write_text("of an earlier run")
    assert project.run(*wrong, *options, **environ).returncode == 2
    assert list(project.output.iterdir()) == []


def test_a_command_line_that_does_not_say_what_to_write_removes_nothing(tmp_path):
    project = make_project(tmp_path)
    kept = project.output / REPORT
    kept.parent.mkdir()
    kept.write_text("of a shard")
    merge = ["merge", str(project.spec), str(project.output), "--output", f"{tmp_path}/out/."]
    assert main([*merge, "--bogus"]) == 2
    assert main(["publish", "--output", str(project.output)]) == 2
    assert main(["run", "--output"]) == 2
    assert kept.exists()


@pytest.mark.parametrize("body", ["os._exit(0)", "sys.exit(0)"])
def test_in_process_no_stale_pass_is_left(tmp_path, body):
    project = make_project(tmp_path)
    assert project.run("--in-process").returncode == 0
    (tmp_path / "model.py").write_text(hostile(body))
    project.run("--in-process")
    assert not (project.output / LEDGER).exists()
    if (project.output / REPORT).exists():
        assert read_report(project.output / REPORT).verdict is Verdict.ERROR


@pytest.mark.parametrize("name", [REPORT, LEDGER])
def test_a_folder_in_the_place_of_a_file_is_said(tmp_path, name):
    project = make_project(tmp_path)
    (project.output / name).mkdir(parents=True)
    done = project.run()
    assert done.returncode == 4
    assert done.stderr.startswith(f"`{name}` of an earlier run cannot be removed from ")
    assert "Traceback" not in done.stderr


def test_a_file_that_has_the_name_of_a_ledger_is_neither_removed_nor_overwritten(tmp_path):
    project = make_project(tmp_path)
    further = "more_heldout:\n  sites: {path: heldout.csv, inputs: [{columns: [a, b], dtype: float32}], target: label}\n"
    project.spec.write_text(project.spec.read_text() + further)
    project.output.mkdir()
    theirs = [project.output / f"ledger-{name}.parquet" for name in ("2024", "sites")]
    for path in theirs:
        path.write_text("theirs")
    assert project.run().returncode == 4
    report = read_report(project.output / REPORT)
    assert report.faults[0].code == "output"
    assert report.faults[0].message.startswith(
        f"`ledger-sites.parquet` in `{project.output}` is no ledger of model-eval"
    )
    assert report.checkpoint is None  # it was said before the evaluation
    assert [path.read_text() for path in theirs] == ["theirs", "theirs"]
    theirs[1].unlink()
    for _ in range(2):
        assert project.run().returncode == 0
    assert theirs[0].read_text() == "theirs"


def test_a_killed_parent_takes_the_evaluation_with_it(tmp_path):
    slow = hostile("print(os.getpid(), flush=True); time.sleep(60); " + FORWARD)
    project = make_project(tmp_path, model=slow)
    child = subprocess.Popen(project.command(), stdout=subprocess.PIPE, text=True)
    evaluating = int(child.stdout.readline())
    child.kill()
    child.wait()
    for _ in range(100):
        if not Path(f"/proc/{evaluating}").exists():
            break
        time.sleep(0.05)
    assert not Path(f"/proc/{evaluating}").exists()
    assert not (project.output / REPORT).exists()


def test_a_report_written_by_the_model_must_agree_with_the_exit_status(tmp_path):
    forging = hostile(
        "import pathlib; pathlib.Path(__file__).parent.joinpath('out/report.json')"
        '.write_text(\'{"verdict": "pass"}\'); os._exit(0)'
    )
    project = make_project(tmp_path, model=forging)
    assert project.run().returncode == 4
    assert read_report(project.output / REPORT).verdict is Verdict.ERROR


def test_in_actions_the_models_output_cannot_command(tmp_path):
    printing = hostile("print('::error::forged'); print('::add-mask::x'); " + FORWARD)
    project = make_project(tmp_path, model=printing)
    summary, outputs = tmp_path / "summary", tmp_path / "outputs"
    done = project.run(
        GITHUB_ACTIONS="true", GITHUB_STEP_SUMMARY=str(summary), GITHUB_OUTPUT=str(outputs)
    )
    assert done.returncode == 0
    lines = done.stdout.splitlines()
    assert lines[0].startswith("::group::model-eval run ")
    token = lines[1].removeprefix("::stop-commands::")
    assert len(token) > 20
    resumed = lines.index(f"::{token}::")
    forged = [n for n, line in enumerate(lines) if "forged" in line or "add-mask" in line]
    assert forged
    assert max(forged) < resumed
    assert summary.read_text().startswith("## ✅ `sign`: pass")
    assert "verdict<<" in outputs.read_text()


def test_the_models_process_has_no_token(tmp_path):
    spying = hostile(
        "import json, pathlib; pathlib.Path(__file__).with_name('seen.json')"
        ".write_text(json.dumps(dict(os.environ))); " + FORWARD
    )
    project = make_project(tmp_path, model=spying)
    done = project.run(
        GITHUB_TOKEN="secret-1",
        MODEL_EVAL_TOKEN="secret-2",
        ACTIONS_RUNTIME_TOKEN="secret-3",
        GITHUB_OUTPUT=str(tmp_path / "outputs"),
        AWS_SECRET_ACCESS_KEY="secret-4",
        HF_TOKEN="secret-5",
        PLAIN="kept",
    )
    assert done.returncode == 0
    seen = json.loads((tmp_path / "seen.json").read_text())
    assert "secret" not in json.dumps(seen)
    assert "GITHUB_OUTPUT" not in seen
    assert seen["PLAIN"] == "kept"


def test_a_file_of_the_repository_cannot_stand_in_for_a_library(tmp_path):
    project = make_project(tmp_path)
    for name in ("yaml", "json", "torch", "model_eval", "safetensors"):
        (tmp_path / f"{name}.py").write_text("raise SystemExit(0)")
    done = subprocess.run(
        project.command(), cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert read_report(project.output / REPORT).verdict is Verdict.PASS


def test_without_an_output_folder_nothing_is_left(tmp_path):
    project = make_project(tmp_path)
    before = sorted(tmp_path.iterdir())
    command = project.command()
    at = command.index("--output")
    done = subprocess.run(command[:at], capture_output=True, text=True, check=False)
    assert done.returncode == 0
    assert [p for p in sorted(tmp_path.iterdir()) if p.name != "__pycache__"] == before


def test_an_output_folder_that_cannot_be_written_is_a_usage_error(tmp_path):
    project = make_project(tmp_path)
    project.output.write_text("a file")
    done = project.run()
    assert done.returncode == 2
    assert done.stderr == (
        f"`{project.output}` cannot be written to: File exists; "
        "name a folder for --output that this user may write to\n"
    )


def test_what_is_wrong_after_the_model_has_run_leaves_the_ledger(tmp_path):
    project = make_project(tmp_path, spec=SPEC + "baseline: {checkpoint: wrong.safetensors}\n")
    (project.folder / "wrong.safetensors").write_bytes(b"no weights")
    done = project.run()
    assert done.returncode == 3, done.stdout + done.stderr
    report = read_report(project.output / REPORT)
    assert (report.verdict, report.completion.proved) == (Verdict.ERROR, True)
    assert "wrong.safetensors" in report.faults[0].message
    assert pq.read_table(project.output / LEDGER).num_rows == 40


@pytest.mark.parametrize("options", [[], ["--in-process"]], ids=["supervised", "in-process"])
def test_code_that_closes_stderr_does_not_hide_what_else_it_does(tmp_path, options):
    closes = "sys.stderr.close(); " + FORWARD
    done = make_project(tmp_path / "right", model=hostile(closes)).run(*options)
    assert done.returncode == 0, done.stdout + done.stderr
    raises = hostile("sys.stderr.close(); raise KeyError('x')")
    project = make_project(tmp_path / "wrong", model=raises)
    assert project.run(*options).returncode == 4
    [fault] = read_report(project.output / REPORT).faults
    assert fault.message.startswith("the model raised KeyError: 'x'")


def test_the_notes_say_what_to_pin(tmp_path):
    project = make_project(tmp_path)
    assert project.run().returncode == 0
    report = read_report(project.output / REPORT)
    pins = dict(re.findall(r"set (\w+)\.sha256 to (\w{64})", "\n".join(report.notes)))
    spec = project.spec.read_text()
    spec = spec.replace(
        "path: model.safetensors", f"path: model.safetensors, sha256: {pins['checkpoint']}"
    )
    project.spec.write_text(
        spec.replace("  path: heldout.csv\n", f"  path: heldout.csv\n  sha256: {pins['heldout']}\n")
    )
    assert project.run().returncode == 0
    report = read_report(project.output / REPORT)
    assert (report.checkpoint.pinned, report.heldout.pinned) == (True, True)
    assert "pinned" not in "\n".join(report.notes)


def test_a_class_without_samples_is_noted(tmp_path):
    spec = SPEC.replace("  target: label", "  target: label\n  classes: [no, yes]").replace(
        "{metric: accuracy, min: 0.9}", "{metric: f1_macro, min: 0.9}"
    )
    project = make_project(tmp_path, spec=spec)
    rows = (tmp_path / "heldout.csv").read_text().replace(",0\n", ",no\n").replace(",1\n", ",yes\n")
    kept = [line for line in rows.splitlines() if not line.endswith(",no")]
    (tmp_path / "heldout.csv").write_text("\n".join(kept) + "\n")
    assert project.run().returncode == 0
    assert (
        "no sample is of `no`: macro averages leave out what is neither a target nor predicted"
        in read_report(project.output / REPORT).notes
    )
