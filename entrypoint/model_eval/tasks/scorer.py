"""The scoring side: outputs and targets in, ledger columns out."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from model_eval.errors import EvaluationError, HeldOutError
from model_eval.ledger import Array, Columns, Deferred, Ledger
from model_eval.tasks import (
    binary,
    language_modeling,
    multiclass,
    multilabel,
    regression,
    segmentation,
)
from model_eval.tasks.shapes import require_rows
from model_eval.types import OutputKind, Task

_PASSING = {"like_probability", "largest"}
"""Columns that `Scorer.columns` gives for `Scorer.ledger`, which are not the ledger's."""

COUNTED_UP = frozenset({Task.SEGMENTATION, Task.LANGUAGE_MODELING})
"""Tasks whose ledgers have what pixels and tokens add up to, in place of targets."""

DOUBT_LOGITS_FROM = 20
"""So many samples whose outputs are all between 0 and 1 are not taken for logits."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Scorer:
    """Knows the task; turns batches into columns, and columns into a ledger.

    Attributes:
        kind: what a classifier's outputs are; None for regression.
        threshold: of a decision on one probability; None where the task or the spec has none.
        classes: names in the order of the outputs, where they are known.
        outputs: names of a regression's outputs; empty for every other task.
        ignore_index: the target of pixels and tokens that are not counted.
    """

    task: Task
    kind: OutputKind | None
    threshold: float | None
    classes: tuple[str, ...] | None
    outputs: tuple[str, ...]
    ignore_index: int = -100

    @property
    def keeps_targets(self) -> bool:
        """Whether the targets themselves are in the ledger, and not only what they add up to."""
        return self.task not in COUNTED_UP

    @property
    def keeps_outputs(self) -> bool:
        """Whether the ledger needs all outputs, of which columns are computed when asked for."""
        return self.task is Task.MULTICLASS

    def columns(self, outputs: Tensor, target: npt.NDArray[np.generic]) -> dict[str, Tensor]:
        """Scores one batch on the device where the outputs are, without waiting for it.

        Where the scorer `keeps_outputs` these are the columns that every ledger needs; `ledger`
        adds the others.

        Raises:
            EvaluationError: the outputs have the wrong shape or number of classes.
            HeldOutError: a target is no class of the model's.
        """
        require_rows(outputs, len(target))
        on_device = torch.from_numpy(target)
        if outputs.device.type != "mps":  # Apple's devices have no float64
            on_device = on_device.to(outputs.device, non_blocking=True)
        if self.task is Task.REGRESSION:
            return regression.columns(outputs, on_device)
        if self.kind is None:
            raise ValueError("a classifier's scorer needs the kind of its outputs")
        if self.task is Task.BINARY:
            if self.threshold is None:
                raise ValueError("a binary scorer needs a threshold")
            self._require_targets(target, 2)
            return binary.columns(outputs, on_device, kind=self.kind, threshold=self.threshold)
        if self.task is Task.MULTILABEL:
            if self.threshold is None:
                raise ValueError("a multilabel scorer needs a threshold")
            found = multilabel.columns(outputs, on_device, kind=self.kind, threshold=self.threshold)
            self._require_classes(outputs.shape[1])
            return found
        if self.task is Task.SEGMENTATION:
            classes = segmentation.class_count(outputs, target.shape[1:], threshold=self.threshold)
            self._require_classes(classes)
            self._require_targets(target, classes, but=self.ignore_index)
            return segmentation.columns(
                outputs,
                on_device,
                kind=self.kind,
                threshold=self.threshold,
                ignore_index=self.ignore_index,
            )
        if self.task is Task.LANGUAGE_MODELING:
            language_modeling.require_tokens(outputs, target.shape)
            self._require_targets(target, outputs.shape[2], but=self.ignore_index)
            return language_modeling.columns(
                outputs, on_device, kind=self.kind, ignore_index=self.ignore_index
            )
        multiclass.require_scores(outputs)
        self._require_classes(outputs.shape[1])
        self._require_targets(target, outputs.shape[1])
        return multiclass.columns(outputs, kind=self.kind)

    def ledger(self, columns: Mapping[str, Array], outputs: Tensor | None = None) -> Ledger:
        """Makes the ledger of all rows.

        Args:
            columns: what `columns` gave of every row, and the labels.
            outputs: all of them, on the CPU, float32 or float64, where the scorer `keeps_outputs`.

        Nothing need be counted in it, which `require_counted` refuses of the whole set.
        """
        kept: dict[str, Array | Deferred] = {
            name: column for name, column in columns.items() if name not in _PASSING
        }
        if outputs is not None and self.kind is not None:
            target = torch.from_numpy(columns["target"])
            largest = torch.from_numpy(columns["largest"]) if "largest" in columns else None
            kept |= multiclass.derived(outputs, target, largest, kind=self.kind)
        known = Columns(kept)
        return Ledger(
            task=self.task,
            columns=known,
            classes=self._class_names(known.described()),
            outputs=self._output_names(columns),
        )

    def require_declared(self, columns: Mapping[str, Array], outputs: Tensor | None = None) -> None:
        """Holds what the outputs of the finite rows look like against what the spec says.

        Args:
            columns: of the whole set.
            outputs: as in `ledger`.

        Raises:
            EvaluationError: outputs were declared to be probabilities and are not, or to be
                logits and are probabilities.
        """
        if self.kind is OutputKind.LOGITS:
            self.require_logits(self.all_like_probabilities(columns, outputs), columns["finite"])
        else:
            self.require_probabilities(columns)

    def require_probabilities(self, columns: Mapping[str, Array]) -> None:
        """Raises EvaluationError where outputs of these rows were declared to be probabilities and are not."""
        like = columns.get("like_probability")
        if like is None or self.kind is not OutputKind.PROBABILITIES:
            return
        like = like[columns["finite"]]
        if wrong := int(np.count_nonzero(~like)):
            raise EvaluationError(
                f"the outputs of {wrong} of {len(like)} samples are not probabilities "
                "(outside 0 to 1, or not summing to 1)",
                remedy="set `model.output: logits`, or use model.postprocess",
            )

    def all_like_probabilities(
        self, columns: Mapping[str, Array], outputs: Tensor | None = None
    ) -> bool:
        """Whether these are declared to be logits, and every finite one looks like a probability."""
        if self.kind is not OutputKind.LOGITS:
            return False
        if (like := columns.get("like_probability")) is not None:
            return bool(like[columns["finite"]].all())
        if outputs is None:
            return False
        return multiclass.all_like_probabilities(outputs, torch.from_numpy(columns["finite"]))

    def require_logits(self, like_probabilities: bool, finite: Array) -> None:
        """Refuses what was declared to be logits and looks like probabilities in every sample.

        Args:
            like_probabilities: what `all_like_probabilities` says of the whole set.
            finite: bool [n], the column of the whole set.

        Raises:
            EvaluationError: it does, and there are enough of them to tell.
        """
        count = int(np.count_nonzero(finite))
        if like_probabilities and count >= DOUBT_LOGITS_FROM:
            raise EvaluationError(
                f"the outputs of all {count} samples look like probabilities, "
                "and the spec says that they are logits",
                remedy="set `model.output: probabilities`, or take the last sigmoid or softmax "
                "out of the model",
            )

    def _output_names(self, columns: Mapping[str, Array]) -> tuple[str, ...]:
        """One name an output: the target columns', or `name.0`, `name.1` of one wide column."""
        if self.task is not Task.REGRESSION:
            return ()
        count = columns["prediction"].shape[1]
        if len(self.outputs) == 1 and count > 1:
            return tuple(f"{self.outputs[0]}.{index}" for index in range(count))
        return self.outputs

    def _class_names(self, columns: Mapping[str, Array | Deferred]) -> tuple[str, ...]:
        if self.task in {Task.REGRESSION, Task.LANGUAGE_MODELING}:
            return ()
        wide = "support" if self.task is Task.SEGMENTATION else "probability"
        count = 2 if self.task is Task.BINARY else columns[wide].shape[1]
        return self.classes or tuple(str(index) for index in range(count))

    def _require_classes(self, count: int) -> None:
        if self.classes is not None and len(self.classes) != count:
            raise EvaluationError(
                f"the model has {count} outputs and the held-out set {len(self.classes)} classes",
                remedy="list heldout.classes in the order of the model's outputs, all of them",
            )

    def require_counted(self, columns: Mapping[str, Array]) -> None:
        """Refuses a set of which nothing is counted: no metric would have a value.

        Raises:
            HeldOutError: every pixel or token of these rows is ignored.
        """
        what = {
            Task.SEGMENTATION: ("pixel", "support"),
            Task.LANGUAGE_MODELING: ("token", "tokens"),
        }
        if self.task in what and not columns[what[self.task][1]].any():
            raise HeldOutError(
                f"no {what[self.task][0]} of the held-out set is counted: every target is "
                f"{self.ignore_index}",
                remedy="correct `ignore_index`, or the targets",
            )

    @staticmethod
    def _require_targets(
        target: npt.NDArray[np.generic], count: int, *, but: int | None = None
    ) -> None:
        low, high = int(np.min(target)), int(np.max(target))
        if but is not None and (low < 0 or high >= count):
            counted = target[target != but]
            low, high = (int(np.min(counted)), int(np.max(counted))) if counted.size else (0, 0)
        if low < 0 or high >= count:
            also = "" if but is None else f", or `heldout.ignore_index`, which is {but}"
            raise HeldOutError(
                f"a target is {low if low < 0 else high}, and the model has {count} classes",
                remedy=f"targets must be integers from 0 to {count - 1}{also}",
            )
