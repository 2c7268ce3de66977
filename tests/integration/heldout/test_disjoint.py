"""Shared samples are found whatever the formats are; what cannot be compared is an error."""

import hashlib

import numpy as np
import pytest
import torch
from PIL import Image

from builders.heldout import AT, an_input, everything, loaded, opened, path_ref, written
from model_eval.errors import HeldOutError, LeakError
from model_eval.types import Task

RNG = np.random.default_rng(11)
A, B = RNG.normal(size=(2, 40)).round(6)
LABELS = np.arange(40) % 2
FORMATS = ["parquet", "csv", "npz", "pt", "safetensors"]
FLOAT = an_input("a", "b", dtype="float32")


def columns(part, dtype=np.float64, **more):
    return {"a": A[part].astype(dtype), "b": B[part].astype(dtype), "y": LABELS[part]} | more


def compared(tmp_path, training, heldout=None, **changes):
    heldout = columns(slice(0, 20)) if heldout is None else heldout
    source = written(tmp_path, "parquet", heldout) if isinstance(heldout, dict) else heldout
    changes = {"args": (FLOAT,)} | changes
    return opened(source, Task.BINARY, disjoint_from=(path_ref(training),), **changes)


def leak(*args, error=LeakError, **changes):
    with pytest.raises(error) as caught:
        compared(*args, **changes)
    assert caught.value.location == AT
    assert caught.value.exit_code == 3
    return str(caught.value).removeprefix(f"{AT}: ")


@pytest.mark.parametrize("training", FORMATS)
@pytest.mark.parametrize("heldout", FORMATS)
def test_equal_inputs_are_found_across_formats(tmp_path, heldout, training):
    source = written(tmp_path, heldout, columns(slice(0, 20)))
    clean = written(tmp_path, training, columns(slice(20, 40), np.float32), "train")
    info = compared(tmp_path, clean, source).info()
    assert info.disjoint_from[0].sha256 == hashlib.sha256(clean.read_bytes()).hexdigest()
    assert info.disjoint_from[0].path == clean.name
    assert info.disjoint_from[0].size == clean.stat().st_size
    leaking = written(tmp_path, training, columns(slice(18, 40), np.float32), "train")
    assert leak(tmp_path, leaking, source) == (
        f"2 of 20 held-out samples are also in `{leaking.name}`: "
        "2 by identical inputs (row 18, row 19); remove the shared samples from one of the two"
    )


@pytest.mark.parametrize("training", FORMATS)
def test_without_a_dtype_the_file_s_own_does_not_matter(tmp_path, training):
    one = np.array([1.0, 2.0, 0.1, -0.0])
    heldout = {"a": one, "b": one, "y": [0, 1, 0, 1]}
    other = np.array([5.0, 2.0, 0.1, 0.0], dtype=np.float32)
    path = written(tmp_path, training, {"a": other, "b": other.copy(), "y": [0, 0, 0, 0]}, "train")
    assert "3 by identical inputs (row 1, row 2, row 3)" in leak(
        tmp_path, path, heldout, args=(an_input("a"), an_input("b"))
    )


def test_integers_and_floats_of_one_value_are_equal(tmp_path):
    path = written(tmp_path, "csv", {"a": [1, 2], "b": [3, 4], "y": [0, 1]}, "train")
    heldout = {"a": np.array([7.0, 2.0]), "b": np.array([7.0, 4.0]), "y": [0, 1]}
    assert "1 by identical inputs (row 1)" in leak(
        tmp_path, path, heldout, args=(an_input("a"), an_input("b"))
    )


def test_another_label_is_still_a_leak(tmp_path):
    path = written(tmp_path, "csv", columns(slice(0, 1)) | {"y": [1]}, "train")
    assert "1 by identical inputs (row 0)" in leak(tmp_path, path)


def test_every_input_counts(tmp_path):
    path = written(tmp_path, "csv", columns(slice(0, 20)) | {"b": B[20:40]}, "train")
    assert compared(tmp_path, path).info().disjoint_from
    assert "20 by identical inputs" in leak(tmp_path, path, args=(an_input("a"),))


def test_ids_are_found_whatever_their_type(tmp_path):
    heldout = columns(slice(0, 3), key=["7", "8", "9"])
    training = written(tmp_path, "parquet", columns(slice(20, 23), key=[1, 9, 8]), "train")
    assert leak(tmp_path, training, heldout, id="key") == (
        "2 of 3 held-out samples are also in `train.parquet`: 2 by id (`8`, `9`); "
        "remove the shared samples from one of the two"
    )


def test_ids_and_inputs_are_counted_once(tmp_path):
    heldout = columns(slice(0, 20), key=np.arange(20))
    training = written(tmp_path, "csv", columns(slice(0, 20), key=np.arange(15, 35)), "train")
    assert leak(tmp_path, training, heldout, id="key") == (
        "20 of 20 held-out samples are also in `train.csv`: 5 by id (`15`, `16`, `17`, …), "
        "20 by identical inputs (`0`, `1`, `2`, …); remove the shared samples from one of the two"
    )


