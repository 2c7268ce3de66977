"""The command line: its words, and what they must be."""

import argparse
from pathlib import Path
from typing import NoReturn

from model_eval import __version__
from model_eval.errors import UsageError
from model_eval.parts import MAX_SHARDS, Shard

_EXITS = """\
exit status:
  0  pass: every required gate passed
  1  fail: the model was judged and a required gate failed, or the spec was loosened
  2  the spec or the command line is wrong
  3  the checkpoint, the held-out set or the device cannot be used
  4  the evaluation did not finish, or a required gate could not be decided
"""

_LONGEST_SECONDS = 1e8  # more than three years; timers overflow somewhere above


class Parser(argparse.ArgumentParser):
    """Says what is wrong as every other error is said."""

    def error(self, message: str) -> NoReturn:
        """Raises UsageError."""
        raise UsageError(f"{self.prog}: {message}", remedy=f"see `{self.prog} --help`")


def parser() -> argparse.ArgumentParser:
    """The command line."""
    top = Parser(
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
