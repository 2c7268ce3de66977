"""The scoring side: outputs and targets in, ledger columns out."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from model_eval.errors import EvaluationError, HeldOutError
from model_eval.ledger import Array, Ledger
from model_eval.tasks import binary, multiclass, regression
from model_eval.tasks.shapes import require_rows
from model_eval.types import OutputKind, Task

DOUBT_LOGITS_FROM = 20
"""So many samples whose outputs are all between 0 and 1 are not taken for logits."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Scorer:
    """Knows the task; turns batches into columns, and columns into a ledger.

    Attributes:
        kind: what a classifier's outputs are; None for regression.
        threshold: of a binary decision; None otherwise.
        classes: names in the order of the outputs, where they are known.
        outputs: names of a regression's outputs; empty for classification.
    """

    task: Task
    kind: OutputKind | None
    threshold: float | None
    classes: tuple[str, ...] | None
    outputs: tuple[str, ...]

    def columns(self, outputs: Tensor, target: npt.NDArray[np.generic]) -> dict[str, Tensor]:
        """Scores one batch on the device where the outputs are, without waiting for it.

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
        multiclass.require_scores(outputs)
        self._require_classes(outputs.shape[1])
        self._require_targets(target, outputs.shape[1])
        return multiclass.columns(outputs, on_device, kind=self.kind)

    def ledger(self, columns: Mapping[str, Array]) -> Ledger:
        """Makes the ledger of all rows.

        Raises:
            EvaluationError: outputs were declared to be probabilities and are not, or to be
                logits and are probabilities.
        """
        kept = dict(columns)
        if (like := kept.pop("like_probability", None)) is not None:
            self._require_declared(like[kept["finite"]])
        return Ledger(
            task=self.task,
            columns=kept,
            classes=self._class_names(columns),
            outputs=self._output_names(columns),
        )

    def _output_names(self, columns: Mapping[str, Array]) -> tuple[str, ...]:
        """One name an output: the target columns', or `name.0`, `name.1` of one wide column."""
        if self.task is not Task.REGRESSION:
            return ()
        count = columns["prediction"].shape[1]
        if len(self.outputs) == 1 and count > 1:
            return tuple(f"{self.outputs[0]}.{index}" for index in range(count))
        return self.outputs

    def _class_names(self, columns: Mapping[str, Array]) -> tuple[str, ...]:
        if self.task is Task.REGRESSION:
            return ()
        count = 2 if self.task is Task.BINARY else columns["probability"].shape[1]
        return self.classes or tuple(str(index) for index in range(count))

    def _require_classes(self, count: int) -> None:
        if self.classes is not None and len(self.classes) != count:
            raise EvaluationError(
                f"the model has {count} outputs and the held-out set {len(self.classes)} classes",
                remedy="list heldout.classes in the order of the model's outputs, all of them",
            )

    def _require_declared(self, like: Array) -> None:
        """Holds what the outputs of the finite rows look like against what the spec says."""
        wrong = int(np.count_nonzero(~like))
        if self.kind is OutputKind.PROBABILITIES and wrong:
            raise EvaluationError(
                f"the outputs of {wrong} of {len(like)} samples are not probabilities "
                "(outside 0 to 1, or not summing to 1)",
                remedy="set `model.output: logits`, or use model.postprocess",
            )
        if self.kind is OutputKind.LOGITS and not wrong and len(like) >= DOUBT_LOGITS_FROM:
            raise EvaluationError(
                f"the outputs of all {len(like)} samples look like probabilities, "
                "and the spec says that they are logits",
                remedy="set `model.output: probabilities`, or take the last sigmoid or softmax "
                "out of the model",
            )

    @staticmethod
    def _require_targets(target: npt.NDArray[np.generic], count: int) -> None:
        low, high = int(np.min(target)), int(np.max(target))
        if low < 0 or high >= count:
            raise HeldOutError(
                f"a target is {low if low < 0 else high}, and the model has {count} classes",
                remedy=f"targets must be integers from 0 to {count - 1}",
            )
