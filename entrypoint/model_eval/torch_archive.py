"""Whether torch reads the entries of an archive that `zipfile` checks.

Each finds the table of contents in its own way, and a file can be made in which they find two.
"""

import struct
import zipfile
from typing import Any

import torch

_HEADER = struct.Struct("<4s5H3L2H")


def unlike_torch(archive: zipfile.ZipFile, path: str) -> str | None:
    """The first entry that torch would find elsewhere, or not at all; None where there is none.

    Args:
        archive: opened for reading, with stored entries below one folder.
        path: the same file.

    Raises:
        RuntimeError: torch cannot read it, or (before 2.13) has no memory for an entry.
        OSError, struct.error: the file is damaged.
    """
    theirs: Any = torch._C.PyTorchFileReader(path)  # noqa: SLF001 - what torch.load itself uses
    names = {entry.filename.partition("/")[2]: entry for entry in archive.infolist()}
    for extra in sorted(set(theirs.get_all_records()) - names.keys()):
        return str(extra)
    folded: set[str] = set()
    for name, entry in names.items():
        # torch finds names whatever their case is.
        if name.casefold() in folded or theirs.get_record_offset(name) != _data(archive, entry):
            return name
        if _size(theirs, name) != entry.file_size:
            return name
        folded.add(name.casefold())
    return None


def _size(theirs: Any, name: str) -> int:
    """How many bytes torch finds in an entry; before 2.13 it tells no other way than by reading them."""
    told = getattr(theirs, "get_record_size", None)
    return int(told(name)) if told is not None else len(theirs.get_record(name))


def _data(archive: zipfile.ZipFile, entry: zipfile.ZipInfo) -> int:
    """Where the bytes of an entry begin."""
    file = archive.fp
    if file is None:
        raise ValueError("the archive is closed")
    file.seek(entry.header_offset)
    *_, name, extra = _HEADER.unpack(file.read(_HEADER.size))
    return entry.header_offset + _HEADER.size + int(name) + int(extra)
