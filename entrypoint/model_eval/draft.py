"""What a run knows so far: the report of one that does not reach its end says as much."""

from dataclasses import dataclass, replace
from typing import Any

from model_eval.types import Report


@dataclass(slots=True)
class Draft:
    """A report that fills up.

    Attributes:
        started: when the run began, in the seconds of its clock.
        ready: when the model was loaded; None before that.
        evaluated: when every sample had been through it.
        done: samples that went through the checkpoint's model.
        expected: of so many, of all sets together.
    """

    report: Report
    started: float
    ready: float | None = None
    evaluated: float | None = None
    done: int = 0
    expected: int = 0

    def learn(self, **known: Any) -> None:
        """Takes in fields of `Report`."""
        self.report = replace(self.report, **known)

    def note(self, *notes: str) -> None:
        """Takes in what a reader should know."""
        self.learn(notes=(*self.report.notes, *notes))

    def count(self, rows: int) -> None:
        """Takes in that so many samples are done."""
        self.done += rows
