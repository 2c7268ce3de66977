"""Small ledgers for tests, from targets and what a model said of them."""

import numpy as np

from model_eval.ledger import Ledger
from model_eval.types import Task


def binary_ledger(
    target, probability, threshold=0.5, *, classes=("no", "yes"), finite=None, ids=None
):
    """Targets 0 or 1 (N,) and probabilities of the positive class (N,)."""
    target = np.asarray(target, dtype=np.int64)
    probability = np.asarray(probability, dtype=np.float64)
    of_target = np.where(target == 1, probability, 1 - probability)
    return Ledger(
        task=Task.BINARY,
        columns={
            **_common(len(target), ids, finite),
            "target": target,
            "prediction": (probability >= threshold).astype(np.int64),
            "probability": probability,
            "log_loss": _log_loss(of_target),
        },
        classes=tuple(classes),
    )


def multiclass_ledger(
    target, probability, classes=None, *, dtype=np.float64, finite=None, ids=None
):
    """Class indexes (N,) and probabilities (N, C), kept as float64 or float32."""
    target = np.asarray(target, dtype=np.int64)
    probability = np.asarray(probability, dtype=dtype)
    of_target = np.take_along_axis(probability, target[:, None], axis=1)[:, 0]
    return Ledger(
        task=Task.MULTICLASS,
        columns={
            **_common(len(target), ids, finite),
            "target": target,
            "prediction": probability.argmax(axis=1),
            "probability": probability,
            "log_loss": _log_loss(of_target.astype(np.float64)),
        },
        classes=tuple(classes or (f"c{index}" for index in range(probability.shape[1]))),
    )


def regression_ledger(target, prediction, outputs=None, *, finite=None, ids=None):
    """Targets and predictions, (N,) or (N, K)."""
    target, prediction = (
        values[:, None] if values.ndim == 1 else values
        for values in (np.asarray(target, np.float64), np.asarray(prediction, np.float64))
    )
    return Ledger(
        task=Task.REGRESSION,
        columns={
            **_common(len(target), ids, finite),
            "target": target,
            "prediction": prediction,
        },
        outputs=tuple(outputs or (f"y{index}" for index in range(target.shape[1]))),
    )


def multilabel_ledger(target, probability, classes=None, *, threshold=0.5, finite=None, ids=None):
    """Whether each label is there (N, L), and its probability (N, L)."""
    target = np.asarray(target, dtype=bool)
    probability = np.asarray(probability, dtype=np.float64)
    of_target = np.where(target, probability, 1 - probability)
    return Ledger(
        task=Task.MULTILABEL,
        columns={
            **_common(len(target), ids, finite),
            "target": target,
            "prediction": probability >= threshold,
            "probability": probability,
            "log_loss": _log_loss(of_target).mean(axis=1),
        },
        classes=tuple(classes or (f"c{index}" for index in range(target.shape[1]))),
    )


def segmentation_ledger(target, prediction, classes, *, ignore_index=-100, finite=None, ids=None):
    """Classes of pixels (N, P), of which those whose target is `ignore_index` are not counted."""
    target, prediction = (np.asarray(mask, dtype=np.int64) for mask in (target, prediction))
    size = len(classes)
    counted = (target != ignore_index)[:, :, None]
    of_class = np.eye(size, dtype=bool)
    support = of_class[np.where(target == ignore_index, 0, target)] & counted
    predicted = of_class[prediction] & counted
    return Ledger(
        task=Task.SEGMENTATION,
        columns={
            **_common(len(target), ids, finite),
            "hits": (support & predicted).sum(axis=1),
            "predicted": predicted.sum(axis=1),
            "support": support.sum(axis=1),
        },
        classes=tuple(classes),
    )


def language_ledger(nll, tokens, hits, lengths=None, *, finite=None, ids=None):
    """Of each document (N,): its loss in nats, tokens, hits and, where known, its bytes."""
    columns = {
        **_common(len(nll), ids, finite),
        "nll": np.asarray(nll, dtype=np.float64),
        "tokens": np.asarray(tokens, dtype=np.int64),
        "hits": np.asarray(hits, dtype=np.int64),
    }
    if lengths is not None:
        columns["bytes"] = np.asarray(lengths, dtype=np.int64)
    return Ledger(task=Task.LANGUAGE_MODELING, columns=columns)


def take(ledger, rows):
    """The ledger of these rows: positions (repeats allowed) or a mask."""
    columns = {name: column[rows] for name, column in ledger.columns.items()}
    return Ledger(task=ledger.task, columns=columns, classes=ledger.classes, outputs=ledger.outputs)


def _common(count, ids, finite):
    return {
        "id": np.arange(count) if ids is None else np.asarray(ids),
        "finite": np.ones(count, dtype=bool) if finite is None else np.asarray(finite, dtype=bool),
    }


def _log_loss(of_target):
    eps = np.finfo(np.float64).eps
    return -np.log(np.clip(of_target, eps, 1 - eps))
