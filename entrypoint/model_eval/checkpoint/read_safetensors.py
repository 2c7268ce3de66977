"""Reads safetensors: one file, or shards with their index."""

import json
import os
import struct
from collections.abc import Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from math import prod
from pathlib import PurePosixPath
from typing import Any

import torch
from safetensors import SafetensorError, safe_open

from model_eval.checkpoint.file import CheckpointFile, open_checkpoint, reading
from model_eval.checkpoint.hashing import Sha256, hashing
from model_eval.checkpoint.inspect import LARGEST_HEADER, Format, identify
from model_eval.errors import CheckpointError
from model_eval.spec.eval_spec import PathRef
from model_eval.types import FileInfo
from model_eval.wording import count, first_few, quote

_SAVE = "save it again with `safetensors.torch.save_file`"
_REWRITE = "write the shards and their index again, together"
_LARGEST_INDEX = 64 << 20
_MAX_SHARDS = 10_000
_PART = 4 << 20
_DTYPES = {
    "F64": torch.float64, "F32": torch.float32, "F16": torch.float16, "BF16": torch.bfloat16,
    "I64": torch.int64, "I32": torch.int32, "I16": torch.int16, "I8": torch.int8,
    "U64": torch.uint64, "U32": torch.uint32, "U16": torch.uint16, "U8": torch.uint8,
    "BOOL": torch.bool, "C64": torch.complex64,
    "F8_E4M3": torch.float8_e4m3fn, "F8_E4M3FNUZ": torch.float8_e4m3fnuz,
    "F8_E5M2": torch.float8_e5m2, "F8_E5M2FNUZ": torch.float8_e5m2fnuz,
}  # fmt: skip
"""safetensors' names (safetensors/torch.py); of fewer than eight bits torch has no tensors."""

_WORDS = (
    # what the library's message holds → how it is said here
    ("header too small", "is truncated: the end of its header is missing"),
    ("header too large", "has a header of more than 100 MB"),
    ("invalid header length", "is truncated: the end of its header is missing"),
    ("not fully covered", "is damaged: its tensors do not cover its data exactly"),
    ("invalid offset", "is damaged: tensors overlap, or leave a hole between them"),
    ("overflow", "is damaged: a tensor is larger than any memory"),
    ("unknown variant", "has a tensor of a dtype that safetensors does not know"),
    ("invalid shape", "is damaged: a tensor's shape does not match the size of its data"),
    ("invalid JSON", "is damaged: its header is not what safetensors writes"),
)


class _DuplicateKeyError(ValueError):
    """A JSON object has a key twice; the reader would silently take the last."""


def read_safetensors(
    opened: CheckpointFile, *, device: torch.device, mapped: bool
) -> tuple[dict[str, torch.Tensor], FileInfo]:
    """Reads one file, once: what is hashed is the memory that the tensors have.

    Args:
        opened: the file.
        device: where the tensors are to be, where they are not mapped.
        mapped: leaves the tensors in the file, on the CPU; only to be copied from while nobody
            writes the file (`check_unchanged` tells afterwards).

    Returns:
        name → tensor, of the file's dtypes, each with memory of its own where it is not mapped;
        and the file with its digest.

    Raises:
        CheckpointError: its header or its data is wrong, or it does not fit in memory.
    """
    header = _header(opened)
    try:
        with safe_open(_path(opened), framework="pt", backend="pread"):
            places = _places(header)  # which the library has found to be in order
    except SafetensorError as error:
        raise opened.error(_in_words(str(error)), _SAVE) from error
    except (TypeError, ValueError, KeyError, AttributeError, RuntimeError) as error:
        raise opened.error("has a tensor that torch cannot hold", _SAVE) from error
    if not places:
        raise opened.error("holds no tensors", _SAVE)
    if places[-1].stop != opened.size:
        raise opened.error("is damaged: its tensors do not cover its data exactly", _SAVE)
    if mapped:
        return _mapped(opened)
    with Sha256() as sha256:
        sha256.update(header)
        tensors = {place.name: _read(opened, place, device, sha256) for place in places}
        digest = sha256.hexdigest()
    opened.check_unchanged()
    return tensors, FileInfo(path=opened.ref.display, sha256=digest, size=opened.size)


