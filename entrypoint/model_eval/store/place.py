"""Where measurements are kept. Imports nothing, because the command line needs it in every run."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

FORMAT_VERSION = 1
"""Of keys and entries; entries of another version are not looked at."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Store:
    """Where measurements are kept.

    Attributes:
        folder: made where it is not there.
        read_only: True where entries are used and none is added.
        output: the run's output folder, whose files are no part of a key.
        environ: of this process; it may hide accelerators, and the model's code may read it.
        say: told why something is not reused, a line each.
    """

    folder: Path
    read_only: bool
    output: Path | None
    environ: Mapping[str, str]
    say: Callable[[str], None]

    @property
    def arguments(self) -> tuple[str, ...]:
        """What tells a child process of it on its command line."""
        only = ("--cache-read-only",) if self.read_only else ()
        return ("--cache", str(self.folder), *only)

    @property
    def entries(self) -> Path:
        """The folder of entries of this version."""
        return self.folder / f"measured-v{FORMAT_VERSION}"
