"""The report for reviewers: the job summary and the comment on the pull request.

`render` degrades by size: everything, then without the folded tables, then only what did not
pass, then the totals. Every string that is not ours is made inert.
"""

from collections.abc import Sequence

from model_eval.loosening import verdict_of
from model_eval.report import evidence
from model_eval.report.checks import describe_checks
from model_eval.report.inert import block, code
from model_eval.report.reused import describe_reused
from model_eval.report.tables import NONE, details, span, table, threshold
from model_eval.spec.catalog import COST
from model_eval.types import (
    BOUNDS,
    BatchSizeFrom,
    ConfusionMatrix,
    Estimate,
    Fault,
    GateResult,
    GateStatus,
    Report,
    RunSettings,
    Severity,
    Verdict,
)
from model_eval.wording import number

ICONS = {
    Verdict.PASS: "✅",
    Verdict.FAIL: "❌",
    Verdict.UNDECIDED: "⚠️",
    Verdict.ERROR: "🛑",
}
_GATE_ICONS = {GateStatus.PASS: "✅", GateStatus.FAIL: "❌", GateStatus.UNDECIDED: "⚠️"}
_MATRIX_CLASSES = 25
_FLIPS = "*Flips*: how often another held-out set of this size would be on the other side of the threshold."


def render(report: Report, *, limit: int | None = None, footer: str = "") -> str:
    """Renders the report as GitHub Markdown.

    Args:
        report: what to render.
        limit: at most so many UTF-8 bytes (and so at most as many characters), or no limit.
        footer: a last line of ours, such as a link to the run.

    Returns:
        The most complete rendering that fits.
    """
    tail = f"\n{footer}\n" if footer else ""
    for level in (_full, _without_details, _failures, _totals):
        text = level(report) + tail
        if limit is None or len(text.encode()) <= limit:
            return text
    return _totals(report)


def _full(report: Report) -> str:
    return _join(
        _heading(report),
        _reused(report),
        _faults(report.faults),
        _gates(report.gates),
        _loosened(report),
        _base_gates(report),
        evidence.baseline(report),
        evidence.slices(report),
        evidence.estimates(report),
        _classes(report),
        _matrix(report.confusion_matrix),
        evidence.power(report),
        evidence.calibration(report),
        evidence.further_sets(report),
        _costs(report),
        _checks(report),
        _notes(report),
        _provenance(report),
    )


def _without_details(report: Report) -> str:
    return _join(
        _heading(report),
        _reused(report),
        _faults(report.faults),
        _gates(report.gates),
        _loosened(report),
        _cut(),
    )


def _failures(report: Report) -> str:
    failing = [gate for gate in report.gates if gate.status is not GateStatus.PASS]
    return _join(
        _heading(report),
        _reused(report),
        _faults(report.faults[:5]),
        _gates(failing[:20]),
        _loosened(report, limit=20),
        _cut(),
    )


def _totals(report: Report) -> str:
    return _join(_heading(report), _reused(report), _cut())


def _join(*parts: str) -> str:
    return "\n\n".join(part for part in parts if part) + "\n"


def _cut() -> str:
    return "_Shortened: the whole report did not fit; it is in `report.json`._"


def _heading(report: Report) -> str:
    return f"## {ICONS[report.verdict]} {code(report.name)}: {report.verdict}\n\n{_reason(report)}"


def _reason(report: Report) -> str:
    """Derived again from the gates: the report's own sentence may hold names that are not ours."""
    if report.verdict is Verdict.ERROR:
        return f"Nothing was judged (exit {report.exit_code})."
    if (shard := report.shard) is not None:
        return (
            f"Shard {shard.index} of {shard.of}: nothing is judged before all of them are joined."
        )
    _, reason = verdict_of(report)
    clause, _, labels = reason.partition(": ")
    samples = f" on {report.completion.rows:,}{_of(report)} samples" if report.completion else ""
    return f"{clause[0].upper()}{clause[1:]}{samples}{f': {code(labels)}' if labels else ''}."


