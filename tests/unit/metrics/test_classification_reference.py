"""Classification metrics against scikit-learn and torchmetrics, on inputs that break formulas."""

import warnings

import numpy as np
import pytest
import torch
from sklearn import metrics as sk
from torchmetrics.functional import classification as tm

from builders.ledgers import binary_ledger, multiclass_ledger
from model_eval.metrics import compute, confusion_matrix
from model_eval.types import MetricRef

RATIOS = ("precision", "recall", "f1")
SK_RATIOS = {"precision": sk.precision_score, "recall": sk.recall_score, "f1": sk.f1_score}
AREAS = {"auroc": sk.roc_auc_score, "average_precision": sk.average_precision_score}


@pytest.fixture(autouse=True)
def _quiet():
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


def softmax(logits):
    scores = np.exp(logits - logits.max(axis=1, keepdims=True))
    return scores / scores.sum(axis=1, keepdims=True)


def drawn(seed, n, c, *, shift=1.0, p=None):
    rng = np.random.default_rng(seed)
    target = rng.choice(c, size=n, p=p)
    logits = rng.normal(size=(n, c))
    logits[np.arange(n), target] += shift
    return target, softmax(logits)


def rounded(target, probability, digits=1):
    return target, np.round(probability, digits)


def one_hot(prediction, c):
    return np.eye(c)[prediction]


