"""(d) 95 % intervals of one metric, at equal numbers of replicates.

Counts are all that accuracy and macro-F1 need; MSE and AUROC need the rows. Peers that take more than
a fraction of a second for each replicate are timed at a few and scaled: their cost is linear in the
replicates, and the results say of which this was done.
"""

import random
import statistics
import time
import warnings
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from scipy.stats import bootstrap as scipy_bootstrap

from benchmarks.speed import ours
from benchmarks.speed.child import say, serve
from benchmarks.speed.contest import Kind

CLASSES = 10
CONFIDENCE = ours.CONFIDENCE
METRICS = ("accuracy", "f1_macro", "mse", "auroc")
COUNTS = ("accuracy", "f1_macro")
"""What the confusion matrix is enough for."""

Interval = tuple[float, float, str]
"""Low, high, method."""


@dataclass(frozen=True, slots=True)
class Way:
    """A way to an interval: from so many replicates; `scaled` where few are timed."""

    kind: Kind
    make: Callable[["Rows", int], Interval]
    scaled: bool = False


@dataclass(frozen=True, eq=False)
class Rows:
    """What one metric is computed from, in the forms that contenders take.

    Attributes:
        target: int64 (N,), or float64 (N,) for MSE.
        given: predictions int64 (N,), float64 (N,) for MSE, or scores float32 (N,) for AUROC.
    """

    metric: str
    target: np.ndarray
    given: np.ndarray

    @property
    def ledger(self) -> Any:
        """Of the metric's task."""
        if self.metric == "mse":
            return ours.regression_ledger(self.target, self.given)
        if self.metric == "auroc":
            return ours.binary_ledger(self.target, self.given)
        return ours.multiclass_ledger(self.target, self.given, CLASSES)


def measure(settings: Mapping[str, Any]) -> list[dict[str, Any]]:
    """One entry for each metric."""
    return [_metric(metric, settings) for metric in METRICS]


def _metric(metric: str, settings: Mapping[str, Any]) -> dict[str, Any]:
    replicates, few, runs = (settings[name] for name in ("replicates", "few", "runs"))
    rows = draw(metric, settings["rows"])
    ways = _ways(metric)
    say(f"intervals of {metric}, {settings['rows']:,} rows, {replicates} replicates")
    seconds: dict[str, list[float]] = {name: [] for name in ways}
    found: dict[str, Interval] = {}
    for way in ways.values():
        way.make(draw(metric, 2_000), 20)  # imports, first calls
    for number in range(runs):
        order = list(ways)
        random.Random(number).shuffle(order)
        for name in order:
            asked = few if ways[name].scaled else replicates
            started = time.perf_counter()
            found[name] = ways[name].make(rows, asked)
            seconds[name].append((time.perf_counter() - started) * replicates / asked)
            say(f"round {number + 1}: {name}: {seconds[name][-1]:.4f} s for {replicates}")
    base = statistics.median(seconds["model-eval"])
    return {
        "part": metric,
        "needs": "counts" if metric in COUNTS else "rows",
        "rows": settings["rows"],
        "threads": settings["threads"],
        "runs": runs,
        "replicates": replicates,
        "contenders": [
            {
                "name": name,
                "kind": way.kind,
                "seconds": round(statistics.median(seconds[name]), 6),
                "times_ours": round(statistics.median(seconds[name]) / base, 3),
                "low": found[name][0],
                "high": found[name][1],
                "method": found[name][2],
                "scaled_from": few if way.scaled else None,
            }
            for name, way in ways.items()
        ],
    }


def draw(metric: str, rows: int) -> Rows:
    """Seven in ten right; errors of 1; or binormal scores, one in three positive."""
    generator = np.random.default_rng(0)
    if metric == "mse":
        target = generator.normal(size=rows)
        return Rows(metric, target, target + generator.normal(size=rows))
    if metric == "auroc":
        positive = (generator.random(rows) < 1 / 3).astype(np.int64)
        return Rows(metric, positive, (generator.normal(size=rows) + positive).astype(np.float32))
    target = generator.integers(0, CLASSES, rows)
    other = generator.integers(0, CLASSES, rows)
    return Rows(metric, target, np.where(generator.random(rows) < 0.7, target, other))


