"""The ledger: what it holds together, and that a file of it is read back whole or refused."""

import json
import os
from dataclasses import replace

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from builders.ledgers import (
    binary_ledger,
    language_ledger,
    multiclass_ledger,
    multilabel_ledger,
    regression_ledger,
    segmentation_ledger,
    take,
)
from model_eval.errors import EvaluationError, ReportError
from model_eval.ledger import Ledger, concatenate, open_ledger, parquet, save
from model_eval.types import Task

THREE = np.array([[0.2, 0.3, 0.5], [0.6, 0.3, 0.1]])
LEDGERS = {
    Task.BINARY: binary_ledger([0, 1], [0.1, 0.9]),
    Task.MULTICLASS: multiclass_ledger([2, 1], THREE, ("ant", "bee", "cat"), dtype=np.float32),
    Task.REGRESSION: regression_ledger([[1.0, 2], [3, 4]], [[1.0, 2], [3, 5]], ("a", "b")),
    Task.MULTILABEL: multilabel_ledger([[1, 0, 1], [0, 0, 1]], THREE, ("ant", "bee", "cat")),
    Task.SEGMENTATION: segmentation_ledger(
        [[0, 1, 9], [1, 1, 0]], [[0, 0, 1], [1, 1, 1]], "ab", ignore_index=9
    ),
    Task.LANGUAGE_MODELING: language_ledger([3.5, 0.0], [4, 0], [2, 0], [9, 1]),
}
BINARY = LEDGERS[Task.BINARY]


def with_columns(ledger, **columns):
    return replace(ledger, columns={**ledger.columns, **columns})


def round_trip(ledger, path):
    save(ledger, path)
    return open_ledger(path)


def test_a_part_says_what_it_is_part_of(tmp_path):
    part = {"shard": 2, "of": 8, "heldout": "heldout", "spec": "abc"}
    assert round_trip(replace(BINARY, part=part), tmp_path / "a.parquet").part == part
    assert round_trip(BINARY, tmp_path / "b.parquet").part is None


@pytest.mark.parametrize("part", [[1], "2/8", {"of": 1.5}, {"of": None}, {"of": True}])
def test_a_part_that_is_no_list_of_facts(tmp_path, part):
    path = tmp_path / "a.parquet"
    save(BINARY, path)
    table = pq.read_table(path)
    known = json.loads(table.schema.metadata[b"model_eval"]) | {"part": part}
    pq.write_table(table.replace_schema_metadata({"model_eval": json.dumps(known)}), path)
    with pytest.raises(ReportError, match="is no list of facts"):
        open_ledger(path)


def assert_same(some, other):
    assert (some.task, some.classes, some.outputs) == (other.task, other.classes, other.outputs)
    assert list(some.columns) == list(other.columns)
    for name, column in some.columns.items():
        if column.dtype.kind in "OU":
            assert other[name].dtype.kind in "OU"
            assert column.tolist() == other[name].tolist()
        else:
            assert (column.dtype, column.shape) == (other[name].dtype, other[name].shape)
            assert column.tobytes() == other[name].tobytes()


@pytest.mark.parametrize("task", Task)
@pytest.mark.parametrize("rows", [0, 1, 2])
def test_what_is_saved_is_opened(task, rows, tmp_path):
    ledger = take(LEDGERS[task], slice(0, rows))
    found = round_trip(ledger, tmp_path / "x.parquet")
    assert_same(ledger, found)
    assert len(found) == rows


@pytest.mark.parametrize("dtype", [object, str])
def test_text_survives(dtype, tmp_path):
    words = ["", "naïve", "a\nb", "🐈", "x" * 10_000, "null", " ", '"', "\x00b"]
    n = len(words)
    ledger = binary_ledger([0] * n, np.linspace(0, 1, n), ids=np.array(words, dtype=dtype))
    ledger = with_columns(
        ledger,
        cluster=np.array(words[::-1], dtype=object),
        **{"slice:a.b c": np.array(words, dtype=dtype), "slice:": np.arange(n) / 3},
    )
    assert_same(ledger, round_trip(ledger, tmp_path / "x.parquet"))


@pytest.mark.parametrize("value", ["caf\udce9.png", 7])
def test_what_is_no_text_is_not_saved(value, tmp_path):
    ledger = binary_ledger([0, 1], [0.1, 0.9], ids=np.array(["a", value], dtype=object))
    with pytest.raises(EvaluationError) as raised:
        save(ledger, tmp_path / "x.parquet")
    assert raised.value.message == "column `id` has a value that is not Unicode text"
    assert not list(tmp_path.iterdir())


