"""How messages write names, values, counts and numbers, each in one line, wherever they come from."""

from collections.abc import Iterable, Sequence
from pathlib import Path, PurePath

_LONGEST_NAME = 100
_LONGEST_PATH = 4096
_MAX_LISTED = 3
_ALL_DIGITS = 17
"""With so many significant digits no two float64 read alike."""


def printable(text: str, limit: int = 80) -> str:
    """The text in one line, without anything that a terminal would act on, cut at `limit`."""
    short = text if len(text) <= limit else text[: limit - 1] + "…"
    return "".join(c if c.isprintable() else f"\\u{ord(c):04x}" for c in short)


def first_line(error: BaseException) -> str:
    """What an error says, without the lines of advice and stacks that torch puts below; maybe nothing."""
    return str(error).partition("\n")[0]


def printable_path(path: PurePath) -> str:
    """A path as `printable`, whole: a place that is cut cannot be looked at."""
    return printable(str(path), _LONGEST_PATH)


def place_in(path: Path, root: Path) -> str:
    """The path below the root, as people write it; its name where it lies elsewhere."""
    absolute = path.absolute()
    return str(absolute.relative_to(root)) if absolute.is_relative_to(root) else path.name


def quote(name: object) -> str:
    """The name in backticks and in one line, whatever is in it."""
    return f"`{printable(str(name).replace('`', '?'), _LONGEST_NAME)}`"


def kind_of(value: object) -> str:
    """What a value is: `None`, `an ndarray`, `a Tensor`."""
    if value is None:
        return "None"
    name = printable(type(value).__name__)
    vowel = name[:1].lower() in set("aeiou") or name == "ndarray"
    return f"{'an' if vowel else 'a'} {name}"


def count(number: int, noun: str) -> str:
    """`1 tensor`, `12 tensors`, `3 entries`."""
    plural = f"{noun[:-1]}ies" if noun.endswith("y") else f"{noun}s"
    return f"{number:,} {noun if number == 1 else plural}"


def first_few(names: Iterable[object], *, limit: int = _MAX_LISTED) -> str:
    """```a`, `b`, `c` and 4 more``: the first few, and how many others."""
    known: Sequence[object] = tuple(names)
    text = ", ".join(quote(name) for name in known[:limit])
    return text if len(known) <= limit else f"{text} and {len(known) - limit} more"


def dtype_name(dtype: object) -> str:
    """`float32`, of torch's or of NumPy's dtype."""
    return str(dtype).removeprefix("torch.")


def number(value: float, *, unlike: Iterable[float] = (), digits: int = 6) -> str:
    """Significant digits for people, and more where it would read like another number.

    0.9499999 against a threshold of 0.95 must not be shown as "0.95 < 0.95".

    Args:
        value: the number.
        unlike: what it stands beside; what equals it reads like it.
        digits: how many there are where these are enough to tell them apart.
    """
    others = [other for other in unlike if other != value]
    for enough in range(digits, _ALL_DIGITS):
        text = _significant(value, enough)
        if all(_significant(other, enough) != text for other in others):
            return text
    return _significant(value, _ALL_DIGITS)


def _significant(value: float, digits: int) -> str:
    return f"{value + 0.0:.{digits}g}"  # no drop at all is 0, and not -0
