"""What running the model left: all that a verdict needs, and no model any more."""

from collections.abc import Mapping
from dataclasses import dataclass

from model_eval.ledger import Ledger
from model_eval.types import MAIN_HELDOUT, Estimate, Report


@dataclass(frozen=True, kw_only=True, slots=True)
class Measured:
    """Ledgers, and facts.

    Attributes:
        report: what is known of the checkpoint, the sets, the device and the run, with the costs
            that were asked for as its estimates; nothing in it is judged.
        ledgers: of each held-out set, by name.
        golden: of the golden cases; None where there are none.
    """

    report: Report
    ledgers: Mapping[str, Ledger]
    golden: Ledger | None

    @property
    def costs(self) -> tuple[Estimate, ...]:
        """What running the model costs, where it is asked for."""
        return self.report.estimates

    @property
    def expected(self) -> Mapping[str, int]:
        """How many samples each held-out set must have."""
        found = {one.name: one.completion.expected for one in self.report.more_heldout}
        if self.report.completion is not None:
            found[MAIN_HELDOUT] = self.report.completion.expected
        return found
