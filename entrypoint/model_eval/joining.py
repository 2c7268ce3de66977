"""Shards → the ledgers of the whole run, or a refusal that says what does not fit together.

A shard is a folder with a report, which has no verdict, and a ledger of each set of which it has
samples. All that must be the same in every part of a run is compared: first among the reports, then
between each report and its ledgers, and then with what the run that joins them finds itself.
"""

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from pathlib import Path

import numpy as np

from model_eval import output
from model_eval.errors import EvaluationError, PartsError, ReportError
from model_eval.ledger import Array, Ledger, concatenate, open_ledger
from model_eval.own_files import digest_of_own_files
from model_eval.parts import MAX_SHARDS
from model_eval.spec.digest import sha256_of
from model_eval.types import (
    GOLDEN_HELDOUT,
    MAIN_HELDOUT,
    Completion,
    Environment,
    PartInfo,
    Report,
    ShardInfo,
    Verdict,
)
from model_eval.wording import count, printable, printable_path, quote

_NAME = re.compile("[A-Za-z0-9][A-Za-z0-9_-]*")
"""Of a set, as the schema of specs has it."""

_OF_SAMPLES = frozenset({"cluster", "weight", "bytes"})
"""Columns that come from the set, and only where the spec names them."""

_NO_EXIT = 4
"""The exit code of a shard's report, which nobody may take for a verdict."""


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
        own = {_machine(here)} if here is not None else set()
        if len(self.machines | own) < 2:
            return self.joined
        ran = "; ".join(sorted(self.machines))
        return f"{self.joined}, which ran on {ran}; joined on {''.join(own) or 'another machine'}"


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
        name: replace(rows, part=_mark(report, shard, parts[name]))
        for name, rows in ledgers.items()
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
    found = sorted((_opened(folder) for folder in folders), key=lambda one: one.shard.index)
    if not found:
        raise PartsError("there are no shards", remedy="name the folders that the shards left")
    _require_all(found)
    first = found[0]
    for other in found[1:]:
        require_same(other.report, first.report, who=other.name, than=first.name)
        if other.shard.grid != first.shard.grid:
            raise _differ(other.name, first.name, "batch size", other.shard.grid, first.shard.grid)
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
            _machine(one.report.environment) for one in found if one.report.environment is not None
        ),
        joined=f"joined from {count(len(found), noun)}",
    )


def require_same(report: Report, other: Report, *, who: str, than: str = "the shards") -> None:
    """Compares what must be the same in all parts of a run, as far as both reports know it.

    Raises:
        PartsError: something differs.
    """
    known = _facts(other)
    for what, value in _facts(report).items():
        if what in known and known[what] != value:
            raise _differ(who, than, what, value, known[what])


def require_same_code(code: str, other: Report, *, who: str, than: str = "the shards") -> None:
    """Compares the digest of the code with a shard's.

    Raises:
        PartsError: it is another, or the report is of no shard.
    """
    known = "" if other.shard is None else other.shard.code
    if code != known:
        raise _differ(who, than, "digest of the code that the spec names", code, known)


def require_labels(
    name: str,
    rows: Ledger | None,
    labels: Iterable[Mapping[str, Array]],
    *,
    expected: int,
    progress: Callable[[int], None],
) -> None:
    """Compares every row of a joined ledger with its sample: each is there once, in order.

    Args:
        name: of the set.
        rows: the joined ledger; None where there is none.
        labels: of the whole set, in order: the columns that a ledger has of each block.
        expected: how many samples it has.
        progress: is told of so many samples.

    Raises:
        PartsError: a row is not its sample's.
    """
    if rows is None or len(rows) != expected:
        has = 0 if rows is None else len(rows)
        raise PartsError(f"the shards have {has} of the {expected} samples of {quote(name)}")
    kept = {name for name in rows.columns if name in _OF_SAMPLES or name.startswith("slice:")}
    start = 0
    for block in labels:
        if more := kept - block.keys():
            raise PartsError(
                f"the shards have the column `{printable(min(more))}`, and {quote(name)} not",
                remedy="run every shard again on the set that is here now",
            )
        stop = start + len(block["id"])
        for column, values in block.items():
            if column not in rows.columns or not np.array_equal(rows[column][start:stop], values):
                raise PartsError(
                    f"the shards have other values of `{printable(column)}` than {quote(name)} has "
                    f"in its rows {start} to {stop - 1}",
                    remedy="run every shard again on the set that is here now",
                )
        progress(stop - start)
        start = stop


def require_digest(name: str, report: Report, digest: str) -> None:
    """Refuses a set that is not the shards'; of a loader they do not know the digest of all samples.

    Raises:
        PartsError: it is another.
    """
    known = _facts(report).get(_set_fact(name))
    if known not in {None, digest}:
        raise _differ("this run", "the shards", _set_fact(name), digest, str(known))


def require_samples(name: str, parts: Sequence[PartInfo], digests: Sequence[str]) -> None:
    """Refuses shards of a loader that gave them other samples than it gives now.

    Args:
        name: of the set.
        parts: what the shards had of it, in order.
        digests: of the samples of each of these ranges, as they are now; empty of a set in files.

    Raises:
        PartsError: a digest is another.
    """
    known: Sequence[str | None] = digests or [None] * len(parts)
    for part, digest in zip(parts, known, strict=True):
        if part.samples != digest:
            raise PartsError(
                f"samples {part.start} to {part.stop - 1} of {quote(name)} are not those that their "
                "shard was given",
                remedy="run every shard again on the data that is here now; a loader must give the "
                "same samples each time, in every process",
            )


