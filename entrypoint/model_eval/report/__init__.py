"""A `Report` as text: JSON for programs, Markdown for reviewers, a table for terminals. Pure."""

from model_eval.report.document import error_report, from_json, json_schema, to_json
from model_eval.report.markdown import render
from model_eval.report.terminal import render_terminal

__all__ = ["error_report", "from_json", "json_schema", "render", "render_terminal", "to_json"]
