"""What the checkpoint is compared with: finds the baseline's ledgers, and proves that they pair.

A baseline whose samples are not those of this run is refused with what differs; gates that need it
are then undecided. A baseline that cannot be read or evaluated is an error.
"""

from model_eval.baseline.ahead import Ahead, look_ahead
from model_eval.baseline.find import EvaluateCheckpoint, find_baseline
from model_eval.baseline.revision import Started

__all__ = ["Ahead", "EvaluateCheckpoint", "Started", "find_baseline", "look_ahead"]
