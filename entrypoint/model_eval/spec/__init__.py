"""YAML with line numbers → schema → semantic checks → `EvalSpec`.

Nothing here imports torch or NumPy: a wrong spec is answered before a model could be loaded.
"""

from model_eval.spec.eval_spec import EvalSpec, without_baseline
from model_eval.spec.load import load_base_spec, load_spec

__all__ = ["EvalSpec", "load_base_spec", "load_spec", "without_baseline"]
