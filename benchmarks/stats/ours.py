"""Intervals as the product makes them, of what a population draws.

One thing is done otherwise: the draws of a resample, which depend on the seed and the number of
units alone, are made once for each of a few seeds and used for many held-out sets. A spec has one
seed, so that this is what its users have, too.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache

import numpy as np

from benchmarks.stats.ledgers import regression_ledger
from benchmarks.stats.population import Population, ref_of
from model_eval.ledger import Ledger
from model_eval.metrics import Weighted, estimates, values_of
from model_eval.spec.catalog import CATALOG
from model_eval.spec.eval_spec import SliceFamily
from model_eval.stats.assess import Asked, assess
from model_eval.stats.difference import Paired, compare_metric
from model_eval.stats.interval import Sampled, with_interval
from model_eval.stats.resample import Plan, plan_rows
from model_eval.types import Gap, Interval, Location

CONFIDENCE = 0.95
SEEDS = 3

_PART = SliceFamily(
    name="part",
    columns=("part",),
    edges=(),
    where=None,
    labels=(),
    location=Location(file="model-eval.yaml", line=1, column=1),
)


@dataclass(frozen=True, kw_only=True, eq=False)
class Pooled(Sampled):
    """A sample of independent rows, whose draws are shared with others of this size and seed."""

    @property
    def rows(self) -> Plan:
        """Rows as units."""
        return _rows_plan(len(self.ledger), self.seed)


@cache
def _rows_plan(n: int, seed: int) -> Plan:
    return plan_rows(regression_ledger(np.zeros(n), np.zeros(n)), seed=seed)


def sampled_of(ledger: Ledger, seed: int) -> Sampled:
    """The ledger's sample, with its weights; of weighted or clustered rows with draws of its own."""
    base = ledger["weight"] if "weight" in ledger.columns else None
    sample = Weighted(ledger=ledger, base=base)
    kind = Sampled if base is not None or "cluster" in ledger.columns else Pooled
    return kind(sample=sample, seed=seed % SEEDS, confidence=CONFIDENCE)


def metrics_of(population: Population) -> tuple[str, ...]:
    """The labels of the population's metrics that this version of the product has."""
    return tuple(label for label in population.truths if ref_of(label).name in CATALOG)


def gaps(population: Population, drawn: Ledger, seed: int) -> tuple[Gap, ...]:
    """Of each metric, between the slices `part`."""
    refs = tuple(ref_of(label) for label in metrics_of(population))
    asked = Asked(
        heldout="heldout",
        metrics=refs,
        families=(_PART,),
        gaps=tuple(("part", ref) for ref in refs),
        confidence=CONFIDENCE,
        seed=seed,
    )
    return assess(drawn, None, asked, identical=False).gaps


def intervals(population: Population, drawn, seed: int) -> Iterator[tuple[str, Interval | None]]:
    """Label of each metric, and its interval or None where the product gives none."""
    refs = [ref_of(label) for label in metrics_of(population)]
    labels = metrics_of(population)
    if population.kind == "gap":
        found = gaps(population, drawn, seed)
        yield from ((label, gap.interval) for label, gap in zip(labels, found, strict=True))
    elif population.kind == "difference":
        sides = [sampled_of(ledger, seed) for ledger in drawn]
        paired = Paired(candidate=sides[0], baseline=sides[1], identical=False)
        values = [estimates(side.sample, refs) for side in sides]
        for label, ref, now, then in zip(labels, refs, *values, strict=True):
            yield label, compare_metric(ref, paired, now, then).interval
    else:
        sampled = sampled_of(drawn, seed)
        for label, estimate in zip(labels, estimates(sampled.sample, refs), strict=True):
            yield label, with_interval(estimate, sampled).interval


def percentile(population: Population, drawn, seed: int) -> Iterator[tuple[str, float, float]]:
    """The plain percentile bootstrap of the same draws: no correction of bias, skew or width."""
    sides = [
        sampled_of(ledger, seed) for ledger in (drawn if isinstance(drawn, tuple) else (drawn,))
    ]
    for label in metrics_of(population):
        ref = ref_of(label)
        values = [values_of(side.sample.rows(sides[0].rows.draws), ref) for side in sides]
        replicates = values[0] if len(values) == 1 else values[0] - values[1]
        replicates = replicates[np.isfinite(replicates)]
        if len(replicates):
            low, high = np.quantile(replicates, [(1 - CONFIDENCE) / 2, (1 + CONFIDENCE) / 2])
            yield label, float(low), float(high)
