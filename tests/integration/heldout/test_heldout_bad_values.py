"""Values that cannot be used: one clear error each, which names the column, the row and a remedy."""

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch

from builders.heldout import AT, an_input, everything, opened, written
from model_eval.errors import HeldOutError
from model_eval.types import Location, Task

X = np.arange(3.0)
Y = np.array([0, 1, 0])


def refused(*args, batch_size=2, **kwargs):
    with pytest.raises(HeldOutError) as caught:
        everything(opened(*args, **kwargs), batch_size)
    error = caught.value
    assert error.location == AT
    assert "\n" not in str(error)
    return str(error).removeprefix(f"{AT}: ")


def parquet(folder, **columns):
    return written(folder, "parquet", columns)


def npz(folder, **columns):
    return written(folder, "npz", columns)


# Columns


def test_an_unknown_column_has_the_names_and_a_guess(tmp_path):
    path = parquet(tmp_path, pixels=X, label=Y)
    assert refused(path, args=(an_input("pixel"),), targets=("label",)) == (
        "the held-out set has no column `pixel` (an input); did you mean `pixels`? "
        "its columns are `pixels`, `label`"
    )
    assert refused(path, args=(an_input("pixels"),), targets=("zzz",)) == (
        "the held-out set has no column `zzz` (target); its columns are `pixels`, `label`"
    )


@pytest.mark.parametrize(
    ("changes", "role"),
    [({"id": "k"}, "id"), ({"cluster": "k"}, "cluster"), ({"slices": ("k",)}, "slices")],
)
def test_an_unknown_column_is_reported_where_the_spec_names_it(tmp_path, changes, role):
    place = Location(file="spec.yaml", line=99, column=1)
    with pytest.raises(HeldOutError) as caught:
        opened(parquet(tmp_path, x=X, y=Y), locations={role: place}, **changes)
    assert caught.value.location == place
    assert caught.value.message == f"the held-out set has no column `k` ({role})"


def test_a_hostile_column_name_stays_in_its_line(tmp_path):
    path = parquet(tmp_path, **{"x": X, "y": Y, "a`\n::error::b": X})
    message = refused(path, targets=("z",))
    assert "\\u000a" in message
    assert "\n" not in message


def test_a_pattern_cannot_take_in_the_target_or_the_id(tmp_path):
    path = parquet(tmp_path, x=X, y=Y, key=[1, 2, 3])
    assert refused(path, args=(an_input("*", stack=True),)) == (
        "the input `*` takes in `y`, which is the target; "
        "name the input columns so that the model cannot see it"
    )
    assert refused(path, args=(an_input("x", "k*", stack=True),), id="key") == (
        "the input `x`, `k*` takes in `key`, which is the id; "
        "name the input columns so that the model cannot see it"
    )


# Inputs


@pytest.mark.parametrize(("value", "word"), [(np.nan, "NaN"), (np.inf, "an infinity")])
@pytest.mark.parametrize("file_format", ["parquet", "npz", "npy", "pt", "safetensors"])
def test_inputs_must_be_finite(tmp_path, value, word, file_format):
    x = np.zeros((3, 2))
    x[1, 1] = value
    source = written(tmp_path, file_format, {"x": x, "y": Y, "key": np.array([7, 8, 9])})
    assert refused(source) == (
        f"column `x` holds {word} in row 1 (counting from 0); "
        "remove or repair these values, as it was done for training"
    )
    assert f"column `x` holds {word} in row 1 (id `8`)" in refused(source, id="key")


def test_a_stacked_input_names_the_column(tmp_path):
    path = parquet(tmp_path, a=X, b=np.array([0.0, 1.0, np.nan]), y=Y)
    message = refused(path, args=(an_input("a", "b", stack=True),))
    assert message.startswith("column `b` holds NaN in row 2 ")


