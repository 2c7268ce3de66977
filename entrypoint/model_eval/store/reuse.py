"""Looks a measurement up before it is made, and keeps it afterwards.

Nothing in here fails a run. What cannot be proved to be the same is measured again, and a line of the
log says why.
"""

import os
import shutil
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from model_eval.checks import CONTROL_FAILED
from model_eval.errors import ModelEvalError
from model_eval.ledger import Ledger
from model_eval.measured import Measured
from model_eval.report import error_report
from model_eval.spec.eval_spec import BaselineSpec, EvalSpec
from model_eval.store import entry
from model_eval.store.code import CodeFiles
from model_eval.store.here import device_class, preloaded, versions
from model_eval.store.key import Around, Key, baseline_key, key_of, of_baseline
from model_eval.store.named import Digests, judging_paths, measured_paths
from model_eval.store.opened import Dependency, Opened, names_in, placed
from model_eval.store.place import Store
from model_eval.store.unproved import UnprovedError
from model_eval.store.variables import EVERY, Asked, numeric_variables
from model_eval.types import GOLDEN_HELDOUT, MAIN_HELDOUT, CheckpointInfo, Report
from model_eval.wording import printable, quote

MOST_ENTRIES = 64
"""Beyond it the entries that were not used for the longest time are removed."""


_DAY = 24 * 3600 * 10**9
"""In nanoseconds."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Found:
    """An entry that may be used.

    Attributes:
        key: its name.
        measured: what it holds.
    """

    key: str
    measured: Measured


class Reuse:
    """The store as one run sees it. Made before any code of the repository is imported.

    Args:
        spec: the whole of it.
        store: where measurements are kept.
    """

    def __init__(self, spec: EvalSpec, store: Store) -> None:
        self._spec, self._store = spec, store
        self._digests = Digests()
        looked_up = {spec.source.path} | ({ref.path} if (ref := spec.held_out_ledger) else set())
        judged = frozenset(os.path.realpath(path) for path in looked_up)
        named = measured_paths(spec) | judging_paths(spec) | judged
        self._code = CodeFiles(
            spec.roots,
            # What the main key holds. The baseline's holds these, too, but for the checkpoint, which
            # may change; and no golden cases.
            leave_out=measured_paths(replace(spec, golden=None)),
            named=named,
            # A changed gate is for the ledger that is there; a model that reads the spec is noticed.
            unread=judged,
            ours=frozenset({os.path.realpath(store.entries)}),
            output=store.output,
            digests=self._digests,
        )
        self._opened = Opened(spec.roots, self._code)
        self._asked = Asked(store.environ, self._opened.is_the_models)
        self._around: Around | None = None
        self._stamps = ""
        self._keys: dict[str, Key] = {}
        self._opened.start()
        self._opened.note_modules()
        self._asked.listen()

    def find(self) -> Found | None:
        """The spec's own measurement; None where it must be made."""
        return self._find(
            "the measurement", lambda around: key_of(self._spec, around, self._digests)
        )

    def find_baseline(self, wanted: BaselineSpec) -> Found | None:
        """The ledgers of the baseline's checkpoint; None where they must be made."""
        return self._find(
            "the baseline",
            lambda around: baseline_key(self._spec, wanted, around, self._digests),
        )

    def keep(self, measured: Measured, *, notes: Sequence[str]) -> None:
        """Adds a complete measurement to the store, where it was looked for and not found.

        Args:
            measured: all of it.
            notes: those that measuring has left.
        """
        report = replace(measured.report, notes=tuple(notes))
        self._keep("the measurement", replace(measured, report=report), self._spec)

    def keep_baseline(
        self,
        wanted: BaselineSpec,
        ledgers: Mapping[str, Ledger],
        checkpoint: CheckpointInfo,
        known: Report,
    ) -> None:
        """The same of the baseline's ledgers.

        Args:
            wanted: the baseline, which was looked for.
            ledgers: by held-out set.
            checkpoint: the baseline's.
            known: of the run, whose held-out sets are the baseline's, too.
        """
        more = tuple(
            replace(one, completion=ledgers[one.name].completion(one.completion.expected))
            for one in known.more_heldout
            if one.name != GOLDEN_HELDOUT
        )
        main = None
        if known.completion is not None:
            main = ledgers[MAIN_HELDOUT].completion(known.completion.expected)
        facts = replace(
            error_report("", (), exit_code=4),
            checkpoint=checkpoint,
            heldout=known.heldout,
            completion=main,
            more_heldout=more,
        )
        self._keep(
            "the baseline",
            Measured(report=facts, ledgers=ledgers, golden=None),
            of_baseline(self._spec, wanted),
        )

    def _find(self, what: str, make_key: Callable[[Around], Key]) -> Found | None:
        with self._opened.paused():
            try:
                key = make_key(self._known_around())
            except Exception as error:  # noqa: BLE001 - a run does without
                self._store.say(f"{what} is not reused: {_why(error)}")
                return None
            self._keys[what] = key
            try:
                found = entry.read(key, self._store.entries)
                if found is None:
                    return None
                measured, heard = found
                self._require_unchanged(heard.opened)
                self._require_same_variables(heard.asked)
            except Exception as error:  # noqa: BLE001
                self._store.say(f"{what} of an earlier run is not used: {_why(error)}")
                return None
            _touch(self._store.entries / key.name)
            return Found(key=key.name, measured=measured)

    def _keep(self, what: str, measured: Measured, spec: EvalSpec) -> None:
        """Adds an entry of what `spec` names, whose key holds the digests of its files."""
        key = self._keys.get(what)
        if key is None or self._store.read_only:
            return
        with self._opened.paused():
            try:
                entry.require_complete(measured, key)
                _require_checks(measured.report)
                opened = self._opened.dependencies(but=measured_paths(spec), digests=self._digests)
                self._require_same_code()
                heard = entry.Heard(opened=opened, asked=self._asked.dependencies())
                self._write(measured, key, heard)
            except Exception as error:  # noqa: BLE001 - what was measured is judged all the same
                self._store.say(f"{what} is not kept: {_why(error)}")

    def _write(self, measured: Measured, key: Key, heard: entry.Heard) -> None:
        try:
            entry.write(measured, key, heard, self._store.entries)
            prune(self._store.entries, keep=MOST_ENTRIES)
        except OSError as error:
            raise UnprovedError(f"the store cannot be written: {_why(error)}") from error

    def _known_around(self) -> Around:
        if self._around is None:
            found, roots = dict(versions()), [str(root) for root in self._spec.roots]
            found["preloaded"] = preloaded(self._store.environ)
            device = device_class(
                self._spec.run.device, found["installed"], environ=self._store.environ
            )
            code = self._code.digest()
            self._stamps = self._code.stamps
            self._around = Around(
                code=code,
                versions=found,
                device=device,
                variables=numeric_variables(self._store.environ),
                current=placed(os.getcwd(), roots),  # noqa: PTH109
                # Of the environment the versions tell, wherever it is.
                searched=tuple(
                    placed(path, [sys.prefix, sys.base_prefix, *roots]) for path in sys.path
                ),
            )
        return self._around

    def _require_same_code(self) -> None:
        """Raises `UnprovedError` where the code is not that of the key any more."""
        before = self._stamps
        same = self._around is not None and self._code.digest() == self._around.code
        if not same or self._code.stamps != before:  # one may have been another in between
            raise UnprovedError("a file below the roots changed while the model ran")

    def _require_unchanged(self, opened: tuple[Dependency, ...]) -> None:
        """Raises `UnprovedError` where a file that the model's code opened is not what it was."""
        for one in opened:
            if one.root is not None and not 0 <= one.root < len(self._spec.roots):
                raise UnprovedError("it is of another number of roots")
            root = "" if one.root is None else str(self._spec.roots[one.root])
            path = os.path.normpath(os.path.join(root, one.path))  # noqa: PTH118
            now = self._now(path, one)
            if now != one.sha256 and not (one.made and now is None):
                what = "left" if one.made else "read"
                raise UnprovedError(f"{quote(one.path)}, which its model {what}, has changed")
            if one.at != path and self._now(one.at, one) not in {None, one.sha256}:
                raise UnprovedError(
                    f"{quote(one.at)}, which its model read in another copy of the repository, has changed"
                )

    def _require_same_variables(self, asked: Mapping[str, str | None]) -> None:
        """Raises `UnprovedError` where a variable that the model's code asked for holds something else."""
        for name, was in asked.items():
            if self._asked.before(name) != was:
                which = (
                    "a variable of the environment"
                    if name == EVERY
                    else f"the variable {quote(name)}"
                )
                raise UnprovedError(f"{which}, which its model read, has changed")

    def _now(self, path: str, one: Dependency) -> str | None:
        """What is at a path, in the way of a dependency."""
        if one.folder:
            return names_in(path, self._code)
        if not os.path.isfile(path):  # noqa: PTH113
            return None
        return self._digests.of(Path(path), display=one.path)


