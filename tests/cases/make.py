"""Makes the files of the whole-run cases that no editor can write, always the same bytes.

    python tests/cases/make.py          # all of them
    python tests/cases/make.py NAME …   # those of the cases whose names begin so

Some are hostile. What a payload does is to write an empty file `EXECUTED` into the folder that the
process runs in, and the tests look for it.
"""

import argparse
import gzip
import io
import json
import pickle
import re
import struct
import sys
import tarfile
import warnings
import zipfile
import zlib
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import torch
from PIL import Image
from safetensors.torch import save as safetensors

CASES = Path(__file__).parent
MAKERS: dict[str, Callable[[], bytes]] = {}
"""Path below this folder → what makes the file."""

Change = Callable[[str, bytes], tuple[str, bytes] | None]


def makes(*paths: str) -> Callable[[Callable[[], bytes]], Callable[[], bytes]]:
    """Says which files a function makes; `rejected/NAME/FILE` is `rejected/runs/NAME/FILE`."""

    def add(maker: Callable[[], bytes]) -> Callable[[], bytes]:
        for path in paths:
            kind, _, rest = path.partition("/")
            MAKERS[f"{kind}/runs/{rest}"] = maker
        return maker

    return add


def main(names: list[str]) -> None:
    for path, maker in MAKERS.items():
        if not names or any(path.split("/")[2].startswith(name) for name in names):
            (CASES / path).parent.mkdir(parents=True, exist_ok=True)
            (CASES / path).write_bytes(maker())


# --- what they are made of ------------------------------------------------------------------


class Payload:
    """Writes a marker file when it is unpickled by anything that runs code."""

    def __reduce__(self) -> tuple[Any, ...]:
        return open, ("EXECUTED", "w")


def state(**changes: torch.Tensor) -> dict[str, torch.Tensor]:
    """The weights of the base project's model; keywords have `_` for the dot."""
    weights = {"layer.weight": torch.tensor([[5.0, 5.0]]), "layer.bias": torch.tensor([0.0])}
    return weights | {name.replace("_", ".", 1): value for name, value in changes.items()}


def saved(content: Any, *, legacy: bool = False) -> bytes:
    buffer = io.BytesIO()
    with warnings.catch_warnings(action="ignore"):
        torch.save(content, buffer, _use_new_zipfile_serialization=not legacy)
    return _without_addresses(buffer.getvalue()) if legacy else buffer.getvalue()


def _without_addresses(content: bytes) -> bytes:
    """Without zip, torch names a storage by its address: another one in every process."""

    def rename(match: re.Match[bytes]) -> bytes:
        is_text = len(match[2]) == int.from_bytes(match[1], "little")
        return b"X\x01\0\0\x000" if is_text else match[0]

    return re.sub(rb"X(.{4})(\d{6,})", rename, content, flags=re.DOTALL)


def one_storage() -> dict[str, torch.Tensor]:
    """The weights as views of one storage, whose name can only be the first."""
    values = torch.tensor([5.0, 5.0, 0.0])
    return {"layer.weight": values[None, :2], "layer.bias": values[2:]}


def zipped(entries: Mapping[str, bytes], compression: int = zipfile.ZIP_STORED) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", compression) as archive:
        for name, data in entries.items():
            archive.writestr(entry(name, compression), data)
    return buffer.getvalue()


def entry(name: str, compression: int = zipfile.ZIP_STORED) -> zipfile.ZipInfo:
    """With the date of 1980, not of today."""
    info = zipfile.ZipInfo(name)
    info.compress_type = compression
    return info


def unzipped(archive: bytes) -> dict[str, bytes]:
    with zipfile.ZipFile(io.BytesIO(archive)) as content:
        return {info.filename: content.read(info) for info in content.infolist()}


def with_pickle(code: bytes) -> bytes:
    """A file of torch.save whose pickle is replaced."""
    return zipped(unzipped(saved(state())) | {"archive/data.pkl": code})


def flipped(content: bytes, at: int) -> bytes:
    """With one bit changed."""
    return content[:at] + bytes([content[at] ^ 1]) + content[at + 1 :]


def raw_safetensors(header: Any, data: bytes = b"") -> bytes:
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    return struct.pack("<Q", len(text)) + text + data


