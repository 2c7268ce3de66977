"""A stop that is written down, whoever catches what the handler raises."""

import signal

import pytest

from model_eval.errors import AlarmRang, DeadlineReached, Interrupted
from model_eval.stop import Stop


def test_a_signal_is_raised_once_while_it_is_heeded():
    stop = Stop()
    stop.heed()
    with pytest.raises(Interrupted):
        stop.take(signal.SIGTERM, None)
    stop.take(signal.SIGTERM, None)


@pytest.mark.parametrize(
    ("deadline", "number", "kind"),
    [
        (True, signal.SIGALRM, DeadlineReached),
        (False, signal.SIGALRM, AlarmRang),
        (True, signal.SIGTERM, Interrupted),
    ],
)
def test_a_stop_that_was_caught_ends_the_run_all_the_same(deadline, number, kind):
    stop = Stop(deadline=deadline)
    stop.heed()
    with pytest.raises(Interrupted):
        stop.take(number, None)
    for ask in (stop.require_none, stop.end, stop.heed):
        with pytest.raises(kind) as caught:
            ask()
        assert caught.type is kind


def test_the_first_signal_is_the_reason():
    stop = Stop(deadline=True)
    stop.take(signal.SIGALRM, None)
    stop.take(signal.SIGTERM, None)
    assert stop.reason is DeadlineReached


def test_a_signal_before_the_run_is_raised_when_it_begins():
    stop = Stop()
    stop.take(signal.SIGINT, None)
    with pytest.raises(Interrupted):
        stop.heed()


def test_a_signal_after_the_run_is_not_raised():
    stop = Stop()
    stop.heed()
    stop.end()
    stop.take(signal.SIGTERM, None)
    assert stop.reason is Interrupted
