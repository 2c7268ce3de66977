"""Confidence sequences: against slow sums written out here, and by how often they ever miss."""

from itertools import pairwise
from math import exp, log, sqrt

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats as sp

from model_eval.stats.sequence import (
    BETS,
    Tally,
    binned_tally,
    difference_tally,
    ends,
    log_stake,
    sides,
    trials_tally,
)

LEVEL = 0.025


def slow_stake(rows, mean, planned, level):
    """The definition, row by row and bet by bet."""
    least = min(1.0, sqrt(2 * log(1 / level) / planned))
    total = 0.0
    for index in range(BETS):
        c = least ** (1 - index / (BETS - 1))
        bet = min(c / sqrt(mean * (1 - mean)), 1 / mean)
        stake = 1.0
        for row in rows:
            stake *= max(1 + bet * (row - mean), 0)
        total += stake
    return total / BETS


def slow_ends(rows, planned, level):
    """The first means on a fine grid, from below and from above, that are not rejected."""
    grid = np.linspace(0, 1, 2001)[1:-1]
    low = next((m for m in grid if slow_stake(rows, m, planned, level) < 1 / level), 1)
    mirrored = [1 - row for row in rows]
    high = next((m for m in grid if slow_stake(mirrored, m, planned, level) < 1 / level), 1)
    return low, 1 - high


@pytest.mark.parametrize(
    ("successes", "trials", "planned"),
    [(0, 30, 100), (30, 30, 100), (27, 30, 30), (19, 20, 5000), (8, 40, 1)],
)
def test_ends_of_a_share_are_those_of_a_slow_grid(successes, trials, planned):
    rows = [1.0] * successes + [0.0] * (trials - successes)
    found = ends(trials_tally(successes, trials), planned=planned, below=LEVEL, above=LEVEL)
    assert found == pytest.approx(slow_ends(rows, planned, LEVEL), abs=1 / 2000)


def test_ends_of_differences_are_those_of_a_slow_grid():
    rows = [0.0] * 2 + [0.5] * 30 + [1.0] * 9
    low, high = ends(difference_tally(9, 2, 41), planned=200, below=LEVEL, above=LEVEL)
    assert ((low + 1) / 2, (high + 1) / 2) == pytest.approx(
        slow_ends(rows, 200, LEVEL), abs=1 / 2000
    )


def test_of_rows_that_are_0_or_1_it_is_a_mixture_of_likelihood_ratios():
    """1 + bet (x - m) is the ratio of two Bernoulli probabilities, of q = m + bet m (1 - m) and of m."""
    mean, planned = 0.8, 1_000
    least = sqrt(2 * log(1 / LEVEL) / planned)
    c = np.geomspace(least, 1, BETS)
    bets = np.minimum(c / sqrt(mean * (1 - mean)), 1 / mean)
    other = mean + bets * mean * (1 - mean)
    ratios = sp.binom.pmf(90, 100, other) / sp.binom.pmf(90, 100, mean)
    found = log_stake(
        np.array([0.0, 1.0]), np.array([10.0, 90.0]), mean, planned=planned, level=LEVEL
    )
    assert float(found) == pytest.approx(log(ratios.mean()))


@pytest.mark.parametrize("mean", [0.02, 0.3, 0.5, 0.9])
def test_nobody_can_expect_to_gain_by_a_bet(mean):
    """The exact mean stake after 12 rows, over all outcomes, is at most 1 at the mean itself."""
    outcomes = np.arange(13)
    counts = np.stack([12 - outcomes, outcomes], axis=1).astype(float)
    stakes = np.exp(log_stake(np.array([0.0, 1.0]), counts, mean, planned=50, level=LEVEL))
    assert sp.binom.pmf(outcomes, 12, mean) @ stakes == pytest.approx(1, abs=1e-9)


@given(
    st.lists(st.floats(0, 1), min_size=1, max_size=8),
    st.data(),
    st.integers(1, 10_000),
    st.floats(0.001, 0.4),
)
def test_the_stake_falls_as_the_mean_rises(values, data, planned, level):
    counts = np.array([data.draw(st.integers(0, 50)) for _ in values], dtype=float)
    grid = np.linspace(0.001, 0.999, 60)
    # Stakes of nothing, and of what a rounding left of nothing, are the same here.
    stakes = [
        max(-30, float(log_stake(np.array(values), counts, mean, planned=planned, level=level)))
        for mean in grid
    ]
    assert all(a >= b - 1e-9 * max(1, abs(b)) for a, b in pairwise(stakes))


@given(st.integers(1, 3000), st.data(), st.floats(0.001, 0.2))
def test_ends_hold_the_mean_and_mirror(trials, data, level):
    successes = data.draw(st.integers(0, trials))
    low, high = ends(trials_tally(successes, trials), planned=trials, below=level, above=level)
    assert 0 <= low <= successes / trials <= high <= 1
    assert low < high
    mirrored = ends(
        trials_tally(trials - successes, trials), planned=trials, below=level, above=level
    )
    assert (1 - mirrored[1], 1 - mirrored[0]) == pytest.approx((low, high), abs=1e-9)


def test_without_rows_nothing_is_known():
    assert ends(trials_tally(0, 0), planned=10, below=LEVEL, above=LEVEL) == (0, 1)


