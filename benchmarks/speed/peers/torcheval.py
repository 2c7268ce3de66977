"""torcheval: `update` of each metric for each batch. It has no mean absolute error."""

import torch
from torcheval.metrics import (
    MeanSquaredError,
    MulticlassAccuracy,
    MulticlassAUROC,
    MulticlassF1Score,
    MulticlassPrecision,
    MulticlassRecall,
    R2Score,
)

from benchmarks.speed.contest import Values
from benchmarks.speed.data import Task
from benchmarks.speed.peers.by_hand import Batches


@torch.inference_mode()
def evaluate(
    model: torch.nn.Module, batches: Batches, task: Task, *, auroc: bool = False, classes: int = 10
) -> Values:
    """As its documentation has it; the root of the mean square is taken by hand."""
    if task == "regression":
        metrics = {"mse": MeanSquaredError(), "r2": R2Score()}
    else:
        macro = {"num_classes": classes, "average": "macro"}
        metrics = {
            "accuracy": MulticlassAccuracy(),
            "precision_macro": MulticlassPrecision(**macro),
            "recall_macro": MulticlassRecall(**macro),
            "f1_macro": MulticlassF1Score(**macro),
        }
        if auroc:
            metrics["auroc"] = MulticlassAUROC(num_classes=classes)
    for x, target in batches:
        outputs = model(x)
        for name, metric in metrics.items():
            # It ranks what it is given, and logits of two samples do not rank as probabilities do.
            metric.update(outputs.softmax(dim=1) if name == "auroc" else outputs, target)
    found = {name: metric.compute().item() for name, metric in metrics.items()}
    return found | ({"rmse": found["mse"] ** 0.5} if task == "regression" else {})
