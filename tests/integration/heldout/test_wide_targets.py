"""Labels, masks and tokens, as files and loaders hold them."""

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch

from builders.heldout import AT, an_input, batches, everything, labels, loaded, opened, written
from model_eval.errors import HeldOutError
from model_eval.heldout import heldout_set
from model_eval.types import Task

N = 9
X = np.arange(N, dtype=np.float32)
RNG = np.random.default_rng(0)
LABELS = RNG.integers(0, 2, (N, 3))
MASKS = RNG.integers(0, 4, (N, 2, 5))
TOKENS = RNG.integers(0, 50, (N, 6))
ARRAYS = ("npz", "npy", "pt", "safetensors", "parquet")


def refused(*args, **kwargs):
    with pytest.raises(HeldOutError) as caught:
        everything(opened(*args, **kwargs))
    assert caught.value.location == AT
    assert "\n" not in str(caught.value)
    return str(caught.value).removeprefix(f"{AT}: ")


def npz(folder, **columns):
    return written(folder, "npz", {"x": X, **columns})


# Labels


@pytest.mark.parametrize("file_format", ARRAYS)
@pytest.mark.parametrize("dtype", [bool, np.uint8, np.int64, np.float32])
def test_labels_in_one_wide_column(file_format, dtype, tmp_path):
    source = written(tmp_path, file_format, {"x": X, "y": LABELS.astype(dtype)})
    found = labels(opened(source, Task.MULTILABEL)).target
    assert found.dtype == bool
    np.testing.assert_array_equal(found, LABELS == 1)


@pytest.mark.parametrize("file_format", ["csv", *ARRAYS])
def test_labels_in_several_columns(file_format, tmp_path):
    a, b, c = LABELS.T.copy()
    columns = {"a": a, "b": b.astype(bool), "c": c.astype(float)}
    source = written(tmp_path, file_format, {"x": X, **columns})
    found = labels(opened(source, Task.MULTILABEL, targets=("c", "a", "b"))).target
    np.testing.assert_array_equal(found, LABELS[:, [2, 0, 1]] == 1)


@pytest.mark.parametrize(
    ("value", "shown"), [(2, "2.0"), (-1, "-1.0"), (0.5, "0.5"), (np.nan, "nan")]
)
def test_a_label_is_zero_or_one(value, shown, tmp_path):
    wrong = LABELS.astype(float)
    wrong[4, 1] = value
    assert refused(npz(tmp_path, y=wrong), Task.MULTILABEL) == (
        f"the target `y` is {shown} in row 4 (counting from 0), and a label is 0 or 1; write 1 "
        "where the sample has the label, else 0; of one class of several write `task: multiclass`"
    )


def test_labels_are_no_text_and_no_cube(tmp_path):
    words = np.array(["cat"] * N)
    assert refused(npz(tmp_path, y=words), Task.MULTILABEL) == (
        "the target `y` is text, and a label is 0 or 1; write a column for each label, with 1 "
        "where the sample has it"
    )
    assert refused(npz(tmp_path, y=MASKS), Task.MULTILABEL) == (
        "the target `y` has the shape (2, 5) per sample, and labels are a list; name one column "
        "for each label, or one column with a list of all of them"
    )
    path = npz(tmp_path, y=LABELS, z=X)
    assert refused(path, Task.MULTILABEL, targets=("z", "y")) == (
        "the target `z` is 2.0 in row 2 (counting from 0), and a label is 0 or 1; write 1 where "
        "the sample has the label, else 0; of one class of several write `task: multiclass`"
    )
    assert refused(path, Task.MULTILABEL, targets=("y", "z")) == (
        "the target `y` has the shape (3,) per sample, and one of several columns holds one "
        "label; name one column for each label, or one column with a list of all of them"
    )


# Masks


