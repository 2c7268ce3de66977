"""What holds of every metric of the catalogue, on every ledger."""

from functools import cache

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

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
from model_eval.metrics import Sample, compute, confusion_matrix, estimates
from model_eval.metrics.registry import metric_of
from model_eval.metrics.rows import Resample, Rows
from model_eval.spec.catalog import CATALOG, CLASSIFICATION
from model_eval.types import MetricRef, Task

CLASSES = ("ant", "bee", "cat", "dog")
OUTPUTS = ("height", "width")


@cache
def refs(task):
    """Every metric of a task, with and without each of its parts."""
    found = []
    for info in CATALOG.values():
        if task not in info.tasks:
            continue
        if not info.needs_part or task is Task.BINARY:
            found.append(MetricRef(name=info.name))
        if info.part == "class":
            names = ("no", "yes") if task is Task.BINARY else CLASSES
            found += [MetricRef(name=info.name, of_class=name) for name in names]
        if info.part == "output":
            found += [MetricRef(name=info.name, of_output=name) for name in OUTPUTS]
    return tuple(found)


SCORES = st.sampled_from([0, 5e-324, 1e-300, 0.1, 0.25, 0.5, 0.5 + 1e-16, 0.9, 1 - 1e-16, 1.0])
NUMBERS = st.one_of(
    st.sampled_from([0.0, -0.0, 0.1, 1.0, 1e-320, 1e-170, 1e170, -1e300, 1.7e308]),
    st.floats(-1e6, 1e6),
)


def columns(draw, element, n, k):
    rows = st.lists(element, min_size=k, max_size=k)
    drawn = draw(st.lists(rows, min_size=n, max_size=n))
    return np.array(drawn, dtype=float).reshape(n, k)


@st.composite
def ledgers(draw, numbers=NUMBERS, min_size=1):
    task = draw(st.sampled_from(list(Task)))
    n = draw(st.integers(min_size, 12))
    if task is Task.REGRESSION:
        target = columns(draw, numbers, n, 2)
        return regression_ledger(target, columns(draw, numbers, n, 2), OUTPUTS)
    if task is Task.LANGUAGE_MODELING:
        tokens = draw(st.lists(st.integers(0, 9), min_size=n, max_size=n))
        hits = [draw(st.integers(0, count)) for count in tokens]
        nll = [draw(st.floats(0, 700)) if count else 0.0 for count in tokens]
        return language_ledger(nll, tokens, hits, [3 * count for count in tokens])
    c = 2 if task is Task.BINARY else len(CLASSES)
    if task is Task.SEGMENTATION:
        masks = st.lists(
            st.lists(st.integers(-1, c - 1), min_size=5, max_size=5), min_size=n, max_size=n
        )
        prediction = np.maximum(draw(masks), 0)
        return segmentation_ledger(draw(masks), prediction, CLASSES, ignore_index=-1)
    if task is Task.MULTILABEL:
        there = columns(draw, st.booleans(), n, c)
        return multilabel_ledger(there, columns(draw, SCORES, n, c), CLASSES)
    target = draw(st.lists(st.integers(0, c - 1), min_size=n, max_size=n))
    probability = columns(draw, SCORES, n, c)
    if task is Task.BINARY:
        return binary_ledger(target, probability[:, 1])
    return multiclass_ledger(target, probability, CLASSES)


WHOLE = st.integers(0, 4).map(float)
REAL = st.one_of(WHOLE, st.floats(1e-3, 10))


@st.composite
def weighted(draw, weight=REAL, numbers=NUMBERS):
    ledger = draw(ledgers(numbers=numbers))
    n = len(ledger)
    return ledger, np.array(draw(st.lists(weight, min_size=n, max_size=n)))


TAME = st.floats(-100, 100).map(lambda x: round(x, 3))


def values(ledger, weights=None):
    return np.array(
        [
            compute(ledger, ref, None if weights is None else np.atleast_2d(weights))
            for ref in refs(ledger.task)
        ]
    )


def assert_same(some, others, rel=1e-9):
    """Equal, NaN with NaN. R² far below 0 has an absolute error of its own size, as do all."""
    np.testing.assert_allclose(some, others, rtol=rel, atol=1e-13, equal_nan=True)


@given(ledgers())
def test_values_lie_in_the_catalogues_range(ledger):
    for ref, value in zip(refs(ledger.task), values(ledger)[:, 0], strict=True):
        info = CATALOG[ref.name]
        assert np.isnan(value) or (np.isfinite(value) and info.low <= value <= info.high), ref


@given(weighted())
def test_weighted_values_lie_in_the_catalogues_range(drawn):
    ledger, weights = drawn
    for ref, value in zip(refs(ledger.task), values(ledger, weights)[:, 0], strict=True):
        info = CATALOG[ref.name]
        assert np.isnan(value) or (np.isfinite(value) and info.low <= value <= info.high), ref


@given(ledgers())
def test_an_estimate_has_a_finite_value_or_a_reason(ledger):
    for found in estimates(Sample(ledger=ledger), refs(ledger.task)):
        if found.value is None:
            assert found.undefined
        else:
            assert type(found.value) is float
            assert np.isfinite(found.value)
            assert found.undefined is None
        assert found.n == len(ledger)


@given(ledgers())
def test_no_weights_are_weights_of_one(ledger):
    assert np.array_equal(values(ledger), values(ledger, np.ones(len(ledger))), equal_nan=True)


@given(weighted(numbers=TAME), st.randoms())
def test_the_order_of_the_rows_does_not_matter(drawn, random):
    ledger, weights = drawn
    order = list(range(len(ledger)))
    random.shuffle(order)
    assert_same(values(take(ledger, order), weights[order]), values(ledger, weights))
    assert_same(values(take(ledger, order)), values(ledger))


@given(weighted(weight=WHOLE, numbers=TAME))
def test_a_whole_weight_is_that_many_copies(drawn):
    ledger, weights = drawn
    copies = take(ledger, np.repeat(np.arange(len(ledger)), weights.astype(int)))
    assert_same(values(copies), values(ledger, weights))


@given(weighted(numbers=TAME), st.sampled_from([1e-300, 1e-3, 3.0, 1e307]))
def test_only_the_ratio_of_weights_matters(drawn, factor):
    ledger, weights = drawn
    assert_same(values(ledger, weights * factor), values(ledger, weights))


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
        metric, part = metric_of(ref.name, ledger.task), ref.of_class
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
    together = [found.value for found in estimates(Sample(ledger=ledger), refs(ledger.task))]
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
