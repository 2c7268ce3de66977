"""One class of several: `prediction` at once; `probability`, `score` and `log_loss` when asked for."""

from collections.abc import Callable, Iterator
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from model_eval.errors import EvaluationError
from model_eval.ledger import Array, Deferred
from model_eval.tasks.shapes import like_distribution, look_like_probabilities, require_real
from model_eval.types import OutputKind

_ELEMENTS = 1 << 17
"""Outputs that are worked on at a time: what comes of them stays in the processor's cache."""

_ALIGNED = 256
"""Rows that fill whole vector registers: the last few of a part go another way, and round another way."""


def require_scores(outputs: Tensor) -> None:
    """Raises EvaluationError unless the outputs are (N, C) with at least two classes."""
    if outputs.ndim != 2 or outputs.shape[1] < 2:
        raise EvaluationError(
            f"the model returned shape {tuple(outputs.shape)}; a multiclass task needs (N, C)",
            remedy="set `task: binary`, model.output_field or model.postprocess",
        )


def columns(outputs: Tensor, *, kind: OutputKind) -> dict[str, Tensor]:
    """What a batch leaves at once.

    Args:
        outputs: (N, C), see `require_scores`.
        kind: what the outputs are.

    Returns:
        `prediction` int64 (N,), the first largest output; `finite` bool (N,); of logits also
        `largest` (N,), of probabilities `like_probability` bool (N,), which `Scorer.ledger` takes
        out again. A logit of -inf is a class that the model rules out, and is
        finite enough.

    Raises:
        EvaluationError: the outputs are not real floating point numbers.
    """
    require_real(outputs)
    top = outputs.max(dim=1)
    if kind is OutputKind.LOGITS:
        # Largest is NaN where one of them is. A softmax has no use for +inf, or for -inf alone.
        # Subtraction instead of `isfinite`, which is several passes: only finite ones leave 0.
        # Half precision is exact in float32, and NumPy has no bfloat16.
        largest = top.values if outputs.dtype == torch.float64 else top.values.float()
        return {"prediction": top.indices, "finite": largest - largest == 0, "largest": largest}
    total = outputs.sum(dim=1, dtype=None if outputs.dtype == torch.float64 else torch.float32)
    return {
        "prediction": top.indices,
        "finite": outputs.isfinite().all(dim=1),
        "like_probability": like_distribution(outputs.amin(dim=1), top.values, total),
    }


def all_like_probabilities(outputs: Tensor, finite: Tensor) -> bool:
    """Whether every finite row of logits (N, C) is inside 0 to 1 and sums to 1; mostly the first tells."""
    size = _rows(outputs)
    for part, rows in zip(torch.split(outputs, size), torch.split(finite, size), strict=True):
        if not bool((look_like_probabilities(part.double()) | ~rows).all()):
            return False
    return True


def derived(
    outputs: Tensor, target: Tensor, largest: Tensor | None, *, kind: OutputKind
) -> dict[str, Deferred]:
    """The columns that are computed from all outputs when they are asked for.

    Args:
        outputs: (N, C) on the CPU, float32 or float64.
        target: int64 (N,), each in [0, C).
        largest: of each row of logits (N,); None of probabilities.
        kind: what the outputs are.

    Returns:
        `log_loss` float64 (N,), -ln of the probability of the target (exact from logits; from
        probabilities clipped to float64's resolution); `probability` (N, C) in the outputs' dtype;
        from logits also `score` (N, C), the log-probability in the same dtype.
    """
    if kind is OutputKind.LOGITS:
        functions = {
            "log_loss": (_loss_of_logits, torch.float64, ()),
            "score": (_log_softmax, outputs.dtype, outputs.shape[1:]),
            "probability": (_softmax, outputs.dtype, outputs.shape[1:]),
        }
    else:
        functions = {
            "log_loss": (_loss_of_probabilities, torch.float64, ()),
            "probability": (_as_they_are, outputs.dtype, outputs.shape[1:]),
        }
    rows = _Outputs(outputs, target, outputs[:, 0] if largest is None else largest)
    return {
        name: _deferred(function, rows, dtype, (len(outputs), *shape))
        for name, (function, dtype, shape) in functions.items()
    }


class _Outputs(NamedTuple):
    """Of some rows: outputs (n, C), target (n,), and the largest output (n,)."""

    outputs: Tensor
    target: Tensor
    largest: Tensor

    def parts(self) -> Iterator["_Outputs"]:
        size = _rows(self.outputs)
        for parts in zip(*(torch.split(value, size) for value in self), strict=True):
            yield _Outputs(*parts)


def _deferred(
    function: Callable[[_Outputs], Tensor],
    rows: _Outputs,
    dtype: torch.dtype,
    shape: tuple[int, ...],
) -> Deferred:
    kind = np.dtype(np.float64 if dtype == torch.float64 else np.float32)

    def make() -> Array:
        # Class by class: rankings take one class at a time, and losses one number of a row. By
        # NumPy, which asks for huge pages.
        made: Array = np.empty(shape[::-1], dtype=kind).T
        found, start = torch.from_numpy(made), 0
        with torch.inference_mode():
            for part in rows.parts():
                end = start + len(part.target)
                found[start:end] = function(part)
                start = end
        return made

    return Deferred(shape=shape, dtype=kind, make=make)


def _rows(outputs: Tensor) -> int:
    """Of a part; so that parts of a run in parts begin where those of a whole run do, to the last bit."""
    rows = max(1, _ELEMENTS // outputs.shape[1])
    return rows // _ALIGNED * _ALIGNED or rows


# In steps, with a product for the sum of a row: a third of the time of log_softmax on a CPU, and
# the same digits.
def _below_and_total(rows: _Outputs) -> tuple[Tensor, Tensor]:
    """Logits under the row's largest (n, C), and the logarithm of the sum of their exponentials."""
    below = rows.outputs.double() - rows.largest[:, None]
    ones = below.new_ones(below.shape[1])
    return below, (below.exp() @ ones).log_()


def _log_softmax(rows: _Outputs) -> Tensor:
    below, total = _below_and_total(rows)
    return below.sub_(total[:, None])


def _softmax(rows: _Outputs) -> Tensor:
    return _log_softmax(rows).exp_()


def _loss_of_logits(rows: _Outputs) -> Tensor:
    below, total = _below_and_total(rows)
    return total - _of_target(below, rows.target)


def _loss_of_probabilities(rows: _Outputs) -> Tensor:
    eps = torch.finfo(torch.float64).eps
    return -_of_target(rows.outputs, rows.target).double().clamp(eps, 1 - eps).log()


def _as_they_are(rows: _Outputs) -> Tensor:
    return rows.outputs


def _of_target(values: Tensor, target: Tensor) -> Tensor:
    return values.gather(1, target[:, None]).squeeze(1)
