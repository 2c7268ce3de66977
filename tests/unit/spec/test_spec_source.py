"""The YAML loader: values, places, and inputs made to hurt."""

import math
import time

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from model_eval.errors import SpecError
from model_eval.spec import scalars, source

TEXT = """\
# a comment
name: case
list:
  - a
  - {x: 1, "é": [2, 3]}
"""


def parse(text):
    return source.parse(text.encode(), file="s.yaml")


def faults(data):
    data = data if isinstance(data, bytes) else data.encode()
    with pytest.raises(SpecError) as caught:
        source.parse(data, file="s.yaml")
    return str(caught.value).splitlines()


def test_values_and_places():
    parsed = parse(TEXT)
    assert parsed.value == {"name": "case", "list": ["a", {"x": 1, "é": [2, 3]}]}
    assert {path: (at.line, at.column) for path, at in parsed.values.items()} == {
        (): (2, 1),
        ("name",): (2, 7),
        ("list",): (4, 3),
        ("list", 0): (4, 5),
        ("list", 1): (5, 5),
        ("list", 1, "x"): (5, 9),
        ("list", 1, "é"): (5, 17),
        ("list", 1, "é", 0): (5, 18),
        ("list", 1, "é", 1): (5, 21),
    }
    assert {path: (at.line, at.column) for path, at in parsed.keys.items()} == {
        ("name",): (2, 1),
        ("list",): (3, 1),
        ("list", 1, "x"): (5, 6),
        ("list", 1, "é"): (5, 12),
    }


def test_a_byte_order_mark_moves_nothing():
    parsed = source.parse(b"\xef\xbb\xbfname: x\n", file="s.yaml")
    assert parsed.value == {"name": "x"}
    assert str(parsed.values["name",]) == "s.yaml:1:7"


def test_windows_line_ends():
    parsed = parse("a: 1\r\nb: x\r\n")
    assert parsed.value == {"a": 1, "b": "x"}
    assert str(parsed.values["b",]) == "s.yaml:2:4"


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("", None), ("~", None), ("null", None), ("Null", None), ("NULL", None), ("nUll", "nUll"),
        ("true", True), ("False", False), ("TRUE", True), ("tRue", "tRue"),
        ("yes", "yes"), ("no", "no"), ("on", "on"), ("Off", "Off"), ("y", "y"), ("n", "n"),
        ("0", 0), ("-0", 0), ("+7", 7), ("-12", -12), ("9" * 18, 10**18 - 1),
        ("1e-3", 0.001), ("1E5", 1e5), ("1e+3", 1000.0), ("-.5", -0.5), ("2.", 2.0), ("0.0", 0.0),
        ("1e-999", 0.0), ("00.5", 0.5),
        ("12:30:45", "12:30:45"), ("2026-01-31", "2026-01-31"), ("1.2.3", "1.2.3"),
        ("nan", "nan"), ("inf", "inf"), ("e5", "e5"), (".", "."), ("-", "-"), ("+", "+"),
        ("1e", "1e"), ("1 2", "1 2"), ("0xyz", "0xyz"), ("_1", "_1"), ("١٢", "١٢"),
    ],
)  # fmt: skip
def test_plain_scalars(text, value):
    found = scalars.resolve(text)
    assert found == value
    assert type(found) is type(value)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (".nan", "`.nan` is not a finite number"),
        (".NaN", "`.NaN` is not a finite number"),
        ("-.inf", "`-.inf` is not a finite number"),
        ("+.INF", "`+.INF` is not a finite number"),
        ("1e400", "`1e400` is too large for a number"),
        ("1" * 19, f"`{'1' * 19}` has 19 digits, and at most 18 are allowed"),
        ("-" + "1" * 5000, f"`-{'1' * 38}…` has 5000 digits, and at most 18 are allowed"),
        ("010", "`010` begins with a zero, which some YAML versions read as octal"),
        ("-007", "`-007` begins with a zero, which some YAML versions read as octal"),
        ("0x1F", "`0x1F` is a number in some YAML versions and text in others"),
        ("0o17", "`0o17` is a number in some YAML versions and text in others"),
        ("0b1", "`0b1` is a number in some YAML versions and text in others"),
        ("1_000", "`1_000` is a number in some YAML versions and text in others"),
        ("1_0.5", "`1_0.5` is a number in some YAML versions and text in others"),
    ],
)
def test_refused_scalars(text, message):
    with pytest.raises(scalars.ScalarError) as caught:
        scalars.resolve(text)
    assert caught.value.message == message


