"""The ledgers of all parts, behind one another: each sample once, or a refusal that says what is amiss."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from pathlib import Path

from model_eval.errors import PartsError
from model_eval.joining.facts import differ, machine, require_same, require_same_code
from model_eval.joining.opened import Opened, open_part
from model_eval.ledger import Ledger, concatenate
from model_eval.types import GOLDEN_HELDOUT, Environment, PartInfo, Report
from model_eval.wording import count, printable_path, quote


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Joined:
    """The ledgers of all shards, behind one another.

    Attributes:
        report: of the first shard: what all of them have in common.
        ledgers: of each held-out set, by name, in the order of the sets.
        golden: of the golden cases; None where there are none.
        parts: of each set what its shards had of it, in order, without empty ones.
        like_probabilities: sets all of whose finite outputs look like probabilities.
        batch_size: the smallest that a shard ended with.
        machines: on which the shards ran.
        joined: how many of them there were, in words.
    """

    report: Report
    ledgers: Mapping[str, Ledger]
    golden: Ledger | None
    parts: Mapping[str, tuple[PartInfo, ...]]
    like_probabilities: frozenset[str]
    batch_size: int
    machines: frozenset[str]
    joined: str

    def note(self, here: Environment | None) -> str:
        """That there were shards, and where they ran, if not all on machines like this one.

        The last digits may differ then, and what follows the pass was measured on this one.
        """
        own = {machine(here)} if here is not None else set()
        if len(self.machines | own) < 2:
            return self.joined
        ran = "; ".join(sorted(self.machines))
        return f"{self.joined}, which ran on {ran}; joined on {''.join(own) or 'another machine'}"


def join(folders: Sequence[Path], *, noun: str = "shard") -> Joined:
    """Opens the folders that shards left.

    Args:
        folders: in any order.
        noun: what a reader calls one of them.

    Raises:
        PartsError: they are not all parts of one run.
        EvaluationError: a shard did not finish.
        ReportError: a file is missing or damaged.
    """
    found = sorted((open_part(folder) for folder in folders), key=lambda one: one.shard.index)
    if not found:
        raise PartsError("there are no shards", remedy="name the folders that the shards left")
    _require_all(found)
    first = found[0]
    for other in found[1:]:
        require_same(other.report, first.report, who=other.name, than=first.name)
        if other.shard.grid != first.shard.grid:
            raise differ(other.name, first.name, "batch size", other.shard.grid, first.shard.grid)
        require_same_code(other.shard.code, first.report, who=other.name, than=first.name)
        if _sets(other) != _sets(first):
            raise PartsError(f"{other.name} has other held-out sets than {first.name}")
    names = _sets(first)
    ledgers: dict[str, Ledger] = {}
    parts = {name: _parts(name, found) for name in names}
    for name in names:
        ledgers[name] = _joined(name, parts[name])
    golden = ledgers.pop(GOLDEN_HELDOUT, None)
    sizes = [one.report.run.batch_size for one in found if one.report.run is not None]
    return Joined(
        report=first.report,
        ledgers=ledgers,
        golden=golden,
        parts={name: tuple(part for _, part in one) for name, one in parts.items()},
        like_probabilities=frozenset(
            name for name in names if all(one.part(name).like_probabilities for one in found)
        ),
        batch_size=min(size for size in sizes if size is not None),
        machines=frozenset(
            machine(one.report.environment) for one in found if one.report.environment is not None
        ),
        joined=f"joined from {count(len(found), noun)}",
    )


def _sets(one: Opened) -> list[str]:
    return [part.heldout for part in one.shard.parts]


def _require_all(found: Sequence[Opened]) -> None:
    """Each of the shards once."""
    of = found[0].shard.of
    for one in found:
        if one.shard.of != of:
            raise PartsError(
                f"{one.name} is one of {one.shard.of}, and {found[0].name} one of {of}",
                remedy="name the folders of one run",
            )
    for one, following in pairwise(found):
        if one.shard.index == following.shard.index:
            raise PartsError(
                f"{one.name} is there again as `{printable_path(following.folder)}`",
                remedy="name each shard once",
            )
    there = {one.shard.index for one in found}
    if missing := [index for index in range(1, of + 1) if index not in there]:
        listed = ", ".join(str(index) for index in missing[:20])
        raise PartsError(
            f"{len(missing)} of {of} shards are missing: {listed}{', …' if missing[20:] else ''}",
            remedy="run them, and name the folders of all",
        )


def _parts(name: str, found: Sequence[Opened]) -> tuple[tuple[Opened, PartInfo], ...]:
    """The parts of one set that are not empty: they must follow one another without a gap."""
    parts = [(one, one.part(name)) for one in found]
    of = parts[0][1].of
    end = 0
    filled: list[tuple[Opened, PartInfo]] = []
    for one, part in sorted(parts, key=lambda pair: (pair[1].start, pair[1].stop)):
        if part.of != of:
            raise differ(one.name, found[0].name, f"count of {quote(name)}", part.of, of)
        if part.start == part.stop:
            continue
        if not 0 <= part.start < part.stop <= of:
            raise PartsError(f"{one.name} has samples of {quote(name)} that there are not")
        if part.start != end:
            what = "are in two shards" if part.start < end else "are in no shard"
            low, high = sorted((part.start, end))
            raise PartsError(f"samples {low} to {high - 1} of {quote(name)} {what}")
        filled.append((one, part))
        end = part.stop
    if end != of:
        raise PartsError(f"samples {end} to {of - 1} of {quote(name)} are in no shard")
    for one, part in filled[1:]:
        first, shapes = filled[0]
        if part.outputs != shapes.outputs:
            raise PartsError(
                f"{one.name} has the output {quote(part.outputs)} per sample of {quote(name)}, and "
                f"{first.name} {quote(shapes.outputs)}",
                remedy="an output must have the same shape and the same dtype for every batch",
            )
        for its, other in zip(part.inputs, shapes.inputs, strict=False):
            if its != other:
                raise PartsError(
                    f"{one.name} has the input {quote(its)} per sample of {quote(name)}, and "
                    f"{first.name} {quote(other)}",
                    remedy="give every sample the same shape: resize, or pad",
                )
        if len(part.inputs) != len(shapes.inputs):
            raise differ(
                one.name, first.name, "number of inputs", len(part.inputs), len(shapes.inputs)
            )
    return tuple(filled)


def _joined(name: str, parts: Sequence[tuple[Opened, PartInfo]]) -> Ledger:
    """The rows of one set."""
    ledgers = [one.ledger(part) for one, part in parts]
    try:
        rows = concatenate(ledgers)
    except ValueError as error:
        raise PartsError(f"the ledgers of {quote(name)} do not fit together: {error}") from error
    return replace(rows, heldout=ledgers[0].heldout, checkpoint=ledgers[0].checkpoint)
