"""Runs the evaluation in a child process, and believes only the report that it leaves.

Code of the repository runs in the child. There it can crash the interpreter, be killed for
memory, or call `os._exit(0)`: none of these may look like a pass. So the parent holds the exit
status against a report that it has validated, and writes the report itself where there is none.
The child's environment has no token and none of GitHub's files.
"""

import signal
import subprocess
import sys
from collections.abc import Mapping, Sequence
from math import inf
from pathlib import Path
from time import monotonic
from types import FrameType

from model_eval.errors import EvaluationError, ReportError
from model_eval.output import REPORT, read_report, remove_stale, save_report
from model_eval.report import error_report
from model_eval.types import Fault, Report

_GRACE_SECONDS = 8
"""After a signal the child may finish its report; GitHub kills after ten seconds."""

_HIDDEN = ("GITHUB_", "ACTIONS_", "RUNNER_", "INPUT_", "MODEL_EVAL_TOKEN")


def supervise(
    arguments: Sequence[str], *, name: str, output: Path, environ: Mapping[str, str]
) -> Report:
    """Runs `model-eval run … --in-process` and returns the report it left.

    Args:
        arguments: of the child's command line, after `run`.
        name: what a report made here is called, where the child leaves none.
        output: the folder of the three files; files of an earlier run are removed first.
        environ: the parent's environment, from which the child's is taken.
    """
    remove_stale(output)
    status = _run(
        [sys.executable, "-I", "-m", "model_eval", "run", *arguments, "--in-process", "--quiet"],
        environ=child_environ(environ),
    )
    try:
        return read_report(output / REPORT, exit_status=status)
    except ReportError as error:
        report = error_report(name, _faults(status, error), exit_code=4)
        save_report(report, output)
        return report


def child_environ(environ: Mapping[str, str]) -> dict[str, str]:
    """The environment without tokens and without the files through which steps speak to GitHub."""
    return {key: value for key, value in environ.items() if not key.startswith(_HIDDEN)}


def _run(command: Sequence[str], *, environ: Mapping[str, str]) -> int:
    child = subprocess.Popen(  # noqa: S603 — our own interpreter and arguments
        command, env=dict(environ), stdin=subprocess.DEVNULL, start_new_session=True
    )
    kill_at = inf

    def forward(number: int, _frame: FrameType | None) -> None:
        nonlocal kill_at
        kill_at = min(kill_at, monotonic() + _GRACE_SECONDS)
        child.send_signal(number)

    before = {s: signal.signal(s, forward) for s in (signal.SIGINT, signal.SIGTERM)}
    try:
        while True:
            try:
                return child.wait(timeout=1)
            except subprocess.TimeoutExpired:
                if monotonic() >= kill_at:
                    child.kill()
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _faults(status: int, error: ReportError) -> tuple[Fault, ...]:
    if status < 0:
        name = signal.Signals(-status).name
        remedy = (
            "it may have run out of memory: lower run.batch_size or give it more"
            if name == "SIGKILL"
            else "look at its log; a native extension may have crashed"
        )
        return EvaluationError(f"the evaluation was killed by {name}", remedy=remedy).faults
    message = f"the evaluation ended with status {status} and no usable report: {error.message}"
    return ReportError(message).faults
