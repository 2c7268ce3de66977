"""Safetensors, streamed in slices of rows."""

import json
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import torch
from safetensors import SafetensorError, safe_open

from model_eval.errors import HeldOutError
from model_eval.heldout.batch import Column
from model_eval.heldout.readers.base import common_rows, pieces
from model_eval.heldout.readers.trim import trimming
from model_eval.heldout.wording import one_line
from model_eval.spec.eval_spec import PathRef
from model_eval.wording import quote


class SafetensorsReader:
    """Tensors whose first axis is the sample."""

    default_id: str | None = None

    def __init__(self, ref: PathRef) -> None:
        self._ref = ref
        with self._open() as file:
            shapes = {name: tuple(file.get_slice(name).get_shape()) for name in file.keys()}  # noqa: SIM118
        self._check_names()
        self.columns = tuple(shapes)
        self.rows = common_rows(ref, shapes)
        self.row_bytes = ref.path.stat().st_size // max(self.rows, 1)

    @trimming
    def chunks(
        self, columns: Sequence[str], rows: int, *, start: int = 0, stop: int | None = None
    ) -> Iterator[Mapping[str, Column]]:
        """See `Reader.chunks`."""
        with self._open() as file:
            slices = {name: file.get_slice(name) for name in columns}
            for piece in pieces(self.rows, rows, start, stop):
                yield {name: self._read(name, slices[name], piece) for name in columns}

    def _read(self, name: str, source: Any, piece: slice) -> torch.Tensor:
        try:
            with torch.device("cpu"):  # whatever the repository's code made the default
                tensor: torch.Tensor = source[piece]
        except (
            SafetensorError,
            OSError,
            ValueError,
            TypeError,
            AttributeError,
            RuntimeError,
        ) as error:
            raise self._broken(error) from error
        if tensor.is_complex():
            raise HeldOutError(
                f"column {quote(name)} of {quote(self._ref.display)} is complex",
                remedy="save real numbers",
                location=self._ref.location,
            )
        return tensor

    def _open(self) -> Any:
        try:
            return safe_open(self._ref.path, framework="pt", device="cpu")
        except (SafetensorError, OSError, ValueError) as error:
            raise self._broken(error) from error

    def _check_names(self) -> None:
        """Refuses a header that names a tensor twice, which the library does not."""
        with self._ref.path.open("rb") as file:
            length = int.from_bytes(file.read(8), "little")
            pairs = json.loads(file.read(length), object_pairs_hook=list)
        names = [name for name, _ in pairs]
        if len(set(names)) != len(names):
            raise HeldOutError(
                f"{quote(self._ref.display)} has two tensors of one name",
                remedy="write the file again",
                location=self._ref.location,
            )

    def _broken(self, error: BaseException) -> HeldOutError:
        return HeldOutError(
            f"{quote(self._ref.display)} cannot be read as safetensors: {one_line(error)}",
            remedy="write or download the file again",
            location=self._ref.location,
        )
