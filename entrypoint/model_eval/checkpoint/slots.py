"""The places in a model that a checkpoint must fill: its parameters and persistent buffers.

Found from the modules themselves and not by `state_dict`, `named_parameters` or `named_modules`,
which a model can override: a part of it would never be loaded, compared or counted.
"""

from collections.abc import Iterator, Mapping
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
    """Every slot by name, in the model's order."""
    slots: dict[str, Slot] = {}
    modules = modules_of(model)
    parameters = parameters_of(model)
    first: dict[int, str] = {}
    for name, tensor in tensors_of(model).items():
        slots[name] = Slot(
            name=name,
            shape=None if is_lazy(tensor) else tuple(tensor.shape),
            dtype=tensor.dtype,
            tied_to=first.setdefault(id(tensor), name),
            is_parameter=name in parameters,
            may_lack=_is_batch_count(modules, name),
        )
    return slots


def modules_of(model: nn.Module) -> dict[str, nn.Module]:
    """Every module by name, the model's own being "", shared ones under each of their names."""
    return dict(_walk("", model))


def parameters_of(model: nn.Module) -> dict[str, torch.Tensor]:
    """Every parameter by name, tied ones under each of their names."""
    return {
        _joined(prefix, name): tensor
        for prefix, module in _walk("", model)
        for name, tensor in module._parameters.items()  # noqa: SLF001
        if tensor is not None
    }


def tensors_of(model: nn.Module) -> dict[str, torch.Tensor]:
    """Every parameter and persistent buffer by name, tied ones under each of their names."""
    return parameters_of(model) | {
        _joined(prefix, name): tensor
        for prefix, module in _walk("", model)
        for name, tensor in module._buffers.items()  # noqa: SLF001
        if tensor is not None and name not in module._non_persistent_buffers_set  # noqa: SLF001
    }


def _walk(prefix: str, module: nn.Module) -> Iterator[tuple[str, nn.Module]]:
    yield prefix, module
    for name, part in module._modules.items():  # noqa: SLF001
        if part is not None:
            yield from _walk(_joined(prefix, name), part)


def _joined(prefix: str, name: str) -> str:
    return f"{prefix}.{name}" if prefix else name


def _is_batch_count(modules: Mapping[str, nn.Module], name: str) -> bool:
    owner, _, leaf = name.rpartition(".")
    # It counts training batches; files from before torch 0.4.1 do not have it.
    return leaf == "num_batches_tracked" and isinstance(modules[owner], _BatchNorm)
