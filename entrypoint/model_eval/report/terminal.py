"""The report for a terminal: a compact table and one line of verdict."""

from tabulate import tabulate

from model_eval.report.checks import describe_control
from model_eval.report.inert import plain_line, plain_line_keeping_spaces
from model_eval.report.reused import describe_reused
from model_eval.report.tables import NONE, span, threshold
from model_eval.types import BOUNDS, Report, Severity, Verdict
from model_eval.wording import number

_SIGNS = {"≥": ">=", "≤": "<="}


def render_terminal(report: Report) -> str:
    """Faults, or gates and metrics, then the verdict; control characters are removed."""
    parts = []
    if report.faults:
        parts.append("\n".join(_fault_lines(str(fault)) for fault in report.faults))
    if report.estimates:
        parts.append(_metrics(report))
    if report.gates:
        parts.append(_gates(report))
    if report.loosened:
        parts.append(_loosened(report))
    if (known := report.baseline) is not None and known.flips is not None:
        gained, lost = known.flips.gained, known.flips.lost
        parts.append(
            f"baseline {plain_line(known.source, limit=120)}: {gained:,} samples gained, {lost:,} lost "
            f"(McNemar p = {known.flips.p_value:.3g})"
        )
    if report.control:
        lines = (f"untrained model: {line}" for line in describe_control(report.control))
        parts.append("\n".join(plain_line(line, limit=400) for line in lines))
    if reused := describe_reused(report):
        lines = (
            f"{clause}: entry {plain_line(key, limit=12)} of the store" for clause, key in reused
        )
        parts.append("\n".join(lines))
    if report.notes:
        parts.append("\n".join(f"note: {plain_line(note, limit=400)}" for note in report.notes))
    name = plain_line(report.name, limit=120)
    if (shard := report.shard) is not None:
        parts.append(f"{name}: shard {shard.index} of {shard.of} is done; `merge` judges them all")
        return "\n\n".join(parts) + "\n"
    parts.append(f"{name}: {report.verdict} (exit {report.exit_code}): {_reason(report)}")
    return "\n\n".join(parts) + "\n"


def _reason(report: Report) -> str:
    if report.verdict is Verdict.ERROR:
        return f"{len(report.faults)} fault{'' if len(report.faults) == 1 else 's'}"
    return plain_line(report.reason, limit=400)


def _fault_lines(text: str) -> str:
    return "\n".join(plain_line_keeping_spaces(line) for line in text.splitlines())


def _metrics(report: Report) -> str:
    of_slices = sum(one.slice is not None for one in report.estimates)
    rows = [
        [
            plain_line(one.label, limit=60),
            plain_line(f"undefined: {one.undefined}", limit=200)
            if one.value is None
            else number(one.value),
            span(one.interval),
        ]
        for one in report.estimates
        if one.slice is None
    ]
    found = tabulate(
        rows, headers=["metric", "value", "interval"], tablefmt="simple", disable_numparse=True
    )
    more = f"\n{of_slices:,} values of slices are in the report" if of_slices else ""
    return found + more


def _gates(report: Report) -> str:
    rows = [
        [
            str(gate.status) + (" (advisory)" if gate.severity is Severity.ADVISORY else ""),
            (f"{plain_line(gate.label, limit=80)} {_SIGNS[BOUNDS[gate.bound]]} {threshold(gate)}"),
            plain_line(gate.reason, limit=200),
            NONE if gate.flip is None else f"{gate.flip:.1%}",
        ]
        for gate in report.gates
    ]
    return tabulate(
        rows, headers=["gate", "rule", "why", "flips"], tablefmt="simple", disable_numparse=True
    )


def _loosened(report: Report) -> str:
    rows = [
        [
            plain_line(one.what, limit=80),
            plain_line(one.base or "", limit=60),
            plain_line(one.head or "", limit=60),
        ]
        for one in report.loosened
    ]
    title = "loosened (allowed)" if report.loosening_allowed else "loosened"
    return tabulate(rows, headers=[title, "base", "this"], tablefmt="simple", disable_numparse=True)
