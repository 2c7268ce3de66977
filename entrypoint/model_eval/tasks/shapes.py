"""Checks that every task needs of a model's outputs."""

import torch
from torch import Tensor

from model_eval.errors import EvaluationError
from model_eval.wording import dtype_name

ELEMENTS_AT_ONCE = 1 << 24
"""Outputs that are large for one sample are scored in so many numbers at a time."""

PROBABILITY_TOLERANCE = 1e-2
"""How far probabilities of a sample may be from summing to one (half precision)."""


def require_rows(outputs: Tensor, rows: int) -> None:
    """Raises EvaluationError unless the first axis has one row for each sample."""
    if outputs.ndim == 0 or outputs.shape[0] != rows:
        raise EvaluationError(
            f"the model returned shape {tuple(outputs.shape)} for a batch of "
            f"{rows} sample{'' if rows == 1 else 's'}",
            remedy="the first axis of its output must be the batch; use model.postprocess",
        )


def require_real(outputs: Tensor) -> None:
    """Raises EvaluationError unless the outputs are real floating point numbers of two bytes or more."""
    if not outputs.is_floating_point():
        raise EvaluationError(
            f"the model returned {dtype_name(outputs.dtype)} numbers",
            remedy="return real floating point numbers; use model.postprocess",
        )
    if outputs.element_size() == 1:  # with which torch can do little but convert them
        raise EvaluationError(
            f"the model returned {dtype_name(outputs.dtype)} numbers, which cannot be compared",
            remedy="return float32 from model.postprocess",
        )


def to_float64(outputs: Tensor) -> Tensor:
    """In float64, on the CPU where the device has no float64 (Apple's).

    Raises:
        EvaluationError: the outputs are not real floating point numbers.
    """
    require_real(outputs)
    return outputs.cpu().double() if outputs.device.type == "mps" else outputs.double()


def cut_of(threshold: float, outputs: Tensor) -> float:
    """The threshold on probabilities that the model returns: the nearest number that they can be.

    A model that answers 0.7 in float32 answers 0.69999999, which is 0.7 wherever it is compared in
    float32. No probability but this one changes sides. It stays above 0, where all are positive.
    """
    cut = torch.tensor(threshold, dtype=outputs.dtype, device="cpu").item()
    return cut if cut > 0 else threshold


def sigmoid(logits: Tensor) -> Tensor:
    """1 / (1 + e^-x), with the same bits wherever in a tensor a number is.

    torch's own goes another way for the last few, which fill no vector register, and rounds another
    way: who is at the threshold would change sides with the size of a batch.
    """
    return logits.neg().exp_().add_(1).reciprocal_()


def softplus(values: Tensor) -> Tensor:
    """ln(1 + e^x), with the same bits wherever in a tensor a number is; see `sigmoid`."""
    return values.abs().neg_().exp_().log1p_().add_(values.clamp(min=0))


def look_like_probabilities(values: Tensor) -> Tensor:
    """Which rows (N,) of outputs (N, C) are inside 0 to 1 and, where C > 1, sum to 1.

    Within `PROBABILITY_TOLERANCE`, as half precision needs.
    """
    if values.shape[1] == 1:
        return inside_unit(values)
    return like_distribution(values.amin(dim=1), values.amax(dim=1), values.sum(dim=1))


def inside_unit(values: Tensor) -> Tensor:
    """Which rows (N,) of outputs (N, C) are inside 0 to 1."""
    return (values.amin(dim=1) >= 0) & (values.amax(dim=1) <= 1)


def like_distribution(low: Tensor, high: Tensor, total: Tensor) -> Tensor:
    """Whether numbers with these extremes and this sum are probabilities, in each place."""
    return (low >= 0) & (high <= 1) & ((total - 1).abs() <= PROBABILITY_TOLERANCE)
