"""A report whose gates do not follow from the evidence that it shows is refused, whatever was changed."""

import json
from dataclasses import replace

import pytest

from builders.reports import ACCURACY, complete, estimate, evidence, gate, report
from model_eval.errors import ReportError
from model_eval.gates import EXIT_CODES, decide, judge
from model_eval.report import from_json, to_json
from model_eval.types import Comparison, DecideOn, Gap, Interval, OnUndecided, SliceInfo, Verdict


def interval(low, high):
    return Interval(low=low, high=high, confidence=0.95, method="bca")


def whole(*, value=0.92, ends=(0.85, 0.96), **rule):
    """A report with an estimate of everything that gates are held against."""
    found = [replace(estimate(value), interval=interval(*ends))]
    found += [
        replace(estimate(part, n=50), slice=f"site={name}", interval=interval(part - 0.01, part + 0.01))
        for name, part in (("a", 0.95), ("b", 0.8))
    ]  # fmt: skip
    comparison = Comparison(
        metric=ACCURACY, heldout="heldout", slice=None, n=100, candidate=value, baseline=0.9,
        undefined=None, difference=value - 0.9, interval=interval(-0.05, 0.06),
        relative=(value - 0.9) / 0.9, relative_interval=interval(-0.05, 0.06), no_interval=None,
    )  # fmt: skip
    gap = Gap(
        metric=ACCURACY, heldout="heldout", family="site", n=100, value=0.15, undefined=None,
        highest="site=a", lowest="site=b", interval=interval(0.1, 0.2), no_interval=None,
    )  # fmt: skip
    slices = tuple(
        SliceInfo(heldout="heldout", family="site", label=f"site={name}", n=50) for name in "ab"
    )
    known = evidence(
        *found,
        comparisons={("heldout", None, ACCURACY): comparison},
        gaps={("heldout", "site", ACCURACY): gap},
        slices=slices,
    )
    by_interval = {"decide_on": DecideOn.INTERVAL, **rule}
    gates = judge(
        [
            replace(gate(), **by_interval),
            replace(gate(), slices="site", **by_interval),
            replace(gate(bound="max_drop", threshold=0.02), **by_interval),
            replace(gate(bound="max_gap", threshold=0.05), slices="site", **by_interval),
        ],
        known,
    )
    verdict, reason = decide(gates, [complete()])
    return replace(report(), estimates=tuple(found), gates=gates, comparisons=(comparison,), gaps=(gap,),
        slices=slices, verdict=verdict, exit_code=EXIT_CODES[verdict], reason=reason,
    )  # fmt: skip


def refusal(change, original=None):
    document = json.loads(to_json(original or whole()))
    change(document)
    with pytest.raises(ReportError) as caught:
        from_json(json.dumps(document).encode())
    return caught.value.message


@pytest.mark.parametrize("on_undecided", OnUndecided)
def test_what_was_not_forged_is_read(on_undecided):
    original = whole(on_undecided=on_undecided)
    assert original.verdict is Verdict.FAIL
    assert from_json(to_json(original)) == original


def of_gate(index, key, value):
    return lambda document: document["gates"][index].__setitem__(key, value)


FOLLOWS = "the status of gate {} does not follow from it"
LABELS = ("accuracy", "accuracy on each site", "accuracy max_drop", "accuracy max_gap on each site")


@pytest.mark.parametrize("index", range(4), ids=LABELS)
@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("status", "pass"),
        ("interval", {"low": 0.93, "high": 0.99, "confidence": 0.95, "method": "bca"}),
        ("interval", None),
        ("margin", 0.5),
        ("flip", 0.123),
        ("blocks", False),
        ("worst", "site=c"),
        ("n", 7),
        ("reason", "it is fine"),
        ("decide_on", "point"),
        ("severity", "advisory"),
    ],
    ids=lambda value: str(value)[:12],
)
def test_a_gate_that_was_changed(index, key, value):
    message = refusal(of_gate(index, key, value))
    assert message == FOLLOWS.format(LABELS[index])


@pytest.mark.parametrize("index", range(4), ids=LABELS)
def test_a_value_that_was_changed(index):
    assert refusal(of_gate(index, "value", 0.97)) == (
        f"the value of gate {LABELS[index]} is not its estimate"
    )


def test_a_gate_that_takes_worse_for_better():
    message = refusal(of_gate(2, "higher_is_better", False))
    assert message == "gate accuracy takes worse for better"


def test_a_slice_that_was_taken_out():
    """Without the estimate of the slice that failed, or without the slice."""
    assert "is not its estimate" in refusal(lambda document: document["slices"].pop())
    assert "is not its estimate" in refusal(lambda document: document["estimates"].pop())
    assert "is not its estimate" in refusal(lambda document: document["gaps"].pop())
    assert "is not its estimate" in refusal(lambda document: document["comparisons"].pop())


def test_an_interval_that_is_none():
    def turn(document):
        document["estimates"][0]["interval"].update(low=0.96, high=0.85)

    original = whole(decide_on=DecideOn.POINT)
    assert "does not follow" in refusal(turn, original)

    def turn_slice(document):
        document["comparisons"][0]["relative_interval"].update(low=0.5, high=0.4)

    assert refusal(turn_slice) == "the report has an interval that is none"

    def certain(document):
        document["comparisons"][0]["relative_interval"]["confidence"] = 1.0

    assert refusal(certain) == "the report has an interval that is none"


@pytest.mark.parametrize(
    ("key", "message"),
    [
        ("estimates", "the report has two estimates of one metric"),
        ("comparisons", "the report compares one metric twice"),
        ("gaps", "the report compares one metric twice"),
        ("slices", "the report has two slices of one name"),
    ],
)
def test_evidence_that_is_there_twice(key, message):
    assert refusal(lambda document: document[key].append(document[key][0])) == message


@pytest.mark.parametrize("key", ["estimates", "comparisons", "gaps", "slices", "gates"])
def test_more_samples_than_there_are(key):
    def change(document):
        document[key][0]["n"] = 101

    found = refusal(change)
    assert found == "the report counts more samples than there are, or fewer than none" or (
        "does not follow" in found
    )


def test_a_set_that_was_not_counted_is_no_pass():
    original = report()
    extra = {
        "name": "shifted",
        "heldout": json.loads(to_json(original))["heldout"],
        "completion": {"expected": 10, "rows": 9, "distinct": 9, "finite": 9},
    }
    message = refusal(lambda document: document["more_heldout"].append(extra), original)
    assert message == "the report claims `pass` (exit 0), and its gates show `undecided`"
