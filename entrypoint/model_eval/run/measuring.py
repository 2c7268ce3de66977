"""Where a measurement comes from: the store, the ledgers of shards, or the model.

The model is not there before it is asked for: a wrong spec, and one that was measured before, is
answered without torch.
"""

from collections.abc import Mapping
from dataclasses import replace
from functools import cached_property, partial
from typing import TYPE_CHECKING

from model_eval.draft import Draft
from model_eval.early_stop import EarlyWatch
from model_eval.imports import uncollected
from model_eval.joining import Joined
from model_eval.ledger import Ledger
from model_eval.measured import Measured
from model_eval.run.inputs import Inputs
from model_eval.spec.eval_spec import BaselineSpec, EvalSpec
from model_eval.store.recall import recalled
from model_eval.store.reuse import Found, begin
from model_eval.types import CheckpointInfo, ReusedInfo

if TYPE_CHECKING:
    from model_eval.session import Session

_NOT_KEPT_IN_PARTS = (
    "a run in parts is measured each time; of the store it uses the ledgers of `baseline.git` alone"
)


class Measuring:
    """The measurements of one run. Made before any code of the repository is imported.

    Args:
        spec: the whole of it.
        draft: learns what is measured, or recalled, and what is to be kept of it.
        inputs: of the run.
    """

    def __init__(self, spec: EvalSpec, draft: Draft, inputs: Inputs) -> None:
        self._spec, self._draft, self._inputs = spec, draft, inputs
        store, several = inputs.store, inputs.parts.several
        if store is not None and several:
            store.say(_NOT_KEPT_IN_PARTS)
        self._reuse = begin(spec, store) if store is not None and not several else None
        self._found = self._reuse.find() if self._reuse is not None else None
        self._baseline: Found | None = None
        wanted = spec.baseline
        if self._reuse is not None and wanted is not None and wanted.checkpoint is not None:
            self._baseline = self._reuse.find_baseline(wanted)
            if self._baseline is None:
                # It is measured where the model's code has run before: that it did is in its key.
                self._found = None

    @property
    def expected(self) -> Mapping[str, int]:
        """How many samples each held-out set has.

        Raises:
            DeviceError, HeldOutError, UserCodeError: one of them cannot be used.
        """
        if self._found is not None:
            return self._found.measured.expected
        return {name: one.expected for name, one in self.session.sets.heldouts.items()}

    @cached_property
    def session(self) -> "Session":
        """The device, the sets and the models."""
        with uncollected():
            from model_eval.session import Session

        team, progress = self._inputs.parts.team, self._inputs.progress
        if team is not None:
            team.begin()
        # The environment of what was measured is not that of a baseline which is measured now.
        known = self._draft if self._found is None else replace(self._draft)
        return Session(
            self._spec,
            known,
            progress=progress if team is None else team.listening(progress),
            clock=self._inputs.clock,
            in_parts=self._inputs.parts.several,
            local=0 if team is None else team.rank.local,
        )

    def checkpoint(self, watch: EarlyWatch | None, joined: Joined | None) -> Measured:
        """The checkpoint's measurement.

        Args:
            watch: ends it early.
            joined: the ledgers of shards, in place of the model's answers.

        Raises:
            ModelEvalError: it cannot be had.
        """
        if self._found is not None:
            return recalled(self._found, self._spec, self._draft, self._inputs.clock)
        before = len(self._draft.report.notes)
        measured = self.session.measure(watch, joined)
        if self._reuse is not None:
            notes = measured.report.notes[before:]
            self._draft.keeping.append(partial(self._reuse.keep, measured, notes=notes))
        return measured

    def baseline(self, wanted: BaselineSpec) -> tuple[Mapping[str, Ledger], CheckpointInfo]:
        """The ledgers of a baseline's checkpoint.

        Raises:
            ModelEvalError: they cannot be had.
        """
        found = self._baseline
        if found is not None and (checkpoint := found.measured.report.checkpoint) is not None:
            self.learn_reused(found.key)
            return found.measured.ledgers, checkpoint
        ledgers, checkpoint = self.session.baseline(wanted)
        if (reuse := self._reuse) is not None:
            keep = partial(reuse.keep_baseline, wanted, ledgers, checkpoint, self._draft.report)
            self._draft.keeping.append(keep)
        return ledgers, checkpoint

    def learn_reused(self, key: str) -> None:
        """The baseline's ledgers are of this entry."""
        before = self._draft.report.reused or ReusedInfo(checkpoint=None, baseline=None)
        self._draft.learn(reused=replace(before, baseline=key))
