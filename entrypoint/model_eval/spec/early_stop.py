"""`run.stop_early`: which gates can end a run before its last sample, and what cannot go with it.

A gate can where its metric is a mean of numbers of one sample each, in a range that is known: then an
interval exists that holds at every look (`stats.sequence`). A macro-F1, an AUROC or an error without a
bound has none, and would only keep the run from ending.
"""

from collections.abc import Mapping, Sequence

from model_eval.spec.catalog import CLASSIFICATION, COST, LABELLED, MULTICLASS, MULTILABEL
from model_eval.spec.eval_spec import HeldOutSpec
from model_eval.spec.faults import Faults
from model_eval.spec.source import Node
from model_eval.spec.suggest import listed
from model_eval.types import MAIN_HELDOUT, OF_DIFFERENCE, DecideOn, Gate, Severity, Task
from model_eval.wording import printable

MEANS: Mapping[str, frozenset[Task]] = {
    "accuracy": CLASSIFICATION,
    "precision": LABELLED,
    "recall": LABELLED,
    "specificity": CLASSIFICATION,
    "precision_micro": CLASSIFICATION,
    "recall_micro": CLASSIFICATION,
    "f1_micro": CLASSIFICATION,
    "fbeta_micro": CLASSIFICATION,
    "top_k_accuracy": MULTICLASS,
    "brier_score": CLASSIFICATION,
    "exact_match": MULTILABEL,
    "hamming_loss": MULTILABEL,
}
"""The metrics that are means of bounded numbers of one sample each, and in which tasks."""

DIFFERENCES = frozenset({"accuracy", "precision_micro", "recall_micro", "f1_micro"})
"""The metrics of classifiers that are shares of the samples that are right: a sample is gained or lost."""

_OF_DIFFERENCES = frozenset({"max_drop", "min_gain", "max_gain"})

_REMOVE = "remove `run.stop_early`"


def can_stop(gate: Gate, task: Task) -> bool:
    """Whether there is an interval for the gate that holds at every look."""
    return (
        _is_mean(gate, task)
        and gate.heldout == MAIN_HELDOUT
        and gate.slice is None
        and gate.slices is None
        and gate.decide_on is not DecideOn.POINT
    )


def _is_mean(gate: Gate, task: Task) -> bool:
    if gate.bound in _OF_DIFFERENCES:
        return gate.metric.name in DIFFERENCES and task in CLASSIFICATION
    return gate.bound in {"min", "max"} and task in MEANS.get(gate.metric.name, frozenset())


def watched(gates: Sequence[Gate]) -> tuple[Gate, ...]:
    """The required gates that are of the held-out samples: all of them must be decided.

    A cost is measured after the samples, whatever their number, and holds nothing up.
    """
    return tuple(
        gate
        for gate in gates
        if gate.severity is Severity.REQUIRED and gate.metric.name not in COST
    )


def check_early_stop(
    node: Node,
    task: Task,
    gates: Sequence[Gate],
    faults: Faults,
    *,
    heldout: HeldOutSpec | None,
    baseline: Node | None,
) -> None:
    """Faults for all that a run with `stop_early: true` could not decide early."""
    if heldout is not None and heldout.cluster is not None:
        faults.add(
            node.key_location,
            "`run.stop_early` is given, and samples of one cluster are not independent",
            f"{_REMOVE}, or `heldout.cluster`",
        )
    if heldout is not None and heldout.weight is not None:
        faults.add(
            node.key_location,
            "`run.stop_early` is given, and a weighted mean has no interval that holds at every look",
            f"{_REMOVE}, or `heldout.weight`",
        )
    if baseline is not None and "ledger" not in baseline.value:
        faults.add(
            node.key_location,
            "`run.stop_early` is given, and the baseline would be evaluated on all samples",
            f"{_REMOVE}, or name a saved ledger of the baseline: `baseline: {{ledger: …}}`",
        )
    of_rows = watched(gates)
    for gate in of_rows:
        if not can_stop(gate, task):
            faults.add(gate.location, *_why_not(gate, task))
    if not of_rows and any(gate.severity is Severity.REQUIRED for gate in gates):
        faults.add(
            node.key_location,
            "`run.stop_early` is given, and no required gate is of the held-out samples",
            _REMOVE,
        )


def _why_not(gate: Gate, task: Task) -> tuple[str, str]:
    name = printable(gate.metric.name)
    or_else = f"{_REMOVE}, or make the gate `severity: advisory`"
    if task not in MEANS.get(gate.metric.name, frozenset()):
        can = [metric for metric, tasks in MEANS.items() if task in tasks]
        what = "it is no" if can else f"no metric of a {task} task is a"
        return (
            f"`{name}` cannot be decided early: {what} mean of one bounded number a sample",
            f"{or_else}; those that can are {listed(can)}" if can else _REMOVE,
        )
    if gate.bound in OF_DIFFERENCE and not _is_mean(gate, task):
        known = listed(sorted(_OF_DIFFERENCES))
        return (
            f"`{gate.bound}` of `{name}` cannot be decided early",
            f"{or_else}; of differences {known} of `accuracy` can",
        )
    if gate.slice is not None or gate.slices is not None:
        return f"a gate on slices cannot be decided early, and `{name}` has one", or_else
    if gate.heldout != MAIN_HELDOUT:
        return (
            f"`{name}` is of the set `{printable(gate.heldout)}`, and only the main one ends early",
            or_else,
        )
    return (
        f"`{name}` has `decide_on: point`, and a value alone decides at the first look",
        f"write `decide_on: interval`, or {_REMOVE}",
    )