def test_no_rows_of_text_are_still_text(tmp_path):
    ledger = binary_ledger([], [], ids=np.array([], dtype=object))
    found = round_trip(ledger, tmp_path / "x.parquet")
    assert found["id"].dtype == object
    assert len(concatenate([found, binary_ledger([1], [0.5], ids=["a"])])) == 1


def test_numbers_survive_to_the_bit(tmp_path):
    hard = np.array([np.nan, np.inf, -np.inf, -0.0, 5e-324, 1.7e308, 0.1])
    n = len(hard)
    ledger = regression_ledger(np.zeros((n, 1)), hard, finite=np.isfinite(hard))
    ids = np.array([0, -1, 2**63 - 1, -(2**63), 2**53 + 1, 5, 6])
    ledger = with_columns(ledger, id=ids)
    assert_same(ledger, round_trip(ledger, tmp_path / "x.parquet"))


def test_columns_in_another_memory_order_survive(tmp_path):
    wide = multiclass_ledger(np.arange(5) % 3, np.random.default_rng(0).dirichlet([1] * 3, 5))
    ledger = with_columns(
        wide,
        probability=np.asfortranarray(wide["probability"]),
        id=np.arange(10)[::2],
    )
    assert_same(ledger, round_trip(ledger, tmp_path / "x.parquet"))


def test_several_row_groups_are_read_in_order(tmp_path):
    ids = np.array([f"id{i % 7}" for i in range(100)], dtype=object)
    probability = np.random.default_rng(0).dirichlet([1] * 3, 100)
    ledger = multiclass_ledger(np.arange(100) % 3, probability, ids=ids)
    save(ledger, tmp_path / "x.parquet")
    pq.write_table(pq.read_table(tmp_path / "x.parquet"), tmp_path / "y.parquet", row_group_size=9)
    assert_same(ledger, open_ledger(tmp_path / "y.parquet"))


def test_other_tools_read_the_columns(tmp_path):
    save(LEDGERS[Task.MULTICLASS], tmp_path / "x.parquet")
    rows = pq.read_table(tmp_path / "x.parquet").to_pylist()
    assert rows[1]["probability"] == pytest.approx([0.6, 0.3, 0.1], abs=1e-7)
    assert (rows[1]["id"], rows[1]["target"], rows[1]["prediction"]) == (1, 1, 0)


def test_rows_of_which_nothing_counts_are_counted():
    assert {task: ledger.uncounted for task, ledger in LEDGERS.items() if ledger.uncounted} == {
        Task.LANGUAGE_MODELING: 1
    }
    ignored = segmentation_ledger([[9, 9], [0, 9]], [[0, 1], [1, 1]], "ab", ignore_index=9)
    assert ignored.uncounted == 1
    assert take(ignored, []).uncounted == 0


@pytest.mark.parametrize("task", Task)
def test_parts_of_a_ledger_make_the_whole(task):
    ledger = LEDGERS[task]
    assert_same(ledger, concatenate([take(ledger, slice(0, 1)), take(ledger, slice(1, 2))]))
    assert concatenate([ledger]).distinct == 2
    assert concatenate([ledger, ledger]).distinct == 2


@pytest.mark.parametrize(
    "other",
    [
        LEDGERS[Task.MULTICLASS],
        replace(BINARY, classes=("a", "b")),
        with_columns(BINARY, cluster=np.arange(2)),
        with_columns(BINARY, id=np.array(["0", "1"])),  # numpy would make 0 and "0" one id
    ],
)
def test_ledgers_of_different_runs_stay_apart(other):
    with pytest.raises(ValueError) as raised:
        concatenate([BINARY, other])
    assert str(raised.value) == "ledgers of different runs cannot be concatenated"


def test_no_ledgers_are_no_ledger():
    with pytest.raises(ValueError, match=r"^no ledgers to concatenate$"):
        concatenate([])


def without(ledger, name):
    return {key: column for key, column in ledger.columns.items() if key != name}


