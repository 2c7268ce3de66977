"""Outputs on their way from the model into the ledger: scored in few large kernels, copied once."""

import numpy as np
import torch
from torch import Tensor

from model_eval.engine.memory import memory_for
from model_eval.errors import EvaluationError
from model_eval.ledger import Array
from model_eval.tasks import Scorer, require_real, require_rows
from model_eval.wording import dtype_name

ELEMENTS_PER_CHUNK = 1 << 20
"""Outputs that are scored at once on a CPU: they are in its cache still."""

ELEMENTS_ON_ACCELERATOR = 1 << 22
"""The same elsewhere, where each kernel and each copy costs its start."""

BATCHES = 1 << 12
"""So many views of memory are made at once: a third of what indexing costs, one by one."""


class Kept:
    """All outputs of the set, on the CPU, in rows of one block of memory.

    Args:
        rows: how many there will be, where it is known.
    """

    def __init__(self, rows: int) -> None:
        self._rows = rows
        self._memory: Tensor | None = None
        self._used = 0

    def next(self, rows: int, like: Tensor) -> Tensor:
        """Memory for the next rows of outputs: (rows, ...), float32, or float64 where these are."""
        memory = self._memory
        end = self._used + rows
        if memory is None or end > len(memory):
            dtype = np.float64 if like.dtype == torch.float64 else np.float32
            shape = (max(self._rows, 2 * self._used, end), *like.shape[1:])
            # NumPy asks for huge pages, torch does not: a fifth of the time of touching them first.
            larger = torch.from_numpy(np.empty(shape, dtype=dtype))
            if memory is not None:
                larger[: self._used] = memory[: self._used]
            self._memory = memory = larger
        self._used = end
        return memory[end - rows : end]

    def all(self) -> Tensor:
        """Every row that was handed out."""
        if self._memory is None:
            raise ValueError("there were no outputs")
        return self._memory[: self._used]


class Chunk:
    """Outputs that are not scored yet, and their targets.

    Args:
        scorer: of the task.
        kept: where all outputs are kept for the ledger; None where none are.
        waits: whether it waits for several pieces, so that a device is seldom waited for.

    Attributes:
        rows: how many samples it should have at most; 0 before there was an output.
    """

    def __init__(self, scorer: Scorer, kept: Kept | None, *, waits: bool) -> None:
        self.rows = 0
        self._scorer, self._kept, self._waits = scorer, kept, waits
        self._targets: list[Array] = []
        self._expected = self._used = 0
        self._step = 0
        self._places = iter(list[Tensor]())
        self._memory: Tensor | None = None
        self._outputs: Tensor | None = None
        self._first: torch.Size | None = None
        self._dtype: torch.dtype | None = None

    @property
    def described(self) -> str:
        """The dtype and the shape per sample of the outputs; empty before there was one."""
        if self._first is None:
            return ""
        return f"{dtype_name(self._dtype)} {tuple(self._first[1:])}"

    def has_room(self, rows: int) -> bool:
        """Whether so many samples can come before it is scored."""
        return not self._expected or (self._waits and self._expected + rows <= self.rows)

    def begin(self, target: Array) -> None:
        """Makes ready for the outputs of samples with these targets, for which there must be room."""
        self._targets.append(target)
        self._expected += len(target)

    def add(self, outputs: Tensor, rows: int) -> None:
        """Takes in the outputs of the next samples.

        Raises:
            EvaluationError: they are of other rows, of another shape or dtype than those before,
                or no real floating point numbers.
            OutOfMemoryError: there is no memory to put them together.
        """
        shape = outputs.shape  # each reading of it costs
        if not shape or shape[0] != rows:
            require_rows(outputs, rows)
        if self._first is None:
            self._learn(outputs)
        elif shape != self._first and shape[1:] != self._first[1:]:
            raise EvaluationError(
                f"the model returned shape {tuple(shape)} after {tuple(self._first)}",
                remedy="an output must have the same shape for every batch",
            )
        elif outputs.dtype is not self._dtype:
            raise EvaluationError(
                f"the model returned {outputs.dtype} after {self._dtype}",
                remedy="an output must have the same dtype for every batch",
            )
        if self._used == 0 and self._is_whole(outputs, rows):
            # It is scored before the model runs again, and so before a model that writes every
            # output into the same memory does.
            self._outputs = outputs
        else:
            if self._outputs is None:
                with memory_for(self._expected):
                    self._outputs = self._room(outputs)
            self._place(self._outputs, rows).copy_(outputs)
        self._used += rows

    def score(self) -> dict[str, Array]:
        """Empties the chunk into the ledger's columns: few large kernels, one wait for the device.

        Raises:
            EvaluationError: the outputs are not those of the task.
            OutOfMemoryError: there is no memory to score them in.
        """
        if self._outputs is None or self._used != self._expected:
            raise ValueError(f"{self._used} of {self._expected} samples have outputs")
        outputs = self._outputs[: self._used]
        whole = self._targets[0] if len(self._targets) == 1 else np.concatenate(self._targets)
        with memory_for(self._used):
            scored = self._scorer.columns(outputs, whole)
            columns = {name: _own(column, outputs) for name, column in scored.items()}
        if self._kept is not None and (self._waits or not outputs.is_cpu):
            self._kept.next(len(outputs), outputs).copy_(outputs)
        self._targets, self._outputs = [], None
        self._expected = self._used = self._step = 0
        return columns

    def _place(self, memory: Tensor, rows: int) -> Tensor:
        """Where the next batch goes; the views of batches as large as the last one are there already."""
        if rows != self._step:
            self._step, self._places = rows, iter(list[Tensor]())
        place = next(self._places, None)
        if place is None:
            ahead = memory[self._used : self._used + BATCHES * rows]
            self._places = iter(torch.split(ahead, rows))
            place = next(self._places)
        return place

    def _learn(self, outputs: Tensor) -> None:
        # Before they are copied: into memory of another dtype they would go without a word.
        require_real(outputs)
        self._first, self._dtype = outputs.shape, outputs.dtype
        elements = ELEMENTS_PER_CHUNK if outputs.is_cpu else ELEMENTS_ON_ACCELERATOR
        self.rows = elements // max(1, outputs[0].numel()) if len(outputs) else 0

    def _is_whole(self, outputs: Tensor, rows: int) -> bool:
        """Whether the chunk is this batch, whose outputs need not be copied together."""
        kept_here = self._kept is not None and outputs.is_cpu and not self._waits
        return rows == self._expected and not kept_here and not self.has_room(1)

    def _room(self, like: Tensor) -> Tensor:
        """Memory for the chunk on the outputs' device, used again for each."""
        if self._kept is not None and like.is_cpu and not self._waits:
            return self._kept.next(self._expected, like)
        if self._memory is None or len(self._memory) < self._expected:
            shape = (max(self.rows, self._expected), *like.shape[1:])
            self._memory = torch.empty(shape, dtype=like.dtype, device=like.device)
        return self._memory


def _own(column: Tensor, outputs: Tensor) -> Array:
    """The column on the CPU, in memory that the next outputs are not written into."""
    if column.untyped_storage().data_ptr() == outputs.untyped_storage().data_ptr():
        column = column.clone()
    return column.cpu().numpy()
