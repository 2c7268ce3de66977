"""What labels alone say of slices is what the ledger says."""

import re

import numpy as np
import pytest

from builders.families import bins, by, where
from builders.ledgers import (
    binary_ledger,
    language_ledger,
    multiclass_ledger,
    multilabel_ledger,
    regression_ledger,
    segmentation_ledger,
)
from builders.samples import with_columns
from model_eval.errors import HeldOutError
from model_eval.heldout import Labels
from model_eval.slices_ahead import SlicesAhead
from model_eval.slicing import MAX_SLICES, divide
from model_eval.types import Task

N = 6
HALF = [0, 1] * (N // 2)
ALL = np.full((N, 2), 0.5)

LEDGERS = {
    "binary": binary_ledger(HALF, np.linspace(0, 1, N)),
    "multiclass": multiclass_ledger(HALF, ALL, ("yes", "no")),
    "multiclass without names": multiclass_ledger(HALF, ALL),
    "multilabel": multilabel_ledger(ALL > 0, ALL),
    "multilabel of one": multilabel_ledger(ALL[:, :1] > 0, ALL[:, :1]),
    "regression": regression_ledger(np.arange(N) / 2, np.arange(N)),
    "regression of two": regression_ledger(ALL, ALL),
    "segmentation": segmentation_ledger([HALF] * N, [HALF] * N, ("a", "b")),
    "language modeling": language_ledger(np.ones(N), [3] * N, HALF),
}

CONDITIONS = [
    f"{name} {rest}"
    for name in ("id", "target", "prediction", "probability", "log_loss", "age", "site")
    for rest in ("> 0.5", "== 'yes'", "== 1", "!= target", "* 2 > 1", "> 1 and age < 3")
]
FAMILIES = [
    *([where(text)] for text in CONDITIONS),
    [by("site")],
    [by("site", "age")],
    [bins("age", 1, 2)],
    [bins("site", 1)],
    [by("site"), where("age > 1", "site=a")],
]


def said(look):
    try:
        look()
    except HeldOutError as error:
        # Of axes that do not fit NumPy says how long they are.
        return re.sub(r"\(\d+,", "(N,", error.message), error.remedy, error.location
    return None


@pytest.mark.parametrize("families", FAMILIES, ids=lambda found: " ".join(f.name for f in found))
@pytest.mark.parametrize("name", LEDGERS)
def test_as_the_ledger_is_divided(name, families):
    site = np.array(["a", "b"] * (N // 2), dtype=object)
    ledger = with_columns(LEDGERS[name], slice_site=site, slice_age=np.arange(N))

    def of_labels():
        ahead = SlicesAhead(families, task=ledger.task)
        for rows in (slice(3), slice(3, N)):
            ahead.add(
                Labels(
                    ids=ledger["id"][rows],
                    target=target(ledger)[rows],
                    cluster=None,
                    slices={"site": site[rows], "age": np.arange(N)[rows]},
                )
            )
        ahead.check(None if name.endswith("names") else ledger.classes)

    assert said(of_labels) == said(lambda: divide(ledger, families))


def target(ledger):
    """As a held-out set has it."""
    if ledger.task in {Task.SEGMENTATION, Task.LANGUAGE_MODELING}:
        return np.zeros((N, 4, 4), dtype=np.int64)
    return ledger["target"]


def labels(**columns):
    count = len(next(iter(columns.values())))
    ids = np.arange(count)
    target = columns.pop("target", np.zeros(count, dtype=np.int64))
    return Labels(ids=ids, target=target, cluster=None, slices=columns)


def test_values_are_counted_over_all_chunks():
    ahead = SlicesAhead([by("name")], task=Task.BINARY)
    for start in (0, MAX_SLICES):
        ahead.add(labels(name=np.arange(start, start + MAX_SLICES)))
    with pytest.raises(
        HeldOutError,
        match="`name` has more than 200 values, and a family has at most so many slices",
    ):
        ahead.check(None)


def test_of_many_samples_a_few_are_kept():
    ahead = SlicesAhead([by("name"), by("name", "age")], task=Task.BINARY)
    for _ in range(50):
        ahead.add(labels(name=np.arange(1000) % 7, age=np.arange(1000) % 2))
    assert sum(len(one["id"]) for one in ahead._kept) == 16
    ahead.check(None)


def test_targets_that_no_class_is_called_by_are_for_the_model_to_refuse():
    ahead = SlicesAhead([where("target == 'a'")], task=Task.MULTICLASS)
    ahead.add(labels(target=np.array([0, 7])))
    ahead.check(("a", "b"))


def test_nothing_is_kept_without_slices_nor_looked_at_before_there_are_labels():
    without = SlicesAhead([], task=Task.BINARY)
    without.add(labels(age=np.arange(3)))
    without.check(None)
    SlicesAhead([bins("site", 1)], task=Task.BINARY).check(None)
