"""The scoring side: every row once, in order, whatever the batch size."""

import numpy as np
import pytest
import torch

from model_eval.engine import BatchSize, evaluate
from model_eval.engine import chunk as chunks
from model_eval.errors import EvaluationError
from model_eval.heldout import Batch, Labels
from model_eval.tasks import Scorer
from model_eval.types import OutputKind, Task

N = 23


class Memory:
    """A held-out set in memory: the input is the logit, the target its sign."""

    def __init__(self, n=N):
        self.x = torch.linspace(-2, 2, n)

    def blocks(self, batch_size):
        for start in range(0, len(self.x), batch_size):
            x = self.x[start : start + batch_size]
            rows = np.arange(start, start + len(x))
            yield Batch(
                args=(x,),
                kwargs={},
                labels=Labels(
                    ids=rows,
                    target=(x > 0).numpy().astype(np.int64),
                    cluster=rows // 2,
                    slices={"half": rows % 2},
                ),
            )


SCORER = Scorer(
    task=Task.BINARY, kind=OutputKind.LOGITS, threshold=0.5, classes=("no", "yes"), outputs=()
)


def run(batch_size, *, n=N, predict=lambda args, _: args[0]):
    seen = []
    rows = evaluate(
        predict, Memory(n), SCORER, batch_size=BatchSize(batch_size), progress=seen.append
    )
    return rows, seen


@pytest.mark.parametrize("batch_size", [1, 2, 7, 22, 23, 24, 1000])
@pytest.mark.parametrize("chunk", [1, 5, 1_000_000])
def test_the_ledger_is_the_same_for_every_batch_size(monkeypatch, batch_size, chunk):
    monkeypatch.setattr(chunks, "ELEMENTS_PER_CHUNK", chunk)
    expected, _ = run(N)
    rows, seen = run(batch_size)
    assert sum(seen) == len(rows) == N
    assert rows.columns.keys() == expected.columns.keys()
    for name, column in rows.columns.items():
        # torch's vectorised and scalar sigmoids differ in the last bit.
        np.testing.assert_allclose(column, expected[name], rtol=1e-14, err_msg=name)
    assert rows["id"].tolist() == list(range(N))
    assert set(rows.columns) == {
        "id", "target", "cluster", "slice:half", "prediction", "probability", "score", "log_loss",
        "finite",
    }  # fmt: skip


def test_a_model_that_writes_every_output_into_the_same_memory():
    buffer = torch.empty(4)

    def predict(args, _):
        part = buffer[: len(args[0])]
        return part.copy_(args[0])

    rows, _ = run(4, predict=predict)
    assert (rows["prediction"] == rows["target"]).mean() > 0.9
    np.testing.assert_allclose(rows["probability"], run(N)[0]["probability"], rtol=1e-14)


@pytest.mark.parametrize("chunk", [1, 1_000_000])
def test_outputs_that_change_shape_between_batches(monkeypatch, chunk):
    monkeypatch.setattr(chunks, "ELEMENTS_PER_CHUNK", chunk)

    def predict(args, _):
        return args[0] if len(args[0]) == 4 else args[0][:, None]

    with pytest.raises(EvaluationError) as caught:
        run(4, predict=predict)
    assert caught.value.message == "the model returned shape (3, 1) after (4,)"


def test_no_samples_is_an_error():
    with pytest.raises(EvaluationError, match="the held-out set gave no samples"):
        run(4, n=0)


def test_a_model_that_drops_rows_is_found():
    with pytest.raises(EvaluationError, match=r"returned shape \(3,\) for a batch of 4 samples"):
        run(4, predict=lambda args, _: args[0][1:])


def test_a_model_whose_output_changes_its_shape_is_found():
    def predict(args, _kwargs):
        return args[0] if len(args[0]) == 4 else args[0][:, None]

    with pytest.raises(EvaluationError, match=r"returned shape \(3, 1\) after \(4,\)"):
        run(4, predict=predict)


def test_the_model_is_handed_inputs_only():
    def predict(args, kwargs):
        assert len(args) == 1
        assert kwargs == {}
        return args[0]

    rows, _ = run(5, predict=predict)
    assert len(rows) == N
