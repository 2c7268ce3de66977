"""Whether code could learn that it runs on the meta device, and so do something else there."""

import sys
from types import FrameType
from typing import Any

from torch import Tensor
from torch.overrides import TorchFunctionMode

_GETTERS = ("device", "is_cpu", "is_meta")
_METHODS = ("get_device", "data_ptr", "type", "untyped_storage", "storage", "storage_type")
_TELLING = frozenset(
    (
        *(getattr(Tensor, name).__get__ for name in _GETTERS),
        *(getattr(Tensor, name) for name in _METHODS),
    )
)
_TEXTS = frozenset((Tensor.__repr__, Tensor.__format__))
_ON_THE_WAY = frozenset(("torch.overrides", "torch._tensor"))
"""Between a method of a tensor that is written in Python and who called it."""


class Told(TorchFunctionMode):
    """A context; true once its code asked where a tensor is, or torch raised, whoever caught it.

    A number that code makes of that is a plain attribute, which nothing tells from any other. torch's
    own modules may ask: they build the same on every device.
    """

    def __init__(self) -> None:
        super().__init__()
        self._told = False

    def __bool__(self) -> bool:
        return self._told

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        """Calls it, and looks at what it is."""
        # With an argument, `type` converts.
        asks = func in _TELLING and len(args) == 1 and not kwargs
        # A generator of its own draws nothing for the meta device, and other numbers afterwards.
        draws = kwargs is not None and kwargs.get("generator") is not None
        if func in _TEXTS or draws or (asks and not _is_torch(sys._getframe(1))):  # noqa: SLF001
            self._told = True
        try:
            return func(*args, **(kwargs or {}))
        except BaseException:
            self._told = True
            raise


def _is_torch(frame: FrameType | None) -> bool:
    """Whether a part of torch asks for itself; what is in `torch` itself asks for who called it."""
    while frame is not None and _module(frame) in _ON_THE_WAY:
        frame = frame.f_back
    return frame is not None and _module(frame).startswith("torch.")


def _module(frame: FrameType) -> str:
    return str(frame.f_globals.get("__name__"))
