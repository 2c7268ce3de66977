"""What a terminal shows."""

from builders.reports import estimate, gate, loosening, report
from model_eval.report import error_report, render_terminal
from model_eval.types import Fault, MetricRef, Severity


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
