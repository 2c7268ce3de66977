"""A model whose outputs are luck is found; noise of the last digits is not luck."""

import pytest
import torch

from model_eval.engine import repeat
from model_eval.engine.repeat import require_repeatable
from model_eval.errors import EvaluationError, OutOfMemoryError
from model_eval.heldout import Batch

X = torch.linspace(-3, 3, 200).reshape(50, 4)
BATCH = Batch(args=(X,), kwargs={"y": X}, labels=None)


def test_each_call_gets_the_same_few_rows():
    seen = []
    require_repeatable(lambda args, kwargs: seen.append((args, kwargs)) or args[0], BATCH)
    assert len(seen) == 2
    for args, kwargs in seen:
        assert args[0].tolist() == kwargs["y"].tolist() == X[:32].tolist()


@pytest.mark.parametrize(
    "noise", [0.0, 1e-7, float("nan"), float("inf")], ids=["same", "last digits", "nan", "inf"]
)
def test_the_same_outputs(noise):
    sign = iter([1, -1])
    constant = noise != noise or noise == float("inf")
    calls = []

    def predict(args, _):
        calls.append(len(args[0]))
        return args[0] + (noise if constant else next(sign) * noise)

    require_repeatable(predict, BATCH)  # raises where the two differ
    assert calls == [32, 32]


@pytest.mark.parametrize("rate", [0.05, 0.5])
def test_dropout_that_stays_on(rate):
    torch.manual_seed(0)
    with pytest.raises(EvaluationError) as caught:
        require_repeatable(lambda args, _: torch.nn.functional.dropout(args[0], rate), BATCH)
    assert caught.value.message.startswith(
        "the model gives different outputs for the same inputs: they differ by up to "
    )


@pytest.mark.parametrize("size", [1e-5, 1.0, 1e4])
def test_dropout_counts_whatever_the_size_of_outputs_is(size):
    torch.manual_seed(0)
    with pytest.raises(EvaluationError, match="different outputs for the same inputs"):
        require_repeatable(lambda args, _: size * torch.nn.functional.dropout(args[0], 0.05), BATCH)


@pytest.mark.parametrize("size", [1e-5, 1.0, 1e4])
def test_last_digits_do_not_count_whatever_the_size_of_outputs_is(size):
    noise = iter([1, 1 + 1e-5])
    found = require_repeatable(lambda args, _: size * args[0] * next(noise), BATCH)
    assert torch.equal(found.outputs, size * X[:32])  # of the first run


def test_what_is_left_where_large_numbers_cancel_is_noise():
    noise = iter([1e-12, -1e-12])
    found = require_repeatable(lambda args, _: args[0] * next(noise), BATCH)
    assert torch.equal(found.outputs, 1e-12 * X[:32])


@pytest.mark.parametrize("name", ["a positional one", "a keyword"])
def test_inputs_that_are_changed_in_place_are_noticed_and_stay(name):
    def predict(args, kwargs):
        changed = args[0] if name == "a positional one" else kwargs["y"]
        return changed.sub_(0.1).div_(0.5)

    before = X.clone()
    assert require_repeatable(predict, BATCH).changes_inputs
    usual = require_repeatable(lambda args, kwargs: args[0] + kwargs["y"], BATCH)
    assert not usual.changes_inputs
    assert torch.equal(usual.outputs, 2 * X[:32])
    assert torch.equal(X, before)


def test_a_nan_now_and_then():
    values = iter([0.0, float("nan")])
    with pytest.raises(EvaluationError, match="different outputs for the same inputs"):
        require_repeatable(lambda args, _: args[0] + next(values), BATCH)


@pytest.mark.parametrize("outputs", [(torch.inf, 1.0), (1.0, torch.inf), (-torch.inf, torch.inf)])
def test_an_infinity_now_and_then(outputs):
    values = iter(outputs)
    with pytest.raises(EvaluationError, match="different outputs for the same inputs"):
        require_repeatable(lambda args, _: torch.full_like(args[0], next(values)), BATCH)


def test_another_shape():
    rows = iter([32, 31])
    with pytest.raises(EvaluationError, match=r"shapes \(32, 4\) and \(31, 4\)"):
        require_repeatable(lambda args, _: args[0][: next(rows)], BATCH)


def test_large_outputs_are_not_kept(monkeypatch):
    monkeypatch.setattr(repeat, "ELEMENTS", 4 * 32 - 1)
    assert require_repeatable(lambda args, _: args[0], BATCH).outputs is None


@pytest.mark.parametrize(("method", "what"), [("clone", "inputs"), ("double", "outputs")])
def test_memory_that_ends(monkeypatch, method, what):
    def no_memory(_tensor):
        raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB.")

    monkeypatch.setattr(torch.Tensor, method, no_memory)
    with pytest.raises(OutOfMemoryError, match=f"^the {what} of 32 samples do not fit in memory"):
        require_repeatable(lambda args, _: args[0] + 1, BATCH)


def test_outputs_in_one_memory():
    memory = torch.zeros(32, 4)
    values = iter([0.0, 1.0])
    with pytest.raises(EvaluationError, match="different outputs"):
        require_repeatable(lambda _args, _kwargs: memory.fill_(next(values)), BATCH)
