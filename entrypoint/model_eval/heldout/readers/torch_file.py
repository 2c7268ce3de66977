"""A `.pt` file with a dict of tensors."""

import pickletools
import zipfile
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import torch

from model_eval.errors import HeldOutError
from model_eval.heldout.batch import Array, Column
from model_eval.heldout.readers.base import common_rows, pieces
from model_eval.heldout.readers.trim import trimming
from model_eval.heldout.wording import one_line
from model_eval.spec.eval_spec import PathRef
from model_eval.torch_archive import unlike_torch
from model_eval.wording import quote

# A checkpoint's archive and pickle are scanned by model_eval.checkpoint, which is none of this
# layer's. The lists differ on purpose: a dict of columns needs fewer names than a checkpoint, and
# each name less is one less to be wrong about.
_HARMLESS = frozenset(
    {
        "torch._utils _rebuild_tensor_v2",
        "torch._utils _rebuild_parameter",
        "collections OrderedDict",
        *(
            f"torch {kind}Storage"
            for kind in (
                "Float", "Double", "Half", "BFloat16", "Long", "Int", "Short", "Char", "Byte",
                "Bool",
            )
        ),
    }
)  # fmt: skip
_LARGEST_PICKLE = 64 << 20
_REMEDY = "save a dict of tensors with torch.save: {column: tensor of N samples, …}"


class TorchReader:
    """A dict from column to a tensor, or to a list of text, whose first axis is the sample.

    Tensors stay in the file, which is mapped; text is read whole.
    """

    default_id: str | None = None

    def __init__(self, ref: PathRef) -> None:
        self._ref = ref
        self._check_archive()
        try:
            # By the number of an open file: torch maps no file whose name is not UTF-8.
            with ref.path.open("rb") as file:
                path = f"/dev/fd/{file.fileno()}"
                loaded: Any = torch.load(path, map_location="cpu", weights_only=True, mmap=True)
        except Exception as error:
            # What torch advises here is to switch the safety off, so it is not relayed.
            raise self._error(
                f"cannot be loaded with weights_only=True ({type(error).__name__})"
            ) from error
        if not isinstance(loaded, dict) or not loaded:
            raise self._error(f"holds a {type(loaded).__name__}, not a dict with columns")
        self._values: dict[str, Column] = {}
        for name, value in loaded.items():
            if not isinstance(name, str):
                raise self._error(f"has the key {quote(name)}, which is not text")
            self._values[name] = self._column(name, value)
        self.columns = tuple(self._values)
        self.rows = common_rows(ref, {name: tuple(v.shape) for name, v in self._values.items()})
        self.row_bytes = sum(v.nbytes for v in self._values.values()) // max(self.rows, 1)

    @trimming
    def chunks(
        self, columns: Sequence[str], rows: int, *, start: int = 0, stop: int | None = None
    ) -> Iterator[Mapping[str, Column]]:
        """See `Reader.chunks`."""
        for piece in pieces(self.rows, rows, start, stop):
            # Copies: a model may change its inputs in place, and the next pass reads these again.
            yield {name: _copy(self._values[name][piece]) for name in columns}

    def _column(self, name: str, value: Any) -> Column:
        if isinstance(value, list) and value and all(isinstance(item, str) for item in value):
            texts: Array = np.empty(len(value), dtype=object)
            texts[:] = value
            return texts
        if not isinstance(value, torch.Tensor):
            raise self._error(f"holds a {type(value).__name__} under {quote(name)}, not a tensor")
        plain = (
            value.layout == torch.strided
            and value.device.type == "cpu"
            and not value.is_quantized
            and not value.is_complex()
        )
        if not plain:
            raise self._error(
                f"holds under {quote(name)} a tensor that is sparse, quantised, complex or "
                "without data"
            )
        if value.numel() * value.element_size() > value.untyped_storage().nbytes():
            raise self._error(
                f"holds under {quote(name)} an expanded tensor, larger than what is stored"
            )
        return value.detach()

    def _check_archive(self) -> None:
        """Looks into the zip file before torch does."""
        try:
            with self._ref.path.open("rb") as file, zipfile.ZipFile(file) as archive:
                fault = _fault_of(archive)
                other = None if fault else unlike_torch(archive, f"/dev/fd/{file.fileno()}")
                if other is not None:
                    fault = f"is damaged: torch would read another {quote(other)} than was checked"
        except Exception as error:
            # Zipfile and pickletools raise nearly anything on damaged bytes.
            raise self._error(f"cannot be read as a zip file: {one_line(error)}") from error
        if fault is not None:
            raise self._error(fault)

    def _error(self, what: str) -> HeldOutError:
        return HeldOutError(
            f"{quote(self._ref.display)} {what}", remedy=_REMEDY, location=self._ref.location
        )


def _copy(value: Column) -> Column:
    return value.clone() if isinstance(value, torch.Tensor) else value.copy()


def _fault_of(archive: zipfile.ZipFile) -> str | None:
    """What is wrong with the archive's sizes, checksums or pickle, as a clause; else None."""
    entries = archive.infolist()
    names = [entry.filename for entry in entries]
    if len(set(names)) != len(names):
        return "has an entry twice"
    if any(entry.compress_type != zipfile.ZIP_STORED for entry in entries):
        return "has compressed entries, which torch.save does not write"
    pickles = [entry for entry in entries if entry.filename.endswith("/data.pkl")]
    if len(pickles) != 1 or any(name.endswith("/constants.pkl") for name in names):
        return "is not a plain file of torch.save"
    if pickles[0].file_size > _LARGEST_PICKLE:
        return "has a pickle of more than 64 MiB"
    broken = archive.testzip()
    if broken is not None:
        return f"is damaged: the checksum of {quote(broken)} is wrong"
    # weights_only allows more than tensors need: 1.4 kB can ask for a bytearray of 2 GiB.
    for opcode, argument, _ in pickletools.genops(archive.read(pickles[0])):
        if opcode.name == "GLOBAL" and argument not in _HARMLESS:
            return f"asks for {quote(argument)}, and holds more than tensors"
        if opcode.name in {"STACK_GLOBAL", "INST", "OBJ", "EXT1", "EXT2", "EXT4"}:
            return "holds more than tensors"
    return None
