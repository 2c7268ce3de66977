"""The order of scores, and what areas and their influence are made of."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.metrics import roc_auc_score

from builders.ledgers import binary_ledger, multiclass_ledger, multilabel_ledger
from model_eval.metrics import Weighted, compute, ranking
from model_eval.metrics.rows import Rows
from model_eval.types import MetricRef

AUROC = MetricRef(name="auroc")
NUMBERS = st.one_of(
    st.sampled_from([0.0, -0.0, 1.0, -1.0, 1e-45, -1e-45, 3e38, -3e38, np.inf, -np.inf]),
    st.floats(-2, 2, width=32),
)
DTYPES = st.sampled_from([np.float32, np.float64])


@given(st.lists(NUMBERS, max_size=30), DTYPES)
def test_rows_fall_and_equal_scores_are_one_group(numbers, dtype):
    score = np.array(numbers, dtype=dtype)
    order, last = ranking.descending(score)
    assert sorted(order.tolist()) == list(range(len(score)))
    assert (score[order][:-1] >= score[order][1:]).all()
    groups = np.split(score[order], last[:-1] + 1) if len(score) else []
    assert len(groups) == len(np.unique(score + 0.0)) == len(last)
    assert all((group == group[0]).all() for group in groups)


@given(st.lists(st.tuples(NUMBERS, st.booleans()), max_size=30), DTYPES)
def test_points_are_counted_one_by_one(drawn, dtype):
    score = np.array([number for number, _ in drawn], dtype=dtype)
    positive = np.array([side for _, side in drawn], dtype=bool)
    found = ranking.points_of(score, positive)
    expected = [
        sum(
            1 if other == one else 2 * ((one > other) if side else (other > one))
            for other, against in zip(score, positive, strict=True)
            if against != side
        )
        for one, side in zip(score, positive, strict=True)
    ]
    assert found.tolist() == expected
    area = ranking.area_of(score, positive)
    np.testing.assert_equal(ranking.area_among(score, score[positive]), area)
    if 0 < positive.sum() < len(positive):
        finite = np.clip(score, -3e38, 3e38)  # which scikit-learn asks for; no order changes
        ties = len(np.unique(finite)) == len(np.unique(score))
        if ties:
            assert area == pytest.approx(roc_auc_score(positive, finite), rel=1e-12)
    else:
        assert np.isnan(area)


@pytest.mark.parametrize("classes", [5, 300])
def test_classes_with_few_rows_are_ranked_among_all(classes):
    generator = np.random.default_rng(classes)
    target = generator.integers(0, classes, 3000)
    target[:classes] = np.arange(classes)
    probability = np.round(generator.dirichlet(np.ones(classes), 3000), 3 if classes == 5 else 17)
    rows = Rows(multiclass_ledger(target, probability))
    for index in (0, 1, classes - 1):
        score = ranking.class_score(rows, index)
        expected = ranking.area_of(score, target == index)
        assert ranking.auroc_of(rows, index).tolist() == [expected]
    assert ("members", "") in rows._shared


RNG = np.random.default_rng(0)
FEW = RNG.integers(0, 20, (400, 3)) / 20
"""Scores with ties."""

LEDGERS = {
    "binary": binary_ledger(RNG.integers(0, 2, 400), FEW[:, 0]),
    "multiclass": multiclass_ledger(RNG.integers(0, 3, 400), FEW / FEW.sum(1, keepdims=True)),
    "multiclass float32": multiclass_ledger(
        RNG.integers(0, 3, 400), RNG.dirichlet(np.ones(3), 400), dtype=np.float32
    ),
    "multilabel": multilabel_ledger(RNG.random((400, 3)) < 0.4, FEW, ("ant", "bee", "cat")),
}


@pytest.mark.parametrize("ledger", LEDGERS.values(), ids=LEDGERS)
def test_rows_that_count_once_have_weights_of_one(ledger):
    once, ones = Rows(ledger), Rows(ledger, base=np.ones(400))
    np.testing.assert_allclose(
        ranking.influence_of_all(once), ranking.influence_of_all(ones), rtol=1e-9, atol=1e-12
    )
    np.testing.assert_allclose(compute(ledger, AUROC), compute(ledger, AUROC, np.ones((1, 400))))


@pytest.mark.parametrize("ledger", LEDGERS.values(), ids=LEDGERS)
def test_influence_is_how_far_a_little_more_weight_moves_the_area(ledger):
    step = 1e-6
    influence = ranking.influence_of_all(Rows(ledger))
    assert influence.sum() == pytest.approx(0, abs=1e-9)
    weights = np.ones((2, 400)) + step * np.array([[1], [-1]]) * (np.arange(400) == 7)
    more, less = compute(ledger, AUROC, weights)
    assert (more - less) / (2 * step) == pytest.approx(influence[7] / 400, rel=1e-4, abs=1e-8)


@pytest.mark.parametrize("name", ["auroc", "average_precision", "auroc_weighted"])
def test_threads_change_nothing(name, monkeypatch):
    for ledger in list(LEDGERS.values())[1:]:
        alone = compute(ledger, MetricRef(name=name), np.stack([np.ones(400), FEW[:, 0]]))
        monkeypatch.setattr(ranking, "_THREADED_ROWS", 1)
        threaded = compute(ledger, MetricRef(name=name), np.stack([np.ones(400), FEW[:, 0]]))
        assert np.array_equal(alone, threaded)
        monkeypatch.undo()


def test_threads_are_as_quiet_as_the_rest(monkeypatch):
    monkeypatch.setattr(ranking, "_THREADED_ROWS", 1)
    ledger = multiclass_ledger([0, 1], np.eye(3)[:2], ("ant", "bee", "cat"))
    with np.errstate(all="raise"):
        assert np.isnan(compute(ledger, AUROC, [[1.0, 0.0]])).all()


def test_what_is_sorted_once_is_shared():
    sample = Weighted(ledger=LEDGERS["multiclass"])
    compute_once = sample.rows()
    ranking.auroc_influence(compute_once, 1)
    assert ("points", 1) in sample.memory
    assert ranking._points(sample.rows(), 1) is sample.memory["points", 1]
