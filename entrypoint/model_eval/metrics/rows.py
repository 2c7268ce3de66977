"""The rows of a ledger that metrics may use, under one or several weight vectors."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, TypeVar

import numpy as np
import numpy.typing as npt

from model_eval.ledger import Array, Ledger
from model_eval.types import Task

FloatArray = npt.NDArray[np.float64]
BoolArray = npt.NDArray[np.bool_]
IntArray = npt.NDArray[np.intc]

_T = TypeVar("_T")

BATCH_ELEMENTS = 1 << 20
"""Temporaries hold about this many numbers, whatever the number of weight vectors."""

_FEW_GROUPS = 64
_FEW_VALUES = 64

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


@dataclass(frozen=True, kw_only=True, slots=True)
class Resample:
    """B weight vectors that are the same for all rows of a group: w[b, i] = multiplicity[b, group[i]].

    Sums over rows are sums over groups, so that their cost does not grow with B times N.

    Attributes:
        group: (N,) from 0 to G - 1.
        multiplicity: float64 (B, G), finite and not negative.
    """

    group: npt.NDArray[np.intp]
    multiplicity: FloatArray


class Rows:
    """The rows with finite outputs, weighted. What several metrics need is computed once.

    The weight of row i in vector b is `base[i] * weights[b, i]`, or with a resample
    `base[i] * multiplicity[b, group[i]]`.

    Args:
        ledger: N rows.
        weights: (B, N), B weight vectors; None counts each row once (B is 1). A row of weight 0
            is not there: whatever its numbers, it has no influence on that vector's values.
        base: (N,), the weights of the samples themselves; None is 1 for each.
        scaled: whether `base` was multiplied by a number already.
        resample: weight vectors by groups, in the place of `weights`.
        memory: what does not depend on the weights, shared by all rows of one ledger.

    Attributes:
        ledger: all the rows, also those without finite outputs.
        spoiled: bool (B,); True where a row whose outputs are not finite has a positive weight.
        defined: bool (B,); True where a row has a positive weight, and none of those is spoiled.
            Elsewhere no metric has a value.
        scaled: whether weights were multiplied by a number, because they are too large or too small to be
            computed with. Only their ratios are as they were.

    Raises:
        ValueError: the weights have another shape, or one is negative or not finite; there are
            both weights and a resample, or a resample of rows that are not all finite.
    """

    def __init__(
        self,
        ledger: Ledger,
        weights: npt.ArrayLike | None = None,
        *,
        base: FloatArray | None = None,
        scaled: bool = False,
        resample: Resample | None = None,
        memory: dict[tuple[str, str | int], Any] | None = None,
    ) -> None:
        self.ledger = ledger
        self._memory: dict[tuple[str, str | int], Any] = {}
        self._shared = {} if memory is None else memory
        finite: BoolArray = ledger["finite"]
        self._kept = None if finite.all() else finite
        self._weights: FloatArray | None = None
        self._base, self._resample = base, resample
        self.scaled = scaled
        if resample is not None:
            if weights is not None or self._kept is not None:
                raise ValueError("a resample takes finite rows and no other weights")
            self.spoiled: BoolArray = np.zeros(len(resample.multiplicity), dtype=bool)
            self.defined: BoolArray = self.size > 0
            return
        if base is not None:
            weights = base[None] * (1.0 if weights is None else np.asarray(weights, np.float64))
        if weights is None:
            self.spoiled = np.array([self._kept is not None])
            self.defined = ~self.spoiled & (len(ledger) > 0)
            return
        checked, more = _checked(weights, len(ledger))
        self.scaled = scaled or more
        self.spoiled = checked[:, ~finite].max(axis=1, initial=0) > 0
        self.defined = ~self.spoiled & (checked.max(axis=1, initial=0) > 0)
        # Not checked[:, finite], which is laid out by columns: sums along rows would lose digits.
        self._weights = checked if self._kept is None else checked.compress(finite, axis=1)

    def once(self, key: tuple[str, str | int], make: Callable[[], _T]) -> _T:
        """What `make` gives, computed the first time that the key is asked for."""
        if key not in self._memory:
            self._memory[key] = make()
        found: _T = self._memory[key]
        return found

    def shared(self, key: tuple[str, str | int], make: Callable[[], Any]) -> Any:
        """The same for what does not depend on the weights, such as an order of the rows."""
        if key not in self._shared:
            self._shared[key] = make()
        return self._shared[key]

    def column(self, name: str) -> Array:
        """A column of the ledger at these rows.

        Raises:
            ValueError: it has a NaN; the ledger contradicts its own column `finite`.
        """
        found: Array = self.shared(("column", name), lambda: self._column(name))
        return found

    @property
    def unweighted(self) -> bool:
        """Whether each row counts once, under the one weight vector that there is."""
        return self._weights is None and self._resample is None

    @property
    def plain_weights(self) -> FloatArray:
        """(N,) the one weight vector of rows that are not resampled."""
        first: FloatArray = next(self._batches())[0]
        return first

    @cached_property
    def size(self) -> FloatArray:
        """(B,) the sum of the weights."""
        if self._resample is not None:
            total: FloatArray = self._resample.multiplicity @ self._by_group(np.ones(1))
            return total
        found: FloatArray = self.map(lambda weights: weights.sum(axis=1))
        return found

    def mean(self, values: FloatArray) -> FloatArray:
        """Weighted means (B,) of values (N,); infinite where a row of positive weight is."""
        return self._over_size(self.sums(values[:, None])[:, 0])

    def sums(self, values: FloatArray) -> FloatArray:
        """Weighted sums (B, K) of values (N, K); infinite where a row of positive weight is.

        The values must not be NaN, and a column must not have infinities of both signs.
        """
        columns = np.ascontiguousarray(values.T)
        if self._resample is not None:
            return np.stack([self._grouped_sum(column) for column in columns], axis=1)
        if self._weights is None:
            plain: FloatArray = columns.sum(axis=1)[None]
            return plain

        def batch(weights: FloatArray) -> FloatArray:
            kept = weights > 0
            every = kept.all()
            return np.stack(
                [
                    (weights * (column if every else np.where(kept, column, 0))).sum(axis=1)
                    for column in columns
                ],
                axis=1,
            )

        return self.map(batch)

    def moments(self, values: FloatArray, *, central: bool = False) -> "Moments":
        """Weighted mean squares (B,) of values (N,), around 0 or around their weighted mean.

        Values are divided by a power of two where their squares would overflow or underflow: an
        error of 1e-170 is not a perfect prediction. Sums around the mean are the corrected two-pass
        ones (Chan, Golub & LeVeque 1983), which large offsets do not spoil.
        """
        if self._resample is not None:
            return self._grouped_moments(values, central=central)
        if self.unweighted and len(values):
            return _plain_moments(values, central=central)
        found = [_moments(values, weights, central=central) for weights in self._batches()]
        return Moments(
            square=np.concatenate([part.square for part in found]),
            exponent=np.concatenate([part.exponent for part in found]),
        )

    def constant(self, values: FloatArray) -> BoolArray:
        """(B,) whether all values (N,) that are present are the same number.

        Not whether their spread comes out as 0: the mean of ten times 0.1 need not be 0.1.
        """
        if self._resample is not None:
            return self._grouped_constant(values)
        if self.unweighted and len(values):
            # The first few nearly always tell.
            few, first = values[:_FEW_VALUES], values[0]
            return np.array([bool((few == first).all() and (values == first).all())])
        found = [_constant(values, weights > 0) for weights in self._batches()]
        return np.concatenate(found)

    def correlation(self, first: FloatArray, second: FloatArray) -> FloatArray:
        """Weighted correlations (B,), from -1 to 1, of values (N,); NaN where a spread is 0."""
        if self._resample is not None:
            return self._grouped_correlation(first, second)
        found = [correlation(first[None], second[None], weights) for weights in self._batches()]
        return np.concatenate(found) if found else np.empty(0)

    def map(self, function: Callable[[FloatArray], FloatArray]) -> FloatArray:
        """Applies a function of weights (b, N) to a few vectors at a time; (B, …) in all."""
        found = [function(weights) for weights in self._batches()]
        return np.concatenate(found) if found else np.empty(0)

    @cached_property
    def counts(self) -> Counts:
        """Sums of class labels, or of a row's labels or pixels: exact counts without weights.

        Raises:
            ValueError: a label is no class of the ledger's.
        """
        if self.ledger.task not in {Task.BINARY, Task.MULTICLASS}:
            hits, predicted, support = (
                self.sums(part.astype(np.float64)) for part in counts_of_rows(self)
            )
            return Counts(hits=hits, predicted=predicted, support=support)
        target, prediction = self._labels
        size = len(self.ledger.classes)
        if self._resample is not None:
            return Counts(
                hits=self._grouped_counts(np.where(target == prediction, target, size), size),
                predicted=self._grouped_counts(prediction, size),
                support=self._grouped_counts(target, size),
            )
        hit = target[target == prediction]
        if self._weights is None:
            return Counts(
                hits=np.bincount(hit, minlength=size)[None],
                predicted=np.bincount(prediction, minlength=size)[None],
                support=np.bincount(target, minlength=size)[None],
            )
        # Added up in the order of the rows, so hits cannot exceed predictions even by rounding.
        hits = self._weights.compress(target == prediction, axis=1)
        return Counts(
            hits=label_sums(hit, hits, size),
            predicted=label_sums(prediction, self._weights, size),
            support=label_sums(target, self._weights, size),
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
        return label_sums(cell, self._weights, size * size).reshape(-1, size, size)

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
        if self._weights is None and self._resample is None:
            yield np.ones((1, len(self.ledger)))
            return
        count = len(self.defined)
        step = max(1, BATCH_ELEMENTS // max(1, len(self.ledger)))
        for start in range(0, count, step):
            yield self._some(slice(start, start + step))

    def _some(self, vectors: slice) -> FloatArray:
        if self._resample is None:
            return self._weights[vectors]  # type: ignore[index]  # `_batches` has asked
        weights = self._resample.multiplicity[vectors].take(self._resample.group, axis=1)
        return weights if self._base is None else weights * self._base

    def _over_size(self, sums: FloatArray) -> FloatArray:
        size = self.size.reshape(-1, *[1] * (sums.ndim - 1))
        mean = np.full(sums.shape, np.nan)
        np.divide(sums, size, out=mean, where=size > 0)
        return mean

    def _by_group(self, values: FloatArray) -> FloatArray:
        """(G,) sums over the rows of each group, of values (N,) or of one number for all rows."""
        resample = self._given_resample()
        weights = values if self._base is None else values * self._base
        groups = resample.multiplicity.shape[1]
        if weights.shape == (1,):
            # One number for all rows, or one row: counted, which is cheaper than added up.
            equal: FloatArray = np.bincount(resample.group, minlength=groups) * weights[0]
            return equal
        sums = np.bincount(
            resample.group,
            weights=weights,
            minlength=groups,
        )
        return sums.astype(np.float64)

    def _grouped_sum(self, values: FloatArray) -> FloatArray:
        multiplicity = self._given_resample().multiplicity
        sums = self._by_group(values)
        finite = np.isfinite(sums)
        total: FloatArray = multiplicity @ np.where(finite, sums, 0)
        for endless in (np.inf, -np.inf):
            if (there := sums == endless).any():
                total[(multiplicity[:, there] > 0).any(axis=1)] = endless
        return total

    def _grouped_moments(self, values: FloatArray, *, central: bool) -> "Moments":
        scaled, exponent = _scaled(values[None], np.ones((1, 1), dtype=bool))
        shifted = scaled[0] - (scaled[0].mean() if central and len(values) else 0)
        sums = self.sums(np.stack([shifted * shifted, shifted], axis=1))
        square = self._over_size(sums[:, 0])
        if central:
            square = np.maximum(square - self._over_size(sums[:, 1]) ** 2, 0)
        return Moments(square=square, exponent=np.repeat(exponent, len(square)))

    def _grouped_correlation(self, first: FloatArray, second: FloatArray) -> FloatArray:
        present: FloatArray = np.ones((1, len(first)))
        if self._base is not None:
            present = (self._base > 0)[None].astype(np.float64)
        x, y = (_standard(values[None], present)[0] for values in (first, second))
        sums = self.sums(np.stack([x, y, x * x, y * y, x * y], axis=1))
        mean_x, mean_y, square_x, square_y, product = self._over_size(sums).T
        spread = np.sqrt((square_x - mean_x**2) * (square_y - mean_y**2))
        found: FloatArray = np.clip((product - mean_x * mean_y) / spread, -1, 1)
        return found

    def _grouped_constant(self, values: FloatArray) -> BoolArray:
        resample = self._given_resample()
        groups = resample.multiplicity.shape[1]
        present = np.ones(len(values), dtype=bool) if self._base is None else self._base > 0
        low, high = np.full(groups, np.inf), np.full(groups, -np.inf)
        np.minimum.at(low, resample.group[present], values[present])
        np.maximum.at(high, resample.group[present], values[present])
        # Two different values among a few groups settle nearly every vector; the others are looked at
        # one by one.
        few = slice(_FEW_GROUPS)
        drawn = resample.multiplicity[:, few] > 0
        lowest = np.where(drawn, low[few], np.inf).min(axis=1, initial=np.inf)
        constant: BoolArray = lowest >= np.where(drawn, high[few], -np.inf).max(
            axis=1, initial=-np.inf
        )
        for row in np.flatnonzero(constant):
            there = resample.multiplicity[row] > 0
            constant[row] = low[there].min(initial=np.inf) >= high[there].max(initial=-np.inf)
        return constant

    def _grouped_counts(self, label: Array, size: int) -> FloatArray:
        """(B, size); a label of `size` is none."""
        resample = self._given_resample()
        groups = resample.multiplicity.shape[1]
        cells = np.bincount(
            resample.group * (size + 1) + label,
            weights=self._base,
            minlength=groups * (size + 1),
        ).reshape(groups, size + 1)[:, :size]
        counts: FloatArray = resample.multiplicity @ cells.astype(np.float64)
        return counts

    def _given_resample(self) -> Resample:
        if self._resample is None:
            raise ValueError("these rows are not resampled")
        return self._resample


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Weighted:
    """A ledger and the weights of its samples, from which rows are taken again and again.

    Attributes:
        base: (N,) finite and not negative; None is 1 for each sample.
        scaled: whether `base` are the weights times a number.
    """

    ledger: Ledger
    base: FloatArray | None = None
    scaled: bool = False
    memory: dict[tuple[str, str | int], Any] = field(default_factory=dict)
    drawn: list[tuple[Resample | None, Rows]] = field(default_factory=list)

    def rows(self, resample: Resample | None = None) -> Rows:
        """The rows, under a resample's weight vectors or once each; the same ones when asked again."""
        for known, rows in self.drawn:
            if known is resample:
                return rows
        rows = Rows(
            self.ledger, base=self.base, scaled=self.scaled, resample=resample, memory=self.memory
        )
        self.drawn.append((resample, rows))
        return rows


