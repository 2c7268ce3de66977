"""What the held-out set hands over: inputs for the model's side, labels for the scoring side."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

Array = npt.NDArray[Any]
Column = Array | torch.Tensor


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Labels:
    """What only the scoring side sees of n samples.

    Attributes:
        ids: [n], int64 or object (str); the row's index where the spec names no id.
        target: int64 [n] of class indexes; float64 [n, K] for regression; bool [n, L] for
            multilabel; class indexes [n, ...] of pixels, in the file's integers, for segmentation;
            int64 [n, T] of next tokens for language_modeling.
        cluster: [n], int64, float64 or object (str); None where the spec names none.
        slices: column name → [n], int64, float64 or object (str).
        weight: float64 [n], finite and not negative; None where the spec names none.
        bytes: int64 [n], the length of each document; None where the spec names none.
    """

    ids: Array
    target: Array
    cluster: Array | None
    slices: Mapping[str, Array]
    weight: Array | None = None
    bytes: Array | None = None

    def __len__(self) -> int:
        return len(self.ids)


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Batch:
    """A few samples.

    Attributes:
        args: the model's positional arguments; tensors whose first axis is the sample, on the CPU
            until the engine sends them to the device.
        kwargs: its keyword arguments, likewise.
    """

    args: tuple[torch.Tensor, ...]
    kwargs: Mapping[str, torch.Tensor]
    labels: Labels

    def __len__(self) -> int:
        return len(self.labels)


def cut(batch: Batch, start: int, stop: int) -> Batch:
    """Some rows, as views."""
    if stop - start == len(batch):
        return batch
    part = slice(start, stop)
    return Batch(
        args=tuple(value[part] for value in batch.args),
        kwargs={name: value[part] for name, value in batch.kwargs.items()},
        labels=_labels_at(batch.labels, part),
    )


def select(batch: Batch, rows: npt.NDArray[np.int64]) -> Batch:
    """The rows at these positions, copied; a position may occur more than once."""
    index = torch.from_numpy(rows)
    return Batch(
        args=tuple(value[index] for value in batch.args),
        kwargs={name: value[index] for name, value in batch.kwargs.items()},
        labels=_labels_at(batch.labels, rows),
    )


def _labels_at(labels: Labels, rows: slice | npt.NDArray[np.int64]) -> Labels:
    return Labels(
        ids=labels.ids[rows],
        target=labels.target[rows],
        cluster=None if labels.cluster is None else labels.cluster[rows],
        slices={name: value[rows] for name, value in labels.slices.items()},
        weight=None if labels.weight is None else labels.weight[rows],
        bytes=None if labels.bytes is None else labels.bytes[rows],
    )


def join(pieces: Sequence[Batch]) -> Batch:
    """The rows of several batches behind one another; there must be at least one."""
    if len(pieces) == 1:
        return pieces[0]
    first = pieces[0]
    labels = [piece.labels for piece in pieces]
    clusters = [label.cluster for label in labels if label.cluster is not None]
    weights = [label.weight for label in labels if label.weight is not None]
    lengths = [label.bytes for label in labels if label.bytes is not None]
    return Batch(
        args=tuple(torch.cat(values) for values in zip(*(p.args for p in pieces), strict=True)),
        kwargs={name: torch.cat([p.kwargs[name] for p in pieces]) for name in first.kwargs},
        labels=Labels(
            ids=np.concatenate([label.ids for label in labels]),
            target=np.concatenate([label.target for label in labels]),
            cluster=np.concatenate(clusters) if clusters else None,
            slices={
                name: np.concatenate([label.slices[name] for label in labels])
                for name in first.labels.slices
            },
            weight=np.concatenate(weights) if weights else None,
            bytes=np.concatenate(lengths) if lengths else None,
        ),
    )
