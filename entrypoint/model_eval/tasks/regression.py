"""Real numbers: the column `prediction`."""

from torch import Tensor

from model_eval.errors import EvaluationError
from model_eval.tasks.shapes import to_float64


def columns(outputs: Tensor, target: Tensor) -> dict[str, Tensor]:
    """The ledger's columns for a batch.

    Args:
        outputs: (N, K); (N,) where K is 1. Nothing else is reshaped: (N,) against (N, 1) would
            broadcast to (N, N) and give a number that looks like a metric.
        target: float64 (N, K).

    Returns:
        `prediction` float64 (N, K) and `finite` bool (N,).
    """
    values = to_float64(outputs)
    if values.ndim == 1:
        values = values[:, None]
    if values.shape != target.shape:
        raise EvaluationError(
            f"the model returned shape {tuple(outputs.shape)} for targets of shape "
            f"{tuple(target.shape)}",
            remedy="name as many columns under heldout.target as the model has outputs",
        )
    return {"prediction": values, "finite": values.isfinite().all(dim=1)}
