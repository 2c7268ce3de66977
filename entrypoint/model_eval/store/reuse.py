"""Looks a measurement up before it is made, and keeps it afterwards.

Nothing in here fails a run. What cannot be proved to be the same is measured again, and a line of the
log says why.
"""

import os
import shutil
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from model_eval.errors import ModelEvalError
from model_eval.ledger import Ledger
from model_eval.measured import Measured
from model_eval.report import error_report
from model_eval.spec.eval_spec import BaselineSpec, EvalSpec
from model_eval.store import entry
from model_eval.store.code import CodeFiles
from model_eval.store.here import device_class, versions
from model_eval.store.key import Around, Key, baseline_key, key_of
from model_eval.store.named import Digests, judging_paths, measured_paths
from model_eval.store.opened import Dependency, Opened, names_in
from model_eval.store.place import Store
from model_eval.store.unproved import UnprovedError
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
        ours = {os.path.realpath(store.entries)}
        self._measured = measured_paths(spec) | ours
        self._judging = judging_paths(spec)
        self._code = CodeFiles(
            spec.roots,
            # A changed gate is for the ledger that is there; a model that reads the spec is noticed.
            leave_out=self._measured | self._judging | {os.path.realpath(spec.source.path)},
            output=store.output,
            digests=self._digests,
        )
        self._opened = Opened(spec.roots, self._code)
        self._around: Around | None = None
        self._keys: dict[str, Key] = {}
        self._opened.start()

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
        self._keep("the measurement", replace(measured, report=report), self._measured)

    def keep_baseline(
        self, ledgers: Mapping[str, Ledger], checkpoint: CheckpointInfo, known: Report
    ) -> None:
        """The same of the baseline's ledgers.

        Args:
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
        # This process has looked at the run's own files before.
        self._keep(
            "the baseline",
            Measured(report=facts, ledgers=ledgers, golden=None),
            self._measured | self._judging,
        )

    def _find(self, what: str, make_key: Callable[[Around], Key]) -> Found | None:
        with self._opened.paused():
            try:
                key = make_key(self._known_around())
            except UnprovedError as error:
                self._store.say(f"{what} is not reused: {error}")
                return None
            self._keys[what] = key
            try:
                found = entry.read(key, self._store.entries)
                if found is None:
                    return None
                measured, opened = found
                self._require_unchanged(opened)
            except UnprovedError as error:
                self._store.say(f"{what} of an earlier run is not used: {error}")
                return None
            _touch(self._store.entries / key.name)
            return Found(key=key.name, measured=measured)

    def _keep(self, what: str, measured: Measured, but: frozenset[str]) -> None:
        key = self._keys.get(what)
        if key is None or self._store.read_only:
            return
        with self._opened.paused():
            try:
                entry.require_complete(measured, key)
                opened = self._opened.dependencies(but=but, digests=self._digests)
                self._require_same_code()
                entry.write(measured, key, opened, self._store.entries)
                prune(self._store.entries, keep=MOST_ENTRIES)
            except UnprovedError as error:
                self._store.say(f"{what} is not kept: {error}")
            except OSError as error:
                why = printable(error.strerror or type(error).__name__)
                self._store.say(f"{what} is not kept: the store cannot be written: {why}")
            except ModelEvalError as error:
                self._store.say(f"{what} is not kept: {error.message}")

    def _known_around(self) -> Around:
        if self._around is None:
            found = versions()
            device = device_class(
                self._spec.run.device, found["installed"], environ=self._store.environ
            )
            self._around = Around(code=self._code.digest(), versions=found, device=device)
        return self._around

    def _require_same_code(self) -> None:
        """Raises `UnprovedError` where the code is not that of the key any more."""
        if self._around is None or self._code.digest() != self._around.code:
            raise UnprovedError("a file that may be code changed while the model ran")

    def _require_unchanged(self, opened: tuple[Dependency, ...]) -> None:
        """Raises `UnprovedError` where a file that the model's code opened is not what it was."""
        for one in opened:
            if one.root is not None and not 0 <= one.root < len(self._spec.roots):
                raise UnprovedError("it is of another number of roots")
            root = "" if one.root is None else str(self._spec.roots[one.root])
            path = os.path.normpath(os.path.join(root, one.path))  # noqa: PTH118
            if one.folder:
                now = names_in(path, self._code)
            elif not os.path.isfile(path):  # noqa: PTH113
                now = None
            else:
                now = self._digests.of(Path(path), display=one.path)
            if now != one.sha256:
                raise UnprovedError(f"{quote(one.path)}, which its model read, has changed")


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
