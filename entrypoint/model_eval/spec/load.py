"""Loads a spec: reads, parses, checks, and reports all faults at once."""

import os
from collections.abc import Iterable, Sequence
from dataclasses import replace
from hashlib import sha256
from pathlib import Path

from model_eval.errors import SpecError
from model_eval.spec import schema, semantics, source
from model_eval.spec.eval_spec import EvalSpec, PathRef
from model_eval.spec.paths import Places, make_places
from model_eval.types import Fault, Location
from model_eval.wording import printable, printable_path


def load_spec(path: Path, *, roots: Sequence[Path]) -> EvalSpec:
    """Reads and checks a spec.

    Args:
        path: the YAML file. Paths in it are relative to its folder.
        roots: folders in which the spec and every file it names must be, symlinks resolved.
            Places in messages are shown relative to the first.

    Raises:
        SpecError: with every fault that was found, in the order of the file.
        ValueError: there are no roots.
    """
    if not roots:
        raise ValueError("load_spec needs at least one root")
    if "\0" in str(path):
        message = f"the spec `{printable_path(path)}` cannot be read: its name holds a NUL"
        raise SpecError((Fault(code=SpecError.code, message=message, remedy="correct the path"),))
    absolute = path.absolute()
    places = make_places(absolute, roots)
    real = Path(os.path.realpath(absolute))
    as_named = places.base / absolute.name
    display = printable(
        places.display(as_named) if as_named.is_relative_to(places.roots[0]) else str(path), 500
    )
    if not any(real.is_relative_to(root) for root in places.roots):
        raise SpecError(
            (
                Fault(
                    code=SpecError.code,
                    message=f"the spec `{display}` is outside of "
                    + " or ".join(f"`{printable_path(root)}`" for root in places.roots),
                    remedy="move it inside, or name its folder with `--allow-path`",
                ),
            )
        )
    return _built(source.read(absolute, display=display), file=real, display=display, places=places)


def load_base_spec(data: bytes, *, at: Path, roots: Sequence[Path]) -> EvalSpec:
    """Checks the base branch's version of a spec.

    All is checked but for the files that it names, which this commit need not have.

    Args:
        data: the YAML file; in messages it is `model-eval.yaml (base)`.
        at: where the spec itself is, from whose folder paths start.
        roots: as for `load_spec`.

    Raises:
        SpecError: with every fault that was found, in the order of the file.
    """
    places = replace(make_places(at.absolute(), roots), looked_at=False)
    as_named = places.base / at.name
    inside = as_named.is_relative_to(places.roots[0])
    display = f"{printable(places.display(as_named) if inside else str(at), 500)} (base)"
    return _built(data, file=as_named, display=display, places=places)


def _built(data: bytes, *, file: Path, display: str, places: Places) -> EvalSpec:
    root = source.parse(data, file=display).root
    wrong = schema.check(root)
    unsound = frozenset(
        path for fault in wrong for path in (fault.path, fault.meant) if path is not None
    )
    root = replace(root, source=replace(root.source, unsound=unsound))
    spec, found = semantics.build(
        root,
        places=places,
        source=PathRef(
            path=file, display=display, location=Location(file=display, line=1, column=1)
        ),
        sha256=sha256(data).hexdigest(),
        size=len(data),
    )
    faults = _in_order([*(fault.fault for fault in wrong), *found.found])
    if faults or spec is None:
        raise SpecError(faults)
    return spec


def _in_order(faults: Iterable[Fault]) -> tuple[Fault, ...]:
    """By place, each once, at most `MAX_FAULTS` and then how many more there are."""
    ordered = sorted(dict.fromkeys(faults), key=_place)
    shown = ordered[: source.MAX_FAULTS]
    if more := len(ordered) - len(shown):
        shown.append(
            Fault(
                code=SpecError.code,
                message=f"{more} more fault{'s' if more > 1 else ''} not shown",
                remedy="correct these first",
            )
        )
    return tuple(shown)


def _place(fault: Fault) -> tuple[int, int]:
    return (fault.location.line, fault.location.column) if fault.location else (0, 0)
