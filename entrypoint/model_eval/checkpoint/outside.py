"""Finds weights that a model keeps where torch does not see them.

`self.layers = [nn.Linear(2, 1)]` is no part of the state dict: it is never saved, never loaded
and never put into eval mode, and what such a model answers follows from the seed.
"""

import gc
import logging
from collections import deque
from collections.abc import Iterable, Iterator
from types import CodeType, FrameType, FunctionType, ModuleType
from typing import Any

import torch
from torch import nn
from torch.nn.parameter import is_lazy

from model_eval.checkpoint.slots import modules_of, tensors_of
from model_eval.wording import kind_of, quote

_MAX_STEPS = 8
# These lead to the whole process, which is not the model's.
_NO_PART_OF_A_MODEL = (ModuleType, type, CodeType, FrameType, logging.Logger)


def outside(model: nn.Module) -> str | None:
    """Says which weights of the model are in no state dict; None where there are none.

    Weights are modules with parameters or persistent buffers, parameters, and other tensors that
    ask for a gradient. Searched are the attributes of every module and its class, and from them lists, dicts,
    objects, closures and the like, to a limited depth. Other tensors are constants of the model's
    code. The model's own weights may be anywhere a second time.
    """
    own = tensors_of(model).values()
    modules: dict[int, tuple[str, nn.Module]] = {}
    for name, module in modules_of(model).items():
        modules.setdefault(id(module), (name, module))
    known = {id(tensor) for tensor in own} | modules.keys()
    storages = {_storage(tensor) for tensor in own if not is_lazy(tensor)}
    waiting = deque(
        ((name, attribute), value, 0)
        for name, module in modules.values()
        for attribute, value in _attributes(module)
    )
    while waiting:
        place, thing, steps = waiting.popleft()
        if id(thing) in known:
            continue
        known.add(id(thing))
        for what, tensor in _weights(thing):
            if is_lazy(tensor) or _storage(tensor) not in storages:
                return f"{what} in {_attribute(*place)}"
        if steps < _MAX_STEPS:
            waiting.extend((place, held, steps + 1) for held in _held_by(thing))
    return None


def _attributes(module: nn.Module) -> Iterator[tuple[str, object]]:
    for kind in type(module).__mro__:
        if kind in {nn.Module, object}:
            break
        yield from vars(kind).items()
    yield from vars(module).items()


def _weights(thing: Any) -> Iterator[tuple[str, torch.Tensor]]:
    # By type, not isinstance: asking a stranger's proxy for its class may run code.
    kind = type(thing)
    if issubclass(kind, nn.Module):
        parts = vars(thing)
        constants = parts.get("_non_persistent_buffers_set", ())
        found = [*parts.get("_parameters", {}).items(), *parts.get("_buffers", {}).items()]
        for name, tensor in found:
            if tensor is not None and name not in constants:
                yield kind_of(thing), tensor
    elif issubclass(kind, nn.Parameter):
        yield "a parameter", thing
    elif issubclass(kind, torch.Tensor) and thing.requires_grad and thing.is_leaf:
        yield "a tensor that requires a gradient", thing


def _held_by(thing: Any) -> Iterable[object]:
    """What it refers to, found without running any code of its own."""
    if issubclass(type(thing), (*_NO_PART_OF_A_MODEL, torch.Tensor)):
        return ()
    if issubclass(type(thing), FunctionType):  # its globals are the process's
        return (thing.__closure__, thing.__defaults__, thing.__kwdefaults__, vars(thing))
    return (held for held in gc.get_referents(thing) if gc.is_tracked(held))


def _storage(tensor: torch.Tensor) -> int:
    return int(tensor.untyped_storage()._cdata)  # noqa: SLF001 - meta tensors have no address


def _attribute(module: str, attribute: str) -> str:
    return quote(f"{module}.{attribute}" if module else attribute)
