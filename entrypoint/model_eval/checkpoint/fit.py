"""The strict fit of a state dict to a model, and what its error says.

Nothing is resized, dropped or left at its initial value: each of the model's parameters and
persistent buffers comes from the file, and each tensor of the file goes into the model.
"""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from itertools import islice

import torch
from tabulate import tabulate

from model_eval.checkpoint.file import CheckpointFile
from model_eval.checkpoint.slots import Slot
from model_eval.checkpoint.state_dict import NO_EXTRA_STATE, is_extra_state, missing_names
from model_eval.errors import CheckpointError, FitError
from model_eval.spec.suggest import closest
from model_eval.wording import count, dtype_name, first_few, printable, quote

_MAX_ROWS = 20
_MAX_NEAREST = 100
_SAVE_AGAIN = "find out where training went wrong; this checkpoint cannot be judged"
_FLOATS = frozenset({torch.float16, torch.bfloat16, torch.float32, torch.float64})
_COMPLEX = frozenset({torch.complex64, torch.complex128})


@dataclass(frozen=True, kw_only=True, slots=True)
class Fit:
    """How the tensors of a file and the slots of a model compare, by name."""

    missing: tuple[str, ...]
    unexpected: tuple[str, ...]
    wrong_shape: tuple[str, ...]
    wrong_dtype: tuple[str, ...]

    @property
    def exact(self) -> bool:
        """True where every name, shape and kind of dtype agrees."""
        return not (self.missing or self.unexpected or self.wrong_shape or self.wrong_dtype)

    @property
    def only_names(self) -> bool:
        """True where names alone differ: the model may know the older names."""
        return not (self.exact or self.wrong_shape or self.wrong_dtype)


def compare(tensors: Mapping[str, torch.Tensor], slots: Mapping[str, Slot]) -> Fit:
    """Compares names, shapes and dtypes; looks at no values."""
    shared = [name for name in tensors if name in slots]
    return Fit(
        missing=tuple(missing_names(tensors, slots)),
        unexpected=tuple(name for name in tensors if name not in slots),
        wrong_shape=tuple(
            name for name in shared if slots[name].shape not in {None, tuple(tensors[name].shape)}
        ),
        wrong_dtype=tuple(
            name for name in shared if not _can_cast(tensors[name].dtype, slots[name].dtype)
        ),
    )


def casts(tensors: Mapping[str, torch.Tensor], slots: Mapping[str, Slot]) -> dict[str, int]:
    """`float16→float32` → how many tensors are converted to the model's dtype."""
    pairs = (
        f"{dtype_name(tensor.dtype)}→{dtype_name(slots[name].dtype)}"
        for name, tensor in tensors.items()
        if name in slots and tensor.dtype != slots[name].dtype
    )
    return dict(sorted(Counter(pairs).items()))


def fit_error(
    opened: CheckpointFile,
    fit: Fit,
    tensors: Mapping[str, torch.Tensor],
    slots: Mapping[str, Slot],
) -> FitError:
    """A table of what does not fit: the one message here of more than one line."""
    kinds = {
        "missing": fit.missing,
        "unexpected": fit.unexpected,
        "wrong shape": fit.wrong_shape,
        "wrong dtype": fit.wrong_dtype,
    }
    rows = []
    for kind, names in kinds.items():
        rows += [_row(kind, name, fit, tensors, slots) for name in names[:_MAX_ROWS]]
        if len(names) > _MAX_ROWS:
            rows.append((kind, f"... and {len(names) - _MAX_ROWS:,} more", "", "", ""))
    summary = ", ".join(f"{len(names):,} {kind}" for kind, names in kinds.items() if names)
    table = tabulate(
        rows,
        headers=("problem", "name", "in the file", "in the model", "nearest name"),
        tablefmt="simple",
        disable_numparse=True,
    )
    extra = any(is_extra_state(name) for names in kinds.values() for name in names)
    return FitError(
        f"{quote(opened.ref.display)} does not fit the model: {summary}\n{table}",
        remedy=NO_EXTRA_STATE if extra else None,
        location=opened.ref.location,
    )


