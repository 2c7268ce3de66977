"""Paired differences: what pairs, what is refused, and that no difference is certain by chance."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats as sp

from builders.ledgers import (
    binary_ledger,
    language_ledger,
    multiclass_ledger,
    regression_ledger,
    segmentation_ledger,
    take,
)
from builders.samples import asked, clustered, labels, weighted
from model_eval import stats
from model_eval.stats.difference import FLIPS_SHOWN
from model_eval.types import MetricRef


def compared(candidate, baseline, metric, *, identical=False, **options):
    found = stats.assess(candidate, baseline, asked(metric, **options), identical=identical)
    [one] = found.comparisons
    return one


def ends(interval):
    return interval.low, interval.high


def of_targets(ledger, share, seed):
    """Another model on the same samples."""
    probability = labels(len(ledger), seed=seed)["probability"] / 2
    generator = np.random.default_rng(seed)
    right = generator.random(len(ledger)) < share
    said = np.where(right, ledger["target"], generator.integers(0, 3, size=len(ledger)))
    probability[np.arange(len(ledger)), said] += 0.5
    return multiclass_ledger(ledger["target"], probability)


# --- what pairs -----------------------------------------------------------------------------


def numbers(**changes):
    return regression_ledger([1.0, 2.0, 3.0], [1.0, 2.0, 4.0], **changes)


def images():
    target = [[0, 1, 1], [1, 1, 0]]
    return segmentation_ledger(target, np.ones((2, 3), int), ("ground", "road"))


UNPAIRABLE = {
    "task": (
        numbers(),
        binary_ledger([0, 1, 1], [0.1, 0.9, 0.9]),
        "it is a ledger of a binary task, and this is regression",
    ),
    "classes": (
        binary_ledger([0, 1], [0.1, 0.9]),
        binary_ledger([0, 1], [0.1, 0.9], classes=("yes", "no")),
        "its classes are others, or in another order",
    ),
    "outputs": (numbers(), numbers(outputs=["z"]), "its outputs are others, or in another order"),
    "ids-of-another-kind": (
        numbers(),
        numbers(ids=["0", "1", "2"]),
        "its ids are numbers and here they are text, or the other way round",
    ),
    "ids-repeat": (numbers(), numbers(ids=[0, 1, 1]), "ids repeat"),
    "ids-repeat-here": (numbers(ids=[0, 1, 1]), numbers(), "ids repeat"),
    "other-ids": (
        numbers(),
        numbers(ids=[0, 1, 7]),
        "1 of 3 ids are not in the baseline (first: 2)",
    ),
    "more-ids": (
        take(numbers(), [0, 1]),
        numbers(),
        "1 of 3 ids are only in the baseline (first: 2)",
    ),
    "other-targets": (
        numbers(),
        regression_ledger([1.0, 2.5, 3.0], [1.0, 2.0, 4.0]),
        "1 samples have other targets (first id: 1)",
    ),
    "nan-targets": (
        regression_ledger([1.0, np.nan, 3.0], [1.0, 2.0, 4.0]),
        regression_ledger([1.0, np.nan, 3.0], [1.0, 2.0, 4.0]),
        "1 samples have other targets (first id: 1)",
    ),
    "other-masks": (
        images(),
        segmentation_ledger([[0, 1, 1], [0, 0, 0]], np.ones((2, 3), int), ("ground", "road")),
        "1 samples have other targets (first id: 1)",
    ),
    "other-documents": (
        language_ledger([1.0, 2.0], [3, 4], [1, 1]),
        language_ledger([1.0, 2.0], [3, 5], [1, 1]),
        "1 samples have other targets (first id: 1)",
    ),
    "bytes-of-one": (
        language_ledger([1.0, 2.0], [3, 4], [1, 1], [9, 9]),
        language_ledger([1.0, 2.0], [3, 4], [1, 1]),
        "one of the two has no column `bytes`",
    ),
}


@pytest.mark.parametrize(("ours", "theirs", "reason"), UNPAIRABLE.values(), ids=UNPAIRABLE)
def test_what_does_not_pair(ours, theirs, reason):
    assert stats.unpairable(ours, theirs) == reason


@pytest.mark.parametrize(
    "ledger",
    [numbers(), labels(20), images(), language_ledger([1.0, 2.0], [3, 4], [1, 1], [9, 9])],
    ids=lambda ledger: str(ledger.task),
)
def test_the_order_of_a_baseline_does_not_matter(ledger):
    ledger = replace(ledger, heldout="a", checkpoint="b")
    mixed = take(ledger, np.random.default_rng(0).permutation(len(ledger)))
    mixed = replace(mixed, heldout="a", checkpoint="b")
    assert stats.unpairable(ledger, mixed) is None
    back = stats.in_order_of(mixed, ledger["id"])
    assert (back.heldout, back.checkpoint) == ("a", "b")
    for name, column in ledger.columns.items():
        assert (back[name] == column).all()


# --- differences ----------------------------------------------------------------------------


def test_a_difference_of_hits_is_that_of_shares():
    one, other = labels(300), of_targets(labels(300), 0.7, seed=5)
    found = compared(one, other, "accuracy")
    now, before = (ledger["prediction"] == ledger["target"] for ledger in (one, other))
    gained, lost = int((now & ~before).sum()), int((before & ~now).sum())
    assert found.difference == pytest.approx((gained - lost) / 300)
    assert found.interval == stats.share_difference(gained, lost, 300, confidence=0.95)
    assert found.relative == pytest.approx(found.difference / found.baseline)


def test_a_difference_of_means_is_the_paired_one():
    """Of errors whose difference is constant but for a little: far narrower than two intervals."""
    generator = np.random.default_rng(0)
    target = generator.normal(size=400)
    error = generator.gamma(2.0, size=400)
    little = generator.normal(scale=0.01, size=400)
    one = regression_ledger(target, target + error)
    other = regression_ledger(target, target + error + 0.1 + little)
    found = compared(one, other, "mae")
    half = sp.t.ppf(0.975, 399) * little.std(ddof=1) / 20
    assert found.difference == pytest.approx(-0.1 - little.mean())
    assert ends(found.interval) == pytest.approx(
        (found.difference - half, found.difference + half), abs=half / 4
    )


def test_the_same_checkpoint_does_not_differ():
    found = compared(labels(50), labels(50), "f1_macro", identical=True)
    assert (found.difference, ends(found.interval), found.interval.method) == (
        0,
        (0, 0),
        "identical",
    )
    assert ends(found.relative_interval) == (0, 0)


@pytest.mark.parametrize("metric", ["accuracy", "f1_macro", "recall_macro", "auroc"])
def test_models_that_agree_on_all_samples_may_differ_on_others(metric):
    found = compared(labels(60), labels(60), metric)
    assert found.difference == 0
    assert found.interval.low < -0.02
    assert found.interval.high > 0.02
    assert found.relative_interval.low < 0 < found.relative_interval.high


def test_regressions_that_agree_on_all_samples_have_no_interval():
    one = regression_ledger(np.arange(40.0), np.arange(40.0) + 1)
    found = compared(one, one, "mae")
    assert (found.difference, found.interval) == (0, None)
    assert found.no_interval == "all samples are alike, and the metric has no bound"


def test_a_difference_that_never_varies_is_where_it_is():
    """All wrong against all right: no resample differs, and the difference is still -1."""
    target = np.arange(60) % 3
    wrong = multiclass_ledger(target, np.eye(3)[(target + 1) % 3])
    right = multiclass_ledger(target, np.eye(3)[target])
    found = compared(wrong, right, "f1_macro")
    assert found.difference == -1
    assert -1.2 < found.interval.low <= -1 < found.interval.high < -0.8
    assert ends(found.relative_interval) == pytest.approx(ends(found.interval))
    back = compared(right, wrong, "f1_macro")
    assert ends(back.interval) == pytest.approx((-found.interval.high, -found.interval.low))
    assert (back.relative, back.relative_interval) == (None, None)


def test_both_are_weighted_alike():
    """A ledger that was saved with other weights, or with none, is not weighted by these."""
    weights = np.random.default_rng(0).gamma(1.0, size=80)
    one, other = labels(80), of_targets(labels(80), 0.6, seed=3)
    expected = compared(weighted(one, weights), weighted(other, weights), "f1_macro")
    assert compared(weighted(one, weights), other, "f1_macro") == expected
    skewed = weighted(other, np.where(other["prediction"] == other["target"], 0, 1.0))
    assert compared(weighted(one, weights), skewed, "f1_macro") == expected


def test_clusters_are_drawn_whole_for_both():
    one = clustered(labels(90), np.arange(90) // 3)
    found = compared(one, of_targets(one, 0.5, seed=1), "accuracy")
    assert found.interval.method == "bca"


PART_OF_AUROC = MetricRef(name="auroc", params=(("max_fpr", 0.5),))


@pytest.mark.parametrize("metric", ["auroc", PART_OF_AUROC, "average_precision"], ids=str)
@pytest.mark.parametrize("rows", [100, 6000])
def test_a_ranking_needs_some_of_each_side(rows, metric):
    target = np.zeros(rows, dtype=int)
    target[:4] = 1
    one = binary_ledger(target, np.linspace(0, 1, rows))
    other = binary_ledger(target, np.linspace(0, 1, rows) ** 2 * 0.9 + 0.05 * target)
    found = compared(one, other, metric)
    assert (found.interval, found.relative_interval) == (None, None)
    assert found.no_interval.startswith("4 independent samples are of `yes`")


@pytest.mark.parametrize("metric", ["auroc", "average_precision"])
def test_many_rows_of_few_clusters_are_few(metric):
    cluster, generator = np.repeat(np.arange(100), 60), np.random.default_rng(0)
    for sick, known in ((3, False), (12, True)):
        one, other = (
            clustered(binary_ledger(cluster < sick, generator.random(6000)), cluster)
            for _ in range(2)
        )
        found = compared(one, other, metric)
        assert (found.interval is not None, found.relative_interval is not None) == (known, known)
        assert known or found.no_interval.startswith("3 independent samples are of `yes`")


def test_without_a_value_of_one_of_the_two_there_is_no_difference():
    one = labels(20)
    spoiled = replace(one, columns={**one.columns, "finite": np.arange(20) != 4})
    here, there = compared(spoiled, one, "accuracy"), compared(one, spoiled, "accuracy")
    reason = "1 of 20 samples have outputs that are not finite (first id: 4)"
    assert (here.undefined, there.undefined) == (reason, f"the baseline: {reason}")
    for found in (here, there):
        assert (found.difference, found.interval, found.relative) == (None, None, None)


def test_no_share_of_a_baseline_of_nothing():
    one = regression_ledger([0.0] * 20, np.linspace(1, 2, 20))
    found = compared(one, regression_ledger([0.0] * 20, [0.0] * 20), "mae")
    assert found.difference == pytest.approx(1.5)
    assert (found.relative, found.relative_interval) == (None, None)


def test_a_share_of_nearly_nothing_says_why_it_has_no_interval():
    """Of two errors in forty both are missing in 13 % of the resamples."""
    one = regression_ledger([0.0] * 40, np.linspace(1, 2, 40))
    found = compared(one, regression_ledger([0.0] * 40, [1.0, 1.0] + [0.0] * 38), "mae")
    assert (found.interval is None, found.relative_interval) == (False, None)
    assert found.no_interval.endswith("of the resamples leave the metric undefined")


@settings(max_examples=30, deadline=None)
@given(st.integers(1, 40), st.integers(0, 9), st.sampled_from(["accuracy", "f1_macro", "log_loss"]))
def test_a_difference_is_finite_and_in_order_and_turns_round(n, seed, metric):
    one, other = labels(n), of_targets(labels(n), 0.7, seed=seed)
    there, back = compared(one, other, metric), compared(other, one, metric)
    if there.difference is None:
        assert there.undefined
        return
    assert back.difference == -there.difference
    for found in (there, back):
        assert found.interval is not None or found.no_interval
    if there.interval is not None and back.interval is not None:
        assert np.isfinite(ends(there.interval)).all()
        assert there.interval.low <= there.interval.high


# --- flips ----------------------------------------------------------------------------------


def test_flips():
    target = [0, 1, 0, 1, 1]
    now = binary_ledger(target, [0.1, 0.9, 0.9, 0.9, 0.9])
    before = binary_ledger(target, [0.1, 0.1, 0.1, 0.1, 0.1])
    found = stats.flips(now, before)
    assert (found.gained, found.lost) == (3, 1)
    assert (found.gained_ids, found.lost_ids) == (("1", "3", "4"), ("2",))
    assert found.p_value == pytest.approx(sp.binomtest(1, 4, 0.5).pvalue)


def test_only_the_first_flips_are_named():
    target = np.ones(500, dtype=int)
    found = stats.flips(binary_ledger(target, target * 0.9), binary_ledger(target, target * 0.1))
    assert found.gained == 500
    assert len(found.gained_ids) == FLIPS_SHOWN


def test_a_regression_has_no_flips():
    assert stats.flips(numbers(), numbers()) is None