def _of(report: Report) -> str:
    return f" of {report.stopped.of:,}" if report.stopped else ""


def _reused(report: Report) -> str:
    found = describe_reused(report)
    return "\n".join(f"- {clause}: entry {code(key)} of the store" for clause, key in found)


def _faults(faults: Sequence[Fault]) -> str:
    return "\n\n".join(block(str(fault)) for fault in faults[:50])


def _gates(gates: Sequence[GateResult]) -> str:
    rows = [
        [
            _GATE_ICONS[gate.status],
            code(gate.label) + _weight(gate),
            number(gate.value, unlike=[gate.threshold]) if gate.value is not None else NONE,
            span(gate.interval, unlike=[gate.threshold]),
            f"{BOUNDS[gate.bound]} {threshold(gate)}",
            f"{gate.margin:+.4g}" if gate.margin is not None else NONE,
            f"{gate.n:,}",
            NONE if gate.flip is None else f"{gate.flip:.1%}",
        ]
        for gate in gates
    ]
    headers = ["", "Gate", "Value", "Interval", "Threshold", "Margin", "Samples", "Flips"]
    about = _FLIPS if any(gate.flip is not None for gate in gates) else ""
    return _join_lines(table(headers, rows, align="llrrrrrr"), about, _reasons(gates))


def _weight(gate: GateResult) -> str:
    if gate.severity is Severity.ADVISORY:
        return " (advisory)"
    passed = gate.status is GateStatus.PASS
    return "" if passed or gate.blocks else " (does not block)"


def _reasons(gates: Sequence[GateResult]) -> str:
    """Why a gate is not decided, what of several slices decided, and why one fails whose value does not."""
    told = [
        gate
        for gate in gates
        if gate.status is GateStatus.UNDECIDED
        or gate.slices is not None
        or (gate.status is GateStatus.FAIL and gate.margin is not None and gate.margin >= 0)
    ]
    return "\n".join(f"- {code(gate.label)}: {code(gate.reason, limit=300)}" for gate in told[:50])


def _join_lines(*parts: str) -> str:
    return "\n\n".join(part for part in parts if part)


def _loosened(report: Report, *, limit: int | None = None) -> str:
    if not report.loosened:
        return ""
    rows = [
        [
            code(one.what),
            code(one.base) if one.base is not None else NONE,
            code(one.head) if one.head is not None else NONE,
        ]
        for one in report.loosened[:limit]
    ]
    allowed = "allowed" if report.loosening_allowed else "not allowed"
    title = f"**Loosened** against the base branch's spec ({allowed}):"
    return f"{title}\n\n{table(['What', 'Base', 'This'], rows, align='lll')}"


def _base_gates(report: Report) -> str:
    return details("Gates of the base branch's spec", _gates(report.base_gates))


def _classes(report: Report) -> str:
    rows = [
        [
            code(row.name),
            row.support,
            row.predicted,
            *(
                NONE if value is None else number(value)
                for value in (
                    row.precision,
                    row.recall,
                    row.f1,
                )
            ),
        ]
        for row in report.classes
    ]
    return details(
        f"Classes ({len(rows)})",
        table(["Class", "Samples", "Predicted", "Precision", "Recall", "F1"], rows, align="lrrrrr"),
    )


def _matrix(matrix: ConfusionMatrix | None) -> str:
    if matrix is None or len(matrix.labels) > _MATRIX_CLASSES:
        return ""
    rows = [
        [code(label, limit=30), *counts]
        for label, counts in zip(matrix.labels, matrix.counts, strict=True)
    ]
    header = ["target ╲ predicted", *(code(label, limit=30) for label in matrix.labels)]
    return details("Confusion matrix", table(header, rows, align="l" + "r" * len(rows)))


