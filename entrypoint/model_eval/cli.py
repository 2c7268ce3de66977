"""`model-eval`: arguments, the real clock and screen, and the one place that catches and prints."""

import argparse
import os
import re
import signal
import sys
import tempfile
import time
import traceback
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, nullcontext, suppress
from dataclasses import replace
from functools import partial
from pathlib import Path
from stat import S_ISFIFO
from typing import TYPE_CHECKING, NoReturn, TextIO

from model_eval import __version__, streams
from model_eval.errors import (
    Interrupted,
    ModelEvalError,
    OutputError,
    ReportError,
    SpecError,
    UsageError,
)
from model_eval.parts import MAX_SHARDS, Shard
from model_eval.stop import Stop
from model_eval.store.place import Store
from model_eval.wording import place_in, quote

if TYPE_CHECKING:
    from model_eval.rank import Rank
    from model_eval.run import Evaluation
    from model_eval.settings import Settings
    from model_eval.team import Team
    from model_eval.types import Report

_EXITS = """\
exit status:
  0  pass: every required gate passed
  1  fail: the model was judged and a required gate failed, or the spec was loosened
  2  the spec or the command line is wrong
  3  the checkpoint, the held-out set or the device cannot be used
  4  the evaluation did not finish, or a required gate could not be decided
"""

_HOW_TO_START = "start the processes with torchrun; on several hosts with `--max-restarts 0`"
_UNSHOWN = "give it somewhere to go; what is not shown is no pass"
_BUG = "this is a bug in model-eval; please report it with the lines above\n"
_PR_SET_PDEATHSIG = 1
_LONGEST_SECONDS = 1e8  # more than three years; timers overflow somewhere above
_OWN_FILES = ("GITHUB_ACTIONS", "GITHUB_STEP_SUMMARY", "GITHUB_OUTPUT")


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        raise UsageError(f"{self.prog}: {message}", remedy=f"see `{self.prog} --help`")


