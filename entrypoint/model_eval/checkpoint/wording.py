"""How the checkpoint package writes names and counts that come from a file of the user's."""

from collections.abc import Iterable, Sequence

from model_eval.spec.files import printable

_LONGEST_NAME = 100
_MAX_LISTED = 3


def quote(name: object) -> str:
    """The name in backticks and in one line, whatever is in it."""
    return f"`{printable(str(name).replace('`', '?'), _LONGEST_NAME)}`"


def count(number: int, noun: str) -> str:
    """`1 tensor`, `12 tensors`, `3 entries`."""
    plural = f"{noun[:-1]}ies" if noun.endswith("y") else f"{noun}s"
    return f"{number:,} {noun if number == 1 else plural}"


def kind_of(value: object) -> str:
    """`a list`, `an int`, `None`: what a value is."""
    if value is None:
        return "None"
    name = type(value).__name__
    return f"{'an' if name[0] in 'aeiouAEIOU' else 'a'} {name}"


def listed(names: Iterable[object], *, limit: int = _MAX_LISTED) -> str:
    """```a`, `b`, `c` and 4 more``: the first few, and how many others."""
    known: Sequence[object] = tuple(names)
    text = ", ".join(quote(name) for name in known[:limit])
    return text if len(known) <= limit else f"{text} and {len(known) - limit} more"
