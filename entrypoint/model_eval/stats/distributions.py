"""The few quantiles that intervals need: normal, Student's t, beta; and the sign test's tail.

In place of `scipy.special`, whose import takes longer than all intervals of a usual run and which is
a tenth of the image. Tests hold each against scipy.
"""

from functools import cache, lru_cache
from math import copysign, erfc, exp, inf, isnan, lgamma, log, pi, sqrt
from statistics import NormalDist

import numpy as np
import numpy.typing as npt

FloatArray = npt.NDArray[np.float64]

_NORMAL = NormalDist()
_NODES = 161
_REACH = 40.0
"""Standard deviations from the mode beyond which a beta density counts as none: below 1e-17 of it."""

_STEPS = 100
_SMALL = 1e-8
"""Of a step of Newton's, whose next one would be its square: nothing in a float64."""


def normal_cdf(x: float) -> float:
    """Φ(x), to the last digits in both tails."""
    return erfc(-x / sqrt(2)) / 2


def normal_quantile(p: float) -> float:
    """Φ⁻¹(p); -∞ at 0, ∞ at 1, NaN outside."""
    if 0 < p < 1:
        return _NORMAL.inv_cdf(p)
    return {0.0: -inf, 1.0: inf}.get(p, float("nan"))


@lru_cache(maxsize=1024)
def student_quantile(p: float, freedom: float) -> float:
    """The quantile of Student's t, by way of the beta quantile of t² / (t² + freedom).

    Args:
        p: above 0 and below 1.
        freedom: degrees of freedom, above 0.
    """
    if p == 0.5:
        return 0.0
    # Of the two complementary variables the smaller one is found, which keeps its digits.
    tail = 2 * min(p, 1 - p)
    if tail < 0.5:
        share = beta_quantile(tail, freedom / 2, 0.5)
        size = sqrt(freedom * (1 - share) / share)
    else:
        share = beta_quantile(1 - tail, 0.5, freedom / 2)
        size = sqrt(freedom * share / (1 - share))
    return copysign(size, p - 0.5)


def beta_quantile(p: float, a: float, b: float) -> float:
    """The x at which the regularised incomplete beta function I_x(a, b) is p.

    Newton's method on Φ⁻¹(I_x) over the log-odds of x, which is nearly a straight line; a bracket
    keeps it from running away.

    Args:
        p: above 0 and below 1.
        a: above 0.
        b: above 0.

    Raises:
        ValueError: p is no probability between, or a parameter is not above 0.
    """
    if not (0 < p < 1 and a > 0 and b > 0):
        raise ValueError(f"no beta quantile at p = {p}, a = {a}, b = {b}")
    wanted = normal_quantile(p)
    at, low, high = _first_guess(wanted, a, b), -inf, inf
    for _ in range(_STEPS):
        below, above, slope = _beta_parts(at, a, b)
        # Φ⁻¹ of the smaller part keeps its digits.
        found = normal_quantile(below) if below < above else -normal_quantile(above)
        error = found - wanted
        low, high = (low, at) if error > 0 else (at, high)
        density = exp(-found * found / 2) / sqrt(2 * pi)
        step = error * density / slope if slope > 0 else inf
        new = at - step
        if not low <= new <= high or isnan(new) or abs(new) == inf:
            new = _between(low, high)
        if abs(new - at) <= _SMALL * max(1.0, abs(at)):
            return _share(new)
        at = new
    return _share(at)


def half_binomial_cdf(count: int, trials: int) -> float:
    """The chance of at most `count` heads in `trials` throws of a fair coin.

    Args:
        count: from 0 to `trials`.
        trials: at least 1.
    """
    if 2 * count >= trials:
        return 1.0 if count >= trials else 1 - half_binomial_cdf(trials - count - 1, trials)
    term = exp(
        lgamma(trials + 1) - lgamma(count + 1) - lgamma(trials - count + 1) - trials * log(2)
    )
    total = 0.0
    for heads in range(count, -1, -1):
        total += term
        if term <= total * 1e-17:
            break
        term *= heads / (trials - heads + 1)
    return total


def _share(log_odds: float) -> float:
    return 1 / (1 + exp(-log_odds)) if log_odds > -700 else exp(log_odds)


def _between(low: float, high: float) -> float:
    """Halfway in a bracket of log-odds; outward where it has but one end."""
    if low == -inf:
        return high - max(1.0, abs(high))
    if high == inf:
        return low + max(1.0, abs(low))
    return (low + high) / 2


def _first_guess(z: float, a: float, b: float) -> float:
    """Log-odds of which the normal approximation is good where both parameters are large."""
    a, b = max(a, 0.5), max(b, 0.5)
    return log(a / b) + z * sqrt(1 / a + 1 / b)


@cache
def _rule() -> tuple[FloatArray, FloatArray, FloatArray]:
    """Tanh-sinh quadrature (Takahasi & Mori 1974) of the unit interval.

    Returns:
        (K,) each: the nodes' distance from 0, their distance from 1, and the weights.
    """
    u = np.linspace(-3.6, 3.6, _NODES)
    inner = pi * np.sinh(u)
    near, far = 1 / (1 + np.exp(-inner)), 1 / (1 + np.exp(inner))
    weights = pi * np.cosh(u) * near * far * (u[1] - u[0])
    return near, far, weights


def _beta_parts(log_odds: float, a: float, b: float) -> tuple[float, float, float]:
    """I_x, 1 - I_x and their slope over the log-odds of x, for a beta distribution.

    Both are integrals of the same density relative to its value at x, so that nothing large cancels
    and no constant of the distribution is needed.
    """
    x, y = _share(log_odds), _share(-log_odds)
    wide_a, wide_b = max(a, 1.0), max(b, 1.0)
    size = wide_a + wide_b
    reach = _REACH * sqrt(wide_a / size * (wide_b / size) / (size + 1))
    near, far, weights = _rule()

    def integral(end: float, other_end: float, power: float, other_power: float) -> float:
        """Of t from 0 to `end`, or from where there is nothing more; in units of the density there."""
        middle = power / (power + other_power)
        width = min(end, max(end - middle, 0.0) + reach)
        lowest = end - width
        t = lowest + width * near
        # log(t / end) and log((1 - t) / (1 - end)), by the small differences.
        rise = width * far
        left = np.log(t / end) if lowest == 0 else np.log1p(-rise / end)
        right = np.log1p(rise / other_end)
        logs = (power - 1) * left + (other_power - 1) * right
        return float(width * (weights * np.exp(logs)).sum())

    # Where the density at x is next to none, or x is 0 or 1 to the last digit.
    with np.errstate(over="ignore", divide="ignore", invalid="ignore"):
        below, above = integral(x, y, a, b), integral(y, x, b, a)
    total = below + above
    if total == inf:
        return (1.0, 0.0, 0.0) if below == inf else (0.0, 1.0, 0.0)
    return below / total, above / total, x * y / total
