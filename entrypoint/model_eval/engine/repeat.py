"""The same inputs must give the same outputs: a verdict of a model that draws lots is luck."""

import torch
from torch import Tensor

from model_eval.engine.predict import Predict
from model_eval.errors import EvaluationError
from model_eval.heldout import Batch

ROWS = 32
"""Samples of the first batch that are run twice."""

ELEMENTS = 1 << 24
"""Of so many numbers: a language model's outputs would not fit twice."""

TOLERANCE = 1e-3
"""Relative to 1 + |output|: far above the noise of parallel sums, far below that of dropout."""


def require_repeatable(predict: Predict, batch: Batch, *, rows: int = ROWS) -> None:
    """Runs a few samples twice.

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
    (once, shape), (again, other) = (numbers(predict(args, kwargs)) for _ in range(2))
    if shape != other:
        raise _differs(f"shapes {tuple(shape)} and {tuple(other)}")
    off = (once - again).abs() / (1 + once.abs())
    # NaN in the same place is another matter; infinities of one sign give NaN here, too.
    worst = off[~off.isnan()].max().item() if off.numel() and not off.isnan().all() else 0.0
    if worst > TOLERANCE or bool((once.isnan() != again.isnan()).any()):
        raise _differs(f"they differ by up to {worst:.3g} of their size")


def numbers(outputs: Tensor) -> tuple[Tensor, torch.Size]:
    """Some of the outputs as float64 on the CPU, in memory of their own, and the shape of all.

    Complex ones are pairs.
    """
    if outputs.is_complex():
        outputs = torch.view_as_real(outputs)
    # A copy, because some models write every output into the same memory.
    return outputs.detach().reshape(-1)[:ELEMENTS].cpu().double().clone(), outputs.shape


def _differs(how: str) -> EvaluationError:
    return EvaluationError(
        f"the model gives different outputs for the same inputs: {how}",
        remedy="turn off what is random in evaluation: F.dropout without training=self.training, "
        "sampling, random transforms",
    )
