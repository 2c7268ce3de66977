"""What one spec asks less of than another: each kind of loosening, and its tighter mirror image."""

from dataclasses import fields, replace
from operator import attrgetter
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from builders.reports import ROOT, gate
from model_eval import gates as gates_module
from model_eval import loosening
from model_eval.loosening import fails_less_often, held_gates, loosenings
from model_eval.spec import load_base_spec
from model_eval.spec.eval_spec import BaselineSpec, GoldenSpec
from model_eval.types import BOUNDS, DecideOn, Gate, OnUndecided, Severity

SPEC = """\
version: 1
name: case
task: multiclass
model:
  factory: model.py:Net
  output: logits
checkpoint:
  path: model.safetensors
  sha256: aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa
heldout:
  path: heldout.csv
  inputs: {column: pixels, scale: 0.5}
  target: label
  id: sample
  slices: [left, right]
  classes: [cat, dog, eel]
  count: 50
  sha256: aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa
  disjoint_from: [a.csv, b.csv]
run: {device: auto, precision: fp32, batch_size: 8, seed: 0}
metrics: [accuracy]
gates:
  - {metric: accuracy, min: 0.9}
  - {metric: log_loss, max: 0.5}
  - {metric: recall, class: dog, min: 0.8}
  - {metric: f1_macro, min: 0.7, severity: advisory}
"""
BINARY = """\
version: 1
name: case
task: binary
model: {factory: model.py:Net, output: logits}
checkpoint: {path: model.safetensors}
heldout: {path: heldout.csv, inputs: pixels, target: label}
threshold: 0.8
gates: [{metric: accuracy, min: 0.9}]
"""
DIGEST = "a" * 64


def load(text=SPEC):
    at = Path("/repository/spec.yaml")
    return load_base_spec(text.encode(), at=at, roots=[at.parent])


def edited(old, new, text=SPEC):
    assert text.count(old) == 1, old
    return load(text.replace(old, new))


def whats(base, head):
    return [one.what for one in loosenings(base, head)]


ONE_WAY = {
    "min-lower": ("accuracy, min: 0.9", "accuracy, min: 0.89", "gate accuracy: min"),
    "max-higher": ("max: 0.5", "max: 0.6", "gate log_loss: max"),
    "of-a-class": ("class: dog, min: 0.8", "class: dog, min: 0.1", "gate recall[dog]: min"),
    "advisory-bound": ("f1_macro, min: 0.7", "f1_macro, min: 0.6", "gate f1_macro: min"),
    "gate-removed": ("  - {metric: log_loss, max: 0.5}\n", "", "gate log_loss"),
    "severity": ("max: 0.5}", "max: 0.5, severity: advisory}", "gate log_loss: severity"),
    "count-removed": ("  count: 50\n", "", "heldout.count"),
    "pin-removed": (f"  count: 50\n  sha256: {DIGEST}\n", "  count: 50\n", "heldout.sha256"),
    "checkpoint-pin-removed": (f"  sha256: {DIGEST}\nheldout", "heldout", "checkpoint.sha256"),
    "id-removed": ("  id: sample\n", "", "heldout.id"),
    "training-file-dropped": ("[a.csv, b.csv]", "[b.csv]", "heldout.disjoint_from"),
    "training-files-dropped": ("  disjoint_from: [a.csv, b.csv]\n", "", "heldout.disjoint_from"),
    "slice-dropped": ("[left, right]", "[right]", "heldout.slices"),
}
"""Edits that loosen, and whose opposites tighten."""


@pytest.mark.parametrize(("old", "new", "what"), ONE_WAY.values(), ids=ONE_WAY)
def test_what_asks_less_is_loosened(old, new, what):
    assert whats(load(), edited(old, new)) == [what]


@pytest.mark.parametrize(("old", "new", "what"), ONE_WAY.values(), ids=ONE_WAY)
def test_what_asks_more_is_not(old, new, what):
    assert whats(edited(old, new), load()) == []


