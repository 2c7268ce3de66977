"""One class of several: the columns `prediction`, `probability` and `log_loss`."""

import torch
from torch import Tensor

from model_eval.errors import EvaluationError
from model_eval.tasks.shapes import look_like_probabilities, to_float64
from model_eval.types import OutputKind


def require_scores(outputs: Tensor) -> None:
    """Raises EvaluationError unless the outputs are (N, C) with at least two classes."""
    if outputs.ndim != 2 or outputs.shape[1] < 2:
        raise EvaluationError(
            f"the model returned shape {tuple(outputs.shape)}; a multiclass task needs (N, C)",
            remedy="set `task: binary`, model.output_field or model.postprocess",
        )


def columns(outputs: Tensor, target: Tensor, *, kind: OutputKind) -> dict[str, Tensor]:
    """The ledger's columns for a batch.

    Args:
        outputs: (N, C), see `require_scores`.
        target: int64 (N,), each in [0, C).
        kind: what the outputs are.

    Returns:
        `prediction` int64 (N,), the first largest output; `probability` (N, C), float32, or
        float64 where the outputs are; from logits also `score` (N, C), the log-probability in
        the same dtype; `log_loss` float64 (N,), -ln of the probability of the target (exact from
        logits; from probabilities clipped to float64's resolution); `finite` and
        `like_probability` bool (N,). A logit of -inf is a class that the model rules out, and is
        finite enough.
    """
    values = to_float64(outputs)
    keep = torch.float64 if outputs.dtype == torch.float64 else torch.float32
    columns = {
        "prediction": values.argmax(dim=1),
        "like_probability": look_like_probabilities(values),
    }
    if kind is OutputKind.LOGITS:
        log_probability = values.log_softmax(dim=1)
        columns["finite"] = (values < torch.inf).all(dim=1) & (values > -torch.inf).any(dim=1)
        columns["log_loss"] = -_of_target(log_probability, target)
        columns["score"] = log_probability.to(keep)
        columns["probability"] = log_probability.exp().to(keep)
    else:
        eps = torch.finfo(torch.float64).eps
        columns["finite"] = values.isfinite().all(dim=1)
        columns["log_loss"] = -_of_target(values, target).clamp(eps, 1 - eps).log()
        columns["probability"] = values.to(keep)
    return columns


def _of_target(values: Tensor, target: Tensor) -> Tensor:
    return values.gather(1, target[:, None]).squeeze(1)
