"""`.npz` and `.npy`, streamed without pickle: the header is checked before memory is taken."""

import os
import struct
import zipfile
import zlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from math import prod
from typing import IO, Any

import numpy as np
from numpy.lib import format as npy

from model_eval.errors import HeldOutError
from model_eval.heldout.batch import Array, Column
from model_eval.heldout.files import check_expansion
from model_eval.heldout.readers.base import common_rows, pieces, within
from model_eval.heldout.readers.trim import trimming
from model_eval.heldout.wording import one_line, shape_of
from model_eval.spec.eval_spec import PathRef
from model_eval.wording import quote

_BLOCK = 1 << 20
_NAME_LENGTH = 26
"""Where an entry's header has the length of its name; that of its extra field follows."""

_BROKEN = (
    OSError,
    ValueError,
    EOFError,
    zipfile.BadZipFile,
    NotImplementedError,
    RuntimeError,
    zlib.error,
)


@dataclass(frozen=True, kw_only=True, slots=True)
class _Header:
    shape: tuple[int, ...]
    fortran: bool
    dtype: np.dtype[Any]

    @property
    def row_bytes(self) -> int:
        return prod(self.shape[1:]) * self.dtype.itemsize


@dataclass(frozen=True, kw_only=True, slots=True)
class _Member:
    """One array: how to open its bytes, how many there are, and for which file to apologise.

    Attributes:
        open: for all of the bytes; a checksum that the file has is checked at the last one.
        open_part: for some of them, where the checksum could not be checked on the way.
    """

    ref: PathRef
    open: Callable[[], IO[bytes]]
    open_part: Callable[[], IO[bytes]]
    size: int


class NumpyReader:
    """Arrays of equal length, each from a stream of `.npy` bytes."""

    default_id: str | None = None

    def __init__(self, ref: PathRef, members: Mapping[str, _Member]) -> None:
        self._members = members
        self._headers = {name: _header(name, member) for name, member in members.items()}
        self.columns = tuple(members)
        self.rows = common_rows(ref, {name: h.shape for name, h in self._headers.items()})
        self.row_bytes = sum(header.row_bytes for header in self._headers.values())

    @trimming
    def chunks(
        self, columns: Sequence[str], rows: int, *, start: int = 0, stop: int | None = None
    ) -> Iterator[Mapping[str, Column]]:
        """See `Reader.chunks`."""
        start, stop = within(self.rows, start, stop)
        whole = (start, stop) == (0, self.rows)
        with ExitStack() as stack:
            streams = {}
            columns_first = {}
            for name in columns:
                member, header = self._members[name], self._headers[name]
                stream = stack.enter_context(
                    _opened(
                        name, member.open if whole or header.fortran else member.open_part, member
                    )
                )
                _skip_header(name, member, stream)
                if header.fortran:
                    # Columns first: no sample is complete before the last byte.
                    columns_first[name] = self._read(name, stream, self.rows)
                else:
                    if start:
                        _skip(name, member, stream, start * header.row_bytes)
                    streams[name] = stream
            for piece in pieces(self.rows, rows, start, stop):
                yield {
                    name: columns_first[name][piece]
                    if name in columns_first
                    else self._read(name, streams[name], piece.stop - piece.start)
                    for name in columns
                }

    def _read(self, name: str, stream: IO[bytes], count: int) -> Array:
        header = self._headers[name]
        buffer = np.empty(count * header.row_bytes, dtype=np.uint8)
        view = buffer.data
        done = 0
        while done < len(view):
            try:
                got = stream.readinto(view[done:])  # type: ignore[attr-defined]
            except _BROKEN as error:
                raise _broken(name, self._members[name], one_line(error)) from error
            if not got:
                raise _broken(name, self._members[name], "the file is truncated")
            done += got
        shape = (count, *header.shape[1:])
        flat = buffer.view(header.dtype)
        values = flat.reshape(shape, order="F") if header.fortran else flat.reshape(shape)
        return values.astype(object) if values.dtype.kind == "U" else values


def open_npz(ref: PathRef) -> NumpyReader:
    """Opens an archive of arrays, compressed or not.

    Raises:
        HeldOutError: it is broken, a bomb, has no arrays, or one that cannot be used.
    """
    try:
        with zipfile.ZipFile(ref.path) as archive:
            entries = archive.infolist()
    except _BROKEN as error:
        raise HeldOutError(
            f"{quote(ref.display)} cannot be read as .npz: {one_line(error)}",
            remedy="write it again with numpy.savez",
            location=ref.location,
        ) from error
    members: dict[str, _Member] = {}
    for entry in entries:
        name = entry.filename.removesuffix(".npy")
        if not entry.filename.endswith(".npy") or name in members:
            raise HeldOutError(
                f"{quote(ref.display)} has the entry {quote(entry.filename)} "
                + ("twice" if name in members else "which is not an array"),
                remedy="write it again with numpy.savez",
                location=ref.location,
            )
        members[name] = _Member(
            ref=ref, open=_entry(ref, entry), open_part=_Part(ref, entry), size=entry.file_size
        )
    check_expansion(
        ref,
        unpacked=sum(entry.file_size for entry in entries),
        size=ref.path.stat().st_size,
    )
    return NumpyReader(ref, members)


