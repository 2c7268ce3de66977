"""`publish` and `base-spec`, which alone use a token: they load no model."""

import argparse
import sys
from collections.abc import Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, TextIO

from model_eval.errors import ModelEvalError, ReportError, UsageError

if TYPE_CHECKING:
    from pathlib import Path

_OWN_FILES = ("GITHUB_ACTIONS", "GITHUB_STEP_SUMMARY", "GITHUB_OUTPUT")


def publish_report(args: argparse.Namespace, *, environ: Mapping[str, str], stdout: TextIO) -> int:
    """Shows a report to GitHub, and returns the exit status that it has."""
    from model_eval.github.commands import Annotation, Level, annotate
    from model_eval.output import read_report
    from model_eval.publish import publish, sticky_comment
    from model_eval.report import error_report
    from model_eval.settings import read_settings

    try:
        settings = read_settings(environ)
    except UsageError as error:  # nothing that is wrong with a comment changes the verdict
        settings = read_settings({name: environ.get(name, "") for name in _OWN_FILES})
        message = f"nothing is left on the pull request: {error}"
        annotate(stdout, [Annotation(level=Level.WARNING, title="model-eval", message=message)])
    report_path: Path | None = args.report
    try:
        report = read_report(args.report, exit_status=args.exit_status)
    except ReportError as error:
        name = args.comment_key or args.report.name
        report, report_path = error_report(name, error.faults, exit_code=error.exit_code), None
        sys.stderr.write(f"{error}\n")
    if args.comment_key:
        settings = replace(settings, comment_key=args.comment_key)
    if args.quiet:
        settings = replace(settings, in_actions=False)
    shown = publish(
        report,
        settings,
        report_path=report_path,
        comment=None if args.no_comment else sticky_comment,
        stdout=stdout,
        stderr=sys.stderr,
    )
    stdout.flush()
    return shown.exit_code


def base_spec(args: argparse.Namespace, *, environ: Mapping[str, str], stdout: TextIO) -> int:
    """Says `found` or `absent`, also as the step's output `state`; anything else is an error."""
    from model_eval.github.base_file import read_base_file
    from model_eval.github.commands import Annotation, Level, annotate, set_outputs
    from model_eval.output import whole
    from model_eval.settings import read_settings

    settings = read_settings(environ)
    try:
        data = read_base_file(settings, args.path)
        if data is not None:
            with whole(args.output) as part:
                part.write_bytes(data)
        state = "absent" if data is None else "found"
        if settings.output is not None:
            set_outputs(settings.output, {"state": state})
    except ModelEvalError as error:
        if settings.in_actions:
            message = f"{error.message}; {error.remedy}"
            annotate(stdout, [Annotation(level=Level.ERROR, title="model-eval", message=message)])
        raise
    stdout.write(f"{args.path} in the base branch: {state}\n")
    stdout.flush()
    return 0
