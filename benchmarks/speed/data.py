"""Held-out sets in memory, and the two ways in which a loop gets at their batches."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Literal

import torch
from torch import Tensor
from torch.utils.data import DataLoader, TensorDataset

Task = Literal["classification", "regression"]

METRICS: dict[Task, tuple[str, ...]] = {
    "classification": ("accuracy", "precision_macro", "recall_macro", "f1_macro"),
    "regression": ("mse", "rmse", "mae", "r2"),
}
"""What every contender computes that can, by our names."""

AUROC = "auroc"


class Slices:
    """Batches cut beforehand: views of tensors that are in memory. Iterable as often as one likes."""

    def __init__(self, x: Tensor, target: Tensor, size: int) -> None:
        self._batches = list(zip(x.split(size), target.split(size), strict=True))

    def __iter__(self) -> Iterator[tuple[Tensor, Tensor]]:
        return iter(self._batches)

    def __len__(self) -> int:
        return len(self._batches)


@dataclass(frozen=True, eq=False)
class Held:
    """N samples.

    Attributes:
        x: float32 (N, ...).
        target: int64 (N,) classes, or float32 (N,).
    """

    x: Tensor
    target: Tensor
    task: Task
    _slices: dict[int, Slices] = field(default_factory=dict)

    def __len__(self) -> int:
        return len(self.x)

    def first(self, rows: int) -> "Held":
        """The first rows, as a set of their own."""
        return Held(self.x[:rows], self.target[:rows], self.task)

    def slices(self, size: int) -> Slices:
        """Of this batch size; cut at the first call."""
        if size not in self._slices:
            self._slices[size] = Slices(self.x, self.target, size)
        return self._slices[size]

    def loader(self, size: int) -> DataLoader:
        """As usually written: samples are taken one by one and collated."""
        return DataLoader(TensorDataset(self.x, self.target), batch_size=size)


@torch.inference_mode()
def labelled(model: torch.nn.Module, x: Tensor, task: Task) -> Held:
    """Samples for which the model is often right: seven in ten of their classes, or up to noise.

    Targets are on the host, wherever model and samples are.
    """
    generator = torch.Generator().manual_seed(1)
    outputs = torch.cat([model(part) for part in x.split(1024)]).cpu()
    if task == "regression":
        noise = torch.randn(outputs.shape, generator=generator) * outputs.std() / 2
        return Held(x, outputs + noise, task)
    classes = outputs.shape[1]
    other = torch.randint(0, classes, (len(x),), generator=generator)
    kept = torch.rand(len(x), generator=generator) < 0.7
    target = torch.where(kept, outputs.argmax(dim=1), other)
    target[:classes] = torch.arange(len(x))[:classes]  # some peers fail where a class is missing
    return Held(x, target, task)
