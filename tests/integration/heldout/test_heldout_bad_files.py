"""Files that are not what they should be: one clear error each, and never a hang."""

import io
import os
import pickle
import struct
import tarfile
import zipfile

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from safetensors.torch import save_file

from builders.heldout import AT, everything, opened, written
from model_eval.errors import HeldOutError

COLUMNS = {"x": np.arange(6.0), "y": np.arange(6) % 2}
SINGLE = ["parquet", "csv", "npz", "pt", "safetensors"]


def refused(source, **changes):
    with pytest.raises(HeldOutError) as caught:
        everything(opened(source, **changes))
    assert caught.value.location == AT
    assert "\n" not in str(caught.value)
    return str(caught.value).removeprefix(f"{AT}: ")


@pytest.fixture(params=SINGLE)
def name(request):
    return f"t.{request.param}"


def test_missing(tmp_path, name):
    assert refused(tmp_path / name) == (
        f"`{name}` does not exist; check the path; it is relative to the spec's folder"
    )


def test_a_link_to_nothing(tmp_path, name):
    (tmp_path / name).symlink_to(tmp_path / "nothing")
    assert refused(tmp_path / name).startswith(f"`{name}` is a symbolic link to nothing; ")


def test_a_loop_of_links(tmp_path, name):
    (tmp_path / name).symlink_to(tmp_path / name)
    assert refused(tmp_path / name).startswith(f"`{name}` cannot be read: Too many levels")


def test_a_folder(tmp_path, name):
    (tmp_path / name).mkdir()
    file_format = name.removeprefix("t.")
    assert refused(tmp_path / name, format=file_format) == (
        f"`{name}` is a folder; name a file, or state `format: image_folder`"
    )


@pytest.mark.timeout(10)
def test_a_fifo_does_not_hang(tmp_path, name):
    os.mkfifo(tmp_path / name)
    assert refused(tmp_path / name).startswith(f"`{name}` is not a regular file; ")


def test_empty(tmp_path, name):
    (tmp_path / name).touch()
    assert refused(tmp_path / name).startswith(f"`{name}` is empty; ")


@pytest.mark.skipif(os.geteuid() == 0, reason="root can read everything")
def test_unreadable(tmp_path, name):
    (tmp_path / name).write_bytes(b"x")
    (tmp_path / name).chmod(0)
    assert refused(tmp_path / name).startswith(f"`{name}` cannot be read: Permission denied; ")


def test_a_git_lfs_pointer(tmp_path, name):
    (tmp_path / name).write_text(
        "version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 9\n"
    )
    assert refused(tmp_path / name) == (
        f"`{name}` is a Git LFS pointer, not the file itself; "
        "run `git lfs pull`, or check out with `lfs: true`"
    )


def test_a_web_page(tmp_path, name):
    (tmp_path / name).write_text("\n <!DOCTYPE html><title>Sign in</title>")
    assert refused(tmp_path / name).startswith(f"`{name}` is a web page; ")


@pytest.mark.parametrize(
    ("content", "looks"),
    [(b"\x1f\x8b\x08" + bytes(50), "gzip"), (b"\x89HDF\r\n" + bytes(50), "HDF5")],
)
def test_another_format(tmp_path, name, content, looks):
    (tmp_path / name).write_bytes(content)
    message = refused(tmp_path / name)
    assert f"`{name}` is not " in message
    assert f"; it looks like {looks}; name the right file" in message


@pytest.mark.parametrize("kept", [0.1, 0.5, 0.9, 0.99])
@pytest.mark.parametrize("file_format", ["parquet", "npz", "npy", "pt", "safetensors"])
def test_truncated(tmp_path, file_format, kept):
    big = {"x": np.arange(600.0), "y": np.arange(600) % 2}
    source = written(tmp_path, file_format, big)
    path = source["x"] if file_format == "npy" else source
    content = path.read_bytes()
    path.write_bytes(content[: int(len(content) * kept)])
    assert f"`{path.name}`" in refused(source)


@pytest.mark.parametrize("content", [bytes(4096), b"hello, world\n" * 9, b'{"x": [1, 2]}'])
@pytest.mark.parametrize("file_format", ["parquet", "npz", "pt", "safetensors"])
def test_nuls_text_and_json(tmp_path, file_format, content):
    path = tmp_path / f"t.{file_format}"
    path.write_bytes(content)
    assert f"`{path.name}`" in refused(path)


