"""A model over batches gives a ledger.

`device` finds and describes the device, `predict` is the model's side (inputs → outputs), and
`loop` is the scoring side, which alone sees targets. They meet at `Predict`. `torchmetrics_bridge` is
here because metrics do without torch.
"""

from model_eval.engine.batch_size import BatchSize, MeasuredBatchSize, batch_size_of, most_tried
from model_eval.engine.compiling import Compiling
from model_eval.engine.control import Fresh, run_control
from model_eval.engine.cost import measure_cost
from model_eval.engine.device import (
    describe_device,
    environment_of,
    make_current,
    resolve_device,
)
from model_eval.engine.loop import Part, Rows, evaluate, label_columns
from model_eval.engine.memory import free
from model_eval.engine.noise import measure_noise
from model_eval.engine.predict import (
    MEMORY_FORMATS,
    Predict,
    in_precision,
    lay_out,
    make_predict,
    prepare,
    set_precision,
)
from model_eval.engine.sample import Keeping, Sample, Source
from model_eval.engine.torchmetrics_bridge import from_torchmetrics

__all__ = [
    "MEMORY_FORMATS",
    "BatchSize",
    "Compiling",
    "Fresh",
    "Keeping",
    "MeasuredBatchSize",
    "Part",
    "Predict",
    "Rows",
    "Sample",
    "Source",
    "batch_size_of",
    "describe_device",
    "environment_of",
    "evaluate",
    "free",
    "from_torchmetrics",
    "in_precision",
    "label_columns",
    "lay_out",
    "make_current",
    "make_predict",
    "measure_cost",
    "measure_noise",
    "most_tried",
    "prepare",
    "resolve_device",
    "run_control",
    "set_precision",
]  # fmt: skip
