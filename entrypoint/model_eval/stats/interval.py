"""The interval of a metric on a sample: by the method that suits what the metric takes."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from math import isfinite

import numpy as np
import numpy.typing as npt

from model_eval.ledger import Ledger
from model_eval.metrics import Brought, Resample, Weighted, part_of, values_of
from model_eval.metrics.registry import Metric, Needs, info_of, metric_of
from model_eval.metrics.rows import BoolArray, FloatArray, Rows
from model_eval.spec.catalog import CLASSIFICATION
from model_eval.stats.averages import average_interval
from model_eval.stats.bootstrap import (
    MIN_UNITS,
    NoIntervalError,
    NoVariationError,
    Statistic,
    bca_interval,
)
from model_eval.stats.distributions import student_quantile
from model_eval.stats.resample import (
    MOST_REPLICATES,
    Plan,
    effective_units,
    plan_cells,
    plan_rows,
    replicates_for,
)
from model_eval.stats.shares import share_interval
from model_eval.stats.unseen import unseen_interval
from model_eval.types import Estimate, Interval, MetricRef, Task

RANKED_ELEMENTS = 10_000_000
"""Rankings of more rows times classes times replicates than this are not resampled row by row."""

JACKKNIFE_GROUPS = 50

INFLUENCE = "influence"
JACKKNIFE = "jackknife"


@dataclass(frozen=True, kw_only=True, eq=False)
class Sampled:
    """A sample and the plans by which it is resampled, drawn once for all its metrics.

    Attributes:
        seed: of every draw.
        confidence: of both sides together.
        brought: the metrics that are not in the catalogue.
    """

    sample: Weighted
    seed: int
    confidence: float
    brought: Mapping[str, Brought] = field(default_factory=dict)

    @property
    def ledger(self) -> Ledger:
        """The rows."""
        return self.sample.ledger

    def metric(self, ref: MetricRef) -> Metric:
        """How a metric is computed from the rows.

        Raises:
            ValueError: there is no such metric, or it has other parameters.
        """
        return metric_of(ref, self.ledger.task, self.brought)

    def values(self, ref: MetricRef, resample: Resample | None) -> FloatArray:
        """(B,) a metric under each weight vector of a resample; (1,) the plain value for None."""
        return values_of(self.sample.rows(resample), ref, self.brought)

    @property
    def independent(self) -> bool:
        """True where the rows count alike and belong to no clusters."""
        return self.sample.base is None and "cluster" not in self.ledger.columns

    @cached_property
    def clusters(self) -> npt.NDArray[np.intp] | None:
        """(N,) the number of each row's cluster; None where the rows belong to none."""
        if "cluster" not in self.ledger.columns:
            return None
        return np.unique(self.ledger["cluster"], return_inverse=True)[1]

    @cached_property
    def rows(self) -> Plan:
        """Rows or clusters as units."""
        return plan_rows(
            self.ledger, seed=self.seed, base=self.sample.base, replicates=self._replicates
        )

    @property
    def _replicates(self) -> int:
        return min(MOST_REPLICATES, replicates_for(self.confidence))

    @cached_property
    def few_groups(self) -> Plan:
        """Rows or clusters in a few groups, for what costs a pass over the rows for each."""
        return plan_rows(
            self.ledger,
            seed=self.seed,
            base=self.sample.base,
            replicates=1,
            max_groups=JACKKNIFE_GROUPS,
        )

    @cached_property
    def cells(self) -> Plan | None:
        """Cells of the confusion matrix as units, where that is the same as rows."""
        if not self.independent or self.ledger.task not in CLASSIFICATION:
            return None
        return plan_cells(self.ledger, seed=self.seed, replicates=self._replicates)

    def units_of(self, some: BoolArray) -> int:
        """How many equal independent samples, clusters where there are any, some rows (N,) are worth."""
        base = self.sample.base
        if self.clusters is None:
            return int(np.count_nonzero(some)) if base is None else effective_units(base[some])
        weights = some * (1.0 if base is None else base)
        return effective_units(np.bincount(self.clusters, weights=weights))

    def affords(self, metric: Metric) -> bool:
        """Whether a bootstrap of the metric costs a fraction of a second."""
        if metric.needs is not Needs.RANKS:
            return True
        ledger = self.ledger
        classes = len(ledger.classes) if ledger.task is not Task.BINARY else 1
        wide = max(1, classes, len(ledger.outputs))
        return len(ledger) * wide * self.rows.replicates <= RANKED_ELEMENTS


def with_interval(estimate: Estimate, sampled: Sampled) -> Estimate:
    """The estimate with its interval, or with the reason why it has none."""
    if estimate.value is None:
        return estimate
    try:
        return replace(estimate, interval=metric_interval(estimate.metric, sampled))
    except NoIntervalError as error:
        return replace(estimate, no_interval=str(error))