def tensor(dtype: str, shape: list[int], start: int, stop: int) -> dict[str, Any]:
    return {"dtype": dtype, "shape": shape, "data_offsets": [start, stop]}


def samples(rows: int = 40) -> tuple[torch.Tensor, torch.Tensor]:
    """Points on a grid and whether their coordinates' sum is positive; never close to zero."""
    index = torch.arange(rows)
    x = torch.stack([(index * 7 % 11).float() - 5, (index * 3 % 13).float() - 6.25], dim=1)
    return x, (x.sum(dim=1) > 0).long()


def table(columns: Mapping[str, Any], **options: Any) -> bytes:
    buffer = io.BytesIO()
    pq.write_table(pa.table(dict(columns)), buffer, **options)
    return buffer.getvalue()


def rows_of_table(rows: int = 40) -> dict[str, Any]:
    x, y = samples(rows)
    return {"a": x[:, 0].numpy(), "b": x[:, 1].numpy(), "label": y.numpy()}


def npy(array: Any) -> bytes:
    buffer = io.BytesIO()
    np.save(buffer, array, allow_pickle=True)
    return buffer.getvalue()


def raw_npy(shape: str, data: bytes) -> bytes:
    header = f"{{'descr': '<f4', 'fortran_order': False, 'shape': {shape}, }}".ljust(117) + "\n"
    return b"\x93NUMPY\x01\x00" + struct.pack("<H", len(header)) + header.encode() + data


def npz(*, compression: int = zipfile.ZIP_STORED, **arrays: Any) -> bytes:
    return zipped({f"{name}.npy": npy(array) for name, array in arrays.items()}, compression)


def image(shade: int, size: tuple[int, int] = (4, 4), kind: str = "PNG") -> bytes:
    buffer = io.BytesIO()
    Image.new("L", size, shade).save(buffer, kind)
    return buffer.getvalue()


# --- rejected: the checkpoint's file --------------------------------------------------------

makes("rejected/checkpoint-gzip/model.pt")(lambda: gzip.compress(saved(state()), mtime=0))
makes("rejected/checkpoint-truncated/model.pt")(lambda: saved(state())[:-100])
makes("rejected/checkpoint-truncated-legacy/model.pt")(lambda: saved(one_storage(), legacy=True)[:-9])
makes("rejected/checkpoint-nul-bytes/model.pt")(lambda: bytes(2000))
makes("rejected/checkpoint-random-bytes/model.pt")(
    lambda: np.random.default_rng(2).bytes(500)  # always the same ones
)
makes("rejected/checkpoint-plain-zip/model.pt")(lambda: zipped({"readme.txt": b"hello"}))
makes("rejected/checkpoint-empty-zip/model.pt")(lambda: zipped({}))
makes("rejected/checkpoint-compressed-entries/model.pt")(
    lambda: zipped(unzipped(saved(state(layer_weight=torch.zeros(99, 99)))), zipfile.ZIP_DEFLATED)
)
makes("rejected/checkpoint-entry-outside/model.pt")(
    lambda: zipped(unzipped(saved(state())) | {"archive/../../EXECUTED": b"x"})
)
makes("rejected/checkpoint-crc-mismatch/model.pt")(
    lambda: flipped(saved(state()), saved(state()).index(struct.pack("<f", 5)))
)
makes("rejected/checkpoint-numpy-archive/model.pt")(lambda: npz(weight=np.ones(3)))


@makes("rejected/checkpoint-duplicate-entries/model.pt")
def duplicate_entries() -> bytes:
    buffer = io.BytesIO(saved(state()))
    with warnings.catch_warnings(action="ignore"), zipfile.ZipFile(buffer, "a") as archive:
        archive.writestr(entry("archive/data/0"), bytes(8))
    return buffer.getvalue()


# --- rejected: its pickle -------------------------------------------------------------------

