"""The further regression metrics against scikit-learn and scipy."""

import warnings

import numpy as np
import pytest
from scipy import stats
from sklearn import metrics as sk

from builders.ledgers import regression_ledger
from model_eval.metrics import compute, estimate
from model_eval.types import MetricRef

RNG = np.random.default_rng(21)
ONE = RNG.normal(size=(300, 1))
THREE = RNG.normal(size=(200, 3)) * [1, 100, 1e-3] + [0.5, 5, -2]
CASES = {
    "one output": (ONE, ONE + 0.3 * RNG.normal(size=ONE.shape)),
    "three outputs": (THREE, THREE * [0.5, 1.1, 2] + RNG.normal(size=THREE.shape)),
    "tied": (np.round(ONE) + 0.5, np.round(ONE + RNG.normal(size=ONE.shape)) + 0.5),
    "perfect": (ONE, ONE),
    "reversed": (ONE, -ONE),
    "large offset": (1e6 + ONE, 1e6 + ONE + 0.3 * RNG.normal(size=ONE.shape)),
    "small": (1e-100 * ONE, 1e-100 * (ONE + 0.3)),
    "large": (1e100 * ONE, 1e100 * ONE[::-1]),
    "far apart": (1e-60 * ONE, 1e60 * (ONE + ONE[::-1])),
    "two samples": (ONE[:2], ONE[1::-1]),
}


def weightings(n):
    """None, then one vector, then several, some of whose weights are 0."""
    rng = np.random.default_rng(n)
    return [
        None,
        rng.integers(1, 5, (1, n)).astype(float),
        np.stack([rng.gamma(1.0, size=n) + 1e-3, 1 + rng.poisson(1.0, n) % 2, np.ones(n)]),
        rng.poisson(1.0, (3, n)).astype(float) if n > 2 else None,
    ]


def check(case, reference, name, rel=1e-9, **params):
    """Holds the metric of each output, and their mean, against `reference(t, p, weights)`."""
    target, prediction = CASES[case]
    ledger = regression_ledger(target, prediction)
    given = tuple(sorted(params.items()))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for weights in weightings(len(ledger)):
            vectors = np.ones((1, len(ledger))) if weights is None else weights
            each = np.array(
                [
                    [
                        reference(target[v > 0, k], prediction[v > 0, k], v[v > 0])
                        for k in range(target.shape[1])
                    ]
                    for v in vectors
                ]
            )
            for k, output in enumerate(ledger.outputs):
                ref = MetricRef(name=name, of_output=output, params=given)
                np.testing.assert_allclose(
                    compute(ledger, ref, weights), each[:, k], rtol=rel, atol=1e-110
                )
            whole = compute(ledger, MetricRef(name=name, params=given), weights)
            np.testing.assert_allclose(whole, each.mean(axis=1), rtol=rel, atol=1e-110)


SK = {
    "mape": sk.mean_absolute_percentage_error,
    "explained_variance": sk.explained_variance_score,
    "median_absolute_error": sk.median_absolute_error,
}


@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize("name", SK)
def test_equals_scikit_learn(name, case):
    if name == "mape" and case in {"small", "far apart"}:
        pytest.skip("scikit-learn takes targets below 2e-16 for 0")
    check(case, lambda t, p, w: SK[name](t, p, sample_weight=w), name)


@pytest.mark.parametrize("quantile", [0.01, 0.5, 0.9])
@pytest.mark.parametrize("case", CASES)
def test_the_quantile_loss_equals_scikit_learn(case, quantile):
    def reference(t, p, w):
        return sk.mean_pinball_loss(t, p, sample_weight=w, alpha=quantile)

    check(case, reference, "quantile_loss", quantile=quantile)


@pytest.mark.parametrize("case", CASES)
def test_the_largest_error_equals_scikit_learn(case):
    check(case, lambda t, p, _: sk.max_error(t, p), "max_error")


def repeated(values, weights):
    return np.repeat(values, weights.astype(int))


def whole(weights):
    return np.array_equal(weights, np.round(weights))


