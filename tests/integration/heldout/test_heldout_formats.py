"""Every format gives the arrays that were put into it, in batches of any size, every time."""

import hashlib

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from torch.multiprocessing.reductions import StorageWeakRef

from builders.heldout import TABLES, TENSORS, a_spec, an_input, batches, everything, opened, written
from model_eval.heldout import open_heldout
from model_eval.types import Task

N = 23
RNG = np.random.default_rng(5)
FLAT = {
    "x": RNG.normal(size=N),
    "y": RNG.integers(0, 4, size=N),
    "key": np.arange(100, 100 + N),
}
DEEP = {**FLAT, "x": RNG.normal(size=(N, 2, 3)).astype(np.float32)}


@pytest.fixture(scope="module", params=[*TABLES, *TENSORS])
def flat(request, tmp_path_factory):
    source = written(tmp_path_factory.mktemp("flat"), request.param, FLAT)
    return opened(source, id="key")


@pytest.fixture(scope="module", params=["parquet", *TENSORS])
def deep(request, tmp_path_factory):
    source = written(tmp_path_factory.mktemp("deep"), request.param, DEEP)
    return opened(source, args=(an_input("x", dtype="float32"),), id="key")


def assert_same(batch, columns):
    np.testing.assert_array_equal(batch.args[0].numpy(), columns["x"])
    np.testing.assert_array_equal(batch.labels.target, columns["y"])
    np.testing.assert_array_equal(batch.labels.ids, columns["key"])
    assert batch.labels.target.dtype == np.int64


def test_flat_columns_come_back(flat):
    assert flat.expected == N
    assert_same(everything(flat), FLAT)


def test_columns_with_axes_come_back(deep):
    assert_same(everything(deep), DEEP)


