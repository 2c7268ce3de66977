"""One digest of the files that a spec names as code: parts of a run must have run the same."""

from collections.abc import Iterator, Mapping
from dataclasses import fields, is_dataclass
from hashlib import sha256
from pathlib import Path
from typing import Any

from model_eval.errors import UserCodeError
from model_eval.spec.digest import sha256_of
from model_eval.spec.eval_spec import CodeRef, EvalSpec
from model_eval.wording import quote


def digest_of_code(spec: EvalSpec) -> str:
    """SHA-256 over the text and the file of each callable that the spec names.

    What these files import is not in it, nor an installed module.

    Raises:
        UserCodeError: a file cannot be read.
    """
    whole = sha256()
    for text, ref in sorted({ref.text: ref for ref in _refs(spec)}.items()):
        path = ref.file if ref.source is None else ref.source.path
        whole.update(f"{text}\0{'' if path is None else _digest(path, ref)}\n".encode())
    return whole.hexdigest()


def _digest(path: Path, ref: CodeRef) -> str:
    try:
        return sha256_of(path)
    except OSError as error:
        raise UserCodeError(
            f"{quote(ref.text)} cannot be read: {error.strerror}", location=ref.location
        ) from error


def _refs(value: Any) -> Iterator[CodeRef]:
    if isinstance(value, CodeRef):
        yield value
    elif is_dataclass(value) and not isinstance(value, type):
        for field in fields(value):
            yield from _refs(getattr(value, field.name))
    elif isinstance(value, Mapping):
        for one in value.values():
            yield from _refs(one)
    elif isinstance(value, tuple | list):
        for one in value:
            yield from _refs(one)