@pytest.mark.parametrize(
    ("task", "change", "message"),
    [
        (Task.BINARY, {"columns": without(BINARY, "id")}, "a binary ledger lacks the column `id`"),
        (
            Task.BINARY,
            {"columns": {**BINARY.columns, "note": np.arange(2)}},
            "a binary ledger has no column `note`",
        ),
        (
            Task.BINARY,
            {"columns": {**BINARY.columns, "id": np.arange(3)}},
            "column `finite` has 2 rows, and `id` 3",
        ),
        (
            Task.BINARY,
            {"columns": {**BINARY.columns, "target": np.zeros(2)}},
            "column `target` of a binary ledger is float64 with 1 axes",
        ),
        (
            Task.BINARY,
            {"columns": {**BINARY.columns, "probability": THREE}},
            "column `probability` of a binary ledger is float64 with 2 axes",
        ),
        (
            Task.BINARY,
            {"columns": {**BINARY.columns, "slice:x": np.array([True, False])}},
            "column `slice:x` of a binary ledger is bool with 1 axes",
        ),
        (
            Task.BINARY,
            {"classes": ("no",)},
            "a binary ledger needs 2 different names, and has ('no',)",
        ),
        (
            Task.MULTICLASS,
            {"classes": ("a", "a", "b")},
            "a multiclass ledger needs 3 different names, and has ('a', 'a', 'b')",
        ),
        (
            Task.REGRESSION,
            {"outputs": ("a",)},
            "a regression ledger needs 2 different names, and has ('a',)",
        ),
        (
            Task.REGRESSION,
            {"columns": {**LEDGERS[Task.REGRESSION].columns, "target": np.zeros((2, 1))}},
            "1 targets are not 2 predictions",
        ),
        (
            Task.MULTILABEL,
            {"columns": {**LEDGERS[Task.MULTILABEL].columns, "target": np.zeros((2, 2), bool)}},
            "column `target` has another shape than `probability`",
        ),
        (
            Task.MULTILABEL,
            {"columns": {**LEDGERS[Task.MULTILABEL].columns, "target": np.zeros((2, 3), int)}},
            "column `target` of a multilabel ledger is int64 with 2 axes",
        ),
        (
            Task.SEGMENTATION,
            {"columns": {**LEDGERS[Task.SEGMENTATION].columns, "hits": np.zeros((2, 3), int)}},
            "column `hits` has another shape than `support`",
        ),
        (
            Task.SEGMENTATION,
            {"classes": ()},
            "a segmentation ledger needs 2 different names, and has ()",
        ),
        (
            Task.LANGUAGE_MODELING,
            {"classes": ("a",)},
            "a language_modeling ledger needs 0 different names, and has ('a',)",
        ),
        (
            Task.LANGUAGE_MODELING,
            {
                "columns": {
                    **LEDGERS[Task.LANGUAGE_MODELING].columns,
                    "target": np.zeros((2, 2), int),
                }
            },
            "a language_modeling ledger has no column `target`",
        ),
    ],
)
def test_a_ledger_holds_together(task, change, message):
    with pytest.raises(ValueError) as raised:
        replace(LEDGERS[task], **change)
    assert str(raised.value) == message


def refusal(path):
    with pytest.raises(ReportError) as raised:
        open_ledger(path)
    assert raised.value.remedy == "make it again with `model-eval run`"
    return raised.value.message.removeprefix(f"`{path}` is not a ledger that can be used: ")


def test_what_is_no_file_is_refused(tmp_path):
    assert refusal(tmp_path / "none") == "No such file or directory"
    assert refusal(tmp_path) == "it is not a regular file"
    os.mkfifo(tmp_path / "fifo")
    assert refusal(tmp_path / "fifo") == "it is not a regular file"
    (tmp_path / "loop").symlink_to(tmp_path / "loop")
    assert refusal(tmp_path / "loop") == "Too many levels of symbolic links"


@pytest.mark.parametrize("data", [b"", b"PAR1", b"PAR1PAR1", b"id,target\n1,2\n", b"\0" * 4096])
def test_what_is_no_parquet_is_refused(data, tmp_path):
    path = tmp_path / "x.parquet"
    path.write_bytes(data)
    assert "Parquet" in refusal(path)


def test_a_truncated_file_is_refused(tmp_path):
    path = tmp_path / "x.parquet"
    save(BINARY, path)
    data = path.read_bytes()
    for size in range(0, len(data), 97):
        path.write_bytes(data[:size])
        assert refusal(path)


class Hostile:
    """A saved ledger whose table and words about itself can be changed."""

    def __init__(self, ledger, path):
        save(ledger, path)
        self.table, self.path = pq.read_table(path), path
        self.about = json.loads(self.table.schema.metadata[b"model_eval"])

    def write(self, about=None):
        words = about if isinstance(about, bytes) else json.dumps(about or self.about).encode()
        table = self.table.replace_schema_metadata({b"model_eval": words})
        pq.write_table(table, self.path)
        return refusal(self.path)

    def set(self, name, array):
        index = self.table.column_names.index(name)
        self.table = self.table.set_column(index, name, array)
        return self.write()


