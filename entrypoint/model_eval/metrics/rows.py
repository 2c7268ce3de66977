"""The rows of a ledger that metrics may use, under one or several weight vectors."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt

from model_eval.ledger import Array, Ledger

FloatArray = npt.NDArray[np.float64]
BoolArray = npt.NDArray[np.bool_]

BATCH_ELEMENTS = 1 << 20
"""Temporaries hold about this many numbers, whatever the number of weight vectors."""

TAME_EXPONENT = 256
"""Numbers beyond 2^±256 are scaled by a power of two, so that squares and sums do not overflow."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Counts:
    """What the rows of each class add up to: int64 counts, or float64 sums of weights.

    Attributes:
        hits: (B, C) rows of the class that are predicted as the class.
        predicted: (B, C) rows that are predicted as the class.
        support: (B, C) rows of the class.
    """

    hits: npt.NDArray[Any]
    predicted: npt.NDArray[Any]
    support: npt.NDArray[Any]

    def total(self) -> "Counts":
        """All classes together, each (B,)."""
        return Counts(
            hits=self.hits.sum(axis=1),
            predicted=self.predicted.sum(axis=1),
            support=self.support.sum(axis=1),
        )


class Rows:
    """The rows with finite outputs, weighted. What several metrics need is computed once.

    Args:
        ledger: N rows.
        weights: (B, N), B weight vectors; None counts each row once (B is 1). A row of weight 0
            is not there: whatever its numbers, it has no influence on that vector's values.

    Attributes:
        ledger: all the rows, also those without finite outputs.
        spoiled: bool (B,); True where a row whose outputs are not finite has a positive weight.
        defined: bool (B,); True where a row has a positive weight, and none of those is spoiled.
            Elsewhere no metric has a value.

    Raises:
        ValueError: the weights have another shape, or one is negative or not finite.
    """

    def __init__(self, ledger: Ledger, weights: npt.ArrayLike | None = None) -> None:
        self.ledger = ledger
        self._memory: dict[tuple[str, str | int], Array] = {}
        finite: BoolArray = ledger["finite"]
        self._kept = None if finite.all() else finite
        self._weights: FloatArray | None = None
        if weights is None:
            self.spoiled: BoolArray = np.array([self._kept is not None])
            self.defined: BoolArray = ~self.spoiled & (len(ledger) > 0)
            return
        checked = _checked(weights, len(ledger))
        self.spoiled = checked[:, ~finite].max(axis=1, initial=0) > 0
        self.defined = ~self.spoiled & (checked.max(axis=1, initial=0) > 0)
        # Not checked[:, finite], which is laid out by columns: sums along rows would lose digits.
        self._weights = checked if self._kept is None else checked.compress(finite, axis=1)

    def once(self, key: tuple[str, str | int], make: Callable[[], Array]) -> Array:
        """What `make` gives, computed the first time that the key is asked for."""
        if key not in self._memory:
            self._memory[key] = make()
        return self._memory[key]

    def column(self, name: str) -> Array:
        """A column of the ledger at these rows.

        Raises:
            ValueError: it has a NaN; the ledger contradicts its own column `finite`.
        """
        return self.once(("column", name), lambda: self._column(name))

    def mean(self, values: FloatArray) -> FloatArray:
        """Weighted means (B,) of values (N,); infinite where a row of positive weight is."""

        def batch(weights: FloatArray) -> FloatArray:
            kept = weights > 0
            present = values if kept.all() else np.where(kept, values, 0)
            mean: FloatArray = (weights * present).sum(axis=1) / weights.sum(axis=1)
            return mean

        return self.map(batch)

    def map(self, function: Callable[[FloatArray], FloatArray]) -> FloatArray:
        """Applies a function of weights (b, N) to a few vectors at a time; (B,) in all."""
        found = [function(weights) for weights in self._batches()]
        return np.concatenate(found) if found else np.empty(0)

    @cached_property
    def counts(self) -> Counts:
        """Sums of class labels: exact counts without weights.

        Raises:
            ValueError: a label is no class of the ledger's.
        """
        target, prediction = self._labels
        hit = target[target == prediction]
        size = len(self.ledger.classes)
        if self._weights is None:
            return Counts(
                hits=np.bincount(hit, minlength=size)[None],
                predicted=np.bincount(prediction, minlength=size)[None],
                support=np.bincount(target, minlength=size)[None],
            )
        # Added up in the order of the rows, so hits cannot exceed predictions even by rounding.
        hits = self._weights.compress(target == prediction, axis=1)
        return Counts(
            hits=_sums(hit, hits, size),
            predicted=_sums(prediction, self._weights, size),
            support=_sums(target, self._weights, size),
        )

    def confusion_matrix(self) -> npt.NDArray[Any]:
        """(B, C, C), int64 without weights; rows are targets, columns are predictions.

        Raises:
            ValueError: a label is no class of the ledger's.
        """
        target, prediction = self._labels
        size = len(self.ledger.classes)
        cell = target * size + prediction
        if self._weights is None:
            return np.bincount(cell, minlength=size * size).reshape(1, size, size)
        return _sums(cell, self._weights, size * size).reshape(-1, size, size)

    @cached_property
    def _labels(self) -> tuple[Array, Array]:
        target, prediction = self.column("target"), self.column("prediction")
        size = len(self.ledger.classes)
        for name, labels in (("target", target), ("prediction", prediction)):
            if labels.min(initial=0) < 0 or labels.max(initial=0) >= size:
                raise ValueError(
                    f"column `{name}` of the ledger has a class index outside 0 to {size - 1}"
                )
        return target, prediction

    def _column(self, name: str) -> Array:
        column = self.ledger[name] if self._kept is None else self.ledger[name][self._kept]
        if column.dtype.kind == "f" and np.isnan(column).any():
            raise ValueError(f"column `{name}` of the ledger has NaN in a row that it calls finite")
        return column

    def _batches(self) -> Iterator[FloatArray]:
        if self._weights is None:
            yield np.ones((1, len(self.ledger)))
            return
        count, length = self._weights.shape
        step = max(1, BATCH_ELEMENTS // max(1, length))
        for start in range(0, count, step):
            yield self._weights[start : start + step]


def _checked(weights: npt.ArrayLike, length: int) -> FloatArray:
    array = np.asarray(weights, dtype=np.float64)
    if array.ndim != 2 or array.shape[1] != length:
        raise ValueError(f"weights have shape {array.shape}, and must have (B, {length})")
    if not (array.min(initial=0) >= 0 and array.max(initial=0) < np.inf):
        raise ValueError("weights must be finite and not negative")
    _, exponent = np.frexp(array.max(axis=1, initial=0))
    if np.abs(exponent).max(initial=0) > TAME_EXPONENT:
        array = np.ldexp(array, -exponent[:, None])
    return array


def _sums(index: Array, weights: FloatArray, size: int) -> FloatArray:
    sums = np.empty((len(weights), size))
    for row, vector in zip(sums, weights, strict=True):
        row[:] = np.bincount(index, weights=vector, minlength=size)
    return sums
