"""What so few samples can decide, before a model is run: from the counts alone.

Of a share of the samples all is known but the share: which observed values would pass, which would
fail, and whether any could. Of other metrics the spread is not known before there is a ledger.
"""

from collections.abc import Callable, Mapping

from model_eval.gates import compare
from model_eval.metrics.registry import metric_of
from model_eval.numerics import numpys_own
from model_eval.spec.catalog import CATALOG, COST
from model_eval.spec.early_stop import DIFFERENCES
from model_eval.spec.eval_spec import EvalSpec
from model_eval.stats import share_difference, share_interval
from model_eval.stats.early import ON_LOOKS
from model_eval.types import DecideOn, Gate, PowerLine, Task
from model_eval.wording import number

DISAGREEMENT = 0.05
"""The share of samples on which two models are taken to disagree, where nothing is known yet."""

_HITS = DIFFERENCES | {"exact_match"}


@numpys_own
def power_of(
    spec: EvalSpec, expected: Mapping[str, int], *, early: bool = False
) -> tuple[PowerLine, ...]:
    """A line for each gate of which something can be said.

    Args:
        spec: the gates; of a slice, and of a clustered or weighted set, nothing is known but that there may
            be too few samples for `min_samples`.
        expected: how many samples each held-out set has.
        early: whether the run may end early.
    """
    confidence = spec.decisions.confidence
    if early:  # what is left of a level for the last look
        confidence = 1 - (1 - ON_LOOKS) * (1 - confidence)
    found = []
    for gate in spec.gates:
        n = expected.get(gate.heldout, 0)
        if gate.metric.name not in COST and 0 < n < gate.min_samples:
            text = f"{n:,} samples are fewer than min_samples, {gate.min_samples:,}"
            found.append(_line(gate, n, text, decidable=False))
            continue
        heldout = spec.heldouts.get(gate.heldout)
        plain = heldout is not None and heldout.cluster is None and heldout.weight is None
        whole = gate.slice is None and gate.slices is None
        if not (plain and whole and _is_share(gate, spec.task)):
            continue
        if gate.decide_on is DecideOn.POINT or n < 1:
            continue
        line = _of_gate(gate, n, confidence)
        if line is not None:
            found.append(line)
    return tuple(found)


def _is_share(gate: Gate, task: Task) -> bool:
    name = gate.metric.name
    info = CATALOG.get(name)
    if info is None or task not in info.tasks or name not in _HITS:
        return False
    return metric_of(gate.metric, task).trials is not None


def _of_gate(gate: Gate, n: int, confidence: float) -> PowerLine | None:
    if gate.bound == "max_drop":
        return _of_drop(gate, n, confidence)
    if gate.bound != "min":
        return None

    def low(successes: int) -> float:
        return share_interval(successes, n, confidence=confidence).low

    def high(successes: int) -> float:
        return share_interval(successes, n, confidence=confidence).high

    passes = _first(n, lambda k: low(k) >= gate.threshold)
    fails = _first(n, lambda k: high(k) >= gate.threshold)
    decidable = passes is not None
    text = (
        f"with {n:,} samples it passes from {number(passes / n)} on"
        if passes is not None
        else (
            f"{n:,} samples cannot show {number(gate.threshold)}: even with all of them right the "
            f"interval begins at {number(low(n))}"
        )
    )
    if passes is not None and gate.decide_on is DecideOn.LOWER_BOUND:
        text += " and fails below that"
    elif passes is not None and fails:
        text += f" and fails below {number(fails / n)}"
    return _line(gate, n, text, decidable=decidable)


def _of_drop(gate: Gate, n: int, confidence: float) -> PowerLine:
    """Of two models that agree on all samples, and of two that disagree on a few as often both ways."""
    same = share_difference(0, 0, n, confidence=confidence).high
    moved = round(DISAGREEMENT * n / 2)
    usual = share_difference(moved, moved, n, confidence=confidence).high
    shown = compare("max", same, gate.threshold)[0]
    text = (
        f"with {n:,} samples, of which {DISAGREEMENT:.0%} are judged differently, drops of more than "
        f"{number(round(usual, 4))} are seen"
        if shown
        else f"{n:,} samples show a drop of at most {number(gate.threshold)} of a better model only: for "
        f"models that agree on all of them the interval reaches {number(same)}"
    )
    return _line(gate, n, text, decidable=True)


def _line(gate: Gate, n: int, text: str, *, decidable: bool) -> PowerLine:
    return PowerLine(gate=gate.label, n=n, decidable=decidable, text=text, location=gate.location)


def _first(n: int, holds: Callable[[int], bool]) -> int | None:
    """The smallest count from 0 to n for which a condition holds that holds for all above it."""
    if not holds(n):
        return None
    below, above = -1, n
    while above - below > 1:
        middle = (below + above) // 2
        below, above = (below, middle) if holds(middle) else (middle, above)
    return above
