"""Regression metrics against scikit-learn, torchmetrics, and exact rational arithmetic."""

from fractions import Fraction
from math import sqrt

import numpy as np
import pytest
import torch
from sklearn import metrics as sk
from torchmetrics import functional as tm

from builders.ledgers import regression_ledger
from model_eval.metrics import compute, estimate
from model_eval.metrics.registry import metric_of
from model_eval.metrics.rows import Rows
from model_eval.types import MetricRef, Task

SK = {
    "mse": sk.mean_squared_error,
    "rmse": sk.root_mean_squared_error,
    "mae": sk.mean_absolute_error,
    "r2": sk.r2_score,
}
RNG = np.random.default_rng(20)


def noisy(target, scale=0.3):
    return target + scale * np.random.default_rng(len(target)).normal(size=target.shape)


ONE = RNG.normal(size=(400, 1))
THREE = RNG.normal(size=(250, 3)) * [1, 100, 1e-3] + [0, 5, -2]
CASES = {
    "one output": (ONE, noisy(ONE)),
    "three outputs": (THREE, noisy(THREE)),
    "perfect": (ONE, ONE),
    "worse than the mean": (ONE, -ONE),
    "constant prediction": (ONE, np.zeros_like(ONE)),
    "large offset": (1e8 + ONE, 1e8 + noisy(ONE)),
    "small": (1e-100 * ONE, 1e-100 * noisy(ONE)),
    "large": (1e100 * ONE, 1e100 * noisy(ONE)),
    "two samples": (ONE[:2], noisy(ONE[:2])),
    "one sample": (ONE[:1], noisy(ONE[:1])),
}


def value(ledger, name, weights=None, of_output=None):
    ref = MetricRef(name=name, of_output=of_output)
    return compute(ledger, ref, None if weights is None else weights[None])[0]


@pytest.mark.parametrize("weighting", ["none", "integers", "floats"])
@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize("name", SK)
def test_equals_scikit_learn(name, case, weighting):
    target, prediction = CASES[case]
    rng = np.random.default_rng(3)
    weights = {
        "none": None,
        "integers": rng.integers(1, 5, len(target)).astype(float),
        "floats": rng.gamma(1.0, size=len(target)) + 1e-3,
    }[weighting]
    ledger = regression_ledger(target, prediction)
    if name == "r2" and len(target) == 1:
        assert np.isnan(value(ledger, name, weights))
        return
    expected = SK[name](target, prediction, sample_weight=weights)
    np.testing.assert_allclose(value(ledger, name, weights), expected, rtol=1e-9)
    for index, output in enumerate(ledger.outputs):
        one = SK[name](target[:, index], prediction[:, index], sample_weight=weights)
        np.testing.assert_allclose(value(ledger, name, weights, output), one, rtol=1e-9)


@pytest.mark.parametrize("case", ["one output", "three outputs", "perfect", "two samples"])
def test_equals_torchmetrics(case):
    target, prediction = CASES[case]
    ledger = regression_ledger(target, prediction)
    theirs = torch.from_numpy(prediction), torch.from_numpy(target)
    k = target.shape[1]
    expected = {
        "mse": tm.mean_squared_error(*theirs, num_outputs=k).mean(),
        "rmse": tm.mean_squared_error(*theirs, squared=False, num_outputs=k).mean(),
        "mae": tm.mean_absolute_error(*theirs, num_outputs=k).mean(),
        "r2": tm.r2_score(*theirs),
    }
    for name, number in expected.items():
        np.testing.assert_allclose(value(ledger, name), number.item(), rtol=1e-9, atol=1e-15)


def exact(target, prediction):
    """The four metrics in rational arithmetic, rounded once at the end (rmse: twice)."""
    t, p = ([Fraction(x) for x in values] for values in (target, prediction))
    n = len(t)
    mse = sum((a - b) ** 2 for a, b in zip(t, p, strict=True)) / n
    mean = sum(t) / n
    total = sum((a - mean) ** 2 for a in t) / n
    mae = sum(abs(a - b) for a, b in zip(t, p, strict=True)) / n
    return {"mse": float(mse), "mae": float(mae), "r2": float(1 - mse / total)}, mse


@pytest.mark.parametrize("offset", [0.0, 1e6, 1e12, -3e14])
def test_a_large_offset_costs_no_digits(offset):
    rng = np.random.default_rng(7)
    target = offset + rng.normal(size=1000)
    prediction = target + 0.5 * rng.normal(size=1000)
    ledger = regression_ledger(target, prediction)
    expected, mse = exact(target, prediction)
    for name, number in expected.items():
        assert value(ledger, name) == pytest.approx(number, rel=1e-12)
    assert value(ledger, "rmse") == pytest.approx(sqrt(mse), rel=1e-12)


