"""Several processes of torchrun: the whole run's report, and an error wherever one of them ends."""

import errno
import os
import signal
import socket
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path

import pytest

from builders.projects import MODEL, SPEC, make_project
from builders.shards import assert_same_ledgers, assert_same_report, evidence, run
from model_eval.cli import main
from model_eval.errors import OutputError
from model_eval.output import LEDGER, REPORT, read_report
from model_eval.rank import Rank
from model_eval.stop import Stop
from model_eval.team import Team
from model_eval.types import Verdict

SECONDS = 100
ENVIRON = {"PATH": os.environ["PATH"], "OMP_NUM_THREADS": "1"}
PARENT = "pathlib.Path('/proc', str(os.getppid()), 'environ').read_text().split(chr(0))"
"""The variables as the parent of the process has them: the repository's code is not told its rank."""
CAUGHT = """
            try:
                os.kill(os.getpid(), signal.SIGTERM)
                time.sleep(0.5)
            except BaseException:
                pass"""


def in_rank(rank, body):
    return f"if 'RANK={rank}' in {PARENT}: {body}\n        return self.layer(x)"


def command(spec, output, processes, *options, arguments=()):
    return [
        sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node",
        str(processes), *options, "-m", "model_eval", "run", str(spec), "--output", str(output),
        *arguments,
    ]  # fmt: skip


def torchrun(*what, **more):
    return subprocess.run(
        command(*what, **more),
        env=ENVIRON,
        capture_output=True,
        text=True,
        timeout=SECONDS,
        check=False,
    )


def child_of_first(launcher):
    """The process id of the evaluation that the first process of torchrun has started."""
    for path in Path("/proc").glob("[0-9]*/stat"):
        with suppress(OSError):
            parent = int(path.read_text().rpartition(")")[2].split()[1])
            above = Path(f"/proc/{parent}/stat").read_text().rpartition(")")[2].split()[1]
            variables = Path(f"/proc/{parent}/environ").read_text().split("\0")
            if int(above) == launcher and "RANK=0" in variables:
                return int(path.parent.name)
    raise AssertionError("the first process has no child")


