"""report.json: what is written is read back the same, and what contradicts itself is refused."""

import json
from dataclasses import replace

import pytest

from builders.reports import complete, estimate, gate, loosening, report
from model_eval.errors import ReportError
from model_eval.joining import part_report
from model_eval.report import error_report, from_json, json_schema, to_json
from model_eval.report.document import MAX_BYTES
from model_eval.types import (
    Completion,
    Fault,
    GateStatus,
    Location,
    MetricRef,
    PartInfo,
    Severity,
    ShardInfo,
    Verdict,
)

FAULT = Fault(
    code="spec", message="no", remedy="yes", location=Location(file="a.yaml", line=1, column=2)
)


@pytest.mark.parametrize(
    "original",
    [
        report(),
        report([estimate(0.1)]),
        report(loosened=(loosening(),), verdict=Verdict.FAIL, exit_code=1),
        report(loosened=(loosening(),), loosening_allowed=True, base_gates=report().gates),
        report([estimate(None, undefined="there are no samples")]),
        error_report("broken", [FAULT], exit_code=2),
    ],
    ids=["pass", "fail", "loosened", "allowed", "undecided", "error"],
)
def test_round_trip(original):
    assert from_json(to_json(original)) == original


def test_the_committed_schema_is_the_generated_one():
    from builders.reports import ROOT

    committed = json.loads((ROOT / "schemas/report.schema.json").read_text())
    assert committed == json.loads(json.dumps(json_schema())), "run `make schemas`"


def changed(**changes):
    document = json.loads(to_json(report()))
    document.update(changes)
    return json.dumps(document).encode()


def refusal(data):
    with pytest.raises(ReportError) as caught:
        from_json(data)
    return caught.value.message


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"", "the report is not JSON"),
        (b"{", "the report is not JSON"),
        (b"\xff\xfe", "the report is not JSON"),
        (b"[" * 100_000, "the report is not JSON"),
        (b'{"value": NaN}', "the report is not JSON"),
        (b'{"value": 1e400}', "the report is not JSON"),
        (
            b"[]",
            "the report does not match its schema: Expected `object`, got `array`",
        ),
        (b" " * (MAX_BYTES + 1), "the report has 8388609 bytes; at most 8388608 are read"),
    ],
)
def test_what_is_no_report(data, message):
    assert refusal(data) == message


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"surprise": 1}, "Additional properties are not allowed ('surprise' was unexpected)"),
        ({"schema_version": 2}, "1 was expected"),
        ({"verdict": "excellent"}, "Invalid enum value 'excellent'"),
        ({"exit_code": "0"}, "Expected `int`, got `str`"),
    ],
)
def test_what_does_not_match_the_schema(changes, message):
    assert message in refusal(changed(**changes))


def forged(**changes):
    return to_json(replace(report([estimate(0.1)]), **changes))


def test_a_claimed_pass_is_held_against_the_gates():
    failing = report([estimate(0.1)])
    assert refusal(forged(verdict=Verdict.PASS, exit_code=0)) == (
        "the report claims `pass` (exit 0), and its gates show `fail`"
    )
    passing = tuple(replace(g, status=GateStatus.PASS) for g in failing.gates)
    assert refusal(forged(verdict=Verdict.PASS, exit_code=0, gates=passing)) == (
        "the status of gate accuracy does not follow from it"
    )
    better = tuple(replace(g, status=GateStatus.PASS, value=0.99) for g in failing.gates)
    assert refusal(forged(verdict=Verdict.PASS, exit_code=0, gates=better)) == (
        "the value of gate accuracy is not its estimate"
    )
    assert refusal(forged(verdict=Verdict.PASS, exit_code=0, gates=())) == (
        "the report claims `pass` (exit 0), and its gates show `undecided`"
    )


def test_a_pass_needs_that_nothing_is_loosened_or_that_it_is_allowed():
    claimed = "the report claims `pass` (exit 0), and its gates show `fail`"
    assert refusal(to_json(report(loosened=(loosening(),)))) == claimed
    assert "and its gates show `pass`" in refusal(
        to_json(
            report(
                loosened=(loosening(),),
                loosening_allowed=True,
                verdict=Verdict.FAIL,
                exit_code=1,
            )
        )
    )


