"""The zip archive of torch.save, looked at before torch: names, sizes and every checksum.

torch does not check the checksums: a flipped bit loads. It also unpacks compressed entries,
which torch.save never writes and which are how a small file becomes a large one.
"""

import struct
import zipfile
from collections import Counter
from pathlib import PurePosixPath

from model_eval.checkpoint.file import CheckpointFile
from model_eval.checkpoint.inspect import SAVE
from model_eval.torch_archive import unlike_torch
from model_eval.wording import count, quote

LARGEST_PICKLE = 64 << 20
"""Bytes of `data.pkl`; a thousand tensors need about 100 kB."""

_LARGEST_DIRECTORY = 64 << 20
_BLOCK = 1 << 20
_END = struct.Struct("<4s4H2LH")
_END64 = struct.Struct("<4sQ2H2L4Q")
_LOCATOR64_SIZE = 20
_ENCRYPTED = 1
_AGAIN = "download or copy the file again, or save it again"
_TORCHSCRIPT = "is a TorchScript archive, which is a program"
_EXPORT = "is an archive of torch.export (`.pt2`), which is a program"
_STATE_DICT = "name the model's class under model.factory and save only `model.state_dict()`"


def check_archive(opened: CheckpointFile, path: str) -> bytes:
    """Reads the whole archive once, for its checksums.

    Args:
        opened: the file.
        path: a name of the same open file, for torch.

    Returns:
        The pickle that says how the tensors are put together (`data.pkl`).

    Raises:
        CheckpointError: it is truncated or damaged, or is not what torch.save writes.
    """
    _check_end(opened)
    try:
        with zipfile.ZipFile(opened.file) as archive:
            entries = archive.infolist()
            pickle = _check_entries(opened, entries)
            _check_sums(opened, archive, entries)
            if (name := unlike_torch(archive, path)) is not None:
                raise opened.error(
                    f"is damaged: torch would read another {quote(name)} than was checked", _AGAIN
                )
            content = archive.read(pickle)
    except (zipfile.BadZipFile, RuntimeError, ValueError, struct.error, EOFError) as error:
        if "can't allocate memory" in str(error):
            raise opened.error(
                "has an entry that does not fit in memory beside itself",
                "use torch 2.13 or later, which does not read it to know its size, or a larger machine",
            ) from error
        raise opened.error("is damaged: its table of contents is wrong", _AGAIN) from error
    opened.file.seek(0)
    return content


def _check_end(opened: CheckpointFile) -> None:
    """The table of contents is at the end; its size is checked before it is read into memory."""
    opened.file.seek(max(0, opened.size - _END.size - _LOCATOR64_SIZE - _END64.size))
    tail = opened.file.read()
    if len(tail) < _END.size or tail[-_END.size :][:4] != b"PK\x05\x06":
        raise opened.error(
            "does not end like a zip archive: it is truncated, or something was appended", _AGAIN
        )
    directory = _END.unpack(tail[-_END.size :])[5]
    if directory == 0xFFFFFFFF:
        end64 = tail[: _END64.size]
        if len(end64) < _END64.size or end64[:4] != b"PK\x06\x06":
            raise opened.error("is damaged: its table of contents is wrong", _AGAIN)
        directory = _END64.unpack(end64)[8]
    if directory > _LARGEST_DIRECTORY:
        raise opened.error("has a table of contents of more than 64 MiB", SAVE)
    opened.file.seek(0)


def _check_entries(opened: CheckpointFile, entries: list[zipfile.ZipInfo]) -> zipfile.ZipInfo:
    names = [entry.filename for entry in entries]
    _check_kind(opened, names)
    for name in names:
        path = PurePosixPath(name)
        if path.is_absolute() or ".." in path.parts or "\\" in name:
            raise opened.error(f"has an entry that leads out of the archive: {quote(name)}", SAVE)
    name, times = Counter(names).most_common(1)[0]
    if times > 1:
        raise opened.error(f"has the entry {quote(name)} {times} times", SAVE)
    for entry in entries:
        if entry.flag_bits & _ENCRYPTED:
            raise opened.error(f"has an encrypted entry: {quote(entry.filename)}", SAVE)
        if entry.compress_type != zipfile.ZIP_STORED or entry.compress_size != entry.file_size:
            raise opened.error(
                f"has a compressed entry, which torch.save does not write: {quote(entry.filename)}",
                f"unpack nothing by hand; {SAVE}",
            )
    if sum(entry.file_size for entry in entries) > opened.size:
        raise opened.error("has entries that overlap", SAVE)
    folders = {name.partition("/")[0] for name in names}
    pickles = [entry for entry in entries if entry.filename.partition("/")[2] == "data.pkl"]
    if len(folders) != 1 or len(pickles) != 1:
        raise opened.error("is a zip archive, but not one of torch.save", SAVE)
    if pickles[0].file_size > LARGEST_PICKLE:
        raise opened.error("has a pickle of more than 64 MiB", SAVE)
    return pickles[0]


def _check_kind(opened: CheckpointFile, names: list[str]) -> None:
    inside = {name.partition("/")[2] for name in names} | set(names)
    first = {name.partition("/")[0] for name in inside}
    if "constants.pkl" in inside or "code" in first:
        raise opened.error(_TORCHSCRIPT, _STATE_DICT)
    if "archive_format" in inside or any("exported_program" in name for name in inside):
        raise opened.error(_EXPORT, _STATE_DICT)
    if names and all(name.endswith(".npy") for name in names):
        raise opened.error("is a NumPy archive (`.npz`)", "save the weights with safetensors")
    if not names:
        raise opened.error("is an empty zip archive", SAVE)


def _check_sums(
    opened: CheckpointFile, archive: zipfile.ZipFile, entries: list[zipfile.ZipInfo]
) -> None:
    broken = []
    for entry in entries:
        try:
            with archive.open(entry) as content:
                while content.read(_BLOCK):
                    pass
        except (zipfile.BadZipFile, EOFError):
            broken.append(entry.filename)
    if broken:
        others = f" (and {count(len(broken) - 1, 'other entry')})" if len(broken) > 1 else ""
        raise opened.error(
            f"is damaged: the checksum of {quote(broken[0])}{others} is wrong", _AGAIN
        )
