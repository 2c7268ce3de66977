"""Any of several labels: the columns `prediction`, `probability` and `log_loss`."""

import torch
from torch import Tensor

from model_eval.errors import EvaluationError
from model_eval.tasks.shapes import cut_of, inside_unit, sigmoid, softplus, to_float64
from model_eval.types import OutputKind


def columns(
    outputs: Tensor, target: Tensor, *, kind: OutputKind, threshold: float
) -> dict[str, Tensor]:
    """The ledger's columns for a batch.

    Args:
        outputs: (N, L), one number for each label.
        target: bool (N, L).
        kind: what the outputs are.
        threshold: a label whose probability is at or above it is predicted; see `shapes.cut_of`.

    Returns:
        `prediction` bool (N, L); `probability` (N, L), float32, or float64 where the outputs are;
        from logits also `score` (N, L), the log-odds in the same dtype; `log_loss` float64 (N,),
        the mean over labels of the binary cross-entropy (exact from logits; from probabilities
        clipped to float64's resolution); `finite` and `like_probability` bool (N,).
    """
    if outputs.ndim != 2 or outputs.shape != target.shape:
        raise EvaluationError(
            f"the model returned shape {tuple(outputs.shape)} for labels of shape "
            f"{tuple(target.shape)}",
            remedy="name as many labels under heldout.target as the model has outputs",
        )
    values = to_float64(outputs)
    keep = torch.float64 if outputs.dtype == torch.float64 else torch.float32
    columns = {
        "finite": values.isfinite().all(dim=1),
        "like_probability": inside_unit(values),
    }
    if kind is OutputKind.LOGITS:
        probability = sigmoid(values)
        columns["score"] = values.to(keep)
        loss = softplus(torch.where(target, -values, values))
    else:
        threshold = cut_of(threshold, outputs)
        probability = values
        eps = torch.finfo(torch.float64).eps
        loss = -torch.where(target, values, 1 - values).clamp(eps, 1 - eps).log()
    columns["log_loss"] = loss.mean(dim=1)
    columns["probability"] = probability.to(keep)
    columns["prediction"] = probability >= threshold
    return columns