makes("rejected/checkpoint-code/model.pt")(lambda: saved(state() | {"x": Payload()}))
makes("rejected/checkpoint-code-legacy/model.pt")(lambda: saved(Payload(), legacy=True))
makes("rejected/checkpoint-code-raw-pickle/model.pt")(lambda: pickle.dumps(Payload(), 2))
makes("rejected/checkpoint-code-then-damage/model.pt")(
    lambda: with_pickle(pickle.dumps(Payload(), 2)[:-1] + b"\xff")
)
makes("rejected/checkpoint-namespace/model.pt")(
    lambda: saved({"state_dict": state(), "args": argparse.Namespace(lr=0.1)})
)
makes("rejected/checkpoint-numpy-scalar/model.pt")(
    lambda: saved({"state_dict": state(), "best": np.float64(0.5)})
)
makes("rejected/checkpoint-posix-path/model.pt")(
    lambda: saved({"state_dict": state(), "path": Path("runs")})
)
makes("rejected/checkpoint-bytearray-bomb/model.pt")(
    # bytearray(2 << 30)
    lambda: with_pickle(b"\x80\x02c__builtin__\nbytearray\n\x8a\x05\0\0\0\x80\0\x85R.")
)
makes("rejected/checkpoint-deep-nesting/model.pt")(
    lambda: with_pickle(b"\x80\x02)" + b"\x85" * 5000 + b".")
)


@makes("rejected/checkpoint-code-tar/model.pt")
def tar_archive() -> bytes:
    # The layout of torch 0.1; reading `pickle` of it was CVE-2025-32434.
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as archive:
        for name in ("sys_info", "pickle", "storages", "tensors"):
            content = pickle.dumps(Payload(), 2)
            member = tarfile.TarInfo(name)
            member.size = len(content)
            archive.addfile(member, io.BytesIO(content))
    return buffer.getvalue()


@makes("rejected/checkpoint-whole-module/model.pt")
def whole_module() -> bytes:
    torch.manual_seed(0)
    return saved(torch.nn.Linear(2, 1))


@makes("rejected/checkpoint-self-reference/model.pt")
def self_reference() -> bytes:
    content: dict[str, Any] = {"epoch": 3}
    content["me"] = content
    return saved(content)


@makes("rejected/checkpoint-alias-bomb/model.pt")
def alias_bomb() -> bytes:
    bomb: dict[str, Any] = {"x": 1}
    for _ in range(40):
        bomb = {"a": bomb, "b": bomb}
    return saved(bomb)


@makes("rejected/checkpoint-torchscript/model.pt")
def torchscript() -> bytes:
    # By hand: a real one has the paths of the machine that made it.
    code = b"class Net(Module):\n  def __setstate__(self, state):\n    return None\n"
    return zipped(
        {
            "model/data.pkl": pickle.dumps(Payload(), 2),
            "model/code/__torch__.py": code,
            "model/constants.pkl": pickle.dumps((), 2),
            "model/version": b"3\n",
        }
    )


@makes("rejected/checkpoint-pt2/model.pt")
def exported_program() -> bytes:
    # CVE-2026-4538: sample inputs are a pickle that is loaded without asking.
    return zipped(
        {
            "model/archive_format": b"pt2",
            "model/models/model.json": b"{}",
            "model/data/sample_inputs/model.pt": saved(Payload()),
            "model/version": b"3\n",
        }
    )


# --- rejected: its state dict ---------------------------------------------------------------

