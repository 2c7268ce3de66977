"""Which variables of the environment a measurement depends on."""

import os

import pytest

from model_eval.store.variables import EVERY, Asked, _Telling, digest_of, numeric_variables

HERE = {"ONE": "1", "TWO": "2"}


@pytest.fixture
def asked():
    before = type(os.environ)
    listening = Asked(HERE, lambda frame: frame is not None)
    listening.listen()
    yield listening
    _Telling.listener = None
    for one in (os.environ, os.environb):
        one.__class__ = before


@pytest.mark.parametrize(
    "ask",
    [
        lambda: os.environ.get("ONE"),
        lambda: os.getenv("ONE"),
        lambda: "ONE" in os.environ,
        lambda: os.environb.get(b"ONE"),
        lambda: os.environ.pop("ONE", None),
    ],
)
def test_each_way_to_ask_is_heard(asked, ask):
    ask()
    assert asked.dependencies() == {"ONE": digest_of("ONE", HERE)}


def test_who_removes_one_learns_whether_it_was_there(asked):
    with pytest.raises(KeyError):
        del os.environ["MODEL_EVAL_THREE"]
    assert "MODEL_EVAL_THREE" in asked.dependencies()


def test_one_that_is_not_there_is_a_dependency(asked):
    with pytest.raises(KeyError):
        os.environ["MODEL_EVAL_THREE"]
    assert asked.dependencies() == {"MODEL_EVAL_THREE": None}


@pytest.mark.parametrize(
    "ask",
    [
        lambda: dict(os.environ),
        os.environ.copy,
        lambda: [*os.environ],
        lambda: repr(os.environ),
        lambda: str(os.environ),
        lambda: len(os.environ),
    ],
)
def test_who_looks_at_all_depends_on_all(asked, ask):
    ask()
    assert asked.dependencies()[EVERY] == digest_of(EVERY, HERE)
    assert digest_of(EVERY, HERE) != digest_of(EVERY, {**HERE, "THREE": "3"})


def test_what_the_code_sets_itself_counts_with_what_was_there_before(asked, monkeypatch):
    monkeypatch.setenv("ONE", "5")
    assert os.environ["ONE"] == "5"
    assert asked.dependencies() == {"ONE": digest_of("ONE", {"ONE": "1"})}


def test_who_does_not_count_is_not_heard():
    listening = Asked(HERE, lambda _: False)
    listening.hear("ONE", None)
    assert listening.dependencies() == {}


def test_the_environment_does_what_it_did(asked, monkeypatch):
    monkeypatch.setenv("MODEL_EVAL_ONE", "1")
    assert os.environ["MODEL_EVAL_ONE"] == os.environb[b"MODEL_EVAL_ONE"].decode() == "1"
    monkeypatch.delenv("MODEL_EVAL_ONE")
    assert os.environ.get("MODEL_EVAL_ONE") is None
    with pytest.raises(TypeError):
        os.environ[1]


def test_numbers_of_threads_are_in_no_key():
    some = {"ONEDNN_DEFAULT_FPMATH_MODE": "BF16", "MKL_NUM_THREADS": "2", "HOME": "/root"}
    assert numeric_variables(some) == {"ONEDNN_DEFAULT_FPMATH_MODE": "BF16"}
