"""Exact and near-exact statistics of counts: intervals of shares, McNemar's test, sign tests."""

import numpy as np

from model_eval.stats.distributions import beta_quantile, half_binomial_cdf, normal_quantile
from model_eval.types import Interval

JEFFREYS = "jeffreys"
BONETT_PRICE = "bonett-price"


def share_interval(successes: float, trials: float, *, confidence: float) -> Interval:
    """Jeffreys' interval of a share, with the exact ends at 0 and at all.

    Its tails are the most nearly equal of the usual ones (Brown, Cai & DasGupta 2001, section 4.3),
    and a gate looks at one side: Wilson's has its misses on the side of 1 for shares near 1. With no
    success, or no failure, the end is Clopper and Pearson's: 50 of 50 is at least 0.929.

    Args:
        successes: from 0 to `trials`; of weighted samples as many as they are worth, which need not be
            whole.
        trials: at least 1, likewise.
        confidence: of both sides together.

    Raises:
        ValueError: the counts are none.
    """
    if not 0 <= successes <= trials or trials < 1:
        raise ValueError(f"{successes} of {trials} is no share")
    tail = (1 - confidence) / 2
    failures = trials - successes
    low = 0.0 if successes == 0 else beta_quantile(tail, successes + 0.5, failures + 0.5)
    high = 1.0 if failures == 0 else beta_quantile(1 - tail, successes + 0.5, failures + 0.5)
    if successes == 0:
        high = 1 - tail ** (1 / trials)
    if failures == 0:
        low = tail ** (1 / trials)
    return Interval(low=low, high=high, confidence=confidence, method=JEFFREYS)


def share_difference(gained: int, lost: int, trials: int, *, confidence: float) -> Interval:
    """The interval of a difference of two shares of the same samples, `(gained - lost) / trials`.

    Bonett & Price (2012): Wald's, with one sample added to each side of the disagreement, so that
    models that agree on all samples do not differ by "0 ± 0".

    Raises:
        ValueError: the counts are none.
    """
    if min(gained, lost) < 0 or trials < 1 or gained + lost > trials:
        raise ValueError(f"{gained} gained and {lost} lost of {trials} are no counts")
    z = normal_quantile((1 + confidence) / 2)
    up, down = (gained + 1) / (trials + 2), (lost + 1) / (trials + 2)
    half = z * float(np.sqrt((up + down - (up - down) ** 2) / (trials + 2)))
    centre = up - down
    return Interval(
        low=max(-1.0, centre - half),
        high=min(1.0, centre + half),
        confidence=confidence,
        method=BONETT_PRICE,
    )


def mcnemar(gained: int, lost: int) -> float:
    """The exact two-sided p-value that as many samples are gained as lost (McNemar 1947).

    A sign test of the samples on which the two models disagree; 1 where there are none.
    """
    count = gained + lost
    return min(1.0, 2 * half_binomial_cdf(min(gained, lost), count)) if count else 1.0