@pytest.fixture
def hostile(tmp_path):
    return Hostile(BINARY, tmp_path / "x.parquet")


def test_a_table_of_something_else_is_refused(hostile):
    pq.write_table(hostile.table.replace_schema_metadata(None), hostile.path)
    assert refusal(hostile.path) == "it is a Parquet file of something else"


INCOMPLETE = "what it says about itself is incomplete"


@pytest.mark.parametrize(
    ("about", "reason"),
    [
        (b"[]", INCOMPLETE),
        (b'"text"', INCOMPLETE),
        (b'{"task": "binary"}', INCOMPLETE),
        (b"{", "Expecting property name enclosed in double quotes: line 1 column 2 (char 1)"),
        (b"\xff", "'utf-8' codec can't decode byte 0xff in position 0: invalid start byte"),
        (
            b'{"task": "binary", "classes": [], "outputs": [], "format_version": 2}',
            "its format is not version 1",
        ),
        (
            b'{"task": "detection", "classes": [], "outputs": [], "format_version": 1}',
            "'detection' is not a valid Task",
        ),
        (
            b'{"task": "binary", "classes": "ab", "outputs": [], "format_version": 1}',
            "its classes or outputs are not a list of names",
        ),
        (
            b'{"task": "binary", "classes": [0, 1], "outputs": [], "format_version": 1}',
            "its classes or outputs are not a list of names",
        ),
        (
            b'{"task": [], "classes": ["a", "b"], "outputs": [], "format_version": 1}',
            "[] is not a valid Task",
        ),
    ],
)
def test_what_a_file_says_about_itself_is_checked(hostile, about, reason):
    assert hostile.write(about) == reason


def test_words_too_deep_are_refused(hostile):
    assert "recursion" in hostile.write(b"[" * 100_000)


def test_missing_values_are_refused(hostile):
    # Read without care, an integer column with a gap is float64 with NaN.
    assert hostile.set("target", pa.array([0, None], pa.int64())) == (
        "column `target` has missing values"
    )


def test_missing_values_inside_a_list_are_refused(tmp_path):
    hostile = Hostile(LEDGERS[Task.MULTICLASS], tmp_path / "x.parquet")
    kind = pa.list_(pa.float32(), 3)
    for rows in ([[0.1, 0.2, 0.7], [0.1, None, 0.9]], [[0.1, 0.2, 0.7], None]):
        assert hostile.set("probability", pa.array(rows, kind)) == (
            "column `probability` has missing values"
        )


def test_missing_text_is_refused(tmp_path):
    hostile = Hostile(binary_ledger([0, 1], [0.1, 0.9], ids=["a", "b"]), tmp_path / "x.parquet")
    assert hostile.set("id", pa.array(["a", None])) == "column `id` has missing values"


@pytest.mark.parametrize(
    ("kind", "word"),
    [
        (pa.array([b"a", b"b"]), "binary"),
        (pa.array([1, 2], pa.int32()), "int32"),
        (pa.array([[1], [2]]), "list<element: int64>"),
        (pa.array([1, 2], pa.timestamp("s")), "timestamp[ms]"),
        (pa.array([None, None]), "null"),
        (pa.array([{"a": 1}, {"a": 2}]), "struct<a: int64>"),
    ],
)
def test_other_types_are_refused(hostile, kind, word):
    assert hostile.set("id", kind) == f"column `id` is {word}"


def test_two_columns_of_one_name_are_refused(hostile):
    hostile.table = hostile.table.append_column("id", hostile.table.column("id"))
    assert hostile.write() == "two columns have the same name"


def test_a_column_that_no_ledger_has_is_refused(hostile):
    hostile.table = hostile.table.append_column("note", hostile.table.column("id"))
    assert hostile.write() == "a binary ledger has no column `note`"


