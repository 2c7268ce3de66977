"""Text that is not UTF-8 and types that NumPy lacks: an error that names them, or they just work."""

import os

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from PIL import Image
from safetensors.torch import save_file

from builders.heldout import (
    AT,
    an_input,
    batches,
    everything,
    labels,
    loaded,
    opened,
    path_ref,
    written,
)
from model_eval.errors import HeldOutError, LeakError
from model_eval.types import Task

Y = torch.tensor([0, 1, 0])
UNUSUAL = ["float8_e4m3fn", "float8_e5m2", "float8_e8m0fnu"]


def refused(source, task=Task.MULTICLASS, **changes):
    with pytest.raises(HeldOutError) as caught:
        everything(opened(source, task, **changes))
    return str(caught.value).removeprefix(f"{AT}: ")


@pytest.mark.parametrize("changes", [{"id": "key"}, {"cluster": "key"}, {"slices": ("key",)}])
@pytest.mark.parametrize("file_format", ["npz", "pt"])
def test_text_that_is_not_utf8(tmp_path, file_format, changes):
    key = ["a", "b\udcff", "c"]
    if file_format == "pt":
        torch.save({"x": torch.zeros(3), "y": Y, "key": key}, tmp_path / "t.pt")
    else:
        np.savez(tmp_path / "t.npz", x=np.zeros(3), y=Y, key=np.array(key))
    assert refused(tmp_path / f"t.{file_format}", **changes) == (
        "column `key` holds `b\\udcff`, which is not UTF-8; write this text again in UTF-8"
    )


def test_an_id_of_a_loader_that_is_not_utf8():
    with pytest.raises(HeldOutError, match=r"column `id` holds `a\\udcff`, which is not UTF-8"):
        everything(loaded(lambda: [(torch.zeros(2), 0, "a\udcff")]))


@pytest.mark.parametrize("changes", [{"id": "s"}, {"slices": ("s",)}, {"args": (an_input("s"),)}])
def test_bytes_of_parquet_that_are_not_utf8(tmp_path, changes):
    offsets = pa.py_buffer(np.array([0, 2, 3, 4], dtype=np.int32).tobytes())
    texts = pa.Array.from_buffers(pa.string(), 3, [None, offsets, pa.py_buffer(b"a\xffbc")])
    pq.write_table(
        pa.table({"x": [1.0, 2.0, 3.0], "y": Y.numpy(), "s": texts}), tmp_path / "t.parquet"
    )
    assert refused(tmp_path / "t.parquet", **changes) == (
        "column `s` of `t.parquet` holds text that is not UTF-8; write it again in UTF-8"
    )


@pytest.mark.parametrize("name", [b"images/dog/b\xff.png", b"images/dog\xff/b.png"])
def test_the_name_of_an_image_that_is_not_utf8(tmp_path, name):
    path = tmp_path / os.fsdecode(name)
    path.parent.mkdir(parents=True)
    with path.open("wb") as file:
        Image.new("RGB", (4, 4)).save(file, "PNG")
    shown = name.decode("ascii", "surrogateescape").replace("\udcff", "\\udcff")
    assert refused(tmp_path / "images", args=(an_input("image"),), targets=("label",)) == (
        f"`{shown}` has a name that is not UTF-8; "
        "rename it; names of images are ids, and those of folders classes"
    )


@pytest.mark.parametrize("file_format", ["parquet", "csv", "npz", "pt"])
def test_a_folder_whose_name_is_not_utf8(tmp_path, file_format):
    source = written(tmp_path, file_format, {"x": np.arange(3.0), "y": Y.numpy()})
    folder = tmp_path / os.fsdecode(b"caf\xe9")
    folder.mkdir()
    moved = source.rename(folder / source.name)
    assert everything(opened(moved)).args[0].tolist() == [0.0, 1.0, 2.0]


# Types


def unusual(tmp_path, dtype):
    values = torch.tensor([1.0, 2.0, 4.0]).to(getattr(torch, dtype))
    save_file({"x": values, "y": Y, "z": values.clone()}, tmp_path / "t.safetensors")
    return tmp_path / "t.safetensors"


@pytest.mark.parametrize("dtype", UNUSUAL)
@pytest.mark.parametrize(
    ("task", "changes"),
    [
        (Task.BINARY, {"targets": ("z",)}),
        (Task.MULTICLASS, {"targets": ("z",)}),
        (Task.REGRESSION, {"targets": ("z",)}),
        (Task.BINARY, {"id": "z"}),
        (Task.BINARY, {"cluster": "z"}),
        (Task.BINARY, {"slices": ("z",)}),
    ],
)
def test_float8_is_no_label(tmp_path, dtype, task, changes):
    assert refused(unusual(tmp_path, dtype), task, **changes) == (
        f"column `z` is {dtype}, which is no type for labels; write it as integers, text or float32"
    )


@pytest.mark.parametrize("dtype", UNUSUAL)
@pytest.mark.parametrize("to", ["float32", "float16", "int64", "uint8"])
def test_float8_is_an_input(tmp_path, dtype, to):
    heldout = opened(unusual(tmp_path, dtype), args=(an_input("x", dtype=to),))
    found = everything(heldout).args[0]
    assert (str(found.dtype), found.tolist()) == (f"torch.{to}", [1, 2, 4])


@pytest.mark.parametrize("dtype", UNUSUAL)
def test_float8_is_compared_with_training_files(tmp_path, dtype):
    training = written(tmp_path, "csv", {"x": [9.0, 4.0]}, "train")
    with pytest.raises(LeakError, match=r"1 by identical inputs \(row 2\)"):
        opened(unusual(tmp_path, dtype), disjoint_from=(path_ref(training),))


def test_two_values_in_a_byte_are_refused(tmp_path):
    packed = torch.zeros((3, 2), dtype=torch.uint8).view(torch.float4_e2m1fn_x2)
    save_file({"x": packed, "y": Y}, tmp_path / "t.safetensors")
    assert refused(tmp_path / "t.safetensors").startswith("`t.safetensors` cannot be read as ")


def test_a_model_cannot_change_what_the_next_pass_reads(tmp_path):
    torch.save({"x": torch.zeros(3), "y": Y}, tmp_path / "t.pt")
    heldout = opened(tmp_path / "t.pt")
    for batch in batches(heldout, 2):
        batch.args[0].add_(1)
    assert labels(heldout).target.tolist() == [0, 1, 0]
    assert everything(heldout).args[0].tolist() == [0.0, 0.0, 0.0]