def test_a_list_of_ids_is_enough(tmp_path):
    heldout = columns(slice(0, 3), key=["a", "b", "c"])
    (tmp_path / "ids.csv").write_text("key,other\nx,1\ny,2\n")
    found = compared(tmp_path, tmp_path / "ids.csv", heldout, id="key")
    assert found.info().disjoint_from
    (note,) = found.notes
    assert note == (
        "of `ids.csv` the ids alone were compared with the held-out set: "
        "it lacks the input `a`, `b`"
    )
    (tmp_path / "ids.csv").write_text("key,other\nx,1\nb,2\n")
    assert "1 by id (`b`)" in leak(tmp_path, tmp_path / "ids.csv", heldout, id="key")


def test_inputs_that_were_compared_are_no_news(tmp_path):
    heldout = columns(slice(0, 3), key=["a", "b", "c"])
    (tmp_path / "train.csv").write_text("a,b,key\n1,2,x\n")
    assert compared(tmp_path, tmp_path / "train.csv", heldout, id="key").notes == ()


def test_nothing_to_compare_is_an_error(tmp_path):
    (tmp_path / "other.csv").write_text("a,z\n1,2\n")
    assert leak(tmp_path, tmp_path / "other.csv", error=HeldOutError) == (
        "`other.csv` has nothing to compare with the held-out set: it lacks the input `b`; name "
        "a training file with the same input columns or ids, or remove it from `disjoint_from`"
    )
    heldout = columns(slice(0, 3), key=["a", "b", "c"])
    assert "it lacks the input `b` and the id `key`; " in leak(
        tmp_path, tmp_path / "other.csv", heldout, error=HeldOutError, id="key"
    )


def test_a_training_file_that_cannot_be_read(tmp_path):
    assert leak(tmp_path, tmp_path / "no.csv", error=HeldOutError).startswith(
        "`no.csv` does not exist; "
    )
    (tmp_path / "train.csv").write_text("a,b\n1,2\n1,\n")
    assert leak(tmp_path, tmp_path / "train.csv", error=HeldOutError).startswith(
        "the training file `train.csv` cannot be compared: column `b` of `train.csv` is an empty"
    )
    assert leak(tmp_path, tmp_path / "train.bin", error=HeldOutError).startswith(
        "the name `train.bin` does not say what format it is; "
    )


def test_a_single_array_is_the_only_input(tmp_path):
    heldout = {"x": A[:4], "y": LABELS[:4]}
    np.save(tmp_path / "train.npy", A[3:9])
    assert "1 by identical inputs (row 3)" in leak(
        tmp_path, tmp_path / "train.npy", heldout, args=(an_input("x", dtype="float32"),)
    )


def test_a_loader_is_compared_by_its_columns(tmp_path):
    path = written(tmp_path, "npz", {"input": A[4:9].astype(np.float32)}, "train")
    data = [(torch.tensor(value, dtype=torch.float32), 0) for value in A[:5]]
    with pytest.raises(LeakError, match=r"1 by identical inputs \(row 4\)"):
        loaded(lambda: data, disjoint_from=(path_ref(path),))
    heldout = loaded(lambda: data[:4], disjoint_from=(path_ref(path),))
    assert len(everything(heldout)) == 4
    assert heldout.info().disjoint_from[0].path == "train.npz"


@pytest.fixture
def folders(tmp_path):
    for root, names in {"test": ("a/1.png", "b/2.png"), "train": ("a/1.png", "b/3.png")}.items():
        for name in names:
            path = tmp_path / root / name
            path.parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(RNG.integers(0, 256, (4, 4, 3), dtype=np.uint8)).save(path)
    return tmp_path


def images(tmp_path, **changes):
    return compared(
        tmp_path, tmp_path / "train", tmp_path / "test",
        args=(an_input("image"),), targets=("label",), **changes,
    )  # fmt: skip


def test_images_are_the_same_when_their_files_are(folders):
    assert images(folders).info().disjoint_from[0].path == "train"
    (folders / "train" / "b" / "9.png").write_bytes((folders / "test/a/1.png").read_bytes())
    with pytest.raises(LeakError) as caught:
        images(folders)
    assert caught.value.message == (
        "1 of 2 held-out samples are also in `train`: 1 by identical inputs (`a/1.png`)"
    )


def test_paths_of_images_are_compared_only_where_the_spec_names_the_id(folders):
    with pytest.raises(LeakError) as caught:
        images(folders, id="id", locations={"id": AT})
    assert caught.value.message == (
        "1 of 2 held-out samples are also in `train`: 1 by id (`a/1.png`)"
    )
    assert images(folders, id="id").info().disjoint_from


def test_images_and_tables_cannot_be_compared(folders):
    (folders / "train.csv").write_text("image,label\n1,2\n")
    with pytest.raises(HeldOutError) as caught:
        compared(
            folders, folders / "train.csv", folders / "test",
            args=(an_input("image"),), targets=("label",),
        )  # fmt: skip
    assert caught.value.message == (
        "`train.csv` has nothing to compare with the held-out set: "
        "files of images and columns of numbers cannot be compared"
    )
