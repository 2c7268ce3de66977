"""The scoring side: runs the held-out set through `predict` and keeps what the ledger needs."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from time import perf_counter

import torch
from torch import Tensor

from model_eval.engine.batch_size import BatchSize
from model_eval.engine.causal import require_causal
from model_eval.engine.chunk import BATCHES, Chunk, Kept
from model_eval.engine.compiling import CompiledCodeError, Compiling
from model_eval.engine.device import wait_for
from model_eval.engine.looks import Enough, Looks
from model_eval.engine.memory import Peak, memory_for, release
from model_eval.engine.predict import Predict
from model_eval.engine.repeat import ROWS, Repeated, on_copies, require_repeatable, versions
from model_eval.engine.sample import Source
from model_eval.engine.staging import Staging
from model_eval.engine.table import Table
from model_eval.errors import EvaluationError, OutOfMemoryError
from model_eval.heldout import Batch, Labels
from model_eval.heldout.batch import cut
from model_eval.heldout.feed import Feed
from model_eval.ledger import Array, Ledger
from model_eval.tasks import Scorer

_CPU = torch.device("cpu")


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Rows:
    """What the samples left, before it is a ledger.

    Attributes:
        columns: the ledger's, and what the scorer passes on to itself.
        outputs: all of them, where the scorer keeps them.
        described: their dtype and their shape per sample.
    """

    scorer: Scorer
    columns: Mapping[str, Array]
    outputs: Tensor | None
    described: str

    def whole(self) -> Ledger:
        """The ledger, where these are all samples of the set.

        Raises:
            EvaluationError: outputs are not what the spec says they are.
            HeldOutError: nothing of the set is counted.
        """
        self.scorer.require_declared(self.columns, self.outputs)
        self.scorer.require_counted(self.columns)
        return self.scorer.ledger(self.columns, self.outputs)

    def part(self) -> "Part":
        """The ledger of some samples, and what only all parts together tell: see `Part`.

        Raises:
            EvaluationError: an output is not the probability that the spec says it is.
        """
        self.scorer.require_probabilities(self.columns)
        like = self.scorer.all_like_probabilities(self.columns, self.outputs)
        ledger = self.scorer.ledger(self.columns, self.outputs)
        return Part(ledger=ledger, like_probabilities=like, outputs=self.described)


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Part:
    """Some of a set's samples.

    Attributes:
        like_probabilities: whether every output looks like a probability and must not; whether that
            is an error only all parts tell: see `Scorer.require_logits`.
        outputs: their dtype and their shape per sample, which must be those of all parts.
    """

    ledger: Ledger
    like_probabilities: bool = False
    outputs: str = ""


def evaluate(
    predict: Predict,
    heldout: Source,
    scorer: Scorer,
    *,
    batch_size: BatchSize,
    progress: Callable[[int], None],
    device: torch.device = _CPU,
    causal: bool = False,
    expected: int = 0,
    enough: Enough | None = None,
    look_every: int = 1,
) -> Rows:
    """Runs every sample that is given through the model once, and the first few again: see `check`.

    Args:
        predict: the model's side; it is handed inputs only.
        heldout: gives blocks of inputs with their labels.
        scorer: turns outputs and targets into ledger columns.
        batch_size: how many samples a batch has; it learns from each.
        progress: called with the number of samples of each finished batch.
        device: where the model is.
        causal: whether the inputs hold the targets, so that the model must not look ahead.
        expected: how many samples there will be, where it is known: memory is taken once.
        enough: is given the rows that are new since it was asked last, and ends the run by True.
        look_every: so many samples are between two times that it is asked; batches are no larger.

    Raises:
        EvaluationError: the model or the scoring could not finish, its outputs are not
            repeatable, it looks ahead, or there were no samples.
        OutOfMemoryError: one sample alone does not fit.
    """
    table = Table(expected)
    kept = Kept(expected) if scorer.keeps_outputs else None
    chunk = Chunk(scorer, kept, waits=device.type != "cpu")
    runner = _Runner(predict, batch_size, device, progress)
    feed = Feed(heldout.blocks(batch_size.multiple))
    looks = Looks(scorer, enough, look_every)

    def following() -> Batch | None:
        # Not more, because all of them are cut at once.
        most = min(chunk.rows, (batch_size.batches or BATCHES) * batch_size.size)
        size = min(batch_size.size, looks.left)
        with memory_for(size, "inputs"):
            return feed.take(size, min(most, looks.left))

    piece = following()
    if piece is not None:
        runner.check(piece, causal=scorer.ignore_index if causal else None)
    while piece is not None:
        with torch.inference_mode():
            chunk.begin(piece.labels.target)
            runner.run(piece, chunk)
        table.add(label_columns(piece.labels, target=scorer.keeps_targets))
        due = looks.due(len(piece))
        piece = following()  # while a device still works on the one before
        if piece is None or due or not chunk.has_room(len(piece)):
            with torch.inference_mode():
                table.add(chunk.score())
        if due and looks.ended(table, kept):
            break
    if not len(table):
        raise EvaluationError("the held-out set gave no samples")
    every = table.since(0)
    outputs = None if kept is None else kept.all()
    return Rows(scorer=scorer, columns=every, outputs=outputs, described=chunk.described)


class _Runner:
    """Runs batches, and learns from them what size they should have."""

    def __init__(
        self,
        predict: Predict,
        batch_size: BatchSize,
        device: torch.device,
        progress: Callable[[int], None],
    ) -> None:
        self._predict = predict
        self._batch_size = batch_size
        self._device = device
        self._progress = progress
        self._staging = Staging(device)
        self._peak = Peak(device)
        self._known: Tensor | None = None
        self._versions: list[int] = []
        self._started = 0.0

    def check(self, piece: Batch, *, causal: int | None) -> None:
        """Runs a few samples to see how the model behaves; fewer where these do not fit in memory.

        Args:
            piece: the first samples.
            causal: the target of positions that are not counted, where it must not look ahead.
        """
        rows = min(ROWS, len(piece))
        while True:
            try:
                found = self._checked(piece, rows, causal)
            except OutOfMemoryError:
                if rows == 1:
                    raise
            else:
                if found.changes_inputs:
                    if isinstance(self._predict, Compiling):
                        # Where its code fails halfway, the model would be run on what that left.
                        self._predict.leave_as_it_is("the model changes its inputs in place")
                    self._predict = on_copies(self._predict)
                if rows == len(piece) and self._batch_size.measuring:
                    self._known = found.outputs
                return
            release(self._device)
            rows = (rows + 1) // 2
            if rows < self._batch_size.size:
                self._batch_size.lower(rows)

    def _checked(self, piece: Batch, rows: int, causal: int | None) -> Repeated:
        # On the device as in the pass: what is changed in place is what the model is given there.
        few = cut(piece, 0, rows)
        args, kwargs = self._staging.send(few.args, few.kwargs)
        few = replace(few, args=args, kwargs=kwargs)
        found = require_repeatable(self._predict, few, rows=rows)
        if causal is not None:
            require_causal(self._predict, few, ignore_index=causal, rows=rows)
        return found

    def run(self, piece: Batch, chunk: Chunk) -> None:
        """Runs all batches of a piece, which is cut by the size of now."""
        known, self._known = self._known, None
        if known is not None and known.shape[:1] == (len(piece),):
            chunk.add(known, len(piece))  # the first batch has been run, and run again
            self._progress(len(piece))
            return
        size = self._batch_size.size
        one = self._measured if self._batch_size.measuring else self._fill
        names = tuple(piece.kwargs)
        tensors = (*piece.args, *piece.kwargs.values())
        # Not of each batch, which costs: its inputs are views of these, and have their versions.
        self._versions = versions(piece.args, piece.kwargs)
        if not tensors or len(piece) <= size:
            one(chunk, piece.args, piece.kwargs, len(piece))
            self._progress(len(piece))
            return
        count = len(piece.args)
        kwargs: Mapping[str, torch.Tensor] = {}
        left = len(piece)
        for parts in zip(*(torch.split(tensor, size) for tensor in tensors), strict=True):
            if names:
                kwargs = dict(zip(names, parts[count:], strict=True))
            rows = min(size, left)
            one(chunk, parts[:count], kwargs, rows)
            self._progress(rows)
            left -= rows

    def _measured(
        self,
        chunk: Chunk,
        args: tuple[torch.Tensor, ...],
        kwargs: Mapping[str, torch.Tensor],
        rows: int,
    ) -> None:
        first = self._batch_size.batches == 1
        if first:
            self._peak.begin()
        self._fill(chunk, args, kwargs, rows)
        wait_for(self._device)
        seconds = perf_counter() - self._started
        self._batch_size.record(rows, seconds, self._peak.taken() if first else None)

    def _fill(
        self,
        chunk: Chunk,
        args: tuple[torch.Tensor, ...],
        kwargs: Mapping[str, torch.Tensor],
        rows: int,
    ) -> None:
        """Runs a batch into the chunk; where memory ends, its halves, one after the other."""
        if rows <= self._batch_size.size:
            try:
                outputs = self._outputs(args, kwargs)
            except OutOfMemoryError:
                if rows == 1:
                    raise
            else:
                chunk.add(outputs, rows)
                return
            # Only here: inside of `except`, the error's traceback would hold the batch's tensors.
            self._require_unchanged(args, kwargs, "ran out of memory")
            release(self._device)
            self._batch_size.lower((rows + 1) // 2)
        half = (rows + 1) // 2
        for part, length in ((slice(half), half), (slice(half, None), rows - half)):
            self._fill(
                chunk,
                tuple(value[part] for value in args),
                {name: value[part] for name, value in kwargs.items()},
                length,
            )

    def _outputs(
        self, args: tuple[torch.Tensor, ...], kwargs: Mapping[str, torch.Tensor]
    ) -> Tensor:
        try:
            return self._predict(*self._sent(args, kwargs))
        except CompiledCodeError:
            pass  # from now on the model is run as it is
        self._require_unchanged(args, kwargs, "its compiled code failed")
        return self._predict(*self._sent(args, kwargs))

    def _sent(
        self, args: tuple[torch.Tensor, ...], kwargs: Mapping[str, torch.Tensor]
    ) -> tuple[tuple[torch.Tensor, ...], Mapping[str, torch.Tensor]]:
        """The inputs on the device, sent anew for each try: one that failed may have changed them there."""
        sent = self._staging.send(args, kwargs)
        if self._batch_size.measuring:
            wait_for(self._device)  # copies are not timed: afterwards the work hides them
            self._started = perf_counter()
        return sent

    def _require_unchanged(
        self,
        args: tuple[torch.Tensor, ...],
        kwargs: Mapping[str, torch.Tensor],
        what: str,
    ) -> None:
        """Raises EvaluationError where a try that failed may have changed what the next one is given."""
        if versions(args, kwargs) != self._versions:
            raise EvaluationError(
                f"the model changes some of its inputs in place, and then {what}: it would be run "
                "again on what that left",
                remedy="do not change inputs in place (`x = x.clone()` first), or lower run.batch_size",
            )


def label_columns(labels: Labels, *, target: bool) -> dict[str, Array]:
    """What the ledger keeps of a batch's labels; masks and tokens would be as large as the set."""
    columns = {"id": labels.ids}
    if target:
        columns["target"] = labels.target
    if labels.cluster is not None:
        columns["cluster"] = labels.cluster
    if labels.weight is not None:
        columns["weight"] = labels.weight
    if labels.bytes is not None:
        columns["bytes"] = labels.bytes
    return columns | {f"slice:{name}": values for name, values in labels.slices.items()}