def test_each_end_has_its_own_level():
    both = ends(trials_tally(90, 100), planned=100, below=0.025, above=0.025)
    wide = ends(trials_tally(90, 100), planned=100, below=0.025, above=0.005)
    assert (wide[0], wide[1] > both[1]) == (both[0], True)


@given(st.integers(1, 2000), st.data(), st.floats(0.01, 0.99), st.sampled_from([0.0125, 0.004]))
def test_sides_are_those_of_the_ends(trials, data, mean, above):
    successes = data.draw(st.integers(0, trials))
    known = {"planned": 2000, "below": LEVEL, "above": above}
    low, high = ends(trials_tally(successes, trials), **known)
    found = sides(trials_tally(successes, trials), mean, **known)
    if min(abs(mean - low), abs(mean - high)) > 1e-8:
        assert found == (low >= mean, high <= mean)


def test_bins_are_outside_of_the_exact_ends_by_at_most_a_bin():
    generator = np.random.default_rng(3)
    values = generator.beta(1, 9, 300) * 2
    exact = Tally(counts=np.ones(300), lows=np.sort(values), highs=np.sort(values), low=0, high=2)
    low, high = ends(exact, planned=1000, below=LEVEL, above=LEVEL)
    tally = binned_tally(values, low=0, high=2, bins=1000)
    wider = ends(tally, planned=1000, below=LEVEL, above=LEVEL)
    assert tally.counts.sum() == 300
    assert low - 2 / 1000 <= wider[0] <= low
    assert high <= wider[1] <= high + 2 / 1000


def test_rows_at_both_ends_of_their_range_are_counted_as_they_are():
    tally = binned_tally(np.array([0.0, 1.0, 1.0]), low=0, high=1, bins=4)
    assert (tally.counts[0], tally.counts[-1], tally.lows[-1], tally.highs[-1]) == (1, 2, 1, 1)


@pytest.mark.parametrize("row", [-0.1, 1.1, np.nan, np.inf])
def test_a_row_outside_of_its_range_is_refused(row):
    with pytest.raises(ValueError, match="outside of its range, or is not a number"):
        binned_tally(np.array([0.5, row]), low=0, high=1)


@pytest.mark.parametrize(("successes", "trials"), [(3, 2), (-1, 4)])
def test_counts_that_are_none_are_refused(successes, trials):
    with pytest.raises(ValueError, match="counts are negative"):
        trials_tally(successes, trials)


def test_tallies_of_other_values_are_not_added():
    with pytest.raises(ValueError, match="cannot be added"):
        trials_tally(1, 2) + difference_tally(1, 0, 2)


@pytest.mark.parametrize(("planned", "level"), [(0, 0.025), (10, 0.0), (10, 1.0)])
def test_what_is_no_level_is_refused(planned, level):
    with pytest.raises(ValueError, match="no sequence"):
        ends(trials_tally(1, 2), planned=planned, below=level, above=level)


SETS, ROWS = 1_000, 500


def misses(draw, truth, values):
    """How many of so many sets ever reject the truth, from below and from above, at any row."""
    drawn = draw(np.random.default_rng(11))
    counts = np.cumsum(drawn[:, :, None] == np.array(values), axis=1).astype(float)
    scaled = (np.array(values) - values[0]) / (values[-1] - values[0])
    mean = (truth - values[0]) / (values[-1] - values[0])
    high = log_stake(scaled, counts, mean, planned=ROWS, level=LEVEL)
    low = log_stake(1 - scaled, counts, 1 - mean, planned=ROWS, level=LEVEL)
    return [int((stake >= log(1 / LEVEL)).any(axis=1).sum()) for stake in (high, low)]


# Of 1,000 sets 25 may miss; 40 are three standard errors more.
MOST = SETS * LEVEL + 3 * sqrt(SETS * LEVEL)


@pytest.mark.parametrize("truth", [0.5, 0.9, 0.99])
def test_a_share_is_missed_at_any_row_as_rarely_as_is_said(truth):
    found = misses(lambda rng: (rng.random((SETS, ROWS)) < truth) * 1.0, truth, (0.0, 1.0))
    assert max(found) <= MOST
    # Nor is it a promise of nothing: some sets do miss.
    assert sum(found) > 0


def test_a_difference_is_missed_at_any_row_as_rarely_as_is_said():
    def draw(rng):
        return rng.choice([-1.0, 0.0, 1.0], p=[0.03, 0.95, 0.02], size=(SETS, ROWS))

    assert max(misses(draw, -0.01, (-1.0, 0.0, 1.0))) <= MOST


def test_looking_at_a_fixed_interval_misses_far_more_often():
    """Why sequences are needed: Wald's interval, looked at after every tenth row."""
    rows = (np.random.default_rng(11).random((SETS, ROWS)) < 0.9) * 1.0
    seen = np.arange(1, ROWS + 1)
    share = rows.cumsum(axis=1) / seen
    above = share - 1.96 * np.sqrt(share * (1 - share) / seen) > 0.9
    assert above[:, 99::10].any(axis=1).mean() > 2 * LEVEL


def test_stakes_of_many_rows_do_not_overflow():
    counts = np.array([1e5, 9e5])
    found = float(log_stake(np.array([0.0, 1.0]), counts, 0.5, planned=1_000_000, level=LEVEL))
    assert 3e5 < found < 4e5
    assert exp(-found) == 0
