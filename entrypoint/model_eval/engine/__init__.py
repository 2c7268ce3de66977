"""A model over batches gives a ledger.

`device` finds and describes the device, `predict` is the model's side (inputs → outputs), and
`loop` is the scoring side, which alone sees targets. They meet at `Predict`. `torchmetrics_bridge` is
here because metrics do without torch.
"""

from model_eval.engine.device import describe_device, resolve_device
from model_eval.engine.loop import evaluate
from model_eval.engine.predict import Predict, make_predict, prepare
from model_eval.engine.torchmetrics_bridge import from_torchmetrics

__all__ = [
    "Predict", "describe_device", "evaluate", "from_torchmetrics", "make_predict", "prepare", "resolve_device",
]  # fmt: skip
