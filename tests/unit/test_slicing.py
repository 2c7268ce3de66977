"""Which rows of a ledger are in which slice."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from builders.families import bins, by, where
from builders.ledgers import binary_ledger, regression_ledger, segmentation_ledger
from builders.samples import labels, with_columns
from model_eval.errors import HeldOutError
from model_eval.slicing import MAX_SLICES, divide, take


def sliced(**columns):
    n = len(next(iter(columns.values())))
    ledger = binary_ledger([0, 1] * (n // 2) + [0] * (n % 2), np.linspace(0, 1, n))
    return with_columns(ledger, **{f"slice_{name}": np.array(c) for name, c in columns.items()})


def parts(ledger, *families):
    return {part.label: np.flatnonzero(part.rows).tolist() for part in divide(ledger, families)}


def test_values():
    text = sliced(site=np.array(["b", "a", "b"], dtype=object))
    assert parts(text, by("site")) == {"site=a": [1], "site=b": [0, 2]}
    assert parts(sliced(year=[2021, 2020, 2021]), by("year")) == {
        "year=2020": [1],
        "year=2021": [0, 2],
    }
    assert parts(sliced(dose=[0.5, 2.0, 1e6]), by("dose")) == {
        "dose=0.5": [0], "dose=2": [1], "dose=1000000": [2],
    }  # fmt: skip


def test_only_combinations_that_occur_are_slices():
    ledger = sliced(site=np.array(["a", "a", "b"], dtype=object), year=[1, 2, 2])
    assert parts(ledger, by("site", "year")) == {
        "site=a, year=1": [0], "site=a, year=2": [1], "site=b, year=2": [2],
    }  # fmt: skip


def test_a_sample_at_an_edge_is_in_the_slice_above():
    ledger = sliced(age=[39.9, 40.0, 64.0, 65.0, -np.inf])
    assert parts(ledger, bins("age", 40, 65)) == {
        "age<40": [0, 4], "40≤age<65": [1, 2], "age≥65": [3],
    }  # fmt: skip
    assert parts(sliced(age=[np.inf, 1.0]), bins("age", 40)) == {"age<40": [1], "age≥40": [0]}


@given(
    st.lists(st.floats(-1e6, 1e6), min_size=1, max_size=30),
    st.lists(st.integers(-1000, 1000), min_size=1, max_size=5, unique=True),
)
def test_every_sample_is_in_one_bin(values, edges):
    found = divide(sliced(age=values), [bins("age", *sorted(edges))])
    assert (np.sum([part.rows for part in found], axis=0) == 1).all()


def test_conditions_see_classes_by_their_names():
    ledger = binary_ledger([0, 1, 1], [0.9, 0.9, 0.1])
    assert parts(ledger, where("target == 'yes' and prediction == 'no'", "missed")) == {
        "missed": [2]
    }
    assert parts(ledger, where("prediction == target", "right")) == {"right": [1]}
    assert parts(ledger, where("probability > 0.5 and id != 0", "sure")) == {"sure": [1]}
    regression = regression_ledger([1.0, 2.0], [1.0, 5.0])
    assert parts(regression, where("abs(prediction - target) > 1", "off")) == {"off": [1]}


def test_slices_may_overlap_and_be_empty():
    ledger = sliced(age=[10, 50, 90])
    assert parts(ledger, where("age > 20", "adults"), where("age > 60", "old"), where("age > 99", "none")) == {
        "adults": [1, 2], "old": [2], "none": [],
    }  # fmt: skip


def refused(ledger, *families):
    with pytest.raises(HeldOutError) as caught:
        divide(ledger, families)
    assert caught.value.location is not None
    return caught.value.message


def test_what_cannot_be_divided():
    many = sliced(name=np.arange(MAX_SLICES + 1))
    assert (
        refused(many, by("name"))
        == "`name` has more than 200 values, and a family has at most so many slices"
    )
    wide = sliced(a=np.arange(300), b=np.arange(300))
    assert (
        refused(wide, by("a", "b"))
        == "`a & b` has more than 200 values, and a family has at most so many slices"
    )
    text = sliced(age=np.array(["x", "y"], dtype=object))
    assert refused(text, bins("age", 4)) == "the column `age` holds text, and `bins` are of numbers"
    assert refused(text, where("age > 4")).startswith(
        "the condition `age > 4` cannot be evaluated: "
    )
    assert refused(text, where("age * 99999999999999 == 'x'")).startswith("the condition")
    assert refused(labels(3), where("probability > 0.5")) == (
        "the condition `probability > 0.5` is not true or false for each sample"
    )
    assert refused(regression_ledger([1.0], [1.0]), where("log_loss > 1")) == (
        "the condition `log_loss > 1` cannot be evaluated: a regression task has no `log_loss`"
    )
    masks = segmentation_ledger([[0, 1]], [[0, 1]], ("a", "b"))
    assert refused(masks, where("prediction == 'a'")) == (
        "the condition `prediction == 'a'` cannot be evaluated: "
        "a segmentation task has no `prediction`"
    )


@pytest.mark.parametrize(
    "families",
    [
        [by("site"), where("age > 4", "site=a")],
        [where("age > 4", "x"), where("age > 5", "x")],
        [by("site"), by("site", name="again")],
        [bins("age", 4), where("age < 2", "age<4")],
    ],
)
def test_two_slices_of_one_name_would_be_judged_in_one_anothers_place(families):
    ledger = sliced(site=np.array(["a", "b"], dtype=object), age=[1, 9])
    assert refused(ledger, *families).startswith("two slices are called `")


def test_numbers_that_read_alike_are_no_slices():
    close = sliced(dose=[0.12345678, 0.12345679])
    assert refused(close, by("dose")) == "two slices are called `dose=0.123457`"


def test_a_part_keeps_what_the_ledger_is_of():
    ledger = sliced(age=[1, 9, 5])
    part = take(ledger, ledger["slice:age"] > 4)
    assert part["id"].tolist() == [1, 2]
    assert (part.task, part.classes, part.heldout) == (ledger.task, ledger.classes, ledger.heldout)
