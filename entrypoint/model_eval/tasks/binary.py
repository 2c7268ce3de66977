"""Two classes: the columns `prediction`, `probability` and `log_loss`."""

import torch
from torch import Tensor

from model_eval.errors import EvaluationError
from model_eval.tasks.shapes import cut_of, look_like_probabilities, sigmoid, softplus, to_float64
from model_eval.types import OutputKind


def columns(
    outputs: Tensor, target: Tensor, *, kind: OutputKind, threshold: float
) -> dict[str, Tensor]:
    """The ledger's columns for a batch.

    Args:
        outputs: (N,) or (N, 1) for the positive class, or (N, 2) for negative and positive.
        target: int64 (N,), 0 or 1.
        kind: what the outputs are. Of two logits only the difference matters.
        threshold: a probability at or above it is the positive class; see `shapes.cut_of`.

    Returns:
        `prediction` int64, `probability` of the positive class float64, from logits also `score`
        float64 (the log-odds), `log_loss` float64 (-ln of the probability of the target: exact
        from logits, from probabilities clipped to float64's resolution), `finite` bool and
        `like_probability` bool, each (N,).
    """
    if outputs.ndim > 2 or (outputs.ndim == 2 and outputs.shape[1] not in {1, 2}):
        raise EvaluationError(
            f"the model returned shape {tuple(outputs.shape)}; a binary task needs "
            "(N,), (N, 1) or (N, 2)",
            remedy="set `task: multiclass`, model.output_field or model.postprocess",
        )
    values = to_float64(outputs).reshape(len(target), -1)
    positive = target == 1
    columns = {
        "finite": values.isfinite().all(dim=1),
        "like_probability": look_like_probabilities(values),
    }
    if kind is OutputKind.LOGITS:
        logit = values[:, -1] - values[:, 0] if values.shape[1] == 2 else values[:, 0]
        probability = sigmoid(logit)
        columns["score"] = logit
        columns["log_loss"] = softplus(torch.where(positive, -logit, logit))
    else:
        threshold = cut_of(threshold, outputs)
        probability = values[:, -1]
        eps = torch.finfo(torch.float64).eps
        of_target = torch.where(positive, probability, 1 - probability)
        columns["log_loss"] = -of_target.clamp(eps, 1 - eps).log()
    columns["probability"] = probability
    columns["prediction"] = (probability >= threshold).long()
    return columns
