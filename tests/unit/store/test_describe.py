"""What of a spec is in a key: every field, unless it is named as one that only judges."""

from dataclasses import dataclass, fields, make_dataclass, replace
from pathlib import Path

import pytest

from builders.heldout import a_spec, an_input
from builders.reports import HERE
from model_eval.spec.eval_spec import (
    CheckpointSpec,
    CodeRef,
    EvalSpec,
    ImageSpec,
    ModelSpec,
    PathRef,
    RunSpec,
)
from model_eval.store.describe import LEFT_OUT, described
from model_eval.store.facts import NOT_MEASURED, facts_of
from model_eval.store.unproved import UnprovedError
from model_eval.types import Location, Report, Task

CODE = CodeRef(
    text="model.py:Net",
    file=Path("/somewhere/model.py"),
    module=None,
    attribute="Net",
    kwargs={"width": 8},
    location=HERE,
)
FILE = PathRef(path=Path("/somewhere/data.csv"), display="data.csv", location=HERE)
RUN = RunSpec(device="cpu", precision="fp32", batch_size=8, seed=0, device_location=HERE)
IMAGE = ImageSpec(
    mode="RGB", resize=8, interpolation="bilinear", crop=None, scale=1.0, mean=None, std=None
)
MODEL = ModelSpec(factory=CODE, output=None, output_field=None, postprocess=None)
CHECKPOINT = CheckpointSpec(path=FILE, sha256=None, state_key=None)
WHOLE = [CODE, FILE, RUN, IMAGE, MODEL, CHECKPOINT, an_input("a"), a_spec(Path("x.csv"))]


def changes():
    for value in WHOLE:
        for field in fields(value):
            if isinstance(getattr(value, field.name), Location):
                continue  # where it is written is none of the run's business
            yield pytest.param(value, field.name, id=f"{type(value).__name__}.{field.name}")


@pytest.mark.parametrize(("value", "name"), list(changes()))
def test_every_field_counts_that_is_not_left_out(value, name):
    other = replace(value, **{name: "another"})
    counts = described(other) != described(value)
    only_here = (
        isinstance(value, PathRef) and name == "path"
    )  # what counts is its name below the root
    left_out = name in LEFT_OUT.get(type(value), ())
    assert counts is not (left_out or only_here)


def test_where_it_is_written_does_not_count_but_whether_it_is():
    elsewhere = replace(HERE, line=99)
    assert described(replace(RUN, device_location=elsewhere)) == described(RUN)
    stated = replace(a_spec(Path("x.csv")), locations={"id": HERE})
    assert described(stated) != described(replace(stated, locations={}))
    assert described(stated) == described(replace(stated, locations={"id": elsewhere}))


def test_what_is_left_out_of_a_whole_spec_is_what_only_judges():
    assert {field.name for field in fields(EvalSpec)} - LEFT_OUT[EvalSpec] == {
        "task", "model", "checkpoint", "heldout", "run", "threshold", "more_heldout", "golden", "control",
    }  # fmt: skip


def test_what_is_left_out_exists():
    for kind, names in LEFT_OUT.items():
        assert names <= {field.name for field in fields(kind)}


def test_a_field_that_is_added_later_counts():
    later = make_dataclass(
        "RunSpec", [("compiled", bool)], bases=(RunSpec,), kw_only=True, frozen=True
    )
    one = later(
        device="cpu", precision="fp32", batch_size=8, seed=0, device_location=HERE, compiled=False
    )
    assert described(one)["compiled"] is False
    assert described(replace(one, compiled=True)) != described(one)


@pytest.mark.parametrize(
    ("one", "other"),
    [(1, 1.0), (1, True), (0, False), ("1", 1), (None, "None"), ([], None), ([], {}), ([["a", 1]], {"a": 1}),
     ({"mapping": [["a", 1]]}, {"a": 1}), ({"a": 1, "b": 2}, {"b": 2, "a": 1})],
)  # fmt: skip
def test_values_that_a_factory_can_tell_apart_differ(one, other):
    import json

    assert json.dumps(described(one)) != json.dumps(described(other))


def test_a_task_is_its_name():
    assert described(Task.BINARY) == "binary"


def test_what_nobody_thought_about_is_refused():
    @dataclass(frozen=True)
    class Odd:
        where: Path

    with pytest.raises(UnprovedError, match="a value of the spec is a "):
        described(Odd(where=Path("x")))


def test_facts_are_all_that_is_not_named():
    assert {field.name for field in fields(Report)} - NOT_MEASURED == {
        "checkpoint", "heldout", "environment", "run", "completion", "more_heldout", "cost", "noise", "control", "stopped", "shard",
    }  # fmt: skip
    assert {field.name for field in fields(Report)} >= NOT_MEASURED


def test_facts_of_a_report():
    from builders.reports import report

    found = facts_of(report())
    assert found["completion"] == report().completion
    assert "gates" not in found
