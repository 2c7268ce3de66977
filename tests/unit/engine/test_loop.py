"""The scoring side: every row once, in order, whatever the batch size."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from model_eval.engine import BatchSize, Compiling, evaluate
from model_eval.engine import chunk as chunks
from model_eval.engine.staging import Staging
from model_eval.errors import EvaluationError, OutOfMemoryError
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
    ).whole()
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


@pytest.mark.parametrize("chunk", [1, 5, 1_000_000])
@pytest.mark.parametrize("batch_size", [1, 2, 7, 100])
def test_it_is_asked_about_every_row_once_whether_that_is_enough(monkeypatch, batch_size, chunk):
    monkeypatch.setattr(chunks, "ELEMENTS_PER_CHUNK", chunk)
    asked = []

    def enough(newest):
        asked.append(newest)
        return False

    rows = evaluate(
        lambda args, _: args[0],
        Memory(),
        SCORER,
        batch_size=BatchSize(batch_size),
        progress=lambda _: None,
        enough=enough,
        look_every=5,
    ).whole()
    expected, _ = run(N)
    for name, column in rows.columns.items():
        np.testing.assert_allclose(column, expected[name], rtol=1e-14, err_msg=name)
    assert [len(one) for one in asked] == [5] * (N // 5)
    for name in rows.columns:
        together = np.concatenate([one[name] for one in asked])
        np.testing.assert_allclose(together, rows[name][: len(together)], rtol=1e-14)


def test_what_is_enough_ends_the_run_at_once():
    seen = []
    rows = evaluate(
        lambda args, _: args[0],
        Memory(),
        SCORER,
        batch_size=BatchSize(4),
        progress=seen.append,
        enough=lambda newest: newest["id"][-1] >= 7,
        look_every=2,
    ).whole()
    assert (rows["id"].tolist(), seen) == (list(range(8)), [2, 2, 2, 2])


SCORES = torch.randn((N, 3), generator=torch.Generator().manual_seed(0))
THREE = replace(SCORER, task=Task.MULTICLASS, threshold=None, classes=("a", "b", "c"))


@pytest.mark.parametrize(
    "device", ["cpu", "xpu"]
)  # on the latter several batches are scored at once
@pytest.mark.parametrize("batch_size", [1, 3, 7, 100])
def test_the_newest_rows_have_the_columns_that_are_computed_when_asked_for(batch_size, device):
    asked = []

    def predict(args, _):
        return SCORES[((args[0] + 2) / 4 * (N - 1)).round().long()]

    def enough(newest):
        asked.append((newest["id"], newest["probability"], newest["log_loss"]))
        return len(asked) == 4

    rows = evaluate(
        predict,
        Memory(),
        THREE,
        batch_size=BatchSize(batch_size),
        progress=lambda _: None,
        expected=N,
        device=torch.device(device),
        enough=enough,
        look_every=3,
    ).whole()
    assert rows["id"].tolist() == list(range(12))
    for index, name in enumerate(("id", "probability", "log_loss")):
        together = np.concatenate([one[index] for one in asked])
        np.testing.assert_allclose(together, rows[name], rtol=1e-12)
    expected = torch.softmax(SCORES[:12].double(), dim=1).numpy()
    np.testing.assert_allclose(rows["probability"], expected, rtol=1e-6)


def test_a_model_that_writes_every_output_into_the_same_memory():
    buffer = torch.empty(4)

    def predict(args, _):
        part = buffer[: len(args[0])]
        return part.copy_(args[0])

    rows, _ = run(4, predict=predict)
    assert (rows["prediction"] == rows["target"]).mean() > 0.9
    np.testing.assert_allclose(rows["probability"], run(N)[0]["probability"], rtol=1e-14)


@pytest.mark.parametrize("batch_size", [1, 5, 100])
def test_a_model_that_changes_its_inputs_in_place(batch_size):
    """Its first samples are run three times, and those of a batch that did not fit twice."""
    source, failed = Memory(), []

    def predict(args, _):
        outputs = args[0].mul_(0.5)
        if len(failed) < 2 and len(outputs) > 1:
            failed.append(len(outputs))
            raise OutOfMemoryError("")
        return outputs

    rows = evaluate(
        predict, source, SCORER, batch_size=BatchSize(batch_size), progress=lambda _rows: None
    ).whole()
    expected, _ = run(batch_size, predict=lambda args, _: args[0] * 0.5)
    assert rows["score"].tolist() == expected["score"].tolist()
    assert torch.equal(source.x, Memory().x)


def test_a_model_that_changes_what_was_sent_to_its_device(monkeypatch):
    """Float64 stands in for the device: what is sent is there, and what is not the model's side sends."""
    monkeypatch.setattr(
        Staging, "send", lambda _self, args, kwargs: (tuple(a.double() for a in args), kwargs)
    )

    calls = []

    def changes(args, _):
        x = args[0].double()
        outputs = x.clone()
        x.zero_()
        calls.append(len(outputs))
        if len(outputs) > 4 and len(calls) > 2:  # after the check
            raise OutOfMemoryError("after it had changed them")
        return outputs

    rows, seen = run(8, predict=changes)
    assert sum(seen) == N
    assert calls == [8, 8, 8, 4, 4, 4, 4, 4, 3]
    assert rows["score"].tolist() == pytest.approx(run(8)[0]["score"].tolist())


