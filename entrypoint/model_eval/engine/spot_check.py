"""A few samples of each part of a run once more: what the shards left must be what the model answers here.

Digests say that the code and the weights are the same. What the code reads beside them, such as a
config or a vocabulary, shows in what the model answers, and there alone.
"""

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch

from model_eval.engine.predict import Predict
from model_eval.engine.repeat import SMALLEST, TOLERANCE
from model_eval.engine.rescore import outputs_of, rows_of, scored
from model_eval.engine.sample import MAX_ROWS, Sample
from model_eval.ledger import Array, Ledger
from model_eval.tasks import Scorer

ROWS = 4
"""Of each part."""

SMALLER = 8
"""The batches in which they are run again, to see what another batch alone does."""

_NOISE = 10
"""Another machine may differ by so many times what another batch does."""

_OF_HALF_PRECISION = 50
"""So many times the tolerance: a sum in another order differs in the third digit."""

_ANSWERS = ("prediction", "probability", "score", "log_loss", "nll")
_COUNTS = ("hits", "predicted")


@dataclass(frozen=True, kw_only=True, slots=True)
class Difference:
    """Where a ledger is furthest from what the model answers.

    Attributes:
        position: of the sample in the set.
        column: of the ledger.
        by: relative to its size.
    """

    position: int
    column: str
    by: float


def chosen_of(ranges: Iterable[tuple[int, int]]) -> npt.NDArray[np.int64]:
    """The positions [n] of a few samples of each range [start, stop), ascending."""
    filled = [(start, stop) for start, stop in ranges if start < stop]
    rows = max(1, min(ROWS, MAX_ROWS // max(1, len(filled))))
    found = [np.linspace(start, stop - 1, min(rows, stop - start)) for start, stop in filled]
    return np.concatenate([np.empty(0), *found]).astype(np.int64)


def largest_difference(
    predict: Predict,
    sample: Sample,
    ledger: Ledger,
    scorer: Scorer,
    *,
    batch_size: int,
    precision: str,
) -> Difference | None:
    """Runs the samples, and holds what their rows of the ledger say against it.

    Args:
        predict: as in the accuracy pass.
        sample: held-out samples in memory.
        ledger: of the whole set.
        scorer: of the task.
        batch_size: as in the accuracy pass.
        precision: of the run.

    Returns:
        What other batches and other machines do not explain; None where there is no such thing.

    Raises:
        EvaluationError: the model cannot be run here.
    """
    outputs = outputs_of(predict, sample, batch_size)
    here = scored(outputs, sample, scorer)
    smaller = max(1, min(SMALLER, len(sample) // 2))
    again = scored(outputs_of(predict, sample, smaller), sample, scorer)
    exact = precision == "fp32" and outputs.dtype in {torch.float32, torch.float64}
    tolerance = TOLERANCE if exact else _OF_HALF_PRECISION * TOLERANCE
    left, worst = rows_of(ledger, sample), None
    for column in _compared(here):
        each = column == "prediction"  # a regression's outputs may be of different sizes
        off = _off(left[column], here[column], each=each)
        noise = _off(again[column], here[column], each=each).max(axis=0)
        beyond = np.where(off > np.maximum(tolerance, _NOISE * noise), off, 0).max(axis=1)
        row = int(beyond.argmax())
        by = float(beyond[row])
        if by > 0 and (worst is None or by > worst.by):
            worst = Difference(position=int(sample.positions[row]), column=column, by=by)
    return worst


def _compared(ledger: Ledger) -> list[str]:
    """Numbers; a class is none, which changes by whatever decides between two that are as likely."""
    counts = _COUNTS if "predicted" in ledger.columns else ()  # of pixels, which have no numbers
    numbers = [one for one in _ANSWERS if one in ledger.columns and ledger[one].dtype.kind == "f"]
    return [*numbers, *counts]


def _off(values: Array, reference: Array, *, each: bool) -> npt.NDArray[np.float64]:
    """How far each row is off, relative to its size and to `_scale`; a count may be off by one.

    Args:
        values: [N, …].
        reference: [N, …].
        each: whether each number of a row is held to the size that it has in all rows.

    Returns:
        [N, K] where each is; else [N, 1], the furthest one of each row.
    """
    rows = len(reference)
    if values.shape != reference.shape:
        return np.full((rows, 1), np.inf)
    one, other = (part.astype(np.float64).reshape(rows, -1) for part in (values, reference))
    with np.errstate(all="ignore"):
        apart = np.abs(one - other)
        if reference.dtype.kind == "i":
            apart = np.maximum(apart - 1, 0)
        off = apart / (_scale(other, each=each) + np.abs(other))
    off[(one == other) | (np.isnan(one) & np.isnan(other))] = 0
    off[np.isnan(off)] = np.inf
    found: npt.NDArray[np.float64] = off if each else off.max(axis=1, keepdims=True)
    return found


def _scale(reference: npt.NDArray[np.float64], *, each: bool) -> npt.NDArray[np.float64]:
    """1, or the largest number where that is less: a regression's may all be small."""
    sizes = np.where(np.isfinite(reference), np.abs(reference), 0)
    found: npt.NDArray[np.float64] = sizes.max(axis=0 if each else None, initial=0)
    return np.clip(found, SMALLEST, 1)
