"""Where a report is shown, and that nothing that goes wrong there changes what it says."""

import io
import json
from dataclasses import replace

import pytest

from builders.reports import estimate, gate, report
from model_eval.errors import PublishError
from model_eval.publish import publish, step_outputs
from model_eval.report import error_report
from model_eval.settings import Settings
from model_eval.types import MetricRef, Severity


class Shown:
    """Publishes a report and keeps what was written where."""

    def __init__(self, tmp_path, shown_report, *, comment=True, fails=False, **settings):
        self.summary, self.outputs = tmp_path / "summary", tmp_path / "outputs"
        self.stdout, self.stderr = io.StringIO(), io.StringIO()
        self.comments = []
        self.settings = Settings(
            step_summary=self.summary, output=self.outputs, repository="octo/demo", **settings
        )

        def leave(_settings, key, body):
            self.comments.append((key, body(65_000)))
            if fails:
                raise PublishError("GitHub refuses", remedy="ask it nicely")
            return "https://example.com/comment"

        self.report = publish(
            shown_report,
            self.settings,
            report_path=tmp_path / "report.json",
            comment=leave if comment else None,
            stdout=self.stdout,
            stderr=self.stderr,
        )


def test_in_a_pull_request(tmp_path):
    failing = report([estimate(0.85)])
    shown = Shown(
        tmp_path, failing, in_actions=True, pull_request=7, run_id=42, sha="0123456789abcdef"
    )
    assert shown.stdout.getvalue() == (
        "::error file=model-eval.yaml,line=20,col=5,title=model-eval%3A accuracy fail::0.85 < 0.9\n"
    )
    assert shown.summary.read_text().startswith("## ❌ `digits`: fail")
    [(key, body)] = shown.comments
    assert key == "model-eval.yaml"
    assert body.startswith("## ❌ `digits`: fail")
    assert body.endswith(
        "\nCommit 0123456789ab · [the run that made this](https://github.com/octo/demo/actions/runs/42/attempts/1)\n"
    )
    assert "verdict<<" in shown.outputs.read_text()


def test_the_footer_names_the_commit_that_the_pull_request_shows(tmp_path):
    shown = Shown(tmp_path, report(), pull_request=7, sha="0" * 40, head_sha="f" * 40)
    assert shown.comments[0][1].endswith("\nCommit ffffffffffff\n")


def test_outside_of_actions_nothing_is_annotated(tmp_path):
    shown = Shown(tmp_path, report([estimate(0.85)]), pull_request=7)
    assert shown.stdout.getvalue() == ""


def test_an_advisory_gate_warns(tmp_path):
    loss = MetricRef(name="log_loss")
    advisory = gate(loss, bound="max", threshold=0.1, severity=Severity.ADVISORY, line=31)
    passing = report([estimate(0.95), estimate(0.2, loss)], [gate(), advisory])
    shown = Shown(tmp_path, passing, in_actions=True)
    assert shown.stdout.getvalue() == (
        "::warning file=model-eval.yaml,line=31,col=5,"
        "title=model-eval%3A log_loss fail::0.2 > 0.1\n"
    )


@pytest.mark.parametrize(
    "options", [{"comment": False, "pull_request": 7}, {"comment": True, "pull_request": None}]
)
def test_no_comment_without_a_wish_or_a_pull_request(tmp_path, options):
    assert Shown(tmp_path, report(), **options).comments == []


def test_the_comment_key_can_be_set(tmp_path):
    shown = Shown(tmp_path, report(), pull_request=7, comment_key="nightly")
    assert shown.comments[0][0] == "nightly"


def test_a_refused_comment_is_a_warning_and_the_rest_stands(tmp_path):
    shown = Shown(tmp_path, report(), pull_request=7, in_actions=True, fails=True)
    assert shown.stdout.getvalue() == (
        "::warning title=model-eval::GitHub refuses; ask it nicely\n"
    )
    assert shown.summary.exists()
    assert shown.outputs.exists()
    shown = Shown(tmp_path, report(), pull_request=7, fails=True)
    assert shown.stderr.getvalue() == "warning: GitHub refuses; ask it nicely\n"


def test_a_summary_that_cannot_be_written_is_a_warning(tmp_path):
    (tmp_path / "summary").mkdir()
    shown = Shown(tmp_path, report(), pull_request=7)
    assert shown.stderr.getvalue().startswith("warning: the file that `GITHUB_STEP_SUMMARY` names")
    assert shown.outputs.exists()
    assert shown.comments


def test_outputs_that_cannot_be_written_are_an_error_wherever_it_is_shown(tmp_path):
    """Whoever reads them finds none, and takes that for an error: a comment may not say `pass`."""
    (tmp_path / "outputs").mkdir()
    shown = Shown(tmp_path, report(), pull_request=7, in_actions=True)
    assert (shown.report.verdict, shown.report.exit_code) == ("error", 4)
    message = "the file that `GITHUB_OUTPUT` names cannot be written: Is a directory"
    assert shown.stdout.getvalue().startswith(f"::error title=model-eval%3A output::{message}; ")
    [(key, body)] = shown.comments
    assert key == "model-eval.yaml"
    for text in (body, shown.summary.read_text()):
        assert message in text
        assert "pass" not in text


def test_outputs_are_the_verdict_and_numbers(tmp_path):
    path = tmp_path / "report.json"
    shown = step_outputs(
        report([estimate(0.95), estimate(None, MetricRef(name="f1"), undefined="x")]), path
    )
    assert shown | {"metrics": json.loads(shown["metrics"])} == {
        "verdict": "pass",
        "exit-code": "0",
        "report": str(path),
        "metrics": {"accuracy": 0.95, "f1": None},
    }


def test_without_a_valid_report_there_is_no_path_of_one():
    assert step_outputs(report(), None)["report"] == ""


def test_an_error_updates_the_comment_of_the_same_spec(tmp_path):
    """A report that failed early has no spec, and its name is the spec's path."""
    early = error_report("model-eval.yaml", [], exit_code=4)
    [(key, _)] = Shown(tmp_path, early, pull_request=7).comments
    [(same, _)] = Shown(tmp_path, report(), pull_request=7).comments
    assert key == same


def test_nowhere_to_publish_to_is_said(tmp_path):
    stderr = io.StringIO()
    publish(
        report(),
        Settings(),
        report_path=tmp_path,
        comment=None,
        stdout=io.StringIO(),
        stderr=stderr,
    )
    assert stderr.getvalue() == "nothing to publish to: no GitHub Actions, no pull request\n"


def test_the_summary_of_a_long_run_fits_what_is_left(tmp_path):
    (tmp_path / "summary").write_bytes(b"x" * 1_048_000)
    shown = Shown(tmp_path, replace(report(), notes=("y" * 300,) * 50))
    size = shown.summary.stat().st_size
    assert 1_048_000 < size <= 1_048_576
    assert "`digits`: pass" in shown.summary.read_text()
