"""What no evaluation writes into a ledger, and metrics would take at its word."""

from collections.abc import Sequence

import numpy as np

from model_eval.ledger.record import Ledger
from model_eval.types import Task


def require_consistent(ledger: Ledger) -> None:
    """Refuses numbers that no evaluation writes, which metrics would take at their word."""
    finite = ledger["finite"]
    if "weight" in ledger.columns and not (
        np.isfinite(ledger["weight"]).all() and ledger["weight"].min(initial=0) >= 0
    ):
        raise ValueError("column `weight` has numbers that are negative or not finite")
    if ledger.task is Task.REGRESSION:
        if not np.isfinite(ledger["target"]).all():
            raise ValueError("column `target` has numbers that are not finite")
        if not np.isfinite(ledger["prediction"][finite]).all():
            raise ValueError("column `prediction` is not finite in a row that is called finite")
        return
    if ledger.task is Task.SEGMENTATION:
        _require_counts(ledger, parts=("hits",), wholes=("predicted", "support"))
        if (ledger["predicted"].sum(axis=1) != ledger["support"].sum(axis=1)).any():
            raise ValueError("columns `predicted` and `support` do not count the same pixels")
        return
    if ledger.task is Task.LANGUAGE_MODELING:
        _require_counts(ledger, parts=("hits", "bytes"), wholes=("tokens",))
        if not (ledger["nll"][finite] >= 0).all():
            raise ValueError("column `nll` is NaN or below 0 in a row that is called finite")
        return
    size = len(ledger.classes)
    for name in () if ledger.task is Task.MULTILABEL else ("target", "prediction"):
        labels = ledger[name]
        if labels.min(initial=0) < 0 or labels.max(initial=0) >= size:
            raise ValueError(f"column `{name}` has a class index outside 0 to {size - 1}")
    if not np.isfinite(ledger["probability"][finite]).all():
        raise ValueError("column `probability` is not finite in a row that is called finite")
    if "score" in ledger.columns and np.isnan(ledger["score"][finite]).any():
        raise ValueError("column `score` is NaN in a row that is called finite")
    if np.isnan(ledger["log_loss"][finite]).any():
        raise ValueError("column `log_loss` is NaN in a row that is called finite")


def _require_counts(ledger: Ledger, *, parts: Sequence[str], wholes: Sequence[str]) -> None:
    """Refuses counts below 0, and hits of more than there are."""
    for name in (*parts, *wholes):
        if name in ledger.columns and ledger[name].min(initial=0) < 0:
            raise ValueError(f"column `{name}` has a count below 0")
    for name in wholes:
        if (ledger["hits"] > ledger[name]).any():
            raise ValueError(f"column `hits` counts more than `{name}`")
