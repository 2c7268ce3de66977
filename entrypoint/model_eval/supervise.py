"""Runs the evaluation in a child process, and believes only the report that it leaves.

Code of the repository runs in the child. There it can crash the interpreter, be killed for
memory, or call `os._exit(0)`: none of these may look like a pass. So the parent holds the exit
status against a report that it has validated, and writes the report itself where there is none.
The child's environment has none of GitHub's variables and nothing that is named like a secret.

What a child does for later runs comes after its result. So it says when that is complete, and with
which status; how it ends afterwards changes nothing.
"""

import os
import signal
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from types import FrameType

from model_eval import allocator, simd
from model_eval.cores import cores
from model_eval.errors import EvaluationError, ReportError, StoppedError
from model_eval.output import REPORT, read_report, remove_scratch, remove_stale, save_report
from model_eval.processes import none_left_behind
from model_eval.stop import SIGNALS, heard
from model_eval.types import Fault, Report, Verdict

_GRACE_SECONDS = 8
"""After a signal the child may finish its report; GitHub kills after ten seconds."""

_STOPPED = "the run was asked to stop and went on to a result, which may be of other samples: it does not count"
_NOT_KEPT = (
    "the measurement is not kept: the evaluation {ended} while it kept it; its result stands\n"
)
_STATUSES = range(5)
_HIDDEN_PREFIXES = ("GITHUB_", "ACTIONS_", "RUNNER_", "INPUT_")
_HIDDEN_WORDS = ("TOKEN", "SECRET", "PASSWORD", "PASSWD", "CREDENTIAL", "_KEY")


@dataclass(frozen=True, kw_only=True, slots=True)
class _Ending:
    """How the child ended.

    Attributes:
        status: of the process.
        asked: the signal that asked it to stop.
        killed: whether it was made to.
        handed_over: the status that its result has, where it said that this is complete.
    """

    status: int
    asked: signal.Signals | None
    killed: bool
    handed_over: int | None = None

    @property
    def result(self) -> int:
        """The status that the report must agree with."""
        return self.status if self.handed_over is None else self.handed_over


def supervise(
    arguments: Sequence[str],
    *,
    name: str,
    output: Path,
    environ: Mapping[str, str],
    meanwhile: Callable[[], None],
    deadline: float | None = None,
) -> Report:
    """Runs `model-eval … --supervised` and returns the report it left.

    Args:
        arguments: the child's command line, which begins with the command.
        name: what a report made here is called, where the child leaves none.
        output: the folder of the three files; files of an earlier run are removed first.
        environ: the parent's environment, from which the child's is taken.
        meanwhile: called once the child has started, which is what takes the time.
        deadline: seconds after which the child is asked to stop; None for as long as it takes.
    """
    remove_stale(output)
    ending = _child(arguments, output, environ, deadline, meanwhile)
    remove_scratch(output)
    try:
        report = read_report(output / REPORT, exit_status=ending.result)
    except ReportError as error:
        faults = _faults(ending, error)
    else:
        if ending.asked is None or report.verdict is Verdict.ERROR:
            if ending.status != ending.result:
                sys.stderr.write(_NOT_KEPT.format(ended=_ended(ending.status)))
            return report
        faults = StoppedError(_STOPPED).faults
        remove_stale(output)
    from model_eval.report import error_report

    report = error_report(name, faults, exit_code=4)
    save_report(report, output)
    return report


def relay(
    arguments: Sequence[str],
    *,
    output: Path,
    environ: Mapping[str, str],
    deadline: float | None = None,
) -> int:
    """Runs one of several processes that share out a run, and returns how it ended.

    The first process alone judges and leaves a report to be read. A child that leaves none has not
    come to its end, whatever its status is.

    Args:
        arguments: as for `supervise`.
        output: a folder of its own, which is thrown away.
        environ: as for `supervise`.
        deadline: as for `supervise`.
    """
    ending = _child(arguments, output, environ, deadline)
    try:
        read_report(output / REPORT)
    except ReportError as error:
        sys.stderr.write("".join(f"{fault}\n" for fault in _faults(ending, error)))
        return 4
    if ending.asked is not None and ending.status == 0:
        sys.stderr.write(f"{_STOPPED}\n")
        return 4
    return ending.status if ending.status in _STATUSES else 4


def _child(
    arguments: Sequence[str],
    output: Path,
    environ: Mapping[str, str],
    deadline: float | None,
    meanwhile: Callable[[], None] = lambda: None,
) -> _Ending:
    return _run(
        [sys.executable, "-I", "-m", "model_eval", *arguments, "--supervised"],
        environ=child_environ(environ),
        meanwhile=meanwhile,
        judged=(output / REPORT).exists,
        deadline=deadline,
    )


