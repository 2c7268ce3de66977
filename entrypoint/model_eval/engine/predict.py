"""The model's side: a batch of inputs in, a tensor of outputs out. No target ever comes here."""

import random
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import Any

import numpy as np
import torch
from torch import Tensor

from model_eval.checkpoint.slots import parameters_of
from model_eval.engine.memory import is_out_of_memory, remedy_for
from model_eval.errors import (
    EvaluationError,
    Interrupted,
    ModelEvalError,
    OutOfMemoryError,
    UserCodeError,
)
from model_eval.usercode import describe
from model_eval.wording import count, dtype_name, kind_of, printable

Predict = Callable[[tuple[Tensor, ...], Mapping[str, Tensor]], Tensor]
"""Positional and keyword inputs (on the CPU or the device, batch first) → outputs (on the device, batch first)."""

MEMORY_FORMATS = {
    "contiguous": torch.contiguous_format,
    "channels_last": torch.channels_last,
}
_AUTOCAST = {"bf16": torch.bfloat16, "fp16": torch.float16}
_BACKENDS: Any = torch.backends  # whose types know no `fp32_precision`
_BY_THE_FLAGS = (
    _BACKENDS.cuda.matmul,
    _BACKENDS.cudnn.conv,
    _BACKENDS.cudnn.rnn,
    _BACKENDS.mkldnn.matmul,
)
_BESIDE_THE_FLAGS = (
    _BACKENDS,
    _BACKENDS.cudnn,
    _BACKENDS.mkldnn,
    _BACKENDS.mkldnn.conv,
    _BACKENDS.mkldnn.rnn,
)


def prepare(*, seed: int, precision: str) -> None:
    """Sets the process up so that the same run gives the same numbers.

    fp32 means IEEE float32: without saying so, torch runs convolutions in TF32 on NVIDIA devices.
    """
    random.seed(seed)
    np.random.seed(seed)  # noqa: NPY002 — user code may draw from the global generator
    torch.manual_seed(seed)
    torch.backends.cudnn.benchmark = False
    torch.backends.cudnn.deterministic = True
    set_precision(precision)


def set_precision(precision: str) -> None:
    """Sets what products and convolutions of float32 are computed in, whatever has set it since.

    Args:
        precision: as the spec has it.
    """
    # The newer `fp32_precision` to nothing only: set for parts, it makes every reading of the old
    # flags raise, and torch's own compiler and exporter read them.
    for owner in _BESIDE_THE_FLAGS:
        owner.fp32_precision = "none"
    torch.set_float32_matmul_precision("high" if precision == "tf32" else "highest")
    torch.backends.cuda.matmul.allow_tf32 = precision == "tf32"
    torch.backends.cudnn.allow_tf32 = precision == "tf32"


@contextmanager
def in_precision(precision: str) -> Iterator[None]:
    """A pass that is computed as the spec says.

    Raises:
        EvaluationError: code of the repository set it otherwise meanwhile.
    """
    set_precision(precision)
    before = _precisions()
    yield
    if _precisions() != before:
        raise EvaluationError(
            "the model's code sets another precision while it runs, so that not all of it was "
            f"computed in {precision}",
            remedy="remove what sets it, such as torch.set_float32_matmul_precision or allow_tf32, "
            "and write what you want as run.precision",
        )


def _precisions() -> list[str]:
    """In the newer words, which tell of the old flags, too, and can always be read."""
    return [owner.fp32_precision for owner in (*_BESIDE_THE_FLAGS, *_BY_THE_FLAGS)]


def lay_out(model: torch.nn.Module, memory_format: str) -> None:
    """Lays out the weights of convolutions as the images that they will meet; values stay."""
    if memory_format != "contiguous":
        # Not model.to(…), which the model may override.
        lay: Callable[..., object] = torch.nn.Module.to  # whose types know no memory format
        lay(model, memory_format=MEMORY_FORMATS[memory_format])