LATER = 40
"""Behind the samples that are checked."""


def changes_later_rows(args, _):
    x = args[0]
    x[x > Memory(80).x[LATER]] += 1
    return x


def too_large(args, kwargs):
    outputs = changes_later_rows(args, kwargs)
    if len(outputs) > LATER:
        raise OutOfMemoryError("after it had changed them")
    return outputs


def compiles(eager):
    """A model's side that is compiled after some batches, and fails so where it changes something."""
    now = 0.0

    def slow(args, kwargs):
        nonlocal now
        now += 1000.0
        return eager(args, kwargs)

    def compiled(args, kwargs):
        before = args[0].clone()
        outputs = eager(args, kwargs)
        if not torch.equal(before, outputs):
            raise EvaluationError("after it had changed them")
        return outputs

    cpu = torch.device("cpu")
    return Compiling(slow, lambda: compiled, expected=1000, device=cpu, clock=lambda: now)


@pytest.mark.parametrize(
    ("predict", "batch_size", "what"),
    [
        (lambda: too_large, 80, "ran out of memory"),
        (lambda: compiles(changes_later_rows), 4, "its compiled code failed"),
    ],
    ids=["memory", "compiled"],
)
class TestAModelThatChangesLaterInputsInPlace:
    """Which the check before the pass does not see, and then fails on them."""

    def test_on_a_cpu_it_is_refused(self, predict, batch_size, what):
        with pytest.raises(EvaluationError, match=f"in place, and then {what}"):
            run(batch_size, n=80, predict=predict())

    def test_on_a_device_it_is_run_on_what_is_sent_again(
        self, monkeypatch, predict, batch_size, what
    ):
        monkeypatch.setattr(
            Staging, "send", lambda _self, args, kwargs: (tuple(a.clone() for a in args), kwargs)
        )
        rows, seen = run(batch_size, n=80, predict=predict())
        assert sum(seen) == 80
        expected, _ = run(4, n=80, predict=changes_later_rows)
        assert rows["score"].tolist() == pytest.approx(expected["score"].tolist())


def test_a_model_that_changes_its_inputs_is_not_compiled():
    """Compiled code that fails halfway has written its inputs, on which the model would be run again."""
    now = 0.0

    def predict(args, _):
        nonlocal now
        now += 1000.0
        return args[0].mul_(0.5)

    compiling = Compiling(
        predict,
        lambda: pytest.fail("it was compiled"),
        expected=1000,
        device=torch.device("cpu"),
        clock=lambda: now,
    )
    rows, _ = run(2, predict=compiling)
    assert (
        rows["score"].tolist() == run(2, predict=lambda args, _: args[0] * 0.5)[0]["score"].tolist()
    )
    assert not compiling.used
    assert compiling.why == "not compiled: the model changes its inputs in place"


@pytest.mark.parametrize("changes", [False, True])
def test_memory_that_ends_where_inputs_are_copied(monkeypatch, changes):
    """In the check before the pass, and for a model that gets copies of every batch."""
    clone, large = torch.Tensor.clone, []

    def small(tensor, **options):
        if (
            tensor.dtype == torch.float32
            and len(tensor) > 4
            and len(checked) == 2 * changes
            and not large
        ):
            large.append(len(tensor))
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB.")
        return clone(tensor, **options)

    def predict(args, _):
        if len(checked) < 2:
            checked.append(len(args[0]))
        return args[0].mul_(0.5)

    checked = []
    expected, _ = run(8, predict=lambda args, _: args[0] * 0.5)
    monkeypatch.setattr(torch.Tensor, "clone", small)
    rows, _ = run(8, predict=predict)
    assert rows["score"].tolist() == expected["score"].tolist()
    assert large == [8]


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
