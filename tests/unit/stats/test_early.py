"""Intervals of runs that may end early: their levels, and where each of them comes from."""

import numpy as np
import pytest

from builders.ledgers import binary_ledger, multiclass_ledger, multilabel_ledger, take
from builders.reports import gate
from model_eval.metrics import Weighted, estimate
from model_eval.metrics.registry import metric_of
from model_eval.spec.catalog import CATALOG
from model_eval.spec.early_stop import MEANS
from model_eval.stats.difference import Paired, compare_metric
from model_eval.stats.early import Early, tally_of, with_early_difference, with_early_interval
from model_eval.stats.interval import Sampled, metric_interval
from model_eval.stats.sequence import difference_tally, ends, trials_tally
from model_eval.stats.shares import share_difference
from model_eval.types import SEQUENCE, MetricRef, Task

ACCURACY, RECALL = MetricRef(name="accuracy"), MetricRef(name="recall")
TAIL = 0.025


def a_ledger(n=400, seed=1):
    generator = np.random.default_rng(seed)
    target = generator.integers(0, 2, n)
    right = generator.random(n) < 0.9
    return binary_ledger(target, np.where(right == (target == 1), 0.8, 0.3))


def sampled(ledger, confidence=0.95):
    return Sampled(sample=Weighted(ledger=ledger), seed=0, confidence=confidence)


def early(*gates, planned=1000):
    return Early(gates=gates, planned=planned, confidence=0.95, ended=planned == 1000)


def test_one_gate_has_the_whole_level_on_both_sides():
    found = early(gate(ACCURACY)).levels(ACCURACY)
    assert (found.below, found.above) == pytest.approx((TAIL, TAIL))


@pytest.mark.parametrize(
    ("bounds", "expected"),
    [
        (["min"], (TAIL, TAIL / 4)),  # a `min` fails by the upper end
        (["max"], (TAIL / 4, TAIL)),
        (["min", "max"], (TAIL / 4, TAIL / 4)),
        ([], (TAIL, TAIL)),
    ],
)
def test_the_end_on_which_a_gate_can_fail_has_its_share_of_the_level(bounds, expected):
    gates = [gate(ACCURACY, bound=bound) for bound in bounds]
    gates += [gate(RECALL)] * (4 - len(gates))
    found = early(*gates).levels(ACCURACY)
    assert (found.below, found.above) == pytest.approx(expected)


@pytest.mark.parametrize(
    ("bounds", "expected"),
    [
        (["max_drop"], (TAIL, TAIL / 2)),  # a drop fails where all of the difference is below
        (["min_gain"], (TAIL, TAIL / 2)),
        (["max_gain"], (TAIL / 2, TAIL)),
        (["min"], (TAIL, TAIL)),  # which looks at the value, and not at the difference
    ],
)
def test_differences_have_levels_of_their_own(bounds, expected):
    gates = [gate(ACCURACY, bound=bound) for bound in bounds] + [gate(RECALL)]
    found = early(*gates).levels(ACCURACY, difference=True)
    assert (found.below, found.above) == pytest.approx(expected)


def pair(n=400):
    ledger = a_ledger(n)
    flipped = np.where(np.arange(n) % 20 == 0, 1 - ledger["probability"], ledger["probability"])
    return ledger, binary_ledger(ledger["target"], flipped)


def compared(run, ref=ACCURACY):
    ledger, baseline = pair()
    sides = (sampled(ledger), sampled(baseline))
    paired = Paired(candidate=sides[0], baseline=sides[1], identical=False)
    usual = compare_metric(ref, paired, estimate(ledger, ref), estimate(baseline, ref))
    return usual, with_early_difference(usual, ledger, baseline, run)


def counts():
    ledger, baseline = pair()
    now, before = (one["target"] == one["prediction"] for one in (ledger, baseline))
    return int((now & ~before).sum()), int((before & ~now).sum())


def test_a_difference_before_the_last_sample_is_the_sequence_at_half_the_level():
    usual, found = compared(early(gate(ACCURACY, bound="max_drop")))
    tally = difference_tally(*counts(), 400)
    expected = ends(tally, planned=1000, below=TAIL / 2, above=TAIL / 2)
    assert (found.interval.low, found.interval.high) == pytest.approx(expected)
    assert (found.interval.method, found.relative_interval) == (SEQUENCE, None)
    assert found.interval.low <= usual.difference <= found.interval.high


def test_a_difference_at_the_last_sample_is_the_usual_one_at_the_other_half():
    _, found = compared(early(gate(ACCURACY, bound="max_drop"), planned=400))
    expected = share_difference(*counts(), 400, confidence=1 - TAIL)
    assert (found.interval.low, found.interval.high) == (expected.low, expected.high)


def test_other_differences_keep_the_usual_interval_or_have_none():
    f1 = MetricRef(name="f1")
    usual, at_the_end = compared(early(gate(ACCURACY, bound="max_drop"), planned=400), f1)
    assert at_the_end == usual
    _, ended = compared(early(gate(ACCURACY, bound="max_drop")), f1)
    assert (ended.interval, ended.relative_interval) == (None, None)
    assert ended.no_interval.startswith("the run ended early")


