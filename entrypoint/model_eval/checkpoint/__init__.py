"""The checkpoint: inspected before torch sees it, read as data only, and proved to be the model's."""

from model_eval.checkpoint.load import load_model
from model_eval.checkpoint.proof import unchanged

__all__ = ["load_model", "unchanged"]
