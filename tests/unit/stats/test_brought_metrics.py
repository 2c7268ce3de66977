"""Intervals of metrics that a spec brings, and of metrics with parameters."""

from dataclasses import replace

import numpy as np
import pytest

from builders.ledgers import binary_ledger, multiclass_ledger, regression_ledger
from builders.samples import weighted, with_columns
from model_eval.errors import UserCodeError
from model_eval.metrics import bring
from model_eval.spec.eval_spec import CodeRef, CustomMetric, SliceFamily
from model_eval.stats import Asked, assess
from model_eval.types import Location, MetricRef

HERE = Location(file="spec.yaml", line=3, column=9)
PROFIT = MetricRef(name="profit")
RNG = np.random.default_rng(0)


def brought(function, *, rowwise=True):
    code = CodeRef(
        text="metrics.py:f", file=None, module="metrics", attribute="f", kwargs={}, location=HERE
    )
    spec = CustomMetric(name="profit", code=code, higher_is_better=True, rowwise=rowwise)
    return {"profit": bring(spec, function)}


def asked(*refs, **changes):
    known = Asked(heldout="main", metrics=refs, families=(), gaps=(), confidence=0.95, seed=0)
    return replace(known, **changes)


def absolute(columns, weights):
    error = np.abs(columns["target"] - columns["prediction"])[:, 0]
    return float(np.average(error, weights=weights))


def regression(n, *, better=0.0):
    target = RNG.normal(size=n)
    noise = RNG.normal(size=n)
    other = (1 - better) * noise + RNG.normal(0, 0.1, n)
    return regression_ledger(target, target + noise), regression_ledger(target, target + other)


def test_rows_are_resampled_as_for_the_metric_of_our_own():
    ledger, before = regression(120, better=0.1)
    ask = asked(PROFIT, MetricRef(name="mae"), brought=brought(absolute))
    found = assess(ledger, before, ask, identical=False)
    custom, ours = found.estimates
    assert (custom.interval.method, ours.interval.method) == ("bca", "bca")
    assert custom.interval.low == pytest.approx(ours.interval.low, rel=1e-9)
    assert custom.interval.high == pytest.approx(ours.interval.high, rel=1e-9)
    custom, ours = found.comparisons
    for name in ("interval", "relative_interval"):
        one, other = getattr(custom, name), getattr(ours, name)
        assert (one.low, one.high) == pytest.approx((other.low, other.high), rel=1e-9)


def profit(columns, weights, price=3.0):
    """The example of docs/spec.md."""
    right = columns["target"] == columns["prediction"]
    return price * (weights * right).sum() - weights.sum()


@pytest.mark.parametrize("weight", [1.0, 3.0, 0.1, 1e70])
@pytest.mark.parametrize("n", [200, 6000])
def test_weights_are_given_as_they_are_written(n, weight):
    weights = np.where(np.arange(n) % 2, weight, 2 * weight)
    ledger, before = (
        binary_ledger(np.arange(n) % 3 == 0, np.random.default_rng(seed).random(n))
        for seed in (0, 1)
    )
    seen = []

    def counted(columns, given):
        seen.append(given.max())
        return profit(columns, given)

    one, other = (weighted(each, weights) for each in (ledger, before))
    found = assess(one, other, asked(PROFIT, brought=brought(counted)), identical=False)
    [custom], [compared] = found.estimates, found.comparisons
    assert custom.value == pytest.approx(profit(ledger.columns, weights), rel=1e-12)
    assert compared.baseline == pytest.approx(profit(before.columns, weights), rel=1e-12)
    assert custom.interval.low < custom.value < custom.interval.high
    # Resamples are of the same weights, each so many times.
    times = np.array(seen) / weight
    np.testing.assert_allclose(times, times.round(), rtol=1e-12)


