"""The scoring side: runs the held-out set through `predict` and keeps what the ledger needs."""

from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np
import torch
from torch import Tensor

from model_eval.engine.predict import Predict
from model_eval.engine.repeat import require_repeatable
from model_eval.engine.sample import Source
from model_eval.errors import EvaluationError
from model_eval.heldout import Labels
from model_eval.ledger import Array, Ledger
from model_eval.tasks import Scorer, require_rows

ELEMENTS_PER_CHUNK = 1_000_000
"""Outputs stay on the device until there are so many numbers: scored at once, copied at once."""


def evaluate(
    predict: Predict,
    heldout: Source,
    scorer: Scorer,
    *,
    batch_size: int,
    progress: Callable[[int], None],
) -> Ledger:
    """Runs every held-out sample through the model once, the first few of them twice more.

    Args:
        predict: the model's side; it is handed inputs only.
        heldout: gives batches of inputs with their labels.
        scorer: turns outputs and targets into ledger columns.
        batch_size: samples a batch; the last one is smaller where it does not divide.
        progress: called with the number of samples of each finished batch.

    Raises:
        EvaluationError: the model or the scoring could not finish, its outputs are not
            repeatable, or there were no samples.
    """
    labels: list[Labels] = []
    columns: list[dict[str, Array]] = []
    chunk = _Chunk(scorer)
    for batch in heldout.batches(batch_size):
        if not labels:
            require_repeatable(predict, batch)
        chunk.add(predict(batch.args, batch.kwargs), batch.labels.target)
        labels.append(batch.labels)
        if chunk.elements >= ELEMENTS_PER_CHUNK:
            columns.append(chunk.score())
        progress(len(batch.labels))
    if chunk.outputs:
        columns.append(chunk.score())
    if not columns:
        raise EvaluationError("the held-out set gave no samples")
    scored = {name: np.concatenate([part[name] for part in columns]) for name in columns[0]}
    return scorer.ledger({**_label_columns(labels), **scored})


@dataclass(slots=True)
class _Chunk:
    """Outputs that are not scored yet, and their targets."""

    scorer: Scorer
    outputs: list[Tensor] = field(default_factory=list)
    targets: list[Array] = field(default_factory=list)
    elements: int = 0
    first: torch.Size | None = None

    def add(self, outputs: Tensor, target: Array) -> None:
        """Keeps a batch; raises EvaluationError where it does not continue the chunk."""
        require_rows(outputs, len(target))
        self.first = outputs.shape if self.first is None else self.first
        if self.first[1:] != outputs.shape[1:]:
            raise EvaluationError(
                f"the model returned shape {tuple(outputs.shape)} after {tuple(self.first)}",
                remedy="an output must have the same shape for every batch",
            )
        # A copy: some models write every output into the same memory.
        with torch.inference_mode():
            self.outputs.append(outputs.clone())
        self.targets.append(target)
        self.elements += outputs.numel()

    def score(self) -> dict[str, Array]:
        """Scores and empties the chunk: few large kernels, and one wait for the device."""
        with torch.inference_mode():
            scored = self.scorer.columns(torch.cat(self.outputs), np.concatenate(self.targets))
            columns = {name: column.cpu().numpy() for name, column in scored.items()}
        self.outputs, self.targets, self.elements = [], [], 0
        return columns


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
