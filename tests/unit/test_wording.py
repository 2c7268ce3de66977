"""How messages write numbers: short, and never like another number that stands beside them."""

from decimal import Decimal
from math import inf, nan, nextafter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from model_eval.wording import number


@pytest.mark.parametrize(
    ("value", "unlike", "text"),
    [
        (0.912345678, [], "0.912346"),
        (0.9, [0.9], "0.9"),
        (-0.0, [], "0"),
        (-0.0, [0.0, 0.05], "0"),
        (0.9499999, [0.9, 0.95], "0.9499999"),
        (1234569, [1234567], "1234569"),
        (1234569, [7.5], "1.23457e+06"),
        (nextafter(0.9, 0), [0.9], "0.8999999999999999"),
        (0.9, [nextafter(0.9, 0)], "0.9"),
        (inf, [0.9], "inf"),
        (nan, [nan, 0.9], "nan"),
    ],
)
def test_numbers(value, unlike, text):
    assert number(value, unlike=unlike) == text


def test_fewer_digits_where_these_are_enough():
    assert number(0.949994, digits=4) == "0.95"
    assert number(0.949994, digits=4, unlike=[0.95]) == "0.94999"


FLOATS = st.floats(allow_nan=False, allow_infinity=False)


@given(FLOATS, FLOATS, FLOATS)
def test_what_stands_beside_one_another_reads_in_its_order(first, second, third):
    """Also where one of them has another beside it, and so more digits."""
    low, high = sorted((first, second))
    shown = [number(low, unlike=[high]), number(high, unlike=[low, third])]
    assert (Decimal(shown[0]) < Decimal(shown[1])) is (low < high)
