"""How often 95 % intervals hold the truth, over many held-out sets of known populations."""

import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import cache
from math import isfinite, sqrt
from multiprocessing import get_context

import numpy as np

from benchmarks.stats import ours, peers
from benchmarks.stats.population import Population
from benchmarks.stats.populations import populations

OURS = "model-eval"
PEER_EVERY = 5
"""Peers that take long are asked for every fifth set only."""

SLOWEST_PEER_ON = frozenset({"ten classes", "balanced scores", "t5 errors"})
"""The populations that are given to the peer that takes longest."""

PEER_MAX = 1_000
"""Larger sets than this are not given to the slow peers, nor resampled row by row for rankings."""

CHUNKS = 10

SETS = {30: 1_000, 200: 1_000, 1_000: 500, 10_000: 250}
"""How many held-out sets of each size."""

SLOW = 0.5
"""The share of these for populations whose metrics take long; of large sets they do not."""


@dataclass(slots=True)
class Tally:
    """Of one metric by one method.

    Attributes:
        below: how often all of the interval is above the truth: it promises too much.
        above: how often all of the interval is below the truth.
        missing: how often there was no interval; these count in no other number.
        width: sum of the widths.
    """

    count: int = 0
    below: int = 0
    above: int = 0
    missing: int = 0
    width: float = 0.0

    def add(self, truth: float, low: float, high: float) -> None:
        if not (isfinite(low) and isfinite(high)):
            self.missing += 1
            return
        self.count += 1
        self.below += truth < low
        self.above += truth > high
        self.width += high - low

    def merge(self, other: "Tally") -> None:
        for name in ("count", "below", "above", "missing", "width"):
            setattr(self, name, getattr(self, name) + getattr(other, name))

    def as_row(self) -> dict[str, float | int | None]:
        """Shares, with the standard error of the coverage."""
        if not self.count:
            return {"sets": 0, "missing": self.missing}
        covered = 1 - (self.below + self.above) / self.count
        # Of the nominal coverage, so that 100 of 100 is not "± 0".
        error = sqrt(0.95 * 0.05 / self.count)
        return {
            "sets": self.count,
            "missing": self.missing,
            "coverage": round(covered, 4),
            "standard_error": round(error, 4),
            "promises_too_much": round(self.below / self.count, 4),
            "promises_too_little": round(self.above / self.count, 4),
            "mean_width": float(f"{self.width / self.count:.4g}"),
        }


@dataclass(slots=True)
class Tallies:
    """(metric, method) → tally."""

    found: dict[tuple[str, str], Tally] = field(default_factory=dict)

    def of(self, metric: str, method: str) -> Tally:
        return self.found.setdefault((metric, method), Tally())

    def merge(self, other: "Tallies") -> None:
        for key, tally in other.found.items():
            self.of(*key).merge(tally)


def measure(
    *, factor: float, processes: int, only: str, say: Callable[[str], None]
) -> Iterator[list[dict]]:
    """The rows of the table, one list for each population and size."""
    context = get_context("fork")
    with context.Pool(processes) as pool:
        for index, population in enumerate(_all()):
            if only not in population.name:
                continue
            for n in population.sizes:
                sets = SETS[n] * factor * (SLOW if population.slow and n <= PEER_MAX else 1)
                tasks = [(index, n, chunk, max(1, round(sets / CHUNKS))) for chunk in range(CHUNKS)]
                tallies = Tallies()
                for part in pool.imap_unordered(_chunk, tasks):
                    tallies.merge(part)
                rows = [
                    {
                        "population": population.name,
                        "kind": population.kind,
                        "metric": metric,
                        "n": n,
                        "method": method,
                        "truth": float(f"{population.truths[metric]:.6g}"),
                        **tally.as_row(),
                    }
                    for (metric, method), tally in tallies.found.items()
                ]
                for row in rows:
                    if row["method"] == OURS:
                        say(f"{population.name}, {row['metric']}, n {n}: {row.get('coverage')}")
                yield rows


@cache
def _all() -> tuple[Population, ...]:
    return populations()


def _chunk(task: tuple[int, int, int, int]) -> Tallies:
    index, n, chunk, sets = task
    population = _all()[index]
    generator = np.random.default_rng([index, n, chunk])
    tallies = Tallies()
    for number in range(sets):
        drawn = population.draw(generator, n)
        for label, interval in ours.intervals(population, drawn, seed=chunk):
            truth = population.truths[label]
            if interval is None:
                tallies.of(label, OURS).missing += 1
            else:
                tallies.of(label, OURS).add(truth, interval.low, interval.high)
        for method, found in _peers(population, drawn, n, number, seed=chunk):
            for label, low, high in found:
                tallies.of(label, method).add(population.truths[label], low, high)
    return tallies


def _peers(population: Population, drawn, n: int, number: int, seed: int):
    turn = number % PEER_EVERY == 0 and n <= PEER_MAX
    if turn and population.kind != "gap":
        yield "percentile bootstrap", ours.percentile(population, drawn, seed)
    if population.kind != "value" or not peers.plain(drawn, population):
        return
    yield "normal", peers.normal(drawn, population)
    if "MODEL_EVAL_NO_PEERS" in os.environ:
        return
    yield "confidenceinterval", peers.confidenceinterval(drawn, population)
    if turn and n > 30 and population.name in SLOWEST_PEER_ON:
        yield "torchmetrics", peers.bootstrapper(drawn, population)
