"""The folder that a part of a run left: its report, which must not contradict itself, and its ledgers."""

import re
from dataclasses import dataclass
from pathlib import Path

from model_eval import output
from model_eval.errors import EvaluationError, PartsError, ReportError
from model_eval.joining.facts import facts_of, mark, set_fact
from model_eval.ledger import Ledger, open_ledger
from model_eval.parts import MAX_SHARDS
from model_eval.spec.digest import sha256_of
from model_eval.types import MAIN_HELDOUT, PartInfo, Report, ShardInfo, Verdict
from model_eval.wording import printable, printable_path, quote

_NAME = re.compile("[A-Za-z0-9][A-Za-z0-9_-]*")
"""Of a set, as the schema of specs has it."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Opened:
    """What a part of a run left.

    Attributes:
        folder: where it lies.
        report: which does not contradict itself.
        shard: which part it is.
    """

    folder: Path
    report: Report
    shard: ShardInfo

    @property
    def name(self) -> str:
        """What messages call it."""
        return f"shard {self.shard.index} (`{printable_path(self.folder)}`)"

    def part(self, name: str) -> PartInfo:
        """What it had of a set.

        Raises:
            PartsError: it does not say.
        """
        for part in self.shard.parts:
            if part.heldout == name:
                return part
        raise PartsError(f"{self.name} says nothing of {quote(name)}")

    def ledger(self, part: PartInfo) -> Ledger:
        """The rows that it had of a set.

        Raises:
            PartsError, ReportError: the file is not what the report says.
        """
        name = part.heldout
        file = output.LEDGER if name == MAIN_HELDOUT else output.ledger_name(name)
        rows = open_ledger(self.folder / file)
        if sha256_of(self.folder / file) != part.sha256:
            raise ReportError(
                f"`{file}` of {self.name} is not the file that its report is of",
                remedy="run this shard again, and hand on what it leaves as it is",
            )
        facts = facts_of(self.report)
        if rows.part != mark(self.report, self.shard, part) or len(rows) != part.stop - part.start:
            raise PartsError(f"`{file}` is not the ledger that the report of {self.name} is of")
        if rows.checkpoint not in {None, facts["digest of the weights"]} or rows.heldout not in {
            None,
            facts.get(set_fact(name)),
        }:
            raise PartsError(
                f"`{file}` of {self.name} is of other weights or samples than its report"
            )
        return rows


def open_part(folder: Path) -> Opened:
    """Opens a folder.

    Raises:
        EvaluationError: the part did not finish.
        PartsError: it is no part of a run.
        ReportError: there is no report that can be used.
    """
    shown = printable_path(folder)
    try:
        report = output.read_report(folder / output.REPORT)
    except ReportError as error:
        raise ReportError(
            f"`{shown}` has no report of a shard that can be used: {error.message}",
            remedy="run this shard again; without it nothing is judged",
        ) from error
    if report.verdict is Verdict.ERROR:
        raise EvaluationError(
            f"the shard in `{shown}` did not finish: {printable(report.reason, 300)}",
            remedy="correct what its report says, and run it again",
        )
    if report.shard is None:
        raise PartsError(
            f"`{shown}` has the report of a whole run",
            remedy="name the folders that `model-eval run --shard` left",
        )
    known = (report.spec, report.checkpoint, report.heldout, report.environment, report.run)
    if None in known or report.run is None or not report.run.batch_size:
        raise PartsError(f"the report in `{shown}` does not say what was run")
    if not _holds_together(report, report.shard, report.run.batch_size):
        raise PartsError(
            f"the report in `{shown}` contradicts itself",
            remedy="run this shard again, and hand on what it leaves as it is",
        )
    return Opened(folder=folder, report=report, shard=report.shard)


def _holds_together(report: Report, shard: ShardInfo, batch_size: int) -> bool:
    """Whether every set is there once, with as many rows as its part has."""
    completions = {one.name: one.completion for one in report.more_heldout}
    if report.completion is not None:
        completions[MAIN_HELDOUT] = report.completion
    named = sorted(part.heldout for part in shard.parts)
    return (
        1 <= shard.index <= shard.of <= MAX_SHARDS  # nobody counts to a number that is made up
        and batch_size > 0
        and shard.grid > 0
        and named == sorted(completions)
        and all(_NAME.fullmatch(name) for name in named)  # it becomes a file's
        and all(max(one.distinct, one.finite) <= one.rows for one in completions.values())
        and all(
            (completions[part.heldout].expected, completions[part.heldout].rows)
            == (part.of, part.stop - part.start)
            for part in shard.parts
        )
    )
