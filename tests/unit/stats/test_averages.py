"""Means of shares over classes, and weighted shares: certain of nothing that few samples say."""

import numpy as np
import pytest
from scipy.stats import norm

from builders.ledgers import binary_ledger, multiclass_ledger
from model_eval.metrics import Weighted
from model_eval.stats import share_interval
from model_eval.stats.averages import average_interval
from model_eval.stats.interval import Sampled, metric_interval
from model_eval.types import MetricRef


def labels(*counts):
    """A ledger of classes, each with (hits, samples); what is wrong is called the next class."""
    target = np.repeat(np.arange(len(counts)), [n for _, n in counts])
    right = np.concatenate([np.arange(n) < hits for hits, n in counts])
    prediction = np.where(right, target, (target + 1) % len(counts))
    return multiclass_ledger(target, np.eye(len(counts))[prediction])


def interval(name, ledger, base=None):
    sample = Weighted(ledger=ledger, base=base)
    return metric_interval(MetricRef(name=name), Sampled(sample=sample, seed=0, confidence=0.95))


@pytest.mark.parametrize("name", ["recall_macro", "balanced_accuracy"])
def test_a_small_class_without_an_error_is_not_certain(name):
    found = interval(name, labels((970, 1000), (20, 20)))
    shares = [share_interval(970, 1000, confidence=0.95), share_interval(20, 20, confidence=0.95)]
    below = np.hypot(0.97 - shares[0].low, 1 - shares[1].low) / 2
    assert found.low == pytest.approx(0.985 - below)
    assert found.low < 0.91
    assert found.method == "mover"


def test_with_many_samples_it_is_the_normal_one():
    found = interval("recall_macro", labels((9000, 10_000), (8000, 10_000), (7000, 10_000)))
    error = np.sqrt(sum(p * (1 - p) / 10_000 for p in (0.9, 0.8, 0.7))) / 3
    half = norm.ppf(0.975) * error
    assert (found.low, found.high) == pytest.approx(
        (0.8 - half, 0.8 + half), abs=1e-3
    )  # the bootstrap's noise


def test_it_is_of_nothing_else():
    ledger = labels((8, 10), (10, 10))
    assert average_interval("f1_macro", Weighted(ledger=ledger), confidence=0.95) is None
    no_samples = multiclass_ledger([0, 0, 1], np.eye(3)[[0, 2, 1]])
    assert average_interval("recall_macro", Weighted(ledger=no_samples), confidence=0.95) is None
    assert average_interval("balanced_accuracy", Weighted(ledger=no_samples), confidence=0.95)


def shares(n, share):
    target = np.arange(n) % 2
    right = np.arange(n) < share * n
    return binary_ledger(target, np.where(right, target, 1 - target) * 0.8 + 0.1)


def test_equal_weights_are_no_weights():
    ledger = shares(200, 0.98)
    plain, weighted = (
        interval("accuracy", ledger),
        interval("accuracy", ledger, np.full(200, 7e200)),
    )
    assert (weighted.low, weighted.high) == pytest.approx((plain.low, plain.high))


def test_uneven_weights_say_as_much_as_fewer_samples():
    weights = np.where(np.arange(200) % 10 == 0, 10.0, 1.0)
    found = interval("accuracy", shares(200, 1.0), weights)
    kish = weights.sum() ** 2 / (weights**2).sum()
    assert found.low == pytest.approx(0.025 ** (1 / kish))
    assert found.method == "clopper-pearson"


def test_one_sample_that_weighs_all_says_next_to_nothing():
    weights = np.r_[1e9, np.ones(199)]
    found = interval("accuracy", shares(200, 0.98), weights)
    assert found.low < 0.3
