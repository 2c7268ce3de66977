"""Bootstrap intervals against SciPy's, and what the draws may depend on."""

from functools import partial
from math import isfinite

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats as sp

from builders.ledgers import binary_ledger, multiclass_ledger, regression_ledger, take
from builders.samples import clustered, interval_of, labels, values, weighted
from model_eval.ledger import concatenate
from model_eval.metrics import Resample
from model_eval.spec.catalog import CATALOG
from model_eval.stats.bootstrap import NoIntervalError, bca_interval
from model_eval.stats.resample import plan_cells, plan_rows
from model_eval.types import MetricRef, Task

REGRESSION = ("mse", "rmse", "mae", "r2")
CLASSES = ("accuracy", "f1_macro", "recall_macro", "log_loss", "auroc")


def numbers(n, seed=0, scale=1.0):
    generator = np.random.default_rng(seed)
    target = generator.normal(size=n)
    return regression_ledger(target, target + scale * generator.gamma(1.0, size=n))


def ends(interval):
    return interval.low, interval.high


@pytest.mark.parametrize("n", [30, 200])
def test_the_mean_is_scipys_bca(n):
    """Of a skewed sample. SciPy's has no widened tails: the levels are asked for that give them."""
    drawn = np.random.default_rng(n).gamma(1.0, size=n)
    ledger = regression_ledger(np.zeros(n), drawn)
    t = sp.t.ppf(0.975, n - 1) * np.sqrt(n / (n - 1))
    reference = sp.bootstrap(
        (drawn,), np.mean, confidence_level=2 * sp.norm.cdf(t) - 1, method="BCa",
        n_resamples=20_000, rng=np.random.default_rng(1),
    )  # fmt: skip
    plan = plan_rows(ledger, seed=0, replicates=20_000)
    found = bca_interval(partial(values, ledger, "mae"), plan, confidence=0.95)
    error = (
        reference.standard_error / 5
    )  # of a quantile in the tail of 20,000 draws: three of its own
    assert found.method == interval_of(ledger, "mae").method == "bca"
    assert ends(found) == pytest.approx(tuple(reference.confidence_interval), abs=error)


def test_the_same_seed_gives_the_same_interval_and_another_another():
    ledger = numbers(80)
    assert interval_of(ledger, "r2", seed=3) == interval_of(ledger, "r2", seed=3)
    assert interval_of(ledger, "r2", seed=3) != interval_of(ledger, "r2", seed=4)


@pytest.mark.parametrize("n", [60, 3000])
@pytest.mark.parametrize("metric", ["rmse", "r2"])
def test_the_order_of_the_rows_does_not_matter(metric, n):
    ledger = numbers(n)
    mixed = take(ledger, np.random.default_rng(9).permutation(n))
    assert ends(interval_of(mixed, metric)) == pytest.approx(
        ends(interval_of(ledger, metric)), rel=1e-12
    )


@pytest.mark.parametrize("metric", CLASSES)
def test_neither_order_nor_shards_matter_to_a_classifier(metric):
    ledger = labels(300)
    parts = np.array_split(np.random.default_rng(9).permutation(300), 3)
    mixed = concatenate([take(ledger, part) for part in parts])
    assert ends(interval_of(mixed, metric)) == pytest.approx(
        ends(interval_of(ledger, metric)), rel=1e-12
    )


def test_text_ids_are_put_in_order_too():
    ids = np.array([f"sample-{index:03d}" for index in range(50)], dtype=object)
    plain = numbers(50)
    named = regression_ledger(plain["target"], plain["prediction"], ids=ids)
    mixed = take(named, np.random.default_rng(9).permutation(50))
    assert ends(interval_of(mixed, "mse")) == pytest.approx(ends(interval_of(named, "mse")))


def replicates(ledger, metric, plan):
    return values(ledger, metric, plan.draws)


@pytest.mark.parametrize("metric", ["accuracy", "f1_macro", "precision_macro"])
def test_cells_are_drawn_as_rows_are(metric):
    """A multinomial over the cells of the confusion matrix is the bootstrap of the rows."""
    ledger = labels(200)
    rows = replicates(ledger, metric, plan_rows(ledger, seed=1, replicates=4000))
    cells = replicates(ledger, metric, plan_cells(ledger, seed=2, replicates=4000))
    assert np.mean(cells) == pytest.approx(np.mean(rows), abs=4 * np.std(rows) / np.sqrt(2000))
    assert np.std(cells) == pytest.approx(np.std(rows), rel=0.06)


