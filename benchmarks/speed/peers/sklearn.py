"""scikit-learn: outputs are kept, and scored once at the end."""

import torch
from sklearn.metrics import (
    accuracy_score,
    mean_absolute_error,
    mean_squared_error,
    precision_recall_fscore_support,
    r2_score,
    roc_auc_score,
)

from benchmarks.speed.contest import Values
from benchmarks.speed.data import Task
from benchmarks.speed.peers.by_hand import Batches


@torch.inference_mode()
def evaluate(
    model: torch.nn.Module, batches: Batches, task: Task, *, auroc: bool = False, classes: int = 10
) -> Values:
    """Precision, recall and F1 from one call, which is the kindest way to ask."""
    kept, targets = [], []
    for x, target in batches:
        kept.append(model(x))
        targets.append(target)
    outputs, target = torch.cat(kept), torch.cat(targets).numpy()
    if task == "regression":
        given = target, outputs.numpy()
        mse = mean_squared_error(*given)
        return {
            "mse": mse,
            "rmse": mse**0.5,
            "mae": mean_absolute_error(*given),
            "r2": r2_score(*given),
        }
    prediction = outputs.argmax(dim=1).numpy()
    precision, recall, f1, _ = precision_recall_fscore_support(
        target, prediction, average="macro", zero_division=0
    )
    found = {
        "accuracy": accuracy_score(target, prediction),
        "precision_macro": precision,
        "recall_macro": recall,
        "f1_macro": f1,
    }
    if auroc:
        found["auroc"] = roc_auc_score(
            target,
            outputs.softmax(dim=1).numpy(),
            multi_class="ovr",
            average="macro",
            labels=list(range(classes)),
        )
    return found
