"""A label means what the spec's `classes` say, in every format; what could mean two is refused."""

import numpy as np
import pytest
import torch
from PIL import Image

from builders.heldout import AT, an_input, labels, loaded, opened, written
from model_eval.errors import HeldOutError
from model_eval.types import Task

X = np.arange(4.0)
FORMATS = ["parquet", "csv", "npz", "npy", "pt", "safetensors"]
REMEDY = (
    "where the integers are positions, counted from 0, call the classes what is not a number; "
    "where they are names, write them in the target and in the classes as text that is not a "
    "number, e.g. `class 1`"
)


def targets(source, classes, task=Task.BINARY, **changes):
    return labels(opened(source, task, classes=classes, **changes)).target.tolist()


def refused(source, classes, task=Task.BINARY):
    with pytest.raises(HeldOutError) as caught:
        opened(source, task, classes=classes)
    return str(caught.value).removeprefix(f"{AT}: ")


@pytest.mark.parametrize("file_format", FORMATS)
@pytest.mark.parametrize(
    ("classes", "expected"),
    [
        (None, [1, 0, 0, 1]),
        (("false", "true"), [1, 0, 0, 1]),
        (("true", "false"), [0, 1, 1, 0]),
        (("TRUE", "False"), [0, 1, 1, 0]),
    ],
)
def test_booleans_are_looked_up_among_the_names(tmp_path, file_format, classes, expected):
    y = np.array([True, False, False, True])
    assert targets(written(tmp_path, file_format, {"x": X, "y": y}), classes) == expected


def test_booleans_are_looked_up_in_a_multiclass_task_and_a_loader(tmp_path):
    source = written(tmp_path, "csv", {"x": X, "y": X < 1})
    classes = ("unknown", "true", "false")
    assert targets(source, classes, Task.MULTICLASS) == [1, 2, 2, 2]
    pairs = [(torch.zeros(2), True), (torch.zeros(2), False)]
    heldout = loaded(lambda: pairs, Task.BINARY, classes=("true", "false"))
    assert labels(heldout).target.tolist() == [0, 1]


@pytest.mark.parametrize("classes", [("ham", "spam"), ("0", "1"), ("true", "no"), ("true", "True")])
def test_booleans_among_other_names(tmp_path, classes):
    source = written(tmp_path, "parquet", {"x": X, "y": X < 1})
    one, other = classes
    assert refused(source, classes) == (
        f"the target `y` is true or false, and the classes are `{one}`, `{other}`; call the two "
        "classes `true` and `false`, or write the names of the classes into the target"
    )


@pytest.mark.parametrize("file_format", FORMATS)
@pytest.mark.parametrize(
    ("classes", "position", "called"),
    [
        (("1", "0"), 0, "1"),
        (("0", "2"), 1, "2"),
        (("a", "+0"), 1, "+0"),
        (("1.0", "0.0"), 0, "1.0"),
        (("true", "false"), 0, "true"),
        (("9" * 400, "b"), 0, "9" * 400),
    ],
)
def test_integers_that_could_be_positions_or_names(
    tmp_path, file_format, classes, position, called
):
    source = written(tmp_path, file_format, {"x": X, "y": np.array([0, 1, 1, 0])})
    shown = called if len(called) < 100 else f"{called[:99]}…"
    assert refused(source, classes) == (
        f"the target `y` holds integers, and class {position} is called `{shown}`: an integer may "
        f"be a position or a name; {REMEDY}"
    )


@pytest.mark.parametrize("values", [[1, 2, 3, 4], [1, 2, 3, 1]])
def test_names_that_count_from_one(tmp_path, values):
    source = written(tmp_path, "npz", {"x": X, "y": np.array(values)})
    assert refused(source, ("1", "2", "3", "4"), Task.MULTICLASS).startswith(
        "the target `y` holds integers, and class 0 is called `1`: "
    )
    pairs = [(torch.zeros(2), value) for value in values]
    with pytest.raises(HeldOutError, match="class 0 is called `1`"):
        labels(loaded(lambda: pairs, classes=("1", "2", "3", "4")))


@pytest.mark.parametrize(
    "classes",
    [("0", "1", "2"), ("00", "01", "02"), ("a", "b", "c"), ("0", "1", "2+"), ("0.5", "b", "c")],
)
def test_integers_that_mean_one_thing_are_positions(tmp_path, classes):
    source = written(tmp_path, "csv", {"x": X, "y": [2, 0, 1, 2]})
    assert targets(source, classes, Task.MULTICLASS) == [2, 0, 1, 2]


@pytest.mark.parametrize("file_format", ["parquet", "npz"])
def test_text_is_looked_up_even_where_it_is_a_number(tmp_path, file_format):
    source = written(tmp_path, file_format, {"x": X, "y": ["1", "0", "0", "1"]})
    assert targets(source, ("1", "0")) == [0, 1, 1, 0]


def test_csv_makes_integers_of_such_text_so_it_is_refused(tmp_path):
    (tmp_path / "t.csv").write_text('x,y\n1,"1"\n2,"0"\n')
    assert "class 0 is called `1`" in refused(tmp_path / "t.csv", ("1", "0"))
    (tmp_path / "t.csv").write_text("x,y\n1,1\n2,0\n3,other\n")
    classes = ("1", "0", "other")
    assert targets(tmp_path / "t.csv", classes, Task.MULTICLASS) == [0, 1, 2]


# Image folders


def folders(root, *names):
    for name in names:
        (root / "images" / name).mkdir(parents=True)
        Image.new("RGB", (4, 4)).save(root / "images" / name / "a.png")
    return root / "images"


def of_images(root, task=Task.MULTICLASS, **changes):
    return opened(root, task, args=(an_input("image"),), targets=("label",), **changes)


def test_numbers_of_folders_are_names(tmp_path):
    root = folders(tmp_path, "10", "2", "1")
    heldout = of_images(root, classes=("1", "2", "10"))
    batch = labels(heldout)
    assert batch.ids.tolist() == ["1/a.png", "10/a.png", "2/a.png"]
    assert batch.target.tolist() == [0, 2, 1]
    assert heldout.notes == ()


def test_the_order_of_folders_that_are_numbers_is_said(tmp_path):
    heldout = of_images(folders(tmp_path, "10", "2", "1"))
    assert heldout.classes == ("1", "10", "2")
    (note,) = heldout.notes
    assert note == (
        "the class folders are in the order of text, as in torchvision: `1`, `10`, `2`; "
        "state heldout.classes if the model's outputs are in another"
    )


@pytest.mark.parametrize("names", [("0", "1", "2"), ("01", "02", "10"), ("cat", "dog", "1")])
def test_the_order_of_other_folders_is_no_news(tmp_path, names):
    assert of_images(folders(tmp_path, *names)).notes == ()


@pytest.mark.parametrize(
    ("names", "what"),
    [
        (("b", "a", "c"), "3 class folders, `a`, `b`, `c`,"),
        (("dog",), "1 class folder, `dog`,"),
    ],
)
def test_a_binary_task_has_two_class_folders(tmp_path, names, what):
    with pytest.raises(HeldOutError) as caught:
        of_images(folders(tmp_path, *names), Task.BINARY)
    assert str(caught.value) == (
        f"{AT}: `images` has {what} and a binary task has 2 classes; write `task: multiclass`, or "
        "name the two in `classes:`, the negative first, and move the other folders away"
    )


def test_one_class_folder_is_enough_where_the_spec_names_both(tmp_path):
    root = folders(tmp_path, "dog")
    assert labels(of_images(root, Task.BINARY, classes=("cat", "dog"))).target.tolist() == [1]