def make_predict(
    model: torch.nn.Module,
    *,
    device: torch.device,
    precision: str,
    output_field: str | int | None,
    transform: Callable[..., Any] | None,
    postprocess: Callable[[Any], Any] | None,
    memory_format: torch.memory_format = torch.contiguous_format,
) -> Predict:
    """Binds the model to a device and to what the spec says of its inputs and outputs.

    Args:
        model: on the device, in eval mode.
        device: where inputs are moved to.
        precision: `bf16` and `fp16` are automatic mixed precision.
        output_field: which of several outputs; None for all of them.
        transform: inputs → inputs. What it raises is its own affair: see `usercode.call`.
        postprocess: outputs → tensor, likewise.
        memory_format: of inputs with four axes (N, C, H, W).

    Returns:
        A function that raises EvaluationError for whatever the model raises, with what it said,
        UserCodeError where the transform gives no tensors, and OutOfMemoryError where a batch
        does not fit.
    """
    expected = next((p.dtype for p in parameters_of(model).values() if p.is_floating_point()), None)

    moves = device.type != "cpu" or memory_format is not torch.contiguous_format

    def there(value: Tensor) -> Tensor:
        if value.ndim == 4 and memory_format is not torch.contiguous_format:
            return value.to(device, non_blocking=True, memory_format=memory_format)
        return value.to(device, non_blocking=True)

    def forward(args: tuple[Tensor, ...], kwargs: Mapping[str, Tensor]) -> Tensor:
        if moves:
            args = tuple(there(value) for value in args)
            kwargs = {name: there(value) for name, value in kwargs.items()}
        if transform is not None:
            args, kwargs = _transformed(transform(*args, **kwargs), there)
        outputs = model(*args, **kwargs)
        if output_field is not None or (postprocess is None and type(outputs) is not Tensor):
            outputs = select_output(outputs, output_field)
        if postprocess is not None:
            outputs = postprocess(outputs)
        return _require_tensor(outputs)

    def predict(args: tuple[Tensor, ...], kwargs: Mapping[str, Tensor]) -> Tensor:
        try:
            if precision not in _AUTOCAST and torch.is_inference_mode_enabled():
                return forward(args, kwargs)
            with torch.inference_mode(), _autocast(device, precision):
                return forward(args, kwargs)
        except Interrupted:
            raise
        except BaseException as error:  # a model may raise classes that are no `Exception`
            # Bound to no name that stays: with one, the error and this frame would hold each other, and
            # with them what the model had in memory, while half of the batch is tried.
            if isinstance(error, ModelEvalError) and not is_out_of_memory(error.__cause__):
                raise
            raise _explain(_raised(error), args, kwargs, expected) from error

    return predict


def select_output(outputs: Any, field: str | int | None) -> Any:
    """Takes the named field of a mapping or object, or the position of a tuple.

    Raises:
        EvaluationError: it is not there, or there are several and none is named.
    """
    remedy = "set model.output_field to the one to judge"
    if field is None:
        if isinstance(outputs, Mapping | tuple | list):
            raise EvaluationError(
                f"the model returns {_shape_of(outputs)}, and the spec does not say which",
                remedy=remedy,
            )
        return outputs
    if isinstance(outputs, Mapping) and field in outputs:
        return outputs[field]
    if isinstance(field, int):
        if isinstance(outputs, tuple | list) and -len(outputs) <= field < len(outputs):
            return outputs[field]
    elif not isinstance(outputs, Mapping) and hasattr(outputs, field):
        return getattr(outputs, field)
    raise EvaluationError(
        f"the model returns {_shape_of(outputs)}, without `{field}`", remedy=remedy
    )


def _shape_of(outputs: Any) -> str:
    if isinstance(outputs, Mapping):
        names = ", ".join(f"`{printable(str(name))}`" for name in list(outputs)[:10])
        return f"a mapping of {names or 'nothing'}"
    if isinstance(outputs, tuple | list):
        return f"a {type(outputs).__name__} of {len(outputs)}"
    return kind_of(outputs)


