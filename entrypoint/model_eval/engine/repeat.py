"""The same inputs must give the same outputs: a verdict of a model that draws lots is luck."""

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from model_eval.engine.memory import memory_for
from model_eval.engine.predict import Predict
from model_eval.errors import EvaluationError
from model_eval.heldout import Batch

Args = tuple[Tensor, ...]
Kwargs = Mapping[str, Tensor]

ROWS = 32
"""Samples of the first batch that are run twice."""

ELEMENTS = 1 << 24
"""Of so many numbers: a language model's outputs would not fit twice."""

TOLERANCE = 1e-3
"""Of `off_by`: far above the noise of parallel sums, far below that of dropout."""

SMALLEST = 1e-6
"""Outputs are not taken for smaller than this: what is left where large numbers cancel is noise."""


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Repeated:
    """What two runs of a few samples gave.

    Attributes:
        outputs: of the first run, in memory of their own; None where they are large.
        changes_inputs: whether the model, or what is done to its inputs, changes these in place.
    """

    outputs: Tensor | None
    changes_inputs: bool


def require_repeatable(predict: Predict, batch: Batch, *, rows: int = ROWS) -> Repeated:
    """Runs a few samples twice, as copies.

    Args:
        predict: the model's side.
        batch: samples.
        rows: how many of them.

    Raises:
        EvaluationError: the outputs differ, as with dropout that evaluation mode does not turn
            off, or a random transform.
    """
    args = tuple(value[:rows] for value in batch.args)
    kwargs = {name: value[:rows] for name, value in batch.kwargs.items()}
    given = copies(args, kwargs)
    first = predict(*given)
    kept = kept_of(first) if first.numel() <= ELEMENTS else None
    once, shape = numbers(first)
    del first
    again, other = numbers(predict(*copies(args, kwargs)))
    if shape != other:
        raise _differs(f"shapes {tuple(shape)} and {tuple(other)}")
    off = off_by(once, again)
    # NaN in the same place is another matter.
    worst = off[~off.isnan()].max().item() if off.numel() and not off.isnan().all() else 0.0
    if worst > TOLERANCE or bool((once.isnan() != again.isnan()).any()):
        raise _differs(f"they differ by up to {worst:.3g} of their size")
    same = all(map(torch.equal, given[0], args)) and all(
        torch.equal(value, kwargs[name]) for name, value in given[1].items()
    )
    return Repeated(outputs=kept, changes_inputs=not same)


def copies(args: Args, kwargs: Kwargs) -> tuple[Args, Kwargs]:
    """Inputs that a model may change without changing what others see.

    Raises:
        OutOfMemoryError: there is no memory for them.
    """
    with memory_for(_rows(*args, *kwargs.values()), "inputs"):
        return (
            tuple(value.clone() for value in args),
            {name: value.clone() for name, value in kwargs.items()},
        )


def kept_of(outputs: Tensor) -> Tensor:
    """Outputs in memory of their own, because some models write every output into the same.

    Raises:
        OutOfMemoryError: there is no memory for them.
    """
    with memory_for(_rows(outputs)):
        return outputs.detach().clone()


def on_copies(predict: Predict) -> Predict:
    """A model's side that leaves its inputs as they are."""
    return lambda args, kwargs: predict(*copies(args, kwargs))


def versions(args: Args, kwargs: Kwargs) -> list[int]:
    """What torch counts up wherever inputs are changed in place; of inference tensors it counts nothing."""
    return [
        value._version  # noqa: SLF001
        for value in (*args, *kwargs.values())
        if not value.is_inference()
    ]


def off_by(expected: Tensor, found: Tensor) -> Tensor:
    """How far each number is off, relative to its own size and to 1, or the largest where that is less."""
    sizes = expected.abs()
    finite = sizes[sizes.isfinite()]
    scale = finite.max().clamp(SMALLEST, 1) if finite.numel() else 1
    off = (expected - found).abs() / (scale + sizes)
    # Infinity over infinity is NaN, which would pass for the same.
    endless = expected.isinf() | found.isinf()
    return torch.where(endless, torch.where(expected == found, 0.0, torch.inf), off)


def numbers(outputs: Tensor) -> tuple[Tensor, torch.Size]:
    """Some of the outputs as float64 on the CPU, in memory of their own, and the shape of all.

    Complex ones are pairs.

    Raises:
        OutOfMemoryError: there is no memory for them.
    """
    if outputs.is_complex():
        outputs = torch.view_as_real(outputs)
    with memory_for(_rows(outputs)):
        # A copy, because some models write every output into the same memory.
        found = outputs.detach().reshape(-1)[:ELEMENTS].cpu().double().clone()
    return found, outputs.shape


def _rows(*tensors: Tensor) -> int:
    """Of the first tensor; 0 where there is none, or it has no axis."""
    return len(tensors[0]) if tensors and tensors[0].ndim else 0


def _differs(how: str) -> EvaluationError:
    return EvaluationError(
        f"the model gives different outputs for the same inputs: {how}",
        remedy="turn off what is random in evaluation: F.dropout without training=self.training, "
        "sampling, random transforms",
    )
