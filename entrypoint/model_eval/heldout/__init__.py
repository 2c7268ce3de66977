"""The held-out set: one reader per format → batches of inputs and labels, digests, disjointness."""

from model_eval.heldout.batch import Batch, Labels
from model_eval.heldout.disjoint import check_disjoint
from model_eval.heldout.heldout_set import HeldOut
from model_eval.heldout.opening import open_heldout
from model_eval.heldout.shuffled import Shuffled

__all__ = ["Batch", "HeldOut", "Labels", "Shuffled", "check_disjoint", "open_heldout"]
