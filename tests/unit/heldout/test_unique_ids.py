"""Ids that occur twice are found however they are kept: as ranges, integers or text."""

from collections import Counter

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from builders.heldout import AT
from model_eval.errors import HeldOutError
from model_eval.heldout import labels
from model_eval.heldout.labels import UniqueIds


@pytest.fixture(autouse=True, params=["few", "many"])
def size(request, monkeypatch):
    """Few ids are compared in another way than many."""
    if request.param == "many":
        monkeypatch.setattr(labels, "_FEW", 0)


def of(*chunks):
    unique = UniqueIds(AT)
    for chunk in chunks:
        unique.add(chunk)
    return unique


def integers(*values):
    return np.array(values, dtype=np.int64)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(st.lists(st.integers(-6, 30), min_size=1, max_size=5), max_size=6))
def test_integers_are_found_like_by_counting(chunks):
    unique = of(*(integers(*chunk) for chunk in chunks))
    times = Counter(value for chunk in chunks for value in chunk)
    repeated = {value: n for value, n in times.items() if n > 1}
    if not repeated:
        assert unique.check() is None
        return
    with pytest.raises(HeldOutError) as caught:
        unique.check()
    first, n = next(iter(repeated.items()))
    surplus = sum(repeated.values()) - len(repeated)
    assert caught.value.message == (
        f"the id `{first}` occurs {n} times; {surplus} of {sum(times.values())} samples repeat "
        "the id of another"
    )


def test_texts_are_found_across_chunks():
    unique = of(np.array(["a", "b"], dtype=object), np.array(["c", "a"], dtype=object))
    with pytest.raises(HeldOutError, match="the id `a` occurs 2 times; 1 of 4 samples"):
        unique.check()


def test_texts_that_differ_pass():
    unique = of(np.array(["a", "b"], dtype=object), np.array(["c"], dtype=object))
    assert unique.check() is None


def test_of_positions_only_the_first_and_the_last_are_kept():
    unique = of(np.arange(0, 1000), np.arange(1000, 5000), np.arange(5000, 5001))
    assert unique._parts == [range(5001)]


def test_the_ends_of_int64_are_no_run():
    ends = np.iinfo(np.int64)
    unique = of(integers(ends.max, ends.min), integers(ends.max - 1, ends.max))
    with pytest.raises(HeldOutError, match=f"the id `{ends.max}` occurs 2 times"):
        unique.check()