def parser() -> argparse.ArgumentParser:
    """The command line."""
    top = _Parser(
        prog="model-eval",
        description="Decides whether a PyTorch checkpoint is good enough to merge.",
        epilog=_EXITS,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    top.add_argument("--version", action="version", version=f"model-eval {__version__}")
    commands = top.add_subparsers(dest="command", required=True, metavar="COMMAND")

    run = commands.add_parser("run", help="evaluate a spec and leave a report and a verdict")
    _spec_arguments(run)
    _run_arguments(run)
    run.add_argument("--shard", type=_shard, metavar="I/N", help="run only this part of the samples (1/8 to 8/8); `merge` judges all of them")  # fmt: skip
    run.set_defaults(shards=None)

    merge = commands.add_parser("merge", help="join the shards of a spec and leave a report and a verdict")  # fmt: skip
    _spec_arguments(merge)
    merge.add_argument("shards", type=Path, nargs="+", metavar="DIR", help="what `run --shard` left under --output; all of them")  # fmt: skip
    _run_arguments(merge)
    merge.set_defaults(shard=None)

    validate = commands.add_parser("validate", help="check a spec without loading anything")
    _spec_arguments(validate)

    publish = commands.add_parser("publish", help="publish a report.json to GitHub")
    publish.add_argument("--report", type=Path, required=True, metavar="FILE")
    publish.add_argument("--comment-key", default="", metavar="KEY", help="one comment per key; the spec's path by default")  # fmt: skip
    publish.add_argument("--no-comment", action="store_true", help="no comment on the pull request")
    publish.add_argument("--quiet", action="store_true", help="no annotations")
    publish.add_argument("--exit-status", type=int, metavar="N", help="the status that `model-eval run` ended with: a report that says otherwise is refused")  # fmt: skip

    base_spec = commands.add_parser(
        "base-spec", help="get the spec as the base branch has it from GitHub"
    )
    base_spec.add_argument(
        "path", metavar="PATH", help="of the spec, relative to the top of the repository"
    )
    base_spec.add_argument("--output", type=Path, required=True, metavar="FILE", help="where to put it; nothing is put there where the base branch has none")  # fmt: skip

    record = commands.add_parser("record", help="add a run to the file that counts look-ups of a held-out set")  # fmt: skip
    record.add_argument("--report", type=Path, required=True, metavar="FILE")
    record.add_argument("--ledger", type=Path, required=True, metavar="FILE", help="what the spec names under `held_out_ledger`")  # fmt: skip
    record.add_argument("--commit", default="", metavar="SHA", help="of the checkpoint that was judged")  # fmt: skip
    return top


def _seconds(text: str) -> float:
    try:
        seconds = float(text)
    except ValueError:
        seconds = 0.0
    if not 0 < seconds < _LONGEST_SECONDS:
        raise argparse.ArgumentTypeError(f"`{text}` is no number of seconds above 0")
    return seconds


def _spec_arguments(command: argparse.ArgumentParser) -> None:
    command.add_argument("spec", type=Path, metavar="SPEC", help="the YAML file")
    command.add_argument("--root", type=Path, metavar="DIR", help="the repository: files of the spec must be inside (default: the nearest folder above the spec with .git, else the spec's)")  # fmt: skip
    command.add_argument("--allow-path", type=Path, action="append", default=[], metavar="DIR", help="a further folder that they may be inside of; repeatable")  # fmt: skip


def _run_arguments(command: argparse.ArgumentParser) -> None:
    command.add_argument("--output", type=Path, metavar="DIR", help="write report.json, summary.md and ledger.parquet here")  # fmt: skip
    base = command.add_mutually_exclusive_group()
    base.add_argument("--base-spec", type=Path, metavar="FILE", help="the spec as the base branch has it: what this one asks less of fails the run")  # fmt: skip
    base.add_argument("--new-spec", action="store_true", help="the base branch has no such spec; the report says so")  # fmt: skip
    command.add_argument("--allow-loosening", action="store_true", help="show what was loosened, and let it pass")  # fmt: skip
    command.add_argument("--cache", metavar="DIR", help="keep what was measured here, and use it again where nothing has changed (default: the variable MODEL_EVAL_CACHE, else none)")  # fmt: skip
    command.add_argument(
        "--cache-read-only", action="store_true", help="use what is there, and add nothing"
    )
    command.add_argument(
        "--no-cache", action="store_true", help="measure everything, whatever MODEL_EVAL_CACHE says"
    )
    command.add_argument("--deadline", type=_seconds, metavar="SECONDS", help="stop after so long, with a report that says how far it came")  # fmt: skip
    command.add_argument("--in-process", action="store_true", help="for debuggers: no child process; a crash leaves no report")  # fmt: skip
    command.add_argument("--no-baseline", action="store_true", help=argparse.SUPPRESS)
    command.add_argument("--supervised", action="store_true", help=argparse.SUPPRESS)
    command.add_argument("--hand-over", type=int, metavar="FD", help=argparse.SUPPRESS)


def _shard(text: str) -> Shard:
    index, slash, of = text.partition("/")
    if not (slash and index.isdecimal() and of.isdecimal() and len(text) < 12):
        raise argparse.ArgumentTypeError(f"`{text}` is not I/N, such as 2/8")
    shard = Shard(int(index), int(of))
    if not 1 <= shard.index <= shard.of <= MAX_SHARDS:
        raise argparse.ArgumentTypeError(
            f"`{text}` is no shard: the first of {of} is 1/{of}; at most {MAX_SHARDS:,} are possible"
        )
    return shard


def main(argv: Sequence[str] | None = None) -> int:
    """Runs a command and returns the exit status."""
    arguments = list(sys.argv[1:] if argv is None else argv)
    shown = streams.make_ready()
    try:
        status = _dispatch(_parsed(arguments), environ=os.environ, stdout=sys.stdout)
        sys.stdout.flush()
    except ModelEvalError as error:
        sys.stderr.write(f"{error}\n")
        return error.exit_code
    except KeyboardInterrupt:
        sys.stderr.write("interrupted; nothing was judged\n")
        return 4
    except Exception as error:  # noqa: BLE001 — a bug of ours: never a pass, never hidden
        if isinstance(error, OSError) and streams.is_broken(sys.stdout):
            if not isinstance(error, BrokenPipeError):  # whose reader has seen enough
                what = f"standard output cannot be written: {error.strerror}"
                sys.stderr.write(f"{OutputError(what, remedy=_UNSHOWN)}\n")
            return 4
        traceback.print_exc()
        sys.stderr.write(_BUG)
        return 4
    if not shown:
        sys.stderr.write(f"{OutputError('standard output is closed', remedy=_UNSHOWN)}\n")
        return 4
    return status


def _parsed(arguments: Sequence[str]) -> argparse.Namespace:
    try:
        return parser().parse_args(arguments)
    except UsageError:
        _clear_unparsed(arguments, os.environ)
        raise


def _dispatch(args: argparse.Namespace, *, environ: Mapping[str, str], stdout: TextIO) -> int:
    if args.command == "validate":
        return _validate(args, stdout)
    if args.command == "record":
        return _record(args)
    if args.command == "publish":
        return _publish(args, environ=environ, stdout=stdout)
    if args.command == "base-spec":
        return _base_spec(args, environ=environ, stdout=stdout)
    if args.shards and args.output:
        _require_elsewhere(args)
    with _own_output(args, environ):
        if args.shard is not None:
            _require_alone(args)
        args.store = _store(args, environ)
        if args.supervised:
            return _run_supervised(args, stdout)
        return _run_in_process(args, stdout) if args.in_process else _run(args, environ, stdout)


@contextmanager
def _own_output(args: argparse.Namespace, environ: Mapping[str, str]) -> Iterator[None]:
    """Nobody else's run writes to the output folder meanwhile, and nothing of an earlier one is there.

    Raises:
        UsageError: it cannot be written to, or another run does, or it holds the spec's baseline.
    """
    from model_eval.output import held

    if args.output is None or not _writes(environ):
        yield
        return
    _require_writable(args.output)
    with nullcontext() if args.supervised else held(args.output):  # the parent of such a one has it
        _empty(args)  # before anything can be wrong: an old pass must not outlive an error
        yield


def _empty(args: argparse.Namespace) -> None:
    """Removes what an earlier run left, but for a ledger that the spec compares this one with."""
    from model_eval.output import remove_stale

    baseline = None
    try:
        baseline = _baseline_in(args)
    finally:
        remove_stale(args.output, keep=baseline)
    if baseline is not None:
        raise UsageError(
            f"the spec's `baseline` is `{baseline}`, which this run would remove",
            remedy="name another folder with --output, or move the ledger and correct the spec",
        )


def _baseline_in(args: argparse.Namespace) -> Path | None:
    """The ledger that the spec compares with, where it is one of an earlier run in the output folder."""
    from model_eval.output import LEDGER, is_output, ledger_name

    further = filter(is_output, args.output.glob(ledger_name("*")))
    there: list[Path] = [*args.output.glob(LEDGER), *further]
    try:
        # The word first: what reads a spec takes long to import.
        if not there or re.search(rb"\bledger\b", args.spec.read_bytes()) is None:
            return None
        from model_eval.spec import load_spec

        wanted = load_spec(args.spec, roots=_roots(args)).baseline
        if wanted is None or wanted.ledger is None:
            return None
        named = wanted.ledger.path
        return next((one for one in there if one.samefile(named)), None)
    except (ModelEvalError, OSError, ValueError):  # what is wrong is said where the run reads it
        return None


def _clear_unparsed(arguments: Sequence[str], environ: Mapping[str, str]) -> None:
    """Removes what an earlier run left where a wrong command line still says in which folder.

    But not from one that it names twice, which may be a shard's.
    """
    from model_eval.output import held, remove_stale

    if arguments[:1] not in (["run"], ["merge"]) or not _writes(environ):
        return
    output = _Parser(add_help=False)
    output.add_argument("--output", type=Path)
    with suppress(ModelEvalError):  # the command line is what is said to be wrong
        found, others = output.parse_known_args(arguments[1:])
        folders = {os.path.realpath(word) for word in others}
        if found.output is not None and os.path.realpath(found.output) not in folders:
            with held(found.output):
                remove_stale(found.output)


def _writes(environ: Mapping[str, str]) -> bool:
    """Whether this process writes to the output folder: of torchrun's only the first one does."""
    from model_eval.rank import rank_of

    try:
        rank = rank_of(environ)
    except ValueError:  # which is said where the rank is needed
        return True
    return rank is None or rank.first


def _validate(args: argparse.Namespace, stdout: TextIO) -> int:
    from model_eval.spec import load_spec

    try:
        spec = load_spec(args.spec, roots=_roots(args))
    except SpecError as error:
        stdout.write(f"{error}\n")
        return error.exit_code
    gates = f"{len(spec.gates)} gate{'' if len(spec.gates) == 1 else 's'}"
    stdout.write(f"{spec.source.display}: valid: {spec.task}, {gates}\n")
    return 0


def _record(args: argparse.Namespace) -> int:
    from datetime import UTC, datetime

    from model_eval.lookups import record
    from model_eval.output import read_report

    today = datetime.now(UTC).date().isoformat()
    record(args.ledger, read_report(args.report), date=today, commit=args.commit)
    return 0


def _run_in_process(args: argparse.Namespace, stdout: TextIO) -> int:
    from model_eval.report import render_terminal

    rank = _rank(args, os.environ)
    if rank is not None and not rank.first:
        args.output = None  # the first process writes there
    if args.no_baseline:  # of another revision, which the run that compares with it has started
        _die_with_parent()
    stop = Stop()
    stop.listen()
    evaluation, status = _evaluate(args, stop)
    if rank is None or rank.first:
        stdout.write(render_terminal(evaluation.report))
        stdout.flush()
    return status if rank is not None else _status(args, evaluation.report)


def _run_supervised(args: argparse.Namespace, stdout: TextIO) -> NoReturn:
    """The child's side of `supervise`: leaves a report, prints no result, and is gone.

    It does not wait for threads and exit handlers of the user's code, which could hang or change
    the status.
    """
    stop = Stop()
    if args.hand_over is not None:
        with suppress(OSError):
            os.set_inheritable(args.hand_over, False)
    stop.listen()  # before large packages are imported, so that a stop meanwhile has a report, too
    _die_with_parent()
    status = 4
    try:
        _, status = _evaluate(args, stop)
    except Interrupted:
        sys.stderr.write("interrupted\n")
    except ModelEvalError as error:
        sys.stderr.write(f"{error}\n")
    except BaseException:  # noqa: BLE001 — whatever it is, the parent says that there is no report
        traceback.print_exc()
        sys.stderr.write(_BUG)
    finally:
        with suppress(OSError, ValueError):
            stdout.flush()
            sys.stderr.flush()
        os._exit(status)


def _evaluate(args: argparse.Namespace, stop: Stop) -> "tuple[Evaluation, int]":
    """What was evaluated, and the exit status of this process."""
    from model_eval.progress import show_progress
    from model_eval.run import BaseBranch, Parts, evaluate, keep, save

    team = _team(args)
    first = team is None or team.rank.first
    if args.deadline is not None:
        signal.setitimer(signal.ITIMER_REAL, args.deadline)
    evaluation = evaluate(
        args.spec,
        roots=_roots(args),
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

    rank = None if args.no_baseline else _rank(args, os.environ)
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


def _rank(args: argparse.Namespace, environ: Mapping[str, str]) -> "Rank | None":
    from model_eval.rank import rank_of

    try:
        rank = rank_of(environ)
    except ValueError as error:
        raise UsageError(str(error), remedy=_HOW_TO_START) from error
    if rank is not None and (args.shard or args.shards):
        raise UsageError(
            f"a process of torchrun (RANK is {rank.index}) runs its own part and no other",
            remedy="run shards and `merge` without torchrun",
        )
    return rank


@contextmanager
def _no_progress(_expected: int) -> Iterator[Callable[[int], None]]:
    yield lambda _rows: None


def _store(args: argparse.Namespace, environ: Mapping[str, str]) -> Store | None:
    """Where measurements are kept, if anywhere.

    Raises:
        UsageError: two arguments contradict each other, or no folder is named.
    """
    if args.no_cache and args.cache is not None:
        raise UsageError("`--cache` and `--no-cache` contradict each other", remedy="remove one")
    if args.cache == "":
        raise UsageError("`--cache` names no folder", remedy="name one, or write --no-cache")
    named = None if args.no_cache else args.cache or environ.get("MODEL_EVAL_CACHE")
    if not named:
        return None
    try:
        folder = Path(named).expanduser().absolute()
    except RuntimeError as error:
        what = f"the folder of the cache, {quote(named)}, is below a home that is not known"
        raise UsageError(what, remedy="name it by its whole path") from error
    return Store(
        folder=folder,
        read_only=args.cache_read_only,
        output=args.output.absolute() if args.output is not None else None,
        environ=environ,
        say=partial(print, file=sys.stderr),
    )


def _die_with_parent() -> None:
    """Asks Linux to end this process with its parent, however that ends."""
    import ctypes

    with suppress(OSError, AttributeError):
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)


def _run(args: argparse.Namespace, environ: Mapping[str, str], stdout: TextIO) -> int:
    from model_eval.output import REPORT
    from model_eval.settings import read_settings
    from model_eval.supervise import relay, supervise

    roots = _roots(args)
    rank = _rank(args, environ)
    with ExitStack() as stack:
        own = _scratch(stack) if rank is not None and not rank.first else args.output
        output = (own or _scratch(stack)).absolute()
        settings = read_settings(environ)
        arguments = [
            args.command, str(args.spec), *(str(path.absolute()) for path in args.shards or ()),
            "--output", str(output), "--root", str(roots[0]),
            *(["--shard", f"{args.shard.index}/{args.shard.of}"] if args.shard else []),
            *(word for path in roots[1:] for word in ("--allow-path", str(path))),
            *(["--base-spec", str(args.base_spec.absolute())] if args.base_spec else []),
            *(["--new-spec"] if args.new_spec else []),
            *(["--allow-loosening"] if args.allow_loosening else []),
            *(args.store.arguments if args.store is not None else ["--no-cache"]),
        ]  # fmt: skip
        if rank is not None and not rank.first:
            return relay(arguments, output=output, environ=environ, deadline=args.deadline)
        title = f"model-eval {args.command} {args.spec}"
        with _untrusted_output(settings, stdout, title=title):
            report = supervise(
                arguments,
                name=place_in(args.spec, roots[0]),
                output=output,
                environ=environ,
                meanwhile=_import_readers,
                deadline=args.deadline,
            )
        from model_eval.publish import publish
        from model_eval.report import render_terminal

        stdout.write(render_terminal(report))
        report = publish(
            report,
            settings,
            report_path=output / REPORT,
            comment=None,
            stdout=stdout,
            stderr=sys.stderr,
        )
    stdout.flush()
    return _status(args, report)


def _require_alone(args: argparse.Namespace) -> None:
    """A shard is not judged, so that what has a say in the verdict has none in it."""
    if args.output is None:
        raise UsageError(
            "a shard needs `--output`: without its ledgers nothing can be judged",
            remedy="name a folder, and give it to `model-eval merge` with those of all shards",
        )
    if args.base_spec or args.new_spec or args.allow_loosening:
        raise UsageError(
            "a shard is not judged, so that the base branch's spec has no say in it",
            remedy="give `--base-spec`, `--new-spec` and `--allow-loosening` to `model-eval merge`",
        )


def _require_elsewhere(args: argparse.Namespace) -> None:
    """The output folder is emptied first."""
    if args.output.resolve() in {path.resolve() for path in args.shards}:
        raise UsageError(
            f"`{args.output}` is a shard's folder, and would be overwritten",
            remedy="name another folder with --output",
        )


def _status(args: argparse.Namespace, report: "Report") -> int:
    """Of this process. A shard that came to its end is a success, or a workflow would go no further.

    That is said here alone, and to whoever asked for this shard: its report is undecided, with exit
    code 4, wherever else it is shown.
    """
    done, asked = report.shard, args.shard
    if asked is None or done is None or (done.index, done.of) != (asked.index, asked.of):
        return report.exit_code
    return 0


def _import_readers() -> None:
    """What reads and shows a report, imported while the child works: nobody waits for it then."""
    import jsonschema  # noqa: F401 — a report is held against its schema

    import model_eval.publish
    import model_eval.report  # noqa: F401


def _scratch(stack: ExitStack) -> Path:
    try:
        return Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="model-eval-")))
    except OSError as error:
        raise UsageError(
            "there is no temporary folder that can be written to",
            remedy="name a folder with --output, or give the container `--tmpfs /tmp`",
        ) from error