BOTH_WAYS = {
    "other-class": ("class: dog", "class: eel", ["gate recall[dog]"], ["gate recall[eel]"]),
    "other-metric": ("metric: accuracy", "metric: auroc", ["gate accuracy"], ["gate auroc"]),
    "other-bound": ("log_loss, max", "log_loss, min", ["gate log_loss"], ["gate log_loss"]),
    "output": ("output: logits", "output: probabilities", ["model.output"], None),
    "output-field": ("output: logits", "output: logits\n  output_field: 1", ["model.output_field"], None),
    "postprocess": ("output: logits", "output: logits\n  postprocess: m.py:f", ["model.postprocess"], None),
    "heldout-path": ("path: heldout.csv", "path: other.csv", ["heldout.path"], None),
    "heldout-format": ("path: heldout.csv", "path: heldout.npz", ["heldout.format", "heldout.path"], None),
    "heldout-digest": (f"count: 50\n  sha256: {DIGEST}", "count: 50\n  sha256: " + "b" * 64, ["heldout.sha256"], None),
    "count": ("count: 50", "count: 60", ["heldout.count"], None),
    "training-file-replaced": ("b.csv", "c.csv", ["heldout.disjoint_from"], None),
    "inputs": ("scale: 0.5", "scale: 0.25", ["heldout.inputs"], None),
    "keyword-inputs": ("{column: pixels, scale: 0.5}", "{x: pixels}", ["heldout.inputs"] * 2, None),
    "target": ("target: label", "target: label2", ["heldout.target"], None),
    "id": ("id: sample", "id: row", ["heldout.id"], None),
    "cluster": ("id: sample", "id: sample\n  cluster: writer", ["heldout.cluster"], None),
    "classes": ("[cat, dog, eel]", "[dog, cat, eel]", ["heldout.classes"], None),
    "class-names-with-commas": ("[cat, dog, eel]", '["cat, dog", dog, eel]', ["heldout.classes"], None),
    "transform": ("id: sample", "id: sample\n  transform: t.py:f", ["heldout.transform"], None),
    "precision": ("fp32", "bf16", ["run.precision"], None),
    "seed": ("seed: 0", "seed: 1", ["run.seed"], None),
}  # fmt: skip
"""Edits of which nobody can say that they are stricter, in either direction."""


@pytest.mark.parametrize(("old", "new", "there", "back"), BOTH_WAYS.values(), ids=BOTH_WAYS)
def test_what_differs_and_decides_is_loosened(old, new, there, back):
    assert whats(load(), edited(old, new)) == there
    assert whats(edited(old, new), load()) == (back or there)


def test_to_end_early_is_looser_and_to_go_on_is_not():
    whole = load()
    early = replace(whole, run=replace(whole.run, stop_early=True))
    assert (whats(whole, early), whats(early, whole)) == (["run.stop_early"], [])


def confident(spec, confidence):
    return replace(spec, decisions=replace(spec.decisions, confidence=confidence))


@pytest.mark.parametrize(
    ("changes", "looser"),
    [
        ({}, True),
        ({"on_undecided": OnUndecided.UNDECIDED}, False),
        ({"on_undecided": OnUndecided.FAIL}, False),
        ({"decide_on": DecideOn.LOWER_BOUND}, False),
        ({"decide_on": DecideOn.POINT}, False),
        ({"severity": Severity.ADVISORY}, False),
    ],
)
def test_a_higher_confidence_is_looser_where_what_is_open_does_not_block(changes, looser):
    """A gate that fails by its interval may be undecided by a wider one."""
    open_ = replace(gate(), decide_on=DecideOn.INTERVAL, on_undecided=OnUndecided.ADVISORY)
    base = confident(replace(load(), gates=(replace(open_, **changes),)), 0.95)
    assert whats(base, confident(base, 0.9999)) == ["decisions.confidence"] * looser
    assert whats(base, confident(base, 0.9)) == ["decisions.confidence"]
    blocking = replace(base, gates=(replace(base.gates[0], on_undecided=OnUndecided.FAIL),))
    assert whats(base, confident(blocking, 0.9999)) == []


def test_more_gates_of_a_run_that_may_end_early_make_its_failing_ends_wider():
    open_ = replace(gate(), decide_on=DecideOn.INTERVAL, on_undecided=OnUndecided.ADVISORY)
    base = replace(load(), gates=(open_,))
    assert not fails_less_often(base, base.gates)
    assert fails_less_often(base, (open_, open_))
    blocking = replace(load(), gates=(replace(open_, on_undecided=OnUndecided.FAIL),))
    assert not fails_less_often(blocking, (open_, open_))