def test_a_slice_has_the_weights_that_it_has_in_the_whole():
    ledger = binary_ledger(np.ones(40), np.full(40, 0.9))
    ledger = with_columns(ledger, weight=np.where(np.arange(40) < 20, 8.0, 1.0))
    ledger = with_columns(ledger, slice_site=np.arange(40) // 20)
    sites = SliceFamily(
        name="site", columns=("site",), edges=(), where=None, labels=(), location=HERE
    )
    ask = asked(PROFIT, brought=brought(profit, rowwise=False), families=(sites,))
    values = {one.slice: one.value for one in assess(ledger, None, ask, identical=False).estimates}
    assert values == {None: 360, "site=0": 320, "site=1": 40}


@pytest.mark.parametrize("weight", [1e300, 1e-300])
def test_weights_that_cannot_be_computed_with_are_no_one_s_to_scale(weight):
    ledger = weighted(binary_ledger([0, 1], [0.1, 0.9]), [weight, weight])
    with pytest.raises(UserCodeError) as raised:
        assess(ledger, None, asked(PROFIT, brought=brought(profit)), identical=False)
    assert str(raised.value.faults[0]) == (
        "spec.yaml:3:9: `metrics.py:f` is given the weights of the samples as they are, and the "
        "largest is beyond 2^±256; multiply all of them by one number"
    )


def test_many_rows_are_left_out_in_groups_and_not_drawn_one_by_one():
    ledger, before = regression(20_000, better=0.1)
    calls = []

    def counted(columns, weights):
        calls.append(len(weights))
        return absolute(columns, weights)

    found = assess(ledger, before, asked(PROFIT, brought=brought(counted)), identical=False)
    [custom], [compared] = found.estimates, found.comparisons
    assert custom.interval.method == compared.interval.method == "jackknife"
    assert custom.interval.low < custom.value < custom.interval.high
    assert compared.interval.low < compared.difference < compared.interval.high
    assert len(calls) < 500


def test_without_rowwise_nothing_is_resampled_and_the_reason_is_said():
    ledger, before = regression(40, better=0.1)
    ledger.columns["slice:site"] = before.columns["slice:site"] = np.arange(40) % 2
    sites = SliceFamily(
        name="site", columns=("site",), edges=(), where=None, labels=(), location=HERE
    )
    ask = asked(
        PROFIT,
        brought=brought(absolute, rowwise=False),
        families=(sites,),
        gaps=(("site", PROFIT),),
    )
    found = assess(ledger, before, ask, identical=False)
    reason = "the spec does not say that it is a function of rows (`rowwise: true`)"
    for one in (*found.estimates, *found.comparisons, *found.gaps):
        assert (one.interval, one.no_interval) == (None, reason)
    assert len(found.gaps) == 1
    assert found.gaps[0].value > 0


def test_a_gap_of_extremes_has_no_interval():
    ledger, _ = regression(40)
    ledger.columns["slice:site"] = np.arange(40) % 2
    sites = SliceFamily(
        name="site", columns=("site",), edges=(), where=None, labels=(), location=HERE
    )
    largest = MetricRef(name="max_error")
    ask = asked(largest, families=(sites,), gaps=(("site", largest),))
    [gap] = assess(ledger, None, ask, identical=False).gaps
    assert gap.no_interval == "it hangs on single samples, which no resampling can vary"


def test_where_nothing_varies_and_nothing_is_known_there_is_no_interval():
    ask = asked(PROFIT, brought=brought(lambda *_: 3.0))
    [found] = assess(regression(40)[0], None, ask, identical=False).estimates
    assert found.no_interval == "all samples are alike, and the metric has no bound"


def test_parameters_reach_the_resamples():
    target = RNG.integers(0, 2, 20_000)
    ledger = binary_ledger(
        target, np.clip(0.5 + 0.2 * (target - 0.5) + RNG.normal(0, 0.2, 20_000), 0, 1)
    )
    part, whole = MetricRef(name="auroc", params=(("max_fpr", 0.1),)), MetricRef(name="auroc")
    found = assess(ledger, None, asked(part, whole), identical=False).estimates
    assert [one.interval.method for one in found] == ["jackknife", "influence"]
    assert found[0].value < found[1].value
    for one in found:
        assert one.interval.low < one.value < one.interval.high


def test_a_share_with_a_parameter_has_a_share_s_interval():
    ledger = multiclass_ledger(RNG.integers(0, 4, 200), RNG.dirichlet(np.ones(4), 200))
    two = MetricRef(name="top_k_accuracy", params=(("k", 2.0),))
    [found] = assess(ledger, None, asked(two), identical=False).estimates
    assert found.interval.method == "clopper-pearson"