@pytest.mark.parametrize("scale", [1e-300, 1e-200, 1e-160, 1e160, 1e300])
def test_squares_beyond_the_range_of_float64_spoil_neither_r2_nor_rmse(scale):
    target, prediction = np.array([1.0, 2, 4, 8]), np.array([1.5, 2, 3, 8])
    plain = regression_ledger(target, prediction)
    scaled = regression_ledger(target * scale, prediction * scale)
    assert value(scaled, "r2") == pytest.approx(value(plain, "r2"), rel=1e-12)
    assert value(scaled, "rmse") == pytest.approx(value(plain, "rmse") * scale, rel=1e-12)


def test_the_mean_square_error_of_large_errors_has_no_value():
    found = estimate(regression_ledger([0.0, 0], [1e200, 0]), MetricRef(name="mse"))
    assert (found.value, found.undefined) == (None, "the value is too large for a float64")


@pytest.mark.parametrize("name", ["mse", "rmse", "mae", "r2"])
def test_errors_that_overflow_have_no_value(name):
    target, prediction = [1e308, -1e308, 0], [-1e308, 1e308, 0]
    found = estimate(regression_ledger(target, prediction), MetricRef(name=name))
    assert (found.value, found.undefined) == (None, "the value is too large for a float64")


@pytest.mark.parametrize("constant", [0.0, 0.1, 1e-320, 1e300, -7.3])
@pytest.mark.parametrize("n", [1, 3, 10, 1001])
def test_constant_targets_have_no_r2(constant, n):
    target = np.full(n, constant)
    prediction = target + np.linspace(0, 1, n)
    found = estimate(regression_ledger(target, prediction), MetricRef(name="r2"))
    assert found.value is None
    assert found.undefined == "the targets are constant or there are fewer than two samples"


def test_one_constant_output_leaves_the_mean_without_r2():
    target = np.stack([np.arange(5.0), np.full(5, 0.1)], axis=1)
    ledger = regression_ledger(target, target + 1, outputs=["height", "width"])
    assert np.isnan(value(ledger, "r2"))
    assert np.isnan(value(ledger, "r2", of_output="width"))
    assert value(ledger, "r2", of_output="height") == pytest.approx(0.5)


def test_targets_that_differ_in_the_last_bit_are_not_constant():
    target = np.array([0.1, np.nextafter(0.1, 1)] * 5)
    assert value(regression_ledger(target, target), "r2") == 1
    assert value(regression_ledger(target, target[::-1]), "r2") == pytest.approx(-3)


def test_a_huge_row_of_weight_zero_takes_no_digits_from_the_others():
    target, prediction = np.array([1e300, 1, 2, 3]), np.array([-1e308, 1.5, 2, 3])
    ledger = regression_ledger(target, prediction)
    rest = regression_ledger(target[1:], prediction[1:])
    for name in SK:
        assert value(ledger, name, np.array([0.0, 1, 1, 1])) == value(rest, name)


def test_a_million_rows_keep_twelve_digits():
    rng = np.random.default_rng(9)
    error = rng.uniform(0.1, 0.3, 1_000_000)
    target = rng.normal(size=1_000_000)
    found = value(regression_ledger(np.zeros_like(error), error), "mse")
    wide = (error.astype(np.longdouble) ** 2).mean()
    assert abs(found - wide) / wide < 1e-12
    r2 = value(regression_ledger(target, target + error), "r2")
    t = target.astype(np.longdouble)
    assert r2 == pytest.approx(float(1 - wide * len(t) / ((t - t.mean()) ** 2).sum()), rel=1e-12)


def test_together_metrics_are_what_each_is_alone_and_sums_are_taken_once(monkeypatch):
    """Of three outputs under four weightings: squared errors, spreads, and errors around their mean."""
    names = [*SK, "explained_variance", "pearson", "mape"]
    ledger = regression_ledger(*CASES["three outputs"])
    weights = np.random.default_rng(4).gamma(1.0, size=(4, len(ledger)))
    alone = {name: compute(ledger, MetricRef(name=name), weights) for name in names}

    taken = []
    moments = Rows.moments

    def counted(self, values, *, central=False):
        taken.append(central)
        return moments(self, values, central=central)

    monkeypatch.setattr(Rows, "moments", counted)
    rows = Rows(ledger, weights)
    for name in names:
        metric = metric_of(MetricRef(name=name), Task.REGRESSION)
        np.testing.assert_array_equal(metric.whole(rows), alone[name])
    assert (taken.count(False), taken.count(True)) == (3, 6)


@pytest.mark.parametrize("place", [1, 63, 64, 199])
def test_targets_are_constant_only_if_the_last_one_is_too(place):
    target = np.ones((200, 1))
    target[place] += 1
    ledger = regression_ledger(target, noisy(target))
    assert np.isfinite(value(ledger, "r2"))
    assert np.isnan(value(regression_ledger(np.ones((200, 1)), noisy(target)), "r2"))
