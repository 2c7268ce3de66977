"""What a batch of model outputs leaves in the ledger, one file per task.

`Scorer` is the scoring side of the engine: it is handed outputs and targets, never inputs and
never the model.
"""

from model_eval.tasks.scorer import COUNTED_UP, Scorer
from model_eval.tasks.shapes import require_real, require_rows

__all__ = ["COUNTED_UP", "Scorer", "require_real", "require_rows"]
