"""What a terminal shows."""

from dataclasses import replace

from builders.reports import estimate, gate, loosening, report
from model_eval.report import error_report, render_terminal
from model_eval.types import Fault, MetricRef, ReusedInfo, Severity


def test_a_failing_report():
    loss = MetricRef(name="log_loss")
    shown = render_terminal(
        report(
            [estimate(0.85), estimate(None, loss, undefined="there are no samples")],
            [gate(), gate(loss, bound="max", threshold=0.1, severity=Severity.ADVISORY)],
        )
    )
    assert shown == (
        "metric    value                            interval\n"
        "--------  -------------------------------  ----------\n"
        "accuracy  0.85                             –\n"  # noqa: RUF001
        "log_loss  undefined: there are no samples  –\n"  # noqa: RUF001
        "\n"
        "gate                  rule             why                              flips\n"
        "--------------------  ---------------  -------------------------------  -------\n"
        "fail                  accuracy >= 0.9  0.85 < 0.9                       –\n"  # noqa: RUF001
        "undecided (advisory)  log_loss <= 0.1  undefined: there are no samples  –\n"  # noqa: RUF001
        "\n"
        "note: the checkpoint is not pinned\n"
        "\n"
        "digits: fail (exit 1): the required gate failed: accuracy\n"
    )


def test_an_error_shows_each_fault_without_control_characters():
    faults = [
        Fault(code="x", message="first\x1b[2J", remedy="a"),
        Fault(code="x", message="second", remedy="b"),
    ]
    assert render_terminal(error_report("s.yaml", faults, exit_code=3)) == (
        "first\ufffd[2J; a\nsecond; b\n\ns.yaml: error (exit 3): 2 faults\n"
    )


def test_what_is_loosened_stands_before_the_notes():
    gone = loosening("gate\x1b[2J log_loss", "max: 0.5, required", None)
    shown = render_terminal(report(loosened=(loosening(), gone), loosening_allowed=True))
    assert (
        "\n\n"
        "loosened (allowed)    base                this\n"
        "--------------------  ------------------  ------\n"
        "gate accuracy: min    0.95                0.9\n"
        "gate\ufffd[2J log_loss     max: 0.5, required\n"
        "\nnote: "
    ) in shown


def test_what_was_measured_before_is_said():
    known = report([estimate(0.95)], [gate()])
    both = ReusedInfo(checkpoint="0123456789abcdef", baseline="fedcba9876543210")
    shown = render_terminal(replace(known, reused=both))
    assert (
        "\n\nmeasured in an earlier run, nothing it depends on has changed: entry 0123456789ab of the store\n"
        "the baseline was measured in an earlier run, nothing it depends on has changed: "
        "entry fedcba987654 of the store\n\n"
    ) in shown
    one = render_terminal(replace(known, reused=replace(both, checkpoint="\x1b[2J\n::error::")))
    assert "entry �[2J ::error of the store\n" in one


def test_the_id_of_a_sample_in_a_reason_is_shown_without_control_characters():
    why = "1 of 3 samples have outputs that are not finite (first id: \x1b[2Jx)"
    shown = render_terminal(report([estimate(None, undefined=why)]))
    assert (
        "undefined: 1 of 3 samples have outputs that are not finite (first id: \ufffd[2Jx)" in shown
    )
    assert "\x1b" not in shown


def test_a_rule_does_not_read_like_the_value_that_misses_it():
    many = MetricRef(name="parameters")
    shown = render_terminal(
        report([estimate(1234569, many)], [gate(many, bound="max", threshold=1234567)])
    )
    assert "parameters <= 1234567  1234569 > 1234567" in shown
