"""The files that a spec names by a path: which they are, and their digests."""

import json
import os
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from stat import S_ISREG
from typing import Any

from model_eval.spec.digest import sha256_of, sha256_of_all
from model_eval.spec.eval_spec import CheckpointSpec, EvalSpec, HeldOutSpec, PathRef
from model_eval.spec.files import explain, open_regular, stamp_of
from model_eval.store.unproved import UnprovedError
from model_eval.types import sha256_of_digests
from model_eval.wording import quote

_LARGEST_INDEX = 64 << 20


class Digests:
    """Digests of files, each read once as long as the file system says that it is the same."""

    def __init__(self) -> None:
        self._known: dict[tuple[int, ...], str] = {}

    def of(self, path: Path, *, display: str) -> str:
        """SHA-256 of a file.

        Raises:
            UnprovedError: it cannot be read.
        """
        try:
            stamp = stamp_of(path.stat())
            if stamp not in self._known:
                self._known[stamp] = sha256_of(path)
            return self._known[stamp]
        except (OSError, ValueError) as error:
            raise UnprovedError(f"{quote(display)} {explain(error, path)[0]}") from error


@dataclass(frozen=True, kw_only=True, slots=True)
class SetDigests:
    """Of a held-out set, as `HeldOutInfo` has it, and of the training files it is compared with.

    Attributes:
        columns: those that the set's ledger has because its spec asks for them.
    """

    sha256: str
    disjoint_from: tuple[str, ...]
    columns: tuple[str, ...]


def checkpoint_files(spec: CheckpointSpec) -> tuple[PathRef, ...]:
    """The checkpoint's file; of an index, the index and its shards in the order of their names.

    Raises:
        UnprovedError: the index is none, which is for the loader to say.
    """
    if spec.path.path.suffix.lower() != ".json":
        return (spec.path,)
    try:
        with open_regular(spec.path.path) as file:
            placed: Any = json.loads(file.read(_LARGEST_INDEX))["weight_map"]
        names = sorted(set(placed.values()))
        beside = all(_is_name(name) for name in names)
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise UnprovedError(f"{quote(spec.path.display)} is no index of shards") from error
    if not beside:  # the loader refuses it; here it would lead to any file, or to none
        raise UnprovedError(f"{quote(spec.path.display)} is no index of shards beside it")
    folder, shown = spec.path.path.parent, os.path.dirname(spec.path.display)  # noqa: PTH120
    return (
        spec.path,
        *(
            PathRef(
                path=folder / name,
                display=os.path.join(shown, name),  # noqa: PTH118
                location=spec.path.location,
            )
            for name in names
        ),
    )


def _is_name(text: str) -> bool:
    return PurePosixPath(text).name == text and text not in {"", ".."} and "\0" not in text


def checkpoint_digest(spec: CheckpointSpec, digests: Digests) -> str:
    """One digest of all files, as a ledger has it."""
    found = [digests.of(ref.path, display=ref.display) for ref in checkpoint_files(spec)]
    return sha256_of_digests(found)


def set_digests(spec: HeldOutSpec, digests: Digests) -> SetDigests:
    """The digests of a held-out set's files.

    Raises:
        UnprovedError: a loader gives the samples, or a file cannot be read.
    """
    if spec.path is not None:
        sha256 = _digest_of(spec.path, digests)
    elif spec.columns_from:
        sha256 = sha256_of_all(
            {
                name: digests.of(ref.path, display=ref.display)
                for name, ref in spec.columns_from.items()
            }
        )
    else:
        raise UnprovedError("a loader's samples are not known before it was run")
    return SetDigests(
        sha256=sha256,
        disjoint_from=tuple(_digest_of(ref, digests) for ref in spec.disjoint_from),
        columns=(
            *(f"slice:{name}" for name in spec.slices),
            *(("weight",) if spec.weight is not None else ()),
            *(("cluster",) if spec.cluster is not None else ()),
        ),
    )


def measured_paths(spec: EvalSpec) -> frozenset[str]:
    """The paths, resolved, of the files that are measured: their digests are in the key."""
    refs = [*_of_checkpoint(spec.checkpoint)]
    for one in (*spec.heldouts.values(), *((spec.golden.heldout,) if spec.golden else ())):
        refs += (one.path,) if one.path else ()
        refs += (*one.columns_from.values(), *one.disjoint_from)
    return _resolved(refs)


def judging_paths(spec: EvalSpec) -> frozenset[str]:
    """The paths, resolved, of the other files that the spec names: they are looked at afterwards."""
    refs = [spec.held_out_ledger] if spec.held_out_ledger is not None else []
    if (baseline := spec.baseline) is not None:
        refs += _of_checkpoint(baseline.checkpoint) if baseline.checkpoint else ()
        refs += (baseline.ledger,) if baseline.ledger else ()
    return _resolved(refs)


def _resolved(refs: Iterable[PathRef]) -> frozenset[str]:
    return frozenset(os.path.realpath(ref.path) for ref in refs)


def _of_checkpoint(spec: CheckpointSpec) -> tuple[PathRef, ...]:
    try:
        return checkpoint_files(spec)
    except UnprovedError:  # said where its digest is needed
        return (spec.path,)


def _digest_of(ref: PathRef, digests: Digests) -> str:
    if not ref.path.is_dir():
        return digests.of(ref.path, display=ref.display)
    contents = {
        name: digests.of(path, display=f"{ref.display}/{name}") for name, path in _files_in(ref)
    }
    return sha256_of_all(contents)


def _files_in(ref: PathRef) -> Iterator[tuple[str, Path]]:
    """Path inside a folder → file, without hidden ones, as the reader of image folders finds them."""
    root = ref.path.resolve()

    def refuse(error: OSError) -> None:
        raise UnprovedError(f"{quote(ref.display)} cannot be read: {error.strerror}") from error

    for folder, folders, names in os.walk(root, onerror=refuse, followlinks=False):
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        for name in sorted(names):
            path = Path(folder) / name
            if not name.startswith(".") and _is_file(path, ref):
                yield path.relative_to(root).as_posix(), path


def _is_file(path: Path, ref: PathRef) -> bool:
    try:
        return S_ISREG(path.stat().st_mode)
    except OSError as error:
        shown = f"{ref.display}/{path.name}"
        raise UnprovedError(f"{quote(shown)} {explain(error, path)[0]}") from error
