"""ignite: an `Engine` with metrics attached.

Its own areas under ROC curves are scikit-learn's over an `EpochMetric`; for classes against the rest
that has to be said by hand.
"""

from typing import Any

import torch
from ignite.engine import Engine
from ignite.metrics import (
    Accuracy,
    EpochMetric,
    Fbeta,
    MeanAbsoluteError,
    MeanSquaredError,
    Precision,
    Recall,
    RootMeanSquaredError,
)
from ignite.metrics.regression import R2Score
from sklearn.metrics import roc_auc_score
from torch import Tensor

from benchmarks.speed.contest import Values
from benchmarks.speed.data import Task
from benchmarks.speed.peers.by_hand import Batches


def evaluate(
    model: torch.nn.Module,
    batches: Batches,
    task: Task,
    *,
    auroc: bool = False,
    classes: int = 10,  # noqa: ARG001 — as the others
) -> Values:
    """As its documentation has it."""

    def step(_engine: Engine, batch: tuple[Tensor, Tensor]) -> tuple[Tensor, Tensor]:
        with torch.inference_mode():
            x, target = batch
            return model(x), target

    engine = Engine(step)
    for name, metric in _metrics(task, auroc=auroc).items():
        metric.attach(engine, name)
    engine.run(batches)
    return {name: float(engine.state.metrics[name]) for name in _metrics(task, auroc=auroc)}


def _metrics(task: Task, *, auroc: bool) -> dict[str, Any]:
    if task == "regression":
        return {
            "mse": MeanSquaredError(),
            "rmse": RootMeanSquaredError(),
            "mae": MeanAbsoluteError(),
            "r2": R2Score(),
        }
    found: dict[str, Any] = {
        "accuracy": Accuracy(),
        "precision_macro": Precision(average="macro"),
        "recall_macro": Recall(average="macro"),
        "f1_macro": Fbeta(1, average=True),
    }
    if auroc:
        found["auroc"] = EpochMetric(_area, _probabilities, check_compute_fn=False)
    return found


def _probabilities(given: tuple[Tensor, Tensor]) -> tuple[Tensor, Tensor]:
    return given[0].softmax(dim=1), given[1]


def _area(probability: Tensor, target: Tensor) -> float:
    return float(
        roc_auc_score(target.numpy(), probability.numpy(), multi_class="ovr", average="macro")
    )
