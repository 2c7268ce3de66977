"""The places in a model that a checkpoint must fill: its parameters and persistent buffers."""

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.nn.parameter import is_lazy


@dataclass(frozen=True, kw_only=True, slots=True)
class Slot:
    """One name in the model's state dict.

    Attributes:
        shape: None where the model learns it from its first input (lazy modules).
        tied_to: the first name of the same tensor; its own name where it is not tied.
        is_parameter: else it is a buffer.
        may_lack: True where evaluation never reads the value, so that a file may lack it.
    """

    name: str
    shape: tuple[int, ...] | None
    dtype: torch.dtype
    tied_to: str
    is_parameter: bool
    may_lack: bool = False


def slots_of(model: nn.Module) -> dict[str, Slot]:
    """Every slot by name, in the model's order.

    Found from the modules themselves and not by `state_dict()`, which a model can override so
    that a part of it is never loaded.
    """
    slots: dict[str, Slot] = {}
    modules = dict(model.named_modules(remove_duplicate=False))
    first: dict[int, str] = {}
    for name, tensor in tensors_of(model).items():
        slots[name] = Slot(
            name=name,
            shape=None if is_lazy(tensor) else tuple(tensor.shape),
            dtype=tensor.dtype,
            tied_to=first.setdefault(id(tensor), name),
            is_parameter=isinstance(tensor, nn.Parameter),
            may_lack=_is_batch_count(modules, name),
        )
    return slots


def tensors_of(model: nn.Module) -> dict[str, torch.Tensor]:
    """Every parameter and persistent buffer by name, tied ones under each of their names."""
    dropped = {
        f"{prefix}.{name}" if prefix else name
        for prefix, module in model.named_modules(remove_duplicate=False)
        for name in module._non_persistent_buffers_set  # noqa: SLF001 - torch has no other way
    }
    found: dict[str, torch.Tensor] = dict(model.named_parameters(remove_duplicate=False))
    found.update(
        (name, buffer)
        for name, buffer in model.named_buffers(remove_duplicate=False)
        if name not in dropped
    )
    return found


def _is_batch_count(modules: Mapping[str, nn.Module], name: str) -> bool:
    owner, _, leaf = name.rpartition(".")
    # It counts training batches; files from before torch 0.4.1 do not have it.
    return leaf == "num_batches_tracked" and isinstance(modules[owner], _BatchNorm)
