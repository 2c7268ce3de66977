"""Columns that are computed when they are asked for, and no sooner."""

import numpy as np
import pytest

from model_eval.ledger import Columns, Deferred, Ledger
from model_eval.slicing import take
from model_eval.types import Task


class Counted:
    """Makes a column, and counts how often."""

    def __init__(self, column):
        self.column, self.made = column, 0

    def __call__(self):
        self.made += 1
        return self.column


def deferred(make, column):
    return Deferred(shape=column.shape, dtype=column.dtype, make=make)


LOSS = np.array([0.5, 0.25, 0.125])


def columns(make):
    return Columns({"id": np.arange(3), "log_loss": deferred(make, LOSS)})


def test_a_column_is_made_once_and_only_when_it_is_taken_out():
    make = Counted(LOSS)
    found = columns(make)
    assert list(found) == ["id", "log_loss"]
    assert "log_loss" in found
    assert len(found) == 2
    assert found.described()["log_loss"].shape == (3,)
    assert make.made == 0
    assert found["log_loss"] is found["log_loss"] is LOSS
    assert make.made == 1


@pytest.mark.parametrize(
    "rows", [np.array([2, 0]), np.array([True, False, True]), np.array([], int)]
)
def test_rows_of_what_is_deferred_stay_deferred(rows):
    make = Counted(LOSS)
    found = columns(make).at(rows)
    assert len(found.described()["log_loss"]) == len(found["id"])
    assert make.made == 0
    np.testing.assert_array_equal(found["log_loss"], LOSS[rows])


def test_what_was_made_for_some_rows_is_made_for_all():
    make = Counted(LOSS)
    known = columns(make)
    parts = [known.at(np.array([row]))["log_loss"][0] for row in range(3)]
    assert parts == LOSS.tolist()
    assert make.made == 1


@pytest.mark.parametrize("made", [LOSS[:2], LOSS.astype(np.float32), LOSS[:, None]])
def test_a_column_that_is_not_as_promised_is_refused(made):
    with pytest.raises(ValueError, match="column `log_loss` was promised as float64"):
        columns(Counted(made))["log_loss"]


def test_a_ledger_is_checked_and_sliced_without_making_any():
    make = Counted(np.full((3, 2), 0.5))
    loss = Counted(LOSS)
    known = Columns(
        {
            "id": np.arange(3),
            "finite": np.ones(3, bool),
            "target": np.zeros(3, int),
            "prediction": np.zeros(3, int),
            "probability": deferred(make, make.column),
            "log_loss": deferred(loss, LOSS),
        }
    )
    ledger = Ledger(task=Task.MULTICLASS, columns=known, classes=("a", "b"))
    part = take(ledger, np.array([1]))
    assert (len(part), part.distinct, make.made, loss.made) == (1, 1, 0, 0)
    assert part["log_loss"].tolist() == [0.25]
    wrong = deferred(make, np.zeros((3, 3)))
    with pytest.raises(ValueError, match="needs 3 different names"):
        Ledger(
            task=Task.MULTICLASS,
            columns=Columns({**known.described(), "probability": wrong}),
            classes=("a", "b"),
        )


@pytest.mark.parametrize(
    ("ids", "distinct"),
    [
        (np.arange(5), 5),
        (np.array([3, 1, 2]), 3),
        (np.array([3, 1, 3]), 2),
        (np.array([7, 7]), 1),
        (np.array([], int), 0),
        (np.array(["b", "a", "b"], dtype=object), 2),
        (np.array(["b", "a"]), 2),
    ],
)
def test_different_ids_are_counted(ids, distinct):
    n = len(ids)
    ledger = Ledger(
        task=Task.REGRESSION,
        columns={
            "id": ids,
            "finite": np.ones(n, bool),
            "target": np.zeros((n, 1)),
            "prediction": np.zeros((n, 1)),
        },
        outputs=("y",),
    )
    assert ledger.distinct == distinct
