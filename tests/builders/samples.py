"""Ledgers with weights, clusters and slices, and what the statistics say of them."""

from dataclasses import replace

import numpy as np

from builders.ledgers import multiclass_ledger
from model_eval.metrics import estimates, values_of
from model_eval.stats.assess import Asked, sampled_of
from model_eval.stats.interval import metric_interval
from model_eval.types import MetricRef


def labels(n, *, share=0.8, seed=0, size=3):
    """A classifier that is right on about `share` of n samples of `size` classes."""
    generator = np.random.default_rng(seed)
    target = generator.integers(0, size, size=n)
    said = np.where(generator.random(n) < share, target, generator.integers(0, size, size=n))
    probability = generator.dirichlet(np.ones(size), size=n) / 2
    probability[np.arange(n), said] += 0.5
    return multiclass_ledger(target, probability)


def with_columns(ledger, **columns):
    """More columns: `weight`, `cluster`, and `slice_NAME` for `slice:NAME`."""
    more = {name.replace("slice_", "slice:"): np.asarray(c) for name, c in columns.items()}
    return replace(ledger, columns={**ledger.columns, **more})


def weighted(ledger, weights):
    return with_columns(ledger, weight=np.asarray(weights, dtype=np.float64))


def clustered(ledger, clusters):
    return with_columns(ledger, cluster=np.asarray(clusters))


def asked(*metrics, families=(), gaps=(), confidence=0.95, seed=0):
    return Asked(
        heldout="heldout",
        metrics=tuple(ref(metric) for metric in metrics),
        families=tuple(families),
        gaps=tuple((family, ref(metric)) for family, metric in gaps),
        confidence=confidence,
        seed=seed,
    )


def ref(metric):
    return metric if isinstance(metric, MetricRef) else MetricRef(name=metric)


def interval_of(ledger, metric, *, confidence=0.95, seed=0):
    """The interval; None where the metric has no value."""
    sampled = sampled_of(ledger, asked(confidence=confidence, seed=seed))
    [found] = estimates(sampled.sample, [ref(metric)])
    return None if found.value is None else metric_interval(ref(metric), sampled)


def values(ledger, metric, resample):
    return values_of(sampled_of(ledger, asked()).sample.rows(resample), ref(metric))