def test_before_the_last_sample_it_is_the_sequence_at_half_the_level():
    ledger, run = a_ledger(), early(gate(ACCURACY))
    found = with_early_interval(estimate(ledger, ACCURACY), sampled(ledger), run)
    hits = int((ledger["target"] == ledger["prediction"]).sum())
    expected = ends(trials_tally(hits, 400), planned=1000, below=TAIL / 2, above=TAIL / 2)
    interval = found.interval
    assert (interval.low, interval.high) == pytest.approx(expected)
    assert (interval.method, interval.confidence) == (SEQUENCE, pytest.approx(0.95))


def test_at_the_last_sample_it_is_the_usual_one_at_the_other_half():
    ledger = a_ledger()
    run = early(gate(ACCURACY), planned=400)
    found = with_early_interval(estimate(ledger, ACCURACY), sampled(ledger), run).interval
    usual = metric_interval(ACCURACY, sampled(ledger, confidence=1 - TAIL))
    assert (found.low, found.high, found.method) == (usual.low, usual.high, "clopper-pearson")
    assert found.confidence == pytest.approx(usual.confidence)


def test_what_no_gate_has_looked_at_keeps_the_usual_interval_at_the_last_sample():
    ledger, f1 = a_ledger(), MetricRef(name="f1")
    run = early(gate(ACCURACY), planned=400)
    found = with_early_interval(estimate(ledger, f1), sampled(ledger), run)
    assert found.interval == metric_interval(f1, sampled(ledger))


def test_what_has_no_sequence_has_no_interval_in_a_run_that_ended_early():
    ledger, f1 = a_ledger(), MetricRef(name="f1")
    found = with_early_interval(estimate(ledger, f1), sampled(ledger), early(gate(ACCURACY)))
    assert (found.interval, found.no_interval) == (
        None,
        "the run ended early, and no interval of this metric holds at every look",
    )


def test_what_has_no_value_has_no_interval():
    ledger = binary_ledger([0, 1], [0.2, 0.8], finite=[True, False])
    found = with_early_interval(estimate(ledger, ACCURACY), sampled(ledger), early(gate(ACCURACY)))
    assert (found.value, found.interval) == (None, None)


def test_the_metrics_that_are_means_are_those_of_which_rows_or_trials_are_known():
    known = {}
    for name, info in CATALOG.items():
        for task in info.tasks:
            metric = metric_of(MetricRef(name=name, params=needed(info)), task)
            if metric.trials or metric.trials_of_part or metric.of_row:
                known.setdefault(name, set()).add(task)
    assert known == {name: set(tasks) for name, tasks in MEANS.items()}


def needed(info):
    return tuple(
        (p.name, 2.0 if p.name == "k" else float(p.example))
        for p in info.params
        if p.default is None
    )


LABELS = np.random.default_rng(5)
PROBABILITY = LABELS.dirichlet(np.ones(3), 60)
MULTICLASS = multiclass_ledger(LABELS.integers(0, 3, 60), PROBABILITY, classes=("a", "b", "c"))
MULTILABEL = multilabel_ledger(LABELS.integers(0, 2, (60, 3)), LABELS.random((60, 3)))
LEDGERS = {Task.BINARY: a_ledger(60), Task.MULTICLASS: MULTICLASS, Task.MULTILABEL: MULTILABEL}


def refs():
    for name, tasks in MEANS.items():
        for task in sorted(tasks):
            part = CATALOG[name].part == "class" and task is not Task.BINARY
            ref = MetricRef(
                name=name,
                of_class=LEDGERS[task].classes[1] if part else None,
                params=needed(CATALOG[name]),
            )
            yield pytest.param(task, ref, id=f"{task}-{name}")


@pytest.mark.parametrize(("task", "ref"), list(refs()))
def test_tallies_have_the_metric_as_their_mean_and_add_up_by_chunks(task, ref):
    ledger = LEDGERS[task]
    tally = tally_of(ref, ledger)
    value = estimate(ledger, ref).value
    mean = [tally.counts @ values / tally.counts.sum() for values in (tally.lows, tally.highs)]
    assert mean[0] - 1e-12 <= value <= mean[1] + 1e-12
    assert mean[1] - mean[0] <= (tally.high - tally.low) / 4096 + 1e-12
    parts = [tally_of(ref, take(ledger, rows)) for rows in (np.arange(20), np.arange(20, 60))]
    assert np.array_equal((parts[0] + parts[1]).counts, tally.counts)


def test_a_metric_that_is_no_mean_or_of_an_unknown_class_has_no_tally():
    found = [
        tally_of(MetricRef(name="f1_macro"), MULTICLASS),
        tally_of(MetricRef(name="recall", of_class="z"), MULTICLASS),
        tally_of(MetricRef(name="log_loss"), MULTICLASS),
    ]
    assert found == [None, None, None]
