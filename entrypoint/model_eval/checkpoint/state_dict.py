"""Finds the state dict in what a file held, and refuses tensors that no weights can be.

Every walk here is bounded in depth and in number, and visits an object once: a dict may hold
itself, and a list of 40 lists may stand for 2^40 entries.
"""

import re
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from itertools import islice
from typing import Any

import torch

from model_eval.checkpoint.file import CheckpointFile
from model_eval.checkpoint.slots import Slot
from model_eval.errors import CheckpointError
from model_eval.spec.suggest import closest
from model_eval.wording import count, first_few, kind_of, quote

_MAX_DEPTH = 5
_MAX_CONTAINERS = 10_000
_MAX_CANDIDATES = 100
_WRAPPERS = re.compile(r"(?:module\.|_orig_mod\.)+")
_SAVE = "save only the state dict: `torch.save(model.state_dict(), path)`"
_STATE_KEY = "name the one to use under checkpoint.state_key"
_ASSIGN = "assign_to_params_buffers"
_PLAIN = "save plain, dense tensors, each with its own data (`tensor.contiguous()`)"
_NOT_QUANTISED = (
    "evaluate the float model: what `torch.ao.quantization` converts a model to is not supported"
)

NO_EXTRA_STATE = (
    "what a module keeps by `get_extra_state` cannot be compared with the model; keep it in buffers"
)
"""The remedy where a file holds it."""

Metadata = Mapping[str, Mapping[str, object]]
"""What torch saves beside a state dict: by module its version, for modules that migrate older files."""


@dataclass(frozen=True, kw_only=True, slots=True)
class StateDict:
    """The tensors of a model by name, in the file's dtypes.

    Attributes:
        key: where in the file it was, dots between keys; None where it is the whole file.
        prefix: what was removed from the beginning of every name, or "".
        metadata: None where the file has none.
    """

    tensors: dict[str, torch.Tensor]
    key: str | None
    prefix: str
    metadata: Metadata | None = None


def find_state_dict(
    opened: CheckpointFile, content: object, *, state_key: str | None, slots: Mapping[str, Slot]
) -> StateDict:
    """Finds the model's state dict in what was read.

    Without a `state_key` it is the whole file, or the only dict of tensors inside it, or the only
    one of several whose names are the model's.

    Args:
        opened: the file, for messages.
        content: what the file held.
        state_key: where the spec says that it is.
        slots: the places of the model, by name.

    Raises:
        CheckpointError: there is none, there are several, or one of its values is not a tensor
            that a model can hold.
    """
    base: tuple[str, ...] = ()
    if state_key is not None:
        content, base = _at(opened, content, state_key)
    found = _candidates(content)
    if not found:
        raise _no_candidate(opened, content, state_key)
    if len(found) > 1:
        fitting = {
            key: tensors for key, tensors in found.items() if _prefix(tensors, slots)[1] is True
        }
        if len(fitting) != 1:
            keys = [".".join((*base, *key)) for key in fitting or found]
            fit = "each with the model's names" if fitting else "none with the model's names"
            raise opened.error(
                f"holds {count(len(keys), 'state dict')}, {fit}: {first_few(keys, limit=6)}",
                _STATE_KEY,
            )
        found = fitting
    ((key, tensors),) = found.items()
    for name, tensor in tensors.items():
        _check_kind(opened, name, tensor)
    prefix, _ = _prefix(tensors, slots)
    return StateDict(
        tensors={name.removeprefix(prefix): tensor for name, tensor in tensors.items()},
        key=".".join((*base, *key)) or None,
        prefix=prefix,
        metadata=_metadata(tensors, prefix),
    )


def _metadata(tensors: Mapping[str, torch.Tensor], prefix: str) -> Metadata | None:
    """The file's, under the names that modules have without the prefix; None where it is malformed."""
    found = getattr(tensors, "_metadata", None)
    if not isinstance(found, dict):
        return None
    if not all(isinstance(name, str) and isinstance(of, dict) for name, of in found.items()):
        return None
    return {
        # Whether to assign or to copy is for us to say, not for the file.
        f"{name}.".removeprefix(prefix)[:-1]: {k: v for k, v in of.items() if k != _ASSIGN}
        for name, of in found.items()
        if f"{name}.".startswith(prefix)
    }


def missing_names(names: Collection[str], slots: Mapping[str, Slot]) -> list[str]:
    """The model's names that the file must have and lacks; one of several tied names is enough."""
    filled = {slots[name].tied_to for name in names if name in slots}
    return [
        name
        for name, slot in slots.items()
        if name not in names and slot.tied_to not in filled and not slot.may_lack
    ]


def _at(opened: CheckpointFile, content: object, state_key: str) -> tuple[object, tuple[str, ...]]:
    """The value under a dotted key; a key of the file may itself hold dots."""
    parts = state_key.split(".")
    path: tuple[str, ...] = ()
    while parts:
        if not isinstance(content, dict):
            raise opened.error(
                f"holds {kind_of(content)} at {quote('.'.join(path) or 'its top')}, not a dict",
                "correct checkpoint.state_key",
            )
        for length in range(len(parts), 0, -1):
            key = ".".join(parts[:length])
            if key in content:
                content, path, parts = content[key], (*path, key), parts[length:]
                break
        else:
            keys = [key for key in content if isinstance(key, str)]
            near = closest(parts[0], keys)
            raise opened.error(
                f"has no key {quote('.'.join((*path, *parts)))}",
                f"did you mean {quote('.'.join((*path, near)))}?"
                if near
                else f"its keys are {first_few(keys, limit=6)}",
            )
    return content, path


