"""The model's side: what goes in, what comes out, and how each failure reads."""

import gc
import weakref
from operator import attrgetter
from types import SimpleNamespace

import pytest
import torch
from torch import nn

from model_eval.engine import in_precision, make_predict, prepare
from model_eval.engine.predict import select_output
from model_eval.errors import EvaluationError, Interrupted, OutOfMemoryError, UserCodeError

CPU = torch.device("cpu")
X = torch.arange(6, dtype=torch.float32).reshape(3, 2)


def predict(model, *args, transform=None, postprocess=None, field=None, precision="fp32", **kwargs):
    function = make_predict(
        model,
        device=CPU,
        precision=precision,
        output_field=field,
        transform=transform,
        postprocess=postprocess,
    )
    return function(args, kwargs)


class Lambda(nn.Module):
    def __init__(self, function):
        super().__init__()
        self.function = function

    def forward(self, *args, **kwargs):
        return self.function(*args, **kwargs)


def test_positional_and_keyword_inputs():
    model = Lambda(lambda a, b, *, c: a + 10 * b + 100 * c)
    assert predict(model, X, X, c=X).tolist() == (111 * X).tolist()


def test_no_gradient_is_recorded():
    assert predict(nn.Linear(2, 1), X).is_inference()


def test_transform_then_model_then_field_then_postprocess():
    model = Lambda(lambda x: {"logits": x + 1, "loss": None})
    got = predict(model, X, transform=lambda x: x * 2, field="logits", postprocess=lambda y: -y)
    assert got.tolist() == (-(2 * X + 1)).tolist()


def test_a_postprocess_is_given_all_outputs_where_no_field_is_named():
    model = Lambda(lambda x: {"scores": [x, None]})
    assert predict(model, X, postprocess=lambda y: y["scores"][0]).equal(X)


def test_an_error_of_the_users_function_is_not_said_to_be_the_models():
    def fail(_):
        raise UserCodeError("`data.py:prepare` raised ValueError")

    with pytest.raises(UserCodeError, match=r"^`data\.py:prepare` raised ValueError"):
        predict(nn.Linear(2, 1), X, transform=fail)


@pytest.mark.parametrize("wrapped", [False, True])
def test_nothing_of_a_batch_that_did_not_fit_is_held(wrapped):
    """Its halves need the memory; a cycle of the error and a frame would be there until some collection."""
    held = []

    def fail(x):
        taken = x + 1
        held.append(weakref.ref(taken))
        raise torch.OutOfMemoryError("CUDA out of memory")

    def called(x):
        try:
            return fail(x)
        except torch.OutOfMemoryError as error:
            if wrapped:
                raise UserCodeError("`model.py:fail` raised it") from error
            raise

    model = Lambda(called)
    gc.disable()
    try:
        try:
            predict(model, X)
        except OutOfMemoryError:
            assert held[0]() is not None
        assert held[0]() is None
    finally:
        gc.enable()


def test_memory_that_a_users_function_lacks_is_still_memory():
    def fail(_):
        raise UserCodeError("`data.py:prepare` raised OutOfMemoryError") from MemoryError()

    with pytest.raises(OutOfMemoryError, match=r"^a batch of 3 samples does not fit in memory"):
        predict(nn.Linear(2, 1), X, transform=fail)


def test_a_transform_may_name_the_arguments():
    model = Lambda(lambda a, b: a - b)
    got = predict(model, X, transform=lambda x: {"b": x, "a": 3 * x})
    assert got.tolist() == (2 * X).tolist()
    got = predict(model, X, transform=lambda x: (3 * x, x))
    assert got.tolist() == (2 * X).tolist()


def test_a_transform_that_returns_something_else():
    with pytest.raises(UserCodeError) as caught:
        predict(nn.Linear(2, 1), X, transform=lambda _: "x")
    assert caught.value.message == "heldout.transform returned a str"


