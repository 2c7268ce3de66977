"""The further metrics of classes and probabilities against scikit-learn and torchmetrics."""

import warnings
from itertools import permutations

import numpy as np
import pytest
import torch
from sklearn import metrics as sk
from torchmetrics.functional import classification as tm

from builders.ledgers import binary_ledger, multiclass_ledger
from model_eval.metrics import compute
from model_eval.types import MetricRef


@pytest.fixture(autouse=True)
def _quiet():
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


def drawn(seed, n, c, p=None, digits=None):
    rng = np.random.default_rng(seed)
    target = rng.choice(c, size=n, p=p)
    logits = rng.normal(size=(n, c))
    logits[np.arange(n), target] += 1
    probability = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    return target, probability if digits is None else np.round(probability, digits)


MULTICLASS = {
    "random": drawn(0, 500, 5),
    "tied": drawn(1, 400, 4, digits=1),
    "all tied": (np.arange(60) % 3, np.full((60, 3), 1 / 3)),
    "imbalanced": drawn(2, 1000, 4, p=[0.97, 0.01, 0.01, 0.01]),
    "one class of several": (np.full(30, 1), drawn(3, 30, 3)[1]),
    "single sample": (np.array([2]), np.array([[0.1, 0.2, 0.7]])),
    "absent class": (drawn(4, 200, 3)[0], np.pad(drawn(4, 200, 3)[1], ((0, 0), (0, 2)))),
    "predicted but never a target": (np.arange(90) % 2, drawn(5, 90, 4)[1]),
    "perfect": (np.arange(50) % 5, np.eye(5)[np.arange(50) % 5]),
    "all wrong": (np.arange(50) % 5, np.eye(5)[(np.arange(50) + 1) % 5]),
}
BINARY = {
    "random": (drawn(10, 500, 2)[0], drawn(10, 500, 2)[1][:, 1]),
    "tied": (drawn(11, 300, 2)[0], np.round(drawn(11, 300, 2)[1][:, 1], 1)),
    "all tied": (np.arange(40) % 2, np.full(40, 0.5)),
    "imbalanced": (
        drawn(12, 2000, 2, p=[0.995, 0.005])[0],
        drawn(12, 2000, 2, p=[0.995, 0.005])[1][:, 1],
    ),
    "all positive": (np.ones(20, int), np.linspace(0, 0.95, 20)),
    "all negative": (np.zeros(20, int), np.linspace(0, 0.95, 20)),
    "nothing predicted": (np.arange(20) % 2, np.linspace(0, 0.4, 20)),
    "perfect": (np.arange(20) // 10, np.arange(20) / 19),
    "reversed": (1 - np.arange(20) // 10, np.arange(20) / 19),
}
CASES = {
    **{f"multiclass, {name}": (multiclass_ledger, *case) for name, case in MULTICLASS.items()},
    **{f"binary, {name}": (binary_ledger, *case) for name, case in BINARY.items()},
}


def weightings(n):
    """None, then one vector, then several, some of whose weights are 0."""
    rng = np.random.default_rng(n)
    return [
        None,
        rng.integers(1, 5, (1, n)).astype(float),
        np.stack([rng.gamma(1.0, size=n) + 1e-3, rng.poisson(1.0, n), np.ones(n)]),
    ]


def check(ledger, reference, name, of_class=None, rel=1e-9, **params):
    """Holds the metric against `reference(weights)` under every weighting; NaN with NaN."""
    given = tuple(sorted((key, float(value)) for key, value in params.items()))
    ref = MetricRef(name=name, of_class=of_class, params=given)
    for weights in weightings(len(ledger)):
        ours = compute(ledger, ref, weights)
        vectors = [np.ones(len(ledger))] if weights is None else weights
        theirs = [reference(vector) if vector.any() else np.nan for vector in vectors]
        np.testing.assert_allclose(ours, theirs, rtol=rel, atol=1e-12, equal_nan=True)


def of_rows(ledger, function, **kwargs):
    """A function of scikit-learn's, on targets and predictions of the rows that are there."""

    def reference(weights):
        there = weights > 0
        target, prediction = ledger["target"][there], ledger["prediction"][there]
        return function(target, prediction, sample_weight=weights[there], **kwargs)

    return reference


@pytest.mark.parametrize("case", CASES)
def test_agreement_equals_scikit_learn(case):
    make, *columns = CASES[case]
    ledger = make(*columns)
    check(ledger, of_rows(ledger, sk.balanced_accuracy_score), "balanced_accuracy")

    def correlation(weights):
        there = weights > 0
        if min(len(np.unique(ledger[x][there])) for x in ("target", "prediction")) < 2:
            return np.nan  # 0/0, which scikit-learn calls 0
        return of_rows(ledger, sk.matthews_corrcoef)(weights)

    check(ledger, correlation, "matthews_corrcoef")
    check(ledger, of_rows(ledger, sk.cohen_kappa_score), "cohen_kappa")


@pytest.mark.parametrize("beta", [0.5, 2, 10])
@pytest.mark.parametrize("case", CASES)
def test_fbeta_equals_scikit_learn(case, beta):
    make, *columns = CASES[case]
    ledger = make(*columns)
    for average in ("macro", "micro", "weighted"):
        reference = of_rows(ledger, sk.fbeta_score, beta=beta, average=average)
        check(ledger, reference, f"fbeta_{average}", beta=beta)
    for index, name in enumerate(ledger.classes):
        reference = of_rows(
            ledger, sk.fbeta_score, beta=beta, labels=[index], average="micro", zero_division=np.nan
        )
        check(ledger, reference, "fbeta", of_class=name, beta=beta)
        if ledger.classes == ("no", "yes") and index == 1:
            check(ledger, reference, "fbeta", beta=beta)


@pytest.mark.parametrize("case", CASES)
def test_specificity_is_the_recall_of_the_rest(case):
    make, *columns = CASES[case]
    ledger = make(*columns)

    def of_class(index, undefined=np.nan):
        def reference(weights):
            return sk.recall_score(
                ledger["target"] != index,
                ledger["prediction"] != index,
                sample_weight=weights,
                zero_division=undefined,
            )

        return reference

    def macro(weights):
        there = weights > 0
        occurs = np.union1d(ledger["target"][there], ledger["prediction"][there])
        return np.mean([of_class(index, 0)(weights) for index in occurs])

    for index, name in enumerate(ledger.classes):
        check(ledger, of_class(index), "specificity", of_class=name)
    check(ledger, macro, "specificity_macro")
    if ledger.classes == ("no", "yes"):
        check(ledger, of_class(1), "specificity")


@pytest.mark.parametrize("case", ["random", "imbalanced", "absent class", "one class of several"])
def test_specificity_equals_torchmetrics(case):
    target, probability = MULTICLASS[case]
    ledger = multiclass_ledger(target, probability)
    theirs = torch.from_numpy(ledger["prediction"]), torch.from_numpy(target)
    expected = tm.multiclass_specificity(
        *theirs, num_classes=len(ledger.classes), average="macro"
    ).item()
    ours = compute(ledger, MetricRef(name="specificity_macro"))[0]
    assert ours == pytest.approx(expected, rel=1e-6)


@pytest.mark.parametrize("k", [1, 2, 3])
@pytest.mark.parametrize("case", ["random", "imbalanced", "predicted but never a target"])
def test_top_k_accuracy_equals_scikit_learn(case, k):
    target, probability = MULTICLASS[case]
    ledger = multiclass_ledger(target, probability)
    labels = np.arange(probability.shape[1])

    def reference(weights):
        return sk.top_k_accuracy_score(
            target, probability, k=k, labels=labels, sample_weight=weights
        )

    check(ledger, reference, "top_k_accuracy", k=k)


@pytest.mark.parametrize("case", MULTICLASS)
def test_the_first_of_k_is_the_prediction_and_equal_scores_go_by_index(case):
    target, probability = MULTICLASS[case]
    ledger = multiclass_ledger(target, probability)
    size = probability.shape[1]
    order = np.argsort(-probability, axis=1, kind="stable")
    assert np.array_equal(order[:, 0], ledger["prediction"])
    for k in range(1, size):
        hit = (order[:, :k] == target[:, None]).any(axis=1)
        check(ledger, lambda w, hit=hit: np.average(hit, weights=w), "top_k_accuracy", k=k)
    top, accuracy = MetricRef(name="top_k_accuracy", params=(("k", 1.0),)), "accuracy"
    assert compute(ledger, top) == compute(ledger, MetricRef(name=accuracy))


def test_a_prediction_stays_first_where_float32_made_its_score_a_tie():
    ledger = multiclass_ledger([1, 0], np.array([[0.5, 0.5, 0], [0.5, 0.5, 0]]))
    ledger.columns["prediction"][:] = 1
    for k, expected in ((1, 0.5), (2, 1.0)):
        ref = MetricRef(name="top_k_accuracy", params=(("k", float(k)),))
        assert compute(ledger, ref).tolist() == [expected]


@pytest.mark.parametrize("k", [3, 4])
def test_all_classes_are_no_top(k):
    ledger = multiclass_ledger([0, 1], np.eye(3)[:2])
    ref = MetricRef(name="top_k_accuracy", params=(("k", float(k)),))
    assert np.isnan(compute(ledger, ref)).all()


@pytest.mark.parametrize("case", MULTICLASS)
def test_the_multiclass_brier_score_equals_scikit_learn(case):
    target, probability = MULTICLASS[case]
    probability = probability / probability.sum(axis=1, keepdims=True)
    labels = np.arange(probability.shape[1])

    def reference(weights):
        return sk.brier_score_loss(target, probability, labels=labels, sample_weight=weights)

    check(multiclass_ledger(target, probability), reference, "brier_score")


@pytest.mark.parametrize("case", BINARY)
def test_the_binary_brier_score_equals_scikit_learn(case):
    target, probability = BINARY[case]

    def reference(weights):
        return sk.brier_score_loss(target, probability, sample_weight=weights, labels=[0, 1])

    check(binary_ledger(target, probability), reference, "brier_score")


def calibration_error(confidence, hit, weights, place):
    """Bin by bin, as in its definition (Guo et al. 2017)."""
    total = 0.0
    for one in np.unique(place[weights > 0]):
        inside = (place == one) & (weights > 0)
        accuracy = np.average(hit[inside], weights=weights[inside])
        mean = np.average(confidence[inside], weights=weights[inside])
        total += weights[inside].sum() * abs(accuracy - mean)
    return total / weights.sum()


def confidences(ledger):
    if ledger["probability"].ndim == 1:
        return ledger["probability"], ledger["target"]
    return ledger["probability"].max(axis=1), ledger["target"] == ledger["prediction"]


@pytest.mark.parametrize("bins", [1, 10, 15])
@pytest.mark.parametrize("case", CASES)
def test_the_calibration_error_is_that_of_its_bins(case, bins):
    make, *columns = CASES[case]
    ledger = make(*columns)
    confidence, hit = confidences(ledger)
    place = np.digitize(confidence, np.linspace(0, 1, bins + 1))
    check(ledger, lambda w: calibration_error(confidence, hit, w, place), "ece", bins=bins)
    if bins == 15:
        check(ledger, lambda w: calibration_error(confidence, hit, w, place), "ece")


@pytest.mark.parametrize("case", ["random", "imbalanced", "perfect", "all wrong"])
def test_the_calibration_error_equals_torchmetrics(case):
    target, probability = MULTICLASS[case]
    theirs = tm.multiclass_calibration_error(
        torch.from_numpy(probability), torch.from_numpy(target), num_classes=probability.shape[1]
    )
    ours = compute(multiclass_ledger(target, probability), MetricRef(name="ece"))[0]
    assert ours == pytest.approx(theirs.item(), rel=1e-5, abs=1e-7)  # theirs is in float32


@pytest.mark.parametrize("case", ["random", "imbalanced", "perfect", "reversed"])
def test_the_binary_calibration_error_equals_torchmetrics(case):
    target, probability = BINARY[case]
    theirs = tm.binary_calibration_error(torch.from_numpy(probability), torch.from_numpy(target))
    ours = compute(binary_ledger(target, probability), MetricRef(name="ece"))[0]
    assert ours == pytest.approx(theirs.item(), rel=1e-9)


@pytest.mark.parametrize("bins", [1, 4, 15])
@pytest.mark.parametrize("case", CASES)
def test_adaptive_bins_hold_equal_weight(case, bins):
    make, *columns = CASES[case]
    ledger = make(*columns)
    confidence, hit = confidences(ledger)

    def reference(weights):
        place = np.empty(len(confidence), int)
        for level in np.unique(confidence):
            same = confidence == level
            middle = weights[confidence < level].sum() + weights[same].sum() / 2
            place[same] = min(int(bins * middle / weights.sum() + 1e-9), bins - 1)
        return calibration_error(confidence, hit, weights, place)

    check(ledger, reference, "ece_adaptive", bins=bins)


def test_adaptive_bins_of_different_confidences_are_equal_shares_of_the_rows():
    target, probability = BINARY["random"]
    order = np.argsort(probability)
    place = np.empty(500, int)
    for one, rows in enumerate(np.array_split(order, 10)):
        place[rows] = one
    expected = calibration_error(probability, target, np.ones(500), place)
    ref = MetricRef(name="ece_adaptive", params=(("bins", 10.0),))
    assert compute(binary_ledger(target, probability), ref)[0] == pytest.approx(expected, rel=1e-9)


def one_against_rest(target, score, index, max_fpr):
    def reference(weights):
        there = weights > 0
        positive = target[there] == index
        if positive.all() or not positive.any():
            return np.nan
        return sk.roc_auc_score(
            positive, score[there], sample_weight=weights[there], max_fpr=max_fpr
        )

    return reference


@pytest.mark.parametrize("max_fpr", [1e-3, 0.1, 0.5, 0.999, 1])
@pytest.mark.parametrize("case", BINARY)
def test_partial_areas_equal_scikit_learn(case, max_fpr):
    target, probability = BINARY[case]
    reference = one_against_rest(target, probability, 1, max_fpr)
    check(binary_ledger(target, probability), reference, "auroc", max_fpr=max_fpr)


@pytest.mark.parametrize("case", MULTICLASS)
def test_partial_areas_of_a_class_equal_scikit_learn(case):
    target, probability = MULTICLASS[case]
    ledger = multiclass_ledger(target, probability)
    each = [one_against_rest(target, probability[:, i], i, 0.2) for i in range(len(ledger.classes))]
    for name, reference in zip(ledger.classes, each, strict=True):
        check(ledger, reference, "auroc", of_class=name, max_fpr=0.2)
    check(ledger, lambda w: np.mean([one(w) for one in each]), "auroc", max_fpr=0.2)


@pytest.mark.parametrize("case", ["random", "tied", "all tied", "imbalanced", "perfect"])
def test_one_against_one_equals_scikit_learn(case):
    target, probability = MULTICLASS[case]
    probability = probability / probability.sum(axis=1, keepdims=True)
    ledger = multiclass_ledger(target, probability)
    theirs = sk.roc_auc_score(target, probability, multi_class="ovo", average="macro")
    assert compute(ledger, MetricRef(name="auroc_ovo"))[0] == pytest.approx(theirs, rel=1e-9)


@pytest.mark.parametrize("case", MULTICLASS)
def test_one_against_one_is_the_mean_of_the_pairs_also_with_weights(case):
    target, probability = MULTICLASS[case]
    ledger = multiclass_ledger(target, probability)

    def reference(weights):
        areas = []
        for one, other in permutations(range(len(ledger.classes)), 2):
            pair = np.isin(target, [one, other]) & (weights > 0)
            area = one_against_rest(target[pair], probability[pair, one], one, None)
            areas.append(area(weights[pair]))
        return np.mean(areas)

    check(ledger, reference, "auroc_ovo")


@pytest.mark.parametrize("bins", [2, 3, 4, 6])
def test_the_scale_of_weights_moves_no_row_over_the_edge_of_an_adaptive_bin(bins):
    rng = np.random.default_rng(bins)
    ref = MetricRef(name="ece_adaptive", params=(("bins", float(bins)),))
    for n in range(3, 30):
        ledger = binary_ledger(rng.integers(0, 2, n), rng.random(n))
        weights = np.array([[1.0], [0.1], [1 / 3], [0.7], [1e-3]]) * np.ones(n)
        found = compute(ledger, ref, weights)
        np.testing.assert_allclose(found, found[0], rtol=1e-12)