@given(st.floats(allow_nan=False, allow_infinity=False))
def test_every_finite_float_comes_back(number):
    assert scalars.resolve(repr(number)) == number
    assert scalars.resolve(f"{number:.17e}") == number


@given(st.integers(min_value=-(10**18) + 1, max_value=10**18 - 1))
def test_every_integer_comes_back(number):
    assert scalars.resolve(str(number)) == number


def test_quoted_scalars_are_text():
    assert parse("a: '1'\nb: \"true\"\nc: '.nan'\nd: ''\ne: |\n  010\n").value == {
        "a": "1", "b": "true", "c": ".nan", "d": "", "e": "010\n",
    }  # fmt: skip


values = st.recursive(
    st.none() | st.booleans() | st.integers(-(10**17), 10**17) | st.text()
    | st.floats(allow_nan=False, allow_infinity=False),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=20,
)  # fmt: skip


@given(st.dictionaries(st.text(), values, max_size=5), st.booleans())
def test_what_yaml_writes_is_read(value, flow):
    # Quoted, so that the versions of YAML agree on what is text; JSON's numbers are YAML's.
    text = yaml.safe_dump(value, default_style='"', default_flow_style=flow, allow_unicode=True)
    text = text.replace("!!int ", "").replace("!!float ", "")
    text = text.replace("!!bool ", "").replace("!!null ", "")
    found = source.parse(text.encode(), file="s.yaml")
    expected = {k: _as_quoted(v) for k, v in value.items()}
    assert found.value == expected


