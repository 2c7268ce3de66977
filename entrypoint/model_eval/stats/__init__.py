"""What ledgers say beyond their values: intervals, paired differences, slices, power.

Everything is a pure function of ledgers and a seed. `interval` picks the method that suits what a
metric takes from the rows; docs/statistics.md has the methods and what their coverage is.
"""

from model_eval.stats.assess import Asked, Assessment, assess
from model_eval.stats.calibration import reliability
from model_eval.stats.difference import flips, in_order_of, right, right_by_id, rows_of, unpairable
from model_eval.stats.early import Early, could_be_decided, paired_tally, sequence_of, tally_of
from model_eval.stats.golden import changed_cases, golden_estimate, golden_gate
from model_eval.stats.sequence import Tally
from model_eval.stats.shares import share_difference, share_interval

__all__ = [
    "Asked",
    "Assessment",
    "Early",
    "Tally",
    "assess",
    "changed_cases",
    "could_be_decided",
    "flips",
    "golden_estimate",
    "golden_gate",
    "in_order_of",
    "paired_tally",
    "reliability",
    "right",
    "right_by_id",
    "rows_of",
    "sequence_of",
    "share_difference",
    "share_interval",
    "tally_of",
    "unpairable",
]
