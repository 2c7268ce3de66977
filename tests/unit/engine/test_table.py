"""Columns that grow: in memory that is taken once where the number of rows is known."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from model_eval.engine.table import Table


@given(st.lists(st.integers(0, 7), min_size=1, max_size=12), st.integers(0, 60))
def test_pieces_are_joined_whatever_was_expected(sizes, expected):
    table, start = Table(expected), 0
    for size in sizes:
        ids = np.arange(start, start + size)
        table.add({"id": ids})
        table.add({"wide": np.stack([ids, -ids], axis=1) / 2})
        start += size
    found = table.since(0)
    assert len(table) == start
    assert found["id"].tolist() == list(range(start))
    assert found["wide"].tolist() == [[row / 2, -row / 2] for row in range(start)]
    assert found["wide"].dtype == np.float64


def test_memory_is_taken_once_where_the_rows_are_known():
    table = Table(10)
    table.add({"id": np.arange(4)})
    memory = table.since(0)["id"].base
    table.add({"id": np.arange(6)})
    assert table.since(0)["id"].base is memory


@pytest.mark.parametrize(
    ("pieces", "dtype"),
    [
        ([["a", "bb"], ["cccc"]], "<U4"),
        ([np.array(["a", "b"], dtype=object), np.array(["c"], dtype=object)], object),
        ([[1, 2], [0.5]], np.float64),
    ],
)
def test_a_dtype_grows_as_numpy_would_join_it(pieces, dtype):
    table = Table(3)
    for piece in pieces:
        table.add({"id": np.asarray(piece)})
    found = table.since(0)["id"]
    assert found.dtype == dtype
    assert found.tolist() == np.concatenate([np.asarray(piece) for piece in pieces]).tolist()


def test_the_newest_rows():
    table = Table(0)
    assert (len(table), table.since(0)) == (0, {})
    table.add({"id": np.arange(5), "target": np.arange(5)})
    assert table.since(3)["id"].tolist() == [3, 4]
    table.add({"id": np.arange(2)})
    assert len(table) == 5
    with pytest.raises(ValueError, match="columns of different length"):
        table.since(0)
