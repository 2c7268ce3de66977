"""Confidence sequences: intervals of a mean that hold at every look, however often one looks.

An interval of a fixed number of rows is wrong in 2.5 % of samples on each side. Who looks at it after
every batch, and ends where it suits, is wrong far more often. Here the probability that the end is ever
on the wrong side of the truth, at any look of the whole run, is at most its level.

The rows are modelled as independent draws from a population, not as draws without replacement from a
finite set: a gate is about what the held-out set is a sample of. (A sequence for the set itself would
shrink to nothing at its last row, and say nothing about the next set.)

Method, of rows x in [0, 1]: for a mean m, somebody who bets on more than m multiplies a stake of 1 by
1 + λ (x - m) at each row. Where the mean is m or less, no λ that is fixed in advance from 0 to 1/m can
be expected to gain, and the stake ever reaches 1/level with a probability of at most the level
(Ville 1939). A mean m is rejected when the average stake of several such λ has reached 1/level: a
mixture of constant bets (Robbins 1970; Waudby-Smith & Ramdas 2024, "Estimating means of bounded random
variables by betting"; Orabona & Jun 2024). It needs no order of the rows, only how many there are of each
value; and of rows that are 0 or 1 it is a mixture of likelihood ratios.
"""

from dataclasses import dataclass
from math import log

import numpy as np
import numpy.typing as npt

FloatArray = npt.NDArray[np.float64]

BETS = 32
"""So many λ; more make no interval narrower."""

_HALVINGS = 34


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Tally:
    """How many rows there are of each value, in the metric's own unit.

    Attributes:
        counts: (K,), not negative.
        lows: (K,) no row that is counted here is below; rising.
        highs: (K,) no row that is counted here is above; equal to `lows` where values are exact.
        low: the smallest value that a row can have.
        high: the largest.
    """

    counts: FloatArray
    lows: FloatArray
    highs: FloatArray
    low: float
    high: float

    def __post_init__(self) -> None:
        if not (
            self.counts.shape == self.lows.shape == self.highs.shape
            and (self.counts >= 0).all()
            and (self.lows <= self.highs).all()
            and (self.lows >= self.low).all()
            and (self.highs <= self.high).all()
            and self.low < self.high
        ):
            raise ValueError("counts are negative, or values are outside of their range")

    def __add__(self, more: "Tally") -> "Tally":
        """Of the rows of both, which have the same values."""
        if not (np.array_equal(self.lows, more.lows) and np.array_equal(self.highs, more.highs)):
            raise ValueError("two tallies of other values cannot be added")
        return Tally(
            counts=self.counts + more.counts,
            lows=self.lows,
            highs=self.highs,
            low=self.low,
            high=self.high,
        )


def trials_tally(successes: float, trials: float) -> Tally:
    """Of rows that are 0 or 1."""
    return _exact([trials - successes, successes], [0.0, 1.0])


def difference_tally(gained: float, lost: float, trials: float) -> Tally:
    """Of the differences of two rows that are 0 or 1: -1 where one is lost, 1 where one is gained."""
    return _exact([lost, trials - gained - lost, gained], [-1.0, 0.0, 1.0])


def binned_tally(values: FloatArray, *, low: float, high: float, bins: int = 4096) -> Tally:
    """Of rows (N,) of any value from `low` to `high`, rounded outwards to so many bins.

    So the lower end is that of rows that are at most as large, and the upper end of rows that are at
    least as large: each is further away by at most a bin's width, and holds as before.

    Raises:
        ValueError: a value is outside of its range, or is not a number.
    """
    if not ((values >= low) & (values <= high)).all():
        raise ValueError("a row is outside of its range, or is not a number")
    edges = np.linspace(low, high, bins + 1)
    # The last edge is a bin of its own: a row of exactly `high` is not rounded down.
    index = np.searchsorted(edges, values, side="right") - 1
    counts = np.bincount(index, minlength=bins + 1).astype(np.float64)
    return Tally(
        counts=counts, lows=edges, highs=np.append(edges[1:], edges[-1]), low=low, high=high
    )


