"""The folder that a run leaves its files in: its own while it lasts, and empty before it begins."""

import argparse
import os
import re
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext, suppress
from pathlib import Path

from model_eval.cli.arguments import Parser
from model_eval.cli.surroundings import roots_of
from model_eval.errors import ModelEvalError, UsageError

_FIRST_SECONDS = 5.0
"""The first process is given so long to empty the output folder; it has nothing else to do before."""


@contextmanager
def own_output(args: argparse.Namespace, environ: Mapping[str, str]) -> Iterator[None]:
    """Nobody else's run writes to the output folder meanwhile, and nothing of an earlier one is there.

    Raises:
        UsageError: it cannot be written to, or another run does, or it holds the spec's baseline.
    """
    from model_eval.output import held

    if args.output is None or not _writes(environ):
        if args.output is not None:
            _wait_for_the_first(args.output, environ)
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

        wanted = load_spec(args.spec, roots=roots_of(args)).baseline
        if wanted is None or wanted.ledger is None:
            return None
        named = wanted.ledger.path
        return next((one for one in there if one.samefile(named)), None)
    except (ModelEvalError, OSError, ValueError):  # what is wrong is said where the run reads it
        return None


def clear_unparsed(arguments: Sequence[str], environ: Mapping[str, str]) -> None:
    """Removes what an earlier run left where a wrong command line still says in which folder.

    But not from one that it names twice, which may be a shard's.
    """
    from model_eval.output import held, remove_stale

    if arguments[:1] not in (["run"], ["merge"]):
        return
    output = Parser(add_help=False)
    output.add_argument("--output", type=Path)
    with suppress(ModelEvalError):  # the command line is what is said to be wrong
        found, others = output.parse_known_args(arguments[1:])
        folders = {os.path.realpath(word) for word in others}
        if found.output is None or os.path.realpath(found.output) in folders:
            return
        if not _writes(environ):
            _wait_for_the_first(found.output, environ)
        else:
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


def _wait_for_the_first(output: Path, environ: Mapping[str, str]) -> None:
    """Lets the first process of torchrun remove what an earlier run left there.

    torchrun ends all processes when one ends with an error, and what is wrong for one may be so for each: an
    old pass would outlive it.
    """
    from model_eval.output import REPORT
    from model_eval.rank import rank_of

    rank = rank_of(environ)
    if rank is None or rank.index != rank.local:  # of another host, whose folder is another one
        return
    end = time.monotonic() + _FIRST_SECONDS
    while (output / REPORT).exists() and time.monotonic() < end:
        time.sleep(0.02)


def _require_writable(output: Path) -> None:
    try:
        output.mkdir(parents=True, exist_ok=True)
        tempfile.TemporaryFile(dir=output).close()
    except OSError as error:
        raise UsageError(
            f"`{output}` cannot be written to: {error.strerror}",
            remedy="name a folder for --output that this user may write to",
        ) from error
