"""`report.json`: written by the evaluation, read back and doubted by the publisher.

The schema, `schemas/report.schema.json`, is generated from `types.Report` (`make schemas`), and a
test holds that the two agree.
"""

import json
import re
from collections.abc import Sequence
from inspect import cleandoc
from math import isfinite
from pathlib import Path
from typing import Any

import msgspec

from model_eval import __version__
from model_eval.checks import most_are_worse
from model_eval.errors import ReportError
from model_eval.gates import EXIT_CODES, evidence_of, judge
from model_eval.loosening import verdict_of
from model_eval.spec.catalog import COST, METRICS
from model_eval.types import (
    BOUNDS,
    MAIN_HELDOUT,
    SEQUENCE,
    ControlInfo,
    Fault,
    Interval,
    Report,
    Verdict,
)

SCHEMA_VERSION = 1
MAX_BYTES = 8 * 1024 * 1024
"""A report over this size is refused: the publisher reads what a pull request may have written."""

MAX_ITEMS = 100_000
"""A report with a longer list than this is refused."""

_MISCOUNTED = "the report counts more samples than there are, or fewer than none"
_SCHEMA_FILE = Path(__file__).parent.parent / "schemas" / "report.schema.json"


def error_report(name: str, faults: Sequence[Fault], *, exit_code: int) -> Report:
    """A report that says that nothing was judged."""
    return Report(
        schema_version=SCHEMA_VERSION,
        name=name,
        verdict=Verdict.ERROR,
        exit_code=exit_code,
        reason=faults[0].message if faults else "the evaluation did not finish",
        model_eval=__version__,
        faults=tuple(faults),
    )


def to_json(report: Report) -> bytes:
    """The report as UTF-8 JSON, two spaces deep, keys in the order of `types.Report`."""
    return msgspec.json.format(msgspec.json.encode(report), indent=2) + b"\n"


def from_json(data: bytes) -> Report:
    """Reads a report, and refuses one that contradicts itself.

    The document is held against the schema; then the verdict is derived again from the gates, and
    each gate from its value and threshold, so that a report cannot claim a pass it does not show.

    Raises:
        ReportError: the data is no report of this version, or the verdict does not follow from it.
    """
    if len(data) > MAX_BYTES:
        raise ReportError(f"the report has {len(data)} bytes; at most {MAX_BYTES} are read")
    try:
        document = json.loads(data, parse_constant=_refuse_constant, parse_float=_finite)
    except (ValueError, RecursionError) as error:
        raise ReportError("the report is not JSON") from error
    try:
        # First, because it stops at the first fault, whatever the size.
        report: Report = msgspec.convert(document, Report)
    except msgspec.ValidationError as error:
        raise ReportError(f"the report does not match its schema: {error}") from error
    _require_short(report)
    _validate(document)
    _require_consistent(report)
    return report


def json_schema() -> dict[str, Any]:
    """The JSON Schema (2020-12) of a report, strict about unknown keys."""
    schema = msgspec.json.schema(Report)
    for definition in schema["$defs"].values():
        summary, attributes = _documented(definition.get("description", ""))
        definition["description"] = summary
        if "properties" in definition:
            definition["additionalProperties"] = False
            for name, meaning in attributes.items():
                definition["properties"][name]["description"] = meaning
    schema["$defs"]["Report"]["properties"]["schema_version"]["const"] = SCHEMA_VERSION
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "model-eval report",
        "description": "Everything that is known after a run of model-eval.",
        **schema,
    }


def _documented(docstring: str) -> tuple[str, dict[str, str]]:
    """A class's docstring as its text and the meaning of each of its attributes."""
    text, _, listed = cleandoc(docstring).partition("\nAttributes:\n")
    meanings = re.findall(r"^    (\w+): (.*(?:\n {8}.*)*)", listed, re.MULTILINE)
    return text.strip(), {name: " ".join(meaning.split()) for name, meaning in meanings}


def _validate(document: Any) -> None:
    import jsonschema

    schema = json.loads(_SCHEMA_FILE.read_text(encoding="utf-8"))
    error = next(jsonschema.Draft202012Validator(schema).iter_errors(document), None)
    if error is not None:
        place = "/".join(str(part) for part in error.absolute_path) or "the top level"
        raise ReportError(
            f"the report does not match its schema at {place}: {error.message[:200]}"
        ) from error


def _finite(text: str) -> float:
    value = float(text)
    if not isfinite(value):
        raise ValueError(f"{text} is too large")
    return value


def _refuse_constant(name: str) -> Any:
    raise ValueError(f"{name} is not JSON")


