"""What a report says of numbers that were not measured in its own run."""

from model_eval.types import Report

_UNCHANGED = "measured in an earlier run, nothing it depends on has changed"


def describe_reused(report: Report) -> tuple[tuple[str, str], ...]:
    """For each part that is from the store a clause, and the beginning of its entry's name."""
    found = report.reused
    if found is None:
        return ()
    parts = [
        (_UNCHANGED, found.checkpoint),
        (f"the baseline was {_UNCHANGED}", found.baseline),
    ]
    return tuple((clause, key[:12]) for clause, key in parts if key is not None)
