"""Only declared errors are acceptable, whatever the file holds (OSS-Fuzz's oracle)."""

import pytest
import yaml
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from model_eval.errors import SpecError
from model_eval.spec.eval_spec import EvalSpec

MANY = settings(
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
    max_examples=250,
    deadline=None,
)


def outcome(workspace, text):
    try:
        return workspace.load(text), None
    except SpecError as error:
        return None, error


def check_outcome(workspace, text):
    """Loads; checks that what comes out is a spec or faults that can be printed."""
    spec, error = outcome(workspace, text)
    if error is not None:
        assert error.faults
        for fault in error.faults:
            line = str(fault)
            assert line.isprintable(), line
            line.encode()
            assert fault.remedy
            assert len(line) < 2000
            if fault.location:
                assert fault.location.line >= 1
                assert fault.location.column >= 1
        places = [(f.location.line, f.location.column) for f in error.faults if f.location]
        assert len(places) >= len(error.faults) - 1
        return None
    assert isinstance(spec, EvalSpec)
    assert any(gate.severity == "required" for gate in spec.gates)
    return spec


def test_the_unchanged_spec_is_accepted(shared_workspace):
    assert check_outcome(shared_workspace, shared_workspace.valid)


@MANY
@given(data=st.binary(max_size=200))
def test_bytes(data, shared_workspace):
    assert check_outcome(shared_workspace, data) is None


@MANY
@given(text=st.text(alphabet="ab1: -[]{},&*!|>'\"%@`#?~.\n\t<=", max_size=80))
def test_yaml_like_text(text, shared_workspace):
    assert check_outcome(shared_workspace, text) is None


@MANY
@given(data=st.data())
def test_damaged_bytes(data, shared_workspace):
    content = bytearray(shared_workspace.valid.encode())
    for _ in range(data.draw(st.integers(1, 3))):
        at = data.draw(st.integers(0, len(content) - 1))
        how = data.draw(st.sampled_from(["set", "delete", "insert"]))
        byte = data.draw(st.sampled_from(list(b" \n:,-[]{}'\"&*!0az\xff\x00\xe9")))
        if how == "set":
            content[at] = byte
        elif how == "delete":
            del content[at]
        else:
            content.insert(at, byte)
    check_outcome(shared_workspace, bytes(content))


KEYS = [
    "version", "name", "task", "model", "factory", "kwargs", "output", "output_field",
    "postprocess", "checkpoint", "path", "sha256", "state_key", "heldout", "format", "loader",
    "inputs", "target", "id", "cluster", "slices", "classes", "count", "image", "transform",
    "disjoint_from", "run", "device", "precision", "batch_size", "seed", "stop_early", "threshold", "metrics",
    "gates", "metric", "class", "min", "max", "severity", "column", "columns", "dtype", "shape",
    "scale", "mode", "resize", "crop", "mean", "std", "interpolation", "x",
]  # fmt: skip
WORDS = [
    "binary", "multiclass", "regression", "logits", "csv", "npy", "image_folder", "heldout.csv",
    "images", "x.npy", "..", ".", "/", "~", "model.py:Net", "a:b", ":", "", "accuracy", "r2",
    "recall", "f1_per_class", "confusion_matrix", "label", "pixels", "*", "[", "cat", "required",
    "advisory", "RGB", "float32", "auto", "cuda:1", "a" * 64, "0", "\0", "\ud7ff", "\u202e", "`",
]  # fmt: skip

leaves = (
    st.sampled_from(WORDS)
    | st.integers(-2, 3)
    | st.sampled_from([0.5, 1.5, -0.1, 10**17])
    | st.booleans()
    | st.none()
)
trees = st.recursive(
    leaves,
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(KEYS), inner, max_size=4)
    ),
    max_leaves=8,
)


@MANY
@given(data=st.data())
def test_changed_values(data, shared_workspace):
    value = yaml.safe_load(shared_workspace.valid)
    for _ in range(data.draw(st.integers(1, 3))):
        node = value
        while True:
            keys = list(node) if isinstance(node, dict) else list(range(len(node)))
            if isinstance(node, dict) and data.draw(st.integers(0, 4)) == 0:
                keys.append(data.draw(st.sampled_from(KEYS)))
            if not keys:
                break
            key = data.draw(st.sampled_from(keys))
            inner = node[key] if isinstance(node, list) else node.get(key)
            if isinstance(inner, (dict, list)) and data.draw(st.booleans()):
                node = inner
                continue
            if isinstance(node, dict) and data.draw(st.integers(0, 5)) == 0:
                node.pop(key, None)
            else:
                node[key] = data.draw(trees)
            break
    check_outcome(shared_workspace, yaml.safe_dump(value, allow_unicode=True))


@pytest.mark.parametrize("key", KEYS)
@pytest.mark.parametrize("section", ["", "model", "checkpoint", "heldout", "run", "gates"])
def test_no_key_is_fatal_anywhere(key, section, shared_workspace):
    for word in (None, "x", [{}], {"a": 1}):
        value = yaml.safe_load(shared_workspace.valid)
        value.setdefault("run", {})
        node = value[section] if section else value
        (node[0] if isinstance(node, list) else node)[key] = word
        check_outcome(shared_workspace, yaml.safe_dump(value))
