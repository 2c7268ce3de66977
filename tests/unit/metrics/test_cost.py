"""Costs: the interval of a quantile covers it as often as it says, by the binomial distribution."""

from fractions import Fraction
from math import ceil, inf

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import binom

from model_eval.metrics.cost import (
    PERCENTILES,
    Measured,
    cost_estimates,
    least_runs,
    quantile_ranks,
)
from model_eval.spec.catalog import CATALOG, COST, TIMED
from model_eval.types import Interval, MetricRef, Task

CONFIDENCE = 0.95
COUNTS = [1, 5, 6, 20, 71, 72, 73, 200, 367, 368, 1000, 100_000]


def estimate(name, *, confidence=CONFIDENCE, **measured):
    known = {"parameters": 1_234, "file_bytes": 2_500_000, "batch_size": 4, **measured}
    refs = [MetricRef(name=name)]
    return cost_estimates(refs, Measured(**known), confidence=confidence)[0]


@pytest.mark.parametrize("count", COUNTS)
@pytest.mark.parametrize("p", [0.5, 0.95, 0.99])
def test_the_ranks_cover_the_quantile_and_no_closer_ones_do(count, p):
    ranks = quantile_ranks(count, p, CONFIDENCE)
    miss = (1 - CONFIDENCE) / 2
    below, above = binom.cdf(0, count, p), binom.sf(count - 1, count, p)
    if ranks is None:
        assert max(below, above) > miss  # not even the smallest and the largest time enclose it
        return
    low, high = ranks
    assert 1 <= low < high <= count
    assert binom.cdf(low - 1, count, p) <= miss < binom.cdf(low, count, p)
    assert binom.sf(high - 1, count, p) <= miss < binom.sf(high - 2, count, p)


@pytest.mark.parametrize("percent", PERCENTILES.values())
def test_the_least_number_of_runs(percent):
    needed = least_runs(percent / 100, CONFIDENCE)
    assert quantile_ranks(needed, percent / 100, CONFIDENCE) is not None
    assert quantile_ranks(needed - 1, percent / 100, CONFIDENCE) is None
    assert needed == {50: 6, 95: 72, 99: 368}[percent]


@pytest.mark.parametrize(("p", "count"), [(0.5, 30), (0.95, 200)])
def test_the_true_quantile_is_inside_as_often_as_promised(p, count):
    times = np.sort(np.random.default_rng(0).exponential(size=(4_000, count)), axis=1)
    low, high = quantile_ranks(count, p, CONFIDENCE)
    truth = -np.log1p(-p)
    inside = (times[:, low - 1] <= truth) & (truth <= times[:, high - 1])
    promised = binom.cdf(high - 1, count, p) - binom.cdf(low - 1, count, p)
    assert promised >= CONFIDENCE
    assert inside.mean() == pytest.approx(promised, abs=0.012)


SECONDS = st.lists(st.floats(0, 100), min_size=1, max_size=500)


@given(SECONDS, st.sampled_from(sorted(PERCENTILES)))
def test_a_percentile_is_the_smallest_time_that_so_many_do_not_exceed(seconds, name):
    found = estimate(name, seconds=tuple(seconds))
    needed = ceil(Fraction(PERCENTILES[name], 100) * len(seconds))
    reached = [s * 1000 for s in seconds if sum(t <= s for t in seconds) >= needed]
    assert found.value == min(reached)
    assert found.n == len(seconds)
    if found.interval is None:
        assert found.no_interval.startswith(f"{len(seconds)} timed calls are too few: it needs ")
    else:
        assert found.interval.low <= found.value <= found.interval.high


def test_percentiles_of_a_hundred_times():
    seconds = tuple(i / 1000 for i in range(100, 0, -1))
    for name, value in [("latency_p50_ms", 50), ("latency_p95_ms", 95), ("latency_p99_ms", 99)]:
        assert estimate(name, seconds=seconds).value == pytest.approx(value)
    interval = estimate("latency_p50_ms", seconds=seconds).interval
    # Conover's table for n = 100 and the median.
    assert interval == Interval(
        low=pytest.approx(40), high=pytest.approx(61), confidence=0.95, method="order statistics"
    )
    assert estimate("latency_p99_ms", seconds=seconds).no_interval == (
        "100 timed calls are too few: it needs 368 (cost.runs)"
    )


def test_intervals_have_the_confidence_that_is_asked_for():
    seconds = tuple(i / 1000 for i in range(100, 0, -1))
    # binomial(100, 0.5): P(K <= 36) is 0.0033 and P(K <= 37) 0.0060.
    assert estimate("latency_p50_ms", seconds=seconds, confidence=0.99).interval == Interval(
        low=pytest.approx(37), high=pytest.approx(64), confidence=0.99, method="order statistics"
    )
    assert estimate("latency_p95_ms", seconds=seconds, confidence=0.99).no_interval == (
        "100 timed calls are too few: it needs 104 (cost.runs)"
    )


def test_throughput_counts_samples_over_the_timed_seconds():
    assert estimate("throughput", seconds=(0.5, 0.25, 0.25)).value == 12
    coarse = estimate("throughput", seconds=(0.0, 0.0))
    assert coarse.value is None
    assert coarse.undefined == "the clock is too coarse for calls as short as these"


def test_what_is_counted():
    assert estimate("parameters").value == 1234
    assert estimate("model_size_mb").value == 2.5
    seconds = (1.0,)
    assert estimate("peak_memory_mb", seconds=seconds, host_bytes=3_000_000).value == 3
    assert estimate("peak_device_memory_mb", seconds=seconds, device_bytes=4_000_000).value == 4


def test_what_is_not_known_has_its_reason():
    seconds = (1.0,)
    assert estimate("peak_memory_mb", seconds=seconds).undefined == "the system does not tell it"
    found = estimate("peak_device_memory_mb", seconds=seconds, no_device_bytes="it is a CPU")
    assert (found.value, found.undefined) == (None, "it is a CPU")


@pytest.mark.parametrize("name", sorted(TIMED))
def test_a_model_that_was_not_timed_has_no_cost_that_needs_it(name):
    found = estimate(name, untimed="it fails", host_bytes=1, device_bytes=1)
    assert (found.value, found.undefined, found.n) == (None, "it fails", 0)


@pytest.mark.parametrize("name", COST)
def test_every_cost_is_estimated_inside_of_its_range(name):
    found = estimate(name, seconds=(0.1, 0.2), host_bytes=5, device_bytes=6)
    assert COST[name].low <= found.value < inf
    assert (found.interval is None) == (found.no_interval is not None)
    assert COST[name].tasks == frozenset(Task)
    assert name not in CATALOG


def test_another_metric_is_no_cost():
    with pytest.raises(ValueError, match="`accuracy` is no cost"):
        estimate("accuracy", seconds=(1.0,))
