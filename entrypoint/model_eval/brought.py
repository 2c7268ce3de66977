"""The metrics that a spec brings: found, and bound to their parameters."""

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

from model_eval import metrics, usercode
from model_eval.spec.custom_metrics import TORCHMETRICS
from model_eval.spec.eval_spec import CustomMetric, EvalSpec


def bring_metrics(spec: EvalSpec) -> Mapping[str, metrics.Brought]:
    """By name.

    Raises:
        UserCodeError: one of them cannot be imported.
    """
    return {metric.name: metrics.bring(metric, _function(metric, spec)) for metric in spec.custom}


def _function(metric: CustomMetric, spec: EvalSpec) -> Callable[..., Any]:
    """What computes it, from columns and weights."""
    if metric.name.startswith(TORCHMETRICS):
        from model_eval.engine import from_torchmetrics  # and torch with it

        found: Callable[..., Any] = from_torchmetrics(metric.code, task=spec.task)
        return found
    function = usercode.resolve(metric.code, base=spec.source.path.parent)
    return partial(usercode.call, metric.code, function, **metric.code.kwargs)