def weighted(ledger: Ledger) -> Weighted:
    """The ledger's rows with the weights of its samples, where it has any."""
    if "weight" not in ledger.columns:
        return Weighted(ledger=ledger)
    weights, scaled = _tamed(ledger["weight"][None])
    return Weighted(ledger=ledger, base=weights[0], scaled=scaled)


def counts_of_rows(rows: Rows) -> tuple[Array, Array, Array]:
    """Hits, predictions and targets of each row, each (N, C): its labels, or its pixels' counts.

    Raises:
        ValueError: the ledger's task has no such rows.
    """
    if rows.ledger.task is Task.MULTILABEL:
        target, prediction = rows.column("target"), rows.column("prediction")
        return target & prediction, prediction, target
    if rows.ledger.task is Task.SEGMENTATION:
        return rows.column("hits"), rows.column("predicted"), rows.column("support")
    raise ValueError(f"a {rows.ledger.task} ledger has no classes")


@dataclass(frozen=True, kw_only=True, slots=True)
class Moments:
    """Mean squares, each `square` times 4 to the power of `exponent`, both (B,)."""

    square: FloatArray
    exponent: IntArray


def _plain_moments(values: FloatArray, *, central: bool) -> Moments:
    """`_moments` of rows that count once: as scalar products, without a copy of the values."""
    scaled, exponent = _plain_scaled(values)
    offset = 0.0
    if central:
        scaled, more = _plain_scaled(scaled - scaled.mean())
        exponent, offset = exponent + more, float(scaled.mean())
    square = float(scaled @ scaled) / len(scaled) - offset**2
    return Moments(square=np.array([square]), exponent=np.array([exponent], dtype=np.intc))


