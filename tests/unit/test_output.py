"""The output folder: files are whole or absent, and what is read back is doubted."""

import errno
import os
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from builders.reports import estimate, report
from model_eval.errors import OutputError, ReportError
from model_eval.ledger import Ledger, save
from model_eval.output import (
    LEDGER,
    REPORT,
    SUMMARY,
    is_ledger,
    read_report,
    remove_stale,
    require_free,
    save_report,
)
from model_eval.types import Task


def test_what_is_saved_is_read_back(tmp_path):
    save_report(report(), tmp_path)
    assert sorted(path.name for path in tmp_path.iterdir()) == [REPORT, SUMMARY]
    assert read_report(tmp_path / REPORT) == report()


def test_a_full_disk_is_an_error_and_leaves_nothing_half_written(tmp_path, monkeypatch):
    written = Path.write_bytes

    def full(path, data):
        written(path, data[:10])
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(Path, "write_bytes", full)
    with pytest.raises(OutputError) as caught:
        save_report(report(), tmp_path)
    assert caught.value.message == (
        f"`summary.md` cannot be written to `{tmp_path}`: No space left on device"
    )
    assert caught.value.exit_code == 4
    assert list(tmp_path.iterdir()) == []


def test_a_report_of_an_earlier_run_is_replaced_only_by_a_whole_one(tmp_path, monkeypatch):
    save_report(report([estimate(0.1)]), tmp_path)
    monkeypatch.setattr(
        Path, "replace", lambda *_: (_ for _ in ()).throw(OSError(errno.EIO, "I/O"))
    )
    with pytest.raises(OutputError):
        save_report(report(), tmp_path)
    assert read_report(tmp_path / REPORT) == report([estimate(0.1)])


def test_stale_files_are_removed_and_others_stay(tmp_path):
    for name in (REPORT, SUMMARY, LEDGER, "mine.txt"):
        (tmp_path / name).touch()
    remove_stale(tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["mine.txt"]
    remove_stale(tmp_path)


def a_ledger(path):
    columns = {name: np.array([0, 1]) for name in ("id", "target", "prediction")}
    columns["finite"] = np.array([True, True])
    classes = tuple(f"class {number}" for number in range(9_000))
    columns["probability"] = np.full((2, len(classes)), 1 / len(classes))
    columns["log_loss"] = np.zeros(2)
    save(Ledger(task=Task.MULTICLASS, columns=columns, classes=classes), path)


def test_further_ledgers_are_removed_only_where_they_are_ours(tmp_path):
    theirs = [
        "ledger-2024.parquet",
        "ledger-cut.parquet",
        "ledger-empty.parquet",
        "ledger-x.parquet",
    ]
    a_ledger(tmp_path / "ledger-further.parquet")
    (tmp_path / "mine").mkdir()
    a_ledger(tmp_path / "mine/ledger.parquet")
    pq.write_table(pa.table({"model_eval": [1, 2]}), tmp_path / theirs[0])
    (tmp_path / theirs[1]).write_bytes((tmp_path / "mine/ledger.parquet").read_bytes()[-40:])
    (tmp_path / theirs[2]).touch()
    (tmp_path / theirs[3]).symlink_to("mine/ledger.parquet")
    remove_stale(tmp_path)
    assert sorted(path.name for path in tmp_path.iterdir()) == [*theirs, "mine"]


def test_what_a_killed_run_has_begun_to_write_is_removed(tmp_path):
    for name in (REPORT, SUMMARY, LEDGER, "ledger-further.parquet", "mine"):
        (tmp_path / f".{name}.part").touch()
    remove_stale(tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == [".mine.part"]


def test_a_file_of_somebody_elses_is_not_overwritten(tmp_path):
    path = tmp_path / "ledger-2024.parquet"
    require_free(path)
    a_ledger(path)
    assert is_ledger(path)
    require_free(path)
    pq.write_table(pa.table({"a": [1]}), path)
    with pytest.raises(OutputError) as caught:
        require_free(path)
    assert caught.value.message == (
        f"`ledger-2024.parquet` in `{tmp_path}` is no ledger of model-eval, and is not overwritten"
    )


def test_a_fifo_is_not_waited_for(tmp_path):
    os.mkfifo(tmp_path / REPORT)
    with pytest.raises(ReportError, match="the report is not JSON"):
        read_report(tmp_path / REPORT)


def test_the_exit_status_must_agree(tmp_path):
    save_report(report(), tmp_path)
    assert read_report(tmp_path / REPORT, exit_status=0) == report()
    with pytest.raises(ReportError) as caught:
        read_report(tmp_path / REPORT, exit_status=1)
    assert caught.value.message == (
        "the report says exit status 0, and the evaluation ended with 1"
    )
