"""A metric of torchmetrics' on a ledger's columns."""

import sys

import numpy as np
import pytest
import torch
from sklearn import metrics as sk

from builders.ledgers import (
    binary_ledger,
    multiclass_ledger,
    multilabel_ledger,
    regression_ledger,
)
from builders.samples import with_columns
from model_eval.engine import from_torchmetrics
from model_eval.errors import UserCodeError
from model_eval.metrics import bring, compute, estimates, weighted
from model_eval.spec.eval_spec import CodeRef, CustomMetric
from model_eval.types import Location, MetricRef, Task

HERE = Location(file="spec.yaml", line=3, column=9)
RNG = np.random.default_rng(0)
MULTICLASS = multiclass_ledger(RNG.integers(0, 3, 60), RNG.dirichlet(np.ones(3), 60))
BINARY = binary_ledger(RNG.integers(0, 2, 60), RNG.random(60))
ONE = regression_ledger(RNG.normal(size=60), RNG.normal(size=60))
TWO = regression_ledger(RNG.normal(size=(60, 2)), RNG.normal(size=(60, 2)))


def named(text, **kwargs):
    module, _, attribute = text.rpartition(".")
    return CodeRef(
        text=text, file=None, module=module, attribute=attribute, kwargs=kwargs, location=HERE
    )


def brought(ledger, text, **kwargs):
    code = named(text, **kwargs)
    custom = CustomMetric(name=text, code=code, higher_is_better=True, rowwise=True)
    return {text: bring(custom, from_torchmetrics(code, task=ledger.task))}


def value(ledger, text, weights=None, **kwargs):
    known = brought(ledger, text, **kwargs)
    return compute(ledger, MetricRef(name=text), weights, brought=known)


def jaccard(ledger, rows):
    return sk.jaccard_score(ledger["target"][rows], ledger["prediction"][rows], average="macro")


def test_whole_weights_are_repeated_rows():
    weights = RNG.poisson(1.0, (5, 60)).astype(float)
    kwargs = {"task": "multiclass", "num_classes": 3}
    found = value(MULTICLASS, "torchmetrics.JaccardIndex", weights, **kwargs)
    expected = [jaccard(MULTICLASS, np.repeat(np.arange(60), w.astype(int))) for w in weights]
    np.testing.assert_allclose(found, expected, rtol=1e-6)
    plain = value(MULTICLASS, "torchmetrics.JaccardIndex", **kwargs)
    np.testing.assert_allclose(plain, [jaccard(MULTICLASS, slice(None))], rtol=1e-6)


def test_whole_weights_of_samples_are_repeated_rows():
    times = RNG.integers(0, 4, 60)
    text = "torchmetrics.AUROC"
    known = brought(BINARY, text, task="binary")
    sample = weighted(with_columns(BINARY, weight=times.astype(float)))
    [found] = estimates(sample, [MetricRef(name=text)], brought=known)
    rows = np.repeat(np.arange(60), times)
    expected = sk.roc_auc_score(BINARY["target"][rows], BINARY["probability"][rows])
    assert found.value == pytest.approx(expected, rel=1e-6)


def test_weights_that_would_be_too_many_rows_are_refused():
    weights = np.full((1, 60), 2.0**60)
    assert refusal("torchmetrics.AUROC", weights=weights, task="binary") == (
        "spec.yaml:3:9: `torchmetrics.AUROC` is given each row as often as it weighs, and that is "
        "6.9e+19 rows; write smaller weights, or take a metric that is given weights"
    )


def test_other_weights_have_no_value():
    weights = np.stack([np.full(60, 0.5), np.ones(60)])
    found = value(BINARY, "torchmetrics.AUROC", weights, task="binary")
    expected = sk.roc_auc_score(BINARY["target"], BINARY["probability"])
    np.testing.assert_allclose(found, [np.nan, expected], rtol=1e-6)


@pytest.mark.parametrize("ledger", [ONE, TWO], ids=["one output", "two outputs"])
@pytest.mark.parametrize("name", ["torchmetrics.R2Score", "torchmetrics.regression.R2Score"])
def test_regressions(name, ledger):
    expected = sk.r2_score(ledger["target"], ledger["prediction"])
    assert value(ledger, name)[0] == pytest.approx(expected, rel=1e-9)


def refusal(text, ledger=BINARY, weights=None, **kwargs):
    with pytest.raises(UserCodeError) as raised:
        value(ledger, text, weights, **kwargs)
    return str(raised.value.faults[0])


@pytest.mark.parametrize("name", ["JaccardIndx", "functional", "MetricCollection"])
def test_what_is_no_metric_is_refused(name):
    assert refusal(f"torchmetrics.{name}") == (
        f"spec.yaml:3:9: `torchmetrics.{name}` is not a metric of torchmetrics'; "
        "name a class, for example `torchmetrics.JaccardIndex`"
    )


def test_what_it_raises_is_said_with_its_name():
    said = refusal("torchmetrics.JaccardIndex", task="multiclass")
    assert said.startswith("spec.yaml:3:9: `torchmetrics.JaccardIndex` raised ")


def test_several_numbers_are_no_metric():
    kwargs = {"task": "multiclass", "num_classes": 3, "average": "none"}
    assert refusal("torchmetrics.Recall", MULTICLASS, **kwargs) == (
        "spec.yaml:3:9: `torchmetrics.Recall` gave shape (3,), and a metric is one number; "
        "return a float"
    )


def test_a_module_that_is_not_there():
    assert "cannot be imported: ModuleNotFoundError" in refusal("torchmetrics.nothing.Here")


def test_without_torchmetrics_the_remedy_is_the_extra(monkeypatch):
    monkeypatch.setitem(sys.modules, "torchmetrics", None)
    with pytest.raises(UserCodeError) as raised:
        from_torchmetrics(named("torchmetrics.JaccardIndex"), task=Task.BINARY)
    assert str(raised.value.faults[0]) == (
        "spec.yaml:3:9: `torchmetrics.JaccardIndex` needs torchmetrics, which is not installed; "
        "install `model-eval-action[torchmetrics]`, or `torchmetrics` in your image"
    )


def test_the_ledgers_columns_are_not_changed():
    before = {name: column.copy() for name, column in ONE.columns.items()}
    value(ONE, "torchmetrics.MeanSquaredError")
    for name, column in before.items():
        np.testing.assert_array_equal(ONE[name], column)


@pytest.mark.parametrize("task", [Task.SEGMENTATION, Task.LANGUAGE_MODELING])
def test_ledgers_without_outputs_are_refused(task):
    with pytest.raises(UserCodeError) as raised:
        from_torchmetrics(named("torchmetrics.JaccardIndex"), task=task)
    assert str(raised.value.faults[0]) == (
        "spec.yaml:3:9: `torchmetrics.JaccardIndex` needs the outputs of each sample, which the "
        f"ledger of a {task} task lacks; take a metric of model-eval's, or a `callable` over the "
        "ledger's columns"
    )


def test_labels_are_given_side_by_side():
    there, sure = RNG.random((60, 3)) < 0.5, RNG.random((60, 3))
    ledger = multilabel_ledger(there, sure, ("ant", "bee", "cat"))
    kwargs = {"task": "multilabel", "num_labels": 3}
    found = value(ledger, "torchmetrics.AUROC", **kwargs)
    np.testing.assert_allclose(found, [sk.roc_auc_score(there, sure, average="macro")], rtol=1e-6)


def test_the_default_device_of_the_repositorys_code_changes_nothing():
    name = "torchmetrics.MeanAbsoluteError"
    expected = value(ONE, name)
    with torch.device("meta"):
        assert value(ONE, name) == expected
