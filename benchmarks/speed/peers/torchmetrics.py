"""torchmetrics: `update` of a collection for each batch, `compute` at the end."""

from typing import Any

import torch
from torchmetrics import (
    MeanAbsoluteError,
    MeanSquaredError,
    MetricCollection,
    R2Score,
)
from torchmetrics.classification import (
    MulticlassAccuracy,
    MulticlassAUROC,
    MulticlassF1Score,
    MulticlassPrecision,
    MulticlassRecall,
)

from benchmarks.speed.contest import Values
from benchmarks.speed.data import Task
from benchmarks.speed.peers.by_hand import Batches


def collection(task: Task, *, auroc: bool = False, classes: int = 10) -> MetricCollection:
    """Named as ours."""
    if task == "regression":
        return MetricCollection(
            {
                "mse": MeanSquaredError(),
                "rmse": MeanSquaredError(squared=False),
                "mae": MeanAbsoluteError(),
                "r2": R2Score(),
            }
        )
    found: dict[str, Any] = {
        "accuracy": MulticlassAccuracy(classes, average="micro"),
        "precision_macro": MulticlassPrecision(classes),
        "recall_macro": MulticlassRecall(classes),
        "f1_macro": MulticlassF1Score(classes),
    }
    if auroc:
        found["auroc"] = MulticlassAUROC(classes)
    return MetricCollection(found)


@torch.inference_mode()
def evaluate(
    model: torch.nn.Module, batches: Batches, task: Task, *, auroc: bool = False, classes: int = 10
) -> Values:
    """As its documentation has it."""
    metrics = collection(task, auroc=auroc, classes=classes)
    for x, target in batches:
        metrics.update(model(x), target)
    return {name: value.item() for name, value in metrics.compute().items()}
