"""The held-out guarantee: the set shares no sample with the training files that the spec names.

Two samples are the same when they have the same id (where the spec names an id and the training
file has that column; compared as text) or the same inputs: equal values of the input columns
after the conversion that the spec states for them, so that formats do not matter. Where the spec
states no dtype, values that are no integers are compared in float32. Images are the same when
their files are, byte by byte. Targets are not compared: a sample with another label leaks, too.

A held-out loader is read once more for this, and compared by its columns like a file. Only
digests of the held-out samples are kept in memory; training files are streamed.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from hashlib import blake2b

import numpy as np
import torch

from model_eval.errors import HeldOutError, LeakError
from model_eval.heldout import readers
from model_eval.heldout.batch import Array, Column
from model_eval.heldout.digest import Seal, seal_file, seal_files
from model_eval.heldout.files import check_kind, require_file
from model_eval.heldout.heldout_set import HeldOut
from model_eval.heldout.inputs import Input, convert
from model_eval.heldout.labels import read_ids
from model_eval.heldout.readers.base import Reader
from model_eval.heldout.readers.image_folder import ImageFolderReader, list_images
from model_eval.heldout.readers.numpy_files import open_npy
from model_eval.heldout.wording import Rows, place_of
from model_eval.numerics import numpys_own
from model_eval.spec.eval_spec import HeldOutSpec, PathRef
from model_eval.spec.suggest import listed
from model_eval.types import FileInfo, Location
from model_eval.wording import quote

_CHUNK_BYTES = 4 << 20
_SHOWN = 3
_IN_NUMPY = {torch.float16, torch.float32, torch.float64}


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Samples:
    """What is compared of a set.

    Attributes:
        inputs: the model's inputs, with the columns they were bound to.
        id_column: None where ids are not to be compared.
        contents: of an image folder, path inside it → sha256; else empty.
        location: for errors about ids.
    """

    reader: Reader
    inputs: tuple[Input, ...]
    id_column: str | None
    contents: Mapping[str, str]
    location: Location

    @property
    def input_columns(self) -> tuple[str, ...]:
        """Every column that an input uses."""
        return tuple(dict.fromkeys(c for source in self.inputs for c in source.columns))


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class _Keys:
    """By what n samples are known again; a list is empty where it is not compared."""

    names: Sequence[str]
    inputs: Sequence[bytes]
    ids: Sequence[str]


@dataclass(frozen=True, kw_only=True, slots=True)
class Compared:
    """The training files, in their order, and what of them could not be compared."""

    files: tuple[FileInfo, ...]
    notes: tuple[str, ...]


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class _Training:
    """A training file, opened.

    Attributes:
        incomparable: why its inputs cannot be compared; None where they can.
    """

    seal: Seal
    samples: Samples
    incomparable: str | None


def check_disjoint(spec: HeldOutSpec, heldout: HeldOut) -> Compared:
    """Refuses a set that shares samples with a file that the spec names in `disjoint_from`.

    Args:
        spec: names the training files, of any format but a loader, and image folders.
        heldout: the set.

    Returns:
        The training files with their digests, and a note for each whose ids alone were compared.

    Raises:
        LeakError: the set shares ids or inputs with one of them.
        HeldOutError: a training file cannot be read, or has nothing to compare.
    """
    if not spec.disjoint_from:
        return Compared(files=(), notes=())
    samples = _heldout_samples(spec, heldout)
    by_inputs: dict[bytes, list[str]] = {}
    by_id: dict[str, str] = {}
    for keys in _keys(samples, inputs=True):
        for key, name in zip(keys.inputs, keys.names, strict=True):
            by_inputs.setdefault(key, []).append(name)
        if keys.ids:
            by_id.update(zip(keys.ids, keys.names, strict=True))
    infos, notes = [], []
    for ref in spec.disjoint_from:
        training = _open(ref, samples)
        found_ids: set[str] = set()
        found_inputs: set[bytes] = set()
        for keys in _in(ref, _keys(training.samples, inputs=training.incomparable is None)):
            found_ids.update(by_id.keys() & keys.ids)
            found_inputs.update(by_inputs.keys() & keys.inputs)
        training.seal.check_unchanged()
        shared_ids = [name for key, name in by_id.items() if key in found_ids]
        shared_inputs = [
            name for key, names in by_inputs.items() if key in found_inputs for name in names
        ]
        if shared_ids or shared_inputs:
            raise _leak(ref, heldout.expected, shared_ids, shared_inputs)
        if training.incomparable is not None:
            notes.append(
                f"of {quote(ref.display)} the ids alone were compared with the held-out set: "
                f"{training.incomparable}"
            )
        seal = training.seal
        infos.append(FileInfo(path=ref.display, sha256=seal.sha256, size=seal.size))
    return Compared(files=tuple(infos), notes=tuple(notes))


def _heldout_samples(spec: HeldOutSpec, heldout: HeldOut) -> Samples:
    folder = heldout.seal is not None and isinstance(heldout.reader, ImageFolderReader)
    # A folder's default id is a path inside it: equal names mean nothing by themselves.
    stated = not folder or "id" in spec.locations
    return Samples(
        reader=heldout.reader,
        inputs=heldout.inputs,
        id_column=heldout.id_column if stated else None,
        contents=heldout.seal.contents if folder and heldout.seal else {},
        location=place_of(spec, "id"),
    )


def _leak(ref: PathRef, total: int, ids: Sequence[str], inputs: Sequence[str]) -> LeakError:
    ways = [
        f"{len(names)} by {how} ({', '.join(names[:_SHOWN])}{', …' if len(names) > _SHOWN else ''})"
        for how, names in (("id", ids), ("identical inputs", inputs))
        if names
    ]
    count = len({*ids, *inputs})
    return LeakError(
        f"{count} of {total} held-out samples are also in {quote(ref.display)}: {', '.join(ways)}",
        location=ref.location,
    )


def _open(ref: PathRef, heldout: Samples) -> _Training:
    file_format = readers.format_of(ref)
    columns = heldout.input_columns
    reader: Reader
    contents: Mapping[str, str] = {}
    if file_format == "image_folder":
        images = list_images(ref)
        seal = seal_files(images)
        contents = seal.contents
        reader = ImageFolderReader(ref, images, None)
    else:
        require_file(ref)
        check_kind(ref, file_format)
        seal = seal_file(ref)
    if file_format == "npy" and len(columns) == 1:
        reader = open_npy({columns[0]: ref})  # a single array can only be the input
    elif file_format != "image_folder":
        reader = readers.open_file(ref, file_format)
    known = set(reader.columns)
    missing = [name for name in columns if name not in known]
    lacking = None
    if missing:
        lacking = f"it lacks the input {listed(missing)}"
    elif bool(contents) != bool(heldout.contents):
        lacking = "files of images and columns of numbers cannot be compared"
    id_column = heldout.id_column if heldout.id_column in known else None
    if lacking is not None and id_column is None:
        named = heldout.id_column
        raise HeldOutError(
            f"{quote(ref.display)} has nothing to compare with the held-out set: {lacking}"
            + (f" and the id {quote(named)}" if named is not None and missing else ""),
            remedy="name a training file with the same input columns or ids, or remove it from "
            "`disjoint_from`",
            location=ref.location,
        )
    samples = Samples(
        reader=reader,
        inputs=heldout.inputs,
        id_column=id_column,
        contents=contents,
        location=ref.location,
    )
    return _Training(seal=seal, samples=samples, incomparable=lacking)


def _in(ref: PathRef, keys: Iterator[_Keys]) -> Iterator[_Keys]:
    """Says of an error in a training file's samples which file it is."""
    try:
        yield from keys
    except HeldOutError as error:
        raise HeldOutError(
            f"the training file {quote(ref.display)} cannot be compared: {error.message}",
            remedy=error.remedy,
            location=ref.location,
        ) from error


