"""A metric of torchmetrics' as a function of a ledger's columns.

torchmetrics is an extra (`model-eval-action[torchmetrics]`): it is imported only where a spec names
one of its classes.
"""

from collections.abc import Callable, Mapping
from contextlib import nullcontext
from importlib import import_module
from importlib.util import find_spec
from math import nan
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from model_eval import usercode
from model_eval.errors import UserCodeError
from model_eval.ledger import Array
from model_eval.spec.eval_spec import CodeRef
from model_eval.types import Task

_NOT_KEPT = frozenset({Task.SEGMENTATION, Task.LANGUAGE_MODELING})
"""Tasks whose ledger has sums over a sample's pixels or tokens, and not their outputs."""

_MOST_ROWS = 1 << 32


def from_torchmetrics(
    ref: CodeRef, *, task: Task
) -> Callable[[Mapping[str, Array], npt.NDArray[np.float64]], object]:
    """What computes the metric: a new object of the class for each call, updated once.

    It is given `probability` (N,) or (N, C) and `target` int64 (N,) or (N, C) of a classification,
    and `prediction` and `target` (N,) or (N, K) of a regression, all float64 on the CPU. A row of
    weight 3 is given three times; weights that are not whole numbers have the value NaN.

    Args:
        ref: the class, and what it is made with.
        task: which columns the ledger has.

    Raises:
        UserCodeError: torchmetrics is not installed, or has no such class; the ledger of the task
            does not have outputs; when the function is called: making, updating or computing the
            metric raised, or the weights are more rows than there can be memory for.
    """
    if task in _NOT_KEPT:
        raise UserCodeError(
            f"`{ref.text}` needs the outputs of each sample, which the ledger of a {task} task lacks",
            remedy="take a metric of model-eval's, or a `callable` over the ledger's columns",
            location=ref.location,
        )
    if find_spec("torchmetrics") is None:
        raise UserCodeError(
            f"`{ref.text}` needs torchmetrics, which is not installed",
            remedy="install `model-eval-action[torchmetrics]`, or `torchmetrics` in your image",
            location=ref.location,
        )
    made_by = _class(ref)

    name = "prediction" if task is Task.REGRESSION else "probability"

    def compute(columns: Mapping[str, Array], times: npt.NDArray[np.intp]) -> object:
        rows = np.repeat(np.arange(len(times)), times)
        predicted, target = (_tensor(columns[column][rows]) for column in (name, "target"))
        # The repository's code may have set another. Where it has not, a mode would cost a third more time.
        usual = torch.get_default_device().type == "cpu"
        with nullcontext() if usual else torch.device("cpu"):
            metric = made_by(**ref.kwargs).set_dtype(torch.float64)
            metric.update(predicted, target)
            return metric.compute()

    def value(columns: Mapping[str, Array], weights: npt.NDArray[np.float64]) -> object:
        times = weights.astype(np.intp)
        if not np.array_equal(times, weights):
            return nan
        if weights.sum() > _MOST_ROWS:
            raise UserCodeError(
                f"`{ref.text}` is given each row as often as it weighs, and that is "
                f"{weights.sum():.2g} rows",
                remedy="write smaller weights, or take a metric that is given weights",
                location=ref.location,
            )
        found = usercode.call(ref, compute, columns, times)
        return found.detach().cpu().numpy() if isinstance(found, torch.Tensor) else found

    return value


def _tensor(column: Array) -> torch.Tensor:
    """(N, 1) as (N,), as a model with one output gives it; real numbers in float64."""
    flat = column[:, 0] if column.ndim == 2 and column.shape[1] == 1 else column
    return torch.from_numpy(flat.astype(np.float64) if flat.dtype.kind == "f" else flat.copy())


def _class(ref: CodeRef) -> Callable[..., Any]:
    try:
        base = import_module("torchmetrics").Metric
        found = getattr(import_module(str(ref.module)), ref.attribute, None)
    except ImportError as error:
        raise UserCodeError(
            f"`{ref.text}` cannot be imported: {usercode.describe(error)}", location=ref.location
        ) from error
    if not (isinstance(found, type) and issubclass(found, base)):
        raise UserCodeError(
            f"`{ref.text}` is not a metric of torchmetrics'",
            remedy="name a class, for example `torchmetrics.JaccardIndex`",
            location=ref.location,
        )
    return found