makes("rejected/state-dict-is-a-list/model.pt")(lambda: saved(list(state().values())))
makes("rejected/state-dict-is-a-tensor/model.pt")(lambda: saved(torch.zeros(3)))
makes("rejected/state-dict-is-none/model.pt")(lambda: saved(None))
makes("rejected/state-dict-empty/model.pt")(lambda: saved({}))
makes("rejected/state-dict-without-tensors/model.pt")(lambda: saved({"epoch": 3, "loss": 0.5}))
makes("rejected/state-dict-integer-keys/model.pt")(
    lambda: saved(dict(enumerate(state().values())))
)
makes("rejected/state-dict-value-not-a-tensor/model.pt")(
    lambda: saved(state() | {"layer.scale": [1.0]})
)
makes("rejected/state-dict-missing-and-unexpected/model.pt")(
    lambda: saved({"layer.weight": torch.ones(1, 2), "linear.bias": torch.zeros(1)})
)
makes("rejected/state-dict-wrong-shape/model.pt")(
    lambda: saved(state(layer_weight=torch.ones(1, 3)))
)
makes("rejected/state-dict-prefix-and-missing/model.pt")(
    lambda: saved({"module.layer.weight": torch.ones(1, 2)})
)
makes("rejected/state-dict-several/model.pt")(
    lambda: saved({"model": state(), "ema": state(layer_bias=torch.ones(1))})
)
makes("rejected/state-dict-no-such-key/model.pt")(lambda: saved({"model": state()}))
makes("rejected/state-dict-meta/model.pt")(
    lambda: saved(state(layer_weight=torch.zeros(1, 2, device="meta")))
)
makes("rejected/state-dict-sparse/model.pt")(
    lambda: saved(state(layer_weight=torch.ones(1, 2).to_sparse()))
)
makes("rejected/state-dict-integers/model.pt")(
    lambda: saved(state(layer_weight=torch.tensor([[5, 5]])))
)
makes("rejected/state-dict-complex/model.pt")(
    lambda: saved(state(layer_weight=torch.ones(1, 2, dtype=torch.complex64)))
)
makes("rejected/state-dict-nan/model.pt")(
    lambda: saved(state(layer_weight=torch.tensor([[5.0, torch.nan]])))
)
makes("rejected/state-dict-infinite/model.pt")(
    lambda: saved(state(layer_bias=torch.tensor([torch.inf])))
)
makes("rejected/state-dict-too-large-for-fp16/model.pt")(
    lambda: saved(state(layer_weight=torch.tensor([[5.0, 1e6]])))
)
makes("rejected/state-dict-terabyte-view/model.pt")(
    lambda: saved(state(layer_weight=torch.zeros(1).expand(1 << 20, 1 << 20)))
)
makes("rejected/state-dict-lightning-instantiator/model.pt")(
    # Lightning #21822: a text that `load_from_checkpoint` would call.
    lambda: saved({"hyper_parameters": {"_instantiator": "os.system"}, "epoch": 3})
)


@makes("rejected/state-dict-negative-variance/model.pt")
def negative_variance() -> bytes:
    norm = torch.nn.BatchNorm1d(2).state_dict(prefix="norm.")
    return saved(state() | norm | {"norm.running_var": torch.tensor([1.0, -0.5])})


@makes("rejected/state-dict-quantised/model.pt")
def quantised() -> bytes:
    with warnings.catch_warnings(action="ignore"):
        weight = torch.quantize_per_tensor(torch.ones(1, 2), 0.1, 0, torch.qint8)
        return saved(state(layer_weight=weight))


@makes("rejected/state-dict-sparse-malformed/model.pt")
def malformed_sparse() -> bytes:
    # It loads, and its first multiplication is a segmentation fault.
    with warnings.catch_warnings(action="ignore"):
        weight = torch.sparse_csr_tensor(
            torch.tensor([0, 99]), torch.tensor([0, 1]), torch.ones(2), (1, 2),
            check_invariants=False,
        )  # fmt: skip
        return saved(state(layer_weight=weight))


# --- rejected: safetensors ------------------------------------------------------------------

_BIAS = struct.pack("<f", 0)
makes("rejected/safetensors-wrong-header/model.safetensors")(
    lambda: struct.pack("<Q", 1 << 40) + safetensors(state())[8:]
)
makes("rejected/safetensors-header-not-json/model.safetensors")(
    lambda: raw_safetensors(b"{'layer.bias': }")
)
makes("rejected/safetensors-duplicate-keys/model.safetensors")(
    lambda: raw_safetensors(
        b'{"layer.bias":{"dtype":"F32","shape":[1],"data_offsets":[0,4]},'
        b'"layer.bias":{"dtype":"F32","shape":[1],"data_offsets":[0,4]}}',
        _BIAS,
    )
)
makes("rejected/safetensors-no-tensors/model.safetensors")(lambda: raw_safetensors({}))
makes("rejected/safetensors-truncated/model.safetensors")(lambda: safetensors(state())[:-4])
makes("rejected/safetensors-overlap/model.safetensors")(
    lambda: raw_safetensors(
        {"layer.bias": tensor("F32", [1], 0, 4), "layer.weight": tensor("F32", [1, 2], 0, 8)},
        bytes(8),
    )
)
makes("rejected/safetensors-hole/model.safetensors")(
    lambda: raw_safetensors(
        {"layer.bias": tensor("F32", [1], 0, 4), "layer.weight": tensor("F32", [1, 2], 8, 16)},
        bytes(16),
    )
)
makes("rejected/safetensors-overflow/model.safetensors")(
    lambda: raw_safetensors({"layer.bias": tensor("F32", [1 << 62, 8], 0, 4)}, _BIAS)
)
makes("rejected/safetensors-unknown-dtype/model.safetensors")(
    lambda: raw_safetensors({"layer.bias": tensor("F33", [1], 0, 4)}, _BIAS)
)
makes("rejected/safetensors-nan/model.safetensors")(
    lambda: safetensors(state(layer_bias=torch.tensor([torch.nan])))
)
makes("rejected/safetensors-by-another-name/model.pt")(lambda: safetensors(state()))
makes("rejected/torch-by-another-name/model.safetensors")(lambda: saved(state()))
makes("rejected/shard-missing/model-1.safetensors", "rejected/shard-symlink/model-1.safetensors")(
    lambda: safetensors({"layer.weight": state()["layer.weight"]})
)
makes("rejected/shard-misplaced-tensor/model-1.safetensors")(lambda: safetensors(state()))
makes("rejected/shard-misplaced-tensor/model-2.safetensors")(
    lambda: safetensors({"layer.bias": torch.ones(1)})
)