@contextmanager
def _untrusted_output(settings: "Settings", stdout: TextIO, *, title: str) -> Iterator[None]:
    """In GitHub Actions: folds what the model's code prints, and makes commands in it inert."""
    if not settings.in_actions:
        yield
        return
    from model_eval.github.commands import group, stopped_commands

    with group(stdout, title), stopped_commands(stdout):
        yield


def _publish(args: argparse.Namespace, *, environ: Mapping[str, str], stdout: TextIO) -> int:
    from model_eval.github.commands import Annotation, Level, annotate
    from model_eval.output import read_report
    from model_eval.publish import publish, sticky_comment
    from model_eval.report import error_report
    from model_eval.settings import read_settings

    try:
        settings = read_settings(environ)
    except UsageError as error:  # nothing that is wrong with a comment changes the verdict
        settings = read_settings({name: environ.get(name, "") for name in _OWN_FILES})
        message = f"nothing is left on the pull request: {error}"
        annotate(stdout, [Annotation(level=Level.WARNING, title="model-eval", message=message)])
    report_path: Path | None = args.report
    try:
        report = read_report(args.report, exit_status=args.exit_status)
    except ReportError as error:
        name = args.comment_key or args.report.name
        report, report_path = error_report(name, error.faults, exit_code=error.exit_code), None
        sys.stderr.write(f"{error}\n")
    if args.comment_key:
        settings = replace(settings, comment_key=args.comment_key)
    if args.quiet:
        settings = replace(settings, in_actions=False)
    shown = publish(
        report,
        settings,
        report_path=report_path,
        comment=None if args.no_comment else sticky_comment,
        stdout=stdout,
        stderr=sys.stderr,
    )
    stdout.flush()
    return shown.exit_code