@pytest.mark.parametrize(
    ("outputs", "field", "expected"),
    [
        (X, None, X),
        ((1, X), 1, X),
        ([X, 1], 0, X),
        ((1, X), -1, X),
        ({"logits": X}, "logits", X),
        (SimpleNamespace(logits=X), "logits", X),
        ({0: X}, 0, X),
    ],
)
def test_the_named_output_is_taken(outputs, field, expected):
    assert select_output(outputs, field) is expected


@pytest.mark.parametrize(
    ("outputs", "field", "message"),
    [
        ((1, 2), None, "the model returns a tuple of 2, and the spec does not say which"),
        ({"a": 1, "b": 2}, None, "the model returns a mapping of `a`, `b`, and the spec does not say which"),
        ({"a": 1}, "items", "the model returns a mapping of `a`, without `items`"),
        ((1, 2), 2, "the model returns a tuple of 2, without `2`"),
        ((1, 2), -3, "the model returns a tuple of 2, without `-3`"),
        (X, "logits", "the model returns a Tensor, without `logits`"),
        (SimpleNamespace(a=1), 0, "the model returns a SimpleNamespace, without `0`"),
    ],
)  # fmt: skip
def test_an_output_that_is_not_there(outputs, field, message):
    with pytest.raises(EvaluationError) as caught:
        select_output(outputs, field)
    assert caught.value.message == message
    assert caught.value.remedy == "set model.output_field to the one to judge"


@pytest.mark.parametrize(
    ("result", "message"),
    [
        (SimpleNamespace(logits=1), "the model returns a SimpleNamespace, not a tensor"),
        (None, "the model returns None, not a tensor"),
        (lambda: torch.empty(3, device="meta"), "the model returns a tensor without dense values"),
        (X.to_sparse(), "the model returns a tensor without dense values"),
    ],
)
def test_a_result_that_cannot_be_scored(result, message):
    with pytest.raises(EvaluationError) as caught:
        # Made here: a tensor in the parameters would live on the meta device as long as the tests.
        predict(Lambda(lambda _: result() if callable(result) else result), X)
    assert caught.value.message == message


def raiser(error):
    def function(*_args):
        raise error

    return Lambda(function)


def test_what_the_model_raises_is_said_with_its_place_and_the_inputs():
    with pytest.raises(EvaluationError) as caught:
        predict(raiser(ValueError("three\nlines\nhere")), X)
    assert caught.value.message.startswith(
        "the model raised ValueError: three lines here (test_predict.py:"
    )
    assert caught.value.message.endswith(") on inputs float32(3, 2)")


def test_a_name_of_the_models_cannot_break_the_line():
    with pytest.raises(EvaluationError) as caught:
        predict(Lambda(lambda _: {"a\n::error::": 1}), X)
    assert caught.value.message == (
        "the model returns a mapping of `a\\u000a::error::`, and the spec does not say which"
    )


class Stop(BaseException):
    """Such as those of pytest and of asynchronous libraries, which are no `Exception`."""


def test_what_is_no_exception_is_an_error_all_the_same():
    with pytest.raises(EvaluationError, match="the model raised Stop: enough"):
        predict(raiser(Stop("enough")), X)
    with pytest.raises(Interrupted):
        predict(raiser(Interrupted()), X)


def test_a_model_that_exits_does_not_end_the_program():
    with pytest.raises(EvaluationError, match="the model raised SystemExit: 0"):
        predict(raiser(SystemExit(0)), X)


def test_a_model_that_runs_out_of_samples_does_not_end_the_loop():
    with pytest.raises(EvaluationError, match="the model raised StopIteration"):
        predict(raiser(StopIteration()), X)


def test_a_tensor_that_was_left_on_the_meta_device_has_its_own_remedy():
    kept = torch.ones(2, device="meta")
    with pytest.raises(EvaluationError, match="device meta") as caught:
        predict(Lambda(lambda x: x + kept), X)
    assert caught.value.remedy.startswith("something that model.factory made is kept")


