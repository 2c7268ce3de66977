"""The output folder of a run: it is one run's at a time, keeps a baseline, and says what it did not take."""

import os
import signal
from argparse import Namespace
from contextlib import contextmanager
from fcntl import LOCK_EX, flock
from threading import Timer

import pytest

from builders.projects import MODEL, SPEC, make_project
from builders.shards import sharded
from model_eval.cli import main
from model_eval.cli.output_folder import clear_unparsed, own_output
from model_eval.errors import OutputError
from model_eval.output import LEDGER, REPORT, SUMMARY, read_report
from model_eval.stop import SIGNALS
from model_eval.types import Verdict

MORE = "{path: heldout.csv, inputs: [{columns: [a, b], dtype: float32}], target: label}"


@pytest.fixture(autouse=True)
def _handlers():
    """A run in this process leaves its own."""
    before = {number: signal.getsignal(number) for number in SIGNALS}
    yield
    for number, handler in before.items():
        signal.signal(number, handler)


@contextmanager
def another_run(folder):
    """Has the folder, as a run has it."""
    folder.mkdir(exist_ok=True)
    descriptor = os.open(folder, os.O_RDONLY)
    flock(descriptor, LOCK_EX)
    try:
        yield
    finally:
        os.close(descriptor)


def in_process(project, *arguments):
    return main([*project.command(*arguments)[4:], "--in-process"])


def files(folder):
    return sorted(path.name for path in folder.iterdir())


# --- one run at a time ------------------------------------------------------------------------


def test_two_runs_do_not_share_a_folder(tmp_path):
    """One would show the other's report as its own."""
    project = make_project(tmp_path)
    assert project.run().returncode == 0
    with another_run(project.output):
        done = project.run()
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == (
        f"another run writes to `{project.output}`; wait for it to end, or name another folder with "
        "--output\n"
    )
    assert files(project.output) == [LEDGER, REPORT, SUMMARY]  # which are the other's
    assert project.run().returncode == 0


@pytest.mark.parametrize("arguments", [(), ("--in-process",)])
def test_a_run_has_its_folder_while_the_model_runs(tmp_path, arguments):
    body = (
        "fcntl.flock(os.open(os.path.dirname(__file__) + '/out', 0), fcntl.LOCK_EX | fcntl.LOCK_NB)"
    )
    model = "import fcntl, os\n" + MODEL.replace("return", f"{body}\n        return")
    done = make_project(tmp_path, model=model).run(*arguments)
    assert done.returncode != 0
    assert "BlockingIOError" in done.stdout


def test_what_a_run_leaves_running_does_not_keep_the_folder(tmp_path):
    body = "import subprocess; subprocess.Popen(['sleep', '20'], start_new_session=True)"
    model = MODEL.replace("super().__init__()", f"super().__init__()\n        {body}")
    project = make_project(tmp_path, model=model)
    assert project.run().returncode == 0
    assert project.run().returncode == 0


@pytest.mark.parametrize("mode", ["run", "merge", "wrong"])
def test_what_another_run_writes_is_left_alone(tmp_path, capsys, mode):
    project = make_project(tmp_path)
    folders = sharded(project.spec, tmp_path, 2)
    output = ["--output", str(project.output)]
    arguments = {
        "run": ["run", str(project.spec), *output, "--in-process"],
        "merge": ["merge", str(project.spec), *map(str, folders), *output, "--in-process"],
        "wrong": ["run", str(project.spec), *output, "--no-such-option"],
    }[mode]
    with another_run(project.output):
        (project.output / REPORT).write_text("the other's")
        assert main(arguments) == 2
    said = "unrecognized arguments" if mode == "wrong" else "another run writes to"
    assert said in capsys.readouterr().err
    assert (project.output / REPORT).read_text() == "the other's"
    main(arguments)
    assert (project.output / REPORT).exists() is (mode != "wrong")


def test_a_file_system_without_locks(tmp_path, monkeypatch):
    def none(*_):
        raise OSError("no locks available")

    monkeypatch.setattr("model_eval.output.flock", none)
    assert in_process(make_project(tmp_path)) == 0


# --- a baseline that is there -----------------------------------------------------------------


