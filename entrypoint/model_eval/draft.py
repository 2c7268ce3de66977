"""What a run knows so far: the report of one that does not reach its end says as much."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from model_eval.ledger import Ledger
from model_eval.stop import Stop
from model_eval.types import Report


@dataclass(slots=True)
class Draft:
    """A report that fills up.

    Attributes:
        started: when the run began, in the seconds of its clock.
        ready: when the model was loaded; None before that.
        evaluated: when every sample had been through it.
        done: samples that went through a model: the checkpoint's, and then a baseline's.
        expected: of so many, of all sets and golden cases together; a baseline's once it begins.
        stop: whether the run was asked to stop.
        ledgers: of all samples, once every check of the model was made; what is wrong with the spec after
            that does not undo them.
        keeping: what is left to be done for later runs; neither does it undo that.
    """

    report: Report
    started: float
    ready: float | None = None
    evaluated: float | None = None
    done: int = 0
    expected: int = 0
    stop: Stop = field(default_factory=Stop)
    ledgers: Mapping[str, Ledger] = field(default_factory=dict)
    keeping: list[Callable[[], None]] = field(default_factory=list)

    def learn(self, **known: Any) -> None:
        """Takes in fields of `Report`."""
        self.report = replace(self.report, **known)

    def note(self, *notes: str) -> None:
        """Takes in what a reader should know."""
        self.learn(notes=(*self.report.notes, *notes))

    def count(self, rows: int) -> None:
        """Takes in that so many samples are done.

        Raises:
            Interrupted: the run was asked to stop, and code of the user's caught that: what these
                samples left is not what the model answers.
        """
        self.stop.require_none()
        self.done += rows
