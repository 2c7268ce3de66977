"""What a sample without any variation still leaves open: what was not seen may exist.

Fifty of fifty right is not "1.000 ± 0". With n units none of which differs, others make up at most a
share 1 - tail^(1/n) of the world, at this confidence (Clopper & Pearson 1934: "rule of three"). The
metric is computed as if one more sample, the worst or the best that there can be, had that share.
"""

from math import isfinite

import numpy as np

from model_eval.ledger import Ledger
from model_eval.metrics import Resample, Weighted, values_of
from model_eval.spec.catalog import MetricInfo
from model_eval.stats.bootstrap import NoIntervalError
from model_eval.types import Interval, MetricRef, Task

UNSEEN = "unseen"
_MAX_CLASSES = 100


def unseen_interval(
    ref: MetricRef, info: MetricInfo, sample: Weighted, *, units: int, confidence: float
) -> Interval:
    """The interval of a bounded metric of a classifier where no resample differs.

    Args:
        ref: the metric, of the catalogue.
        info: what it is.
        sample: on which it has a value.
        units: how many equal independent samples that is worth.
        confidence: of both sides together.

    Raises:
        NoIntervalError: the metric is not bounded, or there are too many classes.
    """
    ledger = sample.ledger
    size = len(ledger.classes)
    if not (isfinite(info.low) and isfinite(info.high)) or ledger.task not in {
        Task.BINARY,
        Task.MULTICLASS,
    }:
        raise NoIntervalError("all samples are alike, and the metric has no bound")
    if size > _MAX_CLASSES:
        raise NoIntervalError("all samples are alike, and there are too many classes to vary them")
    share = 1 - ((1 - confidence) / 2) ** (1 / units)
    extended = _with_candidates(ledger)
    count = len(extended) - len(ledger)
    group = np.concatenate([np.zeros(len(ledger), dtype=np.intp), 1 + np.arange(count)])
    multiplicity = np.zeros((count + 1, count + 1))
    multiplicity[:, 0] = 1
    base = np.ones(len(ledger)) if sample.base is None else sample.base
    base = base / base.max()
    np.fill_diagonal(multiplicity[1:, 1:], share / (1 - share) * base.sum())
    weighted = Weighted(ledger=extended, base=np.concatenate([base, np.ones(count)]))
    rows = weighted.rows(Resample(group=group, multiplicity=multiplicity))
    values = values_of(rows, ref)
    values = values[np.isfinite(values)]
    return Interval(
        low=float(values.min()), high=float(values.max()), confidence=confidence, method=UNSEEN
    )


def _with_candidates(ledger: Ledger) -> Ledger:
    """The ledger with one more row for each target and prediction, sure of what it predicts."""
    size = len(ledger.classes)
    target, prediction = (side.ravel() for side in np.indices((size, size)))
    columns = {
        name: np.concatenate([column, np.repeat(column[:1], size * size, axis=0)])
        for name, column in ledger.columns.items()
    }
    columns["target"][len(ledger) :] = target
    columns["prediction"][len(ledger) :] = prediction
    for name, sure in (("probability", 1.0), ("score", np.finfo(np.float32).max / 4)):
        if name not in columns:
            continue
        column = columns[name][len(ledger) :]
        if column.ndim == 1:
            column[:] = np.where(prediction == 1, sure, 0 if name == "probability" else -sure)
        else:
            column[:] = 0 if name == "probability" else -sure
            column[np.arange(size * size), prediction] = sure if name == "probability" else 0
    columns["log_loss"][len(ledger) :] = np.where(target == prediction, 0, 36.0)
    return Ledger(task=ledger.task, columns=columns, classes=ledger.classes, outputs=ledger.outputs)
