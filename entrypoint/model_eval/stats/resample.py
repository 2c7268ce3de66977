"""Which rows are drawn together, and how often: seeded, and the same on every machine.

The draws depend on the seed and on the ids of the samples, in their order: not on batches, devices
or shards, nor on the order in which the rows came.
"""

from dataclasses import dataclass
from functools import cached_property
from math import ceil
from typing import Any

import numpy as np
import numpy.typing as npt

from model_eval.ledger import Array, Ledger
from model_eval.metrics.rows import FloatArray, Resample

MAX_GROUPS = 2048
"""More rows or clusters than this are put together at random into so many groups.

What is resampled then are sums over groups, whose spread is that of the rows; the cost of an
interval stops growing with the rows. The error of its width is about 1 / √(2 · groups), 1.6 %.
"""

MANY = 64
"""With more than so many units for each group, groups are drawn and not dealt."""

REPLICATES, MOST_REPLICATES = 2_000, 20_000
BEYOND_AN_END = 10
"""Of the replicates so many are to be expected beyond each end, or it rests on the last few of them."""


def replicates_for(confidence: float) -> int:
    """How many replicates an interval needs: 2,000 up to a confidence of 0.99, 20,000 at 0.999.

    Args:
        confidence: of both sides together.
    """
    return max(REPLICATES, ceil(2 * BEYOND_AN_END / (1 - confidence) - 1e-6))


@dataclass(frozen=True, kw_only=True, eq=False)
class Plan:
    """Independent units, and B draws of as many of them as there are, with replacement.

    Attributes:
        group: (N,) the unit of each row, from 0 to G - 1.
        size: (G,) how many rows of equal weight a unit stands for, where it is drawn row by row (the
            cells of a confusion matrix); all 1 where it is drawn whole.
        seed: of the draws.
        replicates: B.
        units: how many independent units there are in effect, before they were put together: rows or
            clusters that weigh more than others count as fewer (Kish 1965).
    """

    group: npt.NDArray[np.intp]
    size: npt.NDArray[np.int64]
    seed: int
    replicates: int
    units: int

    @cached_property
    def draws(self) -> Resample:
        """(B, G) how often each unit is drawn, in parts of its size."""
        generator = np.random.Generator(np.random.PCG64(self.seed))
        groups, total = len(self.size), int(self.size.sum())
        if total > groups:
            counts = generator.multinomial(total, self.size / total, size=self.replicates)
            return Resample(group=self.group, multiplicity=counts / self.size)
        multiplicity = np.empty((self.replicates, groups))
        for row in multiplicity:
            drawn = generator.integers(0, groups, size=groups)
            row[:] = np.bincount(drawn, minlength=groups)
        return Resample(group=self.group, multiplicity=multiplicity)

    @cached_property
    def left_out(self) -> Resample:
        """(G, G) all units but one: of a unit of several rows, one row is left out."""
        groups = len(self.size)
        multiplicity = np.ones((groups, groups))
        np.fill_diagonal(multiplicity, 1 - 1 / self.size)
        return Resample(group=self.group, multiplicity=multiplicity)


def plan_rows(
    ledger: Ledger,
    *,
    seed: int,
    base: FloatArray | None = None,
    replicates: int = REPLICATES,
    max_groups: int = MAX_GROUPS,
) -> Plan:
    """Units are rows, or clusters where the ledger has them; beyond `max_groups`, groups of these.

    Args:
        ledger: N rows.
        seed: of the draws, and of the groups.
        base: (N,) the weights of the samples; None is 1 for each.
        replicates: how many draws.
        max_groups: how many groups at most.
    """
    generator = np.random.Generator(np.random.PCG64([seed, 1]))
    unit: npt.NDArray[np.intp] | None
    if "cluster" in ledger.columns:
        units, unit = np.unique(ledger["cluster"], return_inverse=True)
        count = len(units)
    else:
        count = len(ledger)
        unit = _rank(ledger["id"])
    alike = base is None and "cluster" not in ledger.columns
    if alike:
        effective = count
    else:
        ranked = np.arange(count) if unit is None else unit
        effective = effective_units(np.bincount(ranked, weights=base, minlength=count))
    if count > max_groups * MANY:
        # Groups of nearly the same size, which a permutation of so many would make equal at a price.
        drawn = generator.integers(0, max_groups, size=count)
        unit = drawn if unit is None else drawn[unit]
    elif count > max_groups:
        dealt = generator.permutation(count) % max_groups
        unit = dealt if unit is None else dealt[unit]
    elif unit is None:
        unit = np.arange(count)
    groups = min(count, max_groups)
    return Plan(
        group=unit,
        size=np.ones(groups, dtype=np.int64),
        seed=seed,
        replicates=replicates,
        units=effective,
    )


def plan_cells(ledger: Ledger, *, seed: int, replicates: int = REPLICATES) -> Plan | None:
    """Units are the filled cells of the confusion matrix, which is all that counts depend on.

    None where they are too many, or where the rows are not independent.
    """
    if "cluster" in ledger.columns:
        return None
    cell = ledger["target"] * len(ledger.classes) + ledger["prediction"]
    counts = np.bincount(cell, minlength=0)
    filled = np.flatnonzero(counts)
    if len(filled) > MAX_GROUPS:
        return None
    position = np.zeros(len(counts), dtype=np.intp)
    position[filled] = np.arange(len(filled))
    return Plan(
        group=position[cell],
        size=counts[filled],
        seed=seed,
        replicates=replicates,
        units=len(ledger),
    )


def effective_units(weights: npt.NDArray[Any]) -> int:
    """(Σ w)² / Σ w²: how many units of equal weight tell as much; all of them where they are equal."""
    largest = float(weights.max(initial=0))
    if largest <= 0:
        return 0
    scaled = weights / largest
    return int(scaled.sum() ** 2 / (scaled**2).sum() + 1e-9)


def _rank(ids: Array) -> npt.NDArray[np.intp] | None:
    """(N,) the place of each row in the order of the ids; None where they are in order."""
    if len(ids) < 2 or (ids[1:] >= ids[:-1]).all():
        return None
    rank = np.empty(len(ids), dtype=np.intp)
    rank[np.argsort(ids, kind="stable")] = np.arange(len(ids))
    return rank
