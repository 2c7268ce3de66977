"""What `python -X importtime` says, added up."""

import re
from collections.abc import Iterator
from typing import NamedTuple

_LINE = re.compile(r"import time:\s*(\d+) \|\s*(\d+) \|(\s*)(\S+)")


class Imported(NamedTuple):
    """A module: microseconds of itself, and with what it imported first of all."""

    name: str
    own: int
    cumulative: int


def read(text: str) -> Iterator[Imported]:
    """The modules, of what was written to standard error."""
    for line in text.splitlines():
        if found := _LINE.match(line):
            own, cumulative, _, name = found.groups()
            yield Imported(name, int(own), int(cumulative))


def dearest(modules: list[Imported], count: int, *, but: str = "torch") -> list[Imported]:
    """The modules with the most time of their own, without those of one package."""
    others = [one for one in modules if one.name.partition(".")[0] != but]
    return sorted(others, key=lambda one: -one.own)[:count]


def by_package(modules: list[Imported]) -> dict[str, int]:
    """Microseconds of each top-level package's own modules, the dearest first."""
    found: dict[str, int] = {}
    for one in modules:
        package = one.name.partition(".")[0]
        found[package] = found.get(package, 0) + one.own
    return dict(sorted(found.items(), key=lambda item: -item[1]))