@pytest.mark.parametrize(
    ("values", "dtype", "shown"),
    [
        ([0.0, 1.0, 1.5], "int64", "1.5"),
        ([0, 1, 256], "uint8", "256"),
        ([0, 1, -1], "uint8", "-1"),
        ([0.0, 1.0, 2.0**63], "int64", "9.223372036854776e+18"),
        ([0, 1, 2**40], "int32", "1099511627776"),
        ([0, 1, 2], "bool", "2"),
        ([0.0, 1.0, 1e5], "float16", "100000.0"),
        ([0, 1, 70000], "float16", "70000"),
        ([0.0, 1.0, 1e300], "float32", "1e+300"),
    ],
)
def test_values_that_do_not_survive_the_conversion(tmp_path, values, dtype, shown):
    path = parquet(tmp_path, x=np.array(values), y=Y)
    assert refused(path, args=(an_input("x", dtype=dtype),)) == (
        f"column `x` holds {shown} in row 2 (counting from 0), which {dtype} cannot hold; "
        "state a dtype that holds every value, or convert the column in the file"
    )


def test_unsigned_integers_beyond_int64(tmp_path):
    path = npz(tmp_path, x=np.array([0, 2**63], dtype=np.uint64), y=Y[:2])
    assert refused(path, args=(an_input("x", dtype="int64"),)) == (
        "column `x` holds an integer above 2**63 - 1 in row 1 (counting from 0); "
        "convert the column in the file"
    )


def test_a_wrong_shape_names_both(tmp_path):
    path = parquet(tmp_path, x=np.zeros((3, 64)), y=Y)
    assert refused(path, args=(an_input("x", shape=(1, 8, 9)),)) == (
        "`x` has the shape (64,) per sample, the spec states (1, 8, 9); "
        "state the shape of one sample, without the batch axis"
    )


def test_text_is_no_input(tmp_path):
    path = written(tmp_path, "csv", {"x": ["good", "bad", "ugly"], "y": Y})
    assert refused(path) == (
        "column `x` is text, e.g. `good` in row 0 (counting from 0); a model takes numbers; "
        "tokenise or encode it first, in the file or with `loader:`"
    )


def test_dtypes_are_not_guessed_when_columns_are_stacked(tmp_path):
    path = parquet(tmp_path, a=X, b=Y, y=Y)
    assert refused(path, args=(an_input("a", "b"),)) == (
        "columns of different dtypes cannot be stacked: `a` is float64, `b` is int64; "
        "state the input's `dtype`, e.g. float32"
    )
    columns = (an_input("a", "b", dtype="float32"),)
    assert everything(opened(path, args=columns)).args[0].shape == (3, 2)


def test_scale_needs_a_floating_dtype(tmp_path):
    assert refused(parquet(tmp_path, x=Y, y=Y), args=(an_input("x", scale=0.5),)) == (
        "`scale` on `x`, which is int64; state the `dtype` to convert to, e.g. float32"
    )


def test_ragged_lists_are_refused_within_and_across_chunks(tmp_path, monkeypatch):
    pq.write_table(pa.table({"x": [[1.0, 2.0], [1.0], [3.0]], "y": Y}), tmp_path / "t.parquet")
    assert refused(tmp_path / "t.parquet") == (
        "column `x` of `t.parquet` has lists of unequal length: 2 in row 0 (counting from 0), "
        "1 in row 1 (counting from 0); pad the lists to one length, or read them with `loader:`"
    )
    monkeypatch.setattr("model_eval.heldout.heldout_set._BLOCK_BYTES", 1)
    assert refused(tmp_path / "t.parquet", batch_size=1) == (
        "`x` has the shape (2,) per sample in row 0 and (1,) in row 1 (counting from 0); "
        "give every sample the same shape: resize, or pad"
    )


def test_nulls_name_the_column_and_the_row(tmp_path):
    for values in ([[1.0], [2.0], None], [[1.0], [2.0], [None]]):
        pq.write_table(pa.table({"x": values, "y": Y}), tmp_path / "t.parquet")
        assert refused(tmp_path / "t.parquet") == (
            "column `x` of `t.parquet` is null in row 2 (counting from 0); "
            "give every sample a value, or leave the sample out"
        )


@pytest.mark.parametrize("cell", ["", "NA", "nan"])
def test_a_missing_number_in_csv(tmp_path, cell):
    (tmp_path / "t.csv").write_text(f"x,y\n1.5,0\n{cell},1\n")
    assert refused(tmp_path / "t.csv") == (
        "column `x` of `t.csv` is an empty cell or not a number in row 1 (counting from 0); "
        "give every sample a value, or leave the sample out"
    )


