"""What holds of every metric of the catalogue, on every ledger."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from builders.any_ledger import CLASSES, NUMBERS, OUTPUTS, TAME, ledgers, refs
from builders.ledgers import (
    binary_ledger,
    language_ledger,
    multiclass_ledger,
    multilabel_ledger,
    regression_ledger,
    segmentation_ledger,
    take,
)
from model_eval.ledger import concatenate
from model_eval.metrics import Weighted, compute, confusion_matrix, estimates
from model_eval.metrics.registry import metric_of
from model_eval.metrics.rows import Resample, Rows
from model_eval.spec.catalog import CATALOG, CLASSIFICATION, narrowed
from model_eval.types import Task

WHOLE = st.integers(0, 4).map(float)
REAL = st.one_of(WHOLE, st.floats(1e-3, 10))


@st.composite
def weighted(draw, weight=REAL, numbers=NUMBERS):
    ledger = draw(ledgers(numbers=numbers))
    n = len(ledger)
    return ledger, np.array(draw(st.lists(weight, min_size=n, max_size=n)))


def values(ledger, weights=None):
    return np.array(
        [
            compute(ledger, ref, None if weights is None else np.atleast_2d(weights))
            for ref in refs(ledger.task)
        ]
    )


def assert_same(some, others, rel=1e-9, atol=1e-13):
    """Equal, NaN with NaN. R² far below 0 has an absolute error of its own size, as do all."""
    np.testing.assert_allclose(some, others, rtol=rel, atol=atol, equal_nan=True)


@given(ledgers())
def test_values_lie_in_the_catalogues_range(ledger):
    for ref, value in zip(refs(ledger.task), values(ledger)[:, 0], strict=True):
        info = narrowed(CATALOG[ref.name], ledger.task, dict(ref.params))
        assert np.isnan(value) or (np.isfinite(value) and info.low <= value <= info.high), ref


@given(weighted())
def test_weighted_values_lie_in_the_catalogues_range(drawn):
    ledger, weights = drawn
    for ref, value in zip(refs(ledger.task), values(ledger, weights)[:, 0], strict=True):
        info = narrowed(CATALOG[ref.name], ledger.task, dict(ref.params))
        assert np.isnan(value) or (np.isfinite(value) and info.low <= value <= info.high), ref


@given(ledgers())
def test_an_estimate_has_a_finite_value_or_a_reason(ledger):
    for found in estimates(Weighted(ledger=ledger), refs(ledger.task)):
        if found.value is None:
            assert found.undefined
        else:
            assert type(found.value) is float
            assert np.isfinite(found.value)
            assert found.undefined is None
        assert found.n == len(ledger)


@given(ledgers())
def test_no_weights_are_weights_of_one(ledger):
    assert_same(values(ledger), values(ledger, np.ones(len(ledger))), rel=1e-14)


@given(weighted(numbers=TAME), st.randoms())
def test_the_order_of_the_rows_does_not_matter(drawn, random):
    ledger, weights = drawn
    order = list(range(len(ledger)))
    random.shuffle(order)
    # A class with 1e-4 of all weight has 1e-12 of the digits of a difference of sums.
    assert_same(values(take(ledger, order), weights[order]), values(ledger, weights), atol=1e-11)
    assert_same(values(take(ledger, order)), values(ledger))


@given(weighted(weight=WHOLE, numbers=TAME))
def test_a_whole_weight_is_that_many_copies(drawn):
    ledger, weights = drawn
    copies = take(ledger, np.repeat(np.arange(len(ledger)), weights.astype(int)))
    assert_same(values(copies), values(ledger, weights))


@given(weighted(numbers=TAME), st.sampled_from([1e-300, 1e-3, 3.0, 1e307]))
def test_only_the_ratio_of_weights_matters(drawn, factor):
    ledger, weights = drawn
    assert_same(values(ledger, weights * factor), values(ledger, weights), atol=1e-11)


@given(weighted())
def test_weight_zero_is_absence(drawn):
    ledger, weights = drawn
    there = weights > 0
    found = values(take(ledger, there), weights[there])
    assert_same(values(ledger, weights), found, rel=1e-12)


@given(weighted())
def test_weight_zero_is_absence_of_rows_without_finite_outputs_too(drawn):
    ledger, weights = drawn
    there = weights > 0
    broken = dict(ledger.columns)
    broken["finite"] = there
    for name in ("probability", "log_loss", "prediction", "nll"):
        if name in broken and broken[name].dtype.kind == "f":
            broken[name] = broken[name].copy()
            broken[name][~there] = np.nan
    spoiled = type(ledger)(
        task=ledger.task, columns=broken, classes=ledger.classes, outputs=ledger.outputs
    )
    found = values(take(ledger, there), weights[there])
    assert_same(values(spoiled, weights), found, rel=1e-12)
    if not there.all():
        assert np.isnan(values(spoiled)).all()
        assert np.isnan(values(spoiled, weights + 1)).all()


@given(st.data())
@settings(max_examples=50)
def test_a_batch_of_weights_is_each_by_itself(data):
    ledger = data.draw(ledgers())
    n = len(ledger)
    count = data.draw(st.integers(0, 5))
    rows = data.draw(
        st.lists(st.lists(REAL, min_size=n, max_size=n), min_size=count, max_size=count)
    )
    batch = np.array(rows, dtype=float).reshape(count, n)
    together = values(ledger, batch)
    assert together.shape == (len(refs(ledger.task)), count)
    for index in range(count):
        assert np.array_equal(
            together[:, index], values(ledger, batch[index])[:, 0], equal_nan=True
        )


@pytest.mark.parametrize("elements", [1, 7, 64])
def test_how_many_vectors_are_computed_at_once_does_not_matter(elements, monkeypatch):
    rng = np.random.default_rng(0)
    weights = rng.poisson(1.0, (9, 20)).astype(float)
    weights[:, 3] = 0
    finite = np.arange(20) != 3
    for ledger in (
        binary_ledger(rng.integers(0, 2, 20), rng.random(20), finite=finite),
        multiclass_ledger(rng.integers(0, 4, 20), rng.dirichlet(np.ones(4), 20), CLASSES),
        regression_ledger(rng.normal(size=(20, 2)), rng.normal(size=(20, 2)), OUTPUTS),
        multilabel_ledger(rng.random((20, 4)) < 0.5, rng.random((20, 4)), CLASSES),
        segmentation_ledger(rng.integers(0, 4, (20, 9)), rng.integers(0, 4, (20, 9)), CLASSES),
        language_ledger(rng.random(20), np.full(20, 5), np.full(20, 3), np.full(20, 11)),
        regression_ledger(
            rng.normal(size=(20, 2)), rng.normal(size=(20, 2)), OUTPUTS, finite=finite
        ),
    ):
        whole = values(ledger, weights)
        assert np.isfinite(whole).any(axis=1).all()
        monkeypatch.setattr("model_eval.metrics.rows.BATCH_ELEMENTS", elements)
        assert np.array_equal(values(ledger, weights), whole, equal_nan=True)
        monkeypatch.undo()


@given(ledgers(numbers=TAME), st.data())
@settings(max_examples=50)
def test_weights_by_groups_are_weights_of_rows(ledger, data):
    """Of the tasks whose rows have several labels, pixels or tokens."""
    if ledger.task in CLASSIFICATION or ledger.task is Task.REGRESSION:
        return
    n = len(ledger)
    group = np.array(data.draw(st.lists(st.integers(0, 3), min_size=n, max_size=n)))
    drawn = st.lists(st.lists(WHOLE, min_size=4, max_size=4), min_size=3, max_size=3)
    resample = Resample(group=group, multiplicity=np.array(data.draw(drawn)))
    for ref in refs(ledger.task):
        metric, part = metric_of(ref, ledger.task), ref.of_class
        index = None if part is None else ledger.classes.index(part)
        found = []
        for rows in (
            Rows(ledger, resample=resample),
            Rows(ledger, resample.multiplicity.take(group, axis=1)),
        ):
            with np.errstate(all="ignore"):
                got = metric.whole(rows) if index is None else metric.of_part(rows, index)
            found.append(np.where(rows.defined & np.isfinite(got), got, np.nan))
        assert_same(*found)


@given(st.data())
@settings(max_examples=50)
def test_ledgers_behind_one_another_are_one_ledger(data):
    ledger = data.draw(ledgers(min_size=2))
    cut = data.draw(st.integers(1, len(ledger) - 1))
    order = np.arange(len(ledger))
    parts = [take(ledger, order[:cut]), take(ledger, order[cut:])]
    assert np.array_equal(values(concatenate(parts)), values(ledger), equal_nan=True)


@given(ledgers())
@settings(max_examples=50)
def test_metrics_that_share_rows_are_as_by_themselves(ledger):
    together = [found.value for found in estimates(Weighted(ledger=ledger), refs(ledger.task))]
    alone = [None if np.isnan(value) else value for value in values(ledger)[:, 0]]
    assert together == alone


@given(ledgers(), st.integers(0, 2**32 - 1))
@settings(max_examples=50)
def test_the_confusion_matrix_has_the_counts(ledger, seed):
    if ledger.task not in CLASSIFICATION:
        return
    weights = np.random.default_rng(seed).integers(0, 3, (2, len(ledger)))
    for given_weights in (None, weights):
        matrix = confusion_matrix(ledger, given_weights)
        counts = Rows(ledger, given_weights).counts
        np.testing.assert_array_equal(np.diagonal(matrix, axis1=1, axis2=2), counts.hits)
        np.testing.assert_array_equal(matrix.sum(axis=2), counts.support)
        np.testing.assert_array_equal(matrix.sum(axis=1), counts.predicted)
