"""Coverage of shares and of paired differences of shares: added up over all outcomes, without a draw."""

from collections.abc import Callable

import numpy as np
from scipy.stats import binom

from benchmarks.stats.ours import CONFIDENCE
from benchmarks.stats.population import SLICE
from model_eval.stats.shares import share_difference, share_interval

SIZES = (SLICE, 200, 1_000, 10_000)
SHARES = (0.5, 0.8, 0.9, 0.95, 0.99, 0.995)
FLIPS = ((0.01, 0.01), (0.02, 0.03), (0.05, 0.05), (0.001, 0.004), (0.0, 0.01), (0.0, 0.02))
"""Shares of samples that only the candidate has right, and that only the baseline has."""

_Z = 1.959963984540054
_NEGLIGIBLE = 1e-9

Ends = tuple[float, float]


def ours(successes: int, n: int) -> Ends:
    """The product's."""
    found = share_interval(successes, n, confidence=CONFIDENCE)
    return found.low, found.high


def wald(successes: int, n: int) -> Ends:
    """The normal approximation."""
    share = successes / n
    half = _Z * np.sqrt(share * (1 - share) / n)
    return share - half, share + half


def wilson(successes: int, n: int) -> Ends:
    """Wilson (1927), the default of `confidenceinterval`."""
    share, z = successes / n, _Z
    centre = (share + z * z / (2 * n)) / (1 + z * z / n)
    half = z / (1 + z * z / n) * np.sqrt(share * (1 - share) / n + z * z / (4 * n * n))
    return centre - half, centre + half


METHODS: dict[str, Callable[[int, int], Ends]] = {
    "model-eval": ours,
    "normal": wald,
    "confidenceinterval": wilson,
}


def rows() -> list[dict]:
    """Rows of the coverage table, of no simulation error."""
    return [*_shares(), *_differences()]


def _shares():
    for n in SIZES:
        for truth in SHARES:
            for method, interval in METHODS.items():
                below = above = 0.0
                for successes in _likely(n, truth):
                    low, high = interval(successes, n)
                    chance = binom.pmf(successes, n, truth)
                    below += chance * (truth < low)
                    above += chance * (truth > high)
                yield _row(
                    "independent samples", "value", "accuracy", n, method, truth, below, above
                )


def _differences():
    for n in SIZES:
        for gained, lost in FLIPS:
            truth = gained - lost
            for method in ("model-eval", "normal"):
                below = above = 0.0
                for up in _likely(n, gained):
                    for down in _likely(n - up, lost / (1 - gained)):
                        chance = binom.pmf(up, n, gained) * binom.pmf(
                            down, n - up, lost / (1 - gained)
                        )
                        if chance < _NEGLIGIBLE / 100:
                            continue
                        low, high = _difference(up, down, n, method)
                        below += chance * (truth < low)
                        above += chance * (truth > high)
                name = f"pairs, {gained:.1%} gained and {lost:.1%} lost"
                yield _row(name, "difference", "accuracy", n, method, truth, below, above)


def _difference(up: int, down: int, n: int, method: str) -> Ends:
    if method == "model-eval":
        found = share_difference(up, down, n, confidence=CONFIDENCE)
        return found.low, found.high
    centre = (up - down) / n
    half = _Z * np.sqrt(((up + down) / n - centre**2) / n)
    return centre - half, centre + half


def _likely(n: int, share: float) -> range:
    low, high = binom.ppf([_NEGLIGIBLE, 1 - _NEGLIGIBLE], n, share)
    return range(int(low), int(high) + 1)


def _row(population, kind, metric, n, method, truth, below, above):
    return {
        "population": population,
        "kind": kind,
        "metric": metric,
        "n": n,
        "method": method,
        "truth": round(truth, 6),
        "sets": None,
        "missing": 0,
        "coverage": round(1 - below - above, 4),
        "standard_error": 0.0,
        "promises_too_much": round(below, 4),
        "promises_too_little": round(above, 4),
    }