@pytest.mark.parametrize(
    ("task", "name", "column", "reason"),
    [
        (Task.BINARY, "target", [0, 2], "column `target` has a class index outside 0 to 1"),
        (
            Task.BINARY,
            "prediction",
            [-1, 1],
            "column `prediction` has a class index outside 0 to 1",
        ),
        (
            Task.BINARY,
            "probability",
            [0.1, np.nan],
            "column `probability` is not finite in a row that is called finite",
        ),
        (
            Task.BINARY,
            "log_loss",
            [0.1, np.nan],
            "column `log_loss` is NaN in a row that is called finite",
        ),
        (
            Task.REGRESSION,
            "prediction",
            [[0, 1], [np.inf, 2]],
            "column `prediction` is not finite in a row that is called finite",
        ),
        (
            Task.REGRESSION,
            "target",
            [[0, 1], [np.nan, 2]],
            "column `target` has numbers that are not finite",
        ),
        (
            Task.MULTILABEL,
            "probability",
            [[0, 1, 1], [1, np.nan, 1]],
            "column `probability` is not finite in a row that is called finite",
        ),
        (Task.SEGMENTATION, "hits", [[1, 0], [-1, 2]], "column `hits` has a count below 0"),
        (Task.SEGMENTATION, "hits", [[1, 1], [0, 2]], "column `hits` counts more than `predicted`"),
        (
            Task.SEGMENTATION,
            "support",
            [[0, 2], [1, 2]],
            "column `hits` counts more than `support`",
        ),
        (
            Task.SEGMENTATION,
            "support",
            [[1, 2], [1, 2]],
            "columns `predicted` and `support` do not count the same pixels",
        ),
        (Task.LANGUAGE_MODELING, "hits", [5, 0], "column `hits` counts more than `tokens`"),
        (Task.LANGUAGE_MODELING, "bytes", [9, -1], "column `bytes` has a count below 0"),
        (
            Task.LANGUAGE_MODELING,
            "nll",
            [-0.1, 0],
            "column `nll` is NaN or below 0 in a row that is called finite",
        ),
        (
            Task.LANGUAGE_MODELING,
            "nll",
            [np.nan, 0],
            "column `nll` is NaN or below 0 in a row that is called finite",
        ),
    ],
)
def test_numbers_that_no_evaluation_writes_are_refused(task, name, column, reason, tmp_path):
    ledger = LEDGERS[task]
    column = np.array(column, dtype=ledger[name].dtype)
    save(with_columns(ledger, **{name: column}), tmp_path / "x.parquet")
    assert refusal(tmp_path / "x.parquet") == reason


def test_numbers_of_rows_that_are_not_finite_may_be_anything(tmp_path):
    ledger = binary_ledger([0, 1], [0.1, np.nan], finite=[True, False])
    assert_same(ledger, round_trip(ledger, tmp_path / "x.parquet"))
    ruled_out = with_columns(BINARY, log_loss=np.array([0.1, np.inf]))
    assert_same(ruled_out, round_trip(ruled_out, tmp_path / "x.parquet"))


def test_a_small_file_of_many_rows_is_refused_before_it_is_read(tmp_path, monkeypatch):
    n = 100_000
    save(binary_ledger(np.zeros(n), np.full(n, 0.5), ids=np.zeros(n, int)), tmp_path / "x.parquet")
    assert (tmp_path / "x.parquet").stat().st_size < n / 10
    monkeypatch.setattr(parquet, "MAX_BYTES", 4_000_000)
    assert refusal(tmp_path / "x.parquet") == (
        "it needs 4800000 bytes of memory; at most 4000000 are read"
    )


def test_repeated_text_is_held_once(tmp_path):
    word = "x" * 100_000
    ledger = with_columns(
        binary_ledger([0] * 2000, [0.5] * 2000), cluster=np.array([word] * 2000, dtype=object)
    )
    found = round_trip(ledger, tmp_path / "x.parquet")["cluster"]
    assert len({id(value) for value in found}) == 1


@pytest.fixture(scope="module")
def damaged(tmp_path_factory):
    """A path, and what an undamaged file there has."""
    path = tmp_path_factory.mktemp("ledger") / "x.parquet"
    save(LEDGERS[Task.MULTICLASS], path)
    return path, path.read_bytes()


@given(data=st.data())
@settings(max_examples=300, deadline=None)
def test_a_damaged_file_is_refused_or_its_columns_are_whole(damaged, data):
    path, whole = damaged
    mutant = bytearray(whole)
    mutant[data.draw(st.integers(0, len(whole) - 1))] ^= data.draw(st.integers(1, 255))
    path.write_bytes(mutant)
    try:
        found = open_ledger(path)
    except ReportError:
        return
    for name, column in LEDGERS[Task.MULTICLASS].columns.items():
        np.testing.assert_array_equal(found[name], column)


def test_a_ledger_cannot_be_changed():
    with pytest.raises(AttributeError):
        BINARY.task = Task.REGRESSION
    assert isinstance(BINARY, Ledger)
