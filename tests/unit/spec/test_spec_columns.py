"""Column names from headers; hostile headers give None, quickly."""

import json
import os
import struct
import zipfile
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from model_eval.spec.columns import MAX_COLUMNS, MAX_HEADER, MAX_NAME, column_names

FILES = Path(__file__).parents[2] / "cases" / "files"


@pytest.mark.parametrize(
    ("file", "names"),
    [
        ("heldout.csv", ("sample", "pixels", "size", "label", "hospital")),
        ("heldout.parquet", ("sample", "pixels", "label", "writer")),
        ("heldout.npz", ("person", "height", "width")),
        ("heldout.safetensors", ("label", "pixels")),
    ],
)
def test_names(file, names):
    assert column_names(FILES / file, file.rpartition(".")[2]) == names


def test_image_folder():
    assert column_names(FILES / "images", "image_folder") == ("image", "label", "id")


@pytest.mark.parametrize("file_format", ["pt", "npy", "loader"])
def test_formats_without_a_cheap_header(file_format):
    assert column_names(FILES / "heldout.csv", file_format) is None


def write(path, data):
    path.write_bytes(data)
    return path


@pytest.mark.parametrize(
    ("text", "names"),
    [
        (b"\xef\xbb\xbfa,b\r\n1,2\r\n", ("a", "b")),
        (b'"a,b",c\n', ("a,b", "c")),
        (b'"a ""b""",c', ('a "b"', "c")),
        (b"", None),
        (b"\n1,2\n", None),
        (b'"a\nb",c\n', None),
        (b"\xff,b\n", None),
        (b"x" * MAX_HEADER, None),
        (b"x" * (MAX_NAME + 1) + b",b\n", None),
        (b"a," * MAX_COLUMNS + b"\n", None),
    ],
)
def test_csv(text, names, tmp_path):
    assert column_names(write(tmp_path / "x.csv", text), "csv") == names


def safetensors(header):
    data = header if isinstance(header, bytes) else json.dumps(header).encode()
    return struct.pack("<Q", len(data)) + data


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"1234567",
        struct.pack("<Q", 2**63) + b"{}",
        struct.pack("<Q", MAX_HEADER + 1) + b" " * 10,
        safetensors(b"[" * 200_000),
        safetensors(b"{"),
        safetensors(b"5"),
        safetensors([1]),
        safetensors({}),
        safetensors({"__metadata__": {}}),
    ],
)
def test_broken_safetensors(data, tmp_path):
    assert column_names(write(tmp_path / "x.safetensors", data), "safetensors") is None


def test_a_zip_with_a_huge_directory(tmp_path):
    path = tmp_path / "x.npz"
    with zipfile.ZipFile(path, "w") as archive:
        for index in range(60_000):
            archive.writestr(f"{index:060d}.npy", b"")
    assert column_names(path, "npz") is None


@pytest.mark.parametrize(
    "data",
    [b"", b"PAR1", b"x" * 20, b"\xff\xff\xff\xffPAR1", b"x" * 100 + b"\x40\0\0\0PAR1"],
)
def test_broken_parquet(data, tmp_path):
    assert column_names(write(tmp_path / "x.parquet", data), "parquet") is None


@pytest.mark.parametrize("file_format", ["csv", "npz", "parquet", "safetensors"])
def test_what_is_no_file(file_format, tmp_path):
    os.mkfifo(tmp_path / "fifo")
    assert column_names(tmp_path / "fifo", file_format) is None
    assert column_names(tmp_path, file_format) is None
    assert column_names(tmp_path / "missing", file_format) is None


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=150)
@given(
    name=st.sampled_from(["heldout.csv", "heldout.parquet", "heldout.npz", "heldout.safetensors"]),
    data=st.data(),
)
def test_damaged_headers_never_raise(name, data, tmp_path):
    content = bytearray((FILES / name).read_bytes())
    for _ in range(data.draw(st.integers(1, 4))):
        content[data.draw(st.integers(0, len(content) - 1))] = data.draw(st.integers(0, 255))
    cut = data.draw(st.integers(0, len(content)))
    for damaged in (content, content[:cut]):
        names = column_names(write(tmp_path / name, bytes(damaged)), name.rpartition(".")[2])
        assert names is None or all(isinstance(column, str) for column in names)
