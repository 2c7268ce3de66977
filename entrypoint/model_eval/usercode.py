"""Finds the callables of the user's that a spec names: factory, loader, transform, postprocess, metrics.

This is the one place that imports code of the repository being judged. The folder of the file
(and the spec's folder) is *appended* to `sys.path`, never put first, so that a `yaml.py` of the
pull request cannot stand in for the real one.
"""

import importlib
import importlib.util
import os
import sys
import sysconfig
from collections.abc import Callable, Mapping
from functools import cache
from importlib.machinery import ModuleSpec, SourceFileLoader
from pathlib import Path
from types import TracebackType
from typing import Any

from model_eval.errors import Interrupted, UserCodeError
from model_eval.spec.eval_spec import CodeRef
from model_eval.wording import printable, quote

_LONGEST_MESSAGE = 500
_SITES = ("site-packages", "dist-packages")
"""Folders that `pip` and systems install into, of other environments, too, which this one may see."""

_NOT_THE_USERS = (
    str(Path(__file__).parent),
    *(sysconfig.get_paths()[name] for name in ("stdlib", "purelib", "platlib")),
)


def compile_anew() -> None:
    """Has modules compiled from their sources, whatever bytecode lies beside them; not what is installed.

    Python holds bytecode against the time and the size of its source alone, which a copy may keep while
    the source is another, or against nothing. Whoever finds a module, this is asked before its bytecode is
    looked for.
    """
    SourceFileLoader.path_stats = _stats_of_source  # type: ignore[method-assign, assignment]


def resolve(ref: CodeRef, *, base: Path) -> Callable[..., Any]:
    """Imports the module and returns the callable it names.

    Args:
        ref: what the spec names.
        base: the spec's folder, from which the user's packages are importable.

    Raises:
        UserCodeError: the file or the name is missing, importing it raised, or a module of the
            repository's has the name of an installed one, which Python prefers.
    """
    _make_importable(base)
    try:
        module = _import_file(ref.file) if ref.file else _import_module(ref)
    except (Interrupted, UserCodeError):
        raise
    except BaseException as error:  # user code may raise classes that are no `Exception`
        raise UserCodeError(
            f"`{ref.text}` cannot be imported: {describe(error)}", location=ref.location
        ) from error
    found: Any = module
    for part in ref.attribute.split("."):
        found = getattr(found, part, None)
    if not callable(found):
        raise UserCodeError(
            f"`{ref.text}` names nothing that can be called",
            remedy=f"define `{ref.attribute}` in {ref.file.name if ref.file else ref.module}",
            location=ref.location,
        )
    return found  # type: ignore[no-any-return]


def call(ref: CodeRef, function: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Any:
    """Calls the user's function; whatever it raises becomes a `UserCodeError` that names it."""
    try:
        return function(*args, **kwargs)
    except Interrupted:
        raise
    except BaseException as error:
        raise UserCodeError(
            f"`{ref.text}` raised {describe(error)}", location=ref.location
        ) from error


def describe(error: BaseException) -> str:
    """`ValueError: message (net.py:12)`, in one line, with the user's own place in it.

    The place is the innermost one in the user's files: a line of torch's would not help.
    """
    try:
        text = printable(" ".join(str(error).split()), _LONGEST_MESSAGE)
    except Exception:  # noqa: BLE001 — a user's exception may have a `__str__` that raises
        text = ""
    name = printable(type(error).__name__)
    return (f"{name}: {text}" if text else name) + _place(error.__traceback__)


def blame(error: BaseException) -> UserCodeError | None:
    """The error to report where code of the user's raised at a place where nobody expects it to.

    A model may override any method of torch's that is called on it. None where no line of the
    user's was running: then the fault is ours.
    """
    if not _place(error.__traceback__):
        return None
    return UserCodeError(f"code of the repository raised {describe(error)}")


def _place(frame: TracebackType | None) -> str:
    place = ""
    while frame is not None:
        file = frame.tb_frame.f_code.co_filename
        if not file.startswith(("<", *_NOT_THE_USERS)):
            place = f" ({printable(Path(file).name)}:{frame.tb_lineno})"
        frame = frame.tb_next
    return place


_path_stats = SourceFileLoader.path_stats


def _stats_of_source(loader: SourceFileLoader, path: str) -> Mapping[str, Any]:
    if _is_anew(os.path.dirname(path)):  # noqa: PTH120
        raise OSError("no bytecode is looked for")  # so a loader says that it knows no time
    return _path_stats(loader, path)


@cache
def _is_anew(folder: str) -> bool:
    real = f"{os.path.realpath(folder)}/"
    return not (real.startswith(_NOT_THE_USERS) or any(f"/{one}/" in real for one in _SITES))


def _import_file(file: Path) -> Any:
    _make_importable(file.parent)
    name = f"model_eval_user_{file.stem}_{abs(hash(file)):x}"
    if name in sys.modules:
        return sys.modules[name]
    spec = importlib.util.spec_from_file_location(name, file)
    if spec is None or spec.loader is None:
        raise ImportError(f"{file.name} is not a Python file")
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module  # before running it: dataclasses and pickling look it up
    try:
        spec.loader.exec_module(module)
    except BaseException:
        del sys.modules[name]
        raise
    return module


def _import_module(ref: CodeRef) -> Any:
    name = str(ref.module)
    if ref.source is None:
        return importlib.import_module(name)
    top = name.partition(".")[0]
    try:
        found = importlib.util.find_spec(name)  # imports the packages it is in
    except ModuleNotFoundError as error:
        if not f"{name}.".startswith(f"{error.name}."):
            raise  # one of these packages lacks something else
        found = None
    if found is None or not found.origin or os.path.realpath(found.origin) != str(ref.source.path):
        other = found or importlib.util.find_spec(top)
        package = ref.source.display.endswith("/__init__.py")
        path = name.replace(".", "/") + ("/__init__.py" if package else ".py")
        raise UserCodeError(
            f"`{ref.text}` is not {quote(ref.source.display)}: Python finds "
            f"{_origin(other)} by that name",
            remedy=f"rename `{top}` in the repository, or write `{path}:{ref.attribute}`",
            location=ref.location,
        )
    return importlib.import_module(name)


def _origin(found: ModuleSpec | None) -> str:
    origin = found.origin if found else None
    if found and not origin and found.submodule_search_locations:
        origin = next(iter(found.submodule_search_locations), None)
    return f"`{printable(origin, _LONGEST_MESSAGE)}`" if origin else "nothing"


def _make_importable(folder: Path) -> None:
    if str(folder) not in sys.path:
        sys.path.append(str(folder))
