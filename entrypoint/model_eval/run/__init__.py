"""The main job from end to end: a spec's path in, a report and a ledger out."""

from model_eval.run.base_branch import BaseBranch
from model_eval.run.outcome import evaluate, keep
from model_eval.run.parts import Parts
from model_eval.run.result import Evaluation, save

__all__ = ["BaseBranch", "Evaluation", "Parts", "evaluate", "keep", "save"]
