"""`did you mean …?`, at a bounded cost."""

from collections.abc import Iterable, Sequence
from difflib import get_close_matches
from itertools import islice

from model_eval.wording import printable

_MAX_CANDIDATES = 1000
_MAX_LENGTH = 100
_MAX_LISTED = 20


_ALSO_CALLED = {
    "ap": "average_precision",
    "auc": "auroc",
    "roc_auc": "auroc",
    "roc_auc_score": "auroc",
    "cross_entropy": "log_loss",
    "nll": "log_loss",
    "sensitivity": "recall",
    "ppv": "precision",
    "mean_squared_error": "mse",
    "root_mean_squared_error": "rmse",
    "mean_absolute_error": "mae",
    "r_squared": "r2",
    "r2_score": "r2",
    "mcc": "matthews_corrcoef",
    "kappa": "cohen_kappa",
    "tnr": "specificity",
    "brier": "brier_score",
    "brier_score_loss": "brier_score",
    "calibration_error": "ece",
    "expected_calibration_error": "ece",
    "top_k_accuracy_score": "top_k_accuracy",
    "mean_absolute_percentage_error": "mape",
    "mean_pinball_loss": "quantile_loss",
    "pinball_loss": "quantile_loss",
}
"""Metrics by the names that people know them by elsewhere."""


def synonym(word: str, candidates: Sequence[str]) -> str | None:
    """The candidate that the word is another name of."""
    found = _ALSO_CALLED.get(word.lower())
    return found if found is not None and found in candidates else None


def closest(word: str, candidates: Iterable[str]) -> str | None:
    """The candidate most like the word, or None where none is like it."""
    if len(word) > _MAX_LENGTH:
        return None
    known = [c for c in islice(candidates, _MAX_CANDIDATES) if len(c) <= _MAX_LENGTH]
    by_lower = {candidate.lower(): candidate for candidate in reversed(known)}
    found = get_close_matches(word.lower(), by_lower, n=1)
    return by_lower[found[0]] if found else None


def did_you_mean(word: str, candidates: Iterable[str], *, otherwise: str) -> str:
    """A remedy: the closest candidate, else all of them where they are few."""
    known = tuple(candidates)
    if best := closest(word, known):
        return f"did you mean `{printable(best)}`?"
    return f"{otherwise}: {listed(known)}" if known else otherwise


def listed(names: Iterable[str]) -> str:
    """The names in backticks, at most 20 of them."""
    known = tuple(names)
    text = ", ".join(f"`{printable(name)}`" for name in known[:_MAX_LISTED])
    return text if len(known) <= _MAX_LISTED else f"{text} and {len(known) - _MAX_LISTED} more"