def test_a_missing_text_in_csv(tmp_path):
    (tmp_path / "t.csv").write_text("x,y,key\n1.5,0,a\n1,1,\n")
    assert refused(tmp_path / "t.csv", id="key") == (
        "column `key` of `t.csv` is an empty cell in row 1 (counting from 0); "
        "give every sample a value, or leave the sample out"
    )


def test_parquet_types_that_are_no_numbers(tmp_path):
    stamps = pa.array([1, 2, 3], pa.timestamp("s"))
    pq.write_table(pa.table({"x": stamps, "y": Y}), tmp_path / "t.parquet")
    assert refused(tmp_path / "t.parquet") == (
        "column `x` of `t.parquet` has the type timestamp[ms], which is neither a number nor text "
        "nor a list of numbers; convert the column in the file, or read it with `loader:`"
    )


# Targets


@pytest.mark.parametrize(
    ("task", "labels", "changes", "message"),
    [
        (
            Task.MULTICLASS, [0, -1, 1], {},
            ("the target `y` is -1 in row 1 (counting from 0), and class indexes are 0 or more; "
            "number the classes from 0 in the order of the model's outputs, "
            "and leave out samples without a label"),
        ),
        (
            Task.MULTICLASS, [0, 1, 3], {"classes": ("a", "b", "c")},
            ("the target `y` is 3 in row 2 (counting from 0), and class indexes are from 0 to 2; "
            "number the classes from 0 in the order of the model's outputs, "
            "and leave out samples without a label"),
        ),
        (
            Task.BINARY, [0, 1, 2], {},
            ("the target `y` is 2 in row 2 (counting from 0), and class indexes are from 0 to 1; "
            "number the classes from 0 in the order of the model's outputs, "
            "and leave out samples without a label"),
        ),
        (
            Task.MULTICLASS, [-100, -100, -100], {},
            ("the target `y` is -100 in row 0 (counting from 0), and class indexes are 0 or more; "
            "number the classes from 0 in the order of the model's outputs, "
            "and leave out samples without a label"),
        ),
        (
            Task.MULTICLASS, [0.0, 1.0, 2.0], {},
            ("the target `y` is float64, and a class is an integer or a name; write class indexes "
            "as integers, e.g. with `astype('int64')`, also where they are whole already"),
        ),
        (
            Task.MULTICLASS, [True, False, True], {},
            ("the target `y` is bool, and a class is an integer or a name; write class indexes "
            "as integers, e.g. with `astype('int64')`, also where they are whole already"),
        ),
        (
            Task.MULTICLASS, ["cat", "dgo", "cat"], {"classes": ("cat", "dog")},
            ("the target `y` is `dgo` in row 1 (counting from 0), which is not among the classes; "
            "did you mean `dog`? the classes are `cat`, `dog`"),
        ),
        (
            Task.MULTICLASS, ["cat", "dog", "cat"], {},
            ("the target `y` is text, e.g. `cat`, and the spec does not say which class is which "
            "output; state `classes:`, the names in the order of the model's outputs"),
        ),
        (
            Task.REGRESSION, [1.0, np.nan, 2.0], {},
            ("the target `y` is NaN or an infinity in row 1 (counting from 0); "
            "repair these targets, or leave out samples without one"),
        ),
        (
            Task.REGRESSION, [1.0, 2.0, -np.inf], {},
            ("the target `y` is NaN or an infinity in row 2 (counting from 0); "
            "repair these targets, or leave out samples without one"),
        ),
        (
            Task.REGRESSION, ["a", "b", "c"], {},
            ("the target `y` is text, and a regression's is a number; "
            "name a numeric column, or set `task:` to a classification"),
        ),
    ],
)  # fmt: skip
def test_targets_that_cannot_be_used(tmp_path, task, labels, changes, message):
    # Known before a batch is read: a long evaluation must not end at its last label.
    with pytest.raises(HeldOutError) as caught:
        opened(parquet(tmp_path, x=X, y=labels), task, **changes)
    assert str(caught.value) == f"{AT}: {message}"


