"""Quantiles of timed calls, with intervals that assume no shape of their distribution.

The interval of a quantile lies between two order statistics: of n independent times, the number
that is at most the true p-quantile is binomial(n, p), so that the l-th and the u-th smallest
enclose it with probability at least F(u - 1) - F(l - 1), where F is that distribution's cumulative
function (Hahn & Meeker, Statistical Intervals, 1991, section 5.2; David & Nagaraja, Order
Statistics, 3rd edition, 2003, section 7.1). Each side may miss by half of 1 - confidence.

Calls that follow one another on one machine are not quite independent: an interval says how well
this run knows its own quantile, and nothing about another day or another machine.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from math import ceil, nan

import numpy as np

from model_eval.metrics.rows import FloatArray
from model_eval.numerics import numpys_own
from model_eval.spec.catalog import METRICS, TIMED
from model_eval.types import CheckpointInfo, Estimate, Interval, MetricRef

METHOD = "order statistics"

MB = 1_000_000
"""Bytes."""

PERCENTILES = {"latency_p50_ms": 50, "latency_p95_ms": 95, "latency_p99_ms": 99}


@dataclass(frozen=True, kw_only=True, slots=True)
class Measured:
    """What was found out about the cost of a model.

    Attributes:
        seconds: of each timed call, in their order; empty where none was timed to its end.
        untimed: why not, as a clause; None where they were, or where nobody asked.
        batch_size: samples a call.
        host_bytes: peak resident memory of the process; None where the system does not tell.
        device_bytes: peak of what torch allocated on the accelerator; None where there is none.
        no_device_bytes: why not, as a clause.
        parameters: elements of the model's parameters.
        file_bytes: of the checkpoint's files together.
    """

    seconds: tuple[float, ...] = ()
    untimed: str | None = None
    batch_size: int = 1
    host_bytes: int | None = None
    device_bytes: int | None = None
    no_device_bytes: str | None = None
    parameters: int
    file_bytes: int


def counted_costs(refs: Iterable[MetricRef], checkpoint: CheckpointInfo) -> tuple[Estimate, ...]:
    """The costs that need no timing: they follow from the checkpoint alone."""
    size = sum(file.size for file in checkpoint.files)
    measured = Measured(parameters=checkpoint.parameters, file_bytes=size)
    return cost_estimates(refs, measured, confidence=nan)  # nothing was timed: no interval


@numpys_own
def cost_estimates(
    refs: Iterable[MetricRef], measured: Measured, *, confidence: float
) -> tuple[Estimate, ...]:
    """The costs, each with its value or the reason why it has none.

    Args:
        refs: which costs.
        measured: what they are computed from.
        confidence: of an interval, both sides together.

    Raises:
        ValueError: one of the metrics is no cost.
    """
    return tuple(_estimate(ref, measured, confidence) for ref in refs)


def _estimate(ref: MetricRef, measured: Measured, confidence: float) -> Estimate:
    calls = len(measured.seconds)
    if ref.name == "parameters":
        return _counted(ref, measured.parameters)
    if ref.name == "model_size_mb":
        return _counted(ref, measured.file_bytes / MB)
    if ref.name not in TIMED:
        raise ValueError(f"`{ref.label}` is no cost")
    if not calls:
        return _undefined(ref, measured.untimed or "no call was timed")
    if ref.name in PERCENTILES:
        return _latency(ref, measured.seconds, confidence)
    if ref.name == "throughput":
        return _throughput(ref, measured)
    if ref.name == "peak_memory_mb":
        if measured.host_bytes is None:
            return _undefined(ref, METRICS[ref.name].undefined_when)
        return _counted(ref, measured.host_bytes / MB, n=calls)
    if measured.device_bytes is None:
        return _undefined(ref, measured.no_device_bytes or METRICS[ref.name].undefined_when)
    return _counted(ref, measured.device_bytes / MB, n=calls)


def _latency(ref: MetricRef, seconds: Sequence[float], confidence: float) -> Estimate:
    """A percentile of the times in milliseconds: the smallest time that so many do not exceed."""
    percent, count = PERCENTILES[ref.name], len(seconds)
    times = np.sort(np.asarray(seconds, dtype=np.float64)) * 1000
    # The rank in whole numbers: 0.95 * 20 is more than 19 in floating point.
    value = float(times[-(-percent * count // 100) - 1])
    ranks = quantile_ranks(count, percent / 100, confidence)
    if ranks is None:
        needed = least_runs(percent / 100, confidence)
        lacking = f"{count} timed calls are too few: it needs {needed} (cost.runs)"
        return _found(ref, value, n=count, no_interval=lacking)
    low, high = (float(times[rank - 1]) for rank in ranks)
    interval = Interval(low=low, high=high, confidence=confidence, method=METHOD)
    return _found(ref, value, n=count, interval=interval)


def _throughput(ref: MetricRef, measured: Measured) -> Estimate:
    """Samples a second over all timed calls together; the time between them does not count."""
    calls, total = len(measured.seconds), sum(measured.seconds)
    if total <= 0:
        return _undefined(ref, "the clock is too coarse for calls as short as these")
    value = measured.batch_size * calls / total
    return _found(ref, value, n=calls, no_interval="it is of all timed calls together")


def _counted(ref: MetricRef, value: float, *, n: int = 1) -> Estimate:
    return _found(ref, float(value), n=n, no_interval="it is counted, not sampled")


def _found(
    ref: MetricRef,
    value: float,
    *,
    n: int,
    interval: Interval | None = None,
    no_interval: str | None = None,
) -> Estimate:
    return Estimate(
        metric=ref, value=value, undefined=None, n=n, interval=interval, no_interval=no_interval
    )


def _undefined(ref: MetricRef, why: str) -> Estimate:
    return Estimate(metric=ref, value=None, undefined=why, n=0)


def quantile_ranks(count: int, p: float, confidence: float) -> tuple[int, int] | None:
    """The ranks, from 1, of the two order statistics that enclose the p-quantile.

    Returns:
        The closest (l, u) for which P(X(l) > quantile) and P(X(u) < quantile) are each at most
        half of 1 - confidence, whatever the distribution; None where one of `count` is not enough.
    """
    miss = (1 - confidence) / 2
    at_most = _binomial_cdf(count, p)
    # X(l) is above the quantile where fewer than l are at most it: F(l - 1).
    lower = int(np.searchsorted(at_most, miss, side="right"))
    # X(u) is below it where u or more are: 1 - F(u - 1).
    upper = int(np.searchsorted(at_most, 1 - miss, side="left")) + 1
    return (lower, upper) if lower >= 1 and upper <= count else None


def least_runs(p: float, confidence: float) -> int:
    """How many times it takes for an interval of the p-quantile: its rarer side decides."""
    rare = max(p, 1 - p)
    return ceil(round(float(np.log((1 - confidence) / 2) / np.log(rare)), 9))


def _binomial_cdf(count: int, p: float) -> FloatArray:
    """P(K <= k) for k from 0 to count; the terms by their ratios, in logarithms."""
    k = np.arange(1, count + 1)
    steps = np.log((count - k + 1) / k) + np.log(p) - np.log1p(-p)
    terms = np.exp(count * np.log1p(-p) + np.concatenate([[0.0], np.cumsum(steps)]))
    cumulative: FloatArray = np.minimum(np.cumsum(terms), 1.0)
    return cumulative