def child_environ(environ: Mapping[str, str]) -> dict[str, str]:
    """The environment without GitHub's variables and what is named like a secret, and with our settings.

    This keeps secrets out of logs and reports, not from code that looks for them: a process can read
    its parent's environment. Only the action's sandbox has none.
    """
    kept = {
        name: value
        for name, value in environ.items()
        if not name.startswith(_HIDDEN_PREFIXES)
        and not any(word in name.upper() for word in _HIDDEN_WORDS)
    }
    # torch counts the machine's cores, not those that a container was given.
    return {"OMP_NUM_THREADS": str(cores()), **allocator.ENVIRON, **simd.environ(), **kept}


def _run(
    command: Sequence[str],
    *,
    environ: Mapping[str, str],
    meanwhile: Callable[[], None],
    judged: Callable[[], bool],
    deadline: float | None = None,
) -> _Ending:
    """Runs the child; a stop that comes after it has left its report does not count as one."""
    asked: signal.Signals | None = None
    late = killed = False
    child: subprocess.Popen[bytes] | None = None

    def forward(number: int, _frame: FrameType | None) -> None:
        nonlocal asked, late
        if child is not None and child.returncode is not None:
            return  # it had come to its end before
        if asked is None:
            asked, late = signal.Signals(number), judged()
            signal.alarm(_GRACE_SECONDS)
        if child is not None:
            child.send_signal(number)

    def time_is_up(_number: int, _frame: FrameType | None) -> None:
        nonlocal killed
        if child is None:
            signal.alarm(1)  # it is only being started
        elif asked is None:
            forward(signal.SIGALRM, None)  # which is how the child knows its deadline from a stop
        elif child.returncode is None:
            killed = True
            child.kill()

    said, says = os.pipe()
    before = {
        number: signal.signal(number, time_is_up if number == signal.SIGALRM else forward)
        for number in heard(SIGNALS)
    }
    try:
        child = subprocess.Popen(  # noqa: S603 — our own interpreter and arguments
            [*command, f"--hand-over={says}"],
            env=dict(environ), stdin=subprocess.DEVNULL, start_new_session=True, pass_fds=[says],
        )  # fmt: skip
        if asked is not None:  # before there was anything to pass it on to
            child.terminate()
        elif deadline is not None:
            signal.setitimer(signal.ITIMER_REAL, deadline)
        # What the user's code left running must not print into the steps that follow.
        with none_left_behind():
            meanwhile()
            status = child.wait()  # without a timeout, because Python would look only every 50 ms
            with suppress(ProcessLookupError, PermissionError):
                os.killpg(child.pid, signal.SIGKILL)
        return _Ending(
            status=status,
            asked=None if late else asked,
            killed=killed,
            handed_over=_handed_over(said),
        )
    finally:
        os.close(said)
        os.close(says)
        signal.setitimer(signal.ITIMER_REAL, 0)
        for number, handler in before.items():
            signal.signal(number, handler)


def _handed_over(said: int) -> int | None:
    """The status that the child has said, without waiting for one; None where it said none."""
    os.set_blocking(said, False)
    with suppress(BlockingIOError, ValueError):
        status = int(os.read(said, 16))
        return status if status in _STATUSES else None
    return None


def _ended(status: int) -> str:
    return f"was killed by {_signal(-status)}" if status < 0 else f"ended with {status}"


def _signal(number: int) -> str:
    """What people call it; most of the real-time signals have no name."""
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"signal {number}"


def _faults(ending: _Ending, error: ReportError) -> tuple[Fault, ...]:
    if ending.killed:
        return StoppedError(
            f"the run was asked to stop and did not within {_GRACE_SECONDS} seconds, so it was killed"
        ).faults
    if ending.asked is not None:
        deadline = ending.asked is signal.SIGALRM
        what = "the deadline came" if deadline else f"the run was stopped by {ending.asked.name}"
        return StoppedError(f"{what} before it could write a report").faults
    if ending.status < 0:
        remedy = (
            "it may have run out of memory: lower run.batch_size or give it more"
            if ending.status == -signal.SIGKILL
            else "look at its log; a native extension may have crashed"
        )
        return EvaluationError(f"the evaluation {_ended(ending.status)}", remedy=remedy).faults
    return ReportError(
        f"the evaluation ended with status {ending.status} and no usable report: {error.message}"
    ).faults