def _costs(report: Report) -> str:
    """The costs once more, with their intervals and how they were measured."""
    rows = []
    for one in report.estimates:
        if one.metric.name not in COST:
            continue
        value = NONE if one.value is None else number(one.value)
        rows.append([code(one.metric.label), value, _interval(one)])
    how = f"{code(report.cost.skipped, limit=400)}" if report.cost and report.cost.skipped else ""
    if report.cost and not report.cost.skipped:
        cost = report.cost
        how = f"{cost.runs:,} timed calls after {cost.warmup:,} others, batches of {cost.batch_size:,}"
        if report.environment:
            device = report.environment.device
            how += f", on {code(device.used)} {code(device.name)}"
    costs = table(["Cost", "Value", "Interval"], rows, align="lrl")
    return details("Cost", _join_lines(costs, how))


def _interval(estimate: Estimate) -> str:
    found = estimate.interval
    if found is not None:
        return f"{number(found.low)} to {number(found.high)} ({found.confidence:.0%})"
    return code(estimate.no_interval or estimate.undefined or "", limit=200)


def _checks(report: Report) -> str:
    rows = [[name, code(text, limit=400)] for name, text in describe_checks(report)]
    return details("Checks of the model", table(["Check", "Found"], rows, align="ll"))


def _notes(report: Report) -> str:
    return "\n".join(f"- {code(note, limit=400)}" for note in report.notes)


def _provenance(report: Report) -> str:
    rows: list[list[str]] = []

    def add(name: str, value: str | None) -> None:
        if value:
            rows.append([name, value])

    if report.spec:
        add("Spec", f"{code(report.spec.path)} {_digest(report.spec.sha256)}")
    if report.checkpoint:
        for file in report.checkpoint.files[:10]:
            add("Checkpoint", f"{code(file.path)} {_digest(file.sha256)}")
        loaded = report.checkpoint
        add(
            "Weights",
            f"{loaded.parameters_from_file:,} of {loaded.parameters:,} parameters from the file",
        )
    if report.heldout:
        digest = report.heldout.sha256  # empty in a loader's shard
        add("Held-out set", f"{code(report.heldout.source)} {_digest(digest) if digest else ''}")
        for file in report.heldout.disjoint_from:
            add("Disjoint from", f"{code(file.path)} {_digest(file.sha256)}")
    if report.completion:
        done = report.completion
        add("Samples", f"{done.rows} of {done.expected}, {done.distinct} distinct")
    if report.stopped:
        add("Ended early", f"after {report.stopped.samples:,} of {report.stopped.of:,} samples")
    if report.run:
        run = report.run
        add("Run", f"{code(run.precision)}, {_batches(run)}, seed {run.seed}")
    if report.environment:
        here = report.environment
        device = here.device
        about = [
            device.used,
            device.name,
            device.runtime,
            device.driver and f"driver {device.driver}",
        ]
        add("Device", " ".join(code(part) for part in about if part))
        add("Versions", f"model-eval {code(here.model_eval)}, torch {code(here.torch)}")
    if report.timings:
        # None where the ledgers were measured elsewhere: by shards, or by an earlier run.
        evaluating = f", {seconds:.1f} evaluating" if (seconds := report.timings.evaluate) else ""
        add("Seconds", f"{report.timings.total:.1f}{evaluating}")
    return details("What was evaluated", table(["", ""], rows, align="ll"))


def _batches(run: RunSettings) -> str:
    how = {
        BatchSizeFrom.SPEC: "",
        BatchSizeFrom.MEASURED: " (measured)",
        BatchSizeFrom.MEMORY: " (memory ended on larger ones)",
        BatchSizeFrom.PARTS: " (fixed for a run in parts)",
    }[run.batch_size_from]
    size = "not measured yet" if run.batch_size is None else f"{run.batch_size:,}{how}"
    layout = "" if run.memory_format == "contiguous" else f", {code(run.memory_format)}"
    return f"batch size {size}{layout}"


def _digest(sha256: str) -> str:
    return code(f"sha256:{sha256[:12]}")