# --- rejected: the held-out set -------------------------------------------------------------

makes("rejected/parquet-truncated/heldout.parquet")(lambda: table(rows_of_table())[:-500])
makes("rejected/parquet-damaged/heldout.parquet")(
    lambda: b"PAR1" + bytes([7]) * 900 + table(rows_of_table())[904:]
)
makes("rejected/parquet-null/heldout.parquet")(
    lambda: table(rows_of_table() | {"a": [None, *[1.0] * 39]})
)
makes("rejected/parquet-no-samples/heldout.parquet")(
    lambda: table({"a": pa.array([], pa.float32()), "b": pa.array([], pa.float32()),
                   "label": pa.array([], pa.int64())})
)  # fmt: skip
makes("rejected/parquet-ragged-lists/heldout.parquet")(
    lambda: table({"x": [[1.0, 2.0]] * 39 + [[1.0]], "label": [0, 1] * 20})
)
makes("rejected/parquet-bomb/heldout.parquet")(
    lambda: table(
        dict.fromkeys(("a", "b"), np.zeros(3_000_000)) | {"label": np.zeros(3_000_000, np.int64)},
        compression="zstd",
    )
)
makes("rejected/parquet-timestamps/heldout.parquet")(
    lambda: table(rows_of_table() | {"a": pa.array([0] * 40, pa.timestamp("s"))})
)
makes("rejected/parquet-hostile-column-name/heldout.parquet")(
    lambda: table({"a": np.zeros(4), "b\n::error::`x` @all <b>": np.full(4, np.nan),
                   "label": np.zeros(4, np.int64)})
)  # fmt: skip
makes("rejected/npz-object-array/heldout.npz")(
    lambda: npz(x=np.array([Payload(), Payload()], dtype=object), label=np.array([0, 1]))
)
makes("rejected/npz-crc-mismatch/heldout.npz")(
    lambda: flipped(npz(x=samples()[0].numpy(), label=samples()[1].numpy()), 300)
)
makes("rejected/npz-truncated/heldout.npz")(
    lambda: npz(x=samples()[0].numpy(), label=samples()[1].numpy())[:-200]
)
makes("rejected/npz-different-lengths/heldout.npz")(
    lambda: npz(x=samples()[0].numpy(), label=samples(39)[1].numpy())
)
makes("rejected/npz-bomb/heldout.npz")(
    lambda: npz(compression=zipfile.ZIP_DEFLATED, x=np.zeros((8_000_000, 2), np.float32),
                label=np.zeros(8_000_000, np.int8))
)  # fmt: skip
makes("rejected/npz-complex/heldout.npz")(
    lambda: npz(x=np.zeros((2, 2), np.complex64), label=np.array([0, 1]))
)
makes("rejected/npy-object-array/x.npy")(
    lambda: npy(np.array([Payload(), Payload()], dtype=object))
)
makes("rejected/npy-object-array/y.npy", "rejected/npy-huge-shape/y.npy",
      "rejected/npy-truncated/y.npy", "rejected/npy-code-in-header/y.npy")(
    lambda: npy(np.array([0, 1]))
)  # fmt: skip
makes("rejected/npy-no-samples/x.npy")(lambda: npy(np.zeros((0, 2), np.float32)))
makes("rejected/npy-no-samples/y.npy")(lambda: npy(np.zeros(0, np.int64)))
makes("rejected/loader-random/train.npz")(
    lambda: npz(input=np.full((1, 2), 100, np.float32), target=np.array([1]))
)
makes("rejected/npy-truncated/x.npy")(lambda: npy(np.zeros((2, 2), np.float32))[:-1])
makes("rejected/npy-huge-shape/x.npy")(lambda: raw_npy("(2, 99999999999)", bytes(16)))
makes("rejected/npy-code-in-header/x.npy")(
    lambda: raw_npy("open('EXECUTED', 'w') or (2, 2)", bytes(16))
)
makes("rejected/heldout-pt-code/heldout.pt")(
    lambda: saved({"x": torch.zeros(2, 2), "label": torch.tensor([0, 1]), "more": Payload()})
)
makes("rejected/heldout-pt-code-legacy/heldout.pt")(lambda: saved(Payload(), legacy=True))
makes("rejected/heldout-pt-is-a-list/heldout.pt")(lambda: saved([torch.zeros(2, 2)]))
makes("rejected/heldout-pt-sparse/heldout.pt")(
    lambda: saved({"x": torch.eye(2).to_sparse(), "label": torch.tensor([0, 1])})
)
makes("rejected/heldout-pt-terabyte-view/heldout.pt")(
    lambda: saved({"x": torch.zeros(1).expand(2, 1 << 40), "label": torch.tensor([0, 1])})
)
makes("rejected/heldout-pt-crc-mismatch/heldout.pt")(
    lambda: flipped(
        saved({"x": torch.full((2, 2), 5.0), "label": torch.tensor([0, 1])}),
        saved({"x": torch.full((2, 2), 5.0), "label": torch.tensor([0, 1])}).index(
            struct.pack("<f", 5)
        ),
    )
)
makes("rejected/heldout-safetensors-truncated/heldout.safetensors")(
    lambda: safetensors({"x": torch.zeros(2, 2), "label": torch.tensor([0, 1])})[:-1]
)
makes("rejected/heldout-safetensors-nan/heldout.safetensors")(
    lambda: safetensors(
        {"x": torch.tensor([[0.0, 0.0], [0.0, torch.nan]]), "label": torch.tensor([0, 1])}
    )
)
makes("rejected/heldout-safetensors-no-samples/heldout.safetensors")(
    lambda: safetensors({"x": torch.zeros(0, 2), "label": torch.zeros(0, dtype=torch.int64)})
)
makes("rejected/csv-is-gzip/heldout.csv")(
    lambda: gzip.compress(b"a,b,label\n1,1,1\n", mtime=0)
)
makes("rejected/csv-not-utf8/heldout.csv")(lambda: "a,b,label,größe\n1,1,1,1\n".encode("latin-1"))
makes("rejected/csv-utf16/heldout.csv")(lambda: b"\xff\xfe" + "a,b,label\n1,1,1\n".encode("utf-16-le"))

