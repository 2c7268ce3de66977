"""Outputs that are large for one sample: neither they nor their targets are kept."""

import numpy as np
import pytest
import torch

from model_eval.engine import BatchSize, evaluate
from model_eval.engine import chunk as chunks
from model_eval.heldout import Batch, Labels
from model_eval.tasks import Scorer
from model_eval.types import OutputKind, Task

N, C, SIDE = 10, 3, 4


class Masks:
    """A held-out set in memory: the input is the logits, the target a mask."""

    def __init__(self):
        rng = np.random.default_rng(0)
        self.x = torch.tensor(rng.normal(size=(N, C, SIDE, SIDE)))
        self.y = rng.integers(0, C, (N, SIDE, SIDE)).astype(np.uint8)

    def blocks(self, batch_size):
        for start in range(0, N, batch_size):
            part = slice(start, start + batch_size)
            ids = np.arange(N)[part]
            labels = Labels(
                ids=ids, target=self.y[part], cluster=ids // 2, slices={"odd": ids % 2}, bytes=None
            )
            yield Batch(args=(self.x[part],), kwargs={}, labels=labels)


SCORER = Scorer(
    task=Task.SEGMENTATION, kind=OutputKind.LOGITS, threshold=None, classes=None, outputs=()
)


def run(batch_size, predict=lambda args, _: args[0]):
    return evaluate(
        predict, Masks(), SCORER, batch_size=BatchSize(batch_size), progress=lambda _: None
    ).whole()


@pytest.mark.parametrize("batch_size", [1, 3, 10])
@pytest.mark.parametrize("chunk", [1, 150, 1_000_000])
def test_the_ledger_is_the_same_for_every_size(monkeypatch, batch_size, chunk):
    expected = run(N)
    monkeypatch.setattr(chunks, "ELEMENTS_PER_CHUNK", chunk)
    rows = run(batch_size)
    assert set(rows.columns) == {
        "id", "cluster", "slice:odd", "finite", "hits", "predicted", "support",
    }  # fmt: skip
    for name, column in expected.columns.items():
        np.testing.assert_array_equal(rows[name], column)


def test_outputs_that_fill_a_chunk_are_scored_where_they_are(monkeypatch):
    """Neither copied nor joined with others, even from memory that the model uses again."""
    monkeypatch.setattr(chunks, "ELEMENTS_PER_CHUNK", 2 * C * SIDE * SIDE)
    memory = torch.empty((2, C, SIDE, SIDE), dtype=torch.float64)

    def predict(args, _):
        return memory[: len(args[0])].copy_(args[0])

    seen = []
    scored = Scorer.columns

    def columns(self, outputs, target):
        seen.append((outputs.data_ptr(), len(outputs)))
        return scored(self, outputs, target)

    monkeypatch.setattr(Scorer, "columns", columns)
    rows = run(2, predict)
    assert seen == [(memory.data_ptr(), 2)] * 5
    np.testing.assert_array_equal(rows["hits"], run(N)["hits"])
