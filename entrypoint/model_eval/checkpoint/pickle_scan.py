"""Reads the pickle of a checkpoint without running it: what it names, and what it would cost.

torch.load with `weights_only=True` remains the authority on what is safe. This scan comes before
it for two reasons: it says in plain words what a pickle holds beside tensors (torch's own message
advises to switch the protection off), and it refuses what torch would allow although a checkpoint
does not need it: a `bytearray` of 2 GiB from a file of 1 kB, and nesting that exhausts the stack.
"""

import builtins
import pickletools
import re
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field
from io import BytesIO
from typing import Any, BinaryIO

from model_eval.checkpoint.file import CheckpointFile
from model_eval.checkpoint.inspect import SAVE, TORCH_MAGIC
from model_eval.checkpoint.pickle_stack import STRINGS, PickleStack
from model_eval.checkpoint.zip_archive import LARGEST_PICKLE
from model_eval.errors import CheckpointError
from model_eval.wording import first_few, quote

MAX_OPERATIONS = 4_000_000
MAX_DEPTH = 100
"""How deep containers may nest; a state dict nests four deep, a training checkpoint ten."""

_ALLOWED = re.compile(
    r"""collections\.(OrderedDict|Counter)
    | builtins\.(set|complex)
    | _codecs\.encode
    | torch\.(Size|device|Tensor)
    | torch\.nn\.parameter\.Parameter
    | torch\.serialization\._get_layout
    | torch\._tensor\._rebuild_from_type_v2
    | torch\._utils\._rebuild_\w+
    | torch\.(cuda\.)?[A-Z]\w*Storage
    | torch\.storage\.(Untyped|Typed)Storage
    | torch\.per_(tensor|channel)_\w+
    | torch\.(u?int|b?float|b?complex|qu?int|bits)\d\w*
    | torch\.(bool|half|double|float|long|short|int)""",
    re.VERBOSE,
)
_KNOWN_AS = {
    "__builtin__": "builtins",
    "copy_reg": "copyreg",
    "posix": "os",
    "nt": "os",
    "pathlib._local": "pathlib",
    "numpy._core.multiarray": "numpy.core.multiarray",
}
"""What pickles call a module → what people call it."""

_PLAIN_DATA = frozenset({"argparse", "pathlib", "datetime", "collections", "types", "enum", "uuid"})
"""Modules of the standard library whose objects people save by accident, not to run code."""

_NAMED = frozenset({"GLOBAL", "INST", "STACK_GLOBAL"})
_UNKNOWN_TO_TORCH = frozenset({"EXT1", "EXT2", "EXT4", "OBJ", "PERSID", "NEXT_BUFFER"})


@dataclass(slots=True)
class _Found:
    """What one pickle holds, as far as can be told without running it."""

    names: dict[str, None] = field(default_factory=dict)
    is_module: bool = False
    protocol: int = 0
    first_value: Any = None
    odd: str | None = None


def scan_pickle(opened: CheckpointFile, content: bytes) -> None:
    """Scans the pickle of a zip archive.

    Raises:
        CheckpointError: it names anything but the parts of tensors, or is too large or too deep.
    """
    _judge(opened, _scan(opened, _Limited(BytesIO(content))))


def scan_legacy(opened: CheckpointFile) -> None:
    """Scans the five pickles at the beginning of a file that is not a zip archive.

    They are the magic number, the protocol version, facts about the machine, the object, and
    the keys of the storages; the raw storages follow and are not looked at.

    Raises:
        CheckpointError: as `scan_pickle`, or the file is a pickle but not one of torch.save.
    """
    opened.file.seek(0)
    limited = _Limited(opened.file)
    first = _scan(opened, limited)
    _judge(opened, first)
    if first.first_value != TORCH_MAGIC:
        raise opened.error("is a plain pickle, not a file of torch.save", SAVE)
    for _ in range(4):
        _judge(opened, _scan(opened, limited))
    opened.file.seek(0)


class _Limited:
    """A file that refuses to read more than a pickle can need; `genops` reads what it is told to."""

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        self._left = LARGEST_PICKLE

    def read(self, size: int) -> bytes:
        self._take(size)
        return self._file.read(size)

    def readline(self) -> bytes:
        line = self._file.readline(self._left + 1)
        self._take(len(line))
        return line

    def _take(self, size: int) -> None:
        self._left -= size
        if self._left < 0:
            raise ValueError("more than a pickle can need")


def _scan(opened: CheckpointFile, content: _Limited) -> _Found:
    found = _Found()
    stack = PickleStack()
    try:
        for number, (opcode, argument) in enumerate(_operations(content)):
            if number > MAX_OPERATIONS:
                raise opened.error(f"has a pickle of more than {MAX_OPERATIONS:,} operations", SAVE)
            _note(found, opcode.name, argument, stack)
            if stack.apply(opcode, argument) > MAX_DEPTH:
                raise opened.error(f"nests containers more than {MAX_DEPTH} deep", SAVE)
            if number == 1:
                found.first_value = argument
    except (ValueError, IndexError, UnicodeDecodeError) as error:
        _judge(opened, found)  # code in front of the damage is the better message
        raise opened.error("is damaged: its pickle cannot be read to its end", SAVE) from error
    return found


def _operations(content: _Limited) -> Iterator[tuple[pickletools.OpcodeInfo, Any]]:
    for opcode, argument, _ in pickletools.genops(content):  # type: ignore[arg-type]
        yield opcode, argument


def _note(found: _Found, name: str, argument: Any, stack: PickleStack) -> None:
    if name == "PROTO":
        found.protocol = argument
    elif name in STRINGS:
        found.is_module = found.is_module or argument == "_parameters"
    elif name in _NAMED:
        if name == "STACK_GLOBAL":
            module, attribute = stack.top_texts()
        else:
            module, _, attribute = str(argument).partition(" ")
        found.names[f"{_KNOWN_AS.get(module, module)}.{attribute}"] = None
    elif name in _UNKNOWN_TO_TORCH:
        found.odd = found.odd or name


def _judge(opened: CheckpointFile, found: _Found) -> None:
    refused = [name for name in found.names if not _ALLOWED.fullmatch(name)]
    if refused:
        raise _refusal(opened, found, refused)
    if found.odd:
        raise opened.error(
            f"has a pickle that torch.save does not write (operation {found.odd})", SAVE
        )
    if found.protocol > 3:
        raise opened.error(
            f"was saved with pickle protocol {found.protocol}, which cannot be read safely",
            "save it again without `pickle_protocol`",
        )


def _refusal(opened: CheckpointFile, found: _Found, refused: list[str]) -> CheckpointError:
    code = [name for name in refused if _is_code(name)]
    if "builtins.bytearray" in refused:
        return opened.error("holds a `bytearray`, which no state dict needs", SAVE)
    if code:
        return opened.error(
            f"contains code: {first_few(code)}",
            f"do not load this file anywhere; if it is yours, {SAVE}",
        )
    if found.is_module:
        own = [name for name in refused if not name.startswith("torch.")] or refused
        return opened.error(f"is a whole pickled model ({quote(own[0])}), which is code", SAVE)
    return opened.error(
        f"holds objects that are not tensors: {first_few(refused)}",
        f"convert them to plain numbers and texts, or {SAVE}",
    )


def _is_code(name: str) -> bool:
    """Whether it is of the standard library and can do more than hold data."""
    root, _, attribute = name.partition(".")
    if root == "builtins":
        return not isinstance(getattr(builtins, attribute, None), type)
    return root in sys.stdlib_module_names and root not in _PLAIN_DATA
