"""The next token: what a document costs in nats, and how many of its tokens were predicted."""

import torch
from torch import Tensor

from model_eval.errors import EvaluationError
from model_eval.tasks.shapes import (
    ELEMENTS_AT_ONCE,
    like_distribution,
    look_like_probabilities,
    to_float64,
)
from model_eval.types import OutputKind


def require_tokens(outputs: Tensor, shape: tuple[int, ...]) -> None:
    """Raises EvaluationError unless outputs are (N, T, V) for targets of shape (N, T)."""
    if outputs.ndim != 3 or tuple(outputs.shape[:2]) != shape or outputs.shape[2] < 2:
        raise EvaluationError(
            f"the model returned shape {tuple(outputs.shape)} for tokens of shape {shape}",
            remedy="return (N, T, V), with a number for each token of the vocabulary at every "
            "position of the input; set model.output_field or model.postprocess",
        )


def columns(
    outputs: Tensor, target: Tensor, *, kind: OutputKind, ignore_index: int
) -> dict[str, Tensor]:
    """The ledger's columns for a batch of documents.

    Args:
        outputs: (N, T, V), see `require_tokens`.
        target: int64 (N, T), the token that follows each position: in [0, V) or `ignore_index`.
        kind: what the outputs are; log-probabilities are logits.
        ignore_index: positions with this target are not counted, whatever the outputs are there.

    Returns:
        `nll` float64 (N,), the sum over counted positions of -ln of the probability of the target
        (exact from logits; from probabilities clipped to float64's resolution); `tokens` int64
        (N,), how many are counted; `hits` int64 (N,), of how many the first largest output is the
        target; `finite` and `like_probability` bool (N,). A logit of -inf is a token that the
        model rules out, and is finite enough.
    """
    counted = target != ignore_index
    wanted = torch.where(counted, target, 0).reshape(-1)
    flat = outputs.reshape(-1, outputs.shape[-1])
    step = max(1, ELEMENTS_AT_ONCE // flat.shape[1])
    function = _of_logits if kind is OutputKind.LOGITS else _of_probabilities
    parts = [
        function(flat[start : start + step], wanted[start : start + step])
        for start in range(0, len(flat), step)
    ]
    found = {
        name: torch.cat([part[name] for part in parts]).reshape(target.shape) for name in parts[0]
    }
    if kind is OutputKind.LOGITS:
        # One position tells what outputs are that are not meant to be probabilities.
        like_probability = look_like_probabilities(to_float64(outputs[:, 0]))
    else:
        like_probability = (found["likely"] | ~counted).all(dim=1)
    return {
        "finite": (found["finite"] | ~counted).all(dim=1),
        "like_probability": like_probability,
        # Not times 0: what is not counted may be NaN.
        "nll": torch.where(counted, found["loss"], 0.0).sum(dim=1),
        "tokens": counted.sum(dim=1),
        "hits": (found["hit"] & counted).sum(dim=1),
    }


def _of_logits(outputs: Tensor, target: Tensor) -> dict[str, Tensor]:
    """The loss, and whether it is finite and a hit, each (P,)."""
    values = to_float64(outputs)
    top = values.max(dim=1)
    # As in `multiclass`: a position's total is not finite just where it is of no use.
    below = values - top.values[:, None]
    of_target = _at(below, target)
    total = below.exp_().sum(dim=1).log_()
    return {"loss": total - of_target, "finite": total.isfinite(), "hit": top.indices == target}


def _of_probabilities(outputs: Tensor, target: Tensor) -> dict[str, Tensor]:
    """The loss, and whether it is finite, a hit and of probabilities, each (P,)."""
    values = to_float64(outputs)
    top = values.max(dim=1)
    total = values.sum(dim=1)
    eps = torch.finfo(torch.float64).eps
    return {
        "loss": -_at(values, target).clamp(eps, 1 - eps).log(),
        "finite": total.isfinite(),
        "hit": top.indices == target,
        "likely": like_distribution(values.amin(dim=1), top.values, total),
    }


def _at(values: Tensor, index: Tensor) -> Tensor:
    return values.gather(1, index[:, None]).squeeze(1)
