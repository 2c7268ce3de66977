"""Intervals and tests of counts, against SciPy and against formulas written out here."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats as sp
from scipy.optimize import brentq, minimize_scalar
from scipy.special import xlogy

from model_eval.stats.shares import mcnemar, share_difference, share_interval

COUNTS = [(0, 1), (1, 1), (0, 50), (50, 50), (1, 50), (49, 50), (25, 50), (989, 1000), (7, 13)]


@pytest.mark.parametrize("confidence", [0.5, 0.9, 0.95, 0.9999])
@pytest.mark.parametrize(("successes", "trials"), COUNTS)
def test_shares(successes, trials, confidence):
    found = share_interval(successes, trials, confidence=confidence)
    exact = sp.binomtest(successes, trials).proportion_ci(confidence, method="exact")
    assert (found.low, found.high) == pytest.approx((exact.low, exact.high))


@pytest.mark.parametrize("trials", [100, 597])
def test_no_end_is_wrong_more_often_than_it_says(trials):
    """At each share that is a threshold to which some count is just enough, where chance is worst."""
    for successes in range(1, trials):
        found = share_interval(successes, trials, confidence=0.95)
        assert sp.binom.sf(successes - 1, trials, found.low) <= 0.025 + 1e-9
        assert sp.binom.cdf(successes, trials, found.high) <= 0.025 + 1e-9


def test_fifty_of_fifty_is_no_certainty():
    found = share_interval(50, 50, confidence=0.95)
    assert (round(found.low, 4), found.high) == (0.9289, 1.0)


@pytest.mark.parametrize(("successes", "trials"), [(1, 0), (-1, 5), (6, 5), (0, 0)])
def test_what_is_no_share(successes, trials):
    with pytest.raises(ValueError, match="is no share"):
        share_interval(successes, trials, confidence=0.95)


@given(st.integers(1, 5000), st.data(), st.floats(0.5, 0.9999))
def test_an_interval_holds_its_share(trials, data, confidence):
    successes = data.draw(st.integers(0, trials))
    found = share_interval(successes, trials, confidence=confidence)
    assert 0 <= found.low <= successes / trials <= found.high <= 1
    assert found.low < found.high
    mirrored = share_interval(trials - successes, trials, confidence=confidence)
    assert (1 - mirrored.high, 1 - mirrored.low) == pytest.approx((found.low, found.high))


@pytest.mark.parametrize(
    ("gained", "lost"), [(0, 0), (0, 1), (0, 6), (3, 3), (1, 12), (40, 20), (500, 300)]
)
def test_mcnemar(gained, lost):
    expected = sp.binomtest(gained, gained + lost, 0.5).pvalue if gained + lost else 1.0
    assert mcnemar(gained, lost) == pytest.approx(expected)
    assert mcnemar(lost, gained) == mcnemar(gained, lost)


def tangos_end(gained, lost, n, confidence):
    """The upper end of the score interval, with the share of lost ones found by maximising the likelihood."""

    def statistic(by):
        def against(rarer):
            up, same = rarer + by, 1 - 2 * rarer - by
            return -(xlogy(gained, up) + xlogy(lost, rarer) + xlogy(n - gained - lost, same))

        most = (1 - by) / 2
        likeliest = minimize_scalar(
            against, bounds=(max(0, -by), most), method="bounded", options={"xatol": 1e-12}
        ).x
        return (gained - lost - n * by) / np.sqrt(n * (2 * likeliest + by * (1 - by)))

    z = sp.norm.ppf((1 + confidence) / 2)
    return brentq(lambda by: statistic(by) + z, (gained - lost) / n + 1e-9, 1 - 1e-9, xtol=1e-12)


@pytest.mark.parametrize(
    ("gained", "lost", "n"), [(12, 30, 200), (0, 6, 597), (3, 1, 60), (2, 9, 300)]
)
def test_each_end_of_a_difference_is_the_wider_of_two(gained, lost, n):
    # Bonett & Price (2012): p̃ = (f + 1) / (n + 2) of both kinds of disagreement.
    up, down = (gained + 1) / (n + 2), (lost + 1) / (n + 2)
    half = sp.norm.ppf(0.975) * np.sqrt((up + down - (up - down) ** 2) / (n + 2))
    low = min(up - down - half, -tangos_end(lost, gained, n, 0.95))
    high = max(up - down + half, tangos_end(gained, lost, n, 0.95))
    found = share_difference(gained, lost, n, confidence=0.95)
    assert (found.low, found.high) == pytest.approx((low, high), abs=1e-6)


@pytest.mark.parametrize("n", [100, 597])
@pytest.mark.parametrize("drop", [0.005, 0.01, 0.02, 0.05])
@pytest.mark.parametrize("gains", [0.0, 0.005, 0.02])
def test_neither_end_of_a_difference_is_wrong_much_more_often_than_it_says(n, drop, gains):
    """Where one model alone errs, a drop as large as is allowed must not pass."""
    low = high = 0.0
    for gained in range(n // 4):
        for lost in range(n // 4):
            chance = sp.multinomial.pmf(
                [gained, lost, n - gained - lost], n, [gains, drop + gains, 1 - drop - 2 * gains]
            )
            if chance > 1e-7:
                found = share_difference(gained, lost, n, confidence=0.95)
                low += chance * (found.low > -drop)
                high += chance * (found.high < -drop)
    assert low <= 0.0255
    assert high <= 0.0255


@given(st.integers(1, 500), st.data())
def test_a_difference_of_shares_is_never_without_width(n, data):
    gained = data.draw(st.integers(0, n))
    lost = data.draw(st.integers(0, n - gained))
    found = share_difference(gained, lost, n, confidence=0.95)
    mirrored = share_difference(lost, gained, n, confidence=0.95)
    assert -1 <= found.low < found.high <= 1
    assert (-mirrored.high, -mirrored.low) == pytest.approx((found.low, found.high))


@pytest.mark.parametrize(("gained", "lost", "n"), [(-1, 0, 5), (3, 3, 5), (0, 0, 0)])
def test_what_is_no_difference(gained, lost, n):
    with pytest.raises(ValueError, match="are no counts"):
        share_difference(gained, lost, n, confidence=0.95)


@pytest.mark.parametrize("share", [0.9, 0.99])
def test_the_interval_of_a_difference_covers(share):
    """Of models that disagree on few samples as often both ways: the truth is inside as often as is said."""
    generator = np.random.default_rng(0)
    counts = generator.multinomial(200, [(1 - share) / 2, (1 - share) / 2, share], size=2000)
    inside = [
        (found := share_difference(int(up), int(down), 200, confidence=0.95)).low <= 0 <= found.high
        for up, down, _ in counts
    ]
    assert np.mean(inside) >= 0.94
