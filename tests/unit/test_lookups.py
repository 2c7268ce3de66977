"""The file that counts look-ups of a held-out set."""

import json
import os
from dataclasses import replace
from pathlib import Path

import pytest

from builders.reports import HERE, report
from model_eval import lookups
from model_eval.errors import HeldOutError, OutputError
from model_eval.report import error_report
from model_eval.spec.eval_spec import PathRef
from model_eval.types import LookupInfo, ShardInfo

REPORT = report()
SET, OURS = REPORT.heldout.sha256, lookups.digest_of(REPORT.checkpoint)


def ref(path):
    return PathRef(path=Path(path), display="looks.jsonl", location=HERE)


def looked_up(path):
    return lookups.looked_up(ref(path), heldout=SET, checkpoint=OURS)


def entry(**changes):
    known = {
        "heldout": SET,
        "checkpoint": "other",
        "date": "2026-11-25",
        "commit": "",
        "verdict": "pass",
    }
    return json.dumps({**known, **changes}) + "\n"


def test_a_file_that_is_not_there_yet_counts_nothing(tmp_path):
    assert looked_up(tmp_path / "none") == LookupInfo(path="looks.jsonl", looks=0, checkpoints=0)


def test_runs_of_this_set_are_counted_and_other_checkpoints_once_each(tmp_path):
    file = tmp_path / "looks"
    file.write_text(
        entry() + entry() + entry(checkpoint="third") + entry(checkpoint=OURS)
        + entry(heldout="another set") + "\n"
    )  # fmt: skip
    assert looked_up(file) == LookupInfo(path="looks.jsonl", looks=4, checkpoints=2)


def test_what_is_recorded_is_counted(tmp_path):
    file = tmp_path / "looks"
    file.write_text(entry())
    before = file.read_text()
    lookups.record(file, REPORT, date="2026-11-26", commit="c0ffee")
    assert file.read_text().startswith(before)
    assert json.loads(file.read_text().splitlines()[-1]) == {
        "heldout": SET, "checkpoint": OURS, "date": "2026-11-26", "commit": "c0ffee", "verdict": "pass",
    }  # fmt: skip
    assert looked_up(file) == LookupInfo(path="looks.jsonl", looks=2, checkpoints=1)


def test_a_shard_is_not_recorded(tmp_path):
    shard = replace(REPORT, shard=ShardInfo(index=1, of=2, grid=8, code="", program="", parts=()))
    with pytest.raises(OutputError, match="is of a shard, which judges nothing"):
        lookups.record(tmp_path / "f", shard, date="", commit="")
    assert not (tmp_path / "f").exists()


def test_a_run_that_judged_nothing_is_not_recorded(tmp_path):
    with pytest.raises(OutputError, match="judged nothing"):
        lookups.record(tmp_path / "f", error_report("x", (), exit_code=4), date="", commit="")
    assert not (tmp_path / "f").exists()


@pytest.mark.parametrize(
    "text",
    [
        "no json\n",
        "[1]\n",
        "{}\n",
        entry(date=5),
        entry() + '{"heldout": ',
        "[" * 100_000,
        "\xff\n",
    ],
)
def test_a_damaged_file_is_an_error_and_says_which_line(tmp_path, text):
    file = tmp_path / "looks"
    file.write_text(text)
    with pytest.raises(HeldOutError, match=r"line \d of `looks\.jsonl` is no entry"):
        looked_up(file)


def test_what_is_no_regular_file_is_refused_and_never_waited_for(tmp_path):
    os.mkfifo(tmp_path / "fifo")
    for path in (tmp_path / "fifo", tmp_path):
        with pytest.raises(HeldOutError, match=r"`looks\.jsonl` is a (FIFO|folder)"):
            looked_up(path)


@pytest.mark.parametrize(
    ("looks", "others", "says"),
    [
        (3, 0, "looked at 3 times before, never for another checkpoint"),
        (
            1,
            1,
            "an interval holds with 0.95 for one of them, all hold with at least 90%; for 0.95 together",
        ),
        (30, 25, "nothing is said of all of them together; for 0.95 together each needs 0.99808"),
    ],
)
def test_what_is_left_of_the_claim(looks, others, says):
    known = LookupInfo(path="looks.jsonl", looks=looks, checkpoints=others)
    assert says in lookups.claim(known, 0.95)


def test_a_last_line_that_was_left_open_stays_a_line(tmp_path):
    file = tmp_path / "looks"
    file.write_text(entry().rstrip("\n"))
    lookups.record(file, REPORT, date="2026-11-26", commit="")
    assert looked_up(file).looks == 2
