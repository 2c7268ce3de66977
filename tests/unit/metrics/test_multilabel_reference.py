"""Multilabel metrics against scikit-learn and torchmetrics, with and without weights."""

import warnings

import numpy as np
import pytest
import torch
from sklearn import metrics as sk
from torchmetrics.functional import classification as tm

from builders.ledgers import multilabel_ledger
from model_eval.metrics import class_rows, compute, confusion_matrix, estimate
from model_eval.metrics.registry import metric_of
from model_eval.metrics.rows import Rows
from model_eval.types import MetricRef, Task

NAMES = ("ant", "bee", "cat", "dog")
RATIOS = {"precision": sk.precision_score, "recall": sk.recall_score, "f1": sk.f1_score}


def drawn(seed, n, *, share=0.4, digits=None):
    rng = np.random.default_rng(seed)
    target = rng.random((n, 4)) < share
    probability = 1 / (1 + np.exp(-rng.normal(size=(n, 4)) - 1.5 * (2 * target - 1)))
    return target, probability if digits is None else np.round(probability, digits)


def with_absent(seed, n):
    """A label that is neither there nor predicted, and one that is predicted only."""
    target, probability = drawn(seed, n)
    target[:, 2:] = False
    probability[:, 3] = 0.1
    return target, probability


SETS = {
    "random": drawn(0, 300),
    "tied": drawn(1, 200, digits=1),
    "rare": drawn(2, 500, share=0.03),
    "one row": (np.array([[1, 0, 1, 0]], bool), np.array([[0.9, 0.2, 0.4, 0.6]])),
    "absent labels": with_absent(3, 120),
    "no label is there": (np.zeros((9, 4), bool), drawn(4, 9)[1]),
    "all right": (drawn(5, 50)[0], drawn(5, 50)[0].astype(float)),
}


@pytest.fixture(autouse=True)
def _quiet():
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


def value(ledger, name, weights=None, **part):
    return compute(ledger, MetricRef(name=name, **part), weights)[0]


@pytest.fixture(params=SETS)
def case(request):
    target, probability = SETS[request.param]
    return target, probability, multilabel_ledger(target, probability, NAMES)


@pytest.fixture(params=[False, True], ids=["plain", "weighted"])
def weights(request, case):
    n = len(case[0])
    return np.random.default_rng(7).random(n) * 3 if request.param else None


def of_rows(weights):
    return None if weights is None else weights[None]


def test_whole_samples(case, weights):
    target, probability, ledger = case
    predicted = probability >= 0.5
    assert value(ledger, "exact_match", of_rows(weights)) == pytest.approx(
        sk.accuracy_score(target, predicted, sample_weight=weights), abs=1e-12
    )
    assert value(ledger, "hamming_loss", of_rows(weights)) == pytest.approx(
        sk.hamming_loss(target, predicted, sample_weight=weights), abs=1e-12
    )
    for name, score in RATIOS.items():
        expected = score(target, predicted, average="samples", sample_weight=weights)
        got = value(ledger, f"{name}_samples", of_rows(weights))
        assert got == pytest.approx(expected, abs=1e-12), name


@pytest.mark.parametrize("name", RATIOS)
def test_ratios(case, weights, name):
    target, probability, ledger = case
    predicted = probability >= 0.5
    options = {"sample_weight": weights, "zero_division": np.nan}
    expected = RATIOS[name](target, predicted, average=None, **options)
    got = [value(ledger, name, of_rows(weights), of_class=one) for one in NAMES]
    np.testing.assert_allclose(got, expected, atol=1e-12, equal_nan=True)
    occurs = (target | predicted).any(axis=0)
    if occurs.any():
        # A label that occurs on one side only has 0, as it has among classes.
        assert value(ledger, f"{name}_macro", of_rows(weights)) == pytest.approx(
            np.nan_to_num(expected)[occurs].mean(), abs=1e-12
        )
    for average in ("micro", "weighted"):
        options["zero_division"] = np.nan if average == "micro" else 0
        wanted = RATIOS[name](target, predicted, average=average, **options)
        got = value(ledger, f"{name}_{average}", of_rows(weights))
        if average == "weighted" and not target.any():
            assert np.isnan(got)
        else:
            assert got == pytest.approx(wanted, abs=1e-12, nan_ok=True), average


