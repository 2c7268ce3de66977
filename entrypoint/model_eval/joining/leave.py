"""What a part of a run leaves: a report without a verdict, and ledgers that say what they are part of."""

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

from model_eval.joining.facts import mark
from model_eval.ledger import Ledger
from model_eval.spec.digest import sha256_of
from model_eval.types import Completion, Report, ShardInfo, Verdict

_NO_EXIT = 4
"""The exit code of a shard's report, which nobody may take for a verdict."""


def part_report(known: Report, shard: ShardInfo) -> Report:
    """The report of a shard that came to its end: undecided, because nothing was judged."""
    return replace(
        known,
        verdict=Verdict.UNDECIDED,
        exit_code=_NO_EXIT,
        reason=f"this is shard {shard.index} of {shard.of}: nothing is judged before "
        "`model-eval merge` has joined all of them",
        shard=shard,
    )


def completion_of_part(ledger: Ledger | None, expected: int) -> Completion:
    """How much of a set a shard has; None is an empty part."""
    if ledger is None:
        return Completion(expected=expected, rows=0, distinct=0, finite=0)
    return ledger.completion(expected)


def marked(ledgers: Mapping[str, Ledger], report: Report, shard: ShardInfo) -> Mapping[str, Ledger]:
    """Ledgers that say what they are part of."""
    parts = {part.heldout: part for part in shard.parts}
    return {
        name: replace(rows, part=mark(report, shard, parts[name])) for name, rows in ledgers.items()
    }


def sealed(report: Report, name: str, ledger: Path) -> Report:
    """The report of a shard with the digest of the ledger's file of one of its sets."""
    if report.shard is None:
        raise ValueError("the report is of no shard")
    digest = sha256_of(ledger)
    parts = tuple(
        replace(part, sha256=digest) if part.heldout == name else part
        for part in report.shard.parts
    )
    return replace(report, shard=replace(report.shard, parts=parts))
