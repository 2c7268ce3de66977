"""What reviewers see, as whole strings; and that text from outside is inert in it."""

import re
from dataclasses import fields, is_dataclass, replace
from enum import StrEnum
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from builders.reports import estimate, gate, loosening, report
from model_eval.report import error_report, render
from model_eval.report.inert import block, code
from model_eval.types import (
    SEQUENCE,
    ClassRow,
    DecideOn,
    Fault,
    GateResult,
    Interval,
    Location,
    MetricRef,
    ReusedInfo,
    Severity,
    Stopped,
    Verdict,
)

HOSTILE = "x` @admin <img src=x onerror=alert(1)> | [a](http://b) #1\n::error::no\r\x1b[31m\u202e"


def test_a_passing_report():
    f1 = MetricRef(name="f1", of_class="a|b`c")
    shown = render(
        report(
            [estimate(0.95), estimate(None, f1, undefined="nothing was predicted")],
            [gate(), gate(f1, severity=Severity.ADVISORY)],
        )
    )
    assert shown == Path(__file__).with_name("passing.md").read_text()


def test_a_failing_report_says_which_gate_and_by_how_much():
    assert render(report([estimate(0.85)])).startswith(
        "## ❌ `digits`: fail\n\nThe required gate failed on 100 samples: `accuracy`.\n\n"
        "|    | Gate       |   Value |   Interval |   Threshold |   Margin |   Samples |   Flips |\n"
        "|:---|:-----------|--------:|-----------:|------------:|---------:|----------:|--------:|\n"
        "| ❌  | `accuracy` |    0.85 |          – |       ≥ 0.9 |    -0.05 |       100 |       – |\n"  # noqa: RUF001
    )


def test_what_flips_are_is_said_where_there_are_any():
    known = report([estimate(0.85)])
    assert "Flips*:" not in render(known)
    [only] = known.gates
    flips = render(replace(known, gates=(replace(only, flip=0.25),)))
    assert flips.count("|   25.0% |") == 1
    assert (
        flips.count(
            "*Flips*: how often another held-out set of this size would be on the other side of the threshold.\n"
        )
        == 1
    )


def test_a_run_that_ended_early_says_on_how_many_samples_of_how_many():
    found = replace(
        estimate(0.95),
        interval=Interval(low=0.92, high=0.97, confidence=0.95, method=SEQUENCE),
    )
    rule = replace(gate(), decide_on=DecideOn.INTERVAL)
    shown = render(report([found], [rule], stopped=Stopped(samples=100, of=2_000)))
    assert shown.startswith(
        "## ✅ `digits`: pass\n\nThe required gate passed on 100 of 2,000 samples.\n\n"
    )
    assert re.search(r"\| Ended early +\| after 100 of 2,000 samples +\|", shown)


def test_a_gate_that_fails_though_its_value_does_not_says_why():
    ends = Interval(low=0.88, high=0.97, confidence=0.95, method="clopper-pearson")
    rule = replace(gate(), decide_on=DecideOn.LOWER_BOUND)
    shown = render(report([replace(estimate(0.93), interval=ends)], [rule]))
    assert "- `accuracy`: `0.93 may be as low as 0.88 < 0.9`" in shown
    assert "may be" not in render(report([estimate(0.85)]))


def test_no_number_of_a_gate_reads_like_its_threshold():
    ends = Interval(low=0.91, high=0.94999, confidence=0.95, method="clopper-pearson")
    many = MetricRef(name="parameters")
    shown = render(
        report(
            [replace(estimate(0.93), interval=ends), estimate(1234569, many)],
            [gate(threshold=0.95), gate(many, bound="max", threshold=1234567)],
        )
    )
    rows = [[cell.strip() for cell in line.split("|")] for line in shown.splitlines()]
    assert [row[3:6] for row in rows if row[1:2] == ["❌"]] == [
        ["0.93", "0.91 to 0.94999", "≥ 0.95"],
        ["1234569", "–", "≤ 1234567"],  # noqa: RUF001
    ]


def loosened(**changes):
    gone = loosening("gate log_loss", "max: 0.5, required", None, location=None)
    return report(loosened=(loosening(), gone), **changes)


def test_what_is_loosened_is_a_table_and_the_reason():
    failed = loosened(verdict=Verdict.FAIL, exit_code=1, base_gates=report().gates)
    shown = render(failed)
    assert shown.startswith(
        "## ❌ `digits`: fail\n\nThe spec asks for less than the base branch's on 100 samples: "
        "`gate accuracy: min, gate log_loss`.\n\n"
    )
    table = (
        "| What                 | Base                 | This   |\n"
        "|:---------------------|:---------------------|:-------|\n"
        "| `gate accuracy: min` | `0.95`               | `0.9`  |\n"
        "| `gate log_loss`      | `max: 0.5, required` | –      |\n"  # noqa: RUF001
    )
    assert f"\n\n**Loosened** against the base branch's spec (not allowed):\n\n{table}\n" in shown
    assert "<details><summary>Gates of the base branch's spec</summary>\n\n|    | Gate " in shown


def test_what_is_loosened_and_allowed_is_shown_the_same():
    shown = render(loosened(loosening_allowed=True))
    assert shown.startswith("## ✅ `digits`: pass\n\nThe required gate passed on 100 samples.\n")
    assert "**Loosened** against the base branch's spec (allowed):" in shown


@pytest.mark.parametrize("limit", [3000, 1500])
def test_what_is_loosened_is_not_what_is_left_out(limit):
    many = tuple(gate(line=n) for n in range(1, 300))
    shown = render(
        report(gates=many, loosened=(loosening(),), verdict=Verdict.FAIL, exit_code=1), limit=limit
    )
    assert "| `gate accuracy: min` | `0.95` | `0.9`  |" in shown