@settings(max_examples=12, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(size=st.integers(1, 30))
def test_batches_of_any_size_are_the_same_samples(deep, size):
    found = list(batches(deep, size))
    assert [len(batch) for batch in found[:-1]] == [size] * (len(found) - 1)
    assert 1 <= len(found[-1]) <= size
    assert_same(everything(deep, size), DEEP)


def test_a_second_pass_gives_the_same(flat):
    first, second = everything(flat, 5), everything(flat, 5)
    assert torch.equal(first.args[0], second.args[0])
    np.testing.assert_array_equal(first.labels.ids, second.labels.ids)


def test_an_abandoned_pass_does_not_shorten_the_next(flat):
    next(batches(flat, 5))
    assert_same(everything(flat, 5), FLAT)


@pytest.mark.parametrize("chunk", [1, 3, 7, 64])
def test_chunks_of_any_size_are_the_same_samples(tmp_path, monkeypatch, chunk):
    # A chunk is one batch when its bytes allow no more.
    monkeypatch.setattr("model_eval.heldout.heldout_set._BLOCK_BYTES", 1)
    assert_same(
        everything(
            opened(
                written(tmp_path, "parquet", DEEP), id="key", args=(an_input("x", dtype="float32"),)
            ),
            chunk,
        ),
        DEEP,
    )


@pytest.mark.parametrize("file_format", ["parquet", *TENSORS])
def test_the_default_device_of_the_repositorys_code_changes_nothing(tmp_path, file_format):
    source = written(tmp_path, file_format, DEEP)
    with torch.device("meta"):
        found = everything(opened(source, args=(an_input("x", dtype="float32"),), id="key"), 5)
    assert_same(found, DEEP)


def test_a_pass_holds_no_block_that_it_has_given(tmp_path, monkeypatch):
    monkeypatch.setattr("model_eval.heldout.heldout_set._BLOCK_BYTES", 1)
    blocks = opened(written(tmp_path, "parquet", FLAT), id="key").blocks(5)
    block = next(blocks)
    inputs = StorageWeakRef(block.args[0].untyped_storage())
    block = next(blocks)
    assert len(block) == 5
    assert inputs.expired()


def test_a_csv_row_larger_than_a_block_comes_back(tmp_path, monkeypatch):
    monkeypatch.setattr("model_eval.heldout.readers.csv_file._BLOCK", 100)
    wide = {"x": np.arange(6.0), "y": np.arange(6), "key": ["a", "b", "c" * 300, "d", "e", "f"]}
    found = opened(written(tmp_path, "csv", wide), id="key")
    assert everything(found).labels.ids.tolist() == wide["key"]


def test_the_digest_is_what_sha256sum_prints(tmp_path):
    path = written(tmp_path, "parquet", FLAT)
    expected = hashlib.sha256(path.read_bytes()).hexdigest()
    info = opened(path, sha256=expected).info()
    assert (info.sha256, info.pinned, info.source) == (expected, True, "heldout.parquet")


def test_the_digest_of_npy_files_covers_contents_and_columns_but_not_places(tmp_path):
    (tmp_path / "a").mkdir()
    (tmp_path / "b").mkdir()
    one = opened(written(tmp_path / "a", "npy", FLAT)).info().sha256
    assert opened(written(tmp_path / "b", "npy", FLAT)).info().sha256 == one
    changed = {**FLAT, "y": FLAT["y"][::-1]}
    assert opened(written(tmp_path / "b", "npy", changed)).info().sha256 != one
    paths = written(tmp_path / "a", "npy", FLAT)
    swapped = {"x": paths["key"], "y": paths["y"], "key": paths["x"]}
    assert opened(swapped).info().sha256 != one


def test_text_labels_ids_clusters_and_slices(tmp_path):
    columns = {
        "x": np.arange(4.0), "y": ["dog", "cat", "cat", "dog"], "key": ["a", "b", "c", "d"],
        "writer": ["u", "u", "v", "v"], "left": [True, False, False, True],
    }  # fmt: skip
    for file_format in TABLES:
        found = everything(
            opened(
                written(tmp_path, file_format, columns), id="key", cluster="writer",
                slices=("left", "writer"), classes=("cat", "dog"),
            )
        ).labels  # fmt: skip
        assert found.target.tolist() == [1, 0, 0, 1]
        assert found.ids.tolist() == ["a", "b", "c", "d"]
        assert found.cluster.tolist() == ["u", "u", "v", "v"]
        assert found.slices["left"].tolist() == ["true", "false", "false", "true"]
        assert list(found.slices) == ["left", "writer"]


def test_without_an_id_the_row_is_the_id(tmp_path):
    source = written(tmp_path, "parquet", FLAT)
    ids = [batch.labels.ids for batch in batches(opened(source), 4)]
    assert np.concatenate(ids).tolist() == list(range(N))


def test_dictionary_encoded_text_and_fixed_size_lists(tmp_path):
    values = pa.array(np.arange(12, dtype=np.float32))
    table = pa.table(
        {
            "x": pa.FixedSizeListArray.from_arrays(values, 4),
            "y": pa.array(["b", "a", "b"]).dictionary_encode(),
        }
    )
    pq.write_table(table, tmp_path / "t.parquet")
    batch = everything(opened(tmp_path / "t.parquet", classes=("a", "b")))
    assert batch.args[0].tolist() == np.arange(12.0).reshape(3, 4).tolist()
    assert batch.labels.target.tolist() == [1, 0, 1]


def test_fixed_shape_tensors_keep_their_shape(tmp_path):
    pixels = np.arange(24, dtype=np.float32).reshape(2, 3, 4)
    tensors = pa.FixedShapeTensorArray.from_numpy_ndarray(pixels)
    pq.write_table(pa.table({"x": tensors, "y": [0, 1]}), tmp_path / "t.parquet")
    assert everything(opened(tmp_path / "t.parquet")).args[0].tolist() == pixels.tolist()


def test_arrays_in_fortran_order_and_of_foreign_byte_order(tmp_path):
    pixels = np.asfortranarray(np.arange(12.0).reshape(4, 3))
    path = tmp_path / "t.npz"
    np.savez(path, x=pixels, y=np.arange(4, dtype=">i2"))
    batch = everything(opened(path), 3)
    assert batch.args[0].tolist() == pixels.tolist()
    assert batch.labels.target.tolist() == [0, 1, 2, 3]


def test_compressed_npz_is_read(tmp_path):
    np.savez_compressed(tmp_path / "t.npz", x=DEEP["x"], y=DEEP["y"], key=DEEP["key"])
    assert_same(everything(opened(tmp_path / "t.npz", id="key"), 5), DEEP)


def test_a_pt_file_may_hold_lists_of_text(tmp_path):
    torch.save({"x": torch.zeros(2), "y": ["b", "a"]}, tmp_path / "t.pt")
    assert everything(opened(tmp_path / "t.pt", classes=("a", "b"))).labels.target.tolist() == [
        1,
        0,
    ]


def test_reading_does_not_change_what_a_pt_file_gave(tmp_path):
    torch.save({"x": torch.ones(3), "y": torch.tensor([0, 1, 0])}, tmp_path / "t.pt")
    heldout = opened(tmp_path / "t.pt", args=(an_input("x", scale=0.5),))
    assert everything(heldout).args[0].tolist() == [0.5] * 3
    assert everything(heldout).args[0].tolist() == [0.5] * 3


def test_csv_types_come_from_the_whole_file(tmp_path, monkeypatch):
    monkeypatch.setattr("model_eval.heldout.readers.csv_file._BLOCK", 64)
    rows = [f"{i},{i % 3},00{i}" for i in range(60)]
    rows[50] = "0.5,1,0050"
    (tmp_path / "t.csv").write_text("x,y,key\n" + "\n".join(rows))
    batch = everything(opened(tmp_path / "t.csv", id="key"))
    assert batch.args[0].dtype == torch.float64
    assert batch.args[0][50] == 0.5
    assert batch.labels.ids[7] == "007"
    assert len(set(batch.labels.ids)) == 60


def test_csv_keeps_commas_and_newlines_in_quotes_and_a_byte_order_mark(tmp_path):
    (tmp_path / "t.csv").write_text('\ufeffx,y,key\n1,0,"a,b"\n2,1,"c\nd"\n', encoding="utf-8")
    assert everything(opened(tmp_path / "t.csv", id="key")).labels.ids.tolist() == ["a,b", "c\nd"]


def test_regression_targets_of_one_or_several_columns(tmp_path):
    columns = {"x": np.zeros(3), "y": np.arange(3), "z": np.arange(3.0) / 2}
    path = written(tmp_path, "csv", columns)
    one = everything(opened(path, Task.REGRESSION)).labels.target
    assert (one.dtype, one.shape) == (np.float64, (3, 1))
    two = everything(opened(path, Task.REGRESSION, targets=("z", "y"))).labels.target
    assert two.tolist() == [[0, 0], [0.5, 1], [1, 2]]


def test_a_list_column_is_several_regression_outputs(tmp_path):
    path = written(tmp_path, "parquet", {"x": np.zeros(2), "y": np.arange(4.0).reshape(2, 2)})
    assert everything(opened(path, Task.REGRESSION)).labels.target.tolist() == [[0, 1], [2, 3]]


def test_binary_targets_may_be_booleans_in_a_column_of_one(tmp_path):
    np.savez(tmp_path / "t.npz", x=np.zeros(2), y=np.array([[True], [False]]))
    assert everything(opened(tmp_path / "t.npz", Task.BINARY)).labels.target.tolist() == [1, 0]


def test_positional_and_keyword_inputs(tmp_path):
    path = written(tmp_path, "parquet", {"a": np.arange(3), "b": np.arange(3.0), "y": [0, 1, 0]})
    spec = a_spec(
        path, args=(an_input("b", dtype="float32"),), kwargs={"tokens": an_input("a", shape=(1,))}
    )
    batch = everything(open_heldout(spec, task=Task.BINARY, resolve=lambda _: None))
    assert batch.args[0].dtype == torch.float32
    assert batch.kwargs["tokens"].tolist() == [[0], [1], [2]]


def test_a_file_that_changes_while_it_is_used_is_refused(tmp_path):
    path = written(tmp_path, "parquet", FLAT)
    heldout = opened(path)
    written(tmp_path, "parquet", {**FLAT, "y": FLAT["y"][::-1]})
    with pytest.raises(Exception, match=r"`heldout.parquet` changed while it was being used"):
        heldout.info()
