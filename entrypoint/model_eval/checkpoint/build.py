"""Builds the model and puts the weights in, without holding them twice where that is possible.

On the meta device a model costs no memory, and the file's tensors become its parameters as they
are. That is tried first, and kept only where it is proved to be the same as the ordinary way:
nothing of the model may be left on the meta device, wherever the model keeps it, and every tensor
must be the file's. Otherwise the model is built for real and `load_state_dict` copies from the
file, which is mapped.
"""

import gc
import random
from collections import OrderedDict
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any, Self

import numpy as np
import torch
from torch import nn
from torch.nn.parameter import is_lazy

from model_eval.checkpoint import cached
from model_eval.checkpoint.own_code import Watch
from model_eval.checkpoint.slots import Slot, modules_of, parameters_of, tensors_of
from model_eval.checkpoint.state_dict import Metadata
from model_eval.checkpoint.told import Told
from model_eval.errors import Interrupted, UserCodeError
from model_eval.usercode import describe
from model_eval.wording import kind_of, quote

Weights = Mapping[str, torch.Tensor]


class MetaBuild:
    """A model on the meta device; `model` is None where it cannot be built there.

    A context: inside of it the garbage collector lists only objects that are younger than it
    (all others are frozen), which is how what the model left behind is found wherever it is.
    """

    def __init__(self, build: Callable[[], Any]) -> None:
        self._build = build
        self.model: nn.Module | None = None

    def __enter__(self) -> Self:
        gc.freeze()
        told = Told()
        try:
            with _draws_given_back():
                before = torch.get_rng_state()
                with torch.device("meta"), told:
                    model = self._build()
                # Weights draw none on the meta device, and what is drawn beside them is another number.
                drew = not torch.equal(before, torch.get_rng_state())
            usable = isinstance(model, nn.Module) and not (told or drew) and _cycle(model) is None
            if usable and _can_be_assigned(model) and not _meta_lives_beside(tensors_of(model)):
                self.model = model
        # Whatever a factory does that the meta device does not allow; if it is a fault of the
        # factory's own, the real build says so.
        except Exception:  # noqa: BLE001
            return self
        return self

    def __exit__(self, *_: object) -> None:
        gc.unfreeze()
        if self.model is None:
            _forget_cached()

    def fill(
        self,
        weights: Weights,
        metadata: Metadata | None,
        slots: Mapping[str, Slot],
        device: torch.device,
    ) -> bool:
        """Makes the weights the model's own, and it `ready`; False where that is not proved."""
        model = self.model
        if model is None:
            return False
        owned = _owned(weights, tensors_of(model))
        watch = Watch(model, owned)
        try:
            model.load_state_dict(_state_dict(owned, metadata), strict=True, assign=True)
            _tie_again(model, slots)
            model.to(device)
            ready(model)
        except Interrupted:
            raise
        # An override that cannot assign, or an error that the ordinary way explains.
        except BaseException:  # noqa: BLE001 - `sys.exit` in it is no reason to end
            return False
        return (
            differing(model, weights) is None
            and watch.changed(tensors_of(model)) is None
            and not _leaves_meta(model)
        )


def build_real(build: Callable[[], Any], device: torch.device) -> nn.Module:
    """Builds the model in the ordinary way.

    The random numbers that its initial weights take are given back, so that code that draws some
    later draws the same ones however the model was built.

    Raises:
        UserCodeError: the factory failed or returned something else than a module, one that
            contains itself, or one whose own `to` failed.
    """
    with _draws_given_back():
        model = build()
    if not isinstance(model, nn.Module):
        raise UserCodeError(
            f"model.factory returned {kind_of(model)}, not a torch.nn.Module",
            remedy="return the model itself; the weights come from the checkpoint",
        )
    if (name := _cycle(model)) is not None:
        raise UserCodeError(
            f"{quote(name)} of the model is a module that it is itself a part of",
            remedy="keep such a reference in a tuple: `self.parent = (parent,)`",
        )
    with _own_method("to"):
        return model.to(device)


def copy_weights(model: nn.Module, weights: Weights, metadata: Metadata | None) -> None:
    """Loads in the ordinary way; whatever the model's own code raises passes through."""
    model.load_state_dict(_state_dict(weights, metadata), strict=True)


def own_memory(model: nn.Module, weights: Iterable[torch.Tensor]) -> None:
    """Gives the model memory of its own where its loading took over the file's tensors."""
    files = {tensor.untyped_storage().data_ptr() for tensor in weights}
    for tensor in tensors_of(model).values():
        if tensor.untyped_storage().data_ptr() in files:
            tensor.data = tensor.data.clone()


