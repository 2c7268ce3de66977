"""Metrics that a spec brings: what their functions are given, and what they may give."""

import numpy as np
import pytest
from sklearn import metrics as sk

from builders.ledgers import binary_ledger, multiclass_ledger, regression_ledger
from model_eval.errors import UserCodeError
from model_eval.metrics import Weighted, bring, compute, estimates
from model_eval.metrics.registry import Needs, metric_of
from model_eval.spec.eval_spec import CodeRef, CustomMetric
from model_eval.types import Location, MetricRef, Task

HERE = Location(file="spec.yaml", line=3, column=9)
REF = MetricRef(name="profit")
LEDGER = binary_ledger([0, 1, 1, 0], [0.2, 0.9, 0.4, 0.7], ids=["a", "b", "c", "d"])


def spec(**other):
    code = CodeRef(
        text="metrics.py:f", file=None, module="metrics", attribute="f", kwargs={}, location=HERE
    )
    return CustomMetric(
        name="profit", code=code, **{"higher_is_better": None, "rowwise": True} | other
    )


def brought(function, **other):
    return {"profit": bring(spec(**other), function)}


def value(function, weights=None, ledger=LEDGER):
    return compute(ledger, REF, weights, brought=brought(function))


def f1(columns, weights):
    return sk.f1_score(columns["target"], columns["prediction"], sample_weight=weights)


def test_a_function_of_rows_is_like_the_metric_of_our_own():
    rng = np.random.default_rng(0)
    ledger = binary_ledger(rng.integers(0, 2, 50), rng.random(50))
    for weights in (None, rng.random((3, 50)), rng.poisson(1.0, (4, 50)).astype(float)):
        ours = compute(ledger, MetricRef(name="f1"), weights)
        np.testing.assert_allclose(value(f1, weights, ledger), ours, rtol=1e-12)


def test_it_is_reported_beside_the_others():
    refs = (MetricRef(name="accuracy"), REF)
    found = estimates(Weighted(ledger=LEDGER), refs, brought=brought(f1))
    assert [estimate.value for estimate in found] == [0.5, 0.5]
    assert [estimate.undefined for estimate in found] == [None, None]


def test_it_is_given_the_rows_that_are_there_and_cannot_change_them():
    seen = []

    def function(columns, weights):
        seen.append((columns["id"].tolist(), weights.tolist()))
        for array in (*columns.values(), weights):
            with pytest.raises(ValueError, match="read-only"):
                array[:1] = array[:1]
        with pytest.raises(TypeError):
            columns["target"] = weights
        return 1.0

    weights = [[1.0, 0, 2, 0], [0, 0, 0, 0], [1, 1, 1, 1]]
    np.testing.assert_array_equal(value(function, weights), [1, np.nan, 1])
    assert seen == [
        (["a", "c"], [1, 2]),
        (["a", "c"], [1, 2]),  # whether it gives the same value again
        (["a", "b", "c", "d"], [1, 1, 1, 1]),
    ]


def test_rows_without_finite_outputs_are_not_given():
    ledger = binary_ledger([0, 1, 1], [0.2, np.nan, 0.6], finite=[True, False, True])
    lengths = []

    def function(columns, weights):
        lengths.append({len(array) for array in (*columns.values(), weights)})
        return len(weights)

    np.testing.assert_array_equal(value(function, [[1, 0, 1], [1, 1, 1]], ledger), [2, np.nan])
    assert lengths[0] == {2}
    [found] = estimates(Weighted(ledger=ledger), (REF,), brought=brought(function))
    assert found.value is None
    assert found.undefined == "1 of 3 samples have outputs that are not finite (first id: 1)"


@pytest.mark.parametrize("given", [1, 0.5, np.float32(0.5), np.int64(3), np.array(0.25)])
def test_one_number_is_a_value(given):
    assert value(lambda *_: given).tolist() == [float(given)]


@pytest.mark.parametrize(
    ("given", "what"),
    [
        (None, "None"),
        ("0.5", "a str"),
        (True, "a bool"),
        (1j, "a complex"),
        ([0.5], "shape (1,)"),
        (np.ones((2, 3)), "shape (2, 3)"),
        ({"value": 1.0}, "a dict"),
        ([[1], [2, 3]], "a list"),
    ],
)
def test_anything_else_is_an_error(given, what):
    with pytest.raises(UserCodeError) as raised:
        value(lambda *_: given)
    assert str(raised.value.faults[0]) == (
        f"spec.yaml:3:9: `metrics.py:f` gave {what}, and a metric is one number; return a float"
    )


def test_a_function_that_changes_its_mind_is_an_error():
    values = iter([0.25, 0.5])
    with pytest.raises(UserCodeError) as raised:
        value(lambda *_: next(values))
    assert str(raised.value.faults[0]) == (
        "spec.yaml:3:9: `metrics.py:f` gave 0.25 and then 0.5 for the same samples; "
        "make it a function of its arguments alone, or seed it itself"
    )


@pytest.mark.parametrize(
    ("given", "reason"),
    [
        (np.nan, "the function gave NaN"),
        (np.inf, "the value is too large for a float64"),
        (-np.inf, "the value is too large for a float64"),
    ],
)
def test_what_is_not_finite_is_no_value(given, reason):
    [found] = estimates(Weighted(ledger=LEDGER), (REF,), brought=brought(lambda *_: given))
    assert (found.value, found.undefined) == (None, reason)


def test_only_a_function_of_rows_can_be_resampled():
    one, other = (
        metric_of(REF, Task.BINARY, brought(f1, rowwise=rowwise)) for rowwise in (True, False)
    )
    assert (one.needs, one.no_interval) == (Needs.RANKS, None)
    assert (other.needs, other.no_interval) == (
        Needs.EXTREMES,
        "the spec does not say that it is a function of rows (`rowwise: true`)",
    )


@pytest.mark.parametrize("better", [None, True, False])
def test_what_the_spec_says_of_it_is_known(better):
    info = brought(f1, higher_is_better=better)["profit"].info
    assert (info.low, info.high, info.higher_is_better) == (-np.inf, np.inf, better)


def test_it_is_for_every_task_and_has_no_parts():
    for ledger in (multiclass_ledger([0, 1], np.eye(3)[:2]), regression_ledger([1.0], [1.0])):
        assert value(lambda *_: 1, None, ledger).tolist() == [1]
    with pytest.raises(ValueError, match="does not name a metric of a binary task"):
        compute(LEDGER, MetricRef(name="profit", of_class="yes"), brought=brought(f1))
    with pytest.raises(ValueError, match="a binary task has no metric `profit`"):
        compute(LEDGER, REF)


def test_no_samples_have_no_value_and_no_call():
    empty = binary_ledger([], [])
    [found] = estimates(Weighted(ledger=empty), (REF,), brought=brought(None))
    assert (found.value, found.undefined) == (None, "there are no samples")
