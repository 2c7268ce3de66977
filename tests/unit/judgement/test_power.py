"""What so many samples can decide, against the intervals that will decide it."""

from dataclasses import dataclass, field, replace
from math import isclose

import pytest

from builders.reports import gate
from model_eval.errors import PowerError
from model_eval.judgement import require_power
from model_eval.power import power_of
from model_eval.spec.eval_spec import Decisions
from model_eval.stats import share_difference, share_interval
from model_eval.types import DecideOn, MetricRef, Severity, Task


@dataclass
class Set:
    cluster: str | None = None
    weight: str | None = None


@dataclass
class Spec:
    gates: tuple
    task: Task = Task.BINARY
    heldouts: dict = field(default_factory=lambda: {"heldout": Set()})
    decisions: Decisions = field(default_factory=Decisions)


def rule(bound="min", threshold=0.9, metric="accuracy", **changes):
    known = gate(MetricRef(name=metric), bound=bound, threshold=threshold)
    return replace(known, **{"decide_on": DecideOn.INTERVAL, **changes})


def lines(*gates, n=597, early=False, **changes):
    return power_of(Spec(gates=gates, **changes), {"heldout": n}, early=early)


@pytest.mark.parametrize("n", [10, 50, 597, 10_000])
@pytest.mark.parametrize("threshold", [0.3, 0.9, 0.95])
def test_the_first_value_that_passes_is_the_first_whose_interval_does(n, threshold):
    [line] = lines(rule(threshold=threshold), n=n)
    passing = [k for k in range(n + 1) if share_interval(k, n, confidence=0.95).low >= threshold]
    assert line.decidable is bool(passing)
    if passing:
        assert f"passes from {passing[0] / n:.6g} on" in line.text
    failing = [k for k in range(n + 1) if share_interval(k, n, confidence=0.95).high < threshold]
    if passing and failing:
        assert f"fails below {(failing[-1] + 1) / n:.6g}" in line.text


def test_a_lower_bound_fails_wherever_it_does_not_pass():
    [line] = lines(rule(threshold=0.9, decide_on=DecideOn.LOWER_BOUND))
    assert line.text.endswith(" on and fails below that")


def test_fifty_samples_cannot_show_ninety_five_percent():
    [line] = lines(rule(threshold=0.95), n=50)
    assert not line.decidable
    assert line.text == (
        "50 samples cannot show 0.95: even with all of them right the interval begins at 0.928878"
    )
    assert isclose(share_interval(50, 50, confidence=0.95).low, 0.025 ** (1 / 50))


def test_a_drop_smaller_than_models_that_agree_can_show_is_said():
    edge = share_difference(0, 0, 597, confidence=0.95).high
    [tight], [wide] = (
        lines(rule("max_drop", edge * 0.99)), lines(rule("max_drop", edge * 1.01)),
    )  # fmt: skip
    assert (tight.decidable, wide.decidable) == (True, True)  # a better model could pass
    assert "of a better model only: for models that agree on all of them" in tight.text
    assert "5% are judged differently, drops of more than 0.019 are seen" in wide.text


def test_nothing_is_said_of_what_is_not_known_before_the_run():
    silent = [
        rule(decide_on=DecideOn.POINT),
        rule(slice="hand=left"),
        rule(slices="hand"),
        rule("max", 0.2, "log_loss"),
        rule("min", 0.9, "auroc"),
    ]
    assert lines(*silent) == ()
    assert lines(rule(), heldouts={"heldout": Set(cluster="writer")}) == ()
    assert lines(rule(), heldouts={"heldout": Set(weight="w")}) == ()


def test_only_a_required_gate_ends_the_run():
    required, advisory = rule(threshold=0.999), rule(threshold=0.999, severity=Severity.ADVISORY)
    with pytest.raises(PowerError, match=r"597 samples cannot show 0\.999"):
        require_power(Spec(gates=(required,)), lines(required))
    require_power(Spec(gates=(advisory,)), lines(advisory))
    require_power(Spec(gates=(rule(),)), lines(rule()))
    assert not lines(advisory)[0].decidable


def test_what_may_end_early_has_half_of_the_level_left_for_all_samples():
    [early] = lines(rule(), n=597, early=True)
    [narrower] = lines(rule(), n=597, decisions=Decisions(confidence=0.975))
    assert early.text == narrower.text != lines(rule(), n=597)[0].text


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"metric": "f1"},
        {"bound": "max_drop"},
        {"decide_on": DecideOn.POINT},
        {"slice": "hand=left"},
        {"slices": "hand"},
    ],
)
def test_fewer_samples_than_a_gate_asks_for_decide_nothing(changes):
    [line] = lines(rule(min_samples=51, **changes), n=50)
    assert (line.decidable, line.text) == (False, "50 samples are fewer than min_samples, 51")
    assert all(one.decidable for one in lines(rule(threshold=0.5, min_samples=50, **changes), n=50))


def test_costs_are_measured_on_their_own_samples():
    assert lines(rule("max", metric="latency_p95_ms", min_samples=51), n=50) == ()