def read_sharded(
    index: CheckpointFile, *, device: torch.device, mapped: bool
) -> tuple[dict[str, torch.Tensor], tuple[FileInfo, ...]]:
    """Reads every shard that the index names; each tensor must be where the index says.

    Args:
        index: the file that names them; of what is mapped, it keeps the shards (`CheckpointFile.keep`).
        device: as for `read_safetensors`.
        mapped: as for `read_safetensors`.

    Returns:
        name → tensor; and each shard with its digest, in the order of their names.

    Raises:
        CheckpointError: the index or a shard is wrong or missing.
    """
    placed = _read_index(index)
    tensors: dict[str, torch.Tensor] = {}
    files = []
    for shard in sorted(set(placed.values())):
        if not (index.ref.path.parent / shard).exists():
            raise index.error(
                f"names {quote(shard)}, which does not exist", "put every shard beside the index"
            )
        expected = {name for name, where in placed.items() if where == shard}
        with ExitStack() as stack:
            place = open_checkpoint(_sibling(index, shard))
            opened = index.keep(place) if mapped else stack.enter_context(place)
            stack.enter_context(reading(opened))
            if identify(opened) is not Format.SAFETENSORS:
                raise opened.error("is not a safetensors file", _REWRITE)
            found, file = read_safetensors(opened, device=device, mapped=mapped)
            files.append(file)
            _check_placement(opened, index, found.keys(), expected, placed)
        tensors.update(found)
    return tensors, tuple(files)


@dataclass(frozen=True, kw_only=True, slots=True)
class _Place:
    """Where a tensor is in the file; start and stop in bytes from its beginning."""

    name: str
    dtype: torch.dtype
    shape: tuple[int, ...]
    start: int
    stop: int


def _places(header: bytes) -> list[_Place]:
    """The tensors in the order of the file.

    Raises:
        KeyError: a dtype that torch does not have.
        ValueError: they are not one behind the other, or not of the size of their shape.
    """
    entries: dict[str, Any] = json.loads(header[8:])
    places = []
    for name, entry in entries.items():
        if name == "__metadata__":
            continue
        start, stop = (len(header) + offset for offset in entry["data_offsets"])
        dtype, shape = _DTYPES[entry["dtype"]], tuple(entry["shape"])
        places.append(_Place(name=name, dtype=dtype, shape=shape, start=start, stop=stop))
    places.sort(key=lambda place: (place.start, place.stop))
    at = len(header)
    for place in places:
        # The library has checked this. It is checked here, too: this is what memory is taken by.
        if place.start != at or place.stop - at != prod(place.shape) * place.dtype.itemsize:
            raise ValueError(place.name)
        at = place.stop
    return places


def _read(
    opened: CheckpointFile, place: _Place, device: torch.device, sha256: Sha256
) -> torch.Tensor:
    """Read and not mapped: a mapped file that is rewritten changes weights under the evaluation."""
    try:
        tensor = torch.empty(place.shape, dtype=place.dtype, device="cpu")
        memory = tensor.reshape(-1).view(torch.uint8).numpy().data
        at = 0
        while at < len(memory):
            part = memory[at : at + _PART]
            got = os.preadv(opened.file.fileno(), [part], place.start + at)
            if not got:
                raise opened.error("is truncated: the end of its data is missing", _SAVE)
            sha256.update(part[:got])
            at += got
        return tensor.to(device)
    except (torch.OutOfMemoryError, MemoryError) as error:
        raise _no_memory(opened, device) from error
    except RuntimeError as error:
        if "allocate" in str(error):
            raise _no_memory(opened, device) from error
        raise opened.error("has a tensor that torch cannot hold", _SAVE) from error


def _mapped(opened: CheckpointFile) -> tuple[dict[str, torch.Tensor], FileInfo]:
    with hashing(opened) as digest:
        try:
            with safe_open(_path(opened), framework="pt") as file:
                tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
        except (SafetensorError, RuntimeError) as error:
            raise opened.error("has a tensor that torch cannot hold", _SAVE) from error
        return tensors, digest()


def _path(opened: CheckpointFile) -> str:
    """By the number of the open file, so that it is the file that was inspected."""
    return f"/dev/fd/{opened.file.fileno()}"


def _no_memory(opened: CheckpointFile, device: torch.device) -> CheckpointError:
    return opened.error(f"does not fit in the memory of `{device}`", "use a larger machine")


