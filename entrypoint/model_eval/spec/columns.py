"""The column names of a held-out file, where its header tells them cheaply.

This is for `did you mean`. Whatever cannot be read here gives None, and the held-out package says
why when it reads the file. Headers are of a pull request's making: each read is bounded.
"""

import io
import json
import struct
from pathlib import Path
from typing import BinaryIO

from model_eval.spec.files import open_regular

MAX_HEADER = 4 * 1024 * 1024
MAX_COLUMNS = 100_000
MAX_NAME = 1000

_PARQUET_MAGIC = b"PAR1"
_NOT_CSV = (b"version https://git-lfs", b"<")
_OTHER_DELIMITERS = (";", "\t", "|")


def column_names(path: Path, file_format: str) -> tuple[str, ...] | None:
    """The file's columns in its order, or None where they are not known."""
    readers = {
        "csv": _csv,
        "npz": _npz,
        "parquet": _parquet,
        "safetensors": _safetensors,
    }
    if file_format == "image_folder":
        return ("image", "label", "id")
    if file_format not in readers:
        return None
    try:
        with open_regular(path) as file:
            names = readers[file_format](file)
    except Exception:  # noqa: BLE001  # a broken file is the held-out package's to report
        return None
    if names is None or not 0 < len(names) <= MAX_COLUMNS:
        return None
    return names if all(len(name) <= MAX_NAME for name in names) else None


def _csv(file: BinaryIO) -> tuple[str, ...] | None:
    import csv

    line = file.readline(MAX_HEADER)
    # A Git LFS pointer or a page has no columns, and the reader says what it is.
    if len(line) == MAX_HEADER or line.lstrip().startswith(_NOT_CSV):
        return None
    # Strict: a name with a line break in it is an error here, and left to the real reader.
    rows = list(csv.reader([line.decode("utf-8-sig").rstrip("\r\n")], strict=True))
    if not rows or (len(rows[0]) == 1 and any(c in rows[0][0] for c in _OTHER_DELIMITERS)):
        return None
    return tuple(rows[0])


def _npz(file: BinaryIO) -> tuple[str, ...] | None:
    import zipfile

    with zipfile.ZipFile(_Bounded(file)) as archive:
        return tuple(name.removesuffix(".npy") for name in archive.namelist())


def _safetensors(file: BinaryIO) -> tuple[str, ...] | None:
    (length,) = struct.unpack("<Q", file.read(8))
    if length > MAX_HEADER:
        return None
    header = json.loads(file.read(length))
    if not isinstance(header, dict):
        return None
    return tuple(name for name in header if name != "__metadata__")


def _parquet(file: BinaryIO) -> tuple[str, ...] | None:
    file.seek(-8, io.SEEK_END)
    length, magic = struct.unpack("<I4s", file.read(8))
    if magic != _PARQUET_MAGIC or length > MAX_HEADER:
        return None  # before importing pyarrow, the most expensive import of a validation
    import pyarrow.parquet as pq

    file.seek(0)
    return tuple(pq.read_schema(file).names)


class _Bounded:
    """A file that refuses to be read at length: a zip's directory says how long it is itself."""

    def __init__(self, file: BinaryIO) -> None:
        self._file = file

    def read(self, size: int = -1) -> bytes:
        if size > MAX_HEADER:
            raise ValueError("the directory is too long")
        data = self._file.read(size if size >= 0 else MAX_HEADER + 1)
        if len(data) > MAX_HEADER:
            raise ValueError("the directory is too long")
        return data

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        return self._file.seek(offset, whence)

    def tell(self) -> int:
        return self._file.tell()

    def seekable(self) -> bool:
        return True
