"""Metrics that a spec brings are part of what is asked."""

from pathlib import Path

import pytest

from model_eval.loosening import loosenings
from model_eval.spec import load_base_spec

SPEC = """\
version: 1
name: case
task: binary
model: {factory: model.py:Net, output: logits}
checkpoint: {path: model.safetensors}
heldout: {path: heldout.csv, inputs: pixels, target: label}
metrics: [accuracy, {name: profit, callable: "m.py:profit", kwargs: {price: 2}}]
gates: [{metric: accuracy, min: 0.9}]
"""


def load(text):
    at = Path("/repository/spec.yaml")
    return load_base_spec(text.encode(), at=at, roots=[at.parent])


def whats(base, head):
    return [one.what for one in loosenings(load(base), load(head))]


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("price: 2", "price: 3"),
        ("m.py:profit", "m.py:loss"),
        ("price: 2}", "price: 2}, higher_is_better: false"),
        ("price: 2}", "price: 2}, rowwise: true"),
    ],
)
def test_another_metric_of_the_same_name_is_looser(old, new):
    assert whats(SPEC, SPEC.replace(old, new)) == ["metrics"]
    assert whats(SPEC.replace(old, new), SPEC) == ["metrics"]


def test_a_further_one_is_not():
    more = SPEC.replace("[accuracy,", '[accuracy, {name: loss, callable: "m.py:loss"},')
    assert whats(SPEC, more) == []
    assert whats(more, SPEC) == ["metrics"]


def test_the_direction_of_a_gate_is_not_lost():
    text = SPEC.replace("price: 2}}", "price: 2}, higher_is_better: false}").replace(
        "min: 0.9}", "min: 0.9}, {metric: profit, max: 3}"
    )
    assert [gate.higher_is_better for gate in load(text).gates] == [True, False]
