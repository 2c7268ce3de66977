"""What is estimated of a ledger and its slices: gaps, golden cases, reliability."""

from dataclasses import replace

import numpy as np
import pytest

from builders.families import bins, by, where
from builders.ledgers import binary_ledger, multiclass_ledger, regression_ledger
from builders.samples import asked, labels, weighted, with_columns
from model_eval import stats
from model_eval.errors import HeldOutError
from model_eval.metrics import compute
from model_eval.slicing import take
from model_eval.types import Interval, MetricRef

ACCURACY = MetricRef(name="accuracy")


def assessed(ledger, *metrics, **options):
    return stats.assess(ledger, None, asked(*metrics, **options), identical=False)


def sites(n=120, **options):
    ledger = labels(n, **options)
    return with_columns(
        ledger, slice_site=np.array(["a", "b", "c"], dtype=object)[np.arange(n) % 3]
    )


def test_each_slice_is_a_ledger_of_its_own():
    ledger = sites()
    found = assessed(ledger, "accuracy", "f1_macro", families=[by("site")])
    assert [(e.metric.name, e.slice, e.n) for e in found.estimates] == [
        ("accuracy", None, 120), ("f1_macro", None, 120),
        ("accuracy", "site=a", 40), ("f1_macro", "site=a", 40),
        ("accuracy", "site=b", 40), ("f1_macro", "site=b", 40),
        ("accuracy", "site=c", 40), ("f1_macro", "site=c", 40),
    ]  # fmt: skip
    for index, estimate in enumerate(found.estimates[2::2]):
        mask = (np.arange(120) % 3 == index)[None].astype(float)
        assert estimate.value == pytest.approx(compute(ledger, ACCURACY, mask)[0])
        assert estimate.interval.low < estimate.value < estimate.interval.high
    assert [(part.family, part.label, part.n) for part in found.slices] == [
        ("site", "site=a", 40), ("site", "site=b", 40), ("site", "site=c", 40),
    ]  # fmt: skip


def test_a_slice_that_vanished_is_there_and_has_no_value():
    ledger = with_columns(labels(30), slice_age=np.arange(30) + 20)
    found = assessed(ledger, "accuracy", families=[bins("age", 10), where("age > 90", "old")])
    vanished = {e.slice: e.undefined for e in found.estimates if e.value is None}
    assert vanished == {"age<10": "there are no samples", "old": "there are no samples"}
    assert [part.n for part in found.slices] == [0, 30, 0]


# --- gaps -----------------------------------------------------------------------------------


def gap(ledger, metric="accuracy", family=None):
    found = assessed(
        ledger, families=[family or by("site")], gaps=[((family or by("site")).name, metric)]
    )
    return found.gaps[0]


def test_a_gap_is_the_highest_minus_the_lowest():
    ledger = sites()
    values = {
        part: float(compute(take(ledger, ledger["slice:site"] == part), ACCURACY)[0])
        for part in "abc"
    }
    found = gap(ledger)
    assert found.value == pytest.approx(max(values.values()) - min(values.values()))
    assert found.highest == f"site={max(values, key=values.get)}"
    assert found.lowest == f"site={min(values, key=values.get)}"
    assert 0 <= found.interval.low <= found.value <= found.interval.high


def test_a_gap_of_weighted_samples_is_weighted():
    ledger = sites()
    weights = np.random.default_rng(0).gamma(1.0, size=120)
    found = gap(weighted(ledger, weights))
    masks = np.stack([(ledger["slice:site"] == part) * weights for part in "abc"])
    assert found.value == pytest.approx(np.ptp(compute(ledger, ACCURACY, masks)))


def test_gaps_that_say_nothing():
    one = with_columns(labels(30), slice_site=np.array(["a"] * 30, dtype=object))
    assert gap(one).undefined == "there are fewer than two slices"
    ages = with_columns(labels(60), slice_age=np.arange(60))
    assert gap(ages, family=bins("age", 10, 99)).undefined == "no sample is in age≥99"
    spoiled = replace(sites(), columns={**sites().columns, "finite": np.arange(120) != 7})
    assert gap(spoiled).undefined == (
        "1 of 120 samples have outputs that are not finite (first id: 7)"
    )
    unknown = gap(sites(), MetricRef(name="f1", of_class="zebra"))
    assert unknown.undefined == "there is no class `zebra`"
    target = np.array([0, 1] * 30 + [0] * 30)
    alone = with_columns(
        binary_ledger(target, np.linspace(0, 1, 90)), slice_site=np.repeat([1, 2, 3], 30)
    )
    assert gap(alone, "auroc").undefined == "the metric has no value on site=3"


def test_a_gap_to_a_slice_of_three_is_as_wide_as_three_samples_are():
    """Three of three that are right do not vary in any resample, and may be right by luck."""
    ledger = labels(200)
    few = np.where(np.arange(200) < 3, "a", "b").astype(object)
    found = gap(with_columns(ledger, slice_site=few))
    assert found.value is not None
    assert found.interval.low == 0
    assert found.interval.high > 0.5
    macro = gap(with_columns(ledger, slice_site=few), "f1_macro")
    assert macro.interval is None
    assert macro.no_interval == "of site=a, 3 independent samples are fewer than 10"


