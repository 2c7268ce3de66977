"""Gates: which evidence gives which status, and that only proof gives a pass."""

from math import inf, nan, nextafter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from builders.reports import complete, estimate, evidence, gate
from model_eval.gates import EXIT_CODES, compare, decide, judge
from model_eval.types import Completion, GateStatus, MetricRef, Severity, Verdict

LOSS = MetricRef(name="log_loss")


def judged(value, **rule):
    [result] = judge([gate(**rule)], evidence(estimate(value)))
    return result


@pytest.mark.parametrize(
    ("bound", "threshold", "value", "status"),
    [
        ("min", 0.9, 0.9, GateStatus.PASS),
        ("min", 0.9, nextafter(0.9, 0), GateStatus.FAIL),
        ("min", 0.9, nextafter(0.9, 1), GateStatus.PASS),
        ("max", 0.9, 0.9, GateStatus.PASS),
        ("max", 0.9, nextafter(0.9, 1), GateStatus.FAIL),
        ("max", 0.9, nextafter(0.9, 0), GateStatus.PASS),
        ("min", 0.9, nan, GateStatus.UNDECIDED),
        ("max", 0.9, nan, GateStatus.UNDECIDED),
        ("min", 0.9, inf, GateStatus.UNDECIDED),
        ("max", 0.9, -inf, GateStatus.UNDECIDED),
        ("min", 0.9, None, GateStatus.UNDECIDED),
    ],
)
def test_status(bound, threshold, value, status):
    assert judged(value, bound=bound, threshold=threshold).status is status


def test_the_reason_of_a_gate_reads_as_a_sentence():
    assert judged(0.95).reason == "0.95 ≥ 0.9"
    assert judged(0.85).reason == "0.85 < 0.9"
    assert judged(0.85, bound="max", threshold=0.9).reason == "0.85 ≤ 0.9"
    assert judged(0.95, bound="max", threshold=0.9).reason == "0.95 > 0.9"
    [undefined] = judge([gate()], evidence(estimate(None, undefined="there are no samples")))
    assert undefined.reason == "undefined: there are no samples"


def test_a_near_miss_is_not_shown_as_equal():
    assert judged(0.8999999999).reason == "0.8999999999 < 0.9"
    assert judged(1234569, bound="max", threshold=1234567).reason == "1234569 > 1234567"
    assert judged(1234560, bound="max", threshold=1234567).reason == "1.23456e+06 ≤ 1.23457e+06"


def test_a_metric_that_was_never_estimated_is_undecided():
    [result] = judge([gate(LOSS)], evidence(estimate(1.0)))
    assert (result.status, result.reason) == (
        GateStatus.UNDECIDED,
        "the metric was not estimated",
    )


def test_margin_is_positive_on_the_passing_side():
    assert judged(0.95).margin == pytest.approx(0.05)
    assert judged(0.95, bound="max").margin == pytest.approx(-0.05)


def test_an_unknown_bound_is_never_a_pass():
    with pytest.raises(ValueError, match="`least` is not a bound"):
        compare("least", 1.0, 0.0)


def decided(*outcomes, completion=None):
    """Decides over gates given as (value, severity)."""
    results = []
    for value, severity in outcomes:
        results += judge([gate(severity=severity)], evidence(estimate(value)))
    return decide(results, [completion or complete()])


REQUIRED, ADVISORY = Severity.REQUIRED, Severity.ADVISORY


@pytest.mark.parametrize(
    ("outcomes", "verdict", "reason"),
    [
        ([(0.95, REQUIRED)], Verdict.PASS, "the required gate passed"),
        ([(0.95, REQUIRED), (0.1, ADVISORY)], Verdict.PASS, "the required gate passed"),
        ([(0.1, REQUIRED)], Verdict.FAIL, "the required gate failed: accuracy"),
        (
            [(0.1, REQUIRED), (None, REQUIRED)],
            Verdict.FAIL,
            "1 of 2 required gates failed: accuracy",
        ),
        (
            [(0.95, REQUIRED), (None, REQUIRED)],
            Verdict.UNDECIDED,
            "1 of 2 required gates could not be decided: accuracy",
        ),
        ([(0.95, REQUIRED)] * 3, Verdict.PASS, "all 3 required gates passed"),
        (
            [(0.95, ADVISORY)],
            Verdict.UNDECIDED,
            "no required gate was judged, so nothing was proved",
        ),
        ([], Verdict.UNDECIDED, "no required gate was judged, so nothing was proved"),
    ],
)
def test_verdict(outcomes, verdict, reason):
    assert decided(*outcomes) == (verdict, reason)


@pytest.mark.parametrize(
    ("completion", "reason"),
    [
        (
            Completion(expected=100, rows=99, distinct=99, finite=99),
            "100 samples were expected, 99 were counted, 99 of them distinct",
        ),
        (
            Completion(expected=100, rows=100, distinct=99, finite=100),
            "100 samples were expected, 100 were counted, 99 of them distinct",
        ),
        (
            Completion(expected=100, rows=101, distinct=101, finite=101),
            "100 samples were expected, 101 were counted, 101 of them distinct",
        ),
        (
            Completion(expected=0, rows=0, distinct=0, finite=0),
            "0 samples were expected, 0 were counted, 0 of them distinct",
        ),
    ],
)
def test_nothing_passes_unless_every_sample_was_counted_once(completion, reason):
    assert decided((0.95, REQUIRED), completion=completion) == (Verdict.UNDECIDED, reason)


def test_nothing_passes_without_a_completion():
    results = judge([gate()], evidence(estimate(1.0)))
    assert (
        decide(results, [])
        == decide(results, [None])
        == (Verdict.UNDECIDED, "the evaluation did not finish")
    )


def test_only_a_pass_exits_with_zero():
    assert [verdict for verdict, code in EXIT_CODES.items() if code == 0] == [Verdict.PASS]
    assert set(EXIT_CODES) == set(Verdict)


@given(
    st.lists(
        st.tuples(
            st.one_of(st.none(), st.floats(allow_nan=True, allow_infinity=True)),
            st.sampled_from(Severity),
        ),
        max_size=6,
    ),
    st.tuples(*[st.integers(0, 3)] * 4),
)
def test_a_pass_implies_all_that_a_pass_needs(outcomes, counts):
    completion = Completion(
        expected=counts[0], rows=counts[1], distinct=counts[2], finite=counts[3]
    )
    verdict, _ = decided(*outcomes, completion=completion)
    required = [value for value, severity in outcomes if severity is REQUIRED]
    proved = (
        bool(required)
        and all(value is not None and 0.9 <= value < inf for value in required)
        and counts[0] == counts[1] == counts[2] > 0
    )
    assert (verdict is Verdict.PASS) == proved