def _as_quoted(value):
    """`safe_dump` with quotes writes every scalar as text."""
    if isinstance(value, dict):
        return {key: _as_quoted(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_as_quoted(item) for item in value]
    if isinstance(value, str):
        return value
    return yaml.safe_dump(value, default_style='"').split('"')[1]


def test_every_fault_is_found_at_once():
    assert faults("a: 1\na: 2\nb: *x\nc: !t 1\nd: .inf\n? [x]\n: {a: 010}\n") == [
        "s.yaml:2:1: the key `a` is given a second time; keep one; the first is in line 1",
        (
            "s.yaml:3:4: aliases such as `*x` are not allowed; write the value out; text that begins "
            "with `*` needs quotes"
        ),
        (
            "s.yaml:4:4: tags such as `!t` are not allowed; write the plain value; text that begins "
            "with `!` needs quotes"
        ),
        (
            "s.yaml:5:4: `.inf` is not a finite number; write a finite number, or put it in quotes "
            "for text"
        ),
        "s.yaml:6:3: a key must be text; put it in quotes, or write `key: value`",
        (
            "s.yaml:7:7: `010` begins with a zero, which some YAML versions read as octal; remove the "
            "leading zeros, or put it in quotes for text"
        ),
    ]


@pytest.mark.parametrize(
    ("data", "expected"),
    [
        (b"name: \xff\n", "s.yaml:1:7: the byte 0xff here is not UTF-8; save the file as UTF-8"),
        (
            "name: x\n".encode("utf-16"),
            "s.yaml:1:1: the byte 0xff here is not UTF-8; save the file as UTF-8",
        ),
        (
            b"a: 1\nname: \x00\n",
            (
                "s.yaml:2:7: this is not YAML: control characters are not allowed; "
                "correct the syntax here or just above"
            ),
        ),
    ],
)
def test_encodings(data, expected):
    assert faults(data) == [expected]


def nested(depth):
    return "a: " + "[" * depth + "]" * depth


def test_depth():
    assert parse(nested(source.MAX_DEPTH - 1)).value
    assert faults(nested(source.MAX_DEPTH)) == [
        "s.yaml:1:35: this is nested more than 32 deep; a spec needs no such nesting; flatten it"
    ]


BOMBS = {
    "deep flow list": "a: " + "[" * 100_000,
    "deep flow mapping": "{a: " * 60_000,
    "deep block list": "- " * 100_000 + "x",
    "deep block mapping": "\n".join(" " * i + "a:" for i in range(700)),
    "aliases": "a: &a [x]\n"
    + "".join(
        f"{chr(98 + i)}: &{chr(98 + i)} [*{chr(97 + i)}, *{chr(97 + i)}]\n" for i in range(24)
    ),
    "many aliases": "a: [" + "*a," * 80_000 + "]",
    "many duplicates": "a: 1\n" * 50_000,
    "many items": "a: [" + "1," * 120_000 + "]",
    "many keys": "".join(f"k{i}: 1\n" for i in range(20_000)),
    "a long integer": "a: " + "1" * 250_000,
    "a long float": "a: 0." + "1" * 250_000,
    "a long exponent": "a: 1e" + "9" * 250_000,
    "a long text": "a: " + "x" * 250_000,
    "many signs": "a: " + "-" * 250_000,
    "a long key": "x" * 250_000 + ": 1",
    "a long anchor": "a: &" + "x" * 250_000 + " 1",
    "a long tag": "a: !" + "x" * 250_000 + " 1",
    "many documents": "---\n" * 60_000,
    "many question marks": "? " * 100_000,
    "many quotes": "a: " + '"' * 250_000,
    "unclosed": "a: ['" + "x\n" * 100_000,
    "comments": "#\n" * 120_000,
    "many colons": ":" * 250_000,
    "spaces": "a:" + " " * 250_000 + "b",
    "directives": "%A b\n" * 50_000,
    "percents": "a: !" + "%41" * 80_000,
}


@pytest.mark.parametrize("name", BOMBS)
def test_bombs_are_answered_fast(name, shared_workspace):
    assert len(BOMBS[name]) <= source.MAX_BYTES
    start = time.process_time()
    found = shared_workspace.faults(BOMBS[name])
    assert time.process_time() - start < 2
    assert len(found) <= source.MAX_FAULTS + 1
    assert all(len(line) < 1000 for line in found)


HEAVY = {
    "wrong items": "metrics: [" + "1," * 120_000 + "]",
    "wrong alternatives": "heldout: {inputs: [" + "1," * 120_000 + "]}",
    "wrong arguments": "heldout: {inputs: {" + "".join(f"k{i}: 1," for i in range(20_000)) + "}}",
    "unknown keys": "heldout: {" + "".join(f"targe{i}: 1," for i in range(16_000)) + "}",
    "mixed classes": "heldout: {classes: [" + "1,a,[],{}," * 25_000 + "]}",
    "equal lists": "heldout: {slices: [" + "[]," * 80_000 + "]}",
    "equal classes": "heldout: {path: x, classes: [" + "a," * 120_000 + "]}",
    "many metrics": "task: regression\nmetrics: [" + "r3," * 80_000 + "]",
    "many equal metrics": "task: regression\nmetrics: [" + "r2," * 80_000 + "]",
    "many metrics per class": "task: multiclass\nmetrics: [recall_per_class]\n"
    "heldout: {path: heldout.csv, inputs: pixels, target: label, classes: ["
    + ",".join(f"c{i}" for i in range(30_000))
    + "]}",
    "many gates": "task: binary\ngates: [" + "{metric: f1, min: 0.5}," * 10_000 + "]",
    "many patterns": "heldout: {path: heldout.csv, inputs: {columns: ["
    + ",".join(f"'*{i}'" for i in range(30_000))
    + "]}, target: label}",
    "a hostile pattern": "heldout: {path: heldout.csv, target: label, inputs: '"
    + "*a" * 100_000
    + "'}",
    "many paths": "heldout: {path: heldout.csv, inputs: pixels, target: label, disjoint_from: ["
    + ",".join(f"x{i}" for i in range(30_000))
    + "]}",
    "a long path": "checkpoint: {path: " + "a/" * 120_000 + "}",
    "a long callable": "model: {factory: " + "a." * 120_000 + ":b}",
    "a long digest": "checkpoint: {path: x, sha256: " + "a" * 250_000 + "}",
    "a long device": "run: {device: " + "a" * 250_000 + "}",
}


@pytest.mark.parametrize("name", HEAVY)
def test_wrong_values_by_the_thousand_are_answered_fast(name, shared_workspace):
    assert len(HEAVY[name]) <= source.MAX_BYTES
    start = time.process_time()
    found = shared_workspace.faults(HEAVY[name])
    assert time.process_time() - start < 2
    assert len(found) <= source.MAX_FAULTS + 1


def test_no_number_is_ever_not_finite():
    for text in (".nan", ".inf", "-.Inf", "1e309", "-1e309", "9" * 400 + ".0"):
        with pytest.raises(scalars.ScalarError):
            scalars.resolve(text)
    assert math.isfinite(scalars.resolve("1.7976931348623157e308"))
