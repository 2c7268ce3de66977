"""Reads safetensors: one file, or shards with their index."""

import json
import struct
from collections.abc import Mapping
from pathlib import PurePosixPath
from typing import Any

import torch
from safetensors import SafetensorError, safe_open

from model_eval.checkpoint.file import CheckpointFile, open_checkpoint, reading
from model_eval.checkpoint.inspect import LARGEST_HEADER, Format, identify
from model_eval.errors import CheckpointError
from model_eval.spec.eval_spec import PathRef
from model_eval.types import FileInfo
from model_eval.wording import count, first_few, quote

_SAVE = "save it again with `safetensors.torch.save_file`"
_REWRITE = "write the shards and their index again, together"
_LARGEST_INDEX = 64 << 20
_MAX_SHARDS = 10_000
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


def read_safetensors(opened: CheckpointFile, *, device: torch.device) -> dict[str, torch.Tensor]:
    """Reads one file.

    Returns:
        name → tensor on `device`, of the file's dtypes.

    Raises:
        CheckpointError: its header or its data is wrong, or it does not fit in memory.
    """
    _check_header(opened)
    # By the number of the open file, so that it is the file that was inspected and hashed; and
    # read, not mapped: a mapped file that is rewritten changes the weights under the evaluation.
    path = f"/dev/fd/{opened.file.fileno()}"
    try:
        with safe_open(path, framework="pt", device=str(device), backend="pread") as content:
            tensors = {name: content.get_tensor(name) for name in content.keys()}  # noqa: SIM118
    except SafetensorError as error:
        raise opened.error(_in_words(str(error)), _SAVE) from error
    except (torch.OutOfMemoryError, MemoryError) as error:
        raise opened.error(
            f"does not fit in the memory of `{device}`", "use a larger machine"
        ) from error
    except (RuntimeError, TypeError, ValueError, KeyError, AttributeError) as error:
        raise opened.error("has a tensor that torch cannot hold", _SAVE) from error
    opened.check_unchanged()
    if not tensors:
        raise opened.error("holds no tensors", _SAVE)
    return tensors


def read_sharded(
    index: CheckpointFile, *, device: torch.device
) -> tuple[dict[str, torch.Tensor], tuple[FileInfo, ...]]:
    """Reads every shard that the index names; each tensor must be where the index says.

    Returns:
        name → tensor on `device`; and each shard with its digest, in the order of their names.

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
        with open_checkpoint(_sibling(index, shard)) as opened, reading(opened):
            if identify(opened) is not Format.SAFETENSORS:
                raise opened.error("is not a safetensors file", _REWRITE)
            files.append(opened.digest())
            found = read_safetensors(opened, device=device)
            _check_placement(opened, index, found.keys(), expected, placed)
        tensors.update(found)
    return tensors, tuple(files)


def _check_header(opened: CheckpointFile) -> None:
    """What the library lets pass, a name that is there twice; and the commonest damage, by name."""
    opened.file.seek(0)
    (length,) = struct.unpack("<Q", opened.file.read(8))
    header = opened.file.read(min(length, LARGEST_HEADER))
    opened.file.seek(0)
    if len(header) < length:
        raise opened.error("is truncated: the end of its header is missing", _SAVE)
    try:
        content = _parse(header)
    except _DuplicateKeyError as error:
        raise opened.error(f"has the name {quote(error.args[0])} twice", _SAVE) from error
    except (ValueError, RecursionError) as error:
        raise opened.error("is damaged: its header is not JSON", _SAVE) from error
    if 8 + length + _data_size(content) > opened.size:
        raise opened.error("is truncated: the end of its data is missing", _SAVE)


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
