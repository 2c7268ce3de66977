"""Conditions: what is one, what is none, and that nothing of Python is in reach."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from model_eval.spec.expression import MAX_NODES, ExpressionError, evaluate, parse

COLUMNS = {
    "age": np.array([10, 40, 65, 80]),
    "dose": np.array([0.0, 0.5, -1.5, 2.0]),
    "site": np.array(["a", "b", "a", "c"], dtype=object),
    "left": np.array([True, False, True, False]),
    "two words": np.array([1, 2, 3, 4]),
}
CONDITIONS = {
    "age > 40": "0011",
    "age >= 40": "0111",
    "40 <= age < 80": "0110",
    "age == 65": "0010",
    "age != 65": "1101",
    "site == 'a'": "1010",
    "site != 'a'": "0101",
    'site in ["a", "c"]': "1011",
    "site not in ('a', 'c')": "0100",
    "age in {10, 80}": "1001",
    "dose in [-1.5, 2]": "0011",
    "age > 40 and site == 'a'": "0010",
    "age > 70 or site == 'b'": "0101",
    "not site == 'a'": "0101",
    "not (age > 40 and dose > 0)": "1110",
    "not left": "0101",
    "abs(dose) > 1": "0011",
    "-dose > 1": "0010",
    "age * 2 - 10 > age + dose / 2": "0111",
    "column('two words') > 2": "0011",
    "  age\t> 40  ": "0011",
    "age / 0 > 1": "1111",
    "age > 1e999": "0000",
}


@pytest.mark.parametrize(("text", "expected"), CONDITIONS.items())
def test_what_is_a_condition(text, expected):
    tree, names = parse(text)
    assert names <= COLUMNS.keys()
    with np.errstate(all="ignore"):
        found = evaluate(tree, COLUMNS)
    assert "".join(str(int(one)) for one in found) == expected


USES = "; conditions have comparisons, and, or, not, in, arithmetic, abs and column('name')"
UNREADABLE = "is not a condition that can be read"
TRUTH = "has a truth value, which a column has as text: `flag == 'true'`"
NONE = {
    "": UNREADABLE,
    "age >": UNREADABLE,
    "age = 4": UNREADABLE,
    "age > 4; import os": UNREADABLE,
    "age > \0": UNREADABLE,
    "(" * 10_000: UNREADABLE,
    "-" * 100_000 + "age": UNREADABLE,
    "age > " + "9" * 5000: UNREADABLE,
    "age": "is a value and not a condition",
    "age + 1": "is a value and not a condition",
    "column('age')": "is a value and not a condition",
    "1 < 2": "names no column",
    "True": TRUTH,
    "left == True": TRUTH,
    "site in ['a', False]": TRUTH,
    "age is None": "compares with `is`; write `==`",
    "age in site": "has `in` without a list of values behind it",
    "age in []": "has `in` without a list of values behind it",
    "age in [dose]": "has `in` without a list of values behind it",
    "age == None": "uses `None`" + USES,
    "age == 1j": "uses `1j`" + USES,
    "age == b'x'": "uses `b'x'`" + USES,
    "age in [None]": "uses `None`" + USES,
    "age == ...": "uses `...`" + USES,
    "site == 'a' * 1000000000": "uses `'a' * 1000000000`" + USES,
    "age ** 9 > 1": "uses `age ** 9`" + USES,
    "age % 2 == 1": "uses `age % 2`" + USES,
    "age // 2 == 1": "uses `age // 2`" + USES,
    "age @ age > 1": "uses `age @ age`" + USES,
    "age.dtype == 1": "uses `age.dtype`" + USES,
    "age[0] > 1": "uses `age[0]`" + USES,
    "open('x') == 1": "uses `open('x')`" + USES,
    "abs(age, age) > 1": "uses `abs(age, age)`" + USES,
    "abs(*age) > 1": "uses `*age`" + USES,
    "abs(x=age) > 1": "uses `abs(x=age)`" + USES,
    "column(age) > 1": "uses `column(age)`" + USES,
    "column('age', x=1) > 1": "uses `column('age', x=1)`" + USES,
    "(lambda: age)() > 1": "uses `(lambda: age)()`" + USES,
    "(x := age) > 1": "uses `(x := age)`" + USES,
    "f'{age}' == 'x'": "uses `f'{age}'`" + USES,
    "[a for a in age] == 1": "uses `[a for a in age]`" + USES,
    "age if left else dose": "uses `age if left else dose`" + USES,
    "().__class__.__bases__ == age": "uses `().__class__.__bases__`" + USES,
    " and ".join(["age > 1"] * 80): f"has more than {MAX_NODES} parts",
}


@pytest.mark.parametrize(("text", "why"), NONE.items(), ids=lambda text: text[:30])
def test_what_is_none(text, why):
    with pytest.raises(ExpressionError) as caught:
        parse(text)
    assert str(caught.value) == why


@pytest.mark.parametrize("text", ["not age", "age and left", "left or age > 1 or age"])
def test_what_is_joined_must_be_true_or_false(text):
    tree, _ = parse(text)
    with pytest.raises(ExpressionError, match="joins what is not true or false"):
        evaluate(tree, COLUMNS)


WORDS = st.sampled_from(
    ["age", "site", "left", "'a'", "1", "-1.5", "True", "None", "(", ")", "[", "]", ",", ">", "<=",
     "==", "!=", "in", "not", "and", "or", "is", "+", "-", "*", "/", "**", "abs", "column", ".",
     "__class__", "lambda", ":", ":=", "if", "else", "for", "await", "yield", "f'{age}'", "*"]
)  # fmt: skip


@given(st.one_of(st.text(max_size=60), st.lists(WORDS, max_size=14).map(" ".join)))
def test_nothing_but_its_own_error_comes_out_of_a_text(text):
    try:
        tree, names = parse(text)
    except ExpressionError:
        return
    columns = {name: COLUMNS.get(name, COLUMNS["age"]) for name in names}
    try:
        with np.errstate(all="ignore"):
            found = evaluate(tree, columns)
    except (TypeError, ValueError, ArithmeticError):
        return
    assert np.asarray(found).dtype.kind in "bif"


@pytest.mark.parametrize("text", ["word == 1", "1 != word", "word in [1, 2]", "number == 'a'"])
def test_text_is_not_compared_with_numbers(text):
    columns = {"word": np.array(["0", "1"], dtype=object), "number": np.array([0, 1])}
    tree, _ = parse(text)
    with pytest.raises(ExpressionError, match="compares text with a number"):
        evaluate(tree, columns)
