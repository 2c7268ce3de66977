"""Quantiles against scipy and against closed forms, over all sizes that a held-out set can have."""

from fractions import Fraction
from itertools import product
from math import comb, inf, isnan, sqrt

import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import special

from model_eval.stats.distributions import (
    beta_quantile,
    half_binomial_cdf,
    normal_cdf,
    normal_quantile,
    student_quantile,
)

LEVELS = [1e-6, 0.0005, 0.005, 0.025, 0.1, 0.5, 0.8, 0.975, 0.9995]


@pytest.mark.parametrize("x", [-37.0, -10.0, -3.0, -0.1, 0.0, 0.1, 2.0, 8.0])
def test_normal_cdf(x):
    assert normal_cdf(x) == pytest.approx(special.ndtr(x), rel=1e-12)


@pytest.mark.parametrize("p", [1e-300, 1e-20, 1e-5, 0.025, 0.3, 0.5, 0.7, 0.975, 1 - 1e-10])
def test_normal_quantile(p):
    assert normal_quantile(p) == pytest.approx(special.ndtri(p), rel=1e-12, abs=1e-15)


def test_normal_quantile_at_the_ends():
    assert (normal_quantile(0.0), normal_quantile(1.0)) == (-inf, inf)
    assert isnan(normal_quantile(1.1))
    assert isnan(normal_quantile(float("nan")))


@pytest.mark.parametrize("freedom", [1, 2, 3, 4.5, 9, 19, 100, 596, 10_000, 1_000_000, 10_000_000])
def test_student_quantile(freedom):
    for p in (0.025, 0.5, 0.500001, 0.6, 0.75, 0.9, 0.975, 0.9995, 1 - 1e-9):
        expected = special.stdtrit(freedom, p)
        # scipy's own last digits at ten million are not better than this.
        assert student_quantile(p, freedom) == pytest.approx(expected, rel=1e-9, abs=1e-12), p


@pytest.mark.parametrize(
    ("a", "b"),
    list(product([0.5, 1.5, 2.5, 10.5, 100.5, 1_000.5, 100_000.5, 5_000_000.5], repeat=2)),
)
def test_beta_quantile(a, b):
    deviation = sqrt(a * b / ((a + b) ** 2 * (a + b + 1)))
    # Where one side has ten thousand times the other's, scipy (Boost) is off by up to 3e-4 deviations,
    # as 40 digits of mpmath show; here the two need not agree.
    tolerance = 1e-3 if max(a, b) > 4_000 * min(a, b) > 2_000 else 1e-8
    for p in LEVELS:
        expected = special.betaincinv(a, b, p)
        assert abs(beta_quantile(p, a, b) - expected) < tolerance * deviation, p


@pytest.mark.parametrize("size", [0.5, 1.0, 7.0, 300.0, 1e6])
@pytest.mark.parametrize("p", LEVELS)
def test_beta_quantile_in_closed_form(p, size):
    """I_x(a, 1) is x^a."""
    assert beta_quantile(p, size, 1.0) == pytest.approx(p ** (1 / size), rel=1e-12)
    assert 1 - beta_quantile(1 - p, 1.0, size) == pytest.approx(p ** (1 / size), rel=1e-9)


@given(st.floats(0.001, 0.999), st.floats(0.5, 1e6), st.floats(0.5, 1e6), st.floats(0.0001, 0.0009))
def test_beta_quantile_rises_and_mirrors(p, a, b, more):
    low, high = beta_quantile(p, a, b), beta_quantile(p + more, a, b)
    assert 0 <= low <= high <= 1
    assert beta_quantile(1 - p, b, a) == pytest.approx(1 - low, rel=1e-9, abs=1e-12)


@pytest.mark.parametrize(
    ("p", "a", "b"), [(0, 1, 1), (1, 1, 1), (0.5, 0, 1), (0.5, 1, -1), (float("nan"), 1, 1)]
)
def test_what_has_no_beta_quantile(p, a, b):
    with pytest.raises(ValueError, match="no beta quantile at p = "):
        beta_quantile(p, a, b)


@pytest.mark.parametrize("trials", [1, 2, 3, 10, 11, 100, 1_001])
def test_half_binomial_cdf_is_exact(trials):
    below = Fraction(0)
    for count in range(trials + 1):
        below += Fraction(comb(trials, count), 2**trials)
        assert half_binomial_cdf(count, trials) == pytest.approx(float(below), rel=1e-11), count


def test_half_binomial_cdf_of_ten_million():
    """By symmetry half of what is not the middle, whose share Stirling's series gives (scipy: 0.4985)."""
    middle = sqrt(2 / (3.141592653589793 * 10_000_000)) * (1 - 1 / 40_000_000)
    assert half_binomial_cdf(4_999_999, 10_000_000) == pytest.approx((1 - middle) / 2, rel=1e-7)
