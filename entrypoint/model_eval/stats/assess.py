"""Ledgers → everything that is estimated from them: values, intervals, slices, gaps, comparisons."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np

from model_eval.ledger import Ledger
from model_eval.metrics import Brought, Resample, Sample, estimates, values_of
from model_eval.metrics.registry import info_of
from model_eval.metrics.rows import FloatArray
from model_eval.slicing import Slice, divide, take
from model_eval.spec.eval_spec import SliceFamily
from model_eval.stats.bootstrap import NoIntervalError, NoVariationError
from model_eval.stats.difference import Paired, compare_metric
from model_eval.stats.interval import (
    Sampled,
    metric_interval,
    statistic_interval,
    with_interval,
)
from model_eval.stats.unseen import UNSEEN
from model_eval.types import Comparison, Estimate, Gap, Interval, MetricRef, SliceInfo


@dataclass(frozen=True, kw_only=True, slots=True)
class Asked:
    """What to estimate on one held-out set.

    Attributes:
        heldout: the set's name.
        metrics: on all samples and on each slice.
        families: what divides the set.
        gaps: family and metric of each gap that is wanted.
        brought: the metrics that are not in the catalogue.
    """

    heldout: str
    metrics: tuple[MetricRef, ...]
    families: tuple[SliceFamily, ...]
    gaps: tuple[tuple[str, MetricRef], ...]
    confidence: float
    seed: int
    brought: Mapping[str, Brought] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True, slots=True)
class Assessment:
    """What the ledger of one held-out set shows."""

    estimates: tuple[Estimate, ...]
    slices: tuple[SliceInfo, ...]
    gaps: tuple[Gap, ...]
    comparisons: tuple[Comparison, ...]


def assess(ledger: Ledger, baseline: Ledger | None, asked: Asked, *, identical: bool) -> Assessment:
    """Estimates all that is asked for.

    Args:
        ledger: of the checkpoint.
        baseline: of what it is compared with, the same samples in the same order; or None.
        asked: what to estimate.
        identical: whether the baseline is the same checkpoint.

    Raises:
        HeldOutError: the set cannot be divided as the spec says.
    """
    parts = divide(ledger, asked.families)
    found = [_part(ledger, baseline, None, asked, identical=identical)]
    found += [_part(ledger, baseline, part, asked, identical=identical) for part in parts]
    return Assessment(
        estimates=tuple(e for estimated, _ in found for e in estimated),
        comparisons=tuple(c for _, compared in found for c in compared),
        slices=tuple(
            SliceInfo(
                heldout=asked.heldout,
                family=part.family,
                label=part.label,
                n=int(np.count_nonzero(part.rows)),
            )
            for part in parts
        ),
        gaps=tuple(_gap(ledger, parts, family, ref, asked) for family, ref in asked.gaps),
    )


def sampled_of(ledger: Ledger, asked: Asked) -> Sampled:
    """The ledger's sample, weighted by its column of weights where it has one."""
    base = ledger["weight"] if "weight" in ledger.columns else None
    if base is not None:
        # By a power of two, so that sums of huge weights do not overflow.
        base = np.ldexp(base, -np.frexp(base.max(initial=0))[1])
    return Sampled(
        sample=Sample(ledger=ledger, base=base),
        seed=asked.seed,
        confidence=asked.confidence,
        brought=asked.brought,
    )


def _part(
    ledger: Ledger, baseline: Ledger | None, part: Slice | None, asked: Asked, *, identical: bool
) -> tuple[list[Estimate], list[Comparison]]:
    if part is not None:
        ledger = take(ledger, part.rows)
        baseline = None if baseline is None else take(baseline, part.rows)
    label = None if part is None else part.label
    sampled = sampled_of(ledger, asked)
    plain = [
        replace(estimate, heldout=asked.heldout, slice=label)
        for estimate in estimates(sampled.sample, asked.metrics, brought=asked.brought)
    ]
    compared: list[Comparison] = []
    if baseline is not None:
        # Weighted alike: the same samples, whatever weights the baseline's ledger was saved with.
        before = replace(sampled, sample=Sample(ledger=baseline, base=sampled.sample.base))
        paired = Paired(candidate=sampled, baseline=before, identical=identical)
        compared = [
            compare_metric(estimate.metric, paired, estimate, other)
            for estimate, other in zip(
                plain,
                estimates(before.sample, asked.metrics, brought=asked.brought),
                strict=True,
            )
        ]
    return [with_interval(estimate, sampled) for estimate in plain], compared


def _gap(ledger: Ledger, parts: Sequence[Slice], family: str, ref: MetricRef, asked: Asked) -> Gap:
    sampled = sampled_of(ledger, asked)
    base = sampled.sample.base
    members = [part for part in parts if part.family == family]
    samples = [
        Sample(ledger=ledger, base=part.rows.astype(np.float64) * (1.0 if base is None else base))
        for part in members
    ]
    known = Gap(
        metric=ref,
        heldout=asked.heldout,
        family=family,
        n=len(ledger),
        value=None,
        undefined=None,
        highest=None,
        lowest=None,
        interval=None,
        no_interval=None,
    )
    if len(members) < 2:
        return replace(known, undefined="there are fewer than two slices")
    if empty := [part.label for part in members if not part.rows.any()]:
        return replace(known, undefined=f"no sample is in {empty[0]}")
    [whole] = estimates(sampled.sample, (ref,), brought=asked.brought)
    if whole.value is None:
        return replace(known, undefined=whole.undefined)

    def values(resample: Resample | None) -> FloatArray:
        return np.stack(
            [values_of(sample.rows(resample), ref, asked.brought) for sample in samples]
        )

    def statistic(resample: Resample | None) -> FloatArray:
        found = values(resample)
        spread: FloatArray = found.max(axis=0) - found.min(axis=0)
        return spread

    plain = values(None)[:, 0]
    if lacking := [
        part.label for part, value in zip(members, plain, strict=True) if np.isnan(value)
    ]:
        return replace(known, undefined=f"the metric has no value on {lacking[0]}")
    gap = replace(
        known,
        value=float(plain.max() - plain.min()),
        highest=members[int(plain.argmax())].label,
        lowest=members[int(plain.argmin())].label,
    )
    try:
        ends = [
            _ends(sampled_of(take(ledger, part.rows), asked), part, ref, float(value))
            for part, value in zip(members, plain, strict=True)
        ]
        try:
            found = statistic_interval(statistic, sampled.metric(ref), sampled)
        except NoVariationError:
            if all(low == high for low, high in ends):
                raise
            found = Interval(
                low=float(np.ptp(plain)),
                high=float(np.ptp(plain)),
                confidence=asked.confidence,
                method=UNSEEN,
            )
    except NoIntervalError as error:
        return replace(gap, no_interval=str(error))
    lows, highs = zip(*ends, strict=True)
    return replace(
        gap,
        interval=replace(
            found,
            low=min(found.low, max(0.0, max(lows) - min(highs))),
            high=max(found.high, max(highs) - min(lows)),
        ),
    )


def _ends(sampled: Sampled, part: Slice, ref: MetricRef, value: float) -> tuple[float, float]:
    """How far a slice may be from its value where no resample of it differs: twelve of twelve right.

    Raises:
        NoIntervalError: so few samples are in the slice that nothing is known of it.
    """
    info = info_of(ref.name, sampled.brought)
    try:
        sampled.require_units()
        if info is None or value not in {info.low, info.high}:
            return value, value
        own = metric_interval(ref, sampled)
    except NoIntervalError as error:
        raise NoIntervalError(f"of {part.label}, {error}") from error
    return own.low, own.high