def _require_consistent(report: Report) -> None:
    if report.verdict is Verdict.ERROR:
        if not report.faults or report.exit_code not in {2, 3, 4}:
            raise ReportError("the report claims an error and does not show one")
        return
    if report.faults:
        raise ReportError("the report has faults and no error")
    evidence = evidence_of(report)
    if len(evidence.estimates) != len(report.estimates):
        raise ReportError("the report has two estimates of one metric")
    if len(evidence.comparisons) != len(report.comparisons) or len(evidence.gaps) != len(
        report.gaps
    ):
        raise ReportError("the report compares one metric twice")
    if len({(part.heldout, part.label) for part in report.slices}) != len(report.slices):
        raise ReportError("the report has two slices of one name")
    gates = (*report.gates, *report.base_gates)
    for gate in gates:
        if gate.bound not in BOUNDS:
            raise ReportError(f"gate {gate.metric.label} has the unknown bound `{gate.bound}`")
        info = METRICS.get(gate.metric.name)
        if info is not None and gate.higher_is_better is not (info.higher_is_better is not False):
            raise ReportError(f"gate {gate.metric.label} takes worse for better")
    for gate, again in zip(gates, judge(gates, evidence), strict=True):
        if gate.value != again.value:
            raise ReportError(f"the value of gate {gate.label} is not its estimate")
        if gate != again:
            raise ReportError(f"the status of gate {gate.label} does not follow from it")
    _require_intervals(report)
    _require_stopped(report)
    verdict, _ = verdict_of(report)
    if report.verdict is not verdict or report.exit_code != EXIT_CODES[verdict]:
        raise ReportError(
            f"the report claims `{report.verdict}` (exit {report.exit_code}), "
            f"and its gates show `{verdict}`"
        )
    _require_nothing_judged(report)
    _require_control(report.control)
    _require_square(report)
    _require_counts(report)


def _require_nothing_judged(report: Report) -> None:
    """Refuses a verdict on a part of the samples."""
    if report.shard is None:
        return
    if report.verdict is not Verdict.UNDECIDED or report.gates or report.base_gates:
        raise ReportError("the report is of one shard, and judges it")


def _require_stopped(report: Report) -> None:
    """A run that ended early has so many samples, and no interval but those that hold at every look."""
    of_rows = [
        one
        for one in report.estimates
        if one.heldout == MAIN_HELDOUT and one.metric.name not in COST
    ]
    intervals = [one.interval for one in of_rows]
    intervals += [one.interval for one in report.comparisons if one.heldout == MAIN_HELDOUT]
    methods = {interval.method for interval in intervals if interval is not None}
    stopped, done = report.stopped, report.completion
    if stopped is None:
        if SEQUENCE in methods:
            raise ReportError("the report has intervals of a run that ended early, and it did not")
        return
    if not (
        report.run is not None
        and report.run.stop_early
        and done is not None
        and 0 < stopped.samples < stopped.of
        and done.expected == stopped.samples
    ):
        raise ReportError("the report claims a run that ended early and does not show one")
    others = [gap.interval for gap in report.gaps if gap.heldout == MAIN_HELDOUT]
    others += [one.relative_interval for one in report.comparisons if one.heldout == MAIN_HELDOUT]
    if methods - {SEQUENCE} or any(interval is not None for interval in others):
        raise ReportError("the report of a run that ended early has intervals of a whole one")


def _require_control(control: ControlInfo | None) -> None:
    if control is None:
        return
    shown = most_are_worse(control.trials)
    if control.worse is not shown or (control.skipped is None) != (shown is not None):
        raise ReportError("the outcome of the control does not follow from its trials")


def _require_short(report: Report) -> None:
    for name in (
        "estimates", "slices", "gaps", "comparisons", "more_heldout", "classes", "gates", "faults",
        "notes", "loosened", "base_gates",
    ):  # fmt: skip
        if len(getattr(report, name)) > MAX_ITEMS:
            raise ReportError(f"the report has more than {MAX_ITEMS} {name}")


def _require_counts(report: Report) -> None:
    done = report.completion
    sets = {MAIN_HELDOUT: done, **{one.name: one.completion for one in report.more_heldout}}
    # A cost rests on timed calls, of which there may be more than samples.
    counted = [(one.heldout, one.n) for one in report.estimates if one.metric.name not in COST]
    counted += [(one.heldout, one.n) for one in report.comparisons]
    counted += [(one.heldout, one.n) for one in report.gaps]
    counted += [(part.heldout, part.n) for part in report.slices]
    counted += [(MAIN_HELDOUT, n) for row in report.classes for n in (row.support, row.predicted)]
    gates = [gate for gate in (*report.gates, *report.base_gates) if gate.metric.name not in COST]
    counted += [(gate.heldout, gate.n) for gate in gates]
    for one in sets.values():
        numbers = [one.expected, one.rows, one.distinct, one.finite] if one else []
        if one and not 0 <= min(numbers) <= max(numbers) <= max(one.rows, one.expected):
            raise ReportError(_MISCOUNTED)
    for name, number in counted:
        of = sets.get(name)
        if number < 0 or (of is not None and number > max(of.rows, of.expected)):
            raise ReportError(_MISCOUNTED)


def _require_square(report: Report) -> None:
    matrix = report.confusion_matrix
    if matrix is None:
        return
    size = len(matrix.labels)
    if len(matrix.counts) != size or any(len(row) != size for row in matrix.counts):
        raise ReportError("the confusion matrix is not square")
    counted = sum(sum(row) for row in matrix.counts)
    if report.completion is None or counted != report.completion.rows:
        raise ReportError("the confusion matrix does not count every sample once")


def _require_intervals(report: Report) -> None:
    found = [e.interval for e in report.estimates] + [g.interval for g in report.gaps]
    found += [i for c in report.comparisons for i in (c.interval, c.relative_interval)]
    if not all(interval is None or _is_interval(interval) for interval in found):
        raise ReportError("the report has an interval that is none")


def _is_interval(interval: Interval) -> bool:
    return interval.low <= interval.high and 0 < interval.confidence < 1
