"""Memory is given back after so many bytes of samples, and the chunks are what they were."""

import numpy as np
import pytest

from model_eval.heldout.readers import trim
from model_eval.heldout.readers.trim import trimming


@pytest.fixture
def trimmed(monkeypatch):
    """After how many chunks memory was given back."""
    given = []
    monkeypatch.setattr(trim, "_EVERY", 100)
    monkeypatch.setattr(trim, "_trim", lambda: given.append)
    return given


@trimming
def chunks(count, *, closed=None):
    try:
        for _ in range(count):
            yield {"x": np.zeros(5), "y": np.zeros(5, dtype=np.int8)}
    finally:
        if closed is not None:
            closed.append(True)


def test_memory_is_given_back_each_time_that_so_much_was_read(trimmed):
    lengths = [len(chunk["x"]) for chunk in chunks(10)]
    assert lengths == [5] * 10
    assert trimmed == [0, 0, 0]  # of 45 bytes each: after the third, the sixth and the ninth


def test_what_is_abandoned_is_closed(trimmed):
    closed = []
    given = chunks(10, closed=closed)
    next(given)
    given.close()
    assert (closed, trimmed) == ([True], [])


def test_a_c_library_without_it_is_no_error(monkeypatch):
    monkeypatch.setattr(trim.ctypes, "CDLL", lambda _: object())
    trim._trim.cache_clear()
    assert trim._trim()(0) is None
    trim._trim.cache_clear()
