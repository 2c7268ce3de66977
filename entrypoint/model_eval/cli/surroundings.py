"""What a command finds around it: the repository, the processes beside it, and the store."""

import argparse
import os
import sys
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from model_eval.errors import UsageError
from model_eval.store.place import Store
from model_eval.wording import quote

if TYPE_CHECKING:
    from model_eval.rank import Rank

_HOW_TO_START = "start the processes with torchrun; on several hosts with `--max-restarts 0`"


def roots_of(args: argparse.Namespace) -> list[Path]:
    """The folders that files of the spec must be inside of, the repository first."""
    folder = args.spec.absolute().parent
    # os.path.exists, because Path.exists raises where a folder may not be looked into.
    top = next(
        (f for f in (folder, *folder.parents) if os.path.exists(f / ".git")),  # noqa: PTH110
        folder,
    )
    return [(args.root or top).absolute(), *(path.absolute() for path in args.allow_path)]


def rank_of_process(args: argparse.Namespace, environ: Mapping[str, str]) -> "Rank | None":
    """Which of torchrun's processes this is; None of one that is alone.

    Raises:
        UsageError: the variables contradict one another, or a shard was asked for.
    """
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


def store_of(args: argparse.Namespace, environ: Mapping[str, str]) -> Store | None:
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