makes("rejected/spec-not-utf8/model-eval.yaml")(
    lambda: "version: 1\nname: größe\n".encode("latin-1")
)
makes("rejected/spec-nul-bytes/model-eval.yaml")(lambda: b"version: 1\nname: a\0b\n")

_GOOD = (
    "image-broken", "image-truncated", "image-pixel-bomb", "image-not-an-image", "image-sizes",
    "image-class-without-images", "image-outside-of-classes", "image-animated", "image-leak",
)  # fmt: skip
makes(*(f"rejected/{name}/images/dark/1.png" for name in _GOOD))(lambda: image(10))
makes(*(f"rejected/{name}/images/light/1.png" for name in _GOOD if name != "image-class-without-images"))(
    lambda: image(240)
)
makes("rejected/image-leak/train/dark/renamed.png")(lambda: image(10))
makes("rejected/image-leak/train/light/other.png")(lambda: image(99))
makes("rejected/image-outside-of-classes/images/2.png")(lambda: image(99))
makes("rejected/image-sizes/images/light/2.png")(lambda: image(240, (5, 4)))
makes("rejected/image-broken/images/light/2.png")(lambda: image(240)[:20] + b"broken" * 9)
makes("rejected/image-truncated/images/light/2.jpg")(lambda: image(240, (64, 64), "JPEG")[:-40])


