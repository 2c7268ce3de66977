"""The `heldout` section: which file, which column is what, and whether they fit."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

from model_eval.spec.code import find_code
from model_eval.spec.columns import column_names
from model_eval.spec.eval_spec import CodeRef, HeldOutSpec, ImageSpec, InputSpec, PathRef
from model_eval.spec.faults import Faults
from model_eval.spec.paths import Places
from model_eval.spec.slice_families import columns_of, find_families
from model_eval.spec.source import MAX_FAULTS, Node
from model_eval.spec.suggest import did_you_mean, listed
from model_eval.spec.tokens import Tokens, find_tokens
from model_eval.types import Location, Task
from model_eval.wording import printable

SUFFIXES: Mapping[str, str] = {
    ".parquet": "parquet",
    ".pq": "parquet",
    ".csv": "csv",
    ".npz": "npz",
    ".npy": "npy",
    ".pt": "pt",
    ".pth": "pt",
    ".safetensors": "safetensors",
}

_DEFAULTS: Mapping[str, Mapping[str, str]] = {
    "image_folder": {"inputs": "image", "target": "label", "id": "id"},
    "loader": {"inputs": "input", "target": "target"},
}
_CHANNELS = {"L": 1, "RGB": 3, "RGBA": 4}
_WILD = frozenset("*?[")
_MAX_COMPARISONS = 1_000_000


@dataclass(frozen=True, kw_only=True, slots=True)
class _Where:
    """Where the samples come from; `format` is None where that could not be told."""

    format: str | None
    path: PathRef | None = None
    columns_from: Mapping[str, PathRef] | None = None
    loader: CodeRef | None = None

    def columns(self) -> tuple[str, ...] | None:
        """The set's columns where they are known without loading it."""
        if self.columns_from:
            return tuple(self.columns_from)
        if self.path is None or self.format is None:
            return None
        return column_names(self.path.path, self.format)


def find_heldout(
    node: Node, task: Task | None, places: Places, faults: Faults
) -> HeldOutSpec | None:
    """The section with its defaults; None where it has a fault that leaves nothing to run."""
    where = _where(node, places, faults)
    defaults = _DEFAULTS.get(where.format or "", {})
    args, kwargs = _inputs(node, defaults, where, faults)
    tokens = find_tokens(node, task, faults)
    defaults = _shifted(defaults, tokens, (*args, *kwargs.values()))
    targets = _targets(node, defaults, task, where, faults)
    id_ = _text(node, "id", defaults.get("id"))
    cluster = _text(node, "cluster")
    known = where.columns() if places.looked_at else None
    families = find_families(node.get("slices"), known, faults)
    slices = tuple(dict.fromkeys(name for family in families for name in columns_of(family)))
    _check_columns(
        node,
        known,
        faults,
        inputs=(*args, *kwargs.values()),
        targets=() if tokens.shift else targets,
        id_=id_,
    )
    _refuse_folder(node, task, where, faults)
    transform = node.get("transform")
    sha256 = node.get("sha256")
    count = node.get("count")
    image = _image(node, where, faults)
    disjoint_from = _disjoint_from(node, where, places, faults)
    classes = _classes(node, task, targets, faults)
    found_transform = find_code(transform, places, faults) if transform else None
    if where.format is None:
        return None
    return HeldOutSpec(
        format=where.format,
        path=where.path,
        columns_from=where.columns_from or {},
        loader=where.loader,
        args=args,
        kwargs=kwargs,
        targets=targets,
        id=id_,
        cluster=cluster,
        weight=_text(node, "weight"),
        slices=slices,
        families=families,
        classes=classes,
        count=count.value if count else None,
        image=image,
        transform=found_transform,
        sha256=digest(sha256) if sha256 else None,
        disjoint_from=disjoint_from,
        location=node.key_location,
        locations={str(child.path[-1]): child.location for child in node.entries()},
        ignore_index=tokens.ignore_index,
        shift=tokens.shift,
        bytes=tokens.bytes,
    )


def find_golden(node: Node, places: Places, faults: Faults) -> HeldOutSpec | None:
    """Golden cases: a held-out set of a regression, whose targets are the recorded outputs."""
    where = _where(node, places, faults)
    args, kwargs = _inputs(node, {}, where, faults)
    outputs = node.get("outputs")
    targets = _names(outputs, faults) if outputs else ()
    id_ = _text(node, "id")
    known = where.columns() if places.looked_at else None
    _check_columns(node, known, faults, inputs=(*args, *kwargs.values()), targets=targets, id_=id_)
    if where.format is None or where.format == "image_folder":
        return None
    return HeldOutSpec(
        format=where.format,
        path=where.path,
        columns_from={},
        loader=None,
        args=args,
        kwargs=kwargs,
        targets=targets,
        id=id_,
        cluster=None,
        slices=(),
        classes=None,
        count=None,
        image=None,
        transform=None,
        sha256=digest(sha256) if (sha256 := node.get("sha256")) else None,
        disjoint_from=(),
        location=node.key_location,
        locations={str(child.path[-1]): child.location for child in node.entries()},
    )