def open_npy(columns: Mapping[str, PathRef]) -> NumpyReader:
    """Opens one `.npy` file per column.

    Raises:
        HeldOutError: a file is broken, or they differ in length.
    """
    members = {}
    for name, ref in columns.items():
        size = ref.path.stat().st_size
        members[name] = _Member(ref=ref, open=_plain(ref), open_part=_plain(ref), size=size)
    return NumpyReader(next(iter(columns.values())), members)


def _entry(ref: PathRef, entry: zipfile.ZipInfo) -> Callable[[], IO[bytes]]:
    # Zipfile checks the entry's CRC when its last byte is read.
    return lambda: zipfile.ZipFile(ref.path).open(entry)


class _Part:
    """Opens an archive's entry for a part of its bytes, all of which were checked before.

    A part alone says nothing of the checksum, so the first call reads the entry to its end.
    """

    def __init__(self, ref: PathRef, entry: zipfile.ZipInfo) -> None:
        self._ref = ref
        self._entry = entry
        self._open = _entry(ref, entry)
        self._checked = False

    def __call__(self) -> IO[bytes]:
        if not self._checked:
            with self._open() as stream:
                while stream.read(_BLOCK):
                    pass
            self._checked = True
        return self._open() if self._entry.compress_type else self._stored()

    def _stored(self) -> IO[bytes]:
        """The file itself at the entry's first byte: in zipfile, to skip is to read."""
        file = self._ref.path.open("rb")
        file.seek(self._entry.header_offset + _NAME_LENGTH)
        name, extra = struct.unpack("<HH", file.read(4))
        file.seek(name + extra, os.SEEK_CUR)
        return file


def _plain(ref: PathRef) -> Callable[[], IO[bytes]]:
    return lambda: ref.path.open("rb")


def _opened(name: str, open_it: Callable[[], IO[bytes]], member: _Member) -> IO[bytes]:
    try:
        return open_it()
    except (*_BROKEN, struct.error) as error:
        raise _broken(name, member, one_line(error)) from error


def _skip(name: str, member: _Member, stream: IO[bytes], size: int) -> None:
    try:
        stream.seek(size, os.SEEK_CUR)
    except _BROKEN as error:
        raise _broken(name, member, one_line(error)) from error


def _header(name: str, member: _Member) -> _Header:
    with _opened("", member.open, member) as stream:
        header, offset = _skip_header(name, member, stream)
    if header.dtype.hasobject:
        raise HeldOutError(
            f"column {quote(name)} of {quote(member.ref.display)} holds Python objects, "
            "which only pickle can read",
            remedy="save it with a numeric or text dtype, e.g. `astype(str)`",
            location=member.ref.location,
        )
    if header.dtype.kind not in "biufU" or header.dtype.itemsize == 0:
        raise HeldOutError(
            f"column {quote(name)} of {quote(member.ref.display)} has the dtype "
            f"{quote(header.dtype)}, which is neither a number nor text",
            remedy="save it with a numeric or text dtype",
            location=member.ref.location,
        )
    declared = prod(header.shape) * header.dtype.itemsize
    if declared != member.size - offset:
        raise _broken(
            name,
            member,
            f"its header declares the shape {shape_of(header.shape)}, {declared:,} bytes, "
            f"and {member.size - offset:,} bytes follow",
        )
    return header


def _skip_header(name: str, member: _Member, stream: IO[bytes]) -> tuple[_Header, int]:
    """Reads the header; returns it and how many bytes it took."""
    readers = {(1, 0): npy.read_array_header_1_0, (2, 0): npy.read_array_header_2_0}
    try:
        version = npy.read_magic(stream)
        shape, fortran, dtype = readers[version](stream)
    except zipfile.BadZipFile as error:  # a small array's checksum is already wrong here
        raise _broken(name, member, one_line(error)) from error
    except Exception as error:
        # NumPy evaluates the header as a Python literal: a damaged one can raise nearly anything.
        why = f"its header is damaged ({type(error).__name__})"
        raise _broken(name, member, why) from error
    if any(size < 0 for size in shape):
        raise _broken(name, member, f"its header declares the shape {shape_of(shape)}")
    return _Header(shape=shape, fortran=fortran and len(shape) > 1, dtype=dtype), stream.tell()


def _broken(name: str, member: _Member, why: str) -> HeldOutError:
    what = f"column {quote(name)} of " if name else ""
    return HeldOutError(
        f"{what}{quote(member.ref.display)} cannot be read: {why}",
        remedy="write the file again with numpy",
        location=member.ref.location,
    )
