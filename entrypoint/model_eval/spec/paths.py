"""Paths of a spec: relative to its folder, resolved, and inside the roots."""

import os
import stat
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

from model_eval.spec.eval_spec import PathRef
from model_eval.spec.faults import Faults
from model_eval.spec.files import NotRegularError, explain, kind_of
from model_eval.spec.source import Node
from model_eval.spec.suggest import closest
from model_eval.types import Location
from model_eval.wording import printable, printable_path

_MAX_SIBLINGS = 1000


@dataclass(frozen=True, kw_only=True, slots=True)
class Places:
    """Where paths start and where they must stay; all absolute and resolved.

    Attributes:
        looked_at: False for a spec of another commit, whose files need not be in this one. No file
            is touched then, and a path is what is written.
    """

    base: Path
    roots: tuple[Path, ...]
    looked_at: bool = True

    def display(self, path: Path) -> str:
        """The path relative to the first root where it is inside, else whole."""
        if path.is_relative_to(self.roots[0]):
            return path.relative_to(self.roots[0]).as_posix()
        return str(path)

    def find(self, node: Node, faults: Faults, *, kind: str = "file") -> PathRef | None:
        """The path that a node names; None, and a fault, where it cannot be used."""
        return self.find_text(node.value, node.location, faults, kind=kind)

    def find_text(
        self, text: str, location: Location, faults: Faults, *, kind: str = "file"
    ) -> PathRef | None:
        """The same for a text at a place. `kind` is `file`, `folder` or `any` of the two."""
        as_written = Path(os.path.normpath(self.base / text))
        if not self.looked_at:
            return PathRef(path=as_written, display=self.display(as_written), location=location)
        path = Path(os.path.realpath(self.base / text))
        if not any(path.is_relative_to(root) for root in self.roots):
            self._add_escape(text, path, location, faults)
            return None
        if not self._require(kind, text, path, location, faults):
            return None
        return PathRef(path=path, display=self.display(as_written), location=location)

    def _require(
        self, kind: str, text: str, path: Path, location: Location, faults: Faults
    ) -> bool:
        try:
            mode = path.stat().st_mode
            found = kind_of(mode)
            if found == kind or (kind == "any" and found in {"file", "folder"}):
                return True
            if kind == "folder" and stat.S_ISREG(mode):
                faults.add(
                    location, f"`{printable(text)}` is a file, not a folder", "name a folder"
                )
                return False
            raise NotRegularError(0, found)
        except OSError as error:
            what, remedy = explain(error, self.base / text)
            if text.startswith("~"):
                remedy = "`~` is not expanded; write a path inside the repository"
            elif what == "does not exist" and (sibling := _sibling(self.base / text)):
                remedy = f"did you mean `{printable(str(Path(text).with_name(sibling)))}`?"
            faults.add(location, f"`{printable(text)}` {what}", remedy)
        return False

    def _add_escape(self, text: str, path: Path, location: Location, faults: Faults) -> None:
        shown = printable(text)
        roots = " or ".join(f"`{printable_path(root)}`" for root in self.roots)
        if Path(os.path.normpath(self.base / text)) != path:
            remedy = (
                f"it is a symlink to `{printable_path(path)}`; "
                "put the file itself there, or name its folder with `--allow-path`"
            )
        else:
            remedy = "move the file inside, or name its folder with `--allow-path`"
        faults.add(location, f"`{shown}` is outside of {roots}", remedy)


def _sibling(path: Path) -> str | None:
    """A name in the same folder that is like the one that is missing."""
    try:
        with os.scandir(path.parent) as entries:
            names = [entry.name for entry in islice(entries, _MAX_SIBLINGS)]
    except OSError:
        return None
    return closest(path.name, sorted(names))


def make_places(spec: Path, roots: Sequence[Path]) -> Places:
    """The places for a spec at an absolute path."""
    return Places(
        base=Path(os.path.realpath(spec.parent)),
        roots=tuple(Path(os.path.realpath(root)) for root in roots),
    )
