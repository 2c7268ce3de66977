"""`file.py:callable` and `package.module:callable`."""

import keyword
import os
from collections.abc import Mapping
from typing import Any

from model_eval.spec.eval_spec import CodeRef
from model_eval.spec.faults import Faults
from model_eval.spec.paths import Places
from model_eval.spec.source import Node
from model_eval.wording import printable


def find_code(
    node: Node, places: Places, faults: Faults, *, kwargs: Mapping[str, Any] | None = None
) -> CodeRef | None:
    """The callable that a node names; None, and a fault, where the text names none."""
    text: str = node.value
    shown = printable(text)
    where, _, attribute = text.rpartition(":")
    if not where or not attribute:
        faults.add(node.location, f"`{shown}` does not say which callable", _without_colon(text))
        return None
    if not is_dotted_name(attribute):
        faults.add(
            node.location,
            f"`{printable(attribute)}` in `{shown}` is not the name of a callable",
            "write `file.py:callable`, for example `model.py:Net`",
        )
        return None
    file = source = None
    if where.endswith(".py"):
        found = places.find_text(where, node.location, faults)
        if found is None:
            return None
        file = found.path
    elif not is_dotted_name(where):
        faults.add(
            node.location,
            f"`{printable(where)}` in `{shown}` is neither a `.py` file nor a module",
            "write `file.py:callable` or `package.module:callable`",
        )
        return None
    elif places.looked_at and (path := _file_of_module(where, places)) is not None:
        source = places.find_text(path, node.location, faults)
        if source is None:
            return None
    return CodeRef(
        text=text,
        file=file,
        module=None if file else where,
        attribute=attribute,
        kwargs=kwargs or {},
        location=node.location,
        source=source,
    )


def _file_of_module(module: str, places: Places) -> str | None:
    """Where below the spec's folder the module is, in the order in which Python looks."""
    path = module.replace(".", "/")
    return next(
        (p for p in (f"{path}/__init__.py", f"{path}.py") if os.path.lexists(places.base / p)), None
    )


def _without_colon(text: str) -> str:
    text = text.strip(":")
    if text.endswith(".py"):
        return f"add the callable's name: `{printable(text)}:NAME`"
    module, dot, name = text.rpartition(".")
    if dot and is_dotted_name(text):
        return f"did you mean `{printable(module)}:{printable(name)}`?"
    return "write `file.py:callable` or `package.module:callable`"


def is_dotted_name(text: str) -> bool:
    """Whether each part between dots can be a name in Python."""
    return all(part.isidentifier() and not keyword.iskeyword(part) for part in text.split("."))
