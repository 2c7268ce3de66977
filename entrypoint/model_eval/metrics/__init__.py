"""Metrics are functions of weighted ledger rows, vectorised over weight vectors.

The plain value, sample weights, a bootstrap replicate and a paired difference (the same weights on two
ledgers) are all one function of rows and weights; a slice is a ledger of its rows.
"""

from collections.abc import Callable, Iterable, Mapping
from math import isfinite, isnan
from typing import Any

import numpy as np
import numpy.typing as npt

from model_eval.ledger import Ledger
from model_eval.metrics.classification import f1, precision, recall
from model_eval.metrics.custom import bring
from model_eval.metrics.registry import NONE_BROUGHT, Brought, info_of, metric_of
from model_eval.metrics.rows import FloatArray, Resample, Rows, Weighted, weighted
from model_eval.spec.catalog import CLASSIFICATION, LABELLED, MetricInfo
from model_eval.types import ClassRow, ConfusionMatrix, Estimate, MetricRef, Task

__all__ = [
    "Brought",
    "Resample",
    "Weighted",
    "bring",
    "class_rows",
    "compute",
    "confusion",
    "confusion_matrix",
    "estimate",
    "estimates",
    "values_of",
    "weighted",
]

_NO_SAMPLES = "there are no samples"
_NO_WEIGHT = "every sample has the weight 0"
_TOO_LARGE = "the value is too large for a float64"
_ID_CHARACTERS = 80


def compute(
    ledger: Ledger,
    ref: MetricRef,
    weights: npt.ArrayLike | None = None,
    *,
    brought: Mapping[str, Brought] = NONE_BROUGHT,
) -> FloatArray:
    """The metric under each of B weight vectors.

    Args:
        ledger: N rows.
        ref: the metric and, where it has them, its class or output and its parameters.
        weights: (B, N), finite and not negative; None counts each row once (B is 1). Rows of
            weight 0 have no influence.
        brought: further metrics, by name, that the spec brings.

    Returns:
        float64 (B,), NaN where the metric is undefined: there is no row of positive weight, one
        has outputs that are not finite, the catalogue's condition holds, or the value overflows.

    Raises:
        ValueError: the weights are not as above; the ledger has no such metric, class or output.
    """
    if missing := _missing_part(ledger, ref, brought):
        raise ValueError(missing)
    return values_of(Rows(ledger, weights), ref, brought)


def values_of(
    rows: Rows, ref: MetricRef, brought: Mapping[str, Brought] = NONE_BROUGHT
) -> FloatArray:
    """`compute` of rows that are there already, and share what they need between metrics."""
    values = _values(rows, ref, brought)
    return np.where(np.isfinite(values), values, np.nan)


def estimate(ledger: Ledger, ref: MetricRef) -> Estimate:
    """The metric's value on all rows, or the reason why it has none.

    Raises:
        ValueError: the ledger's task has no such metric.
    """
    return estimates(Weighted(ledger=ledger), (ref,))[0]


def estimates(
    sample: Weighted, refs: Iterable[MetricRef], *, brought: Mapping[str, Brought] = NONE_BROUGHT
) -> tuple[Estimate, ...]:
    """`estimate` of several metrics, which share the counts and rankings that they need."""
    rows = sample.rows()
    return tuple(_estimate(rows, sample, ref, brought) for ref in refs)


def confusion_matrix(ledger: Ledger, weights: npt.ArrayLike | None = None) -> npt.NDArray[Any]:
    """How often each target (second axis) was predicted as each class (third axis).

    Args:
        ledger: N rows of a classification.
        weights: (B, N), finite and not negative; None counts each row once (B is 1).

    Returns:
        (B, C, C): int64 counts without weights, else float64 sums of weights.

    Raises:
        ValueError: the weights are not as above, the task has no one class of a sample, or a row
            of positive weight has outputs that are not finite, so that its prediction means nothing.
    """
    return _countable(ledger, weights).confusion_matrix()


def confusion(ledger: Ledger) -> ConfusionMatrix:
    """The confusion matrix of all rows, for a report.

    Raises:
        ValueError: as `confusion_matrix`.
    """
    counts = confusion_matrix(ledger)[0]
    return ConfusionMatrix(
        labels=ledger.classes, counts=tuple(tuple(row) for row in counts.tolist())
    )