def _plain_scaled(values: FloatArray) -> tuple[FloatArray, int]:
    """`_scaled` of all values (N,)."""
    _, exponent = np.frexp(max(values.max(), -values.min()))
    if abs(exponent) <= TAME_EXPONENT:
        return values, 0
    return np.ldexp(values, -exponent), int(exponent)


def _moments(values: FloatArray, weights: FloatArray, *, central: bool) -> Moments:
    present = weights > 0
    total = weights.sum(axis=1)
    scaled, exponent = _scaled(values[None], present)
    if central:
        mean = (weights * scaled).sum(axis=1) / total
        scaled, more = _scaled(scaled - mean[:, None], present)
        exponent = exponent + more
    weighted = weights * scaled
    square = (weighted * scaled).sum(axis=1) / total
    if central:
        square = square - (weighted.sum(axis=1) / total) ** 2
    return Moments(square=square, exponent=exponent)


def correlation(first: FloatArray, second: FloatArray, weights: FloatArray) -> FloatArray:
    """Weighted correlations (b,), from -1 to 1, of values (b, N) or (1, N); NaN where a spread is 0.

    Each side is centred and brought to a spread of 1 first, so that neither offsets nor sizes cost
    digits. Values of weight 0 have no influence.
    """
    x, y = (_standard(values, weights) for values in (first, second))
    product = (weights * x * y).sum(axis=1) / weights.sum(axis=1)
    found: FloatArray = np.clip(product, -1, 1)
    return found