@pytest.mark.parametrize("file_format", ARRAYS)
@pytest.mark.parametrize("dtype", [bool, np.uint8, np.int32, np.int64])
def test_masks(file_format, dtype, tmp_path):
    masks = MASKS.astype(dtype)
    source = written(tmp_path, file_format, {"x": X, "y": masks})
    found = labels(opened(source, Task.SEGMENTATION)).target
    np.testing.assert_array_equal(found, masks)
    if file_format != "parquet":  # which is written from Python's integers here
        assert found.dtype.itemsize == masks.dtype.itemsize
    torch.from_numpy(found.copy())


@pytest.mark.parametrize("dtype", [np.uint16, np.uint32, np.uint64])
def test_masks_of_integers_that_torch_has_not(dtype, tmp_path):
    found = labels(opened(npz(tmp_path, y=MASKS.astype(dtype)), Task.SEGMENTATION)).target
    assert found.dtype == np.int64
    np.testing.assert_array_equal(found, MASKS)


def test_masks_in_fixed_size_lists_of_parquet(tmp_path):
    flat = pa.array(MASKS.reshape(-1).astype(np.uint8))
    inner = pa.FixedSizeListArray.from_arrays(flat, 5)
    column = pa.FixedSizeListArray.from_arrays(inner, 2)
    pq.write_table(pa.table({"x": pa.array(X), "y": column}), tmp_path / "heldout.parquet")
    found = labels(opened(tmp_path / "heldout.parquet", Task.SEGMENTATION)).target
    np.testing.assert_array_equal(found, MASKS)


def test_what_a_mask_is_not(tmp_path):
    assert refused(npz(tmp_path, y=MASKS * 1.0), Task.SEGMENTATION) == (
        "the target `y` is float64, and the class of a pixel is an integer; write integers from "
        "0, e.g. with `astype('int64')`"
    )
    assert refused(npz(tmp_path, y=MASKS[:, 0, 0]), Task.SEGMENTATION) == (
        "the target `y` has the shape () per sample, and a mask has a class for each pixel; give "
        "every sample a mask (height, width)"
    )
    negative = np.where(MASKS == 3, -1, MASKS)
    assert refused(npz(tmp_path, y=negative), Task.SEGMENTATION).startswith(
        "the target `y` holds -1 in row 0 (counting from 0), and class indexes are 0 or more; "
        "number the classes from 0 in the order of the model's outputs; state `ignore_index:` for "
        "what is not to be counted, which is -100 now"
    )
    opened(npz(tmp_path, y=negative), Task.SEGMENTATION, ignore_index=-1)


def test_masks_are_checked_a_few_at_a_time(tmp_path, monkeypatch):
    monkeypatch.setattr(heldout_set, "_LABEL_BYTES", 2 * (X[0].nbytes + MASKS[0].nbytes))
    heldout = opened(npz(tmp_path, y=MASKS), Task.SEGMENTATION)
    seen = []
    chunks = heldout.reader.chunks
    heldout.reader.chunks = lambda columns, rows: seen.append(rows) or chunks(columns, rows)
    heldout.check_labels(lambda _: None)
    assert seen == [2]


# Tokens


@pytest.mark.parametrize("file_format", ARRAYS)
def test_tokens_in_a_column_of_their_own(file_format, tmp_path):
    source = written(tmp_path, file_format, {"x": X, "y": TOKENS.astype(np.int32)})
    found = labels(opened(source, Task.LANGUAGE_MODELING)).target
    assert found.dtype == np.int64
    np.testing.assert_array_equal(found, TOKENS)


@pytest.mark.parametrize("file_format", ARRAYS)
@pytest.mark.parametrize("batch_size", [1, 4, 100])
def test_tokens_that_are_the_next_input(file_format, batch_size, tmp_path):
    source = written(tmp_path, file_format, {"x": TOKENS})
    heldout = opened(source, Task.LANGUAGE_MODELING, targets=("x",), shift=True, ignore_index=7)
    found = list(batches(heldout, batch_size))
    given = np.concatenate([batch.args[0].numpy() for batch in found])
    target = np.concatenate([batch.labels.target for batch in found])
    np.testing.assert_array_equal(given, TOKENS)
    np.testing.assert_array_equal(target[:, :-1], TOKENS[:, 1:])
    assert (target[:, -1] == 7).all()