def test_the_decision_threshold_and_the_task():
    base = load(BINARY)
    assert whats(base, edited("threshold: 0.8", "threshold: 0.7", BINARY)) == ["threshold"]
    assert whats(base, edited("threshold: 0.8", "threshold: 0.9", BINARY)) == ["threshold"]
    other = BINARY.replace("threshold: 0.8\n", "").replace("binary", "multiclass")
    assert whats(base, load(other)) == ["task", "threshold"]


def test_a_loader_is_its_callable_and_its_arguments():
    text = BINARY.replace(
        "{path: heldout.csv, inputs: pixels, target: label}",
        "{loader: d.py:f, kwargs: {split: heldout, n: 1}}",
    )
    base = load(text)
    assert whats(base, edited("split: heldout, n: 1", "n: 1, split: heldout", text)) == []
    for other in ("split: easy, n: 1", "split: heldout, n: true", "split: heldout"):
        assert whats(base, edited("split: heldout, n: 1", other, text)) == ["heldout.loader"], other
    assert whats(base, edited("d.py:f", "d.py:g", text)) == ["heldout.loader"]


FREE = {
    "name": ("name: case", "name: other"),
    "model": ("model.py:Net", "model.py:Bigger"),
    "model-arguments": ("model.py:Net", "model.py:Net\n  kwargs: {width: 9}"),
    "checkpoint": ("path: model.safetensors", "path: model2.safetensors"),
    "checkpoint-digest": (f"sha256: {DIGEST}\nheldout", "sha256: " + "b" * 64 + "\nheldout"),
    "state-key": ("path: model.safetensors", "path: model.safetensors\n  state_key: ema"),
    "device": ("device: auto", "device: cpu"),
    "batch-size": ("batch_size: 8", "batch_size: 16"),
    "metrics": ("metrics: [accuracy]", "metrics: [accuracy, auroc]"),
    "path-spelled-otherwise": ("path: heldout.csv", "path: ./x/../heldout.csv"),
    "digest-spelled-otherwise": (f"count: 50\n  sha256: {DIGEST}", f"count: 50\n  sha256: sha256:{DIGEST.upper()}"),
    "moved": ("gates:\n", "\n\n# moved\ngates:\n"),
    "threshold-spelled-otherwise": ("accuracy, min: 0.9}", "accuracy, min: 0.90, severity: required}"),
}  # fmt: skip


@pytest.mark.parametrize(("old", "new"), FREE.values(), ids=FREE)
def test_what_a_pull_request_is_for_is_free(old, new):
    assert whats(load(), edited(old, new)) == []
    assert whats(edited(old, new), load()) == []


def test_a_loosening_says_what_from_what_to_what_and_where():
    head = edited("accuracy, min: 0.9", "accuracy, min: 0.85")
    (one,) = loosenings(load(), head)
    assert (one.base, one.head) == ("0.9", "0.85")
    assert one.reason == "`min` of the gate asks for less than in the base branch"
    assert one.location == head.gates[0].location
    (gone,) = loosenings(load(), edited("  - {metric: log_loss, max: 0.5}\n", ""))
    assert (gone.base, gone.head) == ("max: 0.5, required", None)
    assert str(gone.location) == "spec.yaml (base):23:3"
    assert gone.reason == "the base branch gates log_loss, and this spec does not in this way"
    head = edited("path: heldout.csv", "path: other.csv")
    (moved,) = loosenings(load(), head)
    assert (moved.base, moved.head) == ("heldout.csv", "other.csv")
    assert str(moved.location) == "spec.yaml (base):11:9"
    (read,) = loosenings(load(), edited("output: logits", "output: probabilities"))
    assert str(read.location) == "spec.yaml (base):6:11"
    (precision,) = loosenings(load(), edited("fp32", "bf16"))
    assert str(precision.location) == "spec.yaml (base):20:32"
    (inputs,) = loosenings(load(), edited("scale: 0.5", "scale: 0.25"))
    assert str(inputs.location) == "spec.yaml (base):12:11"
    assert moved.reason == (
        "`heldout.path` is not what it is in the base branch, and the judgement depends on it"
    )
    (count,) = loosenings(load(), edited("  count: 50\n", ""))
    assert (count.base, count.head) == ("50", None)
    assert str(count.location) == "spec.yaml (base):11:3"  # the section that it is missing from
    assert count.reason == "`heldout.count` is no longer there, and the judgement depends on it"


