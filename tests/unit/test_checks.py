"""What control and noise mean for a verdict: nothing passes that an untrained model would."""

from math import inf, nan

import pytest
from hypothesis import given
from hypothesis import strategies as st

from builders.reports import ACCURACY, complete, estimate, evidence, gate
from model_eval.checks import (
    control_outcome,
    is_worse,
    most_are_worse,
    noise_floor,
    noise_notes,
    trial_is_worse,
)
from model_eval.gates import decide, judge
from model_eval.types import (
    ControlInfo,
    ControlMetric,
    ControlTrial,
    MetricRef,
    NoiseInfo,
    NoiseMetric,
    Verdict,
)

LOSS = MetricRef(name="log_loss")
NO_BETTER = "the checkpoint is no better than the same model untrained"


def compared(value, own, error, metric=ACCURACY):
    return ControlMetric(metric=metric, value=value, checkpoint_value=own, standard_error=error)


WORSE, NO_WORSE = compared(0.5, 0.9, 0.1), compared(0.9, 0.9, 0.1)
OPEN = compared(0.7, 0.9, 0.1)
UNDEFINED = compared(None, 0.9, None)


def trial(*metrics):
    return ControlTrial(seed=1, metrics=metrics)


def control(*metrics, skipped=None):
    trials = tuple(trial(metric) for metric in metrics)
    return ControlInfo(n=100, of=100, trials=trials, worse=most_are_worse(trials), skipped=skipped)


@pytest.mark.parametrize(
    ("metric", "expected"),
    [
        (WORSE, True),
        (OPEN, None),
        (NO_WORSE, False),
        (compared(0.95, 0.9, 0.1), False),
        (compared(0.5, 0.801, 0.1), True),
        (compared(0.5, 0.799, 0.1), None),
        (compared(0.5, 0.601, 0.1), None),
        (compared(0.5, 0.599, 0.1), False),
        (compared(0.5, 0.5, 0.0), False),
        (compared(0.5, 0.6, 0.0), True),
        (compared(0.9, 0.5, 0.1, LOSS), True),
        (compared(0.5, 0.9, 0.1, LOSS), False),
        (compared(0.5, None, 0.1), None),
        (compared(0.5, 0.9, None), None),
        (UNDEFINED, None),
        (compared(nan, 0.9, 0.1), None),
        (compared(0.5, 0.9, nan), None),
        (compared(0.5, 0.9, 0.1, MetricRef(name="unheard_of")), None),
    ],
)
def test_worse_is_three_standard_errors_in_the_metrics_own_direction(metric, expected):
    assert is_worse(metric) is expected


@given(st.floats(), st.floats(), st.floats(0))
def test_a_metric_is_worse_only_where_the_checkpoint_is_ahead(value, own, error):
    found = is_worse(compared(value, own, error))
    if found:
        assert own - value > 3 * error
    if found is False:
        assert own - value <= error


@pytest.mark.parametrize(
    ("metrics", "expected"),
    [
        ((NO_WORSE, WORSE), True),
        ((UNDEFINED, WORSE), True),
        ((NO_WORSE, NO_WORSE), False),
        ((NO_WORSE, OPEN), None),
        ((NO_WORSE, UNDEFINED), None),
        ((), None),
    ],
)
def test_one_metric_is_enough_to_be_worse_and_all_are_needed_to_be_no_worse(metrics, expected):
    assert trial_is_worse(trial(*metrics)) is expected


@pytest.mark.parametrize(
    ("metrics", "expected"),
    [
        ((WORSE, WORSE), True),
        ((NO_WORSE, WORSE, WORSE), True),
        ((NO_WORSE, NO_WORSE), False),
        ((WORSE, NO_WORSE, NO_WORSE), False),
        ((WORSE, NO_WORSE), None),
        ((WORSE, OPEN, NO_WORSE), None),
        ((), None),
    ],
)
def test_two_must_agree(metrics, expected):
    assert most_are_worse(tuple(trial(metric) for metric in metrics)) is expected


def test_an_untrained_model_that_is_no_worse_takes_a_pass_back_and_nothing_else():
    passed = judge([gate()], evidence(estimate(0.95)))
    failed = judge([gate()], evidence(estimate(0.5)))
    objection = control(NO_WORSE, NO_WORSE)
    assert decide(passed, [complete()], objection) == (Verdict.UNDECIDED, NO_BETTER)
    assert decide(failed, [complete()], objection)[0] is Verdict.FAIL
    assert decide(passed, [None], objection)[1] == "the evaluation did not finish"
    assert decide((), [complete()], control(WORSE, WORSE))[0] is Verdict.UNDECIDED
    for harmless in (
        None,
        control(WORSE, WORSE),
        control(OPEN, skipped="open"),
        control(skipped="x"),
    ):
        assert decide(passed, [complete()], harmless)[0] is Verdict.PASS


def test_the_outcome_is_that_of_the_trials_whatever_is_claimed():
    claimed = ControlInfo(n=9, of=9, trials=(trial(NO_WORSE),) * 2, worse=True)
    assert control_outcome(claimed) == NO_BETTER


def noise(*metrics, **known):
    return NoiseInfo(samples=32, metrics=metrics, **known)


def test_the_noise_floor_of_a_metric():
    found = noise(
        NoiseMetric(metric=ACCURACY, difference=0.03), NoiseMetric(metric=LOSS, difference=None)
    )
    assert noise_floor(found, ACCURACY) == 0.03
    assert noise_floor(found, LOSS) == inf
    assert noise_floor(found, MetricRef(name="f1")) == 0
    assert noise_floor(None, ACCURACY) == 0


def test_what_is_noted_of_the_noise():
    last_digits = noise(
        NoiseMetric(metric=ACCURACY, difference=1e-8), batch_difference=1e-6, largest_output=5.0
    )
    assert noise_notes(None) == noise_notes(noise()) == noise_notes(last_digits) == ()
    assert noise_notes(noise(NoiseMetric(metric=LOSS, difference=None))) == (
        "log_loss of 32 samples is defined in some ways of running them only",
    )
    [note] = noise_notes(noise(batch_difference=0.02, largest_output=5.0))
    assert note == (
        "outputs differ by up to 0.02 between sizes of batches: the model may use the other samples "
        "of a batch"
    )
