"""How many cores a process was given."""

import os

import pytest

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
