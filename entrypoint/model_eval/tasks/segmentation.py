"""A class for each pixel: how many pixels of each class were hit, predicted and there.

Pixels are not kept: the ledger of a set of masks would be as large as the set.
"""

import torch
from torch import Tensor

from model_eval.errors import EvaluationError
from model_eval.tasks.shapes import (
    ELEMENTS_AT_ONCE,
    cut_of,
    inside_unit,
    like_distribution,
    look_like_probabilities,
    require_real,
    sigmoid,
)
from model_eval.types import OutputKind

DEFAULT_THRESHOLD = 0.5
"""Of a single channel, where the spec states none."""


def class_count(outputs: Tensor, pixels: tuple[int, ...], *, threshold: float | None) -> int:
    """How many classes the outputs have; one channel has two.

    Args:
        outputs: (N, C, *pixels), or (N, 1, *pixels) or (N, *pixels) for the second of two classes.
        pixels: the shape of a mask, (H, W) as a rule.
        threshold: what the spec states.

    Raises:
        EvaluationError: the outputs have another shape, or no use for the threshold.
    """
    if tuple(outputs.shape[1:]) == pixels:
        return 2
    if outputs.ndim != len(pixels) + 2 or tuple(outputs.shape[2:]) != pixels:
        raise EvaluationError(
            f"the model returned shape {tuple(outputs.shape)} for masks of shape {pixels}",
            remedy="return (N, C, H, W) with the height and width of the masks; resize in "
            "model.postprocess",
        )
    channels = outputs.shape[1]
    if channels > 1 and threshold is not None:
        raise EvaluationError(
            f"the spec states a threshold, and the model returned {channels} channels, of which "
            "the largest is the prediction",
            remedy="remove `threshold`, or return one channel",
        )
    return max(2, channels)


def columns(
    outputs: Tensor,
    target: Tensor,
    *,
    kind: OutputKind,
    threshold: float | None,
    ignore_index: int,
) -> dict[str, Tensor]:
    """The ledger's columns for a batch.

    Args:
        outputs: see `class_count`.
        target: integers (N, *pixels), each in [0, C) or `ignore_index`.
        kind: what the outputs are.
        threshold: of one channel; a probability at or above it is the second class; see
            `shapes.cut_of`.
        ignore_index: pixels with this target are not counted, whatever the outputs are there.

    Returns:
        `hits`, `predicted` and `support`, int64 (N, C): the pixels of each class that were
        predicted as it, that were predicted as it, and that are of it; `finite` and
        `like_probability` bool (N,). Of several channels the first largest is predicted, of any
        dtype. A logit of -inf is a class that the model rules out, and is finite enough.
    """
    require_real(outputs)
    classes = class_count(outputs, tuple(target.shape[1:]), threshold=threshold)
    if outputs.device.type == "mps":  # Apple's devices have no float64
        outputs = outputs.cpu()
    # (N, C, P) and (N, P): pixels in a row, however many axes they have.
    pixels = target[0].numel()
    values, target = outputs.reshape(len(target), -1, pixels), target.reshape(-1, pixels)
    cut = DEFAULT_THRESHOLD if threshold is None else threshold
    if kind is OutputKind.PROBABILITIES:
        cut = cut_of(cut, outputs)
    step = max(1, ELEMENTS_AT_ONCE // values[0].numel())
    parts = [
        _images(
            values[start : start + step],
            target[start : start + step].long(),
            kind=kind,
            threshold=cut,
            classes=classes,
            ignore_index=ignore_index,
        )
        for start in range(0, len(target), step)
    ]
    return {name: torch.cat([part[name] for part in parts]) for name in parts[0]}


def _images(
    values: Tensor,
    target: Tensor,
    *,
    kind: OutputKind,
    threshold: float,
    classes: int,
    ignore_index: int,
) -> dict[str, Tensor]:
    counted = target != ignore_index
    if values.shape[1] == 1:
        largest = values[:, 0].double()
        probability = sigmoid(largest) if kind is OutputKind.LOGITS else largest
        prediction = (probability >= threshold).long()
        like_probability = inside_unit(torch.where(counted, largest, 0.0))
    else:
        largest, prediction = values.max(dim=1)
        if kind is OutputKind.LOGITS:
            # One pixel tells what outputs are that are not meant to be probabilities.
            like_probability = look_like_probabilities(values[:, :, 0].double())
        else:
            total = values.sum(dim=1, dtype=torch.float64)
            likely = like_distribution(values.amin(dim=1), largest, total)
            like_probability = (likely | ~counted).all(dim=1)
            largest = total
    return {
        "finite": (largest.isfinite() | ~counted).all(dim=1),
        "like_probability": like_probability,
        "hits": _count(target, counted & (prediction == target), classes),
        "predicted": _count(prediction, counted, classes),
        "support": _count(target, counted, classes),
    }


def _count(label: Tensor, there: Tensor, classes: int) -> Tensor:
    """(N, classes) how often each label (N, P) is there."""
    rows = len(label)
    first = torch.arange(rows, device=label.device)[:, None] * (classes + 1)
    cell = first + torch.where(there, label, classes)
    counts = torch.bincount(cell.reshape(-1), minlength=rows * (classes + 1))
    return counts.reshape(rows, classes + 1)[:, :classes]
