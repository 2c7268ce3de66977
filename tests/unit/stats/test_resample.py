"""Which rows are resampled together where there are very many."""

import numpy as np
import pytest

from builders.ledgers import binary_ledger, take
from builders.samples import with_columns
from model_eval.metrics import Weighted
from model_eval.stats.interval import Sampled, metric_interval
from model_eval.stats.resample import MANY, MAX_GROUPS, plan_rows
from model_eval.types import MetricRef


def test_groups_of_many_rows_are_as_wide_as_the_rows():
    """Groups that are drawn differ a little in size, which must not be taken for spread."""
    rows = MAX_GROUPS * MANY + 1000
    rng = np.random.default_rng(3)
    loss = rng.exponential(size=rows)
    ledger = with_columns(binary_ledger(np.zeros(rows), np.full(rows, 0.1)), log_loss=loss)
    sampled = Sampled(sample=Weighted(ledger=ledger), seed=0, confidence=0.95)
    found = metric_interval(MetricRef(name="log_loss"), sampled)
    half = 1.96 * loss.std() / np.sqrt(rows)
    assert found.high - found.low == pytest.approx(2 * half, rel=0.06)
    assert (found.low + found.high) / 2 == pytest.approx(loss.mean(), abs=half / 4)


def test_groups_of_many_rows_follow_their_ids():
    rows = MAX_GROUPS * MANY + 5
    order = np.random.default_rng(4).permutation(rows)
    ledger = binary_ledger(np.zeros(rows), np.full(rows, 0.1))
    moved = take(ledger, order)
    assert np.array_equal(plan_rows(ledger, seed=1).group[order], plan_rows(moved, seed=1).group)