@makes("rejected/image-pixel-bomb/images/light/2.png")
def pixel_bomb() -> bytes:
    # A header that claims 30,000 x 30,000 pixels, and one line of them.
    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = struct.pack(">IIBBBBB", 30_000, 30_000, 8, 0, 0, 0, 0)
    return (
        b"\x89PNG\r\n\x1a\n"
        + chunk(b"IHDR", header)
        + chunk(b"IDAT", zlib.compress(bytes(30_001)))
        + chunk(b"IEND", b"")
    )


@makes("rejected/image-animated/images/light/2.webp")
def animated() -> bytes:
    buffer = io.BytesIO()
    frames = [Image.new("RGB", (4, 4), (shade, 0, 0)) for shade in (0, 255)]
    frames[0].save(buffer, "WEBP", save_all=True, append_images=frames[1:])
    return buffer.getvalue()


# --- accepted: checkpoints ------------------------------------------------------------------

makes("accepted/checkpoint-symlink-inside/weights/final.safetensors")(lambda: safetensors(state()))
makes("accepted/checkpoint-pt/model.pt")(lambda: saved(state()))
makes("accepted/checkpoint-pt-legacy/model.pt")(lambda: saved(one_storage(), legacy=True))
makes("accepted/checkpoint-pt-ordered-metadata/model.pth")(
    # As `model.state_dict()` gives it: an OrderedDict with the attribute `_metadata`.
    lambda: saved(_with_state(torch.nn.Linear(2, 1)))
)
makes("accepted/checkpoint-nested/model.pt")(
    lambda: saved({"model": state(), "epoch": 3, "best": 0.5, "args": {"lr": 0.1}})
)
makes("accepted/checkpoint-data-parallel/model.pt")(
    lambda: saved({f"module.{name}": value for name, value in state().items()})
)
makes("accepted/checkpoint-compiled/model.pt")(
    lambda: saved({f"_orig_mod.{name}": value for name, value in state().items()})
)
makes("accepted/checkpoint-lightning/model.ckpt")(
    lambda: saved(
        {
            "epoch": 3,
            "global_step": 300,
            "pytorch-lightning_version": "2.5.0",
            "state_dict": {f"model.{name}": value for name, value in state().items()},
            "loops": {"fit_loop": {"state_dict": {}}},
            "callbacks": {"ModelCheckpoint": {"best_model_score": torch.tensor(0.5)}},
            "optimizer_states": [{"state": {0: {"exp_avg": torch.zeros(1, 2)}}}],
            "lr_schedulers": [],
            "hparams_name": "kwargs",
            "hyper_parameters": {"lr": 0.1, "_instantiator": "os.system"},
        }
    )
)
makes("accepted/checkpoint-with-optimizer/model.pt")(
    lambda: saved(
        {
            "model_state_dict": state(),
            "optimizer_state_dict": {"state": {0: {"exp_avg": torch.zeros(1, 2)}}},
        }
    )
)
makes("accepted/checkpoint-state-key/model.pt")(
    lambda: saved({"model": state(layer_weight=-torch.ones(1, 2)), "ema": {"weights": state()}})
)
makes("accepted/checkpoint-half/model.pt")(
    lambda: saved({name: value.half() for name, value in state().items()})
)
makes("accepted/checkpoint-bfloat16-safetensors/model.safetensors")(
    lambda: safetensors({name: value.bfloat16() for name, value in state().items()})
)
makes("accepted/checkpoint-from-cuda/model.pt")(
    lambda: zipped(
        {
            name: data.replace(b"X\x03\0\0\0cpu", b"X\x06\0\0\0cuda:3")
            if name == "archive/data.pkl"
            else data
            for name, data in unzipped(saved(state())).items()
        }
    )
)
makes("accepted/checkpoint-sharded/model-00001-of-00002.safetensors")(
    lambda: safetensors({"layer.weight": state()["layer.weight"]})
)
makes("accepted/checkpoint-sharded/model-00002-of-00002.safetensors")(
    lambda: safetensors({"layer.bias": state()["layer.bias"]})
)
makes("accepted/checkpoint-non-contiguous/model.pt")(
    lambda: saved(state(layer_weight=torch.tensor([[5.0], [5.0]]).t()))
)
makes("accepted/checkpoint-tied-once/model.safetensors")(
    lambda: safetensors({"one.weight": torch.tensor([[5.0, 5.0]])})
)