def digest(node: Node) -> str:
    """A sha256 of the schema's form as 64 lower-case hex digits."""
    text: str = node.value
    return text.removeprefix("sha256:").lower()


def _where(node: Node, places: Places, faults: Faults) -> _Where:
    loader, path, stated = node.get("loader"), node.get("path"), node.get("format")
    if loader is not None:
        kwargs = node.get("kwargs")
        code = find_code(loader, places, faults, kwargs=kwargs.value if kwargs else None)
        return _Where(format="loader", loader=code)
    if path is None:
        return _Where(format=None)
    if isinstance(path.value, dict):
        return _npy_files(path, stated, places, faults)
    if stated is not None and stated.value == "npy":
        _refuse_single_npy(path, faults)
        return _Where(format=None)
    is_folder = stated is not None and stated.value == "image_folder"
    kind = "any" if stated is None else "folder" if is_folder else "file"
    found = places.find(path, faults, kind=kind)
    if stated is not None:
        return _Where(format=stated.value, path=found)
    if found is None:
        return _Where(format=SUFFIXES.get(Path(path.value).suffix.lower()))
    by_name = SUFFIXES.get(Path(path.value).suffix.lower())
    if found.path.is_dir() if places.looked_at else by_name is None:
        if by_name is not None:  # such as a Parquet data set of many files
            faults.add(
                path.location,
                f"`{printable(path.value)}` is a folder, not a file",
                "name one file in it; if it is a folder of images, add `format: image_folder`",
            )
            return _Where(format=None)
        return _Where(format="image_folder", path=found)
    if by_name == "npy":
        _refuse_single_npy(path, faults)
        return _Where(format=None)
    if by_name is None:
        faults.add(
            path.location,
            f"the name `{printable(path.value)}` does not say what format it is",
            "add `format:` with one of `parquet`, `csv`, `npz`, `pt`, `safetensors`; "
            "for any other file write a `loader:`",
        )
    return _Where(format=by_name, path=found)


def _refuse_single_npy(path: Node, faults: Faults) -> None:
    faults.add(
        path.location,
        f"`{printable(path.value)}` is one array, and a held-out set has inputs and targets",
        "name one file per column, for example `path: {pixels: x.npy, label: y.npy}`",
    )


def _npy_files(path: Node, stated: Node | None, places: Places, faults: Faults) -> _Where:
    if stated is not None and stated.value != "npy":
        faults.add(
            stated.location,
            f"a mapping of files is `npy`, not `{stated.value}`",
            "remove `format`, or name one file",
        )
    found: dict[str, PathRef] = {}
    for file in path.entries():
        if not str(file.value).lower().endswith(".npy"):
            faults.add(
                file.location,
                f"`{printable(file.value)}` is not a `.npy` file",
                "name one `.npy` file per column, or a single file of another format",
            )
        elif ref := places.find(file, faults):
            found[str(file.path[-1])] = ref
    complete = len(found) == len(path.value)
    return _Where(format="npy", columns_from=found if complete else None)


def _inputs(
    node: Node, defaults: Mapping[str, str], where: _Where, faults: Faults
) -> tuple[tuple[InputSpec, ...], dict[str, InputSpec]]:
    inputs = node.get("inputs")
    if inputs is None:
        if "inputs" not in defaults:
            _add_missing(node, "inputs", "the column that the model is given", where, faults)
            return (), {}
        return (_column_input(defaults["inputs"], node.key_location),), {}
    if isinstance(inputs.value, list):
        return tuple(_input(item, faults) for item in inputs.entries()), {}
    if isinstance(inputs.value, dict) and not {"column", "columns", "dtype"} & inputs.value.keys():
        return (), {_argument(item, faults): _input(item, faults) for item in inputs.entries()}
    return (_input(inputs, faults),), {}


def _argument(node: Node, faults: Faults) -> str:
    name = str(node.path[-1])
    if not name.isidentifier():
        faults.add(
            node.key_location,
            f"`{printable(name)}` is not the name of an argument",
            "write what the model's `forward` calls it, or a list for positional arguments",
        )
    return name