def class_rows(ledger: Ledger) -> tuple[ClassRow, ...]:
    """Each class against the rest, in the order of the ledger's classes, or each label.

    The ratios are weighted as the metrics are; samples are counted, whatever they weigh.

    Raises:
        ValueError: the task has no class or labels of a sample, or a row's outputs are not finite.
    """
    counts = _countable(ledger, None, LABELLED).counts
    weighed = weighted(ledger).rows().counts if "weight" in ledger.columns else counts
    ratios = [ratio(weighed)[0].tolist() for ratio in (precision, recall, f1)]
    return tuple(
        ClassRow(
            name=name,
            support=int(counts.support[0, index]),
            predicted=int(counts.predicted[0, index]),
            precision=_or_none(ratios[0][index]),
            recall=_or_none(ratios[1][index]),
            f1=_or_none(ratios[2][index]),
        )
        for index, name in enumerate(ledger.classes)
    )


def _estimate(
    rows: Rows, sample: Weighted, ref: MetricRef, brought: Mapping[str, Brought]
) -> Estimate:
    ledger = sample.ledger
    undefined = _missing_part(ledger, ref, brought) or _unusable(ledger)
    if undefined is None and not rows.defined[0]:
        undefined = _NO_WEIGHT
    value = float(_values(rows, ref, brought)[0]) if undefined is None else np.nan
    if undefined is None and not isfinite(value):
        undefined = _known(ledger, ref, brought).undefined_when if isnan(value) else _TOO_LARGE
    return Estimate(
        metric=ref,
        value=value if undefined is None else None,
        undefined=undefined,
        n=len(ledger) if sample.base is None else int(np.count_nonzero(sample.base)),
    )


def _values(rows: Rows, ref: MetricRef, brought: Mapping[str, Brought]) -> FloatArray:
    """(B,), NaN where undefined, infinite where it overflows."""
    if not rows.defined.any():
        return np.full(len(rows.defined), np.nan)
    with np.errstate(all="ignore"):
        values = _function(rows.ledger, ref, brought)(rows)
    return np.where(rows.defined, values, np.nan)


def _function(
    ledger: Ledger, ref: MetricRef, brought: Mapping[str, Brought]
) -> Callable[[Rows], FloatArray]:
    metric, part = metric_of(ref, ledger.task, brought), part_of(ref, ledger)
    if part is None:
        return metric.whole
    of_part = metric.of_part
    if of_part is None:
        raise ValueError(f"`{ref.name}` has no parts")
    return lambda rows: of_part(rows, part)


def part_of(ref: MetricRef, ledger: Ledger) -> int | None:
    """The index of the class or output that the metric is restricted to."""
    if ref.of_class is not None:
        return ledger.classes.index(ref.of_class)
    return None if ref.of_output is None else ledger.outputs.index(ref.of_output)


def _known(ledger: Ledger, ref: MetricRef, brought: Mapping[str, Brought]) -> MetricInfo:
    info = info_of(ref.name, brought)
    if info is None or ledger.task not in info.tasks:
        raise ValueError(f"a {ledger.task} task has no metric `{ref.name}`")
    return info


def _missing_part(ledger: Ledger, ref: MetricRef, brought: Mapping[str, Brought]) -> str | None:
    """Why the ledger has no such class or output.

    Raises:
        ValueError: the metric is not one of the task's, is not restricted to parts of this kind, or
            has other parameters.
    """
    info = _known(ledger, ref, brought)
    needs_class = info.needs_part and ledger.task is not Task.BINARY
    if (
        (ref.of_class is not None and info.part != "class")
        or (ref.of_output is not None and info.part != "output")
        or (ref.of_class is None and needs_class)
    ):
        raise ValueError(f"`{ref.label}` does not name a metric of a {ledger.task} task")
    info.arguments(ref)
    if ref.of_class is not None and ref.of_class not in ledger.classes:
        return f"there is no class `{ref.of_class}`"
    if ref.of_output is not None and ref.of_output not in ledger.outputs:
        return f"there is no output `{ref.of_output}`"
    if info.needs_bytes and "bytes" not in ledger.columns:
        return "the length of the documents in bytes is not known"
    return None


def _unusable(ledger: Ledger) -> str | None:
    count = len(ledger)
    if count == 0:
        return _NO_SAMPLES
    lacking = count - ledger.finite
    if lacking == 0:
        return None
    first = " ".join(str(ledger["id"][ledger["finite"].argmin()]).split())
    if len(first) > _ID_CHARACTERS:
        first = first[: _ID_CHARACTERS - 1] + "…"
    return f"{lacking} of {count} samples have outputs that are not finite (first id: {first})"


def _countable(
    ledger: Ledger, weights: npt.ArrayLike | None, tasks: frozenset[Task] = CLASSIFICATION
) -> Rows:
    if ledger.task not in tasks:
        raise ValueError(f"a {ledger.task} ledger has no class for each sample")
    rows = Rows(ledger, weights)
    if rows.spoiled.any():
        raise ValueError("classes cannot be counted over rows whose outputs are not finite")
    return rows


def _or_none(value: float) -> float | None:
    return None if isnan(value) else value