def _with_state(model: torch.nn.Module) -> Any:
    model.load_state_dict({"weight": torch.tensor([[5.0, 5.0]]), "bias": torch.tensor([0.0])})
    return model.state_dict()


# --- accepted: held-out sets ----------------------------------------------------------------

makes("accepted/heldout-parquet/heldout.parquet")(lambda: table(rows_of_table()))
makes("accepted/heldout-parquet-lists/heldout.parquet")(
    lambda: table(
        {
            "id": [f"sample-{index}" for index in range(40)],
            "x": [row.tolist() for row in samples()[0]],
            "label": ["positive" if value else "negative" for value in samples()[1]],
            "site": ["north", "south"] * 20,
        }
    )
)
makes("accepted/heldout-parquet-lists/train.parquet")(
    lambda: table(
        {
            "id": [f"train-{index}" for index in range(40)],
            "x": [(row + 100).tolist() for row in samples()[0]],
            "label": ["positive"] * 40,
        }
    )
)
makes("accepted/heldout-npz/heldout.npz", "accepted/keyword-inputs/heldout.npz",
      "accepted/list-inputs/heldout.npz")(
    lambda: npz(a=samples()[0][:, 0].numpy(), b=samples()[0][:, 1].numpy(),
                x=samples()[0].numpy(), label=samples()[1].numpy())
)  # fmt: skip
makes("accepted/heldout-npz-compressed/heldout.npz")(
    lambda: npz(compression=zipfile.ZIP_DEFLATED, x=np.asfortranarray(samples()[0].numpy()),
                label=samples()[1].numpy())
)  # fmt: skip
makes("accepted/heldout-npy/x.npy")(lambda: npy(samples()[0].numpy()))
makes("accepted/heldout-npy/y.npy")(lambda: npy(samples()[1].numpy()))
makes("accepted/heldout-pt/heldout.pt")(
    lambda: saved({"x": samples()[0], "label": samples()[1], "id": [str(i) for i in range(40)]})
)
makes("accepted/heldout-safetensors/heldout.safetensors")(
    lambda: safetensors({"x": samples()[0].to(torch.bfloat16), "label": samples()[1]})
)
for _shade, _class in ((10, "dark"), (30, "dark"), (200, "light"), (240, "light")):
    makes(f"accepted/image-folder/images/{_class}/{_shade}.png")(
        lambda shade=_shade: image(shade, (6, 4))
    )
makes("accepted/image-folder/images/light/180.jpg")(lambda: image(180, (8, 8), "JPEG"))
makes("accepted/image-folder/model.safetensors")(
    lambda: safetensors({"layer.weight": torch.tensor([[-1.0], [1.0]]), "layer.bias": torch.zeros(2)})
)

# --- accepted: tasks ------------------------------------------------------------------------

_EYE = {"layer.weight": torch.eye(3), "layer.bias": torch.zeros(3)}
makes("accepted/multiclass/model.safetensors", "accepted/multiclass-probabilities/model.safetensors")(
    lambda: safetensors(_EYE)
)
makes("accepted/regression-two-outputs/model.safetensors",
      "accepted/regression-one-wide-target/model.safetensors")(
    lambda: safetensors({"layer.weight": torch.tensor([[2.0, 0.0], [0.0, -3.0]]),
                         "layer.bias": torch.tensor([1.0, 0.5])})
)  # fmt: skip
makes("accepted/regression-one-wide-target/heldout.npz")(
    lambda: npz(x=samples()[0].numpy(),
                y=(samples()[0] @ torch.tensor([[2.0, 0.0], [0.0, -3.0]])
                   + torch.tensor([1.0, 0.5])).numpy())
)  # fmt: skip
makes("accepted/binary-two-logits/model.safetensors")(
    lambda: safetensors({"layer.weight": torch.tensor([[0.0, 0.0], [5.0, 5.0]]),
                         "layer.bias": torch.zeros(2)})
)  # fmt: skip


if __name__ == "__main__":
    main(sys.argv[1:])
