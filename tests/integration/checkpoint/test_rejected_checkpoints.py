"""Checkpoints that must be refused, each with the one line that people read.

A file in `tests/cases/rejected/checkpoints` with its `NAME.txt` is a test by being there; the
texts in `made_in_code` belong to the functions of `builders/broken_checkpoints.py`.
"""

import pytest

from builders.broken_checkpoints import CASES, MARKER, of_a_malformed_sparse_tensor
from builders.checkpoints import refusal
from builders.reports import ROOT

FOLDER = ROOT / "tests/cases/rejected/checkpoints"
FILES = sorted(p for p in FOLDER.iterdir() if p.is_file() and p.suffix != ".txt")


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.name)
def test_a_committed_file_is_refused(path):
    assert refusal(path) + "\n" == path.with_name(f"{path.name}.txt").read_text()


@pytest.mark.timeout(20)
@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("name", sorted(CASES))
def test_a_file_made_in_code_is_refused(name, tmp_path):
    path = CASES[name](tmp_path)
    expected = (FOLDER / "made_in_code" / f"{name}.txt").read_text()
    if name == "sparse_and_malformed":
        expected = of_a_malformed_sparse_tensor(expected)
    assert refusal(path) + "\n" == expected
    assert not (tmp_path / MARKER).exists()


def test_every_expected_text_belongs_to_a_case():
    assert {path.stem for path in (FOLDER / "made_in_code").iterdir()} == set(CASES)
    texts = {path.name.removesuffix(".txt") for path in FOLDER.glob("*.txt")}
    assert texts == {path.name for path in FILES}