def test_a_gap_to_a_slice_without_any_error_is_not_certain():
    """Twelve of twelve may be 0.74 on other samples, though no resample of them differs."""
    ledger = labels(500, share=0.95)
    right = np.flatnonzero(ledger["prediction"] == ledger["target"])[:12]
    site = np.where(np.isin(np.arange(500), right), "a", "b").astype(object)
    found = gap(with_columns(ledger, slice_site=site))
    least = stats.share_interval(12, 12, confidence=0.95).low
    rest = 1 - found.value
    assert found.highest == "site=a"
    assert found.interval.high >= rest - least
    assert found.interval.low <= max(0.0, least - rest)
    narrow = gap(with_columns(ledger, slice_site=np.where(np.arange(500) % 2, "a", "b")))
    assert narrow.interval.high < 0.08


def test_no_slice_has_any_error():
    target = np.arange(60) % 3
    ledger = multiclass_ledger(target, np.eye(3)[target])
    found = gap(with_columns(ledger, slice_site=np.arange(60) % 2))
    least = stats.share_interval(30, 30, confidence=0.95).low
    assert (found.value, found.interval.low) == (0, 0)
    # Either slice may be the one with errors: not more than its own end, nor both at once.
    assert found.interval.high == pytest.approx(1 - least)
    assert found.interval.method == "mover"
    exact = regression_ledger(np.arange(40.0), np.arange(40.0) + 1)
    still = gap(with_columns(exact, slice_site=np.arange(40) % 2), "rmse")
    assert still.no_interval == "all samples are alike, and the metric has no bound"


# --- names of slices ------------------------------------------------------------------------


def test_a_condition_cannot_take_the_place_of_a_slice():
    with pytest.raises(HeldOutError, match="two slices are called `site=b`"):
        assessed(
            sites(), "accuracy", families=[by("site"), where("prediction == target", "site=b")]
        )


# --- golden cases ---------------------------------------------------------------------------


def cases(prediction, **changes):
    return regression_ledger([[1.0, 2.0], [3.0, 4.0]], prediction, ids=["plain", "odd"], **changes)


def test_golden_cases():
    same = cases([[1.0, 2.0], [3.0, 4.0]])
    assert (stats.golden_estimate(same).value, stats.changed_cases(same, 0.0)) == (0, ())
    moved = cases([[1.0, 2.0], [3.0, 4.5]])
    assert stats.golden_estimate(moved).value == 0.5
    assert stats.changed_cases(moved, 0.5) == ()
    assert stats.changed_cases(moved, 0.4999) == ("odd",)


def test_a_golden_case_without_a_finite_output_has_changed():
    spoiled = cases([[1.0, np.nan], [3.0, 4.0]], finite=[False, True])
    found = stats.golden_estimate(spoiled)
    assert (found.value, found.undefined) == (None, "the output of plain is not finite")
    assert stats.changed_cases(spoiled, 1e300) == ("plain",)
    empty = regression_ledger(np.zeros((0, 1)), np.zeros((0, 1)))
    assert stats.golden_estimate(empty).undefined == "there are no cases"
    huge = regression_ledger([1.7e308], [-1.7e308])
    assert stats.golden_estimate(huge).undefined == "the difference is too large for a float64"


# --- reliability ----------------------------------------------------------------------------


def test_reliability_of_a_binary_classifier_is_of_the_positive_class():
    ledger = binary_ledger([0, 1, 1, 0, 1], [0.0, 0.05, 0.95, 0.91, 1.0])
    low, high = stats.reliability(ledger)
    assert (low.low, low.high, low.n) == (0.0, 0.1, 2)
    assert (low.confidence, low.accuracy) == pytest.approx((0.025, 0.5))
    assert (high.low, high.high, high.n) == (0.9, 1.0, 3)
    assert (high.confidence, high.accuracy) == pytest.approx(((0.95 + 0.91 + 1) / 3, 2 / 3))


def test_reliability_of_many_classes_is_of_the_predicted_one():
    probability = np.array([[0.6, 0.3, 0.1], [0.15, 0.2, 0.65], [0.9, 0.05, 0.05]])
    first, second = stats.reliability(multiclass_ledger([0, 1, 0], probability))
    assert (first.n, first.accuracy) == (2, 0.5)
    assert first.confidence == pytest.approx(0.625)
    assert (second.n, second.accuracy, second.confidence) == (1, 1.0, 0.9)


def test_reliability_is_weighted_and_counts_samples():
    """A sample of weight 3 is three in the means; a bin that weighs nothing is none."""
    one = binary_ledger([0, 1, 1, 0], [0.02, 0.06, 0.95, 0.55])
    [low, high] = stats.reliability(weighted(one, np.array([3.0, 1.0, 0.5, 0.0])))
    assert (low.n, low.confidence, low.accuracy) == (2, pytest.approx(0.03), 0.25)
    assert (high.n, high.confidence, high.accuracy) == (1, 0.95, 1.0)


def test_every_sample_is_in_one_bin():
    ledger = labels(500)
    assert sum(one.n for one in stats.reliability(ledger)) == 500


def test_the_confidence_is_the_one_that_was_asked_for():
    [narrow] = assessed(labels(50), "accuracy", confidence=0.5).estimates
    [wide] = assessed(labels(50), "accuracy", confidence=0.99).estimates
    assert isinstance(narrow.interval, Interval)
    assert (narrow.interval.confidence, wide.interval.confidence) == (0.5, 0.99)
    assert wide.interval.low < narrow.interval.low < narrow.interval.high < wide.interval.high