def test_a_pass_needs_the_gates_of_the_base_branch():
    missed = report([estimate(0.95)], [gate(threshold=0.99)]).gates
    assert refusal(to_json(report(base_gates=missed))) == (
        "the report claims `pass` (exit 0), and its gates show `fail`"
    )
    assert from_json(to_json(report(base_gates=missed, loosening_allowed=True)))
    advisory = tuple(replace(one, severity=Severity.ADVISORY, blocks=False) for one in missed)
    assert from_json(to_json(report(base_gates=advisory)))
    forged_gate = tuple(replace(one, status=GateStatus.PASS) for one in missed)
    assert refusal(to_json(report(base_gates=forged_gate))) == (
        "the status of gate accuracy does not follow from it"
    )
    unmeasured = tuple(
        replace(one, value=None, margin=None, status=GateStatus.UNDECIDED)
        for one in report([estimate(0.5)], [gate(MetricRef(name="auroc"))]).gates
    )
    assert "and its gates show `fail`" in refusal(to_json(report(base_gates=unmeasured)))


@pytest.mark.parametrize("exit_code", [1, 2, 3, 4, 255])
def test_a_pass_has_exit_code_zero(exit_code):
    assert "and its gates show `pass`" in refusal(to_json(report(exit_code=exit_code)))


def test_a_pass_needs_every_sample():
    partial = Completion(expected=100, rows=50, distinct=50, finite=50)
    data = to_json(report(completion=complete(), gates=[gate()]))
    document = json.loads(data)
    document["completion"]["rows"] = 50
    assert "and its gates show `undecided`" in refusal(json.dumps(document).encode())
    assert report(completion=partial).verdict is Verdict.UNDECIDED


def broken(change):
    document = json.loads(to_json(report()))
    change(document)
    return refusal(json.dumps(document).encode())


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda d: d["estimates"].append(d["estimates"][0]), "the report has two estimates of one metric"),
        (lambda d: d["confusion_matrix"]["counts"].pop(), "the confusion matrix is not square"),
        (lambda d: d["confusion_matrix"]["counts"][0].pop(), "the confusion matrix is not square"),
        (lambda d: d["confusion_matrix"]["labels"].append("x"), "the confusion matrix is not square"),
        (lambda d: d["confusion_matrix"]["counts"][0].__setitem__(0, 99), "the confusion matrix does not count every sample once"),
        (lambda d: d["completion"].__setitem__("finite", -1), "the report counts more samples than there are, or fewer than none"),
        (lambda d: d["completion"].__setitem__("finite", 101), "the report counts more samples than there are, or fewer than none"),
        (lambda d: d["classes"][0].__setitem__("support", -1), "the report counts more samples than there are, or fewer than none"),
        (lambda d: d.__setitem__("notes", ["x"] * 100_001), "the report has more than 100000 notes"),
        (lambda d: d["gates"][0].__setitem__("margin", 0.5), "the status of gate accuracy does not follow from it"),
    ],
)  # fmt: skip
def test_what_does_not_hold_together(change, message):
    assert broken(change) == message


def test_an_error_shows_its_faults_and_nothing_else_does():
    assert refusal(to_json(error_report("x", [], exit_code=3))) == (
        "the report claims an error and does not show one"
    )
    assert refusal(to_json(error_report("x", [FAULT], exit_code=0))) == (
        "the report claims an error and does not show one"
    )
    assert refusal(to_json(report(faults=(FAULT,)))) == "the report has faults and no error"


SHARD = ShardInfo(
    index=2,
    of=3,
    grid=8,
    code="",
    program="",
    parts=(PartInfo(heldout="heldout", start=8, stop=24, of=40),),
)


def test_a_shard_judges_nothing():
    with pytest.raises(ReportError, match="the report is of one shard, and judges it"):
        from_json(to_json(report(shard=SHARD)))
    rows = Completion(expected=40, rows=16, distinct=16, finite=16)
    done = part_report(report(gates=(), estimates=(), completion=rows), SHARD)
    done = replace(done, gates=(), estimates=(), classes=(), confusion_matrix=None)
    assert from_json(to_json(done)) == done
    assert (done.verdict, done.exit_code) == (Verdict.UNDECIDED, 4)


def test_an_unknown_bound_is_refused():
    document = json.loads(to_json(report()))
    document["gates"][0]["bound"] = "least"
    assert refusal(json.dumps(document).encode()) == ("gate accuracy has the unknown bound `least`")