@pytest.mark.parametrize("name", [LEDGER, "ledger-main.parquet"])
def test_a_baseline_in_the_output_folder_is_not_removed(tmp_path, name, capsys):
    project = make_project(tmp_path)
    assert in_process(project) == 0
    kept = project.output / name
    (project.output / LEDGER).rename(kept)
    gate = "  - {metric: accuracy, max_drop: 0.5}\n"
    text = SPEC.replace("decisions:", f"{gate}decisions:") + f"baseline: {{ledger: out/{name}}}\n"
    project.spec.write_text(text)
    capsys.readouterr()
    assert in_process(project) == 2
    assert capsys.readouterr().err == (
        f"the spec's `baseline` is `{kept}`, which this run would remove; name another folder with "
        "--output, or move the ledger and correct the spec\n"
    )
    assert files(project.output) == [name]  # a pass of before does not outlive the error
    elsewhere = tmp_path / "elsewhere"
    assert main(["run", str(project.spec), "--output", str(elsewhere), "--in-process"]) == 0


def test_a_ledger_that_is_no_baseline_is_removed(tmp_path):
    project = make_project(tmp_path)
    assert in_process(project) == 0
    kept = tmp_path / "kept.parquet"
    (project.output / LEDGER).rename(kept)
    project.spec.write_text(f"{SPEC}baseline: {{ledger: kept.parquet}}\n")
    assert in_process(project) == 0
    assert in_process(project) == 0
    assert kept.exists()


# --- what it does not take --------------------------------------------------------------------


def test_what_fails_while_the_result_is_saved_is_in_the_report(tmp_path):
    """It comes to be there while the model runs, so that nothing could be said before."""
    body = "pathlib.Path(__file__).with_name('out').joinpath('ledger-more.parquet').write_text('x')"
    model = "import pathlib\n" + MODEL.replace("return", f"{body}\n        return")
    project = make_project(tmp_path, model=model, spec=f"{SPEC}more_heldout: {{more: {MORE}}}\n")
    done = project.run()
    assert done.returncode == 4
    report = read_report(project.output / REPORT)
    assert (report.verdict, report.name) == (Verdict.ERROR, "sign")
    [fault] = report.faults
    assert fault.code == "output"
    assert fault.message == (
        f"`ledger-more.parquet` in `{project.output}` is no ledger of model-eval, "
        "and is not overwritten"
    )
    assert files(project.output) == ["ledger-more.parquet", REPORT, SUMMARY]


def test_what_fails_while_the_report_is_saved_too_is_said(tmp_path, monkeypatch, capsys):
    def full(*_):
        raise OutputError("there is no room")

    monkeypatch.setattr("model_eval.run.save", full)
    monkeypatch.setattr("model_eval.output.save_report", full)
    project = make_project(tmp_path)
    assert in_process(project) == 4
    assert "there is no room" in capsys.readouterr().err
    assert files(project.output) == []


def test_a_shard_says_at_once_that_its_golden_cases_have_no_place(tmp_path):
    golden = "{path: golden.csv, inputs: [{columns: [a, b], dtype: float32}], outputs: logit}"
    project = make_project(tmp_path, spec=f"{SPEC}golden: {golden}\n")
    (tmp_path / "golden.csv").write_text("a,b,logit\n1,1,10\n")
    project.output.mkdir()
    (project.output / "ledger-golden.parquet").write_text("theirs")
    assert in_process(project, "--shard", "1/2") == 4
    report = read_report(project.output / REPORT)
    assert (report.faults[0].code, report.checkpoint) == ("output", None)
    assert in_process(project) == 0  # which keeps none


def begin(output, environ):
    with own_output(Namespace(output=output), environ):
        pass


def begin_wrongly(output, environ):
    clear_unparsed(["run", "spec.yaml", "--output", str(output), "--unknown"], environ)


@pytest.mark.parametrize("go_on", [begin, begin_wrongly])
def test_another_process_of_torchrun_goes_on_when_the_first_has_emptied_the_folder(tmp_path, go_on):
    """Or what is wrong for both would end the first one before that, and leave an old pass."""
    (tmp_path / REPORT).write_text("of an earlier run")
    ranks = {
        "RANK": "1",
        "LOCAL_RANK": "1",
        "WORLD_SIZE": "2",
        "MASTER_ADDR": "x",
        "MASTER_PORT": "1",
    }
    first = Timer(0.5, (tmp_path / REPORT).unlink)
    first.start()
    go_on(tmp_path, ranks)
    assert not (tmp_path / REPORT).exists()
    first.join()
