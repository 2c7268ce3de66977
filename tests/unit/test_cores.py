"""How many cores a process was given."""

import os
import subprocess
import sys

import pytest

from model_eval import allocator
from model_eval.cores import cores
from model_eval.supervise import child_environ

HERE = len(os.sched_getaffinity(0))


def limited(folder, files):
    for name, text in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text)
    return cores(folder)


@pytest.mark.parametrize(
    ("quota", "expected"), [("50000", 1), ("100000", 1), ("150000", 2), ("9900000", HERE)]
)
def test_a_quota_of_either_version_counts(tmp_path, quota, expected):
    expected = min(expected, HERE)
    assert limited(tmp_path / "two", {"cpu.max": f"{quota} 100000\n"}) == expected
    one = {"cpu/cpu.cfs_quota_us": f"{quota}\n", "cpu/cpu.cfs_period_us": "100000\n"}
    assert limited(tmp_path / "one", one) == expected


@pytest.mark.parametrize(
    "files",
    [
        {},
        {"cpu.max": "max 100000\n"},
        {"cpu.max": ""},
        {"cpu.max": "100000 0\n"},
        {"cpu.max": "nonsense"},
        {"cpu/cpu.cfs_quota_us": "-1\n", "cpu/cpu.cfs_period_us": "100000\n"},
    ],
)
def test_without_a_limit_all_that_the_process_may_use(tmp_path, files):
    assert limited(tmp_path, files) == HERE


def test_the_child_is_told_unless_somebody_has_said_so():
    assert child_environ({})["OMP_NUM_THREADS"] == str(cores())
    assert child_environ({"OMP_NUM_THREADS": "7"})["OMP_NUM_THREADS"] == "7"


def test_the_childs_memory_is_kept_unless_somebody_has_said_how():
    assert allocator.ENVIRON.items() <= child_environ({}).items()
    assert child_environ({"MALLOC_MMAP_MAX_": "7"})["MALLOC_MMAP_MAX_"] == "7"


@pytest.mark.skipif(not hasattr(os, "confstr") or "glibc" not in str(os.confstr("CS_GNU_LIBC_VERSION")),
                    reason="another C library")  # fmt: skip
def test_a_block_that_was_freed_is_used_again():
    """Of 64 MiB, written whole and freed: the pages are taken from the system once, and not ten times."""
    code = """
import ctypes, resource
libc = ctypes.CDLL(None)
libc.malloc.restype, libc.malloc.argtypes, libc.free.argtypes = ctypes.c_void_p, [ctypes.c_size_t], [ctypes.c_void_p]
def faults():
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt
def once():
    block = libc.malloc(64 << 20)
    ctypes.memset(block, 1, 64 << 20)
    libc.free(block)
once()
before = faults()
for _ in range(10):
    once()
print(faults() - before)
"""
    done = [
        subprocess.run([sys.executable, "-c", code], env=environ, capture_output=True, check=True)
        for environ in ({"MALLOC_MMAP_THRESHOLD_": "131072"}, child_environ({}))
    ]
    ordinary, ours = (int(one.stdout) for one in done)
    assert ordinary > 10 * 16_000  # so that this is seen at all
    assert ours < 100