def metric_interval(ref: MetricRef, sampled: Sampled) -> Interval:
    """The interval of a metric that has a value.

    Raises:
        NoIntervalError: it has none, for a reason.
    """
    metric = sampled.metric(ref)
    require_resampling(metric)
    if "cluster" not in sampled.ledger.columns and (trials := _trials(metric, ref, sampled)):
        return share_interval(*trials, confidence=sampled.confidence)

    def statistic(resample: Resample | None) -> FloatArray:
        return sampled.values(ref, resample)

    units = units_behind(ref, sampled)
    try:
        if not sampled.affords(metric):
            return _of_many_ranks(metric, ref, statistic, sampled, units)
        _require_reach(sampled.confidence)
        counted = sampled.cells if metric.needs is Needs.COUNTS else None
        found = bca_interval(
            statistic, counted or sampled.rows, confidence=sampled.confidence, units=units
        )
        return _with_classes(ref, found, sampled)
    except NoVariationError:
        return unseen_of(ref, sampled)


def _with_classes(ref: MetricRef, found: Interval, sampled: Sampled) -> Interval:
    """What a mean over classes also has from the interval of each: a resample varies no perfect class.

    Of the two the wider end: those of the classes are skewed, and their mean is less so, which leaves
    its end on the side of the classes' bound too near.
    """
    if not (sampled.independent and sampled.ledger.task in CLASSIFICATION):
        return found
    own = average_interval(ref.name, sampled.sample, confidence=sampled.confidence)
    if own is None:
        return found
    return replace(own, low=min(own.low, found.low), high=max(own.high, found.high))


def require_resampling(metric: Metric) -> None:
    """Raises NoIntervalError where resampling does not say how much the metric varies."""
    if metric.no_interval is not None:
        raise NoIntervalError(metric.no_interval)
    if metric.needs is Needs.EXTREMES:
        raise NoIntervalError("it hangs on single samples, which no resampling can vary")


def _require_reach(confidence: float) -> None:
    """Raises NoIntervalError where its ends are beyond what so many resamples as are drawn can tell."""
    if (needed := replicates_for(confidence)) > MOST_REPLICATES:
        raise NoIntervalError(
            f"a confidence of {confidence:g} needs {needed:,} resamples, and {MOST_REPLICATES:,} are the most"
        )


def unseen_of(ref: MetricRef, sampled: Sampled) -> Interval:
    """`unseen_interval` of a sample's metric.

    Raises:
        NoIntervalError: it has none, for a reason.
    """
    info = info_of(ref.name, sampled.brought)
    if info is None:
        raise ValueError(f"there is no metric `{ref.name}`")
    return unseen_interval(
        ref, info, sampled.sample, units=sampled.rows.units, confidence=sampled.confidence
    )


def statistic_interval(statistic: Statistic, ref: MetricRef, sampled: Sampled) -> Interval:
    """The interval of what is computed from a metric on the sample's rows, such as a difference.

    Raises:
        NoIntervalError: it has none, for a reason.
    """
    metric = sampled.metric(ref)
    units = units_behind(ref, sampled)
    require_resampling(metric)
    if sampled.affords(metric):
        _require_reach(sampled.confidence)
        return bca_interval(statistic, sampled.rows, confidence=sampled.confidence, units=units)
    error, groups = _jackknifed(statistic, sampled)
    if not error > 0:
        raise NoVariationError("no group of samples differs from the others")
    return normal_interval(
        float(statistic(None)[0]),
        error,
        units=min(units, groups),
        confidence=sampled.confidence,
        method=JACKKNIFE,
    )


def _trials(metric: Metric, ref: MetricRef, sampled: Sampled) -> tuple[float, float] | None:
    """Successes and trials of a share; weighted ones as so many equal ones as tell as much."""
    part, base = part_of(ref, sampled.ledger), sampled.sample.base
    if base is None:
        return trials_of(metric, part, sampled.sample.rows())
    largest = float(base.max(initial=0))
    if largest <= 0:
        return None
    # Scaled, so that squares of weights neither overflow nor vanish.
    sums, squares = (
        trials_of(metric, part, Rows(sampled.ledger, base=weights))
        for weights in (base / largest, (base / largest) ** 2)
    )
    if sums is None or squares is None or not squares[1] > 0:
        return None
    successes, total = sums
    share, kish = successes / total, total**2 / squares[1]
    spread = (1 - share) ** 2 * squares[0] + share**2 * (squares[1] - squares[0])
    # Korn & Graubard (1998): the size of which an equal sample would vary as much; never above Kish's.
    effective = min(kish, share * (1 - share) * total**2 / spread) if spread > 0 else kish
    return share * effective, effective


