"""Rows of shards against the model: another model is found, another batch or machine is not taken for one."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from model_eval.engine.rescore import scored
from model_eval.engine.sample import Keeping, Sample
from model_eval.engine.spot_check import Difference, chosen_of, largest_difference
from model_eval.errors import EvaluationError
from model_eval.heldout import Batch, Labels
from model_eval.tasks import Scorer
from model_eval.types import OutputKind, Task

N = 60


def scorer(task):
    return Scorer(
        task=task,
        kind=None if task is Task.REGRESSION else OutputKind.LOGITS,
        threshold=0.5 if task in {Task.BINARY, Task.MULTILABEL} else None,
        classes=None,
        outputs=("y",) if task is Task.REGRESSION else (),
    )


def sample(target, x=None):
    rows = np.arange(len(target))
    x = torch.linspace(-2, 2, len(target)) if x is None else x
    labels = Labels(ids=rows, target=target, cluster=None, slices={})
    return Sample(rows=Batch(args=(x,), kwargs={}, labels=labels), positions=rows, of=len(target))


TARGETS = {
    Task.BINARY: np.arange(N) % 2,
    Task.MULTICLASS: np.arange(N) % 3,
    Task.MULTILABEL: np.ones((N, 2), dtype=bool),
    Task.REGRESSION: np.zeros((N, 1)),
    Task.SEGMENTATION: np.arange(N * 50).reshape(N, 5, 10) % 3,
    Task.LANGUAGE_MODELING: np.arange(N * 4).reshape(N, 4) % 3,
}
SHAPES = {
    Task.BINARY: (1,), Task.MULTICLASS: (3,), Task.MULTILABEL: (2,), Task.REGRESSION: (1,),
    Task.SEGMENTATION: (3, 5, 10), Task.LANGUAGE_MODELING: (4, 3),
}  # fmt: skip


def model(task, sign=1.0):
    """A model whose answer is that of fixed weights and of the sample, times the sign."""
    weights = torch.randn(SHAPES[task], generator=torch.Generator().manual_seed(0))
    return lambda args, _: sign * (args[0].reshape(-1, *[1] * weights.ndim) + 1) * weights


def found(task, shard, here, *, precision="fp32", batch_size=16):
    """What differs between the ledger that one model left and another one."""
    taken = sample(TARGETS[task])
    left = scored(shard(taken.rows.args, {}), taken, scorer(task))
    return largest_difference(
        here, taken, left, scorer(task), batch_size=batch_size, precision=precision
    )


@pytest.mark.parametrize("task", list(TARGETS))
def test_another_model_is_found(task):
    assert found(task, model(task), model(task)) is None
    assert found(task, model(task), model(task, -1.0)).by > 0.1


@pytest.mark.parametrize("task", list(TARGETS))
def test_a_model_that_is_another_for_one_sample_is_found(task):
    one, other = model(task), model(task, -1.0)

    def mixed(args, _):
        outputs = one(args, {}).clone()
        outputs[17] = other(args, {})[17]
        return outputs

    difference = found(task, mixed, one)
    assert isinstance(difference, Difference)
    assert difference.position == 17


def test_small_answers_are_held_to_their_own_size():
    task = Task.REGRESSION
    assert found(task, model(task, 1e-5), model(task, 2e-5)) is not None
    assert found(task, model(task, 1e-5), model(task, 1.0001e-5)) is None


def of_two(shard, here):
    """`found`, for a regression with two outputs."""
    taken = sample(np.zeros((N, 2)))
    two = replace(scorer(Task.REGRESSION), outputs=("y", "z"))
    left = scored(shard(taken.rows.args, {}), taken, two)
    return largest_difference(here, taken, left, two, batch_size=16, precision="fp32")


def pair(y, z):
    """A model with two outputs, each a function of the batch [n]."""
    return lambda args, _: torch.stack([y(args[0]), z(args[0])], dim=1)


def test_each_output_is_held_to_its_own_size():
    one = pair(lambda x: 500 * x, lambda x: 1e-4 * x)
    assert of_two(one, one) is None
    assert of_two(pair(lambda x: 500 * x, lambda x: 1.00001e-4 * x), one) is None
    difference = of_two(pair(lambda x: 500 * x, lambda x: 3e-4 * x), one)
    assert (difference.column, difference.by > 0.1) == ("prediction", True)


def test_what_another_batch_does_to_one_output_excuses_no_other():
    noisy = lambda x: 1e-4 * (x - x.mean())  # noqa: E731
    one = pair(lambda x: x, noisy)
    assert of_two(one, one) is None
    assert of_two(pair(lambda x: 1.5 * x, noisy), one).by > 0.1


def test_last_digits_are_no_difference():
    task = Task.BINARY
    assert found(task, model(task, 1 + 1e-5), model(task)) is None
    assert found(task, model(task, 1.05), model(task)) is not None
    for precision, dtype in (("bf16", torch.float32), ("fp32", torch.bfloat16)):
        coarse = lambda args, _, dtype=dtype: model(task)(args, {}).to(dtype)  # noqa: E731
        assert found(task, model(task, 1.02), coarse, precision=precision) is None


def test_what_another_batch_does_is_no_difference():
    """Batch statistics: the shard had other samples in its batches."""
    shifted = lambda args, _: args[0] - args[0].mean()  # noqa: E731
    assert found(Task.BINARY, lambda args, _: args[0], shifted) is None


def test_outputs_that_are_not_finite():
    task, whole = Task.BINARY, model(Task.BINARY)

    def broken(args, _):
        return torch.where(args[0] == -2, torch.nan, whole(args, {})[:, 0])[:, None]

    assert found(task, broken, broken) is None
    assert found(task, broken, whole).by == float("inf")
    assert found(task, whole, broken).by == float("inf")


def test_a_model_that_cannot_run_here():
    def refuse(*_):
        raise EvaluationError("a word is not in the vocabulary", remedy="-")

    with pytest.raises(EvaluationError, match="not in the vocabulary"):
        found(Task.BINARY, model(Task.BINARY), refuse)


def test_samples_of_which_nothing_is_counted():
    task = Task.SEGMENTATION
    taken = sample(np.full((3, 5, 10), -100))
    left = scored(model(task)(taken.rows.args, {}), taken, scorer(task))
    assert (
        largest_difference(model(task), taken, left, scorer(task), batch_size=2, precision="fp32")
        is None
    )


def test_samples_of_each_part():
    assert chosen_of([(0, 8), (8, 8), (8, 10), (10, 110)]).tolist() == [
        0, 2, 4, 7, 8, 9, 10, 43, 76, 109,
    ]  # fmt: skip
    many = chosen_of((10 * part, 10 * part + 10) for part in range(4096))
    assert (many // 10).tolist() == list(range(4096))
    assert chosen_of([]).tolist() == []


def test_chosen_samples_are_kept():
    class Memory:
        def blocks(self, size):
            whole = sample(np.arange(20)).rows
            for start in range(0, 20, size):
                rows = slice(start, start + size)
                labels = replace(
                    whole.labels, ids=whole.labels.ids[rows], target=whole.labels.target[rows]
                )
                yield Batch(args=(torch.arange(20)[rows],), kwargs={}, labels=labels)

    for rows, expected in ((10, [1, 5, 6, 19]), (2, [1, 19])):
        keeping = Keeping(Memory(), 20, 0, rows, chosen=np.array([1, 5, 6, 19]))
        assert sum(len(block) for block in keeping.blocks(3)) == 20
        kept = keeping.sample()
        assert kept.positions.tolist() == kept.rows.args[0].tolist() == expected
