"""A few samples through a model, to outputs and to a ledger, as often as a check needs it."""

import torch
from torch import Tensor

from model_eval.engine.loop import label_columns
from model_eval.engine.memory import memory_for
from model_eval.engine.predict import Predict
from model_eval.engine.repeat import copies
from model_eval.engine.sample import Sample
from model_eval.errors import EvaluationError, OutOfMemoryError
from model_eval.ledger import Ledger
from model_eval.slicing import take
from model_eval.tasks import Scorer, require_rows


def outputs_of(predict: Predict, sample: Sample, batch_size: int) -> Tensor:
    """The outputs of every row, on the CPU, from batches of this size, or smaller where memory ends.

    Raises:
        EvaluationError: the model cannot be run so, or its outputs do not fit together.
    """
    while True:
        try:
            return _outputs_of(predict, sample, batch_size)
        except OutOfMemoryError:
            if batch_size == 1:
                raise
        batch_size = (batch_size + 1) // 2


def _outputs_of(predict: Predict, sample: Sample, batch_size: int) -> Tensor:
    parts: list[Tensor] = []
    with torch.inference_mode():
        for batch in sample.batches(batch_size):
            # Copies: the sample is used again.
            outputs = predict(*copies(batch.args, batch.kwargs))
            require_rows(outputs, len(batch))
            with memory_for(len(batch)):
                # A copy: some models write every output into the same memory.
                parts.append(outputs.detach().cpu().clone())
        shapes = {part.shape[1:] for part in parts}
        if len(shapes) > 1:
            raise EvaluationError(
                f"the model returned the shapes {' and '.join(str(tuple(s)) for s in shapes)}",
                remedy="an output must have the same shape for every batch",
            )
        with memory_for(sum(map(len, parts))):
            return torch.cat(parts)


def ledger_of(outputs: Tensor, sample: Sample, scorer: Scorer) -> Ledger:
    """The ledger of these outputs, of which something must be counted.

    Raises:
        EvaluationError: the outputs are not those of the task.
        HeldOutError: nothing of these samples is counted.
    """
    ledger = scored(outputs, sample, scorer)
    scorer.require_counted(ledger.columns)
    return ledger


def scored(outputs: Tensor, sample: Sample, scorer: Scorer) -> Ledger:
    """The ledger of these outputs.

    Whether outputs look like what the spec says they are was judged on the whole set: a few
    samples, or an untrained model, may look otherwise by chance.

    Raises:
        EvaluationError: the outputs are not those of the task.
    """
    labels = sample.rows.labels
    with torch.inference_mode():
        found = scorer.columns(outputs, labels.target)
        columns = {name: column.cpu().numpy() for name, column in found.items()}
    kept = None
    if scorer.keeps_outputs:
        kept = outputs if outputs.dtype == torch.float64 else outputs.float()
    columns |= label_columns(labels, target=scorer.keeps_targets)
    return scorer.ledger(columns, kept)


def rows_of(ledger: Ledger, sample: Sample) -> Ledger:
    """The rows of the whole set's ledger that are the sample's, in its order."""
    return take(ledger, sample.positions)
