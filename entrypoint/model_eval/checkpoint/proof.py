"""The proof, after the pass, that the weights which were judged are those of the file."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from functools import cache

import torch
from torch import nn

from model_eval.checkpoint.outside import outside
from model_eval.checkpoint.slots import modules_of, tensors_of
from model_eval.errors import EvaluationError
from model_eval.wording import quote

_CHUNK = 1 << 20
_INTEGERS = {1: torch.uint8, 2: torch.int16, 4: torch.int32, 8: torch.int32}
_STAYS = (
    "leave it as it is in eval mode; for a cache or a counter, "
    "`register_buffer(..., persistent=False)`"
)
_SHORTENED = (
    "an embedding shortens rows that are longer than its `max_norm` whenever it runs: renormalise "
    "them to a little less before saving"
)

Print = tuple[torch.dtype, tuple[int, ...], tuple[int, ...], int]


@contextmanager
def unchanged(model: nn.Module) -> Iterator[None]:
    """A context for the pass: at its end, the model must be what it was at its beginning.

    Parameters and persistent buffers are compared by name, dtype, shape, strides and a fingerprint
    of their values, without a second copy of them; every module must be in eval mode still, and
    no weights may have appeared elsewhere. Buffers that are not persistent, such as caches, may
    change.

    Raises:
        EvaluationError: naming the first module or tensor that differs.
    """
    before = prints(model)
    try:
        yield
    except EvaluationError as error:
        if error.__cause__ is None:  # not what the model raised: this may be why
            _require_unchanged(model, before)
        raise
    _require_unchanged(model, before)


def _require_unchanged(model: nn.Module, before: Mapping[str, Print]) -> None:
    after = prints(model)
    if (name := next((name for name in after if name not in before), None)) is not None:
        raise EvaluationError(
            f"{quote(name)} was made during the evaluation: its values are not the checkpoint's",
            remedy="make it in `__init__`, so that it is saved and loaded",
        )
    if (name := next((name for name in before if name not in after), None)) is not None:
        raise EvaluationError(
            f"{quote(name)} was removed during the evaluation",
            remedy="leave the model's weights as they are in `forward`",
        )
    training = next((name for name, part in modules_of(model).items() if part.training), None)
    if training is not None:
        raise EvaluationError(
            f"{quote(training) if training else 'the model'} went into training mode "
            "during the evaluation",
            remedy="take the call of `train` out of its `forward`",
        )
    if (name := next((name for name in before if before[name] != after[name]), None)) is not None:
        raise EvaluationError(
            f"{quote(name)} changed during the evaluation: it is the checkpoint's no more",
            remedy=_SHORTENED if _is_shortened(model, name) else _STAYS,
        )
    if (found := outside(model)) is not None:
        raise EvaluationError(
            f"weights that are not the checkpoint's were made during the evaluation: {found}",
            remedy="make them in `__init__`, so that they are saved and loaded",
        )


def _is_shortened(model: nn.Module, name: str) -> bool:
    """Whether torch itself changes it, under whatever name: long rows of an embedding."""
    found, modules = tensors_of(model), modules_of(model)
    owners = (
        modules[other.rpartition(".")[0]]
        for other, tensor in found.items()
        if tensor is found[name]
    )
    return any(
        isinstance(owner, nn.Embedding | nn.EmbeddingBag) and owner.max_norm is not None
        for owner in owners
    )


def prints(model: nn.Module) -> dict[str, Print]:
    """What `prints_of` says of every parameter and persistent buffer."""
    return prints_of(tensors_of(model))


@torch.inference_mode()
def prints_of(tensors: Mapping[str, torch.Tensor]) -> dict[str, Print]:
    """Name → dtype, shape, strides and fingerprint.

    The strides, because the fingerprint is that of the memory: a square matrix that is transposed
    without a copy has the same. Where an axis has a length of one its stride means nothing.
    """
    seen: dict[int, Print] = {}
    prints = {}
    for name, tensor in tensors.items():
        if id(tensor) not in seen:
            shape = tuple(tensor.shape)
            strides = (
                step if size > 1 else 0 for size, step in zip(shape, tensor.stride(), strict=True)
            )
            seen[id(tensor)] = (tensor.dtype, shape, tuple(strides), fingerprint(tensor))
        prints[name] = seen[id(tensor)]
    return prints


def fingerprint(tensor: torch.Tensor) -> int:
    """A number that differs, but for one chance in 2**32, where a bit of the values does.

    Every value's bits, as integers of at most 32 bits, times a random odd number that is fixed for
    its position, summed modulo 2**64: exact, and so the same on every device. `Tensor._version`
    would cost nothing, but does not count what is written through `.data`.

    Args:
        tensor: strided and dense, of any dtype, shape and strides.
    """
    if type(tensor).__torch_dispatch__ is not torch.Tensor.__torch_dispatch__:
        # Its values are in no memory of its own; how often it was written is known.
        return tensor._version  # noqa: SLF001
    values = torch.view_as_real(tensor.resolve_conj()) if tensor.is_complex() else tensor
    values = values.resolve_neg()
    # In the order of the memory, for which no copy is needed.
    order = sorted(range(values.ndim), key=values.stride, reverse=True)
    bits = values.detach().permute(order).reshape(-1).view(_INTEGERS[values.element_size()])
    factors = _factors(bits.device)
    total = 0
    for part in torch.split(bits, _CHUNK):
        total = (total * 0x9E3779B97F4A7C15 + int((part * factors[: len(part)]).sum())) % (1 << 64)
    return total


@cache
def _factors(device: torch.device) -> torch.Tensor:
    generator = torch.Generator("cpu").manual_seed(0)
    halves = torch.randint(-(2**62), 2**62, (_CHUNK,), generator=generator, device="cpu")
    return (halves * 2 + 1).to(device)