@pytest.mark.parametrize("average", ["macro", "micro", "weighted"])
def test_f1_is_torchmetrics_where_every_label_occurs(average):
    target, probability = SETS["random"]
    expected = tm.multilabel_f1_score(
        torch.tensor(probability), torch.tensor(target).long(), num_labels=4, average=average
    )
    got = value(multilabel_ledger(target, probability, NAMES), f"f1_{average}")
    assert got == pytest.approx(float(expected), abs=1e-6)


@pytest.mark.parametrize(
    ("name", "score"),
    [("auroc", sk.roc_auc_score), ("average_precision", sk.average_precision_score)],
)
def test_rankings(case, weights, name, score):
    target, probability, ledger = case
    there, absent = target.any(axis=0), (~target).any(axis=0)
    defined = there & absent if name == "auroc" else there
    found = []
    for label, one in enumerate(NAMES):
        got = value(ledger, name, of_rows(weights), of_class=one)
        if defined[label]:
            wanted = score(target[:, label], probability[:, label], sample_weight=weights)
            assert got == pytest.approx(wanted, abs=1e-9)
        else:
            assert np.isnan(got)
        found.append(got)
    for whole in (name, f"{name}_macro"):
        assert value(ledger, whole, of_rows(weights)) == pytest.approx(
            np.mean(found), abs=1e-12, nan_ok=True
        )
    if defined.all():
        wanted = score(target, probability, average="weighted", sample_weight=weights)
        got = value(ledger, f"{name}_weighted", of_rows(weights))
        assert got == pytest.approx(wanted, abs=1e-9)


def test_log_loss_is_the_mean_of_binary_cross_entropies(case):
    target, probability, ledger = case
    losses = [
        sk.log_loss(target[:, label], probability[:, label], labels=[False, True])
        for label in range(4)
    ]
    assert value(ledger, "log_loss") == pytest.approx(np.mean(losses), rel=1e-9)


def test_labels_have_rows_and_no_confusion_matrix():
    target, probability = SETS["absent labels"]
    ledger = multilabel_ledger(target, probability, NAMES)
    rows = class_rows(ledger)
    assert [row.name for row in rows] == list(NAMES)
    assert [row.support for row in rows] == target.sum(axis=0).tolist()
    assert [row.predicted for row in rows] == (probability >= 0.5).sum(axis=0).tolist()
    assert [row.f1 is None for row in rows] == [False, False, False, True]
    with pytest.raises(ValueError, match=r"^a multilabel ledger has no class for each sample$"):
        confusion_matrix(ledger)


def test_a_label_that_is_nowhere_says_so():
    ledger = multilabel_ledger(*SETS["absent labels"], NAMES)
    found = estimate(ledger, MetricRef(name="f1", of_class="dog"))
    assert found.undefined == "the class is neither a target nor a prediction"
    found = estimate(ledger, MetricRef(name="average_precision"))
    assert found.undefined == "a class has no samples"


def test_trials_are_whole_samples_or_one_label():
    target, probability = SETS["random"]
    rows = Rows(multilabel_ledger(target, probability, NAMES))
    exact = (target == (probability >= 0.5)).all(axis=1)
    hits, trials = metric_of(MetricRef(name="exact_match"), Task.MULTILABEL).trials(rows)
    assert (hits.tolist(), trials.tolist()) == ([exact.sum()], [len(target)])
    hits, trials = metric_of(MetricRef(name="recall"), Task.MULTILABEL).trials_of_part(rows, 1)
    assert (hits / trials)[0] == sk.recall_score(target[:, 1], probability[:, 1] >= 0.5)
    # A sample's labels are not independent.
    for name in ("precision_micro", "recall_micro", "f1_micro"):
        assert metric_of(MetricRef(name=name), Task.MULTILABEL).trials is None
        assert metric_of(MetricRef(name=name), Task.MULTICLASS).trials is not None