def completed(weights: Weights, slots: Mapping[str, Slot], device: torch.device) -> Weights:
    """The weights, with the names that a file may leave out: tied ones and batch counts."""
    filled = {slots[name].tied_to: tensor for name, tensor in weights.items() if name in slots}
    whole = dict(weights)
    for name, slot in slots.items():
        if name in whole:
            continue
        if slot.tied_to in filled:
            whole[name] = filled[slot.tied_to]
        elif slot.may_lack:
            whole[name] = torch.zeros(slot.shape or (), dtype=slot.dtype, device=device)
    return whole


def differing(model: nn.Module, weights: Weights) -> str | None:
    """The first of the model's tensors that is not the file's, None where all are.

    Compared after conversion to the model's dtype, value by value, unless it is the same memory.
    """
    for name, tensor in tensors_of(model).items():
        if name not in weights:
            return name
        given = weights[name]
        if is_lazy(tensor) or tensor.is_meta or tensor.shape != given.shape:
            return name
        same = (
            tensor.data_ptr() == given.data_ptr()
            and tensor.stride() == given.stride()
            and tensor.dtype == given.dtype
        )
        if not same and not _equal(tensor, given):
            return name
    return None


def renamed(model: nn.Module, weights: Weights) -> bool:
    """True where the model took every tensor of the file, some under other names.

    Where a name is both the model's and the file's, the two must be equal. The other tensors of the
    model and of the file must be so one to one; which name went where is the model's own affair.
    """
    waiting = dict(weights)
    places: dict[int, tuple[torch.Tensor, list[str]]] = {}  # tied names have one
    for name, tensor in tensors_of(model).items():
        places.setdefault(id(tensor), (tensor, []))[1].append(name)
    unnamed = []
    for tensor, names in places.values():
        given = [waiting.pop(name) for name in names if name in waiting]
        if not all(_equal(tensor, value) for value in given):
            return False
        if not given:
            unnamed.append(tensor)
    for tensor in unnamed:
        match = next((name for name in waiting if _equal(tensor, waiting[name])), None)
        if match is None:
            return False
        del waiting[match]
    return not waiting


def ready(model: nn.Module) -> nn.Module:
    """The model as it is evaluated: in eval mode, without gradients.

    Raises:
        UserCodeError: a part of it stays in training mode, where dropout and batch norm differ,
            or its own `eval` failed.
    """
    for parameter in parameters_of(model).values():  # of a scripted model it cannot be asked
        parameter.requires_grad = False
    with _own_method("eval"):
        model.eval()
    training = next((name for name, part in modules_of(model).items() if part.training), None)
    if training is not None:
        raise UserCodeError(
            f"{quote(training) if training else 'the model'} stays in training mode after "
            "`model.eval()`",
            remedy="correct its `eval` or `train` method",
        )
    return model


@contextmanager
def _draws_given_back() -> Iterator[None]:
    drawn, numpy_drawn = random.getstate(), np.random.get_state()  # noqa: NPY002 - a factory's too
    try:
        with torch.random.fork_rng(devices=[]):
            yield
    finally:
        random.setstate(drawn)
        np.random.set_state(numpy_drawn)  # noqa: NPY002


@contextmanager
def _own_method(name: str) -> Iterator[None]:
    """What a method that a model may override raises is the model's fault."""
    try:
        yield
    except Interrupted:
        raise
    except BaseException as error:
        raise UserCodeError(
            f"the model's `{name}` raised {describe(error)}",
            remedy=f"call `{name}` on the model that the factory returns to see it fail",
        ) from error


def _cycle(model: nn.Module) -> str | None:
    """The name of a module that is a part of itself, which nothing of torch's can walk."""
    done: set[int] = set()
    above = {id(model)}
    path = [(model, "", _parts(model))]
    while path:
        module, prefix, parts = path[-1]
        name, part = next(parts, ("", None))
        if part is None:
            if not name:
                path.pop()
                above.discard(id(module))
                done.add(id(module))
        elif id(part) in above:
            return prefix + name
        elif id(part) not in done:
            above.add(id(part))
            path.append((part, f"{prefix}{name}.", _parts(part)))
    return None


def _parts(module: nn.Module) -> Iterator[tuple[str, nn.Module | None]]:
    # Not `named_children`, which a model can override; none where `__init__` was not called.
    return iter(vars(module).get("_modules", {}).items())


