"""What a shard may be asked, and how it ends."""

import argparse
from typing import TYPE_CHECKING

from model_eval.errors import UsageError

if TYPE_CHECKING:
    from model_eval.types import Report


def require_alone(args: argparse.Namespace) -> None:
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


def require_elsewhere(args: argparse.Namespace) -> None:
    """The output folder is emptied first, so that it must not be a shard's."""
    if args.output.resolve() in {path.resolve() for path in args.shards}:
        raise UsageError(
            f"`{args.output}` is a shard's folder, and would be overwritten",
            remedy="name another folder with --output",
        )


def status_of(args: argparse.Namespace, report: "Report") -> int:
    """Of this process. A shard that came to its end is a success, or a workflow would go no further.

    That is said here alone, and to whoever asked for this shard: its report is undecided, with exit
    code 4, wherever else it is shown.
    """
    done, asked = report.shard, args.shard
    if asked is None or done is None or (done.index, done.of) != (asked.index, asked.of):
        return report.exit_code
    return 0
