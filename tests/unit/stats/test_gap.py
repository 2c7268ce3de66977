"""The gap of slices: no larger than what luck makes of equal ones, no smaller than it may be."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from model_eval.stats.gap import gap_interval, gap_of
from model_eval.stats.shares import share_interval
from model_eval.types import Estimate, Gap, Interval, MetricRef

ACCURACY = MetricRef(name="accuracy")
NO_GAP = Gap(
    metric=ACCURACY,
    heldout="heldout",
    family="part",
    n=100,
    value=None,
    undefined=None,
    highest=None,
    lowest=None,
    interval=None,
    no_interval=None,
)


def interval(low, high):
    return Interval(low=low, high=high, confidence=0.95, method="given")


def estimate(part, value, ends=None, **more):
    given_ends = None if ends is None else interval(*ends)
    return Estimate(
        metric=ACCURACY,
        value=value,
        undefined=None if value is not None else "there are no samples",
        n=50,
        slice=part,
        interval=given_ends,
        **more,
    )


def shares(counts, trials, confidence=0.95):
    intervals = [share_interval(int(k), trials, confidence=confidence) for k in counts]
    return gap_interval(np.asarray(counts) / trials, intervals, confidence=confidence)


def test_two_shares_have_the_upper_end_of_newcombe():
    # Newcombe (1998), table II, method 10: 56 of 70 and 48 of 80, from Wilson's intervals.
    found = gap_interval(
        np.array([56 / 70, 48 / 80]),
        [interval(0.69183, 0.87695), interval(0.49045, 0.70038)],
        confidence=0.95,
    )
    assert found.high == pytest.approx(0.3339, abs=2e-4)


def test_equal_slices_seldom_have_a_gap_for_sure():
    generator = np.random.default_rng(0)
    found = [shares(generator.binomial(100, 0.9, size=10), 100) for _ in range(400)]
    assert np.mean([one.low > 0 for one in found]) <= 0.05


def test_a_bound_at_the_true_gap_is_seldom_passed():
    generator = np.random.default_rng(1)
    truth = [0.95, 0.93, 0.91, 0.8]
    found = [shares(generator.binomial(250, truth), 250) for _ in range(400)]
    assert np.mean([one.high < 0.15 for one in found]) <= 0.05
    assert np.mean([one.low > 0.15 for one in found]) <= 0.05


@given(
    st.lists(st.integers(0, 50), min_size=2, max_size=12),
    st.randoms(use_true_random=False),
)
def test_the_interval_holds_the_gap_and_knows_no_order(counts, random):
    found = shares(counts, 50)
    gap = (max(counts) - min(counts)) / 50
    assert 0 <= found.low <= gap + 1e-12
    assert gap - 1e-12 <= found.high <= 1
    shuffled = random.sample(counts, len(counts))
    again = shares(shuffled, 50)
    assert (again.low, again.high) == pytest.approx((found.low, found.high))


@given(st.lists(st.integers(0, 50), min_size=2, max_size=12))
def test_one_more_slice_in_between_makes_nothing_surer(counts):
    found, more = shares(counts, 50), shares([*counts, sorted(counts)[len(counts) // 2]], 50)
    assert more.low <= found.low + 1e-12
    assert more.high >= found.high - 1e-12


def test_the_best_and_the_worst_slice_are_named():
    slices = [
        estimate("part=a", 0.9, (0.8, 0.95)),
        estimate("part=b", 0.7, (0.6, 0.8)),
        estimate("part=c", 0.8, (0.7, 0.9)),
    ]
    found = gap_of(NO_GAP, slices, confidence=0.95)
    assert found.value == pytest.approx(0.2)
    assert (found.highest, found.lowest) == ("part=a", "part=b")
    assert found.interval is not None
    assert found.interval.method == "mover"


def test_there_is_no_gap_between_fewer_than_two_slices():
    found = gap_of(NO_GAP, [estimate("part=a", 0.9, (0.8, 0.95))], confidence=0.95)
    assert (found.value, found.undefined) == (None, "there are fewer than two slices")


def test_a_slice_without_a_value_leaves_the_gap_undefined():
    slices = [estimate("part=a", 0.9, (0.8, 0.95)), estimate("part=b", None)]
    found = gap_of(NO_GAP, slices, confidence=0.95)
    assert (found.value, found.undefined) == (None, "the metric has no value on part=b")


def test_a_slice_without_an_interval_leaves_the_gap_without_one():
    slices = [
        estimate("part=a", 0.9, (0.8, 0.95)),
        estimate("part=b", 0.5, no_interval="4 independent samples are fewer than 10"),
    ]
    found = gap_of(NO_GAP, slices, confidence=0.95)
    assert found.value == pytest.approx(0.4)
    assert found.interval is None
    assert found.no_interval == "of part=b, 4 independent samples are fewer than 10"


def test_a_reason_that_all_slices_have_is_the_gap_s():
    slices = [estimate(part, 0.5, no_interval="it is a maximum") for part in ("part=a", "part=b")]
    found = gap_of(NO_GAP, slices, confidence=0.95)
    assert found.no_interval == "it is a maximum"