def _equal(one: torch.Tensor, other: torch.Tensor) -> bool:
    """Whether the values are the same once the other has the dtype of the one."""
    if is_lazy(one) or one.shape != other.shape:
        return False
    one, other = one.detach(), other.detach().to(device=one.device, dtype=one.dtype)
    if one.dtype == torch.complex32:  # torch compares pairs of halves, and not these
        one, other = (torch.view_as_real(value.resolve_conj()) for value in (one, other))
    return torch.equal(one, other)


def _can_be_assigned(model: nn.Module) -> bool:
    """Whether replacing its parameters by new ones loses nothing."""
    found = tensors_of(model)
    storages: dict[int, int] = {}
    for tensor in found.values():
        if is_lazy(tensor) or type(tensor) not in {torch.Tensor, nn.Parameter} or vars(tensor):
            return False
        # Two parameters over one memory: the ordinary way fills both, assigning would part them.
        storage = tensor.untyped_storage()._cdata  # noqa: SLF001 - meta tensors have no address
        if storages.setdefault(storage, id(tensor)) != id(tensor):
            return False
    # Of one that is real its owner may keep views, which assigning would part from it.
    return bool(found) and all(tensor.is_meta for tensor in found.values())


def _owned(weights: Weights, slots: Mapping[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """Each tensor with the dtype and strides of its place, and with memory of its own.

    Strides decide which kernels run, and so the last digits; a view of a large storage would
    keep all of it alive, and two names with one memory would change together.
    """
    owned: dict[str, torch.Tensor] = {}
    taken: dict[int, torch.Tensor] = {}
    for name, tensor in weights.items():
        place = slots[name]
        storage = tensor.untyped_storage()
        as_it_is = (
            tensor.dtype == place.dtype
            and tensor.stride() == place.stride()
            and storage.nbytes() == tensor.numel() * tensor.element_size()
            and taken.setdefault(storage.data_ptr(), place) is place
            and not (tensor.is_conj() or tensor.is_neg())
        )
        value = tensor.detach()
        if not as_it_is:
            value = torch.empty_strided(
                place.shape, place.stride(), dtype=place.dtype, device=tensor.device
            ).copy_(value)
        owned[name] = value
    return owned


def _state_dict(weights: Weights, metadata: Metadata | None) -> OrderedDict[str, torch.Tensor]:
    """What `load_state_dict` takes, with the versions of the modules that were saved.

    Without these a module takes what is new for old, and migrates it.
    """
    state = OrderedDict(weights)
    if metadata is not None:
        # Copies, because torch writes into them.
        vars(state)["_metadata"] = {name: dict(value) for name, value in metadata.items()}
    return state


def _tie_again(model: nn.Module, slots: Mapping[str, Slot]) -> None:
    found = tensors_of(model)
    modules = modules_of(model)
    for name, slot in slots.items():
        if slot.tied_to != name and found[name] is not found[slot.tied_to]:
            owner, _, leaf = name.rpartition(".")
            setattr(modules[owner], leaf, found[slot.tied_to])


def _leaves_meta(model: nn.Module) -> bool:
    """Whether anything is still on the meta device: in an attribute, a list or a closure."""
    if any(
        _names_meta(value)
        for module in modules_of(model).values()
        for value in vars(module).values()
    ):
        return True
    return _meta_lives_beside({})


def _meta_lives_beside(tensors: Mapping[str, torch.Tensor]) -> bool:
    """Whether there is a tensor on the meta device that is none of these."""
    known = {id(tensor) for tensor in tensors.values()}
    if not _meta_tensor_lives(known):
        return False
    gc.collect()  # replaced parameters may wait in a cycle
    return _meta_tensor_lives(known)


def _meta_tensor_lives(known: Collection[int]) -> bool:
    # By type, not isinstance: asking a stranger's proxy for its class may run code.
    return any(
        issubclass(type(thing), torch.Tensor) and thing.is_meta and id(thing) not in known
        for thing in gc.get_objects()
    )


def _forget_cached() -> None:
    """Empties caches of functions that hold tensors of the meta device: the real build would get them.

    Such a function is older than the build, and so is not listed while older objects are frozen.
    """
    gc.collect()
    if _meta_tensor_lives(()):
        cached.forget_all()


def _names_meta(value: object) -> bool:
    """Whether it is the meta device, remembered by the model to create tensors on later."""
    if isinstance(value, Mapping):
        return any(_names_meta(part) for part in value.values() if isinstance(part, torch.device))
    return isinstance(value, torch.device) and value.type == "meta"
