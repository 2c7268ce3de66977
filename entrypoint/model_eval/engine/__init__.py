"""A model over batches gives a ledger.

`device` finds and describes the device, `predict` is the model's side (inputs → outputs), and
`loop` is the scoring side, which alone sees targets. They meet at `Predict`.
"""

from model_eval.engine.cost import measure_cost
from model_eval.engine.device import describe_device, resolve_device
from model_eval.engine.loop import evaluate
from model_eval.engine.predict import Predict, make_predict, prepare
from model_eval.engine.sample import Keeping, Sample

__all__ = [
    "Keeping", "Predict", "Sample", "describe_device", "evaluate", "make_predict", "measure_cost",
    "prepare", "resolve_device",
]  # fmt: skip