def check_values(
    opened: CheckpointFile, tensors: Mapping[str, torch.Tensor], slots: Mapping[str, Slot]
) -> None:
    """Refuses values that no trained model has.

    NaN anywhere; infinities in parameters and in running statistics (other buffers may hold
    them: causal masks do), also those that the conversion to the model's dtype would make; and
    a `running_var` below zero.

    Raises:
        CheckpointError: naming the tensors and how many of their values are wrong.
    """
    broken = {}
    for name, tensor in tensors.items():
        slot = slots.get(name)
        dtype = slot.dtype if slot else tensor.dtype
        if not (tensor.is_floating_point() or tensor.is_complex()) or tensor.numel() == 0:
            continue
        leaf = name.rpartition(".")[2]
        finite = slot is None or slot.is_parameter or leaf in {"running_mean", "running_var"}
        if what := _wrong_values(tensor.detach(), dtype, finite=finite):
            broken[name] = what
        elif leaf == "running_var" and (negative := int((tensor < 0).sum())):
            broken[name] = f"{count(negative, 'negative variance')}"
    if broken:
        name, what = next(iter(broken.items()))
        others = [other for other in broken if other != name]
        also = f"; also {first_few(others)}" if others else ""
        raise CheckpointError(
            f"{quote(opened.ref.display)} cannot be used: {quote(name)} holds {what} "
            f"among {count(tensors[name].numel(), 'value')}{also}",
            remedy=_SAVE_AGAIN,
            location=opened.ref.location,
        )


def _wrong_values(tensor: torch.Tensor, dtype: torch.dtype, *, finite: bool) -> str | None:
    values = torch.view_as_real(tensor.resolve_conj()) if tensor.is_complex() else tensor
    if values.dtype not in _FLOATS:
        values = values.float()  # the eight-bit ones have no arithmetic of their own
    low, high = (float(bound) for bound in torch.aminmax(values))
    # NaN is neither; one pass without a copy decides almost always.
    largest = torch.finfo(dtype).max if dtype.is_floating_point else torch.finfo(values.dtype).max
    if -largest <= low and high <= largest:
        return None
    nan, infinite = int(values.isnan().sum()), int(values.isinf().sum())
    if nan or (infinite and finite):
        counts = ((nan, "NaN"), (infinite if finite else 0, "infinite"))
        return " and ".join(f"{number:,} {word}" for number, word in counts if number)
    if finite and (beyond := int((values.to(dtype).isinf()).sum())):
        return f"{beyond:,} too large for {dtype_name(dtype)}"
    return None


def _can_cast(found: torch.dtype, wanted: torch.dtype) -> bool:
    if found == wanted:
        return True
    if found in _FLOATS or found in _COMPLEX:
        return wanted in (_FLOATS if found in _FLOATS else _COMPLEX)
    if {found, wanted} & (_FLOATS | _COMPLEX | {torch.bool}):
        return False
    try:
        low, high = torch.iinfo(found), torch.iinfo(wanted)
    except TypeError:
        return False
    return high.min <= low.min and low.max <= high.max


def _row(
    kind: str,
    name: str,
    fit: Fit,
    tensors: Mapping[str, torch.Tensor],
    slots: Mapping[str, Slot],
) -> tuple[str, str, str, str, str]:
    tensor, slot = tensors.get(name), slots.get(name)
    nearest = None
    if kind == "missing" and slot:
        nearest = _nearest(name, slot.shape, {n: tuple(tensors[n].shape) for n in fit.unexpected})
    elif kind == "unexpected" and tensor is not None:
        nearest = _nearest(name, tuple(tensor.shape), {n: slots[n].shape for n in fit.missing})
    return (
        kind,
        printable(name),
        _described(tensor.dtype, tuple(tensor.shape)) if tensor is not None else "",
        _described(slot.dtype, slot.shape) if slot else "",
        printable(nearest) if nearest else "",
    )


def _nearest(
    name: str, shape: tuple[int, ...] | None, others: Mapping[str, tuple[int, ...] | None]
) -> str | None:
    """The name most like it of the same shape: what the tensor is likely called on the other side."""
    alike = (other for other, its in others.items() if its == shape)
    return closest(name, islice(alike, _MAX_NEAREST))


def _described(dtype: torch.dtype, shape: tuple[int, ...] | None) -> str:
    return f"{dtype_name(dtype)} {'any' if shape is None else list(shape)}"
