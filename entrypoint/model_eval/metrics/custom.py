"""Metrics that a spec brings: any function of the ledger's columns and of weights."""

from collections.abc import Callable, Mapping
from math import isclose, isnan, nan
from types import MappingProxyType

import numpy as np

from model_eval.errors import UserCodeError
from model_eval.ledger import Array
from model_eval.metrics.registry import Brought, Metric, Needs
from model_eval.metrics.rows import TAME_EXPONENT, FloatArray, Rows
from model_eval.spec.custom_metrics import custom_info
from model_eval.spec.eval_spec import CustomMetric
from model_eval.wording import kind_of

Function = Callable[[Mapping[str, Array], FloatArray], object]
"""Of columns, each (N, …), and weights float64 (N,), all above 0; gives one number."""

_NOT_ROWWISE = "the spec does not say that it is a function of rows (`rowwise: true`)"


def bring(spec: CustomMetric, function: Function) -> Brought:
    """The metric that a spec brings, as the program's own are.

    The function is given the rows that are there: no row of weight 0, and none whose outputs are
    not finite, and their weights as they are written. Its arrays cannot be written to. It is called
    twice for the first weights, because a metric that gives different values for the same rows makes
    a verdict luck.

    Raises (when it is computed):
        UserCodeError: it gave something else than one number, or two different ones; or the weights
            are too large or too small to be computed with as they are.
    """

    def whole(rows: Rows) -> FloatArray:
        if rows.scaled:
            raise _wild_weights(spec)
        finite = rows.ledger["finite"]
        columns = {name: _sealed(column[finite]) for name, column in rows.ledger.columns.items()}
        first = True

        def each(weights: FloatArray) -> FloatArray:
            nonlocal first
            found = np.empty(len(weights))
            for index, vector in enumerate(weights):
                found[index] = _value(spec, function, columns, vector)
                if first and not isnan(found[index]):
                    _require_same(spec, found[index], _value(spec, function, columns, vector))
                    first = False
            return found

        return rows.map(each)

    return Brought(
        info=custom_info(spec.name, spec.higher_is_better),
        metric=Metric(
            needs=Needs.RANKS if spec.rowwise else Needs.EXTREMES,
            whole=whole,
            no_interval=None if spec.rowwise else _NOT_ROWWISE,
        ),
    )


def _value(
    spec: CustomMetric, function: Function, columns: Mapping[str, Array], weights: FloatArray
) -> float:
    there = weights > 0
    if not there.any():
        return nan
    if not there.all():
        columns = {name: _sealed(column[there]) for name, column in columns.items()}
        weights = weights[there]
    found = function(MappingProxyType(columns), _sealed(weights))
    try:
        number = np.asarray(found)
    except Exception as error:
        raise _no_number(spec, kind_of(found)) from error
    if number.ndim or number.dtype.kind not in "iuf":
        raise _no_number(spec, f"shape {number.shape}" if number.ndim else kind_of(found))
    return float(number)


def _no_number(spec: CustomMetric, what: str) -> UserCodeError:
    return UserCodeError(
        f"`{spec.code.text}` gave {what}, and a metric is one number",
        remedy="return a float",
        location=spec.code.location,
    )


def _wild_weights(spec: CustomMetric) -> UserCodeError:
    return UserCodeError(
        f"`{spec.code.text}` is given the weights of the samples as they are, and the largest is "
        f"beyond 2^±{TAME_EXPONENT}",
        remedy="multiply all of them by one number",
        location=spec.code.location,
    )


def _require_same(spec: CustomMetric, value: float, again: float) -> None:
    if not isclose(value, again, rel_tol=1e-9, abs_tol=1e-12):
        raise UserCodeError(
            f"`{spec.code.text}` gave {value:g} and then {again:g} for the same samples",
            remedy="make it a function of its arguments alone, or seed it itself",
            location=spec.code.location,
        )


def _sealed(array: Array) -> Array:
    view = array.view()
    view.flags.writeable = False
    return view