def _input(node: Node, faults: Faults) -> InputSpec:
    if isinstance(node.value, str):
        return _column_input(node.value, node.location)
    columns = node.get("columns")
    names = _names(columns, faults) if columns else (node.value["column"],)
    shape = node.value.get("shape")
    return InputSpec(
        columns=names,
        stack=columns is not None,
        dtype=node.value.get("dtype"),
        shape=tuple(shape) if shape is not None else None,
        scale=node.value.get("scale"),
        location=node.location,
    )


def _column_input(name: str, location: Location) -> InputSpec:
    return InputSpec(
        columns=(name,), stack=False, dtype=None, shape=None, scale=None, location=location
    )


def _targets(
    node: Node, defaults: Mapping[str, str], task: Task | None, where: _Where, faults: Faults
) -> tuple[str, ...]:
    target = node.get("target")
    if target is None:
        if "target" not in defaults:
            _add_missing(node, "target", "the column to predict", where, faults)
            return ()
        return (defaults["target"],)
    names = _names(target, faults)
    if len(names) > 1 and task not in {None, Task.REGRESSION, Task.MULTILABEL}:
        faults.add(
            target.location,
            f"a {task} task has one target, and here are {len(names)}",
            "name one column; only a regression and a multilabel task can have several",
        )
    return names


def _shifted(
    defaults: Mapping[str, str], tokens: Tokens, inputs: tuple[InputSpec, ...]
) -> Mapping[str, str]:
    """With `shift` the target is the input, where there is only one."""
    if not tokens.shift or len(inputs) != 1 or len(inputs[0].columns) != 1:
        return defaults
    return {**defaults, "target": inputs[0].columns[0]}


def _refuse_folder(node: Node, task: Task | None, where: _Where, faults: Faults) -> None:
    if where.format == "image_folder" and task in {
        Task.MULTILABEL,
        Task.SEGMENTATION,
        Task.LANGUAGE_MODELING,
    }:
        faults.add(
            node.key_location,
            f"a folder of images has a class for each image, and a {task} task needs other targets",
            "save inputs and targets as arrays, for example in `.npz`, or write a `loader:`",
        )


def _add_missing(node: Node, key: str, what: str, where: _Where, faults: Faults) -> None:
    if where.format is None or not node.lacks(key):
        return  # the default depends on the format, whose fault is reported
    faults.add(
        node.key_location,
        f"`{key}` is missing in `heldout`",
        f"add `{key}:`, {what}",
    )


def _names(node: Node, faults: Faults) -> tuple[str, ...]:
    return (node.value,) if isinstance(node.value, str) else _unique(node, faults)


def _unique(node: Node | None, faults: Faults) -> tuple[str, ...]:
    if node is None:
        return ()
    seen: set[str] = set()
    for item in node.entries():
        if item.value in seen and len(faults.found) < MAX_FAULTS:
            faults.add(
                item.location,
                f"`{printable(item.value)}` is in `{node.name}` a second time",
                "remove one of the two",
            )
        seen.add(item.value)
    return tuple(node.value)


def _text(node: Node, key: str, default: str | None = None) -> str | None:
    child = node.get(key)
    return child.value if child else default


def _classes(
    node: Node, task: Task | None, targets: tuple[str, ...], faults: Faults
) -> tuple[str, ...] | None:
    several = task is Task.MULTILABEL and len(targets) > 1
    classes = node.get("classes")
    if classes is None:
        return targets if several else None
    names = _unique(classes, faults)
    if task in {Task.REGRESSION, Task.LANGUAGE_MODELING}:
        what = "a regression" if task is Task.REGRESSION else f"a {task} task"
        faults.add(
            classes.key_location,
            f"`heldout.classes` is given, and {what} has no classes",
            "remove it, or correct `task`",
        )
    elif several and len(names) != len(targets):
        faults.add(
            classes.location,
            f"there are {len(names)} classes for {len(targets)} target columns",
            "name one for each column in the order of `target`, or remove `classes`",
        )
    elif task is Task.BINARY and len(names) != 2:
        faults.add(
            classes.location,
            f"a binary task has 2 classes, and here are {len(names)}",
            "name the negative and then the positive class, or write `task: multiclass`",
        )
    return names


def _check_columns(
    node: Node,
    known: tuple[str, ...] | None,
    faults: Faults,
    *,
    inputs: tuple[InputSpec, ...],
    targets: tuple[str, ...],
    id_: str | None,
) -> None:
    """Columns that do not exist, and inputs that would hand the model the answer."""
    if known is not None and len(known) * sum(len(i.columns) for i in inputs) > _MAX_COMPARISONS:
        known = None
    for name, location in _named_columns(node):
        if known is not None and name not in known:
            faults.add(
                location,
                f"the held-out set has no column `{printable(name)}`",
                did_you_mean(name, known, otherwise="its columns are"),
            )
    weight = _text(node, "weight")
    hidden = {
        **({id_: "the id"} if id_ else {}),
        **({weight: "the weight"} if weight else {}),
        **dict.fromkeys(targets, "the target"),
    }
    for source in inputs:
        for name in source.columns:
            _check_input(name, source.location, known, hidden, faults)


