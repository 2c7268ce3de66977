"""Any ledger, and every metric of its task, for properties that hold of all of them."""

from functools import cache

import numpy as np
from hypothesis import strategies as st

from builders.ledgers import (
    binary_ledger,
    language_ledger,
    multiclass_ledger,
    multilabel_ledger,
    regression_ledger,
    segmentation_ledger,
)
from model_eval.spec.catalog import CATALOG
from model_eval.types import MetricRef, Task

CLASSES = ("ant", "bee", "cat", "dog")
OUTPUTS = ("height", "width")


@cache
def refs(task):
    """Every metric of a task, with and without each of its parts and optional parameters."""
    found = []
    for info in CATALOG.values():
        if task not in info.tasks:
            continue
        for params in examples(info):
            if not info.needs_part or task is Task.BINARY:
                found.append(MetricRef(name=info.name, params=params))
            if info.part == "class":
                names = ("no", "yes") if task is Task.BINARY else CLASSES
                found += [MetricRef(name=info.name, of_class=name, params=params) for name in names]
            if info.part == "output":
                found += [
                    MetricRef(name=info.name, of_output=name, params=params) for name in OUTPUTS
                ]
    return tuple(found)


def examples(info):
    """The parameters of a metric: as few as there may be, and examples of all of them."""
    few = tuple((p.name, float(p.example)) for p in info.params if p.default is None)
    return {few: None, tuple((p.name, float(p.example)) for p in info.params): None}


SCORES = st.sampled_from([0, 5e-324, 1e-300, 0.1, 0.25, 0.5, 0.5 + 1e-16, 0.9, 1 - 1e-16, 1.0])
TAME = st.floats(-100, 100).map(lambda x: round(x, 1))
"""So that a spread of what is not equal is at least a millionth of the square of the largest: sums that are
taken in another order then agree to nine digits or so."""
NUMBERS = st.one_of(
    st.sampled_from([0.0, -0.0, 0.1, 1.0, 1e-320, 1e-170, 1e170, -1e300, 1.7e308]),
    st.floats(-1e6, 1e6),
)


def columns(draw, element, n, k):
    rows = st.lists(element, min_size=k, max_size=k)
    drawn = draw(st.lists(rows, min_size=n, max_size=n))
    return np.array(drawn, dtype=float).reshape(n, k)


@st.composite
def ledgers(draw, numbers=NUMBERS, min_size=1):
    task = draw(st.sampled_from(list(Task)))
    n = draw(st.integers(min_size, 12))
    if task is Task.REGRESSION:
        target = columns(draw, numbers, n, 2)
        return regression_ledger(target, columns(draw, numbers, n, 2), OUTPUTS)
    if task is Task.LANGUAGE_MODELING:
        tokens = draw(st.lists(st.integers(0, 9), min_size=n, max_size=n))
        hits = [draw(st.integers(0, count)) for count in tokens]
        nll = [draw(st.floats(0, 700)) if count else 0.0 for count in tokens]
        return language_ledger(nll, tokens, hits, [3 * count for count in tokens])
    c = 2 if task is Task.BINARY else len(CLASSES)
    if task is Task.SEGMENTATION:
        masks = st.lists(
            st.lists(st.integers(-1, c - 1), min_size=5, max_size=5), min_size=n, max_size=n
        )
        prediction = np.maximum(draw(masks), 0)
        return segmentation_ledger(draw(masks), prediction, CLASSES, ignore_index=-1)
    if task is Task.MULTILABEL:
        there = columns(draw, st.booleans(), n, c)
        return multilabel_ledger(there, columns(draw, SCORES, n, c), CLASSES)
    target = draw(st.lists(st.integers(0, c - 1), min_size=n, max_size=n))
    probability = columns(draw, SCORES, n, c)
    if task is Task.BINARY:
        return binary_ledger(target, probability[:, 1])
    return multiclass_ledger(target, probability, CLASSES)
