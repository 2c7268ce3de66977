"""A pass over a large file holds a small part of it at a time."""

import numpy as np
import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet as pq
import pytest

from builders.heldout import TENSORS, an_input, batches, opened, written

ROWS = 131_072
COLUMNS = {"x": np.arange(ROWS * 64, dtype=np.float32).reshape(ROWS, 64), "y": np.arange(ROWS) % 3}
SIZE = COLUMNS["x"].nbytes


def most_of_arrow(heldout):
    """The most memory of Arrow's that is held between two batches of a pass, in bytes."""
    before = pa.total_allocated_bytes()
    held = [pa.total_allocated_bytes() - before for _ in batches(heldout, 256)]
    return max(held)


@pytest.mark.parametrize("group", [1024, ROWS])
def test_parquet_holds_neither_all_row_groups_nor_all_of_one(tmp_path, group):
    path = tmp_path / "heldout.parquet"
    lists = pa.FixedSizeListArray.from_arrays(pa.array(COLUMNS["x"].ravel()), 64)
    table = pa.table({"x": lists, "y": COLUMNS["y"]})
    pq.write_table(table, path, row_group_size=group, use_dictionary=False)
    # Blocks of 4 MiB are decoded at once.
    assert most_of_arrow(opened(path)) < SIZE / 2


def test_csv_is_not_read_far_ahead(tmp_path, monkeypatch):
    monkeypatch.setattr("model_eval.heldout.readers.csv_file._BLOCK", 1 << 14)
    path = tmp_path / "heldout.csv"
    flat = {f"f{i}": COLUMNS["x"][:20_000, i] for i in range(16)} | {"y": COLUMNS["y"][:20_000]}
    pyarrow.csv.write_csv(pa.table(flat), path)
    heldout = opened(path, args=(an_input(*(f"f{i}" for i in range(16))),))
    assert most_of_arrow(heldout) < path.stat().st_size / 2


@pytest.mark.parametrize("file_format", TENSORS)
def test_arrays_are_read_without_arrow(tmp_path, file_format):
    heldout = opened(written(tmp_path, file_format, COLUMNS))
    assert most_of_arrow(heldout) == 0