@dataclass(frozen=True, kw_only=True, slots=True)
class _Opened:
    folder: Path
    report: Report
    shard: ShardInfo

    @property
    def name(self) -> str:
        return f"shard {self.shard.index} (`{printable_path(self.folder)}`)"

    def part(self, name: str) -> PartInfo:
        for part in self.shard.parts:
            if part.heldout == name:
                return part
        raise PartsError(f"{self.name} says nothing of {quote(name)}")

    def ledger(self, part: PartInfo) -> Ledger:
        """Raises ReportError or PartsError where the file is not what the report says."""
        name = part.heldout
        file = output.LEDGER if name == MAIN_HELDOUT else output.ledger_name(name)
        rows = open_ledger(self.folder / file)
        if sha256_of(self.folder / file) != part.sha256:
            raise ReportError(
                f"`{file}` of {self.name} is not the file that its report is of",
                remedy="run this shard again, and hand on what it leaves as it is",
            )
        facts = _facts(self.report)
        if rows.part != _mark(self.report, self.shard, part) or len(rows) != part.stop - part.start:
            raise PartsError(f"`{file}` is not the ledger that the report of {self.name} is of")
        if rows.checkpoint not in {None, facts["digest of the weights"]} or rows.heldout not in {
            None,
            facts.get(_set_fact(name)),
        }:
            raise PartsError(
                f"`{file}` of {self.name} is of other weights or samples than its report"
            )
        return rows


def _sets(one: _Opened) -> list[str]:
    return [part.heldout for part in one.shard.parts]


def _opened(folder: Path) -> _Opened:
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
    return _Opened(folder=folder, report=report, shard=report.shard)


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


def _require_all(found: Sequence[_Opened]) -> None:
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


def _parts(name: str, found: Sequence[_Opened]) -> tuple[tuple[_Opened, PartInfo], ...]:
    """The parts of one set that are not empty: they must follow one another without a gap."""
    parts = [(one, one.part(name)) for one in found]
    of = parts[0][1].of
    end = 0
    filled: list[tuple[_Opened, PartInfo]] = []
    for one, part in sorted(parts, key=lambda pair: (pair[1].start, pair[1].stop)):
        if part.of != of:
            raise _differ(one.name, found[0].name, f"count of {quote(name)}", part.of, of)
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
            raise _differ(
                one.name, first.name, "number of inputs", len(part.inputs), len(shapes.inputs)
            )
    return tuple(filled)


def _joined(name: str, parts: Sequence[tuple[_Opened, PartInfo]]) -> Ledger:
    """The rows of one set."""
    ledgers = [one.ledger(part) for one, part in parts]
    try:
        rows = concatenate(ledgers)
    except ValueError as error:
        raise PartsError(f"the ledgers of {quote(name)} do not fit together: {error}") from error
    return replace(rows, heldout=ledgers[0].heldout, checkpoint=ledgers[0].checkpoint)


def _set_fact(name: str) -> str:
    return f"digest of {quote(name)}"


def _facts(report: Report) -> dict[str, str]:
    """What must be the same in all parts of a run, by what people call it; only what is known."""
    facts = {"model-eval": report.model_eval}
    # What is no shard's is of the run that joins them.
    own = digest_of_own_files() if report.shard is None else report.shard.program
    facts["digest of model-eval's own files"] = own
    if report.spec is not None:
        facts["digest of the spec"] = report.spec.sha256
    if report.checkpoint is not None:
        facts["digest of the weights"] = report.checkpoint.digest
    sets = [(one.name, one.heldout) for one in report.more_heldout]
    if report.heldout is not None:
        sets.append((MAIN_HELDOUT, report.heldout))
    facts |= {_set_fact(name): heldout.sha256 for name, heldout in sets if heldout.sha256}
    if (run := report.run) is not None:
        facts["precision"] = run.precision
        facts["memory format"] = run.memory_format
        facts["seed"] = str(run.seed)
        facts["decision threshold"] = str(run.decision_threshold)
        facts["compilation"] = str(run.compiled)
    if (environment := report.environment) is not None:
        facts["torch"] = environment.torch
        facts["kind of device"] = environment.device.used.partition(":")[0]
    return facts


def _mark(report: Report, shard: ShardInfo, part: PartInfo) -> dict[str, str | int]:
    """What a ledger of a part says of itself."""
    facts = _facts(report)
    return {
        "shard": shard.index,
        "of": shard.of,
        "heldout": part.heldout,
        "start": part.start,
        "stop": part.stop,
        "samples": part.of,
        "batch_size": shard.grid,
        "spec": facts.get("digest of the spec", ""),
        "weights": facts.get("digest of the weights", ""),
        "precision": facts.get("precision", ""),
        "device": facts.get("kind of device", ""),
        "torch": facts.get("torch", ""),
        "model_eval": report.model_eval,
        "program": facts["digest of model-eval's own files"],
    }


def _machine(environment: Environment) -> str:
    """What the last digits may hang on, and every cost."""
    return printable(
        f"{environment.device.name} (Python {environment.python}, {environment.platform})", 200
    )


def _differ(who: str, than: str, what: str, value: object, other: object) -> PartsError:
    return PartsError(
        f"{who} has another {what} than {than}: {printable(str(value))} and {printable(str(other))}"
    )
