"""The collector pauses while packages are imported, and whatever happens it is on again."""

import gc
import sys
import types

import pytest

from model_eval.imports import uncollected


@pytest.fixture(autouse=True)
def thawed():
    yield
    gc.unfreeze()
    gc.enable()


def test_the_collector_is_off_inside_and_on_after():
    with uncollected():
        inside = gc.isenabled()
    assert (inside, gc.isenabled()) == (False, True)


def test_it_is_on_again_after_an_error():
    with pytest.raises(ImportError), uncollected():
        raise ImportError
    assert gc.isenabled()


def test_what_was_imported_is_left_out_of_later_collections(monkeypatch):
    before = gc.get_freeze_count()
    with uncollected():
        pass
    assert gc.get_freeze_count() == before  # nothing was
    with uncollected():
        monkeypatch.setitem(sys.modules, "newcomer", types.ModuleType("newcomer"))
    assert gc.get_freeze_count() > before


def test_a_collector_that_somebody_has_turned_off_stays_off():
    gc.disable()
    with uncollected():
        pass
    assert not gc.isenabled()