def test_groups_of_rows_vary_as_rows_do():
    ledger = numbers(4000)
    rows = replicates(ledger, "mae", plan_rows(ledger, seed=1, max_groups=4000))
    groups = replicates(ledger, "mae", plan_rows(ledger, seed=1))
    assert len(plan_rows(ledger, seed=1).size) == 2048
    assert np.std(groups) == pytest.approx(np.std(rows), rel=0.08)


def test_clusters_beyond_the_most_groups_stay_whole():
    ledger = clustered(numbers(9000), np.arange(9000) // 3)
    plan = plan_rows(ledger, seed=0)
    assert plan.units == 3000
    assert len(plan.size) == 2048
    together = plan.group.reshape(-1, 3)
    assert (together == together[:, :1]).all()


def test_every_draw_is_of_as_many_units_as_there_are():
    ledger = labels(100)
    for plan in (plan_rows(ledger, seed=0), plan_cells(ledger, seed=0)):
        drawn = plan.draws.multiplicity @ plan.size
        assert drawn == pytest.approx(np.full(plan.replicates, 100))


def test_clusters_of_one_are_no_clusters():
    ledger = numbers(200)
    alone = clustered(ledger, np.arange(200))
    low, high = ends(interval_of(ledger, "rmse"))
    assert ends(interval_of(alone, "rmse")) == pytest.approx((low, high), abs=0.1 * (high - low))


def test_clusters_that_are_alike_widen():
    """Ten copies of each row, said to belong together, are worth no more than the rows."""
    rows = take(numbers(60), np.repeat(np.arange(60), 10))
    rows = regression_ledger(rows["target"], rows["prediction"])
    low, high = ends(interval_of(numbers(60), "mae"))
    together = ends(interval_of(clustered(rows, np.repeat(np.arange(60), 10)), "mae"))
    assert together == pytest.approx((low, high), abs=0.1 * (high - low))
    apart = ends(interval_of(rows, "mae"))
    assert apart[1] - apart[0] < (high - low) / 2


def test_whole_weights_are_copies_to_the_value_and_not_to_the_interval():
    weights = np.random.default_rng(0).integers(1, 4, size=100)
    ledger = numbers(100)
    copies = take(ledger, np.repeat(np.arange(100), weights))
    copies = clustered(
        regression_ledger(copies["target"], copies["prediction"]),
        np.repeat(np.arange(100), weights),
    )
    low, high = ends(interval_of(weighted(ledger, weights), "rmse"))
    assert ends(interval_of(copies, "rmse")) == pytest.approx((low, high), abs=0.1 * (high - low))


@pytest.mark.parametrize("factor", [1e-320, 1e-300, 1e300])
def test_only_the_ratio_of_weights_matters(factor):
    ledger, weights = labels(60), np.arange(1, 61) / 61
    plain = interval_of(weighted(ledger, np.ones(60) * 0.5), "f1_macro")
    scaled = interval_of(weighted(ledger, np.ones(60) * factor), "f1_macro")
    assert ends(scaled) == pytest.approx(ends(plain))
    if factor != 1e-320:  # which has no digits left for ratios
        assert ends(interval_of(weighted(ledger, weights * factor), "f1_macro")) == pytest.approx(
            ends(interval_of(weighted(ledger, weights), "f1_macro"))
        )


# --- what has no interval -------------------------------------------------------------------


@pytest.mark.parametrize("n", [1, 2, 9])
def test_few_samples_have_none(n):
    with pytest.raises(NoIntervalError, match=f"{n} independent samples are fewer than 10"):
        interval_of(numbers(n), "mse")


def test_few_clusters_have_none():
    ledger = clustered(numbers(90), np.arange(90) % 9)
    with pytest.raises(NoIntervalError, match="9 independent samples"):
        interval_of(ledger, "mse")


def test_samples_without_weight_are_none():
    weights = np.zeros(1000)
    weights[:5] = 1
    with pytest.raises(NoIntervalError, match="5 independent samples"):
        interval_of(weighted(labels(1000), weights), "log_loss")


def test_a_few_samples_with_all_the_weight_are_few():
    weights = np.full(1000, 1e-9)
    weights[:3] = 1e9
    with pytest.raises(NoIntervalError, match="3 independent samples"):
        interval_of(weighted(binary_ledger([1, 0] * 500, [0.9, 0.1] * 500), weights), "log_loss")
    share = interval_of(
        weighted(binary_ledger([1, 0] * 500, [0.9, 0.1] * 500), weights), "accuracy"
    )
    assert share.low == pytest.approx(0.025 ** (1 / 3))


def test_a_metric_that_most_resamples_leave_undefined():
    target = np.zeros(40)
    target[0] = 1
    with pytest.raises(NoIntervalError, match="of the resamples leave the metric undefined"):
        interval_of(regression_ledger(target, np.linspace(0, 1, 40)), "r2")


def test_a_regression_without_any_error_says_nothing_of_what_was_not_seen():
    exact = np.linspace(0, 1, 50)
    with pytest.raises(NoIntervalError, match="all samples are alike, and the metric has no bound"):
        interval_of(regression_ledger(exact, exact), "mae")


UP_TO_HALF = MetricRef(name="auroc", params=(("max_fpr", 0.5),))
RANKINGS = ["auroc", UP_TO_HALF, "average_precision"]
OF_CLASSES = [
    *("auroc", "auroc_macro", "auroc_weighted", "auroc_ovo"),
    *("average_precision", "average_precision_macro", "average_precision_weighted"),
]


@pytest.mark.parametrize("metric", RANKINGS, ids=str)
@pytest.mark.parametrize("rows", [100, 6000])
@pytest.mark.parametrize("positives", [1, 5])
def test_a_ranking_needs_some_of_each_side(positives, rows, metric):
    """One positive among 6,000: its own spread is unknown, however many negatives there are."""
    target = np.zeros(rows, dtype=int)
    target[:positives] = 1
    score = np.linspace(0, 0.9, rows)
    score[:positives] = 0.85
    for side, probability in ((target, score), (1 - target, 1 - score)):
        with pytest.raises(NoIntervalError, match=f"{positives} independent samples are of `yes`"):
            interval_of(binary_ledger(side, probability), metric)


@pytest.mark.parametrize("metric", OF_CLASSES)
def test_a_mean_over_classes_needs_some_of_each(metric):
    ledger = of_classes(rare=5)
    with pytest.raises(NoIntervalError, match="5 independent samples are of `c2`"):
        interval_of(ledger, metric)
    assert interval_of(of_classes(rare=20), metric) is not None


def test_what_does_not_rank_a_rare_class_has_its_interval():
    ledger = of_classes(rare=5)
    assert interval_of(ledger, MetricRef(name="average_precision", of_class="c0")) is not None
    assert interval_of(ledger, "ece_adaptive") is not None


def of_classes(*, rare):
    generator = np.random.default_rng(0)
    target = generator.integers(0, 2, size=6000)
    target[:rare] = 2
    return multiclass_ledger(target, generator.dirichlet(np.ones(3), size=6000))


@pytest.mark.parametrize("metric", RANKINGS, ids=str)
@pytest.mark.parametrize("each", [20, 60])
def test_many_rows_of_few_clusters_are_few(each, metric):
    """Three sick patients of 60 rows each are three."""
    cluster = np.repeat(np.arange(100), each)
    score = np.random.default_rng(0).random(100 * each)
    few, enough = (clustered(binary_ledger(cluster < sick, score), cluster) for sick in (3, 12))
    with pytest.raises(NoIntervalError, match="3 independent samples are of `yes`"):
        interval_of(few, metric)
    assert interval_of(enough, metric) is not None


@pytest.mark.parametrize("metric", RANKINGS, ids=str)
def test_one_sample_with_nearly_all_the_weight_of_its_class_is_one(metric):
    target = np.arange(6000) < 20
    weights = np.ones(6000)
    ledger = binary_ledger(target, np.random.default_rng(0).random(6000))
    assert interval_of(weighted(ledger, weights), metric) is not None
    weights[0] = 1000
    with pytest.raises(NoIntervalError, match="1 independent samples are of `yes`"):
        interval_of(weighted(ledger, weights), metric)


def test_a_jackknife_of_few_clusters_is_as_wide_as_so_few_make_it():
    """Of 12 clusters of 500 rows: Student's t at 11 degrees of freedom, and not at 49."""
    ledger, cluster = numbers(6000), np.arange(6000) % 12
    found = interval_of(clustered(ledger, cluster), "spearman")

    def spearman(rows):
        return sp.spearmanr(ledger["target"][rows, 0], ledger["prediction"][rows, 0]).statistic

    without = np.array([spearman(cluster != one) for one in range(12)])
    half = sp.t.ppf(0.975, 11) * np.sqrt(11 * without.var())
    value = spearman(cluster >= 0)
    assert found.method == "jackknife"
    assert ends(found) == pytest.approx((value - half, value + half), rel=1e-9)


# --- what never varies ----------------------------------------------------------------------


@pytest.mark.parametrize("metric", ["accuracy", "f1_macro", "recall_macro", "precision_macro"])
@pytest.mark.parametrize("n", [12, 51])
def test_a_classifier_without_any_error_is_not_certain(metric, n):
    target = np.arange(n) % 3
    found = interval_of(multiclass_ledger(target, np.eye(3)[target]), metric)
    rule_of_three = sp.binomtest(n, n).proportion_ci(0.95).low
    assert found.high == 1
    assert found.low < 1 - (1 - rule_of_three) / 3


@pytest.mark.parametrize("n", [40, 6000])
def test_a_perfect_ranking_is_not_certain(n):
    target = np.arange(n) % 2
    found = interval_of(binary_ledger(target, 0.1 + 0.8 * target), "auroc")
    assert found.high == 1
    assert 0.5 < found.low < 1
    assert found.method == "unseen"


def test_what_never_varies_is_of_the_rows_with_weight():
    """All that counts is wrong; what has no weight is right, and must not lend its value."""
    target = np.arange(100) % 2
    right = np.where(target == 1, 0.9, 0.1)
    ledger = binary_ledger(target, np.where(np.arange(100) < 50, right, 1 - right))
    weights = np.where(np.arange(100) < 50, 0.0, 1.0)
    found = interval_of(weighted(ledger, weights), "f1_macro")
    assert found.low == 0
    assert found.high < 0.2


# --- whatever the ledger --------------------------------------------------------------------


@st.composite
def ledgers(draw):
    n = draw(st.integers(1, 40))
    task = draw(st.sampled_from([Task.BINARY, Task.MULTICLASS, Task.REGRESSION]))
    score = st.sampled_from([0.0, 0.2, 0.5, 0.8, 1.0])
    if task is Task.REGRESSION:
        number = st.sampled_from([0.0, 1.0, -3.0, 1e-300, 1e150])
        drawn = draw(st.lists(st.tuples(number, number), min_size=n, max_size=n))
        ledger = regression_ledger(*np.array(drawn).T)
    elif task is Task.BINARY:
        drawn = draw(st.lists(st.tuples(st.integers(0, 1), score), min_size=n, max_size=n))
        ledger = binary_ledger([t for t, _ in drawn], [p for _, p in drawn])
    else:
        target = draw(st.lists(st.integers(0, 2), min_size=n, max_size=n))
        drawn = draw(st.lists(st.tuples(score, score, score), min_size=n, max_size=n))
        ledger = multiclass_ledger(target, np.array(drawn))
    if draw(st.booleans()):
        weight = st.sampled_from([0.0, 1e-300, 1.0, 2.5, 1e300])
        ledger = weighted(ledger, draw(st.lists(weight, min_size=n, max_size=n)))
    if draw(st.booleans()):
        ledger = clustered(ledger, draw(st.lists(st.integers(0, 30), min_size=n, max_size=n)))
    return ledger


@settings(max_examples=60, deadline=None)
@given(ledgers(), st.sampled_from([0.5, 0.95, 0.9999]))
def test_an_interval_is_two_finite_numbers_in_order_and_in_range(ledger, confidence):
    for name in REGRESSION if ledger.task is Task.REGRESSION else CLASSES:
        info = CATALOG[name]
        try:
            found = interval_of(ledger, name, confidence=confidence)
        except NoIntervalError:
            continue
        if found is None:
            continue
        assert isfinite(found.low)
        assert isfinite(found.high)
        assert info.low - 1e-12 <= found.low <= found.high <= info.high + 1e-12


@pytest.mark.parametrize("confidence", [0.95, 0.995, 0.999])
def test_an_interval_is_as_wide_as_its_confidence_asks(confidence):
    """Of a mean of many rows it is Student's: 2,000 resamples alone end near their own extremes."""
    shares = []
    for seed in range(8):
        ledger = numbers(2_000, seed)
        found = interval_of(ledger, "mae", confidence=confidence)
        errors = np.abs(ledger["target"] - ledger["prediction"])[:, 0]
        wide = 2 * sp.t.ppf((1 + confidence) / 2, 1_999) * errors.std(ddof=1) / np.sqrt(2_000)
        shares.append((found.high - found.low) / wide)
    assert np.mean(shares) == pytest.approx(1, abs=0.03)


def test_a_confidence_that_needs_more_resamples_than_are_drawn_has_no_interval():
    with pytest.raises(NoIntervalError, match=r"0\.9999 needs 200,000 resamples, and 20,000 are"):
        interval_of(numbers(100), "mae", confidence=0.9999)


def test_levels_do_not_turn_round():
    """One unit has all the influence: the acceleration is at its largest, 1/6, and the bias large."""
    n = 12
    alone = np.zeros(n)
    alone[0] = 1.0
    plan = plan_rows(numbers(n), seed=0)

    def statistic(resample: Resample | None):
        if resample is None:
            return np.array([0.9])  # above nearly all resamples, so that the bias is at its end
        return resample.multiplicity.take(resample.group, axis=1) @ alone / n

    found = bca_interval(statistic, plan, confidence=0.9999)
    assert 0 <= found.low <= found.high <= 1