def _candidates(content: object) -> dict[tuple[str, ...], dict[str, torch.Tensor]]:
    """Dicts whose values are all tensors, by path."""
    found = ((path, value) for path, value in _dicts(content) if _is_state_dict(value))
    return dict(islice(found, _MAX_CANDIDATES))


def _dicts(content: object) -> Iterator[tuple[tuple[str, ...], dict[Any, Any]]]:
    """Dicts by path: none inside of a state dict, no optimizer's, and nothing that a module keeps."""
    seen: set[int] = set()
    waiting: list[tuple[tuple[str, ...], object]] = [((), content)]
    while waiting and len(seen) < _MAX_CONTAINERS:
        path, value = waiting.pop(0)
        if not isinstance(value, dict) or id(value) in seen:
            continue
        seen.add(id(value))
        yield path, value
        if len(path) < _MAX_DEPTH and not _is_state_dict(value):
            waiting.extend(
                ((*path, key), part)
                for key, part in value.items()
                if isinstance(key, str)
                and isinstance(part, dict)
                and "optim" not in key.lower()
                and not is_extra_state(key)
            )


def _is_state_dict(value: Mapping[Any, Any]) -> bool:
    return bool(value) and all(
        isinstance(key, str) and isinstance(part, torch.Tensor) for key, part in value.items()
    )


def is_extra_state(name: str) -> bool:
    """Whether a state dict has under this name what a module gives by `get_extra_state`."""
    return name.rpartition(".")[2] == "_extra_state"


def _no_candidate(
    opened: CheckpointFile, content: object, state_key: str | None
) -> CheckpointError:
    where = f" at {quote(state_key)}" if state_key else ""
    if not isinstance(content, dict):
        return opened.error(f"holds {kind_of(content)}{where}, not a state dict", _SAVE)
    if not content:
        return opened.error(f"holds an empty dict{where}", _SAVE)
    if (error := _of_a_module(opened, content, state_key)) is not None:
        return error
    for key, value in content.items():
        if not isinstance(key, str):
            if isinstance(value, torch.Tensor):
                return opened.error(
                    f"holds tensors under keys that are not names{where}: {quote(repr(key)[:80])} "
                    f"is of type {type(key).__name__}",
                    _SAVE,
                )
            break
    if any(isinstance(value, torch.Tensor) for value in content.values()):
        other, value = next((k, v) for k, v in content.items() if not isinstance(v, torch.Tensor))
        return opened.error(
            f"holds {quote(other)} of type {type(value).__name__} among the tensors{where}", _SAVE
        )
    keys = first_few(content, limit=6)
    return opened.error(f"holds no state dict{where}; its keys are {keys}", _SAVE)


def _of_a_module(
    opened: CheckpointFile, content: object, state_key: str | None
) -> CheckpointError | None:
    """Names what modules put beside their tensors: saving the state dict again does not help there."""
    for path, part in _dicts(content):
        at = ".".join(path if state_key is None else (state_key, *path))
        where = f" at {quote(at)}" if at else ""
        if not any(isinstance(value, torch.Tensor) for value in part.values()):
            continue
        for name, value in part.items():
            if not isinstance(name, str) or isinstance(value, torch.Tensor):
                continue
            if is_extra_state(name):
                return opened.error(
                    f"holds {quote(name)} of type {type(value).__name__} among the tensors{where}",
                    NO_EXTRA_STATE,
                )
            if "_packed_params" in name.split("."):
                return opened.error(
                    f"is of a quantised model: it holds {quote(name)}{where}", _NOT_QUANTISED
                )
    return None


def _prefix(tensors: Collection[str], slots: Mapping[str, Slot]) -> tuple[str, bool]:
    """What to remove from every name, and whether the rest are exactly the model's names."""
    if _fits(tensors, slots):
        return "", True
    first = next(iter(tensors))
    wrapper = match[0] if (match := _WRAPPERS.match(first)) else ""
    wrapper = wrapper if all(name.startswith(wrapper) for name in tensors) else ""
    # A Lightning module calls its network `model.` or `net.`; only an exact fit proves that.
    attribute = first.removeprefix(wrapper).partition(".")[0] + "."
    for prefix in (wrapper, wrapper + attribute, wrapper + attribute + "_orig_mod."):
        if prefix and all(name.startswith(prefix) for name in tensors):
            stripped = {name.removeprefix(prefix) for name in tensors}
            if _fits(stripped, slots):
                return prefix, True
    model_is_wrapped = any(_WRAPPERS.match(name) for name in slots)
    return ("" if model_is_wrapped else wrapper), False


def _fits(names: Collection[str], slots: Mapping[str, Slot]) -> bool:
    return all(name in slots for name in names) and not missing_names(names, slots)


def _check_kind(opened: CheckpointFile, name: str, tensor: Any) -> None:
    """Refuses, before any arithmetic, what is a tensor to Python but not weights to a model."""
    what = None
    if tensor.layout is not torch.strided:
        # A malformed sparse tensor loads, and crashes the process when it is multiplied.
        what = f"is sparse ({str(tensor.layout).removeprefix('torch.')})"
    elif type(tensor) not in {torch.Tensor, torch.nn.Parameter}:
        what = f"is a {type(tensor).__name__}, not a plain tensor"
    elif tensor.is_nested:
        what = "is a nested tensor"
    elif tensor.is_quantized:
        what = "is quantised"
    elif tensor.is_meta:
        what = "has no data: it was saved on the meta device"
    elif tensor.numel() * tensor.element_size() > tensor.untyped_storage().nbytes():
        what = f"is an expanded view of shape {tuple(tensor.shape)}, larger than what is stored"
    if what:
        raise opened.error(
            f"cannot be used: {quote(name)} {what}",
            _NOT_QUANTISED if tensor.is_quantized else _PLAIN,
        )
