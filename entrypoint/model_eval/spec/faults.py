"""Collects faults, so that all are reported at once."""

from dataclasses import dataclass, field

from model_eval.errors import SpecError
from model_eval.types import Fault, Location


@dataclass(slots=True)
class Faults:
    """What was found so far."""

    found: list[Fault] = field(default_factory=list)

    def add(self, location: Location | None, message: str, remedy: str) -> None:
        """Adds a fault of the spec."""
        self.found.append(
            Fault(code=SpecError.code, message=message, remedy=remedy, location=location)
        )