def _named_columns(node: Node) -> Iterator[tuple[str, Location]]:
    for key in ("target", "outputs", "id", "cluster", "weight", "bytes"):
        child = node.get(key)
        if child is None:
            continue
        for item in child.entries() if isinstance(child.value, list) else [child]:
            yield item.value, item.location
    slices = node.get("slices")
    for item in slices.entries() if slices else ():
        if isinstance(item.value, str):
            yield item.value, item.location
            continue
        for key in ("column", "columns"):
            if (child := item.get(key)) is not None:
                for one in child.entries() if isinstance(child.value, list) else [child]:
                    yield one.value, one.location


def _check_input(
    name: str,
    location: Location,
    known: tuple[str, ...] | None,
    hidden: Mapping[str, str],
    faults: Faults,
) -> None:
    shown = printable(name)
    if known is None or name in known or not _WILD & set(name):
        taken = [name]
    else:
        taken = [column for column in known if fnmatchcase(column, name)]
    for column in taken:
        if column in hidden:
            what = "is" if column == name else f"takes in `{printable(column)}`, which is"
            faults.add(
                location,
                f"the input `{shown}` {what} {hidden[column]}",
                "name only columns that the model may see",
            )
    if known is None or name in known:
        return
    if not _WILD & set(name):
        faults.add(
            location,
            f"the held-out set has no column `{shown}`",
            did_you_mean(name, known, otherwise="its columns are"),
        )
    elif not taken:
        faults.add(
            location,
            f"no column of the held-out set matches `{shown}`",
            f"its columns are {listed(known)}",
        )


def _image(node: Node, where: _Where, faults: Faults) -> ImageSpec | None:
    image = node.get("image")
    if image is not None and where.format not in {None, "image_folder"}:
        faults.add(
            image.key_location,
            "`heldout.image` is given, and the set is not an image folder",
            "remove it; say how columns become tensors under `inputs`",
        )
        return None
    if where.format != "image_folder":
        return None
    given: Mapping[str, Any] = image.value if image else {}
    mode = given.get("mode", "RGB")
    resize, crop = _size(given.get("resize")), _size(given.get("crop"))
    if image is not None:
        _check_image(image, mode, faults)
    return ImageSpec(
        mode=mode,
        resize=resize,
        interpolation=given.get("interpolation", "bilinear"),
        crop=crop if isinstance(crop, tuple) else None,
        scale=given.get("scale", 1 / 255),
        mean=tuple(given["mean"]) if "mean" in given else None,
        std=tuple(given["std"]) if "std" in given else None,
    )


def _size(value: Any) -> Any:
    return tuple(value) if isinstance(value, list) else value


def _check_image(image: Node, mode: str, faults: Faults) -> None:
    for key in ("mean", "std"):
        child = image.get(key)
        if child is not None and len(child.value) != _CHANNELS[mode]:
            faults.add(
                child.location,
                f"`{child.name}` has {len(child.value)} numbers, and {mode} images have "
                f"{_CHANNELS[mode]} channel{'s' if _CHANNELS[mode] > 1 else ''}",
                "write one number for each channel",
            )
    crop, resize = image.get("crop"), image.get("resize")
    if crop is None or resize is None or not isinstance(resize.value, list):
        return
    if any(c > r for c, r in zip(crop.value, resize.value, strict=True)):
        faults.add(
            crop.location,
            f"the crop {crop.value} is larger than the resized image {resize.value}",
            "crop to at most what `resize` gives",
        )


def _disjoint_from(
    node: Node, where: _Where, places: Places, faults: Faults
) -> tuple[PathRef, ...]:
    given = node.get("disjoint_from")
    if given is None:
        return ()
    _unique(given, faults)
    kind = {"image_folder": "folder", "loader": "any", None: "any"}.get(where.format, "file")
    own = {ref.path for ref in (where.columns_from or {}).values()}
    if where.path is not None:
        own.add(where.path.path)
    found = []
    for item in given.entries():
        ref = places.find(item, faults, kind=kind)
        if ref is not None and ref.path in own:
            faults.add(
                item.location,
                f"`{printable(item.value)}` is the held-out set itself",
                "name the training files",
            )
        elif ref is not None:
            found.append(ref)
    return tuple(found)