def _require_tensor(outputs: Any) -> Tensor:
    if not isinstance(outputs, Tensor):
        raise EvaluationError(
            f"the model returns {kind_of(outputs)}, not a tensor",
            remedy="set model.output_field, or return a tensor from model.postprocess",
        )
    # A subclass that handles every operation itself may have no values, or others than it shows.
    kind = type(outputs)
    if kind is not Tensor and kind.__torch_dispatch__ is not Tensor.__torch_dispatch__:
        raise EvaluationError(
            f"the model returns {kind_of(outputs)}, not a plain tensor",
            remedy="return a dense tensor with data from the model or model.postprocess",
        )
    dense = outputs.layout == torch.strided and not outputs.is_nested and not outputs.is_quantized
    if outputs.is_meta or not dense:
        raise EvaluationError(
            "the model returns a tensor without dense values",
            remedy="return a dense tensor with data from the model or model.postprocess",
        )
    return outputs if type(outputs) is Tensor else outputs.as_subclass(Tensor)


def _transformed(
    inputs: Any, there: Callable[[Tensor], Tensor]
) -> tuple[tuple[Tensor, ...], dict[str, Tensor]]:
    """What a transform returned: a tensor, a tuple (positional) or a mapping (keywords)."""
    if isinstance(inputs, Tensor):
        inputs = (inputs,)
    if isinstance(inputs, Mapping) and all(isinstance(v, Tensor) for v in inputs.values()):
        return (), {str(name): there(value) for name, value in inputs.items()}
    if isinstance(inputs, tuple | list) and all(isinstance(v, Tensor) for v in inputs):
        return tuple(there(value) for value in inputs), {}
    raise UserCodeError(
        f"heldout.transform returned {_shape_of(inputs)}",
        remedy="return a tensor, a tuple of tensors or a mapping of tensors",
    )


def _autocast(device: torch.device, precision: str) -> AbstractContextManager[Any]:
    dtype = _AUTOCAST.get(precision)
    return torch.autocast(device.type, dtype=dtype) if dtype else nullcontext()


def _raised(error: BaseException) -> BaseException:
    """What the model raised, or what code of the user's that it called did."""
    return (error.__cause__ if isinstance(error, ModelEvalError) else None) or error


def _explain(
    error: BaseException,
    args: tuple[Tensor, ...],
    kwargs: Mapping[str, Tensor],
    expected: torch.dtype | None,
) -> EvaluationError:
    tensors = (*args, *kwargs.values())
    rows = len(tensors[0]) if tensors and tensors[0].ndim else 0
    if is_out_of_memory(error):
        return OutOfMemoryError(
            f"a batch of {count(rows, 'sample')} does not fit in memory",
            remedy=remedy_for(rows),
        )
    floating = {t.dtype for t in tensors if t.is_floating_point()}
    if expected is not None and floating - {expected} and isinstance(error, RuntimeError):
        names = ", ".join(sorted(dtype_name(dtype) for dtype in floating))
        return EvaluationError(
            f"the model raised {describe(error)}; its weights are {dtype_name(expected)}, "
            f"its inputs {names}",
            remedy=f"state `dtype: {dtype_name(expected)}` for the input in the spec",
        )
    if "device meta" in str(error):
        return EvaluationError(
            f"the model raised {describe(error)}",
            remedy="something that model.factory made is kept between its calls, the first of which "
            "is on the meta device: name a function that calls it under `with torch.device('cpu'):`",
        )
    shapes = ", ".join(f"{dtype_name(t.dtype)}{tuple(t.shape)}" for t in tensors)
    return EvaluationError(
        f"the model raised {describe(error)} on inputs {shapes}",
        remedy="compare heldout.inputs with what the model's forward takes",
    )
