"""Which fields of a report were measured, and which follow from them."""

from collections.abc import Mapping
from dataclasses import fields
from typing import Any

from model_eval.types import Report

NOT_MEASURED = frozenset(
    {
        "schema_version", "name", "model_eval", "spec", "task", "timings",  # of the run that reports
        "verdict", "exit_code", "reason", "faults", "notes", "gates",
        "slices", "gaps", "baseline", "comparisons", "power", "lookups", "classes",
        "confusion_matrix", "calibration", "loosened", "loosening_allowed", "base_gates",
        "estimates",  # of ledgers; the costs that are stored follow from the checkpoint
        "reused",
    }
)  # fmt: skip
"""All others are facts of a measurement, those that are added later among them."""


def facts_of(report: Report) -> Mapping[str, Any]:
    """The fields of a report that were measured, by name."""
    return {
        field.name: getattr(report, field.name)
        for field in fields(report)
        if field.name not in NOT_MEASURED
    }
