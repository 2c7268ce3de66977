"""The same intervals by what else people use, each (label, low, high).

Imported in the environment of the benchmark alone: `confidenceinterval` is no dependency.
"""

import warnings
from collections.abc import Iterator

import numpy as np

from benchmarks.stats.ours import CONFIDENCE
from benchmarks.stats.population import Population
from model_eval.types import Task

BOOTSTRAPS = 200
_Z = 1.959963984540054


def plain(ledger, population: Population) -> bool:
    """Whether the rows are independent and count alike, which all peers take for granted."""
    return population.kind == "value" and not {"weight", "cluster"} & ledger.columns.keys()


def normal(ledger, population: Population) -> Iterator[tuple[str, float, float]]:
    """Mean ± 1.96 standard errors, of metrics that are means over rows."""
    rows = {}
    if ledger.task is Task.REGRESSION:
        error = (ledger["target"] - ledger["prediction"])[:, 0]
        rows = {"mse": error**2, "mae": np.abs(error)}
    else:
        right = ledger["target"] == ledger["prediction"]
        rows = {"accuracy": right.astype(float), "log_loss": ledger["log_loss"]}
        for label in population.truths:
            if label.startswith("recall["):
                index = int(label.removeprefix("recall[c").removesuffix("]"))
                rows[label] = right[ledger["target"] == index].astype(float)
        if ledger.task is Task.BINARY:
            rows["brier_score"] = (ledger["probability"] - ledger["target"]) ** 2
    for label, values in rows.items():
        if label in population.truths and len(values) > 1:
            half = _Z * values.std(ddof=1) / np.sqrt(len(values))
            yield label, values.mean() - half, values.mean() + half


def confidenceinterval(ledger, population: Population) -> Iterator[tuple[str, float, float]]:
    """The package's default methods: Wilson, Takahashi et al. (2022), DeLong."""
    import confidenceinterval as package

    if ledger.task is Task.REGRESSION:
        return
    target, prediction = ledger["target"].tolist(), ledger["prediction"].tolist()
    asked = {
        "accuracy": lambda: package.accuracy_score(target, prediction),
        "f1_macro": lambda: package.f1_score(target, prediction, average="macro"),
    }
    if ledger.task is Task.BINARY:
        asked["auroc"] = lambda: package.roc_auc_score(ledger["target"], ledger["score"])
        asked["f1"] = lambda: package.f1_score(target, prediction, average="binary")
    for label, call in asked.items():
        if label in population.truths:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                try:
                    _, (low, high) = call()
                except (ValueError, ZeroDivisionError, IndexError):
                    low = high = np.nan
            yield label, float(low), float(high)


def bootstrapper(ledger, population: Population) -> Iterator[tuple[str, float, float]]:
    """torchmetrics' `BootStrapper`, with the quantiles of its resamples."""
    import torch
    from torchmetrics import classification, regression
    from torchmetrics.wrappers import BootStrapper

    size = len(ledger.classes)
    target, prediction = (torch.from_numpy(ledger[n]) for n in ("target", "prediction"))
    if ledger.task is Task.REGRESSION:
        asked = {"mse": (regression.MeanSquaredError(), (prediction[:, 0], target[:, 0]))}
    elif ledger.task is Task.BINARY:
        asked = {
            "auroc": (classification.BinaryAUROC(), (torch.from_numpy(ledger["score"]), target))
        }
    else:
        asked = {
            "accuracy": (
                classification.MulticlassAccuracy(num_classes=size, average="micro"),
                (prediction, target),
            ),
            "f1_macro": (
                classification.MulticlassF1Score(num_classes=size, average="macro"),
                (prediction, target),
            ),
        }
    levels = torch.tensor([(1 - CONFIDENCE) / 2, (1 + CONFIDENCE) / 2])
    for label, (metric, given) in asked.items():
        if label in population.truths:
            wrapped = BootStrapper(
                metric,
                num_bootstraps=BOOTSTRAPS,
                mean=False,
                std=False,
                quantile=levels.to(torch.get_default_dtype()),
                sampling_strategy="multinomial",
            )
            wrapped.update(*given)
            low, high = wrapped.compute()["quantile"].tolist()
            yield label, low, high