def ends(tally: Tally, *, planned: int, below: float, above: float) -> tuple[float, float]:
    """The two ends of the mean of the population, of which each holds at every look by itself.

    Args:
        tally: of all rows so far.
        planned: how many rows there will be at most, which must be known before the first. It makes
            the sequence narrowest for the differences that so many can show, and changes nothing in
            what it promises.
        below: the probability that the lower end is ever above the truth; above 0, below 1.
        above: the probability that the upper end is ever below it.

    Raises:
        ValueError: a level is none, or nothing was planned.
    """
    width = tally.high - tally.low
    lows, highs = _scaled(tally)
    low = _lower(lows, tally.counts, planned=planned, level=below)
    high = 1 - _lower(1 - highs, tally.counts, planned=planned, level=above)
    return tally.low + low * width, tally.low + high * width


def sides(
    tally: Tally, mean: float, *, planned: int, below: float, above: float
) -> tuple[bool, bool]:
    """Whether the lower end of `ends` is at or above a mean, and whether the upper one is at or below it.

    Two stakes in place of the many that find an end. The mean is inside of its range, not at an end.
    """
    scaled = (mean - tally.low) / (tally.high - tally.low)
    lows, highs = _scaled(tally)
    stakes = (
        (log_stake(lows, tally.counts, scaled, planned=planned, level=below), below),
        (log_stake(1 - highs, tally.counts, 1 - scaled, planned=planned, level=above), above),
    )
    first, second = (bool(stake >= log(1 / level)) for stake, level in stakes)
    return first, second


def _scaled(tally: Tally) -> tuple[FloatArray, FloatArray]:
    """Both (K,), brought to the range from 0 to 1, which a rounding must not leave."""
    width = tally.high - tally.low
    lows, highs = ((ends - tally.low) / width for ends in (tally.lows, tally.highs))
    return lows.clip(0, 1), highs.clip(0, 1)


def log_stake(
    values: FloatArray, counts: FloatArray, mean: float, *, planned: int, level: float
) -> FloatArray:
    """The log of the average stake against "the mean is at most `mean`", which falls as `mean` rises.

    λ is c / √(mean (1 - mean)), and at most 1/mean, for c in equal ratios from what suits a difference
    that only all planned rows can show, √(2 ln(1/level) / planned), to 1. Each factor 1 + λ (x - mean)
    falls as `mean` rises for a fixed c, so that what is rejected is all that is below one number.

    Args:
        values: (K,) from 0 to 1.
        counts: (…, K) of rows of each.
        mean: above 0 and below 1.
        planned: as in `ends`.
        level: as in `ends`.

    Returns:
        (…,), -inf where all is lost.
    """
    if not 0 < level < 1 or planned < 1:
        raise ValueError(f"no sequence of {planned} rows has the level {level}")
    bets = np.geomspace(min(1.0, np.sqrt(2 * log(1 / level) / planned)), 1.0, BETS)
    stakes = np.minimum(bets / np.sqrt(mean * (1 - mean)), 1 / mean)
    factors = np.maximum(1 + stakes[:, None] * (values - mean), 0)
    if (factors == 0).any():
        # ln 0 for a value that no row has would be 0 · -inf: what is lost is found by itself.
        lost = (counts[..., None, :] * (factors == 0)).any(axis=-1)
        logs = counts @ np.log(np.where(factors == 0, 1, factors)).T
        logs = np.where(lost, -np.inf, logs)
    else:
        logs = counts @ np.log(factors).T
    largest = np.maximum(logs.max(axis=-1), -1e300)
    with np.errstate(divide="ignore"):  # all of them lost
        found: FloatArray = largest + np.log(np.exp(logs - largest[..., None]).mean(axis=-1))
    return found


def _lower(values: FloatArray, counts: FloatArray, *, planned: int, level: float) -> float:
    """The largest mean that is rejected for being too small, to 10 digits and never above; or 0."""
    there = counts > 0
    values, counts, total = values[there], counts[there], float(counts.sum())
    # At the mean of the rows every stake has lost (Jensen), so that it is not rejected.
    rejected, kept = 0.0, min(1.0, float(counts @ values) / total) if total else 0.0
    for _ in range(_HALVINGS):
        middle = (rejected + kept) / 2
        if not rejected < middle < kept:
            break
        stake = log_stake(values, counts, middle, planned=planned, level=level)
        if stake >= log(1 / level):
            rejected = middle
        else:
            kept = middle
    return rejected


def _exact(counts: list[float], values: list[float]) -> Tally:
    there = np.array(values)
    return Tally(
        counts=np.array(counts, dtype=np.float64),
        lows=there,
        highs=there,
        low=values[0],
        high=values[-1],
    )
