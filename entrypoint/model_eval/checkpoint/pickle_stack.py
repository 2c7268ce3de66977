"""The stack of an unpickler that unpickles nothing: how deep values nest, and which are texts."""

import pickletools
from dataclasses import dataclass
from typing import Any

STRINGS = frozenset(
    {"UNICODE", "BINUNICODE", "SHORT_BINUNICODE", "BINUNICODE8", "STRING", "BINSTRING"}
    | {"SHORT_BINSTRING"}
)
_PUTS = frozenset({"PUT", "BINPUT", "LONG_BINPUT", "MEMOIZE"})
_GETS = frozenset({"GET", "BINGET", "LONG_BINGET"})
_GROWING = frozenset({"APPEND", "APPENDS", "SETITEM", "SETITEMS", "ADDITEMS", "BUILD"})


@dataclass(frozen=True, slots=True)
class _Value:
    """What is known of a value on the stack: how deep it nests, and its text if it is one."""

    depth: int = 0
    text: str = "?"


class PickleStack:
    """The unpickler's stack and memo, with depths and texts in the place of values.

    A container is one deeper than its deepest part. What is put in the memo keeps the depth it
    had then: lists and dicts may grow later, but they cannot be hashed, and it is hashing that
    recurses without a limit of Python's own.
    """

    def __init__(self) -> None:
        self._values: list[_Value | None] = []  # None is a mark
        self._memo: dict[int, _Value] = {}

    def top_texts(self) -> tuple[str, str]:
        """The two values on top, below first: what STACK_GLOBAL takes."""
        module, name = self._values[-2:]
        return (module or _Value()).text, (name or _Value()).text

    def apply(self, opcode: pickletools.OpcodeInfo, argument: Any) -> int:
        """Applies one operation; returns the depth of what it leaves on top, else 0."""
        if opcode.name == "MARK":
            self._values.append(None)
            return 0
        if opcode.name in _PUTS:
            place = len(self._memo) if opcode.name == "MEMOIZE" else int(argument)
            self._memo[place] = self._values[-1] or _Value()
            return 0
        if opcode.name in _GETS:
            self._values.append(self._memo.get(int(argument), _Value()))
            return 0
        if opcode.name in STRINGS:
            self._values.append(_Value(text=str(argument)))
            return 0
        return self._combine(opcode)

    def _combine(self, opcode: pickletools.OpcodeInfo) -> int:
        parts: list[int] = []
        sliced = pickletools.stackslice in opcode.stack_before
        if sliced:
            while (value := self._values.pop()) is not None:
                parts.append(value.depth)
        fixed = len(opcode.stack_before) - 2 * sliced
        parts.extend((self._values.pop() or _Value()).depth for _ in range(fixed))
        if not opcode.stack_after:
            return 0
        if opcode.name in _GROWING:  # the container itself was popped last
            depth = max(parts[-1], 1 + max(parts[:-1], default=0))
        else:
            depth = 1 + max(parts) if parts else 0
        self._values.extend([_Value(depth)] * len(opcode.stack_after))
        return depth
