"""`model-eval`: the one place that catches what goes wrong and prints it."""

import argparse
import os
import sys
import traceback
from collections.abc import Mapping, Sequence
from contextlib import suppress
from typing import NoReturn, TextIO

from model_eval import streams
from model_eval.cli.arguments import parser
from model_eval.cli.output_folder import clear_unparsed, own_output
from model_eval.cli.shards import require_alone, require_elsewhere
from model_eval.cli.surroundings import roots_of, store_of
from model_eval.errors import BUG, ModelEvalError, OutputError, SpecError, UsageError

_exit = os._exit  # before code of the repository could replace it
_UNSHOWN = "give it somewhere to go; what is not shown is no pass"


def program() -> NoReturn:
    """Runs the command that this process was started with, and is gone.

    Exit handlers and threads of the repository's code, and large libraries that are taken apart, could hang
    or change the status.
    """
    status = 4
    with suppress(Exception, KeyboardInterrupt):  # what cannot be said, where stderr was taken away
        status = main()
    with suppress(BaseException):  # the repository's code may have put anything there
        sys.stdout.flush()
        sys.stderr.flush()
    _exit(status)


def main(argv: Sequence[str] | None = None) -> int:
    """Runs a command and returns the exit status."""
    arguments = list(sys.argv[1:] if argv is None else argv)
    shown = streams.make_ready()
    stdout = sys.stdout  # the repository's code may put something else there
    try:
        status = _dispatch(_parsed(arguments), environ=os.environ, stdout=stdout)
        stdout.flush()
    except ModelEvalError as error:
        sys.stderr.write(f"{error}\n")
        return error.exit_code
    except KeyboardInterrupt:
        sys.stderr.write("interrupted; nothing was judged\n")
        return 4
    except Exception as error:  # noqa: BLE001 — a bug of ours: never a pass, never hidden
        if isinstance(error, OSError) and streams.is_broken(stdout):
            if not isinstance(error, BrokenPipeError):  # whose reader has seen enough
                what = f"standard output cannot be written: {error.strerror}"
                sys.stderr.write(f"{OutputError(what, remedy=_UNSHOWN)}\n")
            return 4
        traceback.print_exc()
        sys.stderr.write(BUG)
        return 4
    if not shown:
        sys.stderr.write(f"{OutputError('standard output is closed', remedy=_UNSHOWN)}\n")
        return 4
    return status


def _parsed(arguments: Sequence[str]) -> argparse.Namespace:
    try:
        return parser().parse_args(arguments)
    except UsageError:
        clear_unparsed(arguments, os.environ)
        raise


def _dispatch(args: argparse.Namespace, *, environ: Mapping[str, str], stdout: TextIO) -> int:
    if args.command == "validate":
        return _validate(args, stdout)
    if args.command == "record":
        return _record(args)
    if args.command in {"publish", "base-spec"}:
        from model_eval.cli.on_github import base_spec, publish_report

        command = publish_report if args.command == "publish" else base_spec
        return command(args, environ=environ, stdout=stdout)
    return _run(args, environ=environ, stdout=stdout)


def _run(args: argparse.Namespace, *, environ: Mapping[str, str], stdout: TextIO) -> int:
    if args.shards and args.output:
        require_elsewhere(args)
    with own_output(args, environ):
        if args.shard is not None:
            require_alone(args)
        args.store = store_of(args, environ)
        if args.supervised or args.in_process:
            from model_eval.cli.child import run_in_process, run_supervised

            return run_supervised(args, stdout) if args.supervised else run_in_process(args, stdout)
        from model_eval.cli.parent import run_in_child

        return run_in_child(args, environ, stdout)


def _validate(args: argparse.Namespace, stdout: TextIO) -> int:
    from model_eval.spec import load_spec

    try:
        spec = load_spec(args.spec, roots=roots_of(args))
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
