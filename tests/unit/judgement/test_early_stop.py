"""When a run may end: as soon as all required gates are decided, or one has failed, and not before."""

from dataclasses import dataclass, field, replace

import numpy as np
import pytest

from builders.ledgers import binary_ledger, multiclass_ledger, take
from builders.reports import ACCURACY, evidence, gate
from model_eval.early_stop import LEAST, EarlyWatch, early_of, first_end, rows_between_looks
from model_eval.gates import judge
from model_eval.metrics import Weighted, estimate
from model_eval.spec.eval_spec import Decisions
from model_eval.stats.assess import Asked, assess
from model_eval.stats.difference import in_order_of, right_by_id, rows_of
from model_eval.stats.early import with_early_interval
from model_eval.stats.interval import Sampled
from model_eval.types import DecideOn, GateStatus, MetricRef, OnUndecided, Severity, Task

RECALL = MetricRef(name="recall")


@dataclass
class Run:
    stop_early: bool = True


@dataclass
class Spec:
    gates: tuple
    task: Task = Task.BINARY
    run: Run = field(default_factory=Run)
    decisions: Decisions = field(default_factory=Decisions)


def rule(metric=ACCURACY, **changes):
    bounds = {key: changes.pop(key) for key in ("bound", "threshold", "severity") if key in changes}
    return replace(gate(metric, **bounds), **{"decide_on": DecideOn.INTERVAL, **changes})


def a_ledger(share, n=4_000, seed=0):
    generator = np.random.default_rng(seed)
    target = generator.integers(0, 2, n)
    right = generator.random(n) < share
    return binary_ledger(target, np.where(right == (target == 1), 0.8, 0.3), ids=np.arange(n))


def watched(ledger, *gates, step=100, baseline=None, **spec):
    """Gives the ledger out in steps until that is enough."""
    early = early_of(Spec(gates=gates, **spec), (), len(ledger))
    watch = EarlyWatch(early, before=None if baseline is None else right_by_id(baseline))
    for start in range(0, len(ledger), step):
        if watch(take(ledger, np.arange(start, min(start + step, len(ledger))))):
            break
    return watch


@pytest.mark.parametrize("share", [1.0, 0.97, 0.8])
def test_it_ends_at_the_first_look_that_decides(share):
    ledger = a_ledger(share)
    watch = watched(ledger, rule())
    assert watch.ended
    status = [statuses(ledger, watch, n) for n in range(LEAST, watch.seen + 1, 100)]
    decided = GateStatus.PASS if share > 0.9 else GateStatus.FAIL
    assert status == [GateStatus.UNDECIDED] * (len(status) - 1) + [decided]


def statuses(ledger, watch, n):
    """What the report would say after n rows."""
    rows = take(ledger, np.arange(n))
    sampled = Sampled(sample=Weighted(ledger=rows), seed=0, confidence=0.95)
    early = replace(watch.early, ended=True)
    found = with_early_interval(estimate(rows, ACCURACY), sampled, early)
    return judge([rule()], evidence(found))[0].status


def test_near_the_threshold_it_goes_to_the_end():
    ledger = a_ledger(0.9)
    watch = watched(ledger, rule())
    assert (watch.ended, watch.seen) == (False, 4_000)


def test_it_does_not_end_before_enough_samples_for_the_other_checks():
    watch = watched(a_ledger(1.0), rule(threshold=0.5), step=10)
    assert (watch.ended, watch.seen) == (True, LEAST)


def test_at_the_last_sample_nothing_ends_early():
    watch = watched(a_ledger(1.0, n=600), rule(threshold=0.5), step=600)
    assert (watch.ended, watch.seen) == (False, 600)


def test_a_set_that_is_over_at_the_first_end_has_none():
    assert first_end(10_000) == first_end(513) == 512
    assert first_end(100_000) == 1_000
    assert early_of(Spec(gates=(rule(),)), (), 512) is None
    assert early_of(Spec(gates=(rule(),)), (), 513).planned == 513


def test_all_gates_must_pass_and_one_that_fails_is_enough():
    ledger = a_ledger(0.97)
    both = watched(ledger, rule(), rule(RECALL, threshold=0.96))
    assert not both.ended
    one_fails = watched(ledger, rule(RECALL, threshold=0.969), rule(threshold=0.999))
    assert (one_fails.ended, one_fails.seen < 2_000) == (True, True)


@pytest.mark.parametrize(
    "changes",
    [
        {"decide_on": DecideOn.LOWER_BOUND},
        {"on_undecided": OnUndecided.FAIL},
        {"on_undecided": OnUndecided.ADVISORY},
    ],
)
def test_an_interval_that_holds_the_threshold_ends_nothing(changes):
    assert not watched(a_ledger(0.9), rule(**changes)).ended


def test_advisory_gates_and_costs_hold_nothing_up():
    watch = watched(
        a_ledger(1.0),
        rule(),
        rule(MetricRef(name="f1"), severity=Severity.ADVISORY),
        rule(MetricRef(name="parameters"), bound="max", threshold=10, decide_on=DecideOn.POINT),
    )
    assert (watch.ended, len(watch.early.gates)) == (True, 1)


