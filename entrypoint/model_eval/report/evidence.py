"""What verdicts rest on, in Markdown: values with intervals, slices, the baseline, calibration."""

from collections.abc import Sequence

from model_eval.report.inert import code
from model_eval.report.tables import NONE, details, shown, span, table
from model_eval.spec.catalog import COST
from model_eval.types import Comparison, Estimate, Flips, Report, scoped
from model_eval.wording import number

_MOST_ROWS = 300
_MOST_IDS = 20


def estimates(report: Report) -> str:
    """The metrics of whole held-out sets."""
    found = [one for one in report.estimates if one.slice is None and one.metric.name not in COST]
    known = {one.interval.confidence for one in found if one.interval}
    # Of a run that may end early each gate has a level of its own.
    title = f"{known.pop():.4g} interval" if len(known) == 1 else "Interval"
    rows = [
        [code(one.label), _value(one), _interval(one, stated=bool(known)), f"{one.n:,}"]
        for one in found
    ]
    return details("Metrics", table(["Metric", "Value", title, "Samples"], rows, align="lrrr"))


def slices(report: Report) -> str:
    """The metrics of slices, with the distance of each family's highest and lowest."""
    found = [one for one in report.estimates if one.slice is not None]
    rows = [
        [
            code(scoped(one.slice or "", heldout=one.heldout, part=None)),
            code(one.metric.label),
            _value(one),
            _interval(one),
            f"{one.n:,}",
        ]
        for one in found[:_MOST_ROWS]
    ]
    gaps = [
        [
            code(scoped(gap.family, heldout=gap.heldout, part=None)),
            code(gap.metric.label),
            shown(gap.value)
            if gap.value is not None
            else f"undefined: {code(gap.undefined or '')}",
            span(gap.interval),
            code(f"{gap.lowest} … {gap.highest}") if gap.lowest else NONE,
        ]
        for gap in report.gaps
    ]
    body = [
        table(["Slice", "Metric", "Value", "Interval", "Samples"], rows, align="llrrr"),
        f"_{len(found) - _MOST_ROWS:,} more are in the report._" if len(found) > _MOST_ROWS else "",
        table(["Family", "Metric", "Gap", "Interval", "Lowest … highest"], gaps, align="llrrl"),
    ]
    return details(f"Slices ({len(report.slices)})", "\n\n".join(part for part in body if part))


def baseline(report: Report) -> str:
    """The comparison with the baseline, and the samples that flipped."""
    known = report.baseline
    if known is None:
        return ""
    rows = [_compared(one) for one in report.comparisons[:_MOST_ROWS]]
    about = f"Against {known.kind} {code(known.source)}"
    if known.commit is not None:
        about += f", which is {code(known.commit[:12])}"
    if known.refused is not None:
        about = f"Nothing was compared with {code(known.source)}: {code(known.refused, limit=300)}"
    elif known.identical:
        about += ", which is the same checkpoint"
    headers = ["Metric", "Here", "Baseline", "Difference", "Interval", "Samples"]
    body = [about + ".", table(headers, rows, align="lrrrrr"), _flips(known.flips)]
    return details("Baseline", "\n\n".join(part for part in body if part))


def calibration(report: Report) -> str:
    """How often the model is right when it is so sure."""
    rows = [
        [
            f"{one.low:.1f} to {one.high:.1f}",
            f"{one.n:,}",
            number(one.confidence),
            number(one.accuracy),
            f"{one.accuracy - one.confidence:+.3f}",
        ]
        for one in report.calibration
    ]
    headers = ["Probability", "Samples", "Mean probability", "Right", "Difference"]
    return details("Calibration", table(headers, rows, align="lrrrr"))


def power(report: Report) -> str:
    """What the samples can decide, and how often they were looked at."""
    lines = [
        f"- {code(line.gate)}: {code(line.text, limit=300)}" for line in report.power[:_MOST_ROWS]
    ]
    return details("What these samples can decide", "\n".join(lines))


def further_sets(report: Report) -> str:
    """The held-out sets beside the main one."""
    rows = [
        [
            code(one.name),
            code(one.heldout.source),
            code(f"sha256:{one.heldout.sha256[:12]}") if one.heldout.sha256 else NONE,
            f"{one.completion.rows:,} of {one.completion.expected:,}",
        ]
        for one in report.more_heldout
    ]
    return details(
        "Further held-out sets", table(["Set", "Source", "Digest", "Samples"], rows, align="lllr")
    )


def _compared(one: Comparison) -> Sequence[object]:
    label = code(scoped(one.metric.label, heldout=one.heldout, part=one.slice))
    if one.difference is None:
        why = f"undefined: {code(one.undefined or '')}"
        return [label, shown(one.candidate), shown(one.baseline), why, NONE, f"{one.n:,}"]
    difference = f"{one.difference:+.4g}"
    return [
        label,
        shown(one.candidate),
        shown(one.baseline),
        difference,
        span(one.interval),
        f"{one.n:,}",
    ]


def _flips(flips: Flips | None) -> str:
    if flips is None:
        return ""
    p_value = f"McNemar's exact p = {flips.p_value:.3g}"
    counts = (
        f"{flips.gained:,} samples are right that were wrong, {flips.lost:,} the other way round"
    )
    lines = [f"{counts} ({p_value})."]
    for what, count, ids in (
        ("Right now", flips.gained, flips.gained_ids),
        ("Wrong now", flips.lost, flips.lost_ids),
    ):
        if ids:
            listed = ", ".join(code(one, limit=60) for one in ids[:_MOST_IDS])
            more = f" and {count - _MOST_IDS:,} more" if count > _MOST_IDS else ""
            lines.append(f"{what}: {listed}{more}.")
    return "\n\n".join(lines)


def _value(one: Estimate) -> str:
    if one.value is None:
        return f"undefined: {code(one.undefined or '')}"
    return number(one.value)


def _interval(one: Estimate, *, stated: bool = False) -> str:
    if one.interval is None and one.no_interval is not None:
        return f"none: {code(one.no_interval)}"
    confidence = f" ({one.interval.confidence:.4g})" if stated and one.interval else ""
    return span(one.interval) + confidence
