"""A language model must not look ahead where the tokens that it is given are its targets."""

import numpy as np
import torch
from torch import Tensor

from model_eval.engine.memory import memory_for
from model_eval.engine.predict import Predict
from model_eval.engine.repeat import ROWS, TOLERANCE, copies, off_by
from model_eval.errors import EvaluationError
from model_eval.heldout import Batch
from model_eval.ledger import Array
from model_eval.wording import count


def require_causal(predict: Predict, batch: Batch, *, ignore_index: int, rows: int = ROWS) -> None:
    """Runs a few documents with other tokens from a position on: the output before it must stay.

    Whatever a model sees of the future, of the next token or of all, it sees there. Every input
    with a place for each token is changed, so that masks and positions fit what they are of.

    Args:
        predict: the model's side.
        batch: documents whose targets are (N, T).
        ignore_index: the target of positions that are not counted.
        rows: how many of the documents.

    Raises:
        EvaluationError: the output changes.
    """
    target = batch.labels.target[:rows]
    last = _position(target != ignore_index)
    if last is None:
        return
    length = target.shape[1]
    args = tuple(value[:rows] for value in batch.args)
    kwargs = {name: value[:rows] for name, value in batch.kwargs.items()}
    counted = torch.from_numpy(np.flatnonzero(target[:, last] != ignore_index))
    given = _numbers(predict(*copies(args, kwargs)), counted, last, target.shape)
    other = _numbers(
        predict(
            *copies(
                tuple(_changed(value, last, length) for value in args),
                {name: _changed(value, last, length) for name, value in kwargs.items()},
            )
        ),
        counted,
        last,
        target.shape,
    )
    if given is None or other is None:
        return  # of the wrong shape, which the scoring explains
    wrong = (off_by(given, other) > TOLERANCE) | (given.isnan() != other.isnan())
    if bool(wrong.any()):
        raise EvaluationError(
            f"the model looks ahead: its output at position {last} of "
            f"{count(int(wrong.any(dim=1).sum()), 'document')} of {len(counted)} hangs on later "
            "tokens, which are its targets with `shift: true`",
            remedy="make it causal (mask attention to later positions); where looking ahead is "
            "meant, write the targets into a column of their own and leave `shift` out",
        )


def _position(counted: Array) -> int | None:
    """The middle one of the positions that most documents (N, T) count; None where none does.

    An even one where there is one, so that it is not the last of a block of even length, inside
    of which a model might look ahead.
    """
    often = counted.sum(axis=0)
    if not often.any():
        return None
    best = np.flatnonzero(often == often.max())
    even = best[best % 2 == 0]
    found = even if len(even) else best
    return int(found[len(found) // 2])


def _changed(value: Tensor, last: int, length: int) -> Tensor:
    """With the values after `last` replaced by those up to it, backwards: as valid, and others."""
    if value.ndim < 2 or value.shape[1] != length:
        return value
    position = torch.arange(length, device=value.device)
    return value[:, torch.where(position <= last, position, (last - position) % (last + 1))]


def _numbers(outputs: Tensor, rows: Tensor, last: int, shape: tuple[int, ...]) -> Tensor | None:
    """A copy of the outputs (rows, V) at a position, because models may reuse their memory."""
    if outputs.ndim != 3 or tuple(outputs.shape[:2]) != shape:
        return None
    with memory_for(len(outputs)):
        return outputs[:, last].detach().cpu()[rows].double()
