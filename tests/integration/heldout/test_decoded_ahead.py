"""Files are decoded ahead of their use, in threads that nothing leaves behind."""

import threading

import numpy as np
import pytest

from builders.heldout import AT, path_ref
from model_eval.errors import HeldOutError
from model_eval.heldout.readers import ahead
from model_eval.heldout.readers.ahead import decoded


@pytest.fixture(autouse=True)
def four_threads(monkeypatch):
    monkeypatch.setattr(ahead, "cores", lambda: 4)


@pytest.fixture
def files(tmp_path):
    return [path_ref(tmp_path / str(i)) for i in range(12)]


def number(ref):
    return np.full((2,), int(ref.display), dtype=np.float32)


def groups(files, size):
    return [files[start : start + size] for start in range(0, len(files), size)]


def numbers(files, size, decode=number):
    return [group[:, 0].tolist() for group in decoded(groups(files, size), decode, location=AT)]


def decoders():
    return [one for one in threading.enumerate() if one.name.startswith("decode")]


@pytest.mark.parametrize("size", [1, 5, 12])
def test_groups_come_in_order(files, size):
    expected = [[float(f.display) for f in group] for group in groups(files, size)]
    assert numbers(files, size) == expected
    assert decoders() == []


def test_the_order_does_not_depend_on_who_is_ready_first(files):
    last_is_decoded = threading.Event()

    def decode(ref):
        if ref.display == "1":
            assert last_is_decoded.wait(10)
        if ref.display == "3":
            last_is_decoded.set()
        return number(ref)

    assert numbers(files[:4], 4, decode) == [[0.0, 1.0, 2.0, 3.0]]


def test_the_next_group_is_decoded_while_one_is_used_and_none_after_it(files):
    seen = []
    second = threading.Event()

    def decode(ref):
        seen.append(int(ref.display))
        if {3, 4, 5} <= set(seen):
            second.set()
        return number(ref)

    given = decoded(groups(files, 3), decode, location=AT)
    assert next(given)[:, 0].tolist() == [0.0, 1.0, 2.0]
    assert second.wait(10)
    assert sorted(seen) == [0, 1, 2, 3, 4, 5]
    given.close()


def test_each_file_is_decoded_once(files):
    seen = []
    numbers(files, 5, lambda ref: (seen.append(ref.display), number(ref))[1])
    assert sorted(seen, key=int) == [f.display for f in files]


def test_an_abandoned_iteration_decodes_no_more_and_leaves_no_thread(files):
    seen = []
    given = decoded(groups(files, 2), lambda r: (seen.append(r), number(r))[1], location=AT)
    next(given)
    assert decoders() != []
    given.close()
    assert decoders() == []
    assert len(seen) <= 4


def test_the_first_file_in_order_is_the_one_that_is_named(files):
    later_has_failed = threading.Event()

    def decode(ref):
        if ref.display == "3":
            assert later_has_failed.wait(10)
            raise HeldOutError("`3` is broken", location=AT)
        if ref.display == "5":
            later_has_failed.set()
            raise HeldOutError("`5` is broken", location=AT)
        return number(ref)

    with pytest.raises(HeldOutError, match="`3` is broken"):
        numbers(files, 12, decode)
    assert decoders() == []


def test_shapes_that_differ_between_groups(files):
    with pytest.raises(HeldOutError) as caught:
        numbers(files, 2, lambda ref: np.zeros((3 if ref.display == "7" else 2,)))
    assert caught.value.message == "images differ in shape: `0` is (2,), `7` (3,)"
    assert decoders() == []


def test_no_more_threads_than_cores(files):
    running, most, lock = 0, 0, threading.Lock()
    four = threading.Barrier(4)

    def decode(ref):
        nonlocal running, most
        with lock:
            running += 1
            most = max(most, running)
        if ref.display in {"1", "2", "3", "4"}:
            four.wait(10)
        with lock:
            running -= 1
        return number(ref)

    numbers(files, 12, decode)
    assert most == 4
