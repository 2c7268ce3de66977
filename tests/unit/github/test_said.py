"""What GitHub says is shown in one line, and never a part of the token."""

import pytest
from github import GithubException

from model_eval.github.said import said
from model_eval.settings import Settings

TOKEN = "ghs_0123456789abcdefghijklmnopqrstuvwxyz"


@pytest.mark.parametrize(
    ("data", "expected"),
    [
        ({"message": "Resource not\n accessible"}, "Resource not accessible"),
        ({"message": "a `code`"}, "a 'code'"),
        ({"message": f"Bad {TOKEN}!"}, "Bad ***!"),
        ({"message": 5}, ""),
        ({}, ""),
        ("text", ""),
        (None, ""),
    ],
)
def test_it_is_one_line_without_the_token(data, expected):
    assert said(GithubException(403, data=data), Settings(token=TOKEN)) == expected


@pytest.mark.parametrize("before", range(150, 200))
def test_no_part_of_the_token_is_left_where_it_is_cut(before):
    text = said(GithubException(403, data={"message": "x" * before + TOKEN}), Settings(token=TOKEN))
    assert "ghs" not in text
    assert len(text) <= 200
