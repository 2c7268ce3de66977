"""Opens the held-out set that a spec names, whatever its format."""

from collections.abc import Callable
from typing import Any

from model_eval.errors import HeldOutError
from model_eval.heldout import readers
from model_eval.heldout.batch import Labels
from model_eval.heldout.digest import Seal, seal_file, seal_files
from model_eval.heldout.disjoint import check_disjoint
from model_eval.heldout.files import check_kind, require_file
from model_eval.heldout.heldout_set import HeldOut, require_pin, source_of
from model_eval.heldout.readers.base import Reader
from model_eval.heldout.readers.image_folder import ImageFolderReader, list_images
from model_eval.heldout.readers.loader import LoaderReader
from model_eval.heldout.readers.numpy_files import open_npy
from model_eval.heldout.wording import place_of
from model_eval.spec.eval_spec import CodeRef, HeldOutSpec
from model_eval.spec.suggest import listed
from model_eval.types import Task
from model_eval.wording import count, quote


def open_heldout(
    spec: HeldOutSpec,
    *,
    task: Task,
    resolve: Callable[[CodeRef], Callable[..., Any]],
    look: Callable[[Labels], None] = lambda _labels: None,
) -> HeldOut:
    """Opens the set that a spec names; checks all that can be checked without a model.

    That is: the pin, the columns, every label, unique ids, the count, and `disjoint_from`. Of a
    loader, labels and ids are checked during a pass, and the pin after it.

    Args:
        spec: where the set is and which column is what.
        task: decides what a target is.
        resolve: finds the user's function for `loader`.
        look: is shown all labels of files, as they are checked.

    Raises:
        HeldOutError: the set cannot be used.
        LeakError: it shares samples with a file of `disjoint_from`.
        UserCodeError: the loader failed.
    """
    heldout = _open(spec, task=task, resolve=resolve)
    heldout.check_labels(look)
    compared = check_disjoint(spec, heldout)
    heldout.disjoint_from = compared.files
    heldout.notes += compared.notes
    return heldout


def _open(
    spec: HeldOutSpec, *, task: Task, resolve: Callable[[CodeRef], Callable[..., Any]]
) -> HeldOut:
    if spec.loader is not None:
        loader = LoaderReader(spec.loader, resolve(spec.loader), count=spec.count)
        return HeldOut(spec, task=task, reader=loader, seal=None)
    reader, seal = _open_files(spec, task)
    if reader.rows == 0:
        raise HeldOutError(
            f"{quote(source_of(spec))} has no samples",
            remedy="an empty set can judge nothing; write the samples again",
            location=place_of(spec, "path"),
        )
    if spec.count is not None and spec.count != reader.rows:
        raise HeldOutError(
            f"{quote(source_of(spec))} has {reader.rows} samples, "
            f"the spec states `count: {spec.count}`",
            remedy="correct the one that is wrong",
            location=place_of(spec, "count"),
        )
    return HeldOut(spec, task=task, reader=reader, seal=seal)


def _open_files(spec: HeldOutSpec, task: Task) -> tuple[Reader, Seal]:
    if spec.columns_from:
        for ref in spec.columns_from.values():
            require_file(ref)
            check_kind(ref, "npy")
        seal = seal_files(spec.columns_from)
        require_pin(spec, seal.sha256)
        return open_npy(spec.columns_from), seal
    if spec.path is None:
        raise HeldOutError("the spec names no held-out set", location=spec.location)
    if spec.format == "image_folder":
        images = list_images(spec.path)
        seal = seal_files(images)
        require_pin(spec, seal.sha256)
        reader = ImageFolderReader(spec.path, images, spec.image)
        if task is Task.BINARY and spec.classes is None:
            _require_two(spec, reader.classes)
        return reader, seal
    require_file(spec.path)
    check_kind(spec.path, spec.format)
    seal = seal_file(spec.path)
    require_pin(spec, seal.sha256)
    return readers.open_file(spec.path, spec.format), seal


def _require_two(spec: HeldOutSpec, folders: tuple[str, ...]) -> None:
    """With a single folder nobody says whether it is the negative or the positive class."""
    if len(folders) not in {0, 2}:
        raise HeldOutError(
            f"{quote(source_of(spec))} has {count(len(folders), 'class folder')}, "
            f"{listed(folders)}, and a binary task has 2 classes",
            remedy="write `task: multiclass`, or name the two in `classes:`, the negative first, "
            "and move the other folders away",
            location=place_of(spec, "path"),
        )
