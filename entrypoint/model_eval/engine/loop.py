"""The scoring side: runs the held-out set through `predict` and keeps what the ledger needs."""

from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor

from model_eval.engine.predict import Predict
from model_eval.errors import EvaluationError
from model_eval.heldout import HeldOut, Labels
from model_eval.ledger import Array, Ledger
from model_eval.tasks import Scorer

ROWS_PER_COPY = 65_536
"""Scored columns stay on the device until there are this many rows: one copy, one wait."""


def evaluate(
    predict: Predict,
    heldout: HeldOut,
    scorer: Scorer,
    *,
    batch_size: int,
    progress: Callable[[int], None],
) -> Ledger:
    """Runs every held-out sample through the model once.

    Args:
        predict: the model's side; it is handed inputs only.
        heldout: gives batches of inputs with their labels.
        scorer: turns outputs and targets into ledger columns.
        batch_size: samples a batch; the last one is smaller where it does not divide.
        progress: called with the number of samples of each finished batch.

    Raises:
        EvaluationError: the model or the scoring could not finish, or there were no samples.
    """
    labels: list[Labels] = []
    pending: list[dict[str, Tensor]] = []
    copied: list[dict[str, Array]] = []
    waiting = 0
    for batch in heldout.batches(batch_size):
        outputs = predict(batch.args, batch.kwargs)
        with torch.inference_mode():
            pending.append(scorer.columns(outputs, batch.labels.target))
        labels.append(batch.labels)
        rows = len(batch.labels.ids)
        waiting += rows
        if waiting >= ROWS_PER_COPY:
            copied.append(_copy(pending))
            pending, waiting = [], 0
        progress(rows)
    if pending:
        copied.append(_copy(pending))
    if not copied:
        raise EvaluationError("the held-out set gave no samples")
    columns = {name: np.concatenate([part[name] for part in copied]) for name in copied[0]}
    return scorer.ledger({**_label_columns(labels), **columns})


def _copy(pending: list[dict[str, Tensor]]) -> dict[str, Array]:
    names = pending[0].keys()
    return {name: torch.cat([part[name] for part in pending]).cpu().numpy() for name in names}


def _label_columns(labels: list[Labels]) -> dict[str, Array]:
    columns: dict[str, Array] = {
        "id": np.concatenate([part.ids for part in labels]),
        "target": np.concatenate([part.target for part in labels]),
    }
    clusters = [part.cluster for part in labels if part.cluster is not None]
    if clusters:
        columns["cluster"] = np.concatenate(clusters)
    for name in labels[0].slices:
        columns[f"slice:{name}"] = np.concatenate([part.slices[name] for part in labels])
    return columns