def _base_spec(args: argparse.Namespace, *, environ: Mapping[str, str], stdout: TextIO) -> int:
    """Says `found` or `absent`, also as the step's output `state`; anything else is an error."""
    from model_eval.github.base_file import read_base_file
    from model_eval.github.commands import Annotation, Level, annotate, set_outputs
    from model_eval.output import whole
    from model_eval.settings import read_settings

    settings = read_settings(environ)
    try:
        data = read_base_file(settings, args.path)
        if data is not None:
            with whole(args.output) as part:
                part.write_bytes(data)
        state = "absent" if data is None else "found"
        if settings.output is not None:
            set_outputs(settings.output, {"state": state})
    except ModelEvalError as error:
        if settings.in_actions:
            message = f"{error.message}; {error.remedy}"
            annotate(stdout, [Annotation(level=Level.ERROR, title="model-eval", message=message)])
        raise
    stdout.write(f"{args.path} in the base branch: {state}\n")
    stdout.flush()
    return 0


def _roots(args: argparse.Namespace) -> list[Path]:
    folder = args.spec.absolute().parent
    # os.path.exists, because Path.exists raises where a folder may not be looked into.
    top = next(
        (f for f in (folder, *folder.parents) if os.path.exists(f / ".git")),  # noqa: PTH110
        folder,
    )
    return [(args.root or top).absolute(), *(path.absolute() for path in args.allow_path)]


def _require_writable(output: Path) -> None:
    try:
        output.mkdir(parents=True, exist_ok=True)
        tempfile.TemporaryFile(dir=output).close()
    except OSError as error:
        raise UsageError(
            f"`{output}` cannot be written to: {error.strerror}",
            remedy="name a folder for --output that this user may write to",
        ) from error
