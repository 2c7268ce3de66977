"""Lists in Arrow arrays, also in parts of larger arrays, against pyarrow's own `to_pylist`."""

from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from model_eval.errors import HeldOutError
from model_eval.heldout.readers.arrow import Place, to_numpy
from model_eval.spec.eval_spec import PathRef
from model_eval.types import Location

AT = Location(file="model-eval.yaml", line=1, column=1)
PLACE = Place(
    ref=PathRef(path=Path("a.parquet"), display="a.parquet", location=AT), column="x", start=0
)
ROWS = [[[i + 10 * j, i - j] for j in range(3)] for i in range(8)]


@pytest.mark.parametrize("inner", [pa.list_(pa.int64()), pa.large_list(pa.int64()), pa.list_(pa.int64(), 2)])  # fmt: skip
@pytest.mark.parametrize("outer", [pa.list_, pa.large_list, lambda kind: pa.list_(kind, 3)])
@pytest.mark.parametrize(("start", "length"), [(0, 8), (3, 4), (7, 1)])
def test_lists(inner, outer, start, length):
    array = pa.array(ROWS, type=outer(inner)).slice(start, length)
    assert to_numpy(array, PLACE).tolist() == array.to_pylist()


@pytest.mark.parametrize(("start", "length"), [(0, 6), (2, 3)])
def test_tensors(start, length):
    tensors = np.arange(24, dtype=np.float32).reshape(6, 2, 2)
    array = pa.FixedShapeTensorArray.from_numpy_ndarray(tensors).slice(start, length)
    assert np.array_equal(to_numpy(array, PLACE), tensors[start : start + length])


def test_a_part_without_the_ragged_row_is_no_rectangle_less():
    array = pa.array([[1], [2, 3], [4, 5], [6, 7, 8]])
    assert to_numpy(array.slice(1, 2), PLACE).tolist() == [[2, 3], [4, 5]]
    with pytest.raises(HeldOutError, match=r"lists of unequal length: 2 in row 0 .*, 3 in row 2 "):
        to_numpy(array.slice(1, 3), PLACE)


def test_a_null_inside_is_named_by_its_row():
    array = pa.array([[1, 2], [3, None]])
    with pytest.raises(HeldOutError, match="is null in row 1"):
        to_numpy(array, PLACE)
