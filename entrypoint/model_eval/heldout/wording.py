"""How the held-out package names columns, rows and shapes in its messages."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy.typing as npt

from model_eval.spec.eval_spec import HeldOutSpec
from model_eval.spec.suggest import closest, listed
from model_eval.types import Location
from model_eval.wording import quote

_LONGEST_LINE = 200


def nearest(name: str, known: Sequence[str], *, what: str) -> str:
    """``did you mean `label`? its columns are `a`, `label```: a remedy."""
    near = closest(name, known)
    listing = f"{what} are {listed(known)}" if known else f"there are no {what}"
    return f"did you mean {quote(near)}? {listing}" if near is not None else listing


def one_line(error: BaseException) -> str:
    """A library's message, short and in one line."""
    text = " ".join(str(error).split())
    text = "".join(c if c.isprintable() and c != "`" else "?" for c in text)
    return text[:_LONGEST_LINE] or type(error).__name__


def is_utf8(text: str) -> bool:
    """Whether the text can be written: what was read from undecodable bytes cannot."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def shape_of(shape: Iterable[int]) -> str:
    """`(1, 8, 8)`, and `()` for a single number."""
    return str(tuple(int(size) for size in shape))


def place_of(spec: HeldOutSpec, key: str) -> Location:
    """Where the spec says `key`; the section itself where it does not."""
    return spec.locations.get(key, spec.location)


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Rows:
    """The samples of a chunk, as messages name them.

    Attributes:
        start: the position of the chunk's first sample in the set, from 0.
        ids: [n], where the spec names an id.
    """

    start: int
    ids: npt.NDArray[Any] | None = None

    def name(self, index: int) -> str:
        """`row 17 (counting from 0)`, or with its id: ``row 17 (id `a17`)``."""
        row = f"row {self.start + index}"
        known = self.ids is not None
        return f"{row} (id {quote(self.ids[index])})" if known else f"{row} (counting from 0)"  # type: ignore[index]
