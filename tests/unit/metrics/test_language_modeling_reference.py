"""Metrics of tokens against torch and torchmetrics."""

import numpy as np
import pytest
import torch
from torch.nn.functional import cross_entropy
from torchmetrics.functional.text import perplexity

from builders.ledgers import language_ledger
from model_eval.metrics import compute, estimate
from model_eval.tasks import Scorer
from model_eval.types import MetricRef, OutputKind, Task

SCORER = Scorer(
    task=Task.LANGUAGE_MODELING, kind=OutputKind.LOGITS, threshold=None, classes=None, outputs=()
)
N, T, V = 9, 12, 30


def drawn(seed=0, scale=2.0):
    rng = np.random.default_rng(seed)
    logits = torch.tensor(rng.normal(size=(N, T, V)) * scale, dtype=torch.float32)
    target = rng.integers(0, V, (N, T))
    for row, length in enumerate(rng.integers(0, T, N)):
        target[row, length:] = -100
    return logits, target


def ledger_of(logits, target):
    found = {name: column.numpy() for name, column in SCORER.columns(logits, target).items()}
    lengths = 4 * (target != -100).sum(axis=1) + 1
    return SCORER.ledger({"id": np.arange(len(target)), "bytes": lengths, **found})


def value(ledger, name, weights=None):
    return compute(ledger, MetricRef(name=name), weights)[0]


@pytest.mark.parametrize("weighted", [False, True])
def test_sums_over_all_tokens(weighted):
    logits, target = drawn()
    ledger = ledger_of(logits, target)
    repeat = np.arange(N) % 3 + weighted if weighted else np.ones(N, int)
    weights = repeat[None].astype(float) if weighted else None
    rows = np.repeat(np.arange(N), repeat)
    flat, wanted = logits[rows].reshape(-1, V).double(), torch.tensor(target[rows]).reshape(-1)
    loss = float(cross_entropy(flat, wanted, ignore_index=-100))
    counted = wanted != -100
    assert value(ledger, "log_loss", weights) == pytest.approx(loss, rel=1e-12)
    assert value(ledger, "perplexity", weights) == pytest.approx(np.exp(loss), rel=1e-12)
    lengths = (4 * (target[rows] != -100).sum(axis=1) + 1).sum()
    bits = loss * int(counted.sum()) / np.log(2) / lengths
    assert value(ledger, "bits_per_byte", weights) == pytest.approx(bits, rel=1e-12)
    hits = (flat.argmax(dim=1) == wanted)[counted].double().mean()
    assert value(ledger, "token_accuracy", weights) == pytest.approx(float(hits), rel=1e-12)


def test_torchmetrics_has_the_same_perplexity():
    logits, target = drawn(1)
    expected = perplexity(logits, torch.tensor(target), ignore_index=-100)
    assert value(ledger_of(logits, target), "perplexity") == pytest.approx(
        float(expected), rel=1e-5
    )


def test_a_token_of_probability_zero_has_no_perplexity():
    ledger = language_ledger([np.inf, 2.0], [3, 3], [0, 1], [9, 9])
    for name in ("perplexity", "log_loss"):
        assert estimate(ledger, MetricRef(name=name)).undefined == (
            "a target was given probability 0"
        )
        assert np.isfinite(value(ledger, name, np.array([[0.0, 1.0]])))
    assert estimate(ledger, MetricRef(name="bits_per_byte")).undefined == (
        "a target was given probability 0, or the documents have no bytes"
    )
    assert value(ledger, "token_accuracy") == pytest.approx(1 / 6)


def test_a_perplexity_beyond_float64_says_so():
    ledger = language_ledger([8000.0], [1], [0])
    found = estimate(ledger, MetricRef(name="perplexity"))
    assert found.undefined == "the value is too large for a float64"
    assert value(ledger, "log_loss") == 8000


def test_bits_per_byte_need_bytes():
    found = estimate(language_ledger([1.0], [3], [1]), MetricRef(name="bits_per_byte"))
    assert found.undefined == "the length of the documents in bytes is not known"
    found = estimate(language_ledger([1.0], [3], [1], [0]), MetricRef(name="bits_per_byte"))
    assert found.undefined == "a target was given probability 0, or the documents have no bytes"


def test_no_token_has_no_accuracy():
    found = estimate(language_ledger([0.0], [0], [0]), MetricRef(name="token_accuracy"))
    assert found.undefined == "no token is counted"