def correlation(t, p, weights):
    """In extended precision, from the definition; scipy has no weights."""
    t, p, w = (np.asarray(x, np.longdouble) for x in (t, p, weights))
    t, p = (x - np.average(x, weights=w) for x in (t, p))
    return float((w * t * p).sum() / np.sqrt((w * t * t).sum()) / np.sqrt((w * p * p).sum()))


@pytest.mark.parametrize("case", CASES)
def test_pearson_equals_scipy(case):
    def reference(t, p, w):
        # Scaled, because scipy loses what is below 1e-13 of the mean or overflows.
        if whole(w) and case not in {"small", "large", "far apart", "large offset"}:
            return stats.pearsonr(repeated(t, w), repeated(p, w)).statistic
        return correlation(t, p, w)

    check(case, reference, "pearson")


@pytest.mark.parametrize("case", CASES)
def test_spearman_equals_scipy(case):
    def reference(t, p, w):
        if whole(w):
            return stats.spearmanr(repeated(t, w), repeated(p, w)).statistic
        ranks = [[w[x < v].sum() + w[x == v].sum() / 2 for v in x] for x in (t, p)]
        return correlation(*ranks, w)

    check(case, reference, "spearman")


@pytest.mark.parametrize("count", [1, 2, 3, 10])
def test_the_weighted_median_is_that_of_repeated_rows(count):
    rng = np.random.default_rng(count)
    error = rng.integers(0, 4, count).astype(float)
    ledger = regression_ledger(np.zeros(count), error)
    weights = rng.integers(0, 4, (50, count)).astype(float)
    weights[0] = 1
    expected = [np.median(repeated(error, w)) if w.any() else np.nan for w in weights]
    ref = MetricRef(name="median_absolute_error")
    np.testing.assert_array_equal(compute(ledger, ref, weights), expected)


@pytest.mark.parametrize("name", ["pearson", "spearman"])
@pytest.mark.parametrize("constant", [0.0, 0.1, 1e-320, 1e300])
@pytest.mark.parametrize("side", ["target", "prediction"])
def test_constants_have_no_correlation(name, constant, side):
    columns = [np.full(10, constant), np.linspace(0, 1, 10)]
    ledger = regression_ledger(*(columns if side == "target" else columns[::-1]))
    found = estimate(ledger, MetricRef(name=name))
    assert (found.value, found.undefined) == (None, "the targets or the predictions are constant")


def test_constant_targets_have_no_explained_variance():
    found = estimate(
        regression_ledger([0.1] * 10, np.linspace(0, 1, 10)), MetricRef(name="explained_variance")
    )
    assert (found.value, found.undefined) == (
        None,
        "the targets are constant or there are fewer than two samples",
    )


def test_a_target_of_zero_has_no_relative_error():
    ledger = regression_ledger([0.0, 1, 2], [0.0, 1.5, 2])
    found = estimate(ledger, MetricRef(name="mape"))
    assert (found.value, found.undefined) == (None, "a target is 0")
    weights = np.array([[0.0, 1, 1], [1e-9, 1, 1]])
    np.testing.assert_array_equal(compute(ledger, found.metric, weights), [0.25, np.nan])


@pytest.mark.parametrize("name", ["mape", "max_error", "median_absolute_error"])
def test_what_overflows_has_no_value(name):
    found = estimate(regression_ledger([1e-308, 1e308], [1e308, -1e308]), MetricRef(name=name))
    assert (found.value, found.undefined) == (None, "the value is too large for a float64")


@pytest.mark.parametrize("name", ["pearson", "spearman"])
def test_a_huge_row_of_weight_zero_takes_no_digits_from_a_correlation(name):
    target, prediction = np.array([1e300, 1, 2, 4]), np.array([-1e308, 1.5, 2, 3])
    rest = regression_ledger(target[1:], prediction[1:])
    ref = MetricRef(name=name)
    found = compute(regression_ledger(target, prediction), ref, [[0.0, 1, 1, 1]])
    np.testing.assert_allclose(found, compute(rest, ref), rtol=1e-15)
