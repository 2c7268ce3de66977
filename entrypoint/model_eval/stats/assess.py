"""Ledgers → everything that is estimated from them: values, intervals, slices, gaps, comparisons."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np

from model_eval.ledger import Ledger
from model_eval.metrics import Brought, Weighted, estimates, weighted
from model_eval.slicing import Slice, divide, take
from model_eval.spec.eval_spec import SliceFamily
from model_eval.stats.difference import Paired, compare_metric
from model_eval.stats.early import Early, with_early_difference, with_early_interval
from model_eval.stats.gap import gap_of
from model_eval.stats.interval import Sampled, with_interval
from model_eval.types import Comparison, Estimate, Gap, MetricRef, SliceInfo


@dataclass(frozen=True, kw_only=True, slots=True)
class Asked:
    """What to estimate on one held-out set.

    Attributes:
        heldout: the set's name.
        metrics: on all samples and on each slice.
        families: what divides the set.
        gaps: family and metric of each gap that is wanted.
        brought: the metrics that are not in the catalogue.
        early: of a run that may end early, what was known before its first sample; else None.
    """

    heldout: str
    metrics: tuple[MetricRef, ...]
    families: tuple[SliceFamily, ...]
    gaps: tuple[tuple[str, MetricRef], ...]
    confidence: float
    seed: int
    brought: Mapping[str, Brought] = field(default_factory=dict)
    early: Early | None = None


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
    estimated = tuple(one for of_part, _ in found for one in of_part)
    return Assessment(
        estimates=estimated,
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
        gaps=tuple(_gap(ledger, parts, estimated, *of, asked=asked) for of in asked.gaps),
    )


def sampled_of(ledger: Ledger, asked: Asked) -> Sampled:
    """The ledger's sample, weighted by its column of weights where it has one."""
    return Sampled(
        sample=weighted(ledger),
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
        same = sampled.sample
        before = replace(
            sampled, sample=Weighted(ledger=baseline, base=same.base, scaled=same.scaled)
        )
        paired = Paired(candidate=sampled, baseline=before, identical=identical)
        compared = [
            compare_metric(estimate.metric, paired, estimate, other)
            for estimate, other in zip(
                plain,
                estimates(before.sample, asked.metrics, brought=asked.brought),
                strict=True,
            )
        ]
    if (early := asked.early) is not None:
        if baseline is not None:
            compared = [with_early_difference(c, ledger, baseline, early) for c in compared]
        return [with_early_interval(estimate, sampled, early) for estimate in plain], compared
    return [with_interval(estimate, sampled) for estimate in plain], compared


def _gap(
    ledger: Ledger,
    parts: Sequence[Slice],
    found: Sequence[Estimate],
    family: str,
    ref: MetricRef,
    *,
    asked: Asked,
) -> Gap:
    """From the estimates that there are; of a metric that is of the gap alone they are made here."""
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
    members = [part for part in parts if part.family == family]
    if empty := [part.label for part in members if not part.rows.any()]:
        return replace(known, undefined=f"no sample is in {empty[0]}")
    of_metric = {one.slice: one for one in found if one.metric == ref}
    if not of_metric:
        own = replace(asked, metrics=(ref,))
        of_metric = {
            label: _part(ledger, None, part, own, identical=False)[0][0]
            for label, part in [(None, None), *((part.label, part) for part in members)]
        }
    if of_metric[None].value is None:
        return replace(known, undefined=of_metric[None].undefined)
    slices = [of_metric[part.label] for part in members]
    return gap_of(known, slices, confidence=asked.confidence)