def _keys(samples: Samples, *, inputs: bool) -> Iterator[_Keys]:
    reader = samples.reader
    files = bool(samples.contents)
    columns = [] if samples.id_column is None else [samples.id_column]
    if files:
        columns.append("id")
    elif inputs:
        columns.extend(samples.input_columns)
    start = 0
    rows = max(1, _CHUNK_BYTES // max(1, reader.row_bytes)) if not files else 1 << 16
    for chunk in reader.chunks(tuple(dict.fromkeys(columns)), rows):
        n = len(next(iter(chunk.values())))
        ids: list[str] = []
        if samples.id_column is not None:
            column = samples.id_column
            ids = [str(value) for value in read_ids(chunk[column], column, samples.location)]
        digests: list[bytes] = []
        if inputs and files:
            digests = [bytes.fromhex(samples.contents[str(name)]) for name in chunk["id"]]
        elif inputs:
            digests = _digests(samples.inputs, chunk, Rows(start=start))
        if ids:
            names = [quote(value) for value in ids]
        elif files:
            names = [quote(name) for name in chunk["id"]]
        else:
            names = [f"row {start + index}" for index in range(n)]
        yield _Keys(names=names, inputs=digests, ids=ids)
        start += n


@numpys_own
def _digests(inputs: Sequence[Input], chunk: Mapping[str, Column], rows: Rows) -> list[bytes]:
    """One digest for each sample, over all inputs; equal for equal values."""
    parts = []
    for source in inputs:
        values = _canonical(source, convert(source, chunk, rows))
        flat = values.reshape(len(values), -1)
        parts.append(np.ascontiguousarray(flat).view(np.uint8))
    table = parts[0] if len(parts) == 1 else np.concatenate(parts, axis=1)
    return [blake2b(row, digest_size=16).digest() for row in np.ascontiguousarray(table)]


def _canonical(source: Input, tensor: torch.Tensor) -> Array:
    """The values, so that equal ones have equal bytes whatever file they are from."""
    if tensor.is_floating_point() and tensor.dtype not in _IN_NUMPY:
        tensor = tensor.float()  # exact; NumPy has neither bfloat16 nor float8
    values: Array = tensor.numpy()
    if source.dtype is None:
        # A file's own dtype may be float32 in Parquet, and float64 or int64 in CSV.
        values = values.astype(np.float64)
        values = np.where(values == np.rint(values), values, values.astype(np.float32))
    if values.dtype.kind == "f":
        values = values + values.dtype.type(0)  # -0.0 becomes 0.0
    return values