@pytest.mark.parametrize("file_format", [*SINGLE, "npy"])
@settings(
    max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(data=st.data())
def test_damaged_bytes_give_a_declared_error_or_samples(tmp_path, file_format, data):
    source = written(tmp_path, file_format, COLUMNS)
    path = source["x"] if file_format == "npy" else source
    content = bytearray(path.read_bytes())
    for position in data.draw(st.lists(st.integers(0, len(content) - 1), max_size=4)):
        content[position] = data.draw(st.integers(0, 255))
    path.write_bytes(content)
    try:
        heldout = opened(source)
        assert len(everything(heldout)) == heldout.expected
    except HeldOutError as error:
        assert "\n" not in str(error)  # noqa: PT017


# CSV


@pytest.mark.parametrize(("character", "shown"), [(";", "`;`"), ("\t", "tabs"), ("|", "`|`")])
def test_csv_with_another_separator(tmp_path, character, shown):
    (tmp_path / "t.csv").write_text(f"x{character}y\n1{character}0\n")
    assert refused(tmp_path / "t.csv") == (
        f"`t.csv` is separated by {shown}, not by commas; write it with commas"
    )


def test_csv_with_rows_of_unequal_length(tmp_path):
    (tmp_path / "t.csv").write_text("x,y\n1,0\n2\n")
    assert refused(tmp_path / "t.csv").startswith(
        "`t.csv` cannot be read as CSV: a row has 1 of 2 columns: 2; write it again"
    )


def test_csv_that_is_not_utf8(tmp_path):
    (tmp_path / "t.csv").write_bytes(b"x,y\n1,caf\xe9\n")
    assert refused(tmp_path / "t.csv").startswith("`t.csv` cannot be read as CSV: ")


def test_two_columns_of_one_name(tmp_path):
    (tmp_path / "t.csv").write_text("x,y,x\n1,0,2\n")
    expected = "`t.{}` has two columns called `x`; rename one of them"
    assert refused(tmp_path / "t.csv") == expected.format("csv")
    table = pa.table([pa.array([1]), pa.array([0]), pa.array([2])], names=["x", "y", "x"])
    pq.write_table(table, tmp_path / "t.parquet")
    assert refused(tmp_path / "t.parquet") == expected.format("parquet")


# Parquet and NumPy bombs


def test_a_parquet_bomb(tmp_path):
    rows = 20_000_000
    table = pa.table({"x": pa.repeat(pa.scalar(0.0), rows), "y": pa.repeat(pa.scalar(0), rows)})
    pq.write_table(table, tmp_path / "t.parquet", row_group_size=rows)
    size = (tmp_path / "t.parquet").stat().st_size
    assert refused(tmp_path / "t.parquet") == (
        f"`t.parquet` unpacks from {size:,} to about {rows * 18:,} bytes, more than 500 times its size; "
        "write the samples without compression, if they really are like this"
    )


def test_an_npz_bomb(tmp_path):
    np.savez_compressed(tmp_path / "t.npz", x=np.zeros(10_000_000), y=np.zeros(1, np.int64))
    assert "bytes, more than 500 times its size; " in refused(tmp_path / "t.npz")


def header(shape, dtype="<f8"):
    stream = io.BytesIO()
    np.lib.format.write_array_header_1_0(
        stream, {"descr": dtype, "fortran_order": False, "shape": shape}
    )
    return stream.getvalue()


def test_an_npy_file_that_declares_a_huge_shape(tmp_path):
    np.save(tmp_path / "y.npy", COLUMNS["y"])
    (tmp_path / "x.npy").write_bytes(header((6, 2**50)) + bytes(48))
    assert refused({"x": tmp_path / "x.npy", "y": tmp_path / "y.npy"}) == (
        "column `x` of `x.npy` cannot be read: its header declares the shape "
        "(6, 1125899906842624), 54,043,195,528,445,952 bytes, and 48 bytes follow; "
        "write the file again with numpy"
    )


def test_an_npz_member_that_declares_a_huge_shape(tmp_path):
    with zipfile.ZipFile(tmp_path / "t.npz", "w") as archive:
        archive.writestr("x.npy", header((2**40,)) + bytes(48))
    assert "its header declares the shape (1099511627776,)" in refused(tmp_path / "t.npz")


def test_arrays_of_objects_are_not_unpickled(tmp_path, marker):
    np.savez(tmp_path / "t.npz", x=np.array([marker, 1], dtype=object), y=[0, 1])
    assert refused(tmp_path / "t.npz") == (
        "column `x` of `t.npz` holds Python objects, which only pickle can read; "
        "save it with a numeric or text dtype, e.g. `astype(str)`"
    )
    assert not marker.path.exists()


def test_records_and_dates_are_no_numbers(tmp_path):
    for dtype in ("datetime64[s]", "c8", [("a", "f4")]):
        np.savez(tmp_path / "t.npz", x=np.zeros(2, dtype=dtype), y=[0, 1])
        assert "which is neither a number nor text" in refused(tmp_path / "t.npz")


def test_a_damaged_npz_member(tmp_path):
    np.savez(tmp_path / "t.npz", x=np.arange(600.0), y=np.zeros(600, np.int64))
    content = bytearray((tmp_path / "t.npz").read_bytes())
    content[1000] ^= 1
    (tmp_path / "t.npz").write_bytes(content)
    assert "Bad CRC-32" in refused(tmp_path / "t.npz")


# .pt


class Marker:
    """Its pickle creates a file when it is loaded by the wrong function."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return (os.mkdir, (str(self.path),))


@pytest.fixture
def marker(tmp_path):
    return Marker(tmp_path / "executed")


class Allocate:
    def __reduce__(self):
        return (bytearray, (1 << 31,))


def test_code_in_a_pt_file_does_not_run(tmp_path, marker, monkeypatch):
    monkeypatch.setenv("TORCH_FORCE_NO_WEIGHTS_ONLY_LOAD", "1")
    torch.save({"x": torch.zeros(2), "y": marker}, tmp_path / "t.pt")
    message = refused(tmp_path / "t.pt")
    assert message.startswith("`t.pt` asks for `posix mkdir`, and holds more than tensors; save a")
    assert not marker.path.exists()


def test_a_pickle_that_asks_for_memory(tmp_path):
    torch.save({"x": Allocate()}, tmp_path / "t.pt")
    assert "asks for `builtins bytearray`" in refused(tmp_path / "t.pt").replace(
        "__builtin__", "builtins"
    )


@pytest.mark.parametrize(
    ("value", "what"),
    [
        ([torch.zeros(2)], "`t.pt` holds a list, not a dict with columns; "),
        (torch.zeros(2), "`t.pt` holds a Tensor, not a dict with columns; "),
        ({}, "`t.pt` holds a dict, not a dict with columns; "),
        ({1: torch.zeros(2)}, "`t.pt` has the key `1`, which is not text; "),
        ({"x": 3}, "`t.pt` holds a int under `x`, not a tensor; "),
        ({"x": torch.zeros(())}, "column `x` of `t.pt` is a single value; "),
        (
            {"x": torch.zeros(1).expand(1 << 40)},
            "`t.pt` holds under `x` an expanded tensor, larger than what is stored; ",
        ),
    ],
)
def test_a_pt_file_with_something_else(tmp_path, value, what):
    torch.save(value, tmp_path / "t.pt")
    assert refused(tmp_path / "t.pt").startswith(what)


@pytest.mark.filterwarnings("ignore:Sparse")
@pytest.mark.parametrize("special", ["sparse", "complex", "meta"])
def test_tensors_that_are_not_plain(tmp_path, special):
    tensor = {
        "sparse": lambda: torch.eye(3).to_sparse_csr(),
        "complex": lambda: torch.zeros(3, dtype=torch.complex64),
        "meta": lambda: torch.zeros(3, device="meta"),
    }[special]()
    torch.save({"x": tensor, "y": torch.zeros(3, dtype=torch.int64)}, tmp_path / "t.pt")
    assert refused(tmp_path / "t.pt").startswith("`t.pt` ")


def test_other_containers_named_pt(tmp_path):
    path = tmp_path / "t.pt"
    path.write_bytes(pickle.dumps({"x": 1}))
    assert "it looks like a pickle" in refused(path)
    with tarfile.open(path, "w"):
        pass
    assert "`t.pt` is not a zip file as torch.save writes it" in refused(path)
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("archive/data.pkl", b"\x80\x02}." * 99)
    assert "`t.pt` has compressed entries" in refused(path)
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("../data.txt", b"x")
    assert "`t.pt` is not a plain file of torch.save" in refused(path)


def test_a_flipped_bit_in_a_pt_file(tmp_path):
    torch.save({"x": torch.zeros(600), "y": torch.zeros(600).long()}, tmp_path / "t.pt")
    content = bytearray((tmp_path / "t.pt").read_bytes())
    content[len(content) // 2] ^= 1
    (tmp_path / "t.pt").write_bytes(content)
    assert "is damaged: the checksum of" in refused(tmp_path / "t.pt")


# safetensors


def test_safetensors_with_a_name_twice(tmp_path):
    entry = '"x":{"dtype":"F32","shape":[1],"data_offsets":[0,4]}'
    text = f"{{{entry},{entry}}}".encode()
    (tmp_path / "t.safetensors").write_bytes(struct.pack("<Q", len(text)) + text + bytes(4))
    assert refused(tmp_path / "t.safetensors").startswith("`t.safetensors` ")


def test_safetensors_without_tensors(tmp_path):
    save_file({}, tmp_path / "t.safetensors")
    assert refused(tmp_path / "t.safetensors") == (
        "`t.safetensors` has no columns; save each column under a name"
    )