def test_a_gate_is_held_against_the_one_that_comes_nearest():
    """Two gates of one metric: the required one is what the base's is, whatever the other says."""
    both = "accuracy, min: 0.9}\n  - {metric: accuracy, min: 0.95, severity: advisory}"
    assert whats(load(), edited("accuracy, min: 0.9}", both)) == []
    swapped = "accuracy, min: 0.95, severity: advisory}\n  - {metric: accuracy, min: 0.85}"
    assert whats(load(), edited("accuracy, min: 0.9}", swapped)) in (
        ["gate accuracy: min"],
        ["gate accuracy: severity"],
    )


def test_gates_that_are_held_beside_the_specs_own():
    head = edited("accuracy, min: 0.9", "accuracy, min: 0.85")
    assert [(g.metric.label, g.threshold) for g in held_gates(load(), head)] == [("accuracy", 0.9)]
    assert held_gates(load(), load()) == ()


LOOSER_WHEN_HIGHER = {
    "min": False,
    "max": True,
    "max_gap": True,
    "max_drop": True,
    "max_rise": True,
    "max_relative_drop": True,
    "max_relative_rise": True,
    "min_gain": False,
    "max_gain": True,
}
"""Thought through here once more, so that a sign in `BOUNDS` that is turned is noticed."""


@given(st.sampled_from(sorted(LOOSER_WHEN_HIGHER)), st.floats(0.01, 0.9), st.floats(0.01, 0.9))
def test_one_of_two_thresholds_is_the_looser_one(bound, a, b):
    base = load()
    there, back = (
        loosenings(
            replace(base, gates=(replace(gate(), bound=bound, threshold=x),)),
            replace(base, gates=(replace(gate(), bound=bound, threshold=y),)),
        )
        for x, y in ((a, b), (b, a))
    )
    assert (len(there), len(back)) in ({(0, 0)} if a == b else {(0, 1), (1, 0)})
    if a != b:
        assert bool(there) is ((b > a) is LOOSER_WHEN_HIGHER[bound])


def test_every_bound_has_a_direction():
    assert LOOSER_WHEN_HIGHER.keys() == BOUNDS.keys()
    for bound, looser in LOOSER_WHEN_HIGHER.items():
        passed, _ = gates_module.compare(bound, 1.0, 0.5)
        assert passed is not looser


def test_an_unknown_bound_is_looser_whenever_it_differs():
    base = replace(load(), gates=(replace(gate(), bound="new", threshold=0.5),))
    for threshold in (0.4, 0.6):
        head = replace(base, gates=(replace(gate(), bound="new", threshold=threshold),))
        assert whats(base, head) == ["gate accuracy new: new"]


EDITS = [(old, new) for old, new, *_ in (*ONE_WAY.values(), *BOTH_WAYS.values(), *FREE.values())]


@st.composite
def specs(draw):
    text = SPEC
    for old, new in draw(st.lists(st.sampled_from(EDITS), max_size=4, unique=True)):
        if text.count(old) == 1:
            text = text.replace(old, new)
    try:
        return load(text)
    except Exception:  # two edits may contradict each other
        return load()


@given(specs())
def test_no_spec_is_looser_than_itself(spec):
    assert loosenings(spec, spec) == ()
    assert held_gates(spec, spec) == ()


@given(specs(), st.permutations(range(4)))
def test_the_order_of_gates_means_nothing(spec, order):
    mixed = replace(spec, gates=tuple(spec.gates[i] for i in order if i < len(spec.gates)))
    assert loosenings(spec, mixed) == ()
    assert loosenings(mixed, spec) == ()


@given(specs(), specs(), specs())
def test_no_detour_loosens_unseen(first, second, third):
    """What is not looser in two steps is not looser in one."""
    if not loosenings(first, second) and not loosenings(second, third):
        assert loosenings(first, third) == ()


