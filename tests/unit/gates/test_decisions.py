"""What of the evidence decides a gate: points, ends of intervals, whole intervals, many slices."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from builders.reports import ACCURACY, complete, estimate, evidence, gate
from model_eval.gates import EXIT_CODES, decide, judge
from model_eval.stats.shares import share_interval
from model_eval.types import (
    BOUNDS,
    IDENTICAL,
    OF_DIFFERENCE,
    SEQUENCE,
    Comparison,
    DecideOn,
    Gap,
    GateStatus,
    Interval,
    MetricRef,
    OnUndecided,
    Severity,
    SliceInfo,
    Stopped,
    Verdict,
)

LOSS = MetricRef(name="log_loss")
PASS, FAIL, UNDECIDED = GateStatus
POINT, LOWER_BOUND, INTERVAL = DecideOn


def interval(low, high):
    return Interval(low=low, high=high, confidence=0.95, method="bca")


def measured(value, ends=None, *, n=100, part=None, metric=ACCURACY, no_interval=None):
    found = replace(estimate(value, metric, n=n), slice=part)
    if ends is None:
        return replace(found, no_interval=no_interval)
    return replace(found, interval=interval(*ends))


def ruled(metric=ACCURACY, **rule):
    changes = {
        key: rule.pop(key)
        for key in ("decide_on", "on_undecided", "min_samples", "slice", "slices")
        if key in rule
    }
    return replace(gate(metric, **rule), **changes)


@pytest.mark.parametrize(
    ("method", "decide_on", "expected"),
    [
        (SEQUENCE, INTERVAL, Verdict.PASS),
        (SEQUENCE, LOWER_BOUND, Verdict.PASS),
        (SEQUENCE, POINT, Verdict.UNDECIDED),
        ("clopper-pearson", INTERVAL, Verdict.UNDECIDED),
    ],
)
def test_a_run_that_ended_early_passes_on_what_holds_at_every_look_alone(
    method, decide_on, expected
):
    found = measured(0.95, (0.92, 0.97))
    found = replace(found, interval=replace(found.interval, method=method))
    results = judge([ruled(decide_on=decide_on)], evidence(found))
    stopped = Stopped(samples=100, of=1000)
    verdict, reason = decide(results, [complete()], None, stopped)
    assert verdict is expected
    assert expected is Verdict.PASS or reason == (
        "the run ended early, which an interval of all samples does not allow: accuracy"
    )
    assert decide(results, [complete()])[0] is Verdict.PASS


@pytest.mark.parametrize("method", [SEQUENCE, "clopper-pearson"])
@pytest.mark.parametrize(
    "rule",
    [{"decide_on": LOWER_BOUND}, {"decide_on": INTERVAL, "on_undecided": OnUndecided.FAIL}],
)
def test_what_the_rest_of_the_samples_would_have_decided_is_open(method, rule):
    """A failure for want of a narrower interval is one of all samples alone."""
    found = measured(0.92, (0.85, 0.97))  # the threshold is 0.9
    found = replace(found, interval=replace(found.interval, method=method))
    whole = evidence(found)
    [usual], [early] = (
        judge([ruled(**rule)], one) for one in (whole, replace(whole, ended_early=True))
    )
    assert usual.status is GateStatus.FAIL
    assert early.status is (GateStatus.UNDECIDED if method == SEQUENCE else GateStatus.FAIL)
    assert early.blocks
    [clear] = judge([ruled(threshold=0.98, **rule)], replace(whole, ended_early=True))
    assert clear.status is GateStatus.FAIL


def test_an_end_that_misses_the_threshold_does_not_read_like_it():
    rule = ruled(threshold=0.95, decide_on=INTERVAL)
    [open_] = judge([rule], evidence(measured(0.96, (0.94999996, 0.97))))
    assert open_.reason == "the interval [0.94999996, 0.97] of 0.96 contains 0.95"
    [failed] = judge([rule], evidence(measured(0.93, (0.91, 0.9499999))))
    assert failed.reason == "0.93 < 0.95, and so is all of [0.91, 0.9499999]"
    many = MetricRef(name="parameters")
    rule = ruled(many, bound="max", threshold=1234567, decide_on=INTERVAL)
    [open_] = judge([rule], evidence(measured(1234566, (1234000, 1234569), metric=many)))
    assert open_.reason == "the interval [1.234e+06, 1234569] of 1234566 contains 1234567"


def test_without_an_interval_nothing_passes_in_a_run_that_ended_early():
    results = judge([ruled(decide_on=POINT)], evidence(measured(0.95)))
    stopped = Stopped(samples=100, of=1000)
    assert decide(results, [complete()], None, stopped)[0] is Verdict.UNDECIDED


def test_costs_and_golden_cases_are_not_of_the_samples_that_were_looked_at():
    cost = MetricRef(name="parameters")
    rule = ruled(cost, bound="max", threshold=10, decide_on=POINT)
    golden = replace(ruled(decide_on=POINT), heldout="golden")
    found = [measured(5, metric=cost), replace(measured(0.95), heldout="golden")]
    results = judge([rule, golden], evidence(*found))
    stopped = Stopped(samples=100, of=1000)
    assert decide(results, [complete()], None, stopped)[0] is Verdict.PASS


def test_an_interval_for_all_looks_says_nothing_of_flips():
    found = measured(0.95, (0.92, 0.97))
    early = replace(found, interval=replace(found.interval, method=SEQUENCE))
    [usual], [loose] = (judge([ruled(decide_on=INTERVAL)], evidence(one)) for one in (found, early))
    assert (usual.flip is None, loose.flip) == (False, None)


def judged(found, **rule):
    [result] = judge([ruled(**rule)], evidence(*([found] if found else [])))
    return result


# --- min and max ----------------------------------------------------------------------------

ABOVE, OVER, BELOW = (0.92, 0.98), (0.85, 0.95), (0.8, 0.88)
"""Where an interval is, to a threshold of 0.9."""

TABLE = [
    # bound, ends, value, by the point, by the worse end, by all of the interval
    ("min", ABOVE, 0.95, PASS, PASS, PASS),
    ("min", (0.9, 0.98), 0.95, PASS, PASS, PASS),
    ("min", OVER, 0.92, PASS, FAIL, UNDECIDED),
    ("min", OVER, 0.88, FAIL, FAIL, UNDECIDED),
    ("min", (0.8, 0.9), 0.85, FAIL, FAIL, UNDECIDED),
    ("min", BELOW, 0.85, FAIL, FAIL, FAIL),
    ("max", BELOW, 0.85, PASS, PASS, PASS),
    ("max", (0.8, 0.9), 0.85, PASS, PASS, PASS),
    ("max", OVER, 0.88, PASS, FAIL, UNDECIDED),
    ("max", OVER, 0.92, FAIL, FAIL, UNDECIDED),
    ("max", ABOVE, 0.95, FAIL, FAIL, FAIL),
    # An interval that does not hold its own value decides nothing that the value does not bear out.
    ("min", ABOVE, 0.85, FAIL, FAIL, UNDECIDED),
    ("max", BELOW, 0.95, FAIL, FAIL, UNDECIDED),
    ("min", BELOW, 0.95, PASS, FAIL, UNDECIDED),
]


@pytest.mark.parametrize(("bound", "ends", "value", "point", "worse", "whole"), TABLE)
def test_where_the_interval_is(bound, ends, value, point, worse, whole):
    found = measured(value, ends)
    for decide_on, status in zip(DecideOn, (point, worse, whole), strict=True):
        assert judged(found, bound=bound, decide_on=decide_on).status is status, decide_on


def test_the_reasons_name_what_decided():
    over = measured(0.92, OVER)
    assert (
        judged(over, decide_on=INTERVAL).reason == "the interval [0.85, 0.95] of 0.92 contains 0.9"
    )
    assert judged(over, decide_on=LOWER_BOUND).reason == "0.92 may be as low as 0.85 < 0.9"
    assert judged(over, bound="max", decide_on=LOWER_BOUND).reason == (
        "0.92 may be as high as 0.95 > 0.9"
    )
    below = measured(0.85, BELOW)
    assert judged(below, decide_on=INTERVAL).reason == "0.85 < 0.9, and so is all of [0.8, 0.88]"
    assert judged(measured(0.95, ABOVE), decide_on=INTERVAL).reason == "0.95 ≥ 0.9"


@pytest.mark.parametrize("decide_on", [LOWER_BOUND, INTERVAL])
@pytest.mark.parametrize("on_undecided", OnUndecided)
def test_without_an_interval_nothing_is_decided(decide_on, on_undecided):
    found = measured(0.99, no_interval="too few")
    result = judged(found, decide_on=decide_on, on_undecided=on_undecided)
    assert (result.status, result.blocks) == (UNDECIDED, True)
    assert result.reason.startswith("no interval: too few")
    assert judged(found, decide_on=POINT).status is PASS


@pytest.mark.parametrize("decide_on", DecideOn)
@pytest.mark.parametrize("on_undecided", OnUndecided)
@pytest.mark.parametrize("value", [None, float("nan"), float("inf"), -float("inf")])
def test_without_a_value_nothing_is_decided(decide_on, on_undecided, value):
    for bound in ("min", "max"):
        found = measured(value, ABOVE)
        result = judged(found, bound=bound, decide_on=decide_on, on_undecided=on_undecided)
        assert (result.status, result.blocks, result.value) == (UNDECIDED, True, None)


@pytest.mark.parametrize(
    ("on_undecided", "status", "blocks", "verdict"),
    [
        (OnUndecided.UNDECIDED, UNDECIDED, True, Verdict.UNDECIDED),
        (OnUndecided.FAIL, FAIL, True, Verdict.FAIL),
        (OnUndecided.ADVISORY, UNDECIDED, False, Verdict.PASS),
    ],
)
def test_what_a_threshold_inside_the_interval_means(on_undecided, status, blocks, verdict):
    gates = [
        ruled(decide_on=INTERVAL, on_undecided=on_undecided),
        gate(LOSS, bound="max", threshold=0.5),
    ]
    results = judge(gates, evidence(measured(0.92, OVER), measured(0.1, metric=LOSS)))
    assert (results[0].status, results[0].blocks) == (status, blocks)
    assert decide(results, [complete()])[0] is verdict


def test_remarks_alone_prove_nothing():
    rule = ruled(decide_on=INTERVAL, on_undecided=OnUndecided.ADVISORY)
    results = judge([rule], evidence(measured(0.92, OVER)))
    assert decide(results, [complete()]) == (
        Verdict.UNDECIDED,
        "no required gate was judged, so nothing was proved",
    )


@pytest.mark.parametrize("on_undecided", OnUndecided)
@pytest.mark.parametrize("decide_on", DecideOn)
def test_too_few_samples(decide_on, on_undecided):
    rule = {"min_samples": 50, "decide_on": decide_on, "on_undecided": on_undecided}
    short = judged(measured(0.95, ABOVE, n=49), **rule)
    assert (short.status, short.blocks) == (UNDECIDED, True)
    assert short.reason == "49 samples are fewer than min_samples, 50"
    assert judged(measured(0.95, ABOVE, n=50), **rule).status is PASS


@pytest.mark.parametrize("on_undecided", OnUndecided)
@pytest.mark.parametrize("decide_on", DecideOn)
@pytest.mark.parametrize("value", [0.93, 0.87])
def test_a_margin_within_the_noise_is_none(value, decide_on, on_undecided):
    """Nor is it a remark: another run may have given the other answer."""
    rule = ruled(decide_on=decide_on, on_undecided=on_undecided)
    found = measured(value, (value - 0.01, value + 0.01))
    [result] = judge([rule], evidence(found, noise={ACCURACY: 0.05}))
    assert (result.status, result.blocks) == (UNDECIDED, True)
    assert "than the noise of 0.05 between two runs" in result.reason
    [undefined] = judge([rule], evidence(found, noise={ACCURACY: float("inf")}))
    assert undefined.status is UNDECIDED
    assert undefined.reason == "the metric is defined in some ways of running the model only"
    [quiet] = judge([rule], evidence(found, noise={ACCURACY: 0.01, LOSS: 1.0}))
    assert quiet.status is not UNDECIDED


def test_the_chance_to_flip():
    # Both values scatter: 0.05 is 0.05 / (√2 · 0.05 / 1.96) = 1.386 standard errors away.
    assert judged(measured(0.95, (0.9, 1.0))).flip == pytest.approx(0.08289, abs=1e-4)
    assert judged(measured(0.9, (0.85, 0.95))).flip == 0.5
    assert judged(measured(0.95, (0.95, 0.95))).flip == 0.0
    assert judged(measured(0.95)).flip is None


# --- against a baseline ---------------------------------------------------------------------


def comparison(difference, ends, *, baseline=0.8, metric=ACCURACY, part=None):
    return Comparison(
        metric=metric,
        heldout="heldout",
        slice=part,
        n=100,
        candidate=baseline + difference,
        baseline=baseline,
        undefined=None,
        difference=difference,
        interval=interval(*ends),
        relative=difference / baseline,
        relative_interval=interval(*(end / baseline for end in ends)),
        no_interval=None,
    )


def against(found, **rule):
    known = {(found.heldout, found.slice, found.metric): found} if found else {}
    [result] = judge([ruled(**rule)], evidence(estimate(0.8), comparisons=known))
    return result


BETTER, WORSE, SAME = (0.05, (0.03, 0.07)), (-0.05, (-0.07, -0.03)), (0.0, (-0.02, 0.02))


def test_a_checkpoint_and_itself_are_apart_by_nothing_whatever_the_noise():
    same = replace(interval(0.0, 0.0), method=IDENTICAL)
    found = replace(comparison(0.0, (0.0, 0.0)), interval=same)
    rule = ruled(bound="max_drop", threshold=0.0)
    known = {("heldout", None, ACCURACY): found}
    [result] = judge([rule], evidence(comparisons=known, noise={ACCURACY: 1e-9}))
    assert result.status is PASS


@pytest.mark.parametrize(
    ("baseline", "rise", "noise", "status"),
    [
        (30_000.0, 0.0, 0.03, PASS),  # the noise is a millionth of it, and 2 % are allowed
        (1e-6, 1.9e-8, 1e-7, UNDECIDED),  # the noise is a tenth of it
        (-1e-6, 0.0, 1e-7, UNDECIDED),
        (30_000.0, 0.0, float("inf"), UNDECIDED),
    ],
)
def test_the_noise_of_a_share_of_the_baseline_is_a_share_of_it(baseline, rise, noise, status):
    found = comparison(rise, (rise, rise), baseline=baseline, metric=LOSS)
    relative = rise / abs(baseline)
    found = replace(found, relative=relative, relative_interval=interval(relative, relative))
    rule = ruled(LOSS, bound="max_relative_rise", threshold=0.02)
    known = evidence(comparisons={("heldout", None, LOSS): found}, noise={LOSS: noise})
    [result] = judge([rule], known)
    assert result.status is status
    [absolute] = judge([replace(rule, bound="max_rise")], known)
    assert (absolute.status is UNDECIDED) == (noise > 0.02)


def test_a_relative_bound_says_why_the_share_has_no_interval():
    found = replace(comparison(0.01, (0.0, 0.02)), relative_interval=None, no_interval="too few")
    rule = {"threshold": 0.1, "decide_on": INTERVAL}
    result = against(found, bound="max_relative_drop", **rule)
    assert result.status is UNDECIDED
    assert result.reason == "no interval: too few; `decide_on: point` decides on the value"
    assert against(found, bound="max_drop", **rule).status is PASS


@pytest.mark.parametrize(
    ("bound", "threshold", "metric", "found", "status"),
    [
        ("max_drop", 0.01, ACCURACY, BETTER, PASS),
        ("max_drop", 0.01, ACCURACY, WORSE, FAIL),
        ("max_drop", 0.01, ACCURACY, SAME, UNDECIDED),
        ("max_drop", 0.02, ACCURACY, SAME, PASS),
        ("max_relative_drop", 0.025, ACCURACY, SAME, PASS),
        ("max_relative_drop", 0.02, ACCURACY, SAME, UNDECIDED),
        ("max_relative_drop", 0.02, ACCURACY, WORSE, FAIL),
        ("max_rise", 0.01, LOSS, BETTER, FAIL),
        ("max_rise", 0.01, LOSS, WORSE, PASS),
        ("max_rise", 0.01, LOSS, SAME, UNDECIDED),
        ("max_relative_rise", 0.02, LOSS, BETTER, FAIL),
        ("min_gain", 0.02, ACCURACY, BETTER, PASS),
        ("min_gain", 0.02, ACCURACY, WORSE, FAIL),
        ("min_gain", 0.01, ACCURACY, SAME, UNDECIDED),
        ("min_gain", 0.02, LOSS, WORSE, PASS),
        ("min_gain", 0.02, LOSS, BETTER, FAIL),
        ("max_gain", 0.1, ACCURACY, BETTER, PASS),
        ("max_gain", 0.02, ACCURACY, BETTER, FAIL),
        ("max_gain", 0.02, LOSS, WORSE, FAIL),
        ("max_gain", 0.02, LOSS, BETTER, PASS),
    ],
)
def test_differences(bound, threshold, metric, found, status):
    result = against(
        comparison(*found, metric=metric),
        metric=metric, bound=bound, threshold=threshold, decide_on=INTERVAL,
    )  # fmt: skip
    assert result.status is status


@pytest.mark.parametrize("bound", sorted(OF_DIFFERENCE))
@pytest.mark.parametrize("on_undecided", OnUndecided)
def test_nothing_compared_is_no_pass(bound, on_undecided):
    metric = LOSS if bound.endswith("rise") else ACCURACY
    rule = {"metric": metric, "bound": bound, "threshold": 0.1, "on_undecided": on_undecided}
    result = against(None, **rule)
    assert (result.status, result.blocks) == (UNDECIDED, True)
    assert result.reason == "nothing was compared: there is no baseline"
    lacking = replace(comparison(0.0, (0, 0), metric=metric), undefined="the baseline: x", difference=None, interval=None,
        relative=None, relative_interval=None,
    )  # fmt: skip
    result = against(lacking, **rule)
    assert (result.status, result.reason) == (UNDECIDED, "undefined: the baseline: x")


def test_no_share_of_nothing():
    found = replace(comparison(0.1, (0.05, 0.15)), relative=None, relative_interval=None)
    result = against(found, bound="max_relative_drop", threshold=0.1, decide_on=INTERVAL)
    assert (result.status, result.reason) == (UNDECIDED, "undefined: the baseline's value is 0")


# --- gaps -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("value", "ends", "status"),
    [
        (0.03, (0.01, 0.04), PASS),
        (0.03, (0.01, 0.08), UNDECIDED),
        (0.2, (0.1, 0.3), FAIL),
        (None, None, UNDECIDED),
        (0.0, None, UNDECIDED),
    ],
)
def test_gaps(value, ends, status):
    found = Gap(
        metric=ACCURACY, heldout="heldout", family="site", n=100, value=value,
        undefined=None if value is not None else "no sample is in site=b",
        highest="site=a", lowest="site=b", interval=ends and interval(*ends),
        no_interval=None if ends else "too few",
    )  # fmt: skip
    rule = ruled(bound="max_gap", threshold=0.05, slices="site", decide_on=INTERVAL)
    [result] = judge([rule], evidence(gaps={("heldout", "site", ACCURACY): found}))
    assert result.status is status
    [missing] = judge([rule], evidence())
    assert (missing.status, missing.reason) == (UNDECIDED, "no slice of `site` was estimated")


# --- slices ---------------------------------------------------------------------------------


def of_slices(*found, **rule):
    """A family of slices of which each is an estimate; a slice that was not estimated is None."""
    slices = tuple(
        SliceInfo(heldout="heldout", family="site", label=f"site={index}", n=100)
        for index in range(len(found))
    )
    known = [replace(one, slice=f"site={index}") for index, one in enumerate(found) if one]
    rule = {"slices": "site", "decide_on": INTERVAL, **rule}
    [result] = judge([ruled(**rule)], evidence(*known, slices=slices))
    return result


def share(right, of):
    found = share_interval(right, of, confidence=0.95)
    return replace(measured(right / of, n=of), interval=found)


def test_a_family_passes_where_each_slice_does():
    result = of_slices(share(990, 1000), share(970, 1000), share(980, 1000))
    assert (result.status, result.worst, result.value) == (PASS, "site=1", 0.97)
    assert result.reason == "all 3 slices, the worst site=1: 0.97 ≥ 0.9"


def test_one_of_twenty_that_is_below_by_luck_does_not_fail():
    unlucky = share(41, 50)  # by itself below 0.9, and all of its interval: once in 80 times
    assert judged(unlucky, threshold=0.92, decide_on=INTERVAL).status is FAIL
    result = of_slices(*[share(99, 100)] * 19, unlucky, threshold=0.92)
    assert (result.status, result.worst, result.blocks) == (UNDECIDED, "site=19", True)
    assert result.reason.endswith("but not among 20 slices")


def test_one_of_twenty_that_is_clearly_below_fails():
    result = of_slices(*[share(99, 100)] * 19, share(25, 50))
    assert (result.status, result.worst, result.value) == (FAIL, "site=19", 0.5)
    assert result.reason.startswith("1 of 20 slices failed, the worst site=19: 0.5 < 0.9")


def test_holm_goes_on_where_the_first_has_failed():
    """The second is held against a level of one slice less: 0.025 / 1 and not 0.025 / 2."""
    almost = share(123, 150)
    alone = of_slices(share(99, 100), almost, threshold=0.878)
    assert alone.status is UNDECIDED
    both = of_slices(share(10, 100), almost, threshold=0.878)
    assert both.reason.startswith("2 of 2 slices failed, the worst site=0")


@pytest.mark.parametrize("on_undecided", OnUndecided)
def test_an_undefined_slice_blocks_whatever_else_is_open(on_undecided):
    undefined = measured(None)
    for found in (undefined, None, measured(0.99, no_interval="too few"), share(3, 3)):
        rule = {"on_undecided": on_undecided, "min_samples": 10}
        result = of_slices(share(99, 100), share(92, 100), found, **rule)
        assert (result.status, result.blocks, result.worst) == (UNDECIDED, True, "site=2")


def test_a_slice_that_straddles_may_be_a_remark():
    result = of_slices(share(99, 100), share(92, 100), on_undecided=OnUndecided.ADVISORY)
    assert (result.status, result.blocks) == (UNDECIDED, False)
    assert of_slices(share(92, 100), on_undecided=OnUndecided.FAIL).status is FAIL


def test_a_family_without_slices_proves_nothing():
    result = of_slices()
    assert (result.status, result.blocks, result.reason) == (
        UNDECIDED,
        True,
        "`site` has no slices",
    )


def test_a_slice_that_is_nowhere_proves_nothing():
    result = judged(measured(0.99, ABOVE), slice="site=gone", decide_on=INTERVAL)
    assert (result.status, result.reason) == (UNDECIDED, "no sample is in the slice")


def test_a_point_of_each_slice():
    assert of_slices(share(9, 10), share(91, 100), decide_on=POINT).status is PASS
    failed = of_slices(share(8, 10), share(91, 100), decide_on=POINT)
    assert (failed.status, failed.worst) == (FAIL, "site=0")


# --- whatever the evidence ------------------------------------------------------------------

NUMBER = st.one_of(st.none(), st.floats(0, 1), st.sampled_from([0.9, 0.0, 1.0]))


@st.composite
def worlds(draw):
    """Gates of every kind, and evidence for some of them."""
    parts = [None, "site=a", "site=b"]
    known = []
    compared, gaps = {}, {}
    for part in parts:
        if draw(st.booleans()):
            known.append(draw(estimates(part)))
        if draw(st.booleans()):
            found = draw(estimates(part))
            compared["heldout", part, ACCURACY] = replace(comparison(0.0, (0, 0), part=part), difference=found.value, interval=found.interval,
                relative=found.value, relative_interval=found.interval,
                undefined=None if found.value is not None else "x",
            )  # fmt: skip
    if draw(st.booleans()):
        found = draw(estimates(None))
        gaps["heldout", "site", ACCURACY] = Gap(
            metric=ACCURACY, heldout="heldout", family="site", n=9, value=found.value,
            undefined=None, highest=None, lowest=None, interval=found.interval, no_interval=None,
        )  # fmt: skip
    slices = tuple(
        SliceInfo(heldout="heldout", family="site", label=label, n=9) for label in parts[1:]
    )
    gates = draw(st.lists(gates_of(), min_size=1, max_size=4))
    noise = draw(st.sampled_from([{}, {ACCURACY: 0.01}, {ACCURACY: float("inf")}]))
    return gates, evidence(*known, comparisons=compared, gaps=gaps, slices=slices, noise=noise)


@st.composite
def estimates(draw, part):
    value = draw(NUMBER)
    found = replace(estimate(value, n=draw(st.integers(0, 100))), slice=part)
    if value is None or draw(st.booleans()):
        return found
    low, high = sorted([draw(st.floats(0, 1)), draw(st.floats(0, 1))])
    return replace(found, interval=interval(low, high))


@st.composite
def gates_of(draw):
    bound = draw(st.sampled_from(sorted(BOUNDS)))
    family = bound == "max_gap" or draw(st.booleans())
    return ruled(
        bound=bound,
        threshold=draw(st.sampled_from([0.0, 0.5, 0.9, 1.0])),
        severity=draw(st.sampled_from(Severity)),
        decide_on=draw(st.sampled_from(DecideOn)),
        on_undecided=draw(st.sampled_from(OnUndecided)),
        min_samples=draw(st.integers(0, 50)),
        slices="site" if family else None,
        slice=None if family else draw(st.sampled_from([None, "site=a", "site=gone"])),
    )


@given(worlds())
def test_a_result_is_judged_as_it_was(world):
    gates, found = world
    results = judge(gates, found)
    assert judge(results, found) == results


@given(worlds())
def test_only_what_passed_passes(world):
    gates, found = world
    results = judge(gates, found)
    for rule, result in zip(gates, results, strict=True):
        if result.status is PASS:
            assert result.value is not None
            sign = 1 if BOUNDS[rule.bound] == "≥" else -1
            assert sign * (result.value - rule.threshold) >= 0
            assert result.n >= rule.min_samples
            assert rule.decide_on is POINT or result.interval is not None
        if rule.severity is Severity.REQUIRED and result.status is FAIL:
            assert result.blocks
    verdict, reason = decide(results, [complete()])
    assert reason
    required = [result for result in results if result.severity is Severity.REQUIRED]
    assert (EXIT_CODES[verdict] == 0) == (
        any(result.status is PASS for result in required)
        and not any(result.blocks for result in results)
    )