def project(folder, body, *, rank=1):
    """A project whose model does something else in one process."""
    model = "import os, pathlib, signal, sys, time\n" + MODEL.replace(
        "return self.layer(x)", in_rank(rank, body)
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
        ("time.sleep(2); os.kill(os.getpid(), signal.SIGKILL)", "before rank 1 of 2 had finished"),
        ("time.sleep(2); os._exit(0)", "before rank 1 of 2 had finished"),
        ("time.sleep(2); os._exit(3)", "before rank 1 of 2 had finished"),
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
    if "failed: " in said:  # the remedy is to look at what that process printed
        [line] = [line for line in done.stderr.splitlines() if line.startswith("rank 1 of 2: ")]
        assert said.partition("failed: ")[2] in line
    assert not (made.output / LEDGER).exists()


def test_the_first_process_that_dies_leaves_an_error(tmp_path):
    made = project(tmp_path, "os.kill(os.getpid(), signal.SIGKILL)", rank=0)
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


def test_a_second_run_of_one_job_is_refused(tmp_path):
    """What wraps the command and tries again would get the ledgers of the first try."""
    made = make_project(tmp_path)
    twice = tmp_path / "twice.sh"
    run_it = f"{sys.executable} -m model_eval run {made.spec} --output"
    twice.write_text(f"{run_it} {tmp_path}/first && {run_it} {made.output}\n")
    done = subprocess.run(
        [
            sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2",
            "--no-python", "bash", str(twice),
        ],
        env=ENVIRON, capture_output=True, text=True, timeout=SECONDS, check=False,
    )  # fmt: skip
    assert done.returncode != 0
    assert read_report(tmp_path / "first" / REPORT).verdict is Verdict.PASS
    report = read_report(made.output / REPORT)
    assert (report.verdict, report.exit_code) == (Verdict.ERROR, 4)
    assert report.faults[0].remedy == "start torchrun once for each run"


def test_shards_are_run_without_torchrun(tmp_path):
    made = make_project(tmp_path)
    assert made.run().returncode == 0
    done = torchrun(made.spec, made.output, 2, arguments=["--shard", "1/2"])
    assert done.returncode != 0
    assert "runs its own part and no other" in done.stderr
    assert not (made.output / REPORT).exists()  # which said that it passed


# --- data that shares itself out ---------------------------------------------------------------

OWN_SHARE = """
import os, pathlib, torch

def which(name, other):
    {which}

class Data(torch.utils.data.Dataset):
    def __init__(self):
        lines = pathlib.Path(__file__).with_name('heldout.csv').read_text().splitlines()[1:]
        self.rows = [[float(v) for v in line.split(',')] for line in lines]
        self.rows = self.rows[which('RANK', 0)::which('WORLD_SIZE', 1)]

    def __len__(self):
        return len(self.rows)

    def __getitem__(self, index):
        *x, y = self.rows[index]
        return torch.tensor(x), int(y)
"""


def of_a_loader(folder, code, *, count=""):
    text = SPEC.replace(
        "  path: heldout.csv\n  inputs: [{columns: [a, b], dtype: float32}]\n  target: label\n",
        f'  loader: "data.py:Data"\n{count}',
    )
    made = make_project(folder, spec=text)
    (folder / "data.py").write_text(code)
    return made


def test_a_loader_that_shares_itself_out_by_rank_gives_all_of_its_samples(tmp_path):
    made = of_a_loader(tmp_path, OWN_SHARE.format(which="return int(os.environ.get(name, other))"))
    whole = run(made.spec, tmp_path / "whole").report
    done = torchrun(made.spec, made.output, 2)
    assert done.returncode == 0, done.stdout + done.stderr
    report = read_report(made.output / REPORT)
    assert report.completion.rows == report.completion.distinct == 40
    assert_same_report(whole, report)


def test_variables_of_a_launcher_that_is_not_there(tmp_path):
    """A run of one process judges all samples, whatever a matrix of jobs has set."""
    made = of_a_loader(tmp_path, OWN_SHARE.format(which="return int(os.environ.get(name, other))"))
    done = subprocess.run(
        made.command(),
        env={**ENVIRON, "RANK": "1", "WORLD_SIZE": "4"},
        capture_output=True,
        text=True,
        timeout=SECONDS,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert read_report(made.output / REPORT).completion.rows == 40


def test_a_loader_that_finds_its_rank_all_the_same_is_refused(tmp_path):
    """By variables that another launcher set, for example: each process then sees another set."""
    which = f"return int(dict(v.split('=', 1) for v in {PARENT} if '=' in v).get(name, other))"
    made = of_a_loader(tmp_path, OWN_SHARE.format(which=which))
    done = torchrun(made.spec, made.output, 2)
    assert done.returncode != 0
    report = read_report(made.output / REPORT)
    assert (report.verdict, report.exit_code) == (Verdict.ERROR, 3)


def test_a_generator_that_cannot_begin_again(tmp_path):
    code = """
import pathlib, torch

def Data():
    lines = pathlib.Path(__file__).with_name('heldout.csv').read_text().splitlines()[1:]
    return ((torch.tensor([float(v) for v in l.split(',')[:2]]), int(l[-1])) for l in lines)
"""
    made = of_a_loader(tmp_path, code, count="  count: 40\n")
    done = torchrun(made.spec, made.output, 2)
    assert done.returncode != 0
    [fault] = read_report(made.output / REPORT).faults
    assert fault.message == "the loader `data.py:Data` gives other samples the second time"


# --- the folder in which the ledgers are kept --------------------------------------------------


class Alone(Team):
    """The first process, and what happens when it is to get the ledgers of the others."""

    def __init__(self, raises):
        super().__init__(Rank(index=0, of=2, local=0, kept=True), lambda: None)
        self.raises = raises

    def begin(self):
        pass

    def listening(self, progress):
        return progress

    def gather(self, own, scratch):
        self.raises()


def full():
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def test_no_room_for_the_ledgers_of_the_others(tmp_path):
    made = make_project(tmp_path)
    report = run(made.spec, made.output, team=Alone(full), output=made.output).report
    assert (report.verdict, report.exit_code) == (Verdict.ERROR, 4)
    assert report.faults[0].message == (
        f"the ledgers of the processes cannot be kept in `{made.output}`: No space left on device"
    )
    assert sorted(path.name for path in made.output.iterdir()) == [REPORT, "summary.md"]
    assert report.completion is None  # that of this process's part is not the run's


def test_the_others_hear_that_the_result_cannot_be_saved(tmp_path, monkeypatch, capsys):
    made = make_project(tmp_path, spec=SPEC.replace("name:", "nam:"))
    team, said = Alone(full), []
    team.end = lambda *how: said.append(how) or 4

    def save(*_):
        raise OutputError("there is no room")

    monkeypatch.setattr("model_eval.cli.child._team", lambda _: team)
    monkeypatch.setattr("model_eval.run.save", save)
    assert main([*made.command()[4:], "--in-process"]) == 4
    assert said == [(4, "there is no room")]
    assert "there is no room" in capsys.readouterr().err


def test_samples_that_are_counted_are_those_of_this_process(tmp_path):
    made = make_project(tmp_path)
    stop = Stop(deadline=True)
    team = Alone(lambda: stop.take(signal.SIGALRM, None))
    report = run(made.spec, made.output, team=team, stop=stop).report
    assert report.exit_code == 4
    assert report.faults[0].message == "the deadline came after 16 of 16 samples of rank 0 of 2"


def test_a_killed_first_process_leaves_no_ledgers_behind(tmp_path):
    made = project(tmp_path, "time.sleep(60)")
    process = subprocess.Popen(command(made.spec, made.output, 2), env=ENVIRON)
    try:
        kept = made.output / ".model-eval-parts-"
        while not list(made.output.glob(f"{kept.name}*/own/{REPORT}")):
            assert process.poll() is None
            time.sleep(0.1)
        os.kill(child_of_first(process.pid), signal.SIGKILL)
        process.wait(timeout=SECONDS)
    finally:
        process.kill()
    assert sorted(path.name for path in made.output.iterdir()) == [REPORT, "summary.md"]


# --- variables that somebody left there --------------------------------------------------------


@pytest.mark.parametrize("rank", ["0", "1"])
def test_nobody_comes(tmp_path, rank):
    """It is said at once for whom it waits, and the deadline ends it with a report."""
    made = make_project(tmp_path)
    with socket.socket() as free:
        free.bind(("localhost", 0))
        port = str(free.getsockname()[1])
    stray = {"RANK": rank, "WORLD_SIZE": "2", "MASTER_ADDR": "localhost", "MASTER_PORT": port}
    done = subprocess.run(
        made.command("--deadline", "8"),
        env={**ENVIRON, **stray},
        capture_output=True,
        text=True,
        timeout=SECONDS,
        check=False,
    )
    said = f"process {rank} of 2 (RANK, WORLD_SIZE): waiting for the others at localhost:{port}\n"
    assert done.returncode == 4
    assert done.stderr.startswith(said)
    if rank == "0":
        [fault] = read_report(made.output / REPORT).faults
        assert fault.message == "the deadline came before the samples were opened"