MULTICLASS = {
    "random": drawn(0, 500, 5),
    "tied": rounded(*drawn(1, 400, 4)),
    "all tied": (np.arange(60) % 3, np.full((60, 3), 1 / 3)),
    "imbalanced": drawn(2, 1000, 4, p=[0.97, 0.01, 0.01, 0.01]),
    "one class of several": (np.full(30, 1), drawn(3, 30, 3)[1]),
    "single sample, right": (np.array([2]), np.array([[0.1, 0.2, 0.7]])),
    "single sample, wrong": (np.array([0]), np.array([[0.1, 0.2, 0.7]])),
    "absent class": (drawn(4, 200, 3)[0], np.pad(drawn(4, 200, 3)[1], ((0, 0), (0, 2)))),
    "predicted but never a target": (np.arange(90) % 2, drawn(5, 90, 4)[1]),
    "extreme": (np.arange(80) % 4, one_hot((np.arange(80) * 7 // 3) % 4, 4)),
    "extreme and small": (
        np.arange(6) % 2,
        np.array([[1 - 1e-16, 1e-300], [1, 5e-324], [1e-17, 1], [1e-300, 1], [0, 1], [1, 0]]),
    ),
    "perfect": (np.arange(50) % 5, one_hot(np.arange(50) % 5, 5)),
    "all wrong": (np.arange(50) % 5, one_hot((np.arange(50) + 1) % 5, 5)),
    "many classes": drawn(6, 300, 120),
}

BINARY = {
    "random": (drawn(10, 500, 2)[0], drawn(10, 500, 2)[1][:, 1]),
    "tied": (drawn(11, 300, 2)[0], np.round(drawn(11, 300, 2)[1][:, 1], 1)),
    "all tied": (np.arange(40) % 2, np.full(40, 0.5)),
    "imbalanced": (
        drawn(12, 2000, 2, p=[0.995, 0.005])[0],
        drawn(12, 2000, 2, p=[0.995, 0.005])[1][:, 1],
    ),
    "all positive": (np.ones(20, int), np.linspace(0, 1, 20)),
    "all negative": (np.zeros(20, int), np.linspace(0, 1, 20)),
    "single positive": (np.array([1]), np.array([0.5])),
    "single negative": (np.array([0]), np.array([0.5])),
    "nothing predicted": (np.arange(20) % 2, np.linspace(0, 0.4, 20)),
    "extreme": (
        np.array([0, 0, 1, 1, 0, 1]),
        np.array([0, 5e-324, 1e-300, 1 - 1e-16, 1, 1]),
    ),
    "perfect": (np.arange(20) // 10, np.arange(20) / 19),
    "reversed": (1 - np.arange(20) // 10, np.arange(20) / 19),
}


def weightings(n):
    rng = np.random.default_rng(n)
    return {
        "none": None,
        "integers": rng.integers(1, 5, n).astype(float),
        "floats": rng.gamma(1.0, size=n) + 1e-3,
    }


WEIGHTINGS = ("none", "integers", "floats")


def value(ledger, name, weights, of_class=None):
    ref = MetricRef(name=name, of_class=of_class)
    return compute(ledger, ref, None if weights is None else weights[None])[0]


def agree(ours, theirs, rel=1e-9):
    assert ours == pytest.approx(theirs, rel=rel, abs=1e-15)


@pytest.mark.parametrize("weighting", WEIGHTINGS)
@pytest.mark.parametrize("case", MULTICLASS)
def test_multiclass_counts_equal_scikit_learn(case, weighting):
    target, probability = MULTICLASS[case]
    weights = weightings(len(target))[weighting]
    ledger = multiclass_ledger(target, probability)
    prediction = probability.argmax(axis=1)
    agree(
        value(ledger, "accuracy", weights),
        sk.accuracy_score(target, prediction, sample_weight=weights),
    )
    for name in RATIOS:
        for average in ("macro", "micro", "weighted"):
            agree(
                value(ledger, f"{name}_{average}", weights),
                SK_RATIOS[name](target, prediction, average=average, sample_weight=weights),
            )
        each = SK_RATIOS[name](
            target,
            prediction,
            labels=range(len(ledger.classes)),
            average=None,
            sample_weight=weights,
            zero_division=np.nan,
        )
        ours = [value(ledger, name, weights, of_class=label) for label in ledger.classes]
        np.testing.assert_allclose(ours, each, rtol=1e-9, equal_nan=True)


@pytest.mark.parametrize("case", MULTICLASS)
def test_multiclass_counts_equal_torchmetrics(case):
    target, probability = MULTICLASS[case]
    ledger = multiclass_ledger(target, probability)
    c = len(ledger.classes)
    theirs = torch.from_numpy(probability.argmax(axis=1)), torch.from_numpy(target)
    functions = {
        "precision": tm.multiclass_precision,
        "recall": tm.multiclass_recall,
        "f1": tm.multiclass_f1_score,
    }
    accuracy = tm.multiclass_accuracy(*theirs, num_classes=c, average="micro")
    agree(value(ledger, "accuracy", None), accuracy.item(), rel=1e-6)  # they divide in float32
    for name, function in functions.items():
        for average in ("macro", "micro", "weighted"):
            expected = function(*theirs, num_classes=c, average=average).item()
            agree(value(ledger, f"{name}_{average}", None), expected, rel=1e-6)
    matrix = tm.multiclass_confusion_matrix(*theirs, num_classes=c).numpy()
    ours = confusion_matrix(ledger)
    assert ours.dtype == np.int64
    np.testing.assert_array_equal(ours[0], matrix)


@pytest.mark.parametrize("weighting", WEIGHTINGS)
@pytest.mark.parametrize("case", MULTICLASS)
@pytest.mark.parametrize("name", AREAS)
def test_multiclass_areas_equal_scikit_learn(name, case, weighting):
    target, probability = MULTICLASS[case]
    weights = weightings(len(target))[weighting]
    ledger = multiclass_ledger(target, probability)
    support = np.bincount(target, weights=weights, minlength=len(ledger.classes))
    undefined = support == 0
    if name == "auroc":
        undefined |= support == support.sum()
    each = np.array(
        [
            np.nan
            if undefined[index]
            else AREAS[name](target == index, probability[:, index], sample_weight=weights)
            for index in range(len(support))
        ]
    )
    ours = [value(ledger, name, weights, of_class=label) for label in ledger.classes]
    np.testing.assert_allclose(ours, each, rtol=1e-9, atol=1e-15, equal_nan=True)
    for macro in (name, f"{name}_macro"):
        np.testing.assert_allclose(value(ledger, macro, weights), each.mean(), rtol=1e-9)
    expected = sum(s * v for s, v in zip(support, each, strict=True) if s > 0) / support.sum()
    np.testing.assert_allclose(value(ledger, f"{name}_weighted", weights), expected, rtol=1e-9)


@pytest.mark.parametrize("weighting", WEIGHTINGS)
@pytest.mark.parametrize("average", ["macro", "weighted"])
def test_multiclass_auroc_equals_scikit_learns_own_average(average, weighting):
    target, probability = MULTICLASS["random"]
    weights = weightings(len(target))[weighting]
    expected = sk.roc_auc_score(
        target, probability, multi_class="ovr", average=average, sample_weight=weights
    )
    agree(value(multiclass_ledger(target, probability), f"auroc_{average}", weights), expected)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("average", ["macro", "weighted"])
@pytest.mark.parametrize("case", ["random", "tied", "all tied", "imbalanced", "perfect"])
def test_multiclass_areas_equal_torchmetrics(case, average, dtype):
    target, probability = MULTICLASS[case]
    probability = probability.astype(dtype)
    ledger = multiclass_ledger(target, probability, dtype=dtype)
    theirs = torch.from_numpy(probability), torch.from_numpy(target)
    for name, function in {
        "auroc": tm.multiclass_auroc,
        "average_precision": tm.multiclass_average_precision,
    }.items():
        expected = function(*theirs, num_classes=len(ledger.classes), average=average).item()
        agree(value(ledger, f"{name}_{average}", None), expected, rel=1e-6)


@pytest.mark.parametrize("weighting", WEIGHTINGS)
@pytest.mark.parametrize("case", BINARY)
def test_binary_equals_scikit_learn(case, weighting):
    target, probability = BINARY[case]
    weights = weightings(len(target))[weighting]
    ledger = binary_ledger(target, probability)
    prediction = ledger["prediction"]
    agree(
        value(ledger, "accuracy", weights),
        sk.accuracy_score(target, prediction, sample_weight=weights),
    )
    for name in RATIOS:
        positive = SK_RATIOS[name](target, prediction, sample_weight=weights, zero_division=np.nan)
        ours = value(ledger, name, weights)
        np.testing.assert_allclose(ours, positive, rtol=1e-9, equal_nan=True)
        assert np.array_equal(ours, value(ledger, name, weights, "yes"), equal_nan=True)
        negative = SK_RATIOS[name](
            target, prediction, pos_label=0, sample_weight=weights, zero_division=np.nan
        )
        np.testing.assert_allclose(
            value(ledger, name, weights, "no"), negative, rtol=1e-9, equal_nan=True
        )
        for average in ("macro", "micro", "weighted"):
            agree(
                value(ledger, f"{name}_{average}", weights),
                SK_RATIOS[name](target, prediction, average=average, sample_weight=weights),
            )
    both = 0 < target.sum() < len(target)
    for name, function in AREAS.items():
        for label, score, index in (("yes", probability, 1), ("no", -probability, 0)):
            defined = both if name == "auroc" else (target == index).any()
            expected = (
                function(target == index, score, sample_weight=weights) if defined else np.nan
            )
            ours = value(ledger, name, weights, label)
            np.testing.assert_allclose(ours, expected, rtol=1e-9, atol=1e-15, equal_nan=True)
        assert np.array_equal(
            value(ledger, name, weights), value(ledger, name, weights, "yes"), equal_nan=True
        )


@pytest.mark.parametrize("case", BINARY)
def test_binary_equals_torchmetrics(case):
    target, probability = BINARY[case]
    ledger = binary_ledger(target, probability)
    labels = torch.from_numpy(target)
    decided = torch.from_numpy(ledger["prediction"])
    functions = {
        "precision": tm.binary_precision,
        "recall": tm.binary_recall,
        "f1": tm.binary_f1_score,
    }
    agree(value(ledger, "accuracy", None), tm.binary_accuracy(decided, labels).item(), rel=1e-6)
    for name, function in functions.items():
        ours = value(ledger, name, None)
        if not np.isnan(ours):  # they say 0 where it is 0/0
            agree(ours, function(decided, labels).item(), rel=1e-6)
    if 0 < target.sum() < len(target):
        scores = torch.from_numpy(probability)
        agree(value(ledger, "auroc", None), tm.binary_auroc(scores, labels).item(), rel=1e-6)
        expected = tm.binary_average_precision(scores, labels).item()
        agree(value(ledger, "average_precision", None), expected, rel=1e-6)
    np.testing.assert_array_equal(
        confusion_matrix(ledger)[0], tm.binary_confusion_matrix(decided, labels).numpy()
    )


@pytest.mark.parametrize("weighting", WEIGHTINGS)
@pytest.mark.parametrize("case", ["random", "imbalanced", "extreme", "all wrong", "perfect"])
def test_log_loss_equals_scikit_learn_and_torch(case, weighting):
    target, probability = MULTICLASS[case]
    weights = weightings(len(target))[weighting]
    ours = value(multiclass_ledger(target, probability), "log_loss", weights)
    labels = range(probability.shape[1])
    agree(ours, sk.log_loss(target, probability, sample_weight=weights, labels=labels), rel=1e-9)
    if weights is None and case in {"random", "imbalanced"}:
        logs = torch.from_numpy(probability).log()
        expected = torch.nn.functional.nll_loss(logs, torch.from_numpy(target)).item()
        agree(ours, expected)


def test_the_weighted_confusion_matrix_equals_scikit_learns():
    target, probability = MULTICLASS["random"]
    ledger = multiclass_ledger(target, probability)
    weights = np.stack([weightings(500)["floats"], weightings(500)["integers"]])
    ours = confusion_matrix(ledger, weights)
    for matrix, vector in zip(ours, weights, strict=True):
        expected = sk.confusion_matrix(target, ledger["prediction"], sample_weight=vector)
        np.testing.assert_allclose(matrix, expected, rtol=1e-12)