def leaves(section, path=""):
    for field in fields(section):
        value = getattr(section, field.name)
        key = f"{path}.{field.name}" if path else field.name
        if key == "gates" or loosening._is_place(field.name):
            continue
        if loosening._is_section(value) and key not in loosening.RULES:
            yield from leaves(value, key)
        else:
            yield key, field.name


def put(spec, path, value):
    head, _, rest = path.partition(".")
    return replace(spec, **{head: put(getattr(spec, head), rest, value) if rest else value})


LESS = {
    "heldout.families": (),
    "decisions.min_samples": 0,
    "decisions.confidence": 0.5,
    "control": False,
    "more_heldout": {},
}
"""What asks less than the base, of keys whose values are compared."""


@pytest.mark.parametrize("path", [path for path, _ in leaves(load()) if path != "source"])
def test_every_key_that_is_not_free_is_seen(path):
    """A key that somebody adds to a spec is loosened when it differs, until it has a rule."""
    base = load()
    changed = whats(base, put(base, path, LESS.get(path, "another")))
    rule = loosening.RULES.get(path)
    grows = {loosening._free, loosening._removed}
    if not attrgetter(path)(base):  # what the base has none of may be added
        grows |= {loosening._unless_added, loosening._fewer, loosening._unless_pinned}
    section, dot, name = path.rpartition(".")
    written = f"{section}{dot}{loosening._KEYS.get(name, name)}"
    compared = path != "more_heldout"  # set by set, below
    assert changed == ([written] if rule not in grows and compared else [])


def pinned(spec, digest):
    """The spec with a baseline and golden cases of this digest, or without one."""
    path = spec.checkpoint.path
    place = spec.heldout.location
    return replace(
        spec,
        baseline=BaselineSpec(
            checkpoint=replace(spec.checkpoint, path=path, sha256=digest),
            factory=None, ledger=None, git=None, location=place, sha256=digest,
        ),
        golden=GoldenSpec(heldout=replace(spec.heldout, sha256=digest), tolerance=0.1),
    )  # fmt: skip


def test_a_pin_may_be_added_and_not_changed():
    open_, one, other = (pinned(load(), digest) for digest in (None, "a" * 64, "b" * 64))
    assert whats(open_, one) == []
    assert whats(one, open_) == ["golden", "baseline"]
    assert whats(one, other) == ["golden", "baseline"]


def test_further_sets_are_compared_as_the_main_one():
    base = load()
    with_set = replace(base, more_heldout={"shifted": replace(base.heldout, count=None)})
    stricter = replace(base, more_heldout={"shifted": base.heldout, "new": base.heldout})
    assert base.heldout.count is not None
    assert whats(base, with_set) == []
    assert whats(with_set, stricter) == []
    assert whats(stricter, with_set) == ["more_heldout.shifted.count", "more_heldout.new"]
    assert whats(with_set, base) == ["more_heldout.shifted"]


def test_every_key_of_a_gate_tells_gates_apart_or_has_a_rule():
    base = load()
    for field in fields(Gate):
        if field.name == "location":
            continue
        other = {
            "threshold": 0.1,
            "severity": Severity.ADVISORY,
            "decide_on": DecideOn.POINT,
            "on_undecided": OnUndecided.ADVISORY,
            "min_samples": 0,
        }.get(field.name, "other")
        if field.name == "metric":
            other = replace(base.gates[0].metric, name="auroc")
        head = replace(base, gates=(replace(base.gates[0], **{field.name: other}), *base.gates[1:]))
        assert len(loosenings(base, head)) == 1, field.name


def test_rules_are_of_keys_that_there_are_or_will_be():
    known = {path for path, _ in leaves(load())}
    announced = {
        path for path in loosening.RULES if path.partition(".")[0] in {"baseline", "decisions"}
    }
    assert set(loosening.RULES) - known - announced == set()


def test_the_rules_are_documented():
    text = (ROOT / "docs/pull-requests.md").read_text()
    internal = {"source", "sha256", "size", "roots"}  # of the file, not of what is in it
    for key in {*BOUNDS, *loosening.GATE_RULES, *loosening.RULES} - internal:
        name = key.rpartition(".")[2] if key.startswith("decisions.") else key
        section, dot, last = name.rpartition(".")
        name = f"{section}{dot}{loosening._KEYS.get(last, last)}"
        assert f"`{name}`" in text, key
