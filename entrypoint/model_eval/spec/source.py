"""A YAML file → plain values, with the line and column of every key and value.

Built on PyYAML's events, not its constructors: nothing is ever constructed from a tag, no alias
is ever expanded, and nesting is a list here, so no input can exhaust the stack.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from itertools import islice
from pathlib import Path
from typing import Any

import yaml

from model_eval.errors import SpecError
from model_eval.spec import scalars
from model_eval.spec.files import explain, open_regular
from model_eval.types import Fault, Location
from model_eval.wording import printable

MAX_BYTES = 256 * 1024
MAX_DEPTH = 32
MAX_FAULTS = 25

Key = str | int
Path_ = tuple[Key, ...]

# libyaml where PyYAML was built with it (all wheels are): 256 KiB in a fraction of a second.
_LOADER = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


@dataclass(frozen=True, kw_only=True, slots=True)
class Source:
    """A parsed file.

    Attributes:
        file: its name for people.
        value: dicts with text keys, lists, str, int, float, bool and None.
        values: path of keys and indexes → where the value begins.
        keys: the same → where its key begins; items of lists have none.
        loose: paths of plain `yes`, `no`, `on` and `off`, which are text here and booleans in
            YAML 1.1 → the word.
        unsound: paths of what the schema found at fault, or found missing.
    """

    file: str
    value: Any
    values: Mapping[Path_, Location]
    keys: Mapping[Path_, Location]
    loose: Mapping[Path_, str]
    unsound: frozenset[Path_] = frozenset()

    @property
    def root(self) -> "Node":
        """The whole file."""
        return Node(source=self, path=(), value=self.value)


@dataclass(frozen=True, kw_only=True, slots=True)
class Node:
    """A value in a file: what it is and where."""

    source: Source
    path: Path_
    value: Any

    @property
    def location(self) -> Location:
        """Where the value begins."""
        return self.source.values[self.path]

    @property
    def key_location(self) -> Location:
        """Where its key begins; the value where it has none."""
        return self.source.keys.get(self.path, self.location)

    @property
    def name(self) -> str:
        """`heldout.classes[0]`."""
        return dotted(self.path)

    def get(self, key: str) -> "Node | None":
        """The value under a key of this mapping; None where it is absent or holds a fault."""
        found = self.section(key)
        return found if found is not None and found.is_sound else None

    def section(self, key: str) -> "Node | None":
        """The same, where faults inside of it do not matter: those parts are left out."""
        if not isinstance(self.value, dict) or key not in self.value:
            return None
        found = self.child(key)
        return None if found.path in self.source.unsound else found

    def lacks(self, key: str) -> bool:
        """True where a key is absent and that was not reported."""
        return key not in self.value and (*self.path, key) not in self.source.unsound

    @property
    def is_sound(self) -> bool:
        """True where the schema found no fault here or anywhere inside."""
        depth = len(self.path)
        return not any(path[:depth] == self.path for path in self.source.unsound)

    def entries(self) -> Iterator["Node"]:
        """The values of this mapping or the items of this list."""
        keys = self.value if isinstance(self.value, dict) else range(len(self.value))
        return (self.child(key) for key in keys)

    def child(self, key: Key) -> "Node":
        """The value under a key or index that is there."""
        return Node(source=self.source, path=(*self.path, key), value=self.value[key])


def dotted(path: Path_) -> str:
    """`("heldout", "classes", 0)` → `heldout.classes[0]`."""
    text = ""
    for part in path:
        if isinstance(part, int):
            text += f"[{part}]"
        else:
            text += f".{printable(part)}" if text else printable(part)
    return text or "the spec"


def read(path: Path, *, display: str) -> bytes:
    """The bytes of a spec.

    Raises:
        SpecError: it is missing, no regular file, unreadable or over 256 KiB.
    """
    try:
        with open_regular(path) as file:
            data = file.read(MAX_BYTES + 1)
    except (OSError, ValueError) as error:
        what, remedy = explain(error, path)
        raise SpecError((_fault(f"the spec `{display}` {what}", remedy),)) from None
    if len(data) > MAX_BYTES:
        raise SpecError(
            (
                _fault(
                    f"the spec `{display}` is larger than {MAX_BYTES // 1024} KiB",
                    "name the spec, not a data file; a spec holds names, not data",
                ),
            )
        )
    if data.startswith(b"version https://git-lfs.github.com/"):
        raise SpecError(
            (
                _fault(
                    f"the spec `{display}` is a Git LFS pointer, not its contents",
                    "check out with `lfs: true`, or keep the spec out of LFS",
                ),
            )
        )
    return data


def parse(data: bytes, *, file: str) -> Source:
    """Parses the bytes of one YAML document whose root is a mapping.

    Raises:
        SpecError: with everything that is wrong, up to the first place where reading on would
            be guessing.
    """
    text = _decode(data, file)
    builder = _Builder(file=file)
    try:
        for event in yaml.parse(text, Loader=_LOADER):
            builder.feed(event)
    except yaml.YAMLError as error:
        builder.faults.append(_syntax_fault(error, text, file))
    except _StopError:
        pass
    if not builder.faults and not isinstance(builder.root, dict):
        builder.faults.append(_no_mapping(builder, file))
    if builder.faults:
        raise SpecError(tuple(builder.faults))
    return Source(
        file=file,
        value=builder.root,
        values=builder.values,
        keys=builder.keys,
        loose=builder.loose,
    )


class _StopError(Exception):
    """What follows would only be reported because of what came before."""


_NO_KEY: Any = object()


@dataclass(slots=True)
class _Frame:
    """A mapping or list that is being filled."""

    container: dict[Key, Any] | list[Any]
    path: Path_
    key: Any = _NO_KEY


@dataclass(slots=True)
class _Builder:
    file: str
    root: Any = None
    documents: int = 0
    faults: list[Fault] = field(default_factory=list)
    values: dict[Path_, Location] = field(default_factory=dict)
    keys: dict[Path_, Location] = field(default_factory=dict)
    loose: dict[Path_, str] = field(default_factory=dict)
    stack: list[_Frame] = field(default_factory=list)
    unnamed: int = 0

    def feed(self, event: Any) -> None:
        if isinstance(event, yaml.DocumentStartEvent):
            self.documents += 1
            if self.documents > 1:
                self._add(event, "a second document begins here", "keep one document in each file")
                raise _StopError
        elif isinstance(event, yaml.AliasEvent):
            self._add(
                event,
                f"aliases such as `*{printable(str(event.anchor))}` are not allowed",
                "write the value out; text that begins with `*` needs quotes",
            )
            self._place(None, event)
        elif isinstance(event, yaml.ScalarEvent):
            self._refuse_tag(event)
            self._scalar(event)
        elif isinstance(event, (yaml.MappingStartEvent, yaml.SequenceStartEvent)):
            self._refuse_tag(event)
            self._open(event)
        elif isinstance(event, (yaml.MappingEndEvent, yaml.SequenceEndEvent)):
            self.stack.pop()

    def _open(self, event: Any) -> None:
        if len(self.stack) >= MAX_DEPTH:
            self._add(
                event,
                f"this is nested more than {MAX_DEPTH} deep",
                "a spec needs no such nesting; flatten it",
            )
            raise _StopError
        container: dict[Key, Any] | list[Any] = (
            {} if isinstance(event, yaml.MappingStartEvent) else []
        )
        if self.stack and self._expects_key(self.stack[-1]):
            self._add(event, "a key must be text", "put it in quotes, or write `key: value`")
        path = self._place(container, event)
        self.stack.append(_Frame(container=container, path=path))

    def _scalar(self, event: Any) -> None:
        value: Any = event.value
        plain = event.implicit[0] and event.tag is None
        if plain:
            try:
                value = scalars.resolve(event.value)
            except scalars.ScalarError as error:
                self._add(event, error.message, error.remedy)
        expects_key = bool(self.stack) and self._expects_key(self.stack[-1])
        if expects_key and plain and value == "<<":
            self._add(event, "merges (`<<`) are not allowed", "write the keys out")
        elif expects_key and not isinstance(value, str):
            shown = printable(event.value) or "an empty key"
            self._add(
                event, f"the key `{shown}` is not text", "put it in quotes, or write `key: value`"
            )
            value = event.value
        path = self._place(value, event)
        if plain and isinstance(value, str) and scalars.looks_boolean(value):
            self.loose[path] = value

    @staticmethod
    def _expects_key(frame: _Frame) -> bool:
        return isinstance(frame.container, dict) and frame.key is _NO_KEY

    def _place(self, value: Any, event: Any) -> Path_:
        """Puts a value where it belongs; returns its path. A key only becomes the next key."""
        if not self.stack:
            if self.documents == 1:
                self.root = value
                self.values[()] = self._at(event)
            return ()
        frame = self.stack[-1]
        if isinstance(frame.container, list):
            path = (*frame.path, len(frame.container))
            frame.container.append(value)
            self.values[path] = self._at(event)
            return path
        if frame.key is _NO_KEY:
            self._take_key(frame, value, event)
            return (*frame.path, frame.key)
        path = (*frame.path, frame.key)
        frame.container[frame.key] = value
        frame.key = _NO_KEY
        self.values[path] = self._at(event)
        return path

    def _take_key(self, frame: _Frame, value: Any, event: Any) -> None:
        path = (*frame.path, value)
        if not isinstance(value, str) or path in self.keys:
            # Reported here or before; under an unused key its contents disturb nothing else.
            self.unnamed += 1
            frame.key = f"\0{self.unnamed}"
        else:
            frame.key = value
        if not isinstance(value, str):
            return
        if path in self.keys:
            first = self.keys[path]
            self._add(
                event,
                f"the key `{printable(value)}` is given a second time",
                f"keep one; the first is in line {first.line}",
            )
            return
        self.keys[path] = self._at(event)

    def _refuse_tag(self, event: Any) -> None:
        if event.tag is not None:
            self._add(
                event,
                f"tags such as `{printable(str(event.tag))}` are not allowed",
                "write the plain value; text that begins with `!` needs quotes",
            )

    def _at(self, event: Any) -> Location:
        mark = event.start_mark
        return Location(file=self.file, line=mark.line + 1, column=mark.column + 1)

    def _add(self, event: Any, message: str, remedy: str) -> None:
        self.faults.append(_fault(message, remedy, self._at(event)))
        if len(self.faults) == MAX_FAULTS:
            self.faults.append(
                _fault(f"reading stopped after {MAX_FAULTS} faults", "correct these first")
            )
            raise _StopError


def _decode(data: bytes, file: str) -> str:
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        before = data[: error.start]
        location = Location(
            file=file,
            line=before.count(b"\n") + 1,
            column=error.start - (before.rfind(b"\n") + 1) + 1,
        )
        raise SpecError(
            (
                _fault(
                    f"the byte 0x{data[error.start]:02x} here is not UTF-8",
                    "save the file as UTF-8",
                    location,
                ),
            )
        ) from None


def _syntax_fault(error: yaml.YAMLError, text: str, file: str) -> Fault:
    """A parser's error in one line; its marks count from 0."""
    mark = getattr(error, "problem_mark", None)
    problem = getattr(error, "problem", None) or getattr(error, "reason", None) or "cannot be read"
    remedy = "correct the syntax here or just above"
    if mark is not None:
        location = Location(file=file, line=mark.line + 1, column=mark.column + 1)
        line = next(islice(text.split("\n"), mark.line, None), "")
        following = line[mark.column :]
        if following.startswith("\t"):
            problem, remedy = "a tab cannot indent", "indent with spaces"
        elif line[: mark.column].endswith(("*", "&")):
            problem = f"text cannot begin with `{line[mark.column - 1]}`"
            remedy = "put it in quotes"
            location = replace(location, column=mark.column)
        elif following.startswith(("@", "`", "%")):
            problem = f"text cannot begin with `{following[0]}`"
            remedy = "put it in quotes"
        elif "mapping values are not allowed" in problem:
            problem = "a `:` cannot stand here"
            remedy = "put text that holds `: ` in quotes, or correct the indentation"
    else:
        position = getattr(error, "position", 0)
        before = text[:position]
        location = Location(
            file=file, line=before.count("\n") + 1, column=position - before.rfind("\n")
        )
    return _fault(f"this is not YAML: {printable(str(problem), 200)}", remedy, location)


def _no_mapping(builder: _Builder, file: str) -> Fault:
    location = builder.values.get((), Location(file=file, line=1, column=1))
    if builder.root is None:
        return _fault("the spec is empty", "begin with `version: 1`; see docs/spec.md", location)
    return _fault(
        "a spec is a mapping of keys to values, and this is not",
        "begin with `version: 1`; see docs/spec.md",
        location,
    )


def _fault(message: str, remedy: str, location: Location | None = None) -> Fault:
    return Fault(code=SpecError.code, message=message, remedy=remedy, location=location)