def _header(opened: CheckpointFile) -> bytes:
    """The header with its length before it.

    Raises:
        CheckpointError: what the library lets pass, a name that is there twice; and the commonest
            damage, by name.
    """
    opened.file.seek(0)
    (length,) = struct.unpack("<Q", opened.file.read(8))
    opened.file.seek(0)
    header = opened.file.read(8 + min(length, LARGEST_HEADER))
    opened.file.seek(0)
    if len(header) < 8 + length:
        raise opened.error("is truncated: the end of its header is missing", _SAVE)
    try:
        content = _parse(header[8:])
    except _DuplicateKeyError as error:
        raise opened.error(f"has the name {quote(error.args[0])} twice", _SAVE) from error
    except (ValueError, RecursionError) as error:
        raise opened.error("is damaged: its header is not JSON", _SAVE) from error
    if 8 + length + _data_size(content) > opened.size:
        raise opened.error("is truncated: the end of its data is missing", _SAVE)
    return header


def _data_size(header: Any) -> int:
    """Where the last tensor ends; 0 where the header is not one, which is for the library to say."""
    entries = header.values() if isinstance(header, dict) else ()
    offsets = [entry.get("data_offsets") for entry in entries if isinstance(entry, dict)]
    ends = [pair[-1] for pair in offsets if isinstance(pair, list) and pair]
    return max((end for end in ends if isinstance(end, int)), default=0)


def _read_index(index: CheckpointFile) -> dict[str, str]:
    if index.size > _LARGEST_INDEX:
        raise index.error("is an index of more than 64 MiB", _REWRITE)
    try:
        content = _parse(index.file.read())
    except _DuplicateKeyError as error:
        raise index.error(f"has the key {quote(error.args[0])} twice", _REWRITE) from error
    except (ValueError, RecursionError) as error:
        raise index.error("is not valid JSON", _REWRITE) from error
    index.check_unchanged()
    placed = content.get("weight_map") if isinstance(content, dict) else None
    if not isinstance(placed, dict):
        raise index.error(
            "is not an index of shards: it has no `weight_map`",
            "name `model.safetensors.index.json`, or the file with the weights",
        )
    if not placed:
        raise index.error("names no tensors", _REWRITE)
    for name, shard in placed.items():
        if not isinstance(shard, str):
            raise index.error(f"names no file for {quote(name)}", _REWRITE)
        if shard in {"", ".", ".."} or "/" in shard or "\\" in shard or "\0" in shard:
            raise index.error(
                f"places {quote(name)} outside of its own folder: {quote(shard)}",
                "put the shards beside the index",
            )
        if PurePosixPath(shard).suffix != ".safetensors":
            raise index.error(
                f"places {quote(name)} in {quote(shard)}, which is not a safetensors file", _REWRITE
            )
    if len(set(placed.values())) > _MAX_SHARDS:
        raise index.error(f"names more than {_MAX_SHARDS:,} shards", _REWRITE)
    return placed


def _sibling(index: CheckpointFile, shard: str) -> PathRef:
    path = index.ref.path.parent / shard
    display = (PurePosixPath(index.ref.display).parent / shard).as_posix()
    # A link would lead to where the spec's paths may not go.
    if path.is_symlink():
        raise CheckpointError(
            f"{quote(display)} is a symlink",
            remedy="put the shard itself beside the index",
            location=index.ref.location,
        )
    return PathRef(path=path, display=display, location=index.ref.location)


def _check_placement(
    shard: CheckpointFile,
    index: CheckpointFile,
    found: Any,
    expected: set[str],
    placed: Mapping[str, str],
) -> None:
    if lacking := sorted(expected - set(found)):
        raise shard.error(
            f"lacks {count(len(lacking), 'tensor')} that {quote(index.ref.display)} places in it: "
            f"{first_few(lacking)}",
            _REWRITE,
        )
    if extra := sorted(set(found) - expected):
        name = extra[0]
        where = f"places in {quote(placed[name])}" if name in placed else "does not name"
        raise shard.error(
            f"holds {quote(name)}, which {quote(index.ref.display)} {where}", _REWRITE
        )


def _parse(text: bytes) -> Any:
    return json.loads(text.decode("utf-8"), object_pairs_hook=_without_duplicates)


def _without_duplicates(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        seen: set[str] = set()
        for key, _ in pairs:
            if key in seen:
                raise _DuplicateKeyError(key)
            seen.add(key)
    return found


def _in_words(message: str) -> str:
    for part, words in _WORDS:
        if part in message:
            return words
    return "is not a valid safetensors file"