@pytest.mark.parametrize("shape", [(3, 2), (3, 1, 1)])
def test_targets_with_axes_are_not_squeezed(tmp_path, shape):
    labels = np.zeros(shape, dtype=np.int64)
    assert refused(npz(tmp_path, x=X, y=labels)) == (
        f"column `y` has the shape {shape[1:]} per sample, and one value is needed; "
        "give each sample's class index, e.g. its argmax"
    ).replace("(2,)", "(2,)")


def test_several_targets_are_for_regression(tmp_path):
    assert refused(parquet(tmp_path, x=X, y=Y, z=Y), targets=("y", "z")) == (
        "a multiclass task has one target column, the spec names 2; "
        "name the column with the class index or the class name"
    )


# Ids, clusters, slices


@pytest.mark.parametrize("keys", [[5, 6, 5, 7, 5, 6], ["b", "c", "b", "d", "b", "c"]])
@pytest.mark.parametrize("file_format", ["parquet", "csv", "npz"])
def test_ids_that_repeat(tmp_path, keys, file_format):
    source = written(tmp_path, file_format, {"x": np.zeros(6), "y": [0] * 6, "key": keys})
    with pytest.raises(HeldOutError) as caught:
        opened(source, id="key")
    assert str(caught.value) == (
        f"{AT}: the id `{keys[0]}` occurs 3 times; 3 of 6 samples repeat the id of another; "
        "give each sample its own id, or leave `id` out"
    )


def test_ids_are_integers_or_text(tmp_path):
    assert refused(parquet(tmp_path, x=X, y=Y, key=X), id="key") == (
        "the id column `key` is float64, and ids are integers or text; "
        "write the ids as integers or text"
    )


@pytest.mark.parametrize("changes", [{"cluster": "g"}, {"slices": ("g",)}])
def test_groups_have_a_value_for_every_sample(tmp_path, changes):
    assert refused(npz(tmp_path, x=X, y=Y, g=[0.5, np.nan, 1]), **changes) == (
        "column `g` is NaN or an infinity in row 1 (counting from 0); "
        "give every sample a value, e.g. `unknown`"
    )


# The set as a whole


@pytest.mark.parametrize("file_format", ["parquet", "npz", "npy", "pt", "safetensors"])
def test_an_empty_set(tmp_path, file_format):
    source = written(tmp_path, file_format, {"x": X[:0], "y": Y[:0]})
    name = "heldout-x.npy, heldout-y.npy" if file_format == "npy" else source.name
    assert refused(source) == (
        f"`{name}` has no samples; an empty set can judge nothing; write the samples again"
    )


def test_a_csv_file_with_only_a_header(tmp_path):
    (tmp_path / "t.csv").write_text("x,y\n")
    assert refused(tmp_path / "t.csv") == (
        "`t.csv` has no samples; an empty set can judge nothing; write the samples again"
    )


@pytest.mark.parametrize("count", [2, 4])
def test_the_count_must_be_right(tmp_path, count):
    assert refused(parquet(tmp_path, x=X, y=Y), count=count) == (
        f"`heldout.parquet` has 3 samples, the spec states `count: {count}`; "
        "correct the one that is wrong"
    )


def test_the_pin_must_be_right_before_anything_is_read(tmp_path):
    path = tmp_path / "t.csv"
    path.write_bytes(b"\xff\xfa not a CSV file")
    found = "3" * 64
    with pytest.raises(HeldOutError) as caught:
        opened(path, sha256=found)
    import hashlib

    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    assert str(caught.value) == (
        f"{AT}: `t.csv` has the sha256 {digest}, the spec pins {found}; "
        "use the pinned data, or pin the new digest in a commit that says why"
    )


def test_columns_of_unequal_length(tmp_path):
    torch.save({"x": torch.zeros(3, 2), "y": torch.zeros(2)}, tmp_path / "t.pt")
    assert refused(tmp_path / "t.pt") == (
        "columns of `t.pt` differ in length: `x` has the shape (3, 2), `y` (2,); "
        "save only arrays whose first axis is the sample"
    )
