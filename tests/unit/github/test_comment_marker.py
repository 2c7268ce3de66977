"""The marker by which our comment is found again."""

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from model_eval.github.comment import COMMENT_LIMIT, body_limit, marker
from model_eval.settings import Settings


@pytest.mark.parametrize("key", ["digits", "digits-cnn", "a.b_C-9", "x" * 80])
def test_a_plain_key_is_written_as_it_is(key):
    assert marker(key) == f"<!-- model-eval:{key} -->"


@pytest.mark.parametrize(
    ("key", "written"),
    [
        ("breast cancer", "breast-cancer-04c79dbd0e04"),
        ("", "e3b0c44298fc"),
        ("--> <script>", "script-91a2c1d2d71b"),
    ],
)
def test_another_key_gets_a_digest(key, written):
    assert marker(key) == f"<!-- model-eval:{written} -->"


@given(key=st.text())
def test_a_marker_is_one_short_comment_whatever_the_key(key):
    assert re.fullmatch(r"<!-- model-eval:[A-Za-z0-9._]+(-[A-Za-z0-9._]+)* -->", marker(key))
    assert len(marker(key)) < 120
    assert body_limit(Settings(), key) == COMMENT_LIMIT - len(marker(key)) - 1


@given(keys=st.lists(st.text("ab- ä", max_size=6), min_size=2, max_size=2, unique=True))
def test_different_keys_have_different_markers(keys):
    assert marker(keys[0]) != marker(keys[1])
