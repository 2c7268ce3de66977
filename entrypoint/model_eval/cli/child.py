"""`run` and `merge` where the model's code runs: in a child process, or with `--in-process` in this one."""

import argparse
import os
import signal
import sys
import time
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from functools import partial
from pathlib import Path
from stat import S_ISFIFO
from typing import TYPE_CHECKING, NoReturn, TextIO

from model_eval.cli.shards import status_of
from model_eval.cli.surroundings import rank_of_process, roots_of
from model_eval.errors import BUG, Interrupted, ModelEvalError, OutputError
from model_eval.processes import die_with_parent
from model_eval.stop import Stop

if TYPE_CHECKING:
    from model_eval.run import Evaluation
    from model_eval.team import Team

_exit = os._exit  # before code of the repository could replace it


def run_supervised(args: argparse.Namespace, stdout: TextIO) -> NoReturn:
    """The child's side of `supervise`: leaves a report, prints no result, and is gone.

    It does not wait for threads and exit handlers of the user's code, which could hang or change
    the status.
    """
    stop = Stop(deadline=args.deadline is not None)  # which the parent keeps
    if args.hand_over is not None:
        with suppress(OSError):
            os.set_inheritable(args.hand_over, False)
    stop.listen()  # before large packages are imported, so that a stop meanwhile has a report, too
    die_with_parent()
    status = 4
    try:
        _, status = _evaluate(args, stop)
    except Interrupted:
        sys.stderr.write("interrupted\n")
    except ModelEvalError as error:
        sys.stderr.write(f"{error}\n")
    except BaseException:  # noqa: BLE001 — whatever it is, the parent says that there is no report
        traceback.print_exc()
        sys.stderr.write(BUG)
    finally:
        with suppress(BaseException):  # the user's code may have put anything there
            stdout.flush()
            sys.stderr.flush()
        _exit(status)


def run_in_process(args: argparse.Namespace, stdout: TextIO) -> int:
    """Evaluates here, shows the report, and returns the exit status; nothing is published."""
    from model_eval.report import render_terminal

    rank = rank_of_process(args, os.environ)
    if rank is not None and not rank.first:
        args.output = None  # the first process writes there
    if args.no_baseline:  # of another revision, which the run that compares with it has started
        die_with_parent()
    stop = Stop(deadline=args.deadline is not None)
    stop.listen()
    if args.deadline is not None:
        signal.setitimer(signal.ITIMER_REAL, args.deadline)
    evaluation, status = _evaluate(args, stop)
    if rank is None or rank.first:
        stdout.write(render_terminal(evaluation.report))
        stdout.flush()
    return status if rank is not None else status_of(args, evaluation.report)


def _evaluate(args: argparse.Namespace, stop: Stop) -> "tuple[Evaluation, int]":
    """What was evaluated, and the exit status of this process."""
    from model_eval.progress import show_progress
    from model_eval.run import BaseBranch, Parts, evaluate, keep, save

    team = _team(args)
    first = team is None or team.rank.first
    evaluation = evaluate(
        args.spec,
        roots=roots_of(args),
        progress=partial(show_progress, stream=sys.stderr, clock=time.monotonic)
        if first
        else _no_progress,
        clock=time.monotonic,
        compare=not args.no_baseline,
        base=BaseBranch(spec=args.base_spec, allow_loosening=args.allow_loosening)
        if args.base_spec or args.new_spec
        else None,
        store=args.store,
        parts=Parts(shard=args.shard, shards=args.shards, team=team, output=args.output),
        stop=stop,
    )
    if args.output is not None:
        try:
            save(evaluation, args.output)
        except ModelEvalError as error:
            sys.stderr.write(f"{error}\n")
            evaluation = _unsaved(evaluation, error, args.output)
    if args.store is not None and evaluation.keeping:
        if args.hand_over is not None and team is None:  # else the others have a say in the status
            _hand_over(args.hand_over, evaluation.report.exit_code)
        keep(evaluation, stop=stop, say=args.store.say)
    if team is None:
        return evaluation, evaluation.report.exit_code
    faults = evaluation.report.faults
    if not first and faults:  # its report is thrown away
        rank = f"rank {team.rank.index} of {team.rank.of}"
        sys.stderr.write("".join(f"{rank}: {fault}\n" for fault in faults))
        sys.stderr.flush()
    if not first and stop.reason is None:
        stop.heed()  # the first process may take long
    said = team.end(evaluation.report.exit_code, faults[0].message if faults else None)
    return evaluation, said


def _unsaved(evaluation: "Evaluation", error: ModelEvalError, folder: Path) -> "Evaluation":
    """What is left of a result that could not be saved: a report that says why, where there is room."""
    from model_eval.output import remove_stale, save_report
    from model_eval.report import error_report
    from model_eval.run import Evaluation

    report = error_report(evaluation.report.name, error.faults, exit_code=error.exit_code)
    with suppress(OutputError):
        remove_stale(folder)
        save_report(report, folder)
    return Evaluation(report=report, ledgers={})


def _hand_over(descriptor: int, status: int) -> None:
    """Says to the parent that the result is complete, whatever becomes of this process from here on."""
    # Where code of the repository has closed it, it counts how the process ends.
    with suppress(OSError):
        if S_ISFIFO(os.fstat(descriptor).st_mode):
            os.write(descriptor, b"%d\n" % status)


def _team(args: argparse.Namespace) -> "Team | None":
    """The processes that torchrun started beside this one; a baseline is evaluated by one alone."""
    from model_eval.rank import forget_rank
    from model_eval.team import Team, torch_store

    rank = None if args.no_baseline else rank_of_process(args, os.environ)
    if rank is None:
        forget_rank(os.environ)
        return None

    # First of all: a variable that somebody left there makes this process wait for nobody.
    sys.stderr.write(
        f"process {rank.index} of {rank.of} (RANK, WORLD_SIZE): waiting for the others at {rank.at}\n"
    )
    sys.stderr.flush()

    def store() -> object:
        found = torch_store(rank)
        forget_rank(os.environ)  # before any code of the repository is imported
        return found

    return Team(rank, store)


@contextmanager
def _no_progress(_expected: int) -> Iterator[Callable[[int], None]]:
    yield lambda _rows: None
