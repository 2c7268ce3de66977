"""Checkpoints for tests: a small model, ways to load it, and files that are broken on purpose."""

import io
import json
import pickle
import struct
import zipfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import torch

from model_eval.checkpoint import load_model
from model_eval.errors import CheckpointError
from model_eval.spec.eval_spec import CheckpointSpec, PathRef
from model_eval.types import CheckpointInfo, Location

AT = Location(file="spec.yaml", line=5, column=9)
CPU = torch.device("cpu")


class Net(torch.nn.Module):
    """A layer and a batch norm: parameters, running statistics and an integer buffer."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = torch.nn.Linear(2, 3)
        self.norm = torch.nn.BatchNorm1d(3)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.norm(self.layer(x))


def a_state() -> dict[str, torch.Tensor]:
    """The same weights at every call, none of them what `Net()` begins with."""
    return {
        "layer.weight": torch.tensor([[0.5, -1.0], [2.0, 0.25], [-3.0, 1.5]]),
        "layer.bias": torch.tensor([0.1, -0.2, 0.3]),
        "norm.weight": torch.tensor([1.5, 0.5, 2.0]),
        "norm.bias": torch.tensor([0.0, 1.0, -1.0]),
        "norm.running_mean": torch.tensor([0.2, -0.4, 0.6]),
        "norm.running_var": torch.tensor([1.1, 0.9, 2.5]),
        "norm.num_batches_tracked": torch.tensor(7),
    }


def a_ref(path: Path) -> PathRef:
    return PathRef(path=path, display=path.name, location=AT)


def loaded(
    path: Path,
    build: Callable[[], Any] = Net,
    *,
    sha256: str | None = None,
    state_key: str | None = None,
    device: torch.device = CPU,
) -> tuple[torch.nn.Module, CheckpointInfo]:
    spec = CheckpointSpec(path=a_ref(path), sha256=sha256, state_key=state_key)
    return load_model(spec, build=build, device=device)


def refusal(path: Path, build: Callable[[], Any] = Net, **options: Any) -> str:
    """What people read where the checkpoint is refused, without the place in the spec."""
    try:
        loaded(path, build, **options)
    except CheckpointError as error:
        text = str(error)
        assert text.startswith(f"{AT}: `"), text
        assert "weights_only" not in text
        return text.removeprefix(f"{AT}: ")
    raise AssertionError(f"{path.name} was loaded")


def saved(path: Path, content: Any, *, legacy: bool = False) -> Path:
    torch.save(content, path, _use_new_zipfile_serialization=not legacy)
    return path


def rezipped(
    path: Path,
    change: Callable[[str, bytes], tuple[str, bytes] | None] = lambda name, data: (name, data),
    *,
    extra: Mapping[str, bytes] | None = None,
    compression: int = zipfile.ZIP_STORED,
) -> Path:
    """Writes the zip archive anew, with its entries changed, left out (None) or added."""
    with zipfile.ZipFile(path) as archive:
        entries = [(info.filename, archive.read(info)) for info in archive.infolist()]
    with zipfile.ZipFile(path, "w", compression) as archive:
        for name, data in entries:
            if (changed := change(name, data)) is not None:
                archive.writestr(*changed)
        for name, data in (extra or {}).items():
            archive.writestr(name, data)
    return path


def with_pickle(path: Path, pickled: bytes) -> Path:
    """A file of torch.save whose pickle is replaced."""
    saved(path, a_state())
    return rezipped(
        path, lambda name, data: (name, pickled if name.endswith("/data.pkl") else data)
    )


class Payload:
    """Writes a marker file where it is unpickled by anything that runs code."""

    def __init__(self, marker: Path) -> None:
        self._marker = marker

    def __reduce__(self) -> tuple[Any, ...]:
        return (open, (str(self._marker), "w"))


def pickled(content: Any, protocol: int = 2) -> bytes:
    buffer = io.BytesIO()
    pickle.dump(content, buffer, protocol=protocol)
    return buffer.getvalue()


def safetensors_bytes(header: Mapping[str, Any] | bytes, data: bytes = b"") -> bytes:
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    return struct.pack("<Q", len(text)) + text + data


def entry(
    dtype: str = "F32", shape: tuple[int, ...] = (1,), offsets: tuple[int, int] = (0, 4)
) -> dict[str, Any]:
    return {"dtype": dtype, "shape": list(shape), "data_offsets": list(offsets)}


def written(path: Path, content: bytes | str) -> Path:
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return path
