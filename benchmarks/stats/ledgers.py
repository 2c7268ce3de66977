"""Ledgers with the product's own columns, from what a population draws."""

import numpy as np

from model_eval.ledger import Ledger
from model_eval.types import Task

_EMPTY = np.float32(0)


def class_ledger(target, prediction, size, **more) -> Ledger:
    """Classes (N,), where nothing hangs on probabilities: they are a view of one 0, and cost nothing."""
    shape = (len(target), size)
    return multiclass_ledger(target, np.broadcast_to(_EMPTY, shape), prediction=prediction, **more)


def multiclass_ledger(target, score, *, prediction=None, log_loss=None, **more) -> Ledger:
    """Classes (N,) and scores (N, C), by which rankings go. `more` are further columns."""
    return Ledger(
        task=Task.MULTICLASS,
        columns={
            **_common(len(target)),
            "target": target,
            "prediction": score.argmax(axis=1) if prediction is None else prediction,
            "probability": score,
            "score": score,
            "log_loss": np.zeros(len(target)) if log_loss is None else log_loss,
            **more,
        },
        classes=tuple(f"c{index}" for index in range(score.shape[1])),
    )


def binary_ledger(target, logit) -> Ledger:
    """Targets 0 or 1 (N,) and log-odds of 1 (N,)."""
    return Ledger(
        task=Task.BINARY,
        columns={
            **_common(len(target)),
            "target": target,
            "prediction": (logit >= 0).astype(np.int64),
            "probability": 1 / (1 + np.exp(-logit)),
            "score": logit,
            "log_loss": np.logaddexp(0, np.where(target == 1, -logit, logit)),
        },
        classes=("no", "yes"),
    )


def regression_ledger(target, prediction) -> Ledger:
    """One output: targets and predictions (N,)."""
    return Ledger(
        task=Task.REGRESSION,
        columns={
            **_common(len(target)),
            "target": target[:, None],
            "prediction": prediction[:, None],
        },
        outputs=("y",),
    )


def _common(count):
    return {"id": np.arange(count), "finite": np.ones(count, dtype=bool)}