def _standard(values: FloatArray, weights: FloatArray) -> FloatArray:
    """(b, N) with weighted mean 0 and mean square 1; NaN where the spread is 0."""
    present, total = weights > 0, weights.sum(axis=1)[:, None]
    shifted = values
    for _ in range(2):  # the second time takes away what rounding left in the first mean
        shifted, _exponent = _scaled(shifted, present)
        shifted = shifted - (weights * shifted).sum(axis=1)[:, None] / total
    shifted, _exponent = _scaled(shifted, present)
    standard: FloatArray = shifted / np.sqrt(
        (weights * shifted * shifted).sum(axis=1)[:, None] / total
    )
    return standard


def _scaled(values: FloatArray, present: BoolArray) -> tuple[FloatArray, IntArray]:
    """Values, 0 where not present, divided by 2^exponent (b,) where their squares need it."""
    kept = values if present.all() else np.where(present, values, 0)
    _, exponent = np.frexp(np.abs(kept).max(axis=1, initial=0))
    if np.abs(exponent).max(initial=0) <= TAME_EXPONENT:
        return kept, np.zeros_like(exponent)
    return np.ldexp(kept, -exponent[:, None]), exponent


def _constant(values: FloatArray, present: BoolArray) -> BoolArray:
    first = values[present.argmax(axis=1)]
    constant: BoolArray = ~(present & (values != first[:, None])).any(axis=1)
    return constant


def _checked(weights: npt.ArrayLike, length: int) -> tuple[FloatArray, bool]:
    """The weights (B, N) as `_tamed` gives them."""
    array = np.asarray(weights, dtype=np.float64)
    if array.ndim != 2 or array.shape[1] != length:
        raise ValueError(f"weights have shape {array.shape}, and must have (B, {length})")
    if not (array.min(initial=0) >= 0 and array.max(initial=0) < np.inf):
        raise ValueError("weights must be finite and not negative")
    return _tamed(array)


def _tamed(weights: FloatArray) -> tuple[FloatArray, bool]:
    """Weights (B, N), times a power of two where their sums or squares might overflow, and whether."""
    _, exponent = np.frexp(weights.max(axis=1, initial=0))
    if np.abs(exponent).max(initial=0) <= TAME_EXPONENT:
        return weights, False
    return np.ldexp(weights, -exponent[:, None]), True


def label_sums(index: Array, weights: FloatArray, size: int) -> FloatArray:
    """Sums (B, size) of weights (B, N) by label (N,), from 0 to size - 1."""
    sums = np.empty((len(weights), size))
    for row, vector in zip(sums, weights, strict=True):
        row[:] = np.bincount(index, weights=vector, minlength=size)
    return sums