def test_without_shift_the_target_is_no_input(tmp_path):
    source = npz(tmp_path, y=TOKENS)
    assert refused(source, Task.LANGUAGE_MODELING, args=(an_input("y"),)).startswith(
        "the input `y` takes in `y`, which is the target"
    )


def test_shifted_labels_of_another_column(tmp_path):
    """As Hugging Face's models take them: in place of the prompt there is -100."""
    prompted = TOKENS.copy()
    prompted[:, :3] = -100
    source = npz(tmp_path, tokens=TOKENS, y=prompted)
    found = labels(
        opened(source, Task.LANGUAGE_MODELING, args=(an_input("tokens"),), shift=True)
    ).target
    assert ((found == -100).sum(axis=1) == 3).all()


def test_the_id_is_no_input_of_shifted_tokens(tmp_path):
    source = npz(tmp_path, y=TOKENS, k=np.arange(N))
    assert refused(
        source, Task.LANGUAGE_MODELING, args=(an_input("k"),), shift=True, id="k"
    ).startswith("the input `k` takes in `k`, which is the id")


def test_lengths_of_documents(tmp_path):
    lengths = np.arange(N)
    source = npz(tmp_path, y=TOKENS, size=lengths)
    found = list(batches(opened(source, Task.LANGUAGE_MODELING, bytes="size"), 4))
    assert np.concatenate([batch.labels.bytes for batch in found]).tolist() == lengths.tolist()
    assert labels(opened(source, Task.LANGUAGE_MODELING)).bytes is None


def test_what_a_length_is_not(tmp_path):
    for values, words in [
        (
            np.arange(N) - 3,
            "column `size` is -3 in row 0 (counting from 0), and a length in bytes is at least 0",
        ),
        (np.arange(N) * 1.0, "column `size` is float64, and a length in bytes is an integer"),
        (np.array(["a"] * N), "column `size` is text, and a length in bytes is an integer"),
    ]:
        source = npz(tmp_path, y=TOKENS, size=values)
        assert refused(source, Task.LANGUAGE_MODELING, bytes="size") == (
            f"{words}; write how many bytes the document has in UTF-8"
        )
    assert refused(npz(tmp_path, y=TOKENS), Task.LANGUAGE_MODELING, bytes="size") == (
        "the held-out set has no column `size` (bytes); its columns are `x`, `y`"
    )


def test_what_tokens_are_not(tmp_path):
    assert refused(npz(tmp_path, y=TOKENS[:, 0]), Task.LANGUAGE_MODELING) == (
        "the target `y` has the shape () per sample, and a document is a list of tokens; give "
        "every sample a list of tokens, padded to one length"
    )
    assert refused(npz(tmp_path, y=TOKENS[:, :1]), Task.LANGUAGE_MODELING, shift=True) == (
        "the target `y` has the shape (1,) per sample, and a document is a list of two tokens or "
        "more; give every sample a list of tokens, padded to one length"
    )
    assert refused(npz(tmp_path, y=TOKENS * 1.0), Task.LANGUAGE_MODELING).startswith(
        "the target `y` is float64, and a token is an integer"
    )
    large = TOKENS.astype(np.uint64)
    large[3, 2] = 2**63
    assert refused(npz(tmp_path, y=large), Task.LANGUAGE_MODELING).startswith(
        "the target `y` holds 9223372036854775808 in row 3 (counting from 0)"
    )


# Loaders


@pytest.mark.parametrize(
    ("task", "target"),
    [
        (Task.MULTILABEL, LABELS),
        (Task.SEGMENTATION, MASKS.astype(np.uint8)),
        (Task.LANGUAGE_MODELING, TOKENS),
    ],
)
@pytest.mark.parametrize("make", [np.asarray, torch.as_tensor, np.ndarray.tolist])
def test_loaders(task, target, make):
    items = [(float(index), make(target[index])) for index in range(N)]
    found = list(batches(loaded(lambda: items, task), 4))
    found = np.concatenate([batch.labels.target for batch in found])
    np.testing.assert_array_equal(found, target)