def test_a_dtype_that_does_not_match_has_its_own_remedy():
    with pytest.raises(EvaluationError) as caught:
        predict(nn.Linear(2, 1), X.double())
    assert "; its weights are float32, its inputs float64" in caught.value.message
    assert caught.value.remedy == "state `dtype: float32` for the input in the spec"


class Grouped(nn.Linear):
    """Its own method gives an optimizer's groups, and needs to know more for that."""

    def parameters(self, lr):
        return [{"params": [self.weight, self.bias], "lr": lr}]


def test_a_method_of_the_models_is_not_asked_for_its_dtype():
    assert predict(Grouped(2, 1), X).shape == (3, 1)
    with pytest.raises(EvaluationError, match=r"its weights are float32, its inputs float64"):
        predict(Grouped(2, 1), X.double())


@pytest.mark.parametrize(
    "error",
    [
        torch.OutOfMemoryError("CUDA out of memory"),
        MemoryError(),
        RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried to allocate 9 bytes"),
    ],
)
def test_both_forms_of_out_of_memory(error):
    with pytest.raises(OutOfMemoryError) as caught:
        predict(raiser(error), X)
    assert caught.value.message == "a batch of 3 samples does not fit in memory"


def test_autocast_runs_in_the_named_precision():
    assert predict(nn.Linear(2, 1), X, precision="bf16").dtype == torch.bfloat16
    assert predict(nn.Linear(2, 1), X, precision="fp32").dtype == torch.float32


def test_a_prepared_process_draws_the_same_numbers():
    import random

    import numpy as np

    drawn = []
    for _ in range(2):
        prepare(seed=7, precision="fp32")
        drawn.append((random.random(), np.random.rand(), torch.rand(1).item()))  # noqa: NPY002
    assert drawn[0] == drawn[1]


@pytest.mark.parametrize(
    ("precision", "allowed", "products"),
    [("fp32", False, "highest"), ("tf32", True, "high"), ("bf16", False, "highest")],
)
def test_fp32_means_ieee(precision, allowed, products):
    prepare(seed=0, precision=precision)
    try:
        assert torch.backends.cuda.matmul.allow_tf32 is allowed
        assert torch.backends.cudnn.allow_tf32 is allowed
        assert torch.get_float32_matmul_precision() == products
    finally:
        prepare(seed=0, precision="fp32")


def sets(name, value):
    """What code of the repository may do; torch has an old way and a new one."""
    if name == "products":
        torch.set_float32_matmul_precision(value)
        return
    owner, _, flag = name.rpartition(".")
    setattr(attrgetter(owner)(torch.backends) if owner else torch.backends, flag, value)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("products", "medium"),
        ("products", "high"),
        ("cuda.matmul.allow_tf32", True),
        ("cudnn.allow_tf32", True),
        ("fp32_precision", "tf32"),
        ("cuda.matmul.fp32_precision", "tf32"),
        ("cudnn.fp32_precision", "tf32"),
        ("cudnn.conv.fp32_precision", "tf32"),
        ("mkldnn.fp32_precision", "bf16"),
        ("mkldnn.matmul.fp32_precision", "bf16"),
        ("mkldnn.conv.fp32_precision", "bf16"),
        ("mkldnn.rnn.fp32_precision", "bf16"),
    ],
)
def test_a_precision_that_code_of_the_repository_sets(name, value):
    """Before a pass it is set back; in one it is an error."""
    try:
        sets(name, value)
        with in_precision("fp32"):
            assert torch.get_float32_matmul_precision() == "highest"
            assert not torch.backends.cuda.matmul.allow_tf32
            assert not torch.backends.cudnn.allow_tf32
        with pytest.raises(EvaluationError, match="not all of it was computed in fp32"):  # noqa: SIM117
            with in_precision("fp32"):
                sets(name, value)
    finally:
        prepare(seed=0, precision="fp32")
