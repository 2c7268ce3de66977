"""What a file is, by its first bytes: decided before any parser is handed the rest.

The content decides, not the name; a name that says otherwise is an error, so that nobody has
to guess which of the two was meant.
"""

import pickletools
import struct
from enum import StrEnum

from model_eval.checkpoint.file import CheckpointFile
from model_eval.errors import CheckpointError

TORCH_MAGIC = 0x1950A86A20F9469CFC6C
"""The number that a file of torch.save without zip begins with (torch/serialization.py)."""

LARGEST_HEADER = 100_000_000
"""Bytes; the safetensors format's own limit on its header."""

SAVE = "save it again: `torch.save(model.state_dict(), path)`"
_DOWNLOAD = "download or copy the file again; this is not the whole of it"
_HEAD = 4096
_LFS = b"version https://git-lfs.github.com/spec/"
_ZIP = b"PK\x03\x04"
_FOREIGN: tuple[tuple[bytes, str, str], ...] = (
    (b"\x1f\x8b", "is compressed with gzip", "unpack it: `gunzip`"),
    (b"BZh", "is compressed with bzip2", "unpack it: `bunzip2`"),
    (b"\xfd7zXZ", "is compressed with xz", "unpack it: `unxz`"),
    (b"\x28\xb5\x2f\xfd", "is compressed with zstd", "unpack it: `unzstd`"),
    (b"PK\x05\x06", "is an empty zip archive", SAVE),
    (b"\x93NUMPY", "is a NumPy array", "name the checkpoint; this looks like data"),
    (b"\x89HDF", "is an HDF5 file, as Keras writes it", "convert the weights to safetensors"),
    (b"PAR1", "is a Parquet file", "name the checkpoint; this looks like data"),
    (b"GGUF", "is a GGUF file", "convert the weights to safetensors"),
    (b"\x08", "is a protocol buffer, such as an ONNX model", "save the state dict of the model"),
)


class Format(StrEnum):
    """The formats that are read; the values are those of `CheckpointInfo.format`."""

    TORCH_ZIP = "torch-zip"
    TORCH_LEGACY = "torch-legacy"
    SAFETENSORS = "safetensors"
    SAFETENSORS_SHARDED = "safetensors-sharded"


def identify(opened: CheckpointFile) -> Format:
    """Says which format the file has.

    Raises:
        CheckpointError: it is something else, named where it is known; or its name says
            another format than its content.
    """
    head = opened.head(_HEAD)
    name = opened.ref.path.name.lower()
    if head.startswith(_LFS):
        raise opened.error(
            "is a Git LFS pointer, not the file itself",
            "run `git lfs pull`, or set `lfs: true` on actions/checkout",
        )
    if head.lstrip().lower().startswith((b"<!doctype html", b"<html")):
        raise opened.error(
            "is a web page", "download the file itself; a page or a log-in was saved instead"
        )
    if name.endswith(".json"):
        if not head.lstrip().startswith(b"{"):
            raise opened.error(
                "is not an index of shards", "name `model.safetensors.index.json`, or the weights"
            )
        return Format.SAFETENSORS_SHARDED
    if _looks_like_safetensors(head):
        if not name.endswith(".safetensors"):
            raise opened.error(
                f"is a safetensors file, though its name ends in `{opened.ref.path.suffix}`",
                "rename it to `.safetensors`",
            )
        return Format.SAFETENSORS
    found = _torch_format(head)
    if found is None:
        raise _unknown(opened, head, name)
    if name.endswith(".safetensors"):
        raise opened.error(
            "is a file of torch.save, though its name ends in `.safetensors`",
            "rename it to `.pt`, or convert it",
        )
    return found


def _torch_format(head: bytes) -> Format | None:
    if head.startswith(_ZIP):
        return Format.TORCH_ZIP
    # Everything else that begins like a pickle is scanned for its message, and never loaded.
    return Format.TORCH_LEGACY if _is_pickle(head) else None


def _is_pickle(head: bytes) -> bool:
    if len(head) < 3 or head[0] != 0x80 or not 2 <= head[1] <= 5:
        return False
    try:
        operations = pickletools.genops(head)
        next(operations)
        next(operations)
    except (ValueError, StopIteration):
        return False
    return True


def _looks_like_safetensors(head: bytes) -> bool:
    if len(head) < 9:
        return False
    (length,) = struct.unpack("<Q", head[:8])
    return 2 <= length <= LARGEST_HEADER and head[8:9] == b"{"


def _unknown(opened: CheckpointFile, head: bytes, name: str) -> CheckpointError:
    for magic, what, remedy in _FOREIGN:
        if head.startswith(magic):
            return opened.error(what, remedy)
    if head[257:262] == b"ustar":
        return opened.error(
            "is a tar archive, torch's oldest format or somebody's own",
            f"load it where it was made and {SAVE}",
        )
    if not head.strip(b"\0"):
        return opened.error("holds only NUL bytes where its beginning should be", _DOWNLOAD)
    if name.endswith(".safetensors"):
        return opened.error(
            "is not a safetensors file: the length of its header is wrong", _DOWNLOAD
        )
    if head.lstrip()[:1] in {b"{", b"["} and _is_text(head):
        return opened.error("is JSON", "name the file with the weights")
    if _is_text(head):
        return opened.error("is text", "name the file with the weights")
    return opened.error("is neither a file of torch.save nor safetensors", SAVE)


def _is_text(head: bytes) -> bool:
    try:
        text = head.decode("utf-8")
    except UnicodeDecodeError as error:
        # A character may be cut in two where the head ends.
        if error.start < len(head) - 3 or len(head) < _HEAD:
            return False
        text = head[: error.start].decode("utf-8")
    return all(c.isprintable() or c in "\t\r\n\f" for c in text)
