"""Compiled code runs where it was seen to pay, and nowhere else."""

import pytest
import torch

from model_eval.engine import Compiling, compiling
from model_eval.engine.compiling import CompiledCodeError
from model_eval.errors import EvaluationError, Interrupted, OutOfMemoryError

CPU = torch.device("cpu")


class Clock:
    """Time that passes only where somebody lets it."""

    def __init__(self):
        self.now = 0.0

    def __call__(self):
        return self.now


class Side:
    """A model's side that takes a stated time a sample; it counts its calls."""

    def __init__(self, clock, seconds, function=lambda x: 2 * x):
        self.clock, self.seconds, self.function, self.calls = clock, seconds, function, 0

    def __call__(self, args, _kwargs):
        self.calls += 1
        self.clock.now += self.seconds * len(args[0])
        return self.function(args[0])


def sides(*, eager=1.0, compiled=0.5, expected=1000, function=lambda x: 2 * x):
    clock = Clock()
    slow, fast = Side(clock, eager), Side(clock, compiled, function)
    return slow, fast, Compiling(slow, lambda: fast, expected=expected, device=CPU, clock=clock)


def feed(predict, sizes):
    for size in sizes:
        x = torch.arange(float(size))
        assert torch.equal(predict((x,), {}), 2 * x)


def test_compiled_code_that_pays_is_used_for_batches_of_that_size():
    slow, fast, predict = sides()
    feed(predict, [8] * (compiling.BATCHES + 10) + [3])
    assert predict.used
    assert predict.why == "compiled: that takes 0.50 times as long"
    assert slow.calls == compiling.BATCHES + 1  # the last batch is smaller, and would compile again
    assert fast.calls == 3 + 10


@pytest.mark.parametrize(
    ("options", "why"),
    [
        ({"expected": 90}, "not compiled: 50 seconds of work are left, less than it takes"),
        ({"compiled": 0.99}, "not compiled: that takes 0.99 times as long"),
        ({"function": lambda x: 2 * x + 1}, "not compiled: compiled, the model gives other outputs"),
        ({"function": lambda x: x[:4]}, "not compiled: compiled, the model gives other outputs"),
        ({"function": lambda x: x * float("nan")}, "not compiled: compiled, the model gives other outputs"),
    ],
)  # fmt: skip
def test_the_model_is_run_as_it_is_where_that_is_better(options, why):
    slow, _, predict = sides(**options)
    feed(predict, [8] * 20)
    assert (predict.used, predict.why, slow.calls) == (False, why, 20)


@pytest.mark.parametrize(
    "error",
    [RuntimeError("no compiler"), KeyError("x"), SystemExit(3), EvaluationError("wrong")],
)
def test_a_model_that_cannot_be_compiled_is_run_as_it_is(error):
    def refuse(_x):
        raise error

    slow, _, predict = sides(function=refuse)
    feed(predict, [8] * 10)
    assert (predict.used, slow.calls) == (False, 10)
    assert predict.why.startswith("not compiled: ")


def test_compiled_code_that_fails_later_is_left():
    calls = []

    def fails_at_the_fifth(x):
        calls.append(len(x))
        if len(calls) == 5:
            raise EvaluationError("a guard failed")
        return 2 * x

    slow, _, predict = sides(function=fails_at_the_fifth)
    with pytest.raises(CompiledCodeError, match="a guard failed"):
        feed(predict, [8] * 20)
    feed(predict, [8] * 10)
    assert slow.calls == compiling.BATCHES + 10
    assert predict.why == "compiled at first: then the compiled code failed: a guard failed"


def test_memory_that_ends_in_compiled_code_is_for_the_engine_to_handle():
    def too_large(x):
        if len(calls) == 3:
            raise OutOfMemoryError("too large")
        calls.append(len(x))
        return 2 * x

    calls = []
    _, _, predict = sides(function=too_large)
    with pytest.raises(OutOfMemoryError):
        feed(predict, [8] * 20)


def test_memory_that_ends_where_outputs_are_kept_is_said_to_be_that(monkeypatch):
    def no_memory(_tensor):
        raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB.")

    monkeypatch.setattr(torch.Tensor, "clone", no_memory)
    _, _, predict = sides()
    with pytest.raises(OutOfMemoryError, match=r"^the outputs of 8 samples do not fit in memory"):
        feed(predict, [8] * compiling.BATCHES)


def test_infinities_are_equal_to_themselves():
    clock = Clock()
    slow, fast = (Side(clock, s, lambda x: x / 0) for s in (1.0, 0.5))
    predict = Compiling(slow, lambda: fast, expected=1000, device=CPU, clock=clock)
    for _ in range(compiling.BATCHES + 1):
        predict((torch.ones(8),), {})
    assert predict.used


def test_a_stop_while_it_compiles_is_a_stop():
    def stop(_x):
        raise Interrupted

    _, _, predict = sides(function=stop)
    with pytest.raises(Interrupted):
        feed(predict, [8] * 10)


def test_sizes_that_are_only_tried_decide_nothing():
    _, fast, predict = sides()
    feed(predict, [32] * 3 + [128] * 3 + [64] * 3)
    assert (predict.why, fast.calls) == (None, 0)


def test_the_real_compiler_gives_the_same_outputs():
    model = torch.nn.Sequential(torch.nn.Linear(3, 4), torch.nn.ReLU()).eval()

    def side(module):
        return lambda args, _kwargs: module(*args)

    clock = Clock()

    def slow(args, _kwargs):
        clock.now += 1000.0
        return model(*args)

    with torch.inference_mode():
        compiled = torch.compile(model, dynamic=False, backend="eager")
        predict = Compiling(slow, lambda: side(compiled), expected=1000, device=CPU, clock=clock)
        x = torch.randn(8, 3)
        for _ in range(10):
            torch.testing.assert_close(predict((x,), {}), model(x))
    assert predict.used
