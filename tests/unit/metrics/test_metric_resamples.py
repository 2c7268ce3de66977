"""Weights that are the same for all rows of a group give what they give one by one."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from builders.any_ledger import CLASSES, OUTPUTS, TAME, ledgers, refs
from builders.ledgers import (
    binary_ledger,
    language_ledger,
    multiclass_ledger,
    multilabel_ledger,
    regression_ledger,
    segmentation_ledger,
)
from model_eval.metrics.registry import REGISTRY, Needs, metric_of
from model_eval.metrics.rows import Resample, Rows
from model_eval.types import Task

IN_GROUPS = {Needs.COUNTS, Needs.SUMS}


def values(rows):
    """Every metric that adds up over groups, under every weight vector."""
    found = []
    ledger = rows.ledger
    with np.errstate(all="ignore"):
        for ref in refs(ledger.task):
            metric = metric_of(ref, ledger.task)
            if metric.needs not in IN_GROUPS:
                continue
            if (part := ref.of_class or ref.of_output) is None:
                found.append(metric.whole(rows))
            else:
                names = ledger.outputs or ledger.classes
                found.append(metric.of_part(rows, names.index(part)))
    return np.array(found)[:, rows.defined]


def trials(rows):
    found = []
    for ref in refs(rows.ledger.task):
        metric = metric_of(ref, rows.ledger.task)
        if ref.of_class is None and metric.trials:
            found.append(metric.trials(rows))
        if ref.of_class is not None and metric.trials_of_part:
            found.append(metric.trials_of_part(rows, rows.ledger.classes.index(ref.of_class)))
    return np.array(found)


def assert_same(ledger, group, multiplicity, base, *, rtol=1e-9, atol):
    dense = Rows(ledger, multiplicity[:, group], base=base)
    grouped = Rows(ledger, base=base, resample=Resample(group=group, multiplicity=multiplicity))
    assert np.array_equal(dense.defined, grouped.defined)
    np.testing.assert_allclose(values(grouped), values(dense), rtol=rtol, atol=atol, equal_nan=True)
    np.testing.assert_allclose(trials(grouped), trials(dense), rtol=1e-9)


@given(st.data())
@settings(max_examples=200)
def test_groups_are_the_same_weights_one_by_one(data):
    ledger = data.draw(ledgers(numbers=TAME))
    n = len(ledger)
    groups = data.draw(st.integers(1, n))
    group = np.array(data.draw(st.lists(st.integers(0, groups - 1), min_size=n, max_size=n)))
    rng = np.random.default_rng(data.draw(st.integers(0, 2**32 - 1)))
    multiplicity = rng.poisson(1.0, (4, groups)).astype(float)
    base = data.draw(st.sampled_from([None, rng.integers(0, 3, n).astype(float)]))
    assert_same(ledger, group, multiplicity, base, rtol=1e-8, atol=1e-7)


LARGE = {
    Task.BINARY: lambda rng: binary_ledger(rng.integers(0, 2, 300), rng.random(300)),
    Task.MULTICLASS: lambda rng: multiclass_ledger(
        rng.integers(0, 4, 300), rng.dirichlet(np.ones(4), 300), CLASSES
    ),
    Task.REGRESSION: lambda rng: regression_ledger(
        1e3 + rng.normal(size=(300, 2)), 1e3 + rng.normal(size=(300, 2)), OUTPUTS
    ),
    Task.MULTILABEL: lambda rng: multilabel_ledger(
        rng.random((300, 4)) < 0.5, rng.random((300, 4)), CLASSES
    ),
    Task.SEGMENTATION: lambda rng: segmentation_ledger(
        rng.integers(0, 4, (300, 9)), rng.integers(0, 4, (300, 9)), CLASSES
    ),
    Task.LANGUAGE_MODELING: lambda rng: language_ledger(
        rng.random(300), np.full(300, 5), rng.integers(0, 6, 300), np.full(300, 11)
    ),
}


@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("groups", [1, 7, 300])
@pytest.mark.parametrize("task", Task)
def test_resamples_of_many_rows_keep_nine_digits(task, groups, weighted):
    rng = np.random.default_rng(groups)
    ledger = LARGE[task](rng)
    group = rng.permutation(np.arange(300) % groups)
    multiplicity = rng.multinomial(groups, np.full(groups, 1 / groups), size=20).astype(float)
    base = rng.gamma(1.0, size=300) if weighted else None
    assert_same(ledger, group, multiplicity, base, atol=1e-12)


def test_shares_of_rows_are_their_trials():
    rng = np.random.default_rng(1)
    for make in LARGE.values():
        rows = Rows(make(rng), rng.random((3, 300)))
        for ref in refs(rows.ledger.task):
            metric = metric_of(ref, rows.ledger.task)
            if ref.of_class is None and metric.trials:
                hits, count = metric.trials(rows)
                np.testing.assert_allclose(hits / count, metric.whole(rows), rtol=1e-12)
            if ref.of_class is not None and metric.trials_of_part:
                index = rows.ledger.classes.index(ref.of_class)
                hits, count = metric.trials_of_part(rows, index)
                np.testing.assert_allclose(hits / count, metric.of_part(rows, index), rtol=1e-12)


SUMS = {"mean", "sums", "moments", "correlation", "constant"}
FORBIDDEN = {Needs.COUNTS: {*SUMS, "map", "_batches"}, Needs.SUMS: {"map", "_batches"}}
ONE_LABEL = (Task.BINARY, Task.MULTICLASS, Task.REGRESSION)
"""Where counts are of cells. Those of several labels a row, or pixels, are sums over rows themselves."""


@pytest.mark.parametrize("name", [n for n, m in REGISTRY.items() if m.needs in FORBIDDEN])
def test_a_metric_takes_no_more_from_the_rows_than_it_says(name, monkeypatch):
    def refused(*_args, **_kwargs):
        pytest.fail(f"{name} needs more than {REGISTRY[name].needs}")

    for method in FORBIDDEN[REGISTRY[name].needs]:
        monkeypatch.setattr(Rows, method, refused)
    rng = np.random.default_rng(2)
    for task, make in LARGE.items():
        if REGISTRY[name].needs is Needs.COUNTS and task not in ONE_LABEL:
            continue
        ledger = make(rng)
        resample = Resample(group=np.arange(300) % 7, multiplicity=np.ones((2, 7)))
        rows = Rows(ledger, resample=resample)
        for ref in refs(ledger.task):
            if ref.name == name and ref.of_class is None and ref.of_output is None:
                assert np.isfinite(metric_of(ref, ledger.task).whole(rows)).all()


def test_every_kind_of_need_is_there():
    assert {metric.needs for metric in REGISTRY.values()} == set(Needs)
