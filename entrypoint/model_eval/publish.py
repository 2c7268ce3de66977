"""A report to where people look: annotations, job summary, outputs, one comment.

What GitHub refuses to show changes no verdict: it becomes a warning, and the rest goes on. Outputs that
cannot be written do: who reads them finds an error, so that nothing may be shown that says `pass`.
"""

import json
from collections.abc import Callable
from pathlib import Path
from typing import TextIO

from model_eval.errors import ModelEvalError, OutputError, PublishError
from model_eval.github.commands import (
    Annotation,
    Level,
    annotate,
    annotations,
    append_summary,
    set_outputs,
    summary_room,
)
from model_eval.report import error_report, render
from model_eval.settings import Settings
from model_eval.types import Report

Comment = Callable[[Settings, str, Callable[[int], str]], str]
"""Given settings, a key and `limit → Markdown`, leaves the comment and returns its page."""


def publish(
    report: Report,
    settings: Settings,
    *,
    report_path: Path | None,
    comment: Comment | None,
    stdout: TextIO,
    stderr: TextIO,
) -> Report:
    """Shows a report wherever the settings say there is somebody to show it to.

    Args:
        report: validated, whoever wrote it.
        settings: which of GitHub's files, and which pull request, there are.
        report_path: what the output `report` says; None where there is no valid report.
        comment: leaves the comment; None where none is wanted.
        stdout: takes workflow commands.
        stderr: takes errors, and warnings outside of GitHub Actions.

    Returns:
        The report that was shown, whose exit code is the step's: an error, not the one that was given,
        where the step's outputs cannot be written.
    """
    # The spec's path, because it is known however the run ended, and two specs may share a name.
    key = settings.comment_key or (report.spec.path if report.spec else report.name)
    footer = _footer(settings)

    if not (settings.in_actions or settings.step_summary or settings.output) and (
        comment is None or settings.pull_request is None
    ):
        stderr.write("nothing to publish to: no GitHub Actions, no pull request\n")

    def attempt(action: Callable[[], object]) -> None:
        try:
            action()
        except PublishError as error:
            _warn(error, settings, stdout=stdout, stderr=stderr)

    if settings.output is not None:  # first: all that follows shows what they say
        try:
            set_outputs(settings.output, step_outputs(report, report_path))
        except OutputError as error:
            report = error_report(report.name, error.faults, exit_code=error.exit_code)
            stderr.write(f"{error}\n")
    if settings.in_actions:
        annotate(stdout, annotations(report))
    if (summary := settings.step_summary) is not None:
        attempt(lambda: append_summary(summary, render(report, limit=summary_room(summary))))
    if comment is not None and settings.pull_request is not None:
        attempt(lambda: comment(settings, key, lambda n: render(report, limit=n, footer=footer)))
    return report


def step_outputs(report: Report, report_path: Path | None) -> dict[str, str]:
    """The step's outputs: `metrics` is JSON, label → value or null where undefined."""
    values = {estimate.label: estimate.value for estimate in report.estimates}
    return {
        "verdict": str(report.verdict),
        "exit-code": str(report.exit_code),
        "report": str(report_path or ""),
        "metrics": json.dumps(values, allow_nan=False),
    }


def _footer(settings: Settings) -> str:
    """Which commit and which run this is of: an old comment must be recognisable as old."""
    sha = settings.head_sha or settings.sha
    commit = f"Commit {sha[:12]}" if sha else ""
    run = f"[the run that made this]({settings.run_url})" if settings.run_url else ""
    return " · ".join(part for part in (commit, run) if part)


def sticky_comment(settings: Settings, key: str, body: Callable[[int], str]) -> str:
    """The `Comment` that GitHub takes; the client library is imported here and nowhere before."""
    from model_eval.github.comment import body_limit, upsert_comment

    return upsert_comment(settings, key=key, body=body(body_limit(settings, key)))


def _warn(error: ModelEvalError, settings: Settings, *, stdout: TextIO, stderr: TextIO) -> None:
    message = f"{error.message}; {error.remedy}"
    if settings.in_actions:
        annotate(stdout, [Annotation(level=Level.WARNING, title="model-eval", message=message)])
    else:
        stderr.write(f"warning: {message}\n")
