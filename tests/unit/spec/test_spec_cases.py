"""Every spec in tests/cases is a test by being there: `rejected/specs/NAME.txt` holds its faults."""

from pathlib import Path

import pytest

from model_eval.errors import SpecError
from model_eval.spec import load_spec

CASES = Path(__file__).parents[2] / "cases"
ACCEPTED = sorted((CASES / "accepted" / "specs").glob("*.yaml"))
REJECTED = sorted((CASES / "rejected" / "specs").glob("*.yaml"))


def test_there_are_cases():
    assert ACCEPTED
    assert REJECTED


@pytest.mark.parametrize("path", ACCEPTED, ids=lambda path: path.stem)
def test_accepted(path):
    spec = load_spec(path, roots=[CASES])
    assert spec.source.display == f"accepted/specs/{path.name}"


@pytest.mark.parametrize("path", REJECTED, ids=lambda path: path.stem)
def test_rejected(path):
    with pytest.raises(SpecError) as caught:
        load_spec(path, roots=[CASES])
    # Messages that name the root hold this checkout's path; the cases call it $ROOT.
    assert str(caught.value).replace(str(CASES), "$ROOT") + "\n" == path.with_suffix(
        ".txt"
    ).read_text(encoding="utf-8")
    assert all(fault.code == "spec" for fault in caught.value.faults)
    assert all("\n" not in str(fault) for fault in caught.value.faults)


def test_every_expectation_has_its_spec():
    expected = {path.stem for path in (CASES / "rejected" / "specs").glob("*.txt")}
    assert expected == {path.stem for path in REJECTED}
