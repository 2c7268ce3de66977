"""Conversions of columns to arguments, and cutting batches, without files."""

from itertools import pairwise

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from builders.heldout import an_input
from model_eval.errors import HeldOutError
from model_eval.heldout.batch import Batch, Labels
from model_eval.heldout.feed import rebatch
from model_eval.heldout.inputs import bind, convert
from model_eval.heldout.wording import Rows, one_line
from model_eval.wording import quote

KNOWN = ("mean b", "mean a", "worst", "x[0]", "*")
ROWS = Rows(start=0)


def bound(*columns, known=KNOWN, **conversion):
    return bind(an_input(*columns, **conversion), known, hidden={})


def test_patterns_expand_in_the_files_order_and_names_stay_in_the_specs():
    assert bound("mean *").columns == ("mean b", "mean a")
    assert bound("worst", "mean a", "mean b").columns == ("worst", "mean a", "mean b")


def test_a_name_that_is_a_column_is_no_pattern():
    assert bound("x[0]").columns == ("x[0]",)
    assert bound("*").columns == ("*",)


@pytest.mark.parametrize("columns", [("mean a", "mean a"), ("mean *", "mean a")])
def test_no_column_twice(columns):
    with pytest.raises(HeldOutError, match="names `mean a` twice"):
        bound(*columns)


def test_a_pattern_that_matches_nothing():
    with pytest.raises(HeldOutError) as caught:
        bound("best *", known=("a", "b"))
    assert caught.value.message == "no column of the held-out set matches `best *`"
    assert caught.value.remedy == "its columns are `a`, `b`"


def test_one_column_is_stacked_only_where_the_spec_wrote_columns():
    chunk = {"a": np.arange(3.0)}
    assert convert(bound("a", known=("a",)), chunk, ROWS).shape == (3,)
    assert convert(bound("a", known=("a",), stack=True), chunk, ROWS).shape == (3, 1)


def test_the_scale_is_applied_after_the_conversion():
    source = bound("a", known=("a",), dtype="float32", scale=1 / 3)
    found = convert(source, {"a": np.array([1, 2], np.uint8)}, ROWS)
    assert torch.equal(found, torch.tensor([1.0, 2.0]) * (1 / 3))


def test_a_scale_that_overflows():
    source = bound("a", known=("a",), dtype="float16", scale=100.0)
    with pytest.raises(HeldOutError) as caught:
        convert(source, {"a": np.array([1.0, 60_000.0])}, ROWS)
    assert caught.value.message == (
        "column `a` times 100 holds an infinity in row 1 (counting from 0)"
    )


DTYPES = {
    "float32": np.float32, "float64": np.float64, "int64": np.int64, "int32": np.int32,
    "uint8": np.uint8, "bool": np.bool_,
}  # fmt: skip


@given(
    values=hnp.arrays(
        st.sampled_from(
            [np.float64, np.float32, np.int64, np.int16, np.uint8, np.uint64, np.bool_]
        ),
        st.integers(1, 5),
    ),
    dtype=st.sampled_from(sorted(DTYPES)),
)
def test_a_conversion_keeps_every_value_or_is_refused(values, dtype):
    """Against Python's own exact numbers; floats may round, and nothing else may change."""
    source = bound("a", known=("a",), dtype=dtype)
    exact = [value.item() for value in values]
    try:
        found = convert(source, {"a": values}, ROWS).tolist()
    except HeldOutError:
        assert any(_lost(value, dtype) for value in exact)
        return
    if dtype.startswith("float"):
        expected = [float(DTYPES[dtype](value)) for value in exact]
        assert found == expected
    else:
        assert found == exact


def _lost(value, dtype):
    if not np.isfinite(value):
        return True
    if dtype.startswith("float"):
        # Of integers, only those above int64's are refused: torch cannot convert them.
        return bool(abs(value) > np.finfo(DTYPES[dtype]).max) or value >= 2**63
    if dtype == "bool":
        return value not in {0, 1}
    limits = np.iinfo(DTYPES[dtype])
    return value != int(value) or not limits.min <= value <= limits.max


@given(
    sizes=st.lists(st.integers(0, 9), max_size=8),
    size=st.integers(1, 12),
)
def test_rebatching_keeps_every_sample_in_order(sizes, size):
    stops = np.cumsum([0, *sizes])
    parts = [np.arange(start, stop) for start, stop in pairwise(stops)]
    found = list(rebatch((a_batch(part) for part in parts), size))
    assert [len(batch) for batch in found[:-1]] == [size] * (len(found) - 1)
    for get in (
        lambda b: b.args[0].numpy(), lambda b: b.kwargs["k"].numpy(), lambda b: b.labels.ids,
        lambda b: b.labels.target, lambda b: b.labels.cluster, lambda b: b.labels.slices["s"],
    ):  # fmt: skip
        whole = [value for batch in found for value in get(batch).tolist()]
        assert whole == list(range(sum(sizes)))


def a_batch(part):
    tensor = torch.from_numpy(part)
    labels = Labels(ids=part, target=part, cluster=part, slices={"s": part})
    return Batch(args=(tensor,), kwargs={"k": tensor}, labels=labels)


@given(st.text())
def test_names_stay_in_one_line_and_in_their_backticks(name):
    shown = quote(name)
    assert shown.isprintable()
    assert shown.count("`") == 2
    assert one_line(ValueError(name)).isprintable()
