"""The scoring side: runs the held-out set through `predict` and keeps what the ledger needs."""

from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np
import torch
from torch import Tensor

from model_eval.engine.causal import require_causal
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
    causal: bool = False,
    enough: Callable[[Ledger], bool] | None = None,
    look_every: int = 1,
) -> Ledger:
    """Runs every held-out sample through the model once, the first few of them twice more.

    Args:
        predict: the model's side; it is handed inputs only.
        heldout: gives batches of inputs with their labels.
        scorer: turns outputs and targets into ledger columns.
        batch_size: samples a batch; the last one is smaller where it does not divide.
        progress: called with the number of samples of each finished batch.
        causal: whether the inputs hold the targets, so that the model must not look ahead.
        enough: is given the rows that are new since it was asked last, and ends the run by True.
        look_every: so many samples are between two times that it is asked, at least.

    Raises:
        EvaluationError: the model or the scoring could not finish, its outputs are not
            repeatable, it looks ahead, or there were no samples.
    """
    labels: list[dict[str, Array]] = []
    columns: list[dict[str, Array]] = []
    chunk = _Chunk(scorer)
    asked, new = (0, 0), 0
    for batch in heldout.batches(batch_size):
        if not labels:
            require_repeatable(predict, batch)
            if causal:
                require_causal(predict, batch, ignore_index=scorer.ignore_index)
        chunk.add(predict(batch.args, batch.kwargs), batch.labels.target)
        labels.append(label_columns(batch.labels, target=scorer.keeps_targets))
        if chunk.elements >= ELEMENTS_PER_CHUNK:
            columns.append(chunk.score())
        progress(len(batch.labels))
        new += len(batch.labels)
        if enough is not None and new >= look_every:
            if chunk.outputs:
                columns.append(chunk.score())
            if enough(_newest(scorer, labels[asked[0] :], columns[asked[1] :])):
                break
            asked, new = (len(labels), len(columns)), 0
    if chunk.outputs:
        columns.append(chunk.score())
    if not columns:
        raise EvaluationError("the held-out set gave no samples")
    return scorer.ledger({**_joined(labels), **_joined(columns)})


def _newest(
    scorer: Scorer, labels: list[dict[str, Array]], columns: list[dict[str, Array]]
) -> Ledger:
    """The rows of these parts; what their outputs look like shows in all rows together alone."""
    found = {**_joined(labels), **_joined(columns)}
    return scorer.ledger({name: one for name, one in found.items() if name != "like_probability"})


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
        self.elements += outputs.numel()
        # A copy: some models write every output into the same memory. A full chunk is scored
        # before the model runs again, and outputs that fill one are too large to be there twice.
        with torch.inference_mode():
            kept = outputs if self.elements >= ELEMENTS_PER_CHUNK else outputs.clone()
            self.outputs.append(kept)
        self.targets.append(target)

    def score(self) -> dict[str, Array]:
        """Scores and empties the chunk: few large kernels, and one wait for the device."""
        with torch.inference_mode():
            whole = self.outputs[0] if len(self.outputs) == 1 else torch.cat(self.outputs)
            scored = self.scorer.columns(whole, np.concatenate(self.targets))
            columns = {name: column.cpu().numpy() for name, column in scored.items()}
        self.outputs, self.targets, self.elements = [], [], 0
        return columns


def label_columns(labels: Labels, *, target: bool) -> dict[str, Array]:
    """What the ledger keeps of a batch's labels; masks and tokens would be as large as the set."""
    columns = {"id": labels.ids}
    if target:
        columns["target"] = labels.target
    if labels.cluster is not None:
        columns["cluster"] = labels.cluster
    if labels.weight is not None:
        columns["weight"] = labels.weight
    if labels.bytes is not None:
        columns["bytes"] = labels.bytes
    return columns | {f"slice:{name}": values for name, values in labels.slices.items()}


def _joined(parts: list[dict[str, Array]]) -> dict[str, Array]:
    return {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}