def _ways(metric: str) -> dict[str, Way]:
    found = {
        "model-eval": Way("ours", lambda rows, b: ours.interval(rows.ledger, metric, b)),
        "model-eval, replicates alone": Way(
            "ours", lambda rows, b: ours.bootstrap(rows.ledger, metric, b)
        ),
        "torchmetrics BootStrapper": Way("peer", _torchmetrics, scaled=True),
        "scipy.stats.bootstrap": Way("peer", _scipy, scaled=metric != "mse"),
    }
    if metric != "mse":  # the package has none for regressions
        found["confidenceinterval, bootstrap"] = Way("peer", _confidenceinterval, scaled=True)
        found["confidenceinterval, its closed form"] = Way("peer", _closed)
    return found


def _torchmetrics(rows: Rows, replicates: int) -> Interval:
    from torchmetrics import MeanSquaredError
    from torchmetrics.classification import BinaryAUROC, MulticlassAccuracy, MulticlassF1Score
    from torchmetrics.wrappers import BootStrapper

    metric = {
        "accuracy": lambda: MulticlassAccuracy(CLASSES, average="micro"),
        "f1_macro": lambda: MulticlassF1Score(CLASSES),
        "mse": MeanSquaredError,
        "auroc": BinaryAUROC,
    }[rows.metric]()
    levels = torch.tensor([(1 - CONFIDENCE) / 2, (1 + CONFIDENCE) / 2])
    wrapped = BootStrapper(
        metric,
        num_bootstraps=replicates,
        mean=False,
        std=False,
        quantile=levels,
        sampling_strategy="multinomial",
    )
    wrapped.update(torch.from_numpy(rows.given), torch.from_numpy(rows.target))
    low, high = wrapped.compute()["quantile"].tolist()
    return low, high, "percentiles"


def _scipy(rows: Rows, replicates: int) -> Interval:
    if rows.metric == "mse":
        given, statistic = ((rows.target - rows.given) ** 2,), np.mean
        how = {"vectorized": True, "batch": 10}
    else:
        score = _score(rows.metric)
        given, statistic = (rows.target, rows.given), score
        how = {"vectorized": False, "paired": True}
    found = scipy_bootstrap(
        given,
        statistic,
        n_resamples=replicates,
        confidence_level=CONFIDENCE,
        method="percentile",
        rng=np.random.default_rng(0),
        **how,
    ).confidence_interval
    return float(found.low), float(found.high), "percentiles"


def _score(metric: str) -> Callable[[np.ndarray, np.ndarray], float]:
    from sklearn.metrics import accuracy_score, f1_score, roc_auc_score

    return {
        "accuracy": accuracy_score,
        "f1_macro": lambda target, given: f1_score(target, given, average="macro"),
        "auroc": roc_auc_score,
    }[metric]


def _confidenceinterval(rows: Rows, replicates: int) -> Interval:
    import confidenceinterval as package

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        how: dict[str, Any] = {
            "method": "bootstrap_percentile",
            "n_resamples": replicates,
            "confidence_level": CONFIDENCE,
        }
        call = {
            "accuracy": lambda: package.accuracy_score(rows.target, rows.given, **how),
            "f1_macro": lambda: package.f1_score(rows.target, rows.given, average="macro", **how),
            "auroc": lambda: package.roc_auc_score(rows.target, rows.given, **how),
        }
        _, (low, high) = call[rows.metric]()
    return float(low), float(high), "percentiles"


def _closed(rows: Rows, _replicates: int) -> Interval:
    import confidenceinterval as package

    call = {
        "accuracy": lambda: package.accuracy_score(rows.target, rows.given),
        "f1_macro": lambda: package.f1_score(rows.target, rows.given, average="macro"),
        "auroc": lambda: package.roc_auc_score(rows.target, rows.given),
    }
    _, (low, high) = call[rows.metric]()
    method = {"accuracy": "Wilson", "f1_macro": "Takahashi", "auroc": "DeLong"}[rows.metric]
    return float(low), float(high), method


if __name__ == "__main__":
    serve(measure)
