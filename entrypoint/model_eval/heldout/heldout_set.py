"""Gives a held-out set out in batches; what must hold of the whole set is checked here."""

from collections.abc import Callable, Iterator, Sequence

import torch

from model_eval.cores import cores
from model_eval.errors import HeldOutError
from model_eval.heldout.batch import Batch, Labels
from model_eval.heldout.digest import RangeDigests, Seal
from model_eval.heldout.inputs import Input, bind, convert
from model_eval.heldout.labels import LabelReader, UniqueIds
from model_eval.heldout.readers.base import Reader
from model_eval.heldout.readers.image_folder import ImageFolderReader
from model_eval.heldout.readers.loader import LoaderReader
from model_eval.heldout.wording import Rows, place_of, shape_of
from model_eval.spec.eval_spec import HeldOutSpec
from model_eval.spec.suggest import listed
from model_eval.types import FileInfo, HeldOutInfo, Task
from model_eval.wording import dtype_name, quote

_BLOCK_BYTES = 4 << 20
_LABEL_ROWS = 1 << 16

FILES_PER_CORE = 4
"""Files to be decoded that a block has at least."""

_LABEL_BYTES = 256 << 20


class HeldOut:
    """A held-out set whose columns were found; `check_labels` comes before anything is asked of it.

    Attributes:
        expected: how many samples there must be.
        classes: their names in the order of the model's outputs; None where nobody says.
        reader: gives the columns.
        seal: what the files were when they were opened; None for a loader.
        id_column: the column with the ids; None where a sample's id is its position.
        disjoint_from: the training files that it was compared with; None before it was.
        shapes: of each input its column, its dtype and its shape per sample, as the last pass gave
            them; empty before the first.
        notes: what people should know before they trust the result, a line each.
    """

    def __init__(self, spec: HeldOutSpec, *, task: Task, reader: Reader, seal: Seal | None) -> None:
        self.expected: int = reader.rows
        self.classes = spec.classes
        if self.classes is None and isinstance(reader, ImageFolderReader):
            self.classes = reader.classes
        self._spec = spec
        self.reader = reader
        self.seal = seal
        self.disjoint_from: tuple[FileInfo, ...] | None = None
        self.shapes: tuple[str, ...] = ()
        self.notes: tuple[str, ...] = (
            _order_of(reader.classes)
            if spec.classes is None and isinstance(reader, ImageFolderReader)
            else ()
        )
        self.id_column = spec.id if spec.id is not None else reader.default_id
        self._labels = LabelReader(
            spec, task=task, known=reader.columns, id_column=self.id_column, classes=self.classes
        )
        # Shifted targets are the inputs: that a model looks ahead is for the engine to find.
        hidden = {} if spec.shift else dict.fromkeys(spec.targets, "the target")
        if self.id_column is not None:
            hidden.setdefault(self.id_column, "the id")
        self._args = tuple(bind(source, reader.columns, hidden=hidden) for source in spec.args)
        self._kwargs = {
            name: bind(source, reader.columns, hidden=hidden)
            for name, source in spec.kwargs.items()
        }
        self._columns = _unique(
            *self._labels.columns, *(c for source in self.inputs for c in source.columns)
        )

    @property
    def scattered(self) -> bool:
        """Whether a sample costs the same wherever it is, and much: each is a file to be decoded."""
        return isinstance(self.reader, ImageFolderReader)

    def part(self, start: int, stop: int) -> "Part":
        """A source of the samples [start, stop) alone."""
        return Part(self, start, stop)

    def blocks(self, multiple: int, *, start: int = 0, stop: int | None = None) -> Iterator[Batch]:
        """Gives every sample once, in order; may be called again.

        Args:
            multiple: of which the samples of a block are a multiple, where the file allows it.
            start: the first sample, counting from 0; where no id is named, this is its id.
            stop: the one after the last; None for the end of the set.

        Raises:
            HeldOutError: a sample cannot be used, or there are not as many as there must be.
            UserCodeError: the user's dataset raised.
        """
        reader = self.reader
        if self.scattered:  # else threads that decode would wait for one another
            multiple *= -(-FILES_PER_CORE * cores() // multiple)
        # Large blocks are converted at once and cut into batches afterwards.
        rows = multiple * max(1, _BLOCK_BYTES // max(1, reader.row_bytes * multiple))
        unique = UniqueIds(place_of(self._spec, "id"))
        shapes: tuple[torch.Size, ...] = ()
        end = self.expected if stop is None else stop
        for chunk in reader.chunks(self._columns, rows, start=start, stop=stop):
            labels, named = self._labels.read(chunk, start)
            tensors = [convert(source, chunk, named) for source in self.inputs]
            self.shapes = tuple(map(_described, self.inputs, tensors))
            shapes = shapes or tuple(tensor.shape[1:] for tensor in tensors)
            for source, first, tensor in zip(self.inputs, shapes, tensors, strict=True):
                _require_same(source, first, tensor.shape[1:], named)
            if isinstance(reader, LoaderReader):
                unique.add(labels.ids)
            start += len(labels)
            args = len(self._args)
            yield Batch(
                args=tuple(tensors[:args]),
                kwargs=dict(zip(self._kwargs, tensors[args:], strict=True)),
                labels=labels,
            )
        if start != end:
            raise HeldOutError(
                f"{quote(source_of(self._spec))} gave {start} samples, {end} are expected",
                remedy="write the file again; it may have changed while it was read",
                location=self._spec.location,
            )
        unique.check()

    def labels(self, multiple: int = 1) -> Iterator[Labels]:
        """The labels of every sample once, in order, without inputs where these are in a file.

        Args:
            multiple: so many whole samples of a loader are in memory at a time.

        Raises:
            HeldOutError, UserCodeError: as in `blocks`.
        """
        if isinstance(self.reader, LoaderReader):  # an item is whole, and the pass gives its digest
            yield from (block.labels for block in self.blocks(multiple))
            return
        start = 0
        rows = max(1, min(_LABEL_ROWS, _LABEL_BYTES // max(1, self.reader.row_bytes)))
        for chunk in self.reader.chunks(self._labels.columns, rows):
            labels, _ = self._labels.read(chunk, start)
            yield labels
            start += len(labels)

    def check_labels(self, look: Callable[[Labels], None]) -> None:
        """Reads the labels alone, so that they cannot be the end of a long evaluation.

        Args:
            look: is shown them. Those of a loader come with the samples, and are not.

        Raises:
            HeldOutError: a label cannot be used, or an id occurs twice.
        """
        if isinstance(self.reader, LoaderReader):
            return
        unique = UniqueIds(place_of(self._spec, "id"))
        for labels in self.labels():
            unique.add(labels.ids)
            look(labels)
        unique.check()

    def info(self, *, whole: bool = True) -> HeldOutInfo:
        """What was used. Of a loader it is known after a complete pass only.

        Args:
            whole: whether there was one; else the digest of a loader is empty.

        Raises:
            HeldOutError: a file changed since it was opened, a loader was not read to its end,
                or its samples are not those that the spec pins.
        """
        spec = self._spec
        if self.disjoint_from is None:
            raise HeldOutError(
                f"{quote(source_of(spec))} was not compared with the training files",
                remedy="open it with open_heldout",
                location=spec.location,
            )
        if self.seal is not None:
            self.seal.check_unchanged()
            digest = self.seal.sha256
        else:
            digest = self._loader_digest() if whole else ""
        return HeldOutInfo(
            source=source_of(spec),
            format=spec.format,
            sha256=digest,
            pinned=spec.sha256 is not None and bool(digest),
            disjoint_from=self.disjoint_from,
        )

    def digest_ranges(self, ends: Sequence[int]) -> None:
        """From now on a pass leaves a digest of the samples of each range: see `range_digests`.

        Args:
            ends: where the ranges end, ascending; the first begins where the pass does.
        """
        if isinstance(self.reader, LoaderReader):
            self.reader.ranges = RangeDigests(ends)

    def range_digests(self) -> tuple[str, ...]:
        """Of a loader, for each range that the last pass gave; empty for files, which are sealed."""
        ranges = self.reader.ranges if isinstance(self.reader, LoaderReader) else None
        return () if ranges is None else ranges.found()

    @property
    def inputs(self) -> tuple[Input, ...]:
        """The model's arguments, positional ones first."""
        return (*self._args, *self._kwargs.values())

    def _loader_digest(self) -> str:
        spec, reader = self._spec, self.reader
        digest = reader.digest(self._columns) if isinstance(reader, LoaderReader) else None
        if digest is None:
            raise HeldOutError(
                f"{quote(source_of(spec))} was not read to its end, so what it gave is not known",
                remedy="run the evaluation to its end",
                location=spec.location,
            )
        require_pin(spec, digest)
        return digest


class Part:
    """Some samples of a set, as a source of their own.

    Args:
        heldout: the set.
        start: its first sample, counting from 0.
        stop: the one after its last.
    """

    def __init__(self, heldout: HeldOut, start: int, stop: int) -> None:
        self._heldout, self._start, self._stop = heldout, start, stop

    def blocks(self, multiple: int) -> Iterator[Batch]:
        """As `HeldOut.blocks`."""
        return self._heldout.blocks(multiple, start=self._start, stop=self._stop)


def require_pin(spec: HeldOutSpec, found: str) -> None:
    """Raises `HeldOutError` where the spec pins another digest than the one that was found."""
    if spec.sha256 not in {None, found}:
        raise HeldOutError(
            f"{quote(source_of(spec))} has the sha256 {found}, the spec pins {spec.sha256}",
            remedy="use the pinned data, or pin the new digest in a commit that says why",
            location=place_of(spec, "sha256"),
        )


def source_of(spec: HeldOutSpec) -> str:
    """How people name the set: its path, its files, or its loader."""
    if spec.loader is not None:
        return spec.loader.text
    if spec.path is not None:
        return spec.path.display
    return ", ".join(ref.display for ref in spec.columns_from.values())


def _order_of(folders: Sequence[str]) -> tuple[str, ...]:
    """Of folders `1`, `2`, …, `10` people expect another order than the one they sort in."""
    if not all(name.isdecimal() for name in folders) or list(folders) == sorted(folders, key=int):
        return ()
    note = (
        f"the class folders are in the order of text, as in torchvision: {listed(folders)}; "
        "state heldout.classes if the model's outputs are in another"
    )
    return (note,)


def _unique(*names: str) -> tuple[str, ...]:
    return tuple(dict.fromkeys(names))


def _described(source: Input, tensor: torch.Tensor) -> str:
    first, further = source.columns[0], len(source.columns) - 1
    name = f"{first} and {further} more" if further else first
    return f"{name} as {dtype_name(tensor.dtype)} {shape_of(tensor.shape[1:])}"


def _require_same(source: Input, first: torch.Size, shape: torch.Size, rows: Rows) -> None:
    """Chunks of one file can differ only where the file allows it: in the lengths of lists."""
    if shape != first:
        raise HeldOutError(
            f"{quote(', '.join(source.columns))} has the shape {shape_of(first)} per "
            f"sample in row 0 and {shape_of(shape)} in {rows.name(0)}",
            remedy="give every sample the same shape: resize, or pad",
            location=source.location,
        )