def test_an_error_shows_its_faults_in_a_block():
    fault = Fault(
        code="spec",
        message="unknown key `acuracy`",
        remedy="did you mean `accuracy`?",
        location=Location(file="a.yaml", line=3, column=7),
    )
    assert render(error_report("a.yaml", [fault], exit_code=2)) == (
        "## 🛑 `a.yaml`: error\n\nNothing was judged (exit 2).\n\n"
        "```text\na.yaml:3:7: unknown key `acuracy`; did you mean `accuracy`?\n```\n"
    )


@pytest.mark.parametrize(
    ("text", "span"),
    [
        ("plain", "`plain`"),
        ("a|b", "`a|b`"),
        ("a`b``c", "`a'b''c`"),
        ("two\nlines\r\n", "`two lines`"),
        ("\x1b[31m\u202etxt", "`\ufffd[31m\ufffdtxt`"),
        ("", "` `"),
        (" \n", "` `"),
        ("x" * 200, "`" + "x" * 119 + "…`"),
        ("@everyone <b>", "`@everyone <b>`"),
    ],
)
def test_code_spans(text, span):
    assert code(text) == span


@given(st.text())
def test_a_code_span_is_one_line_with_two_backticks(text):
    span = code(text)
    assert span.count("`") == 2
    assert span.startswith("`")
    assert span.endswith("`")
    assert len(span.splitlines()) == 1


@given(st.text(alphabet=st.sampled_from("`a\n\r\x1b")))
def test_a_block_cannot_be_left(text):
    shown = block(text)
    fence = shown[: shown.index("t")]
    lines = shown.splitlines()
    assert lines[-1] == fence
    assert not any(fence in line for line in lines[1:-1])
    assert "\x1b" not in shown


def filled_with(text, value):
    """The value with every string in it, however deep, replaced by the text."""
    if isinstance(value, StrEnum) or value is None:
        return value
    if isinstance(value, str):
        return text
    if isinstance(value, tuple):
        return tuple(filled_with(text, item) for item in value)
    if isinstance(value, dict):
        return {filled_with(text, k): filled_with(text, v) for k, v in value.items()}
    if is_dataclass(value):
        changes = {
            f.name: filled_with(text, getattr(value, f.name))
            for f in fields(value)
            if not (isinstance(value, GateResult) and f.name == "bound")  # validated on reading
        }
        return replace(value, **changes)
    return value


def hostile_report(text=HOSTILE):
    ref = MetricRef(name="f1", of_class="x")
    whole = report([estimate(0.95, ref), estimate(None, undefined="x")], [gate(ref), gate()])
    device = replace(whole.environment.device, runtime="x", driver="x")
    whole = replace(whole, environment=replace(whole.environment, device=device))
    whole = replace(whole, loosened=(loosening(),), base_gates=whole.gates)
    return filled_with(text, whole)


def outside_code(markdown):
    """The text that GitHub would interpret: without code spans."""
    kept = []
    for line in markdown.splitlines():
        parts = line.split("`")
        assert len(parts) % 2 == 1, f"a code span is open in {line!r}"
        kept += parts[::2]
    return "\n".join(kept)


def test_hostile_strings_stay_inside_code_spans_wherever_they_are():
    shown = render(hostile_report())
    assert shown.count("@admin") > 15
    for word in ("@admin", "<img", "](http", "#1", "::error", "\x1b", "\u202e"):
        assert word not in outside_code(shown)


def test_hostile_faults_stay_inside_their_block():
    fault = Fault(code=HOSTILE, message=HOSTILE, remedy=HOSTILE, location=None)
    shown = render(error_report(HOSTILE, [fault], exit_code=3))
    blocks = shown.split("```")
    assert len(blocks) == 3
    assert "@admin" in blocks[1]
    assert "@admin" not in outside_code(blocks[0] + blocks[2])


@pytest.mark.parametrize("limit", [65_000, 1_500, 600, 150])
def test_the_rendering_fits_and_keeps_the_verdict(limit):
    large = report(
        [estimate(0.85)],
        [gate(line=n) for n in range(1, 400)],
        classes=tuple(
            ClassRow(name=f"class {n}", support=1, predicted=1, precision=1.0, recall=1.0, f1=1.0)
            for n in range(2000)
        ),
    )
    shown = render(large, limit=limit)
    assert len(shown.encode()) <= limit
    assert shown.startswith("## ❌ `digits`: fail")
    assert "Shortened" in shown


def test_a_footer_is_the_last_line():
    assert render(report(), footer="[run](x)").endswith("\n[run](x)\n")
    assert render(report(), limit=1500, footer="[run](x)").endswith("\n[run](x)\n")


@pytest.mark.parametrize("limit", [3_000, 1_000, 300])
def test_what_was_measured_before_is_said_however_short_it_is(limit):
    gates = [gate(line=n) for n in range(1, 400)]
    known = report([estimate(0.85)], gates)
    reused = ReusedInfo(checkpoint="0123456789abcdef", baseline=None)
    shown = render(replace(known, reused=reused), limit=limit)
    assert len(shown.encode()) <= limit
    assert "- measured in an earlier run" in shown


def test_what_was_measured_before_is_said_first():
    known = replace(report(), reused=ReusedInfo(checkpoint="0123456789abcdef", baseline=None))
    _, _, reused, *_ = render(known).split("\n\n")
    assert reused == (
        "- measured in an earlier run, nothing it depends on has changed: entry `0123456789ab` of the store"
    )
    hostile = replace(report(), reused=ReusedInfo(checkpoint=None, baseline="`@org` <b>"))
    assert "nothing it depends on has changed: entry `'@org' <b>` of the store" in render(hostile)
