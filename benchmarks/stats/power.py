"""Which difference is found in four of five held-out sets. Added up over all outcomes."""

from functools import cache

from scipy.optimize import brentq
from scipy.stats import binom, norm

from benchmarks.stats.ours import CONFIDENCE
from model_eval.stats.shares import share_difference, share_interval

POWER = 0.8
SIZES = (200, 1_000, 10_000)
DISAGREEMENTS = (0.02, 0.05, 0.10)
ACCURACY = 0.9
"""Of the baseline, and the threshold of gates of one set."""


def rows() -> list[dict]:
    """One for each number of samples. Differences are of accuracy, None where none is enough."""
    return [
        {
            "n": n,
            "drop_paired": {f"{q:.0%}": _rounded(paired_drop(n, q)) for q in DISAGREEMENTS},
            "drop_unpaired": _rounded(unpaired_drop(n)),
            "above_threshold_to_pass": _rounded(margin(n, passes=True)),
            "below_threshold_to_fail": _rounded(margin(n, passes=False)),
        }
        for n in SIZES
    ]


def paired_drop(n: int, disagreement: float) -> float | None:
    """The smallest drop that `{max_drop: 0, decide_on: interval}` fails with this power.

    The two models disagree on a fixed share of the samples, so that no drop can be larger.
    """

    def power(drop: float) -> float:
        lost = (disagreement + drop) / 2 / disagreement
        return sum(
            binom.pmf(count, n, disagreement) * binom.sf(enough(n, count) - 1, count, lost)
            for count in _likely(n, disagreement)
        )

    return _root(power, 0.0, disagreement)


@cache
def enough(n: int, disagreements: int) -> int:
    """How many of these must be lost for the interval to be below 0; one more than all if none."""
    return next(
        (
            lost
            for lost in range(disagreements // 2, disagreements + 1)
            if share_difference(disagreements - lost, lost, n, confidence=CONFIDENCE).high < 0
        ),
        disagreements + 1,
    )


def unpaired_drop(n: int) -> float | None:
    """The same for two sets of n samples each, by the normal approximation."""
    z = norm.ppf((1 + CONFIDENCE) / 2)

    def power(drop: float) -> float:
        after = ACCURACY - drop
        error = ((ACCURACY * (1 - ACCURACY) + after * (1 - after)) / n) ** 0.5
        return float(norm.cdf(drop / error - z))

    return _root(power, 1e-6, ACCURACY - 1e-6)


def margin(n: int, *, passes: bool) -> float | None:
    """How far from the threshold `{min: 0.9, decide_on: interval}` passes, or fails, with this power."""
    counts = range(n + 1)
    if passes:
        least = next(
            (k for k in counts if share_interval(k, n, confidence=CONFIDENCE).low >= ACCURACY),
            n + 1,
        )
        return _root(lambda gap: float(binom.sf(least - 1, n, ACCURACY + gap)), 0, 1 - ACCURACY)
    most = next(
        (
            k
            for k in reversed(counts)
            if share_interval(k, n, confidence=CONFIDENCE).high < ACCURACY
        ),
        -1,
    )
    return _root(lambda gap: float(binom.cdf(most, n, ACCURACY - gap)), 0, ACCURACY)


def _root(power, low: float, high: float) -> float | None:
    if power(high) < POWER:
        return None
    return float(brentq(lambda x: power(x) - POWER, low, high, xtol=1e-5))


def _likely(n: int, share: float) -> range:
    low, high = binom.ppf([1e-7, 1 - 1e-7], n, share)
    return range(int(low), int(high) + 1)


def _rounded(value: float | None) -> float | None:
    return None if value is None else round(value, 4)
