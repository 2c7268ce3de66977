"""What a run leaves, and how it is saved."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from model_eval import ledger, output
from model_eval.joining import sealed
from model_eval.ledger import Ledger
from model_eval.types import MAIN_HELDOUT, Report


@dataclass(frozen=True, kw_only=True, slots=True)
class Evaluation:
    """What a run leaves: always a report; the ledgers, by held-out set, where all samples were measured.

    Attributes:
        keeping: what is left to be done for later runs; see `keep`.
    """

    report: Report
    ledgers: Mapping[str, Ledger]
    keeping: tuple[Callable[[], None], ...] = ()


def save(evaluation: Evaluation, folder: Path) -> None:
    """Writes the ledger, the summary and, last, the report, each whole or not at all.

    Raises:
        OutputError: the folder cannot be written, is full, or has somebody else's file of such a name.
    """
    report = evaluation.report
    for name, rows in evaluation.ledgers.items():
        file = output.LEDGER if name == MAIN_HELDOUT else output.ledger_name(name)
        if name != MAIN_HELDOUT:
            output.require_free(folder / file)
        with output.whole(folder / file) as part:
            ledger.save(rows, part)
            if report.shard is not None:
                report = sealed(report, name, part)
    output.save_report(report, folder)
