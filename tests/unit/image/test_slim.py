"""What the image leaves out, on made-up folders and on a real shared library of torch."""

import importlib.util
import shutil
import subprocess
import sys
from importlib.metadata import version
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from image import slim

LIBRARY = Path(importlib.util.find_spec("torch").origin).parent / "lib" / "libtorch_global_deps.so"


def make(site, *names):
    for name in names:
        (site / name).parent.mkdir(parents=True, exist_ok=True)
        (site / name).write_text(name)


def left(site):
    return sorted(str(path.relative_to(site)) for path in site.rglob("*") if not path.is_dir())


def test_what_is_removed_and_what_stays(tmp_path):
    stays = [
        "_distutils_hack/__init__.py",
        "numpy/_core/tests/_natype.py", "numpy/testing/tests/__init__.py", "numpy/__init__.py",
        "pyarrow/_fs.so", "pyarrow/libarrow_substrait.so.26", "torch/bin/torch_shm_manager",
        "torch/lib/libtorch_cpu.so", "torch/testing/_internal/common.py",
    ]  # fmt: skip
    goes = [
        "distutils-precedence.pth", "numpy/__init__.pyi", "numpy/_core/include/numpy/a.h", "numpy/linalg/tests/test_a.py",
        "pyarrow/_flight.so", "pyarrow/flight.py", "pyarrow/include/arrow/a.h", "pyarrow/lib.pyx",
        "pyarrow/libarrow_flight.so.26", "pyarrow/libarrow_s3.so.26", "pyarrow/tests/test_a.py",
        "sympy/core/tests/test_a.py", "torch/bin/protoc", "torch/bin/test_api",
        "torch/include/ATen/a.h", "torch/lib/libtorchbind_test.so", "torch/test/a",
    ]  # fmt: skip
    make(tmp_path, *stays, *goes)
    slim.main(tmp_path)
    assert left(tmp_path) == sorted(stays)


def test_copies_of_a_library_become_links(tmp_path):
    make(tmp_path, "liba.so.1", "libb.so")
    for name in ("liba.so", "liba.so.1.0"):
        shutil.copy(tmp_path / "liba.so.1", tmp_path / name)
    slim.link_copies(tmp_path)
    slim.link_copies(tmp_path)
    links = {path.name: path.readlink().name for path in tmp_path.iterdir() if path.is_symlink()}
    assert links == {"liba.so.1": "liba.so", "liba.so.1.0": "liba.so"}
    assert (tmp_path / "liba.so.1.0").read_text() == "liba.so.1"


@pytest.mark.skipif("+cpu" not in version("torch"), reason="this build of torch has no symbols")
def test_a_library_without_symbols_can_still_be_loaded(tmp_path):
    whole = LIBRARY.read_bytes()
    shorter = slim.without_symbols(whole)
    assert shorter is not None
    assert len(shorter) < len(whole)
    assert slim.without_symbols(shorter) is None  # there is nothing more to take
    (tmp_path / "lib.so").write_bytes(shorter)
    for name in LIBRARY.parent.glob("libgomp*"):
        (tmp_path / name.name).symlink_to(name)
    load = "import ctypes, sys; print(ctypes.CDLL(sys.argv[1])._name)"
    done = subprocess.run(
        [sys.executable, "-I", "-c", load, tmp_path / "lib.so"],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.stdout.strip() == str(tmp_path / "lib.so"), done.stderr


@pytest.mark.parametrize("data", [b"", b"#!/bin/sh\n", b"\x7fELF\x01\x01", b"\x7fELF\x02\x01" * 40])
def test_what_is_no_such_library_is_left_alone(data):
    assert slim.without_symbols(data) is None


@pytest.mark.skipif(not LIBRARY.is_file(), reason="this torch has no library of its own")
@settings(max_examples=200)
@given(st.data())
def test_a_damaged_library_is_left_alone_or_shortened_and_never_an_error(data):
    whole = bytearray(LIBRARY.read_bytes())
    table = int.from_bytes(whole[0x28:0x30], "little")
    for _ in range(data.draw(st.integers(1, 4))):
        at = data.draw(st.one_of(st.integers(0, 63), st.integers(table, len(whole) - 1)))
        whole[at] = data.draw(st.integers(0, 255))
    end = data.draw(st.integers(64, len(whole)))
    found = slim.without_symbols(bytes(whole[:end]))
    assert found is None or len(found) <= end + 8
