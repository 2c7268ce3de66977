"""Whether code of the model's own changed weights while it was loaded.

Its methods and hooks are given the file's tensors, or have them as parameters, and may write into
them: what the model is compared with changes then with it. So their values are remembered before.
That is a pass over all of them, before and after, which a model that leaves torch's methods as they
are is spared: there nobody but torch sees them, and torch writes into the model alone.
"""

from collections.abc import Mapping

import torch
from torch import nn
from torch.nn.modules import module as torchs

from model_eval.checkpoint.proof import Print, prints_of
from model_eval.checkpoint.slots import modules_of, tensors_of

_TORCHS = dict(vars(nn.Module))
_NOT_CALLED = frozenset(
    {"__init__", "__new__", "__init_subclass__", "__repr__", "extra_repr", "forward"}
)
_METHODS = (
    frozenset(
        name
        for owner in (nn.Module, object)
        for name, value in vars(owner).items()
        if callable(value)
    )
    - _NOT_CALLED
)
_HOOKS = ("_load_state_dict_pre_hooks", "_load_state_dict_post_hooks")


class Watch:
    """Tensors that the model's own code may change from now on.

    Args:
        model: whose code it is.
        tensors: plain ones with values, by name.
    """

    def __init__(self, model: nn.Module, tensors: Mapping[str, torch.Tensor]) -> None:
        self._before: Mapping[str, Print] | None = None
        if has_own_code(model):
            self._before = prints_of(tensors)

    def changed(self, tensors: Mapping[str, torch.Tensor]) -> str | None:
        """The first name under which another tensor is now; None where there is none."""
        before = self._before
        if before is None:
            return None
        after = prints_of(tensors)
        return next(
            (name for name in {**before, **after} if before.get(name) != after.get(name)), None
        )


def has_own_code(model: nn.Module) -> bool:
    """Whether anything but torch may run where weights are loaded, moved or made ready."""
    if _is_patched() or _has_global_hooks():
        return True
    modules = {id(module): module for module in modules_of(model).values()}.values()
    kinds = {type(module) for module in modules}
    tensors = {type(tensor) for tensor in tensors_of(model).values()}
    return (
        any(map(_has_hooks, modules))
        or any(map(_replaces_methods, kinds))
        or not all(map(_is_torchs, tensors))
    )


def _is_patched() -> bool:
    """Whether somebody else than torch, which does so for its compiler, replaced methods of all modules."""
    return any(
        value is not _TORCHS.get(name) and not _is_torchs_function(value)
        for name, value in vars(nn.Module).items()
        if name in _METHODS
    )


def _has_global_hooks() -> bool:
    return any(hooks for name, hooks in vars(torchs).items() if name.startswith("_global_"))


def _has_hooks(module: nn.Module) -> bool:
    own = vars(module)
    return any(own.get(name) for name in _HOOKS) or not _METHODS.isdisjoint(own)


def _replaces_methods(kind: type) -> bool:
    # `training` is set by `train`; a property of that name is code.
    return any(
        base is not object
        and not _is_torchs(base)
        and ("training" in vars(base) or not _METHODS.isdisjoint(vars(base)))
        for base in kind.__mro__
    )


def _is_torchs_function(value: object) -> bool:
    # Not `__module__`, which `functools.wraps` copies.
    place: Mapping[str, object] = getattr(value, "__globals__", {})
    return str(place.get("__name__")).startswith("torch.")


def _is_torchs(kind: type) -> bool:
    return f"{kind.__module__}.".startswith("torch.")
