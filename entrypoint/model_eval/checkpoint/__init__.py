"""The checkpoint: inspected before torch sees it, read as data only, and proved to be the model's."""

from model_eval.checkpoint.cached import forget_models
from model_eval.checkpoint.load import load_model
from model_eval.checkpoint.proof import prints, unchanged
from model_eval.checkpoint.untrained import MAX_PARAMETERS, untrained

__all__ = ["MAX_PARAMETERS", "forget_models", "load_model", "prints", "unchanged", "untrained"]
