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
    top = values.max(dim=1)
    columns = {
        "prediction": top.indices,
        "like_probability": look_like_probabilities(values),
    }
    if kind is OutputKind.LOGITS:
        # log_softmax in steps: half its time on a CPU, the same digits, and a row's total is not
        # finite just where the row is of no use.
        below = values - top.values[:, None]
        total = below.exp().sum(dim=1).log()
        log_probability = below - total[:, None]
        columns["finite"] = total.isfinite()
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
