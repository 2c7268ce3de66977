"""The next token: what a document costs in nats, and how many of its tokens were predicted."""

import torch
from torch import Tensor

from model_eval.errors import EvaluationError
from model_eval.tasks.shapes import ELEMENTS_AT_ONCE, like_distribution, to_float64
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
    parts = [
        _positions(flat[start : start + step], wanted[start : start + step], kind)
        for start in range(0, len(flat), step)
    ]
    loss, hit, finite, likely = (
        torch.cat(part).reshape(target.shape) for part in zip(*parts, strict=True)
    )
    return {
        "finite": (finite | ~counted).all(dim=1),
        "like_probability": (likely | ~counted).all(dim=1),
        # Not times 0: what is not counted may be NaN.
        "nll": torch.where(counted, loss, 0.0).sum(dim=1),
        "tokens": counted.sum(dim=1),
        "hits": (hit & counted).sum(dim=1),
    }


def _positions(
    outputs: Tensor, target: Tensor, kind: OutputKind
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """The loss, and whether it is a hit, finite and like probabilities, each (P,)."""
    values = to_float64(outputs)
    top = values.max(dim=1)
    total = values.sum(dim=1)
    likely = like_distribution(values.amin(dim=1), top.values, total)
    of_target = values.gather(1, target[:, None]).squeeze(1)
    if kind is OutputKind.LOGITS:
        # As in `multiclass`: a position's total is not finite just where it is of no use.
        spread = (values - top.values[:, None]).exp_().sum(dim=1).log_()
        loss, finite = spread - (of_target - top.values), spread.isfinite()
    else:
        eps = torch.finfo(torch.float64).eps
        loss, finite = -of_target.clamp(eps, 1 - eps).log(), total.isfinite()
    return loss, top.indices == target, finite, likely
