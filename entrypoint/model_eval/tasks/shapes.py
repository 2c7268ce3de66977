"""Checks that every task needs of a model's outputs."""

import torch
from torch import Tensor

from model_eval.errors import EvaluationError


def require_rows(outputs: Tensor, rows: int) -> None:
    """Raises EvaluationError unless the first axis has one row for each sample."""
    if outputs.ndim == 0 or outputs.shape[0] != rows:
        raise EvaluationError(
            f"the model returned shape {tuple(outputs.shape)} for a batch of "
            f"{rows} sample{'' if rows == 1 else 's'}",
            remedy="the first axis of its output must be the batch; use model.postprocess",
        )


def to_float64(outputs: Tensor) -> Tensor:
    """In float64, on the CPU where the device has no float64 (Apple's)."""
    if outputs.is_complex() or outputs.dtype == torch.bool:
        raise EvaluationError(
            f"the model returned {str(outputs.dtype).removeprefix('torch.')} numbers",
            remedy="return real floating point numbers; use model.postprocess",
        )
    return outputs.cpu().double() if outputs.device.type == "mps" else outputs.double()
