"""Ledgers → the judged part of a report. Pure: no model, no file, no clock."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from model_eval import metrics, stats
from model_eval.checks import noise_notes
from model_eval.errors import PowerError
from model_eval.gates import EXIT_CODES, evidence_of, judge
from model_eval.ledger import Ledger
from model_eval.loosening import held_gates, verdict_of
from model_eval.measured import Measured
from model_eval.numerics import numpys_own
from model_eval.spec.catalog import CATALOG, CLASSIFICATION, CONFUSION_MATRIX, COST, LABELLED
from model_eval.spec.eval_spec import EvalSpec
from model_eval.types import (
    MAIN_HELDOUT,
    BaselineInfo,
    ClassRow,
    Comparison,
    Estimate,
    Gap,
    PowerLine,
    Report,
    Severity,
    SliceInfo,
)
from model_eval.wording import first_few

MATRIX_CLASSES = 100
"""With more classes than this the confusion matrix is reported only where it is asked for."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Evaluated:
    """What the evaluation of a spec left.

    Attributes:
        measured: what running the model left.
        baselines: the baseline's ledger of the same samples, in the same order, by set.
        baseline: what that is, or why there is none; None where the spec names none.
        brought: the metrics that the spec brings, by name.
        early: of a run that could end early, how its intervals are found; else None.
    """

    measured: Measured
    baselines: Mapping[str, Ledger]
    baseline: BaselineInfo | None
    brought: Mapping[str, metrics.Brought]
    early: stats.Early | None


@numpys_own
def judged(
    known: Report, spec: EvalSpec, evaluated: Evaluated, *, base: EvalSpec | None = None
) -> Report:
    """The report with estimates, gates and verdict.

    Args:
        known: what the run found out.
        spec: which metrics, slices and gates there are.
        evaluated: the ledgers.
        base: the base branch's spec, whose gates are held against the same ledgers.
    """
    measured = evaluated.measured
    main = measured.ledgers[MAIN_HELDOUT]
    asked = tuple(ref for ref in spec.metrics if ref.name != CONFUSION_MATRIX)
    held = held_gates(base, spec) if base is not None else ()
    # What cannot be measured here (another task's metric) leaves its gate undecided.
    theirs = [
        gate.metric
        for gate in held
        if base is not None and base.task is spec.task and gate.metric.name in CATALOG
    ]
    refs = tuple(dict.fromkeys([*asked, *theirs]))
    estimates: list[Estimate] = []
    slices: list[SliceInfo] = []
    gaps: list[Gap] = []
    comparisons: list[Comparison] = []
    for name, ledger in measured.ledgers.items():
        found = stats.assess(
            ledger,
            evaluated.baselines.get(name),
            stats.Asked(
                heldout=name,
                metrics=tuple(ref for ref in refs if ref.name not in COST),
                families=spec.heldouts[name].families,
                gaps=tuple(
                    dict.fromkeys(
                        (gate.slices, gate.metric)
                        for gate in (*spec.gates, *held)
                        if gate.bound == "max_gap" and gate.heldout == name and gate.slices
                    )
                ),
                confidence=spec.decisions.confidence,
                seed=spec.run.seed,
                brought=evaluated.brought,
                early=evaluated.early if name == MAIN_HELDOUT else None,
            ),
            identical=evaluated.baseline is not None and evaluated.baseline.identical,
        )
        estimates += found.estimates
        slices += found.slices
        gaps += found.gaps
        comparisons += found.comparisons
    estimates += measured.costs
    gates = spec.gates
    if measured.golden is not None and spec.golden is not None:
        estimates.append(stats.golden_estimate(measured.golden))
        gates = (*gates, stats.golden_gate(spec.golden))
    report = replace(
        known,
        completion=main.completion(measured.expected[MAIN_HELDOUT]),
        estimates=tuple(estimates),
        slices=tuple(slices),
        gaps=tuple(gaps),
        comparisons=tuple(comparisons),
        baseline=evaluated.baseline,
    )
    evidence = evidence_of(report)
    report = replace(report, gates=judge(gates, evidence), base_gates=judge(held, evidence))
    verdict, reason = verdict_of(report)
    countable = main.finite == len(main)
    single = countable and spec.task in CLASSIFICATION
    matrix = single and (len(main.classes) <= MATRIX_CLASSES or len(asked) != len(spec.metrics))
    classes = metrics.class_rows(main) if countable and spec.task in LABELLED else ()
    return replace(
        report,
        verdict=verdict,
        exit_code=EXIT_CODES[verdict],
        reason=reason,
        classes=classes,
        confusion_matrix=metrics.confusion(main) if matrix else None,
        calibration=stats.reliability(main) if single else (),
        notes=(
            *_notes(report, spec, classes, uncounted=main.uncounted),
            *_golden_notes(measured.golden, spec),
        ),
    )


def require_power(spec: EvalSpec, power: Sequence[PowerLine]) -> None:
    """Ends a run before it begins that could not pass.

    Raises:
        PowerError: a required gate could not pass on so few samples, however good the model.
    """
    required = {gate.location: gate for gate in spec.gates if gate.severity is Severity.REQUIRED}
    for line in power:
        gate = required.get(line.location)
        if gate is None or line.decidable:
            continue
        few = line.n < gate.min_samples
        raise PowerError(
            f"`{line.gate}`: {line.text}",
            remedy="add samples, or lower `min_samples`" if few else None,
            location=line.location,
        )


def _golden_notes(golden: Ledger | None, spec: EvalSpec) -> tuple[str, ...]:
    if golden is None or spec.golden is None:
        return ()
    changed = stats.changed_cases(golden, spec.golden.tolerance)
    if not changed:
        return ()
    return (f"{len(changed)} of {len(golden)} golden cases changed: {first_few(changed)}",)


def _notes(
    known: Report, spec: EvalSpec, classes: Sequence[ClassRow], *, uncounted: int
) -> tuple[str, ...]:
    notes = list(known.notes)
    done = known.completion
    if (stopped := known.stopped) is not None:
        notes.append(
            f"the run ended after {stopped.samples:,} of {stopped.of:,} samples, which decide its "
            "required gates: all that is shown is of these"
        )
    if known.checkpoint and not known.checkpoint.pinned:
        notes.append(
            f"the checkpoint is not pinned: set checkpoint.sha256 to {known.checkpoint.digest}"
        )
    if known.heldout and not known.heldout.pinned:
        notes.append(
            f"the held-out set is not pinned: set heldout.sha256 to {known.heldout.sha256}"
        )
    if known.heldout and not known.heldout.disjoint_from:
        notes.append("nothing was checked against training data: name it in heldout.disjoint_from")
    if spec.baseline is not None and spec.baseline.git is None and spec.baseline.sha256 is None:
        notes.append("the baseline is not pinned: add baseline.sha256 to fix which file")
    if done and (lacking := done.rows - done.finite):
        notes.append(f"{lacking} of {done.rows} samples have outputs that are not finite")
    if done and uncounted:
        notes.append(f"{uncounted} of {done.rows} samples have no say: every target is ignored")
    if absent := [row.name for row in classes if row.support == 0]:
        notes.append(
            f"no sample is of {first_few(absent)}: macro averages leave out what is neither a target "
            "nor predicted"
        )
    if known.baseline and known.baseline.refused:
        notes.append(f"nothing was compared with the baseline: {known.baseline.refused}")
    return (*notes, *noise_notes(known.noise))
