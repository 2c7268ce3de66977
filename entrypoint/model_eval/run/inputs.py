"""What a run is given."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from model_eval.progress import Progress
from model_eval.run.base_branch import BaseBranch
from model_eval.run.parts import Parts
from model_eval.store.place import Store


@dataclass(frozen=True, kw_only=True, slots=True)
class Inputs:
    """What a run is given; see `evaluate`."""

    path: Path
    roots: tuple[Path, ...]
    progress: Progress
    clock: Callable[[], float]
    base: BaseBranch | None
    compare: bool
    store: Store | None
    parts: Parts
