"""Costs and checks as people read them; and a report that claims another outcome is refused."""

from dataclasses import replace

import pytest

from builders.reports import ACCURACY, estimate, gate, report
from model_eval.errors import ReportError
from model_eval.report import from_json, to_json
from model_eval.report.checks import describe_checks
from model_eval.report.markdown import render
from model_eval.report.terminal import render_terminal
from model_eval.types import (
    ControlInfo,
    ControlMetric,
    ControlTrial,
    CostInfo,
    Interval,
    MetricRef,
    NoiseInfo,
    NoiseMetric,
    Verdict,
)

P95, SIZE = MetricRef(name="latency_p95_ms"), MetricRef(name="model_size_mb")
COSTS = (
    replace(
        estimate(12.5, P95, n=200),
        interval=Interval(low=12.0, high=14.0, confidence=0.95, method="order statistics"),
    ),
    replace(estimate(2.5, SIZE, n=0), no_interval="it is counted, not sampled"),
)
COST = CostInfo(batch_size=1, warmup=10, runs=200, seconds=2.5)
NOISE = NoiseInfo(
    samples=32,
    largest_output=5.0,
    repeat_difference=0.0,
    batch_difference=2e-6,
    metrics=(NoiseMetric(metric=ACCURACY, difference=0.03125),),
    skipped=("batches of 1: the model raised ValueError: one",),
)


def control(value, *, worse):
    metric = ControlMetric(
        metric=ACCURACY, value=value, checkpoint_value=0.95, standard_error=0.0123
    )
    trials = tuple(ControlTrial(seed=seed, metrics=(metric,)) for seed in (1, 2))
    return ControlInfo(n=100, of=100, trials=trials, worse=worse)


SKIPPED = ControlInfo(n=0, of=9, trials=(), worse=None, skipped="9 samples are too few")


def whole(**changes):
    known = {"cost": COST, "noise": NOISE, "control": control(0.5, worse=True), **changes}
    gates = [gate(), gate(P95, bound="max", threshold=40.0)]
    return report((estimate(0.95), *COSTS), gates, **known)


@pytest.mark.parametrize(
    "original",
    [
        whole(),
        whole(control=SKIPPED),
        whole(control=control(0.95, worse=False)),
        whole(cost=replace(COST, seconds=None, skipped="it fails")),
    ],
)
def test_round_trip(original):
    assert from_json(to_json(original)) == original


def test_more_timed_calls_than_samples_are_no_contradiction():
    assert whole().completion.rows < COSTS[0].n
    assert from_json(to_json(whole())).verdict is Verdict.PASS


def test_costs_have_a_section():
    text = render(whole())
    assert "<details><summary>Cost</summary>" in text
    cells = [[cell.strip() for cell in line.split("|")[1:-1]] for line in text.splitlines()]
    assert ["`latency_p95_ms`", "12.5", "12 to 14 (95%)"] in cells
    assert ["`model_size_mb`", "2.5", "`it is counted, not sampled`"] in cells
    assert "200 timed calls after 10 others, batches of 1, on `cpu` `A CPU`" in text
    assert "<summary>Cost</summary>" not in render(report())


def test_a_cost_that_was_not_measured_says_why():
    text = render(whole(cost=replace(COST, seconds=None, skipped="it could <b>not</b>")))
    assert "`it could <b>not</b>`" in text
    assert "timed calls after" not in text


def test_what_was_checked():
    against = "the checkpoint 0.95, standard error 0.012"
    assert describe_checks(whole()) == (
        *(
            (
                "Untrained model",
                f"clearly worse: accuracy 0.5, {against} (seed {seed}, 100 samples)",
            )
            for seed in (1, 2)
        ),
        ("Same batch again", "outputs of 32 samples differ by up to 0"),
        ("Smaller batches", "outputs of 32 samples differ by up to 2e-06"),
        ("Noise of a metric", "accuracy: 0.031"),
        ("Left out", "batches of 1: the model raised ValueError: one"),
    )
    assert describe_checks(report()) == ()
    assert "<details><summary>Checks of the model</summary>" in render(whole())


def test_an_open_control_says_why():
    assert describe_checks(report(control=SKIPPED)) == (
        ("Untrained model", "not decided: 9 samples are too few"),
    )
    assert "untrained model: not decided: 9 samples are too few\n" in render_terminal(
        report(control=SKIPPED)
    )


def test_a_model_that_is_no_better_does_not_pass():
    found = whole(control=control(0.95, worse=False))
    assert found.verdict is Verdict.UNDECIDED
    assert "The checkpoint is no better than the same model untrained on 100 samples." in render(
        found
    )
    assert "untrained model: no worse: accuracy 0.95, the checkpoint 0.95" in render_terminal(found)


def refusal(forged):
    with pytest.raises(ReportError) as caught:
        from_json(to_json(forged))
    return caught.value.message


def test_the_outcome_of_the_control_is_derived_again():
    no_better = whole(control=control(0.95, worse=False))
    assert refusal(replace(no_better, verdict=Verdict.PASS, exit_code=0)) == (
        "the report claims `pass` (exit 0), and its gates show `undecided`"
    )
    claims = "the outcome of the control does not follow from its trials"
    assert refusal(whole(control=control(0.5, worse=False))) == claims
    assert refusal(whole(control=control(0.5, worse=None))) == claims
    assert refusal(whole(control=replace(SKIPPED, skipped=None))) == claims
    hidden = replace(control(0.95, worse=None), skipped="nothing to see")
    assert refusal(whole(control=hidden)) == claims