def trials_of(metric: Metric, part: int | None, rows: Rows) -> tuple[float, float] | None:
    """Successes and trials of a metric that is a share of independent rows; None of any other."""
    if part is None and metric.trials is not None:
        successes, trials = metric.trials(rows)
    elif part is not None and metric.trials_of_part is not None:
        successes, trials = metric.trials_of_part(rows, part)
    else:
        return None
    return float(successes[0]), float(trials[0])


def _of_many_ranks(
    metric: Metric, ref: MetricRef, statistic: Statistic, sampled: Sampled, units: int
) -> Interval:
    """Of so many rows that the estimate is as good as normal, on the scale of its odds if it has one."""
    value = float(statistic(None)[0])
    influence = influence_of(metric, ref, sampled)
    if influence is not None:
        error, method = standard_error(influence, sampled), INFLUENCE
    else:
        (error, groups), method = _jackknifed(statistic, sampled), JACKKNIFE
        units = min(units, groups)
    if not error > 0:
        raise NoVariationError("no group of samples differs from the others")
    info = info_of(ref.name, sampled.brought)
    return normal_interval(
        value,
        error,
        units=units,
        confidence=sampled.confidence,
        method=method,
        odds=info is not None and (info.low, info.high) == (0, 1),
    )


def units_behind(ref: MetricRef, sampled: Sampled) -> int:
    """How many independent samples, clusters where there are any, an interval of a metric rests on.

    Of a ranking those of the rarer side of each class: three patients are three, however many rows they
    have, and however many others there are.

    Raises:
        NoIntervalError: they are fewer than `MIN_UNITS`: their spread is unknown.
    """
    units = sampled.rows.units
    if units < MIN_UNITS:
        raise NoIntervalError(f"{units} independent samples are fewer than {MIN_UNITS}")
    if not sampled.metric(ref).ranks_classes:
        return units
    ledger = sampled.ledger
    part, target = part_of(ref, ledger), ledger["target"]
    every = [1] if ledger.task is Task.BINARY else range(len(ledger.classes))
    for index in every if part is None else [part]:
        of_class = target == index if target.ndim == 1 else target[:, index]
        least = min(sampled.units_of(side) for side in (of_class, ~of_class))
        if least < MIN_UNITS:
            raise NoIntervalError(
                f"{least} independent samples are of `{ledger.classes[index]}` or of the others, "
                f"fewer than {MIN_UNITS}"
            )
        units = min(units, least)
    return units


def influence_of(metric: Metric, ref: MetricRef, sampled: Sampled) -> FloatArray | None:
    """(N,) how much each row moves the metric, weights included; None where that is not known."""
    part = part_of(ref, sampled.ledger)
    if ref.params:
        return None
    rows = sampled.sample.rows()
    if part is None and metric.influence is not None:
        return metric.influence(rows) * rows.plain_weights
    if part is not None and metric.influence_of_part is not None:
        return metric.influence_of_part(rows, part) * rows.plain_weights
    return None


def standard_error(influence: FloatArray, sampled: Sampled) -> float:
    """Of a metric whose rows move it so much: the root of the sum of squares over units."""
    total = float(sampled.sample.rows().plain_weights.sum())
    if "cluster" in sampled.ledger.columns:
        influence = np.bincount(sampled.rows.group, weights=influence).astype(np.float64)
    count = len(influence)
    return float(np.sqrt((influence**2).sum() * count / max(1, count - 1))) / total


def _jackknifed(statistic: Statistic, sampled: Sampled) -> tuple[float, int]:
    """The standard error from a few groups of samples, and how many these are.

    Raises:
        NoIntervalError: the metric is undefined without one of the groups.
    """
    plan = sampled.few_groups
    return _delete_group_error(statistic, plan), len(plan.size)


def _delete_group_error(statistic: Statistic, plan: Plan) -> float:
    """The delete-a-group jackknife (Kott 2001): the metric without each of a few groups."""
    values = statistic(plan.left_out)
    if not np.isfinite(values).all():
        raise NoIntervalError("the metric is undefined where some of the samples are left out")
    count = len(values)
    return float(np.sqrt((count - 1) / count * ((values - values.mean()) ** 2).sum()))


def normal_interval(
    value: float, error: float, *, units: int, confidence: float, method: str, odds: bool = False
) -> Interval:
    """`value` and so many standard errors to each side, by Student's t; on log-odds for a share."""
    t = student_quantile((1 + confidence) / 2, units - 1)
    if odds and 0 < value < 1:
        centre, half = np.log(value / (1 - value)), t * error / (value * (1 - value))
        low, high = (float(1 / (1 + np.exp(-x))) for x in (centre - half, centre + half))
    else:
        low, high = value - t * error, value + t * error
    if not (isfinite(low) and isfinite(high)):
        raise NoIntervalError("its standard error is not finite")
    return Interval(low=low, high=high, confidence=confidence, method=method)
