"""In which direction a difference from the baseline is a gain."""

from dataclasses import replace

import pytest

from builders.reports import evidence, gate
from model_eval.gates import judge
from model_eval.types import MAIN_HELDOUT, Comparison, GateStatus, MetricRef

PROFIT = MetricRef(name="profit")


def compared(difference):
    return Comparison(
        metric=PROFIT,
        heldout=MAIN_HELDOUT,
        slice=None,
        n=100,
        candidate=1 + difference,
        baseline=1.0,
        undefined=None,
        difference=difference,
        interval=None,
        relative=difference,
        relative_interval=None,
        no_interval=None,
    )


@pytest.mark.parametrize(
    ("better", "difference", "status"),
    [
        (True, 0.2, GateStatus.PASS),
        (True, -0.2, GateStatus.FAIL),
        (False, 0.2, GateStatus.FAIL),
        (False, -0.2, GateStatus.PASS),
    ],
)
def test_a_gain_is_in_the_direction_that_the_gate_says(better, difference, status):
    wanted = replace(gate(PROFIT, bound="min_gain", threshold=0.1), higher_is_better=better)
    found = compared(difference)
    key = (found.heldout, None, PROFIT)
    [result] = judge([wanted], evidence(comparisons={key: found}))
    assert result.status is status
    assert result.value == pytest.approx(difference if better else -difference)
    assert result.higher_is_better is better
    assert judge([result], evidence(comparisons={key: found})) == (result,)
