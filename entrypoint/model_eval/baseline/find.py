"""The baseline's ledgers, and the proof that they pair with this run's."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from model_eval import stats
from model_eval.baseline.ahead import Ahead
from model_eval.baseline.revision import Started, evaluate_commit
from model_eval.ledger import Ledger
from model_eval.spec.eval_spec import BaselineSpec, EvalSpec
from model_eval.types import MAIN_HELDOUT, BaselineInfo, CheckpointInfo, FileInfo

EvaluateCheckpoint = Callable[[BaselineSpec], tuple[Mapping[str, Ledger], CheckpointInfo]]
"""Evaluates the baseline's checkpoint on every held-out set of the run."""


@dataclass(frozen=True, kw_only=True, slots=True)
class _Found:
    """The baseline's ledgers as they were made, by held-out set, and what `BaselineInfo` says of them."""

    source: str
    kind: str
    files: tuple[FileInfo, ...]
    ledgers: Mapping[str, Ledger]


def find_baseline(
    ahead: Ahead | None,
    spec: EvalSpec,
    ledgers: Mapping[str, Ledger],
    *,
    evaluate: EvaluateCheckpoint,
    started: Started,
    cache: Sequence[str] = (),
    reused: Callable[[str], None] = lambda _key: None,
    ended: int | None = None,
) -> tuple[Mapping[str, Ledger], BaselineInfo | None]:
    """The baseline's ledgers in the order of this run's, by held-out set, and what it is.

    Args:
        ahead: the baseline as it was before the run; None where there is none.
        spec: what else there is to be evaluated by.
        ledgers: of this run, which know their held-out set's and checkpoint's digests.
        evaluate: runs a baseline's checkpoint.
        started: how another revision's process begins, too.
        cache: what tells another revision's process of the store, as arguments.
        reused: told the name of the entry where that process has measured nothing.
        ended: how many samples the main set has, where the run ended before the last; of a baseline
            that has all of them those that the run saw are compared.

    Raises:
        BaselineError: it cannot be read or evaluated.
    """
    if ahead is None:
        return {}, None
    made = _made(ahead, spec, evaluate=evaluate, started=started, cache=cache, reused=reused)
    found, half = made.ledgers, None
    if MAIN_HELDOUT in found and ended is not None:
        theirs = found[MAIN_HELDOUT]
        if len(theirs) == ended:
            found = {**found, MAIN_HELDOUT: stats.rows_of(theirs, ledgers[MAIN_HELDOUT]["id"])}
        else:  # of a run that ended early itself: where it ended hung on its own numbers
            half = f"it has {len(theirs):,} of the {ended:,} samples"
    refused = half or next(
        (reason for name, ours in ledgers.items() if (reason := _refusal(name, ours, found))), None
    )
    paired = (
        {}
        if refused
        else {n: stats.in_order_of(found[n], ledgers[n]["id"]) for n in ledgers if n in found}
    )
    main, other = ledgers[MAIN_HELDOUT], paired.get(MAIN_HELDOUT)
    same_model = made.kind == "checkpoint" and ahead.wanted.factory is None
    return paired, BaselineInfo(
        source=made.source,
        kind=made.kind,
        commit=ahead.commit,
        files=made.files,
        refused=refused,
        identical=_identical(main, other, same_model=same_model),
        flips=None if other is None else stats.flips(main, other),
    )


def _made(
    ahead: Ahead,
    spec: EvalSpec,
    *,
    evaluate: EvaluateCheckpoint,
    started: Started,
    cache: Sequence[str],
    reused: Callable[[str], None],
) -> _Found:
    wanted = ahead.wanted
    if wanted.checkpoint is not None:
        ledgers, loaded = evaluate(wanted)
        source = wanted.checkpoint.path.display
        return _Found(source=source, kind="checkpoint", files=loaded.files, ledgers=ledgers)
    if wanted.ledger is not None and ahead.ledger is not None and ahead.file is not None:
        main = {MAIN_HELDOUT: ahead.ledger}
        source = wanted.ledger.display
        return _Found(source=source, kind="ledger", files=(ahead.file,), ledgers=main)
    if wanted.git is None or ahead.commit is None:
        raise ValueError("the baseline is no checkpoint, no ledger and no commit")
    there = evaluate_commit(spec, wanted, ahead.commit, started, cache)
    if there.reused is not None:
        reused(there.reused)
    return _Found(source=wanted.git, kind="git", files=there.files, ledgers=there.ledgers)


def _identical(main: Ledger, other: Ledger | None, *, same_model: bool) -> bool:
    """Whether both are the same weights in the same model, and left the same numbers."""
    if other is None or not same_model or main.checkpoint is None:
        return False
    return main.checkpoint == other.checkpoint and all(
        np.array_equal(column, other[name]) for name, column in main.columns.items()
    )


def _refusal(name: str, ours: Ledger, found: Mapping[str, Ledger]) -> str | None:
    theirs = found.get(name)
    if theirs is None:
        return (
            None  # a saved ledger is of the main set; gates of others say that nothing was compared
        )
    if ours.heldout and theirs.heldout and ours.heldout != theirs.heldout:
        return (
            f"its held-out set is another (sha256:{theirs.heldout[:12]}, "
            f"and this run's sha256:{ours.heldout[:12]})"
        )
    return stats.unpairable(ours, theirs)