def test_min_samples_are_waited_for():
    watch = watched(a_ledger(1.0), rule(min_samples=1_234))
    assert (watch.ended, watch.seen) == (True, 1_300)


def test_a_row_that_is_not_finite_ends_nothing_however_good_the_others_are():
    ledger = a_ledger(1.0)
    finite = np.ones(4_000, dtype=bool)
    finite[3] = False
    broken = replace(ledger, columns={**ledger.columns, "finite": finite})
    watch = watched(broken, rule())
    assert (watch.ended, watch.seen) == (False, 4_000)


def test_a_class_that_is_not_there_ends_nothing():
    probability = np.full((1_000, 2), 0.5)
    ledger = multiclass_ledger(np.zeros(1_000, dtype=int), probability)
    ref = MetricRef(name="recall", of_class="z")
    assert not watched(ledger, rule(ref), task=Task.MULTICLASS).ended


def test_a_class_without_samples_ends_nothing():
    ledger = binary_ledger(np.zeros(1_000, dtype=int), np.full(1_000, 0.1))
    assert not watched(ledger, rule(RECALL)).ended


@pytest.mark.parametrize(
    "base",
    [
        rule(MetricRef(name="f1"), threshold=0.5),
        rule(decide_on=DecideOn.POINT),
        rule(bound="max_relative_drop", threshold=0.1),
        rule(slice="hand=left"),
    ],
)
def test_a_gate_of_the_base_branch_that_cannot_be_decided_early_lets_nothing_end(base):
    assert early_of(Spec(gates=(rule(),)), (base,), 1_000) is None
    advisory = replace(base, severity=Severity.ADVISORY)
    assert early_of(Spec(gates=(rule(),)), (advisory,), 1_000).gates == (rule(),)


def test_a_gate_of_the_base_branch_must_be_decided_also():
    early = early_of(Spec(gates=(rule(),)), (rule(threshold=0.95),), 1_000)
    assert [one.threshold for one in early.gates] == [0.9, 0.95]


def test_a_drop_ends_it_at_the_first_look_that_decides():
    ledger, baseline = a_ledger(0.9), a_ledger(0.9, seed=1)
    baseline = take(with_targets(baseline, ledger), np.random.default_rng(3).permutation(4_000))
    drop = rule(bound="max_drop", threshold=0.08)
    watch = watched(ledger, drop, baseline=baseline)
    assert watch.ended
    status = [dropped(ledger, baseline, watch, drop, n) for n in range(LEAST, watch.seen + 1, 100)]
    assert status == [GateStatus.UNDECIDED] * (len(status) - 1) + [GateStatus.PASS]
    fails = watched(ledger, rule(bound="min_gain", threshold=0.08), baseline=baseline)
    assert (fails.ended, fails.seen) == (True, watch.seen)


def with_targets(ledger, other):
    """As right and as wrong, of the targets of another ledger."""
    right = ledger["prediction"] == ledger["target"]
    probability = np.where(right == (other["target"] == 1), 0.8, 0.3)
    return binary_ledger(other["target"], probability, ids=other["id"])


def dropped(ledger, baseline, watch, drop, n):
    """What the report would say after n rows."""
    rows = take(ledger, np.arange(n))
    before = in_order_of(rows_of(baseline, rows["id"]), rows["id"])
    asked = Asked(
        heldout="heldout",
        metrics=(ACCURACY,),
        families=(),
        gaps=(),
        confidence=0.95,
        seed=0,
        early=replace(watch.early, ended=True),
    )
    [found] = assess(rows, before, asked, identical=False).comparisons
    shown = evidence(comparisons={(found.heldout, found.slice, found.metric): found})
    return judge([drop], shown)[0].status


@pytest.mark.parametrize("lacking", ["a sample", "a finite output", "the kind of its ids", "all"])
def test_a_baseline_that_does_not_pair_ends_nothing(lacking):
    ledger = a_ledger(0.9)
    finite = np.ones(4_000, dtype=bool)
    finite[7] = False
    baseline = {
        "a sample": take(ledger, np.arange(1, 4_000)),
        "a finite output": replace(ledger, columns={**ledger.columns, "finite": finite}),
        "the kind of its ids": replace(
            ledger, columns={**ledger.columns, "id": ledger["id"].astype(str).astype(object)}
        ),
        "all": None,
    }[lacking]
    watch = watched(ledger, rule(bound="max_drop", threshold=0.05), baseline=baseline)
    assert (watch.ended, watch.seen) == (False, 4_000)


def test_nothing_ends_early_where_it_was_not_asked():
    assert early_of(Spec(gates=(rule(),), run=Run(stop_early=False)), (), 1_000) is None


@pytest.mark.parametrize(
    ("planned", "expected"), [(100_000, 1_000), (100_001, 1_001), (10_000, 256), (101, 256)]
)
def test_looks_are_as_many_as_are_worth_it(planned, expected):
    assert rows_between_looks(planned) == expected