def begin(spec: EvalSpec, store: Store) -> Reuse | None:
    """The store as this run sees it; None, and a line of the log, where it cannot be used."""
    try:
        return Reuse(spec, store)
    except Exception as error:  # noqa: BLE001 - a run does without
        store.say(f"nothing is reused: {_why(error)}")
        return None


def _require_checks(report: Report) -> None:
    """Raises `UnprovedError` where a check failed: with more memory it may say something else."""
    if report.noise is not None and report.noise.skipped:
        raise UnprovedError(f"its noise was not measured in all ways: {report.noise.skipped[0]}")
    control = report.control
    if control is not None and (control.skipped or "").startswith(CONTROL_FAILED):
        raise UnprovedError(f"its control failed: {control.skipped}")


def _why(error: Exception) -> str:
    """As a clause; a reason that nobody has thought of with its class."""
    if isinstance(error, UnprovedError):
        return str(error)
    if isinstance(error, ModelEvalError):
        return error.message
    if isinstance(error, OSError):
        return printable(error.strerror or type(error).__name__)
    return printable(f"{type(error).__name__}: {' '.join(str(error).split())}", 200)


def prune(entries: Path, *, keep: int) -> None:
    """Removes the entries beyond so many that were not used for the longest time.

    And what killed writers left, which is older by a day than the newest entry.

    Raises:
        OSError: the store cannot be listed.
    """
    ages = {one: one.stat().st_mtime_ns for one in entries.iterdir() if one.is_dir()}
    whole = [one for one in ages if not one.name.startswith(".")]
    whole.sort(key=lambda one: ages[one], reverse=True)
    newest = max(ages.values(), default=0)
    half = [one for one in ages if one not in whole and newest - ages[one] > _DAY]
    for old in (*whole[keep:], *half):
        shutil.rmtree(old, ignore_errors=True)


def _touch(folder: Path) -> None:
    try:
        os.utime(folder)
    except OSError:  # read-only: it is used all the same
        return
