"""Runs in parts: joined they are the whole run; what is not its parts is refused."""

import re
import shutil
import signal
import subprocess
import sys
from dataclasses import replace

import numpy as np
import pytest

from builders.projects import MODEL, SPEC, make_project
from builders.shards import (
    assert_same_ledgers,
    assert_same_report,
    evidence,
    merged,
    refusal,
    rewrite,
    run,
    sharded,
)
from model_eval import own_files
from model_eval.cli import main
from model_eval.joining import sealed
from model_eval.ledger import open_ledger
from model_eval.ledger import save as save_ledger
from model_eval.output import LEDGER, REPORT, read_report
from model_eval.parts import Shard
from model_eval.stop import Stop
from model_eval.types import BatchSizeFrom, PartInfo, SetInfo, Verdict

OF = 3


@pytest.fixture(scope="module")
def spec(tmp_path_factory):
    return evidence(tmp_path_factory.mktemp("digits"))


@pytest.fixture(scope="module")
def whole(spec, tmp_path_factory):
    folder = tmp_path_factory.mktemp("whole")
    return run(spec, folder).report, folder


@pytest.fixture(scope="module")
def small(tmp_path_factory):
    """A project of 40 samples in batches of 8, and its three shards."""
    made = make_project(tmp_path_factory.mktemp("small"))
    return made, sharded(made.spec, made.folder / "shards", OF)


@pytest.fixture
def shards(small, tmp_path):
    """A copy of the project and of its shards, to be damaged."""
    made, _ = small
    shutil.copytree(made.folder, tmp_path / "project")
    folder = tmp_path / "project"
    return folder / made.spec.name, [folder / "shards" / f"shard-{n}" for n in range(1, OF + 1)]


@pytest.mark.parametrize("of", [1, 2, 3, 8])
def test_shards_joined_are_the_whole_run(spec, whole, tmp_path, of):
    report, folder = whole
    joined = merged(spec, tmp_path / "joined", sharded(spec, tmp_path, of))
    assert report.verdict is joined.verdict is Verdict.PASS
    assert joined.completion.proved
    assert_same_report(report, joined)
    assert_same_ledgers(folder, tmp_path / "joined")
    assert f"joined from {of} shard{'s' if of > 1 else ''}" in joined.notes
    assert joined.timings.evaluate == 0  # which the shards did
    assert "evaluating" not in (tmp_path / "joined" / "summary.md").read_text()


def test_the_order_of_the_folders_is_no_matter(small, tmp_path):
    made, folders = small
    assert_same_report(
        merged(made.spec, tmp_path / "one", folders),
        merged(made.spec, tmp_path / "two", folders[::-1]),
    )
    assert (tmp_path / "one" / LEDGER).read_bytes() == (tmp_path / "two" / LEDGER).read_bytes()


def test_more_shards_than_batches(tmp_path):
    made = make_project(tmp_path)
    whole = run(made.spec, tmp_path / "whole").report
    folders = sharded(made.spec, tmp_path, 8)
    assert sum((folder / LEDGER).exists() for folder in folders) == 5
    joined = merged(made.spec, tmp_path / "joined", folders)
    assert_same_report(whole, joined)
    assert_same_ledgers(tmp_path / "whole", tmp_path / "joined")


def test_auto_is_one_size_in_all_parts(tmp_path):
    text = SPEC.replace("run: {batch_size: 8}\n", "")
    made = make_project(tmp_path, spec=text, rows=600)
    folders = sharded(made.spec, tmp_path, 2)
    report = read_report(folders[1] / REPORT)
    assert (report.shard.grid, report.run.batch_size) == (256, 256)
    assert report.run.batch_size_from is BatchSizeFrom.PARTS
    [part] = report.shard.parts
    assert (part.start, part.stop, part.of) == (256, 600, 600)
    joined = merged(made.spec, tmp_path / "joined", folders)
    assert joined.verdict is Verdict.PASS
    assert sum("`run.batch_size: auto` is 256" in note for note in joined.notes) == 1


def test_a_run_in_parts_neither_ends_early_nor_compiles(tmp_path):
    text = SPEC.replace("batch_size: 8", "batch_size: 8, stop_early: true, compile: true").replace(
        "decisions: {decide_on: point}", "decisions: {on_underpowered: warn}"
    )
    made = make_project(tmp_path, spec=text, rows=4000)
    assert run(made.spec, tmp_path / "whole").report.stopped is not None
    joined = merged(made.spec, tmp_path / "joined", sharded(made.spec, tmp_path, 2))
    assert (joined.verdict, joined.stopped) == (Verdict.PASS, None)
    assert joined.completion.rows == 4000
    said = " ".join(joined.notes)
    assert "the run did not end early: that is decided in one process alone" in said
    assert "not compiled: parts of a run would not agree on whether that pays" in said


def test_what_a_run_in_parts_can_show_hangs_on_the_whole_level(tmp_path):
    """It cannot end early, so that nothing of its level is spent on looks."""
    text = SPEC.replace("batch_size: 8", "batch_size: 8, stop_early: true")
    text = text.replace("decisions: {decide_on: point}\n", "").replace("min: 0.9", "min: 0.99")
    made = make_project(tmp_path, spec=text, rows=400)
    joined = merged(made.spec, tmp_path / "joined", sharded(made.spec, tmp_path, 2))
    assert joined.verdict is Verdict.PASS, joined.reason


def test_a_shard_is_no_verdict(small):
    _, folders = small
    report = read_report(folders[0] / REPORT)
    assert (report.verdict, report.exit_code) == (Verdict.UNDECIDED, 4)
    assert report.gates == report.estimates == ()
    assert report.completion.rows == 8


def test_the_process_of_a_shard_succeeds_and_publishing_it_does_not(tmp_path):
    made = make_project(tmp_path)
    done = made.run("--shard", "2/3")
    assert done.returncode == 0, done.stdout + done.stderr
    assert "sign: shard 2 of 3 is done; `merge` judges them all\n" in done.stdout
    summary = (made.output / "summary.md").read_text()
    assert "Shard 2 of 3: nothing is judged before all of them are joined." in summary
    assert main(["publish", "--report", str(made.output / REPORT), "--no-comment"]) == 4


@pytest.mark.parametrize("arguments", [(), ("--shard", "1/3")])
def test_a_report_of_a_shard_that_nobody_asked_for_is_no_success(tmp_path, arguments):
    """Code of the repository can write what it likes into the output folder."""
    made = make_project(tmp_path)
    assert made.run("--shard", "2/3").returncode == 0
    forged = tmp_path / "forged.json"
    shutil.copy(made.output / REPORT, forged)
    body = "import os, shutil; here = os.path.dirname(__file__)\n        "
    body += "shutil.copy(here + '/forged.json', here + '/out/report.json'); os._exit(4)"
    (tmp_path / "model.py").write_text(MODEL.replace("return self.layer(x)", body))
    assert made.run(*arguments).returncode == 4


def test_a_shard_that_died_is_run_again(tmp_path):
    body = (
        "import pathlib, os, signal; marker = pathlib.Path(__file__).with_name('ran')\n"
        "        if not marker.exists(): marker.touch(); os.kill(os.getpid(), signal.SIGKILL)\n"
        "        return self.layer(x)"
    )
    made = make_project(tmp_path, model=MODEL.replace("return self.layer(x)", body))
    first = made.run("--shard", "1/2")
    assert first.returncode == 4
    one, two = tmp_path / "one", tmp_path / "two"
    shutil.copytree(made.output, one)
    assert made.run("--shard", "2/2").returncode == 0
    shutil.copytree(made.output, two)
    code, message = refusal(made.spec, tmp_path / "joined", [one, two])
    assert code == 4
    assert message == f"the shard in `{one}` did not finish: the evaluation was killed by SIGKILL"
    assert made.run("--shard", "1/2").returncode == 0
    shutil.copytree(made.output, one, dirs_exist_ok=True)
    assert merged(made.spec, tmp_path / "joined", [one, two]).verdict is Verdict.PASS


# --- refusals ---------------------------------------------------------------------------------


def refused(shards, tmp_path, *, folders=None):
    spec, known = shards
    return refusal(spec, tmp_path / "joined", known if folders is None else folders)


def test_a_missing_shard(shards, tmp_path):
    known = shards[1]
    assert refused(shards, tmp_path, folders=known[:1]) == (3, "2 of 3 shards are missing: 2, 3")


def test_a_shard_twice(shards, tmp_path):
    again = tmp_path / "again"
    shutil.copytree(shards[1][1], again)
    code, message = refused(shards, tmp_path, folders=[*shards[1], again])
    assert (code, message) == (
        3,
        f"shard 2 (`{shards[1][1]}`) is there again as `{again}`",
    )


def test_a_folder_without_a_report(shards, tmp_path):
    (shards[1][2] / REPORT).unlink()
    code, message = refused(shards, tmp_path)
    assert code == 4
    assert "has no report of a shard that can be used: `report.json` cannot be read" in message


def test_a_report_of_a_whole_run(shards, tmp_path):
    spec, known = shards
    run(spec, known[0])
    code, message = refused(shards, tmp_path)
    assert (code, message) == (3, f"`{known[0]}` has the report of a whole run")


def test_shards_of_another_count(shards, tmp_path):
    spec, known = shards
    run(spec, known[2], shard=Shard(2, 2))
    code, message = refused(shards, tmp_path)
    assert code == 3
    assert message == (f"shard 2 (`{known[2]}`) is one of 2, and shard 1 (`{known[0]}`) one of 3")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            lambda report: {"spec": replace(report.spec, sha256="0" * 64)},
            "another digest of the spec",
        ),
        (
            lambda report: {
                "checkpoint": replace(
                    report.checkpoint,
                    files=(replace(report.checkpoint.files[0], sha256="0" * 64),),
                )
            },
            "another digest of the weights than",
        ),
        (
            lambda report: {"heldout": replace(report.heldout, sha256="0" * 64)},
            "another digest of `heldout` than",
        ),
        (lambda report: {"run": replace(report.run, precision="bf16")}, "another precision than"),
        (lambda report: {"run": replace(report.run, seed=9)}, "another seed than"),
        (
            lambda report: {"environment": replace(report.environment, torch="1.0")},
            "another torch than",
        ),
        (lambda report: {"model_eval": "0.0"}, "another model-eval than"),
        (
            lambda report: {"shard": replace(report.shard, program="0" * 64)},
            "another digest of model-eval's own files than shard 1",
        ),
        (
            lambda report: {
                "environment": replace(
                    report.environment, device=replace(report.environment.device, used="cuda:0")
                )
            },
            "another kind of device than",
        ),
        (
            lambda report: {"shard": replace(report.shard, grid=4)},
            "another batch size than shard 1",
        ),
        (
            lambda report: {"shard": replace(report.shard, code="0" * 64)},
            "another digest of the code that the spec names than shard 1",
        ),
    ],
)
def test_shards_of_different_runs(shards, tmp_path, change, message):
    rewrite(shards[1][1], **change(read_report(shards[1][1] / REPORT)))
    code, said = refused(shards, tmp_path)
    assert code == 3
    assert message in said


def test_shards_of_another_build(small, tmp_path, monkeypatch):
    """Of the same version: what it computes may be something else."""
    made, folders = small
    monkeypatch.setattr("model_eval.joining.facts.digest_of_own_files", lambda: "0" * 64)
    code, message = refusal(made.spec, tmp_path / "joined", folders)
    assert code == 3
    assert message.startswith(
        "this run has another digest of model-eval's own files than the shards: "
    )


@pytest.mark.parametrize(
    ("start", "stop", "message"),
    [
        (8, 16, "samples 16 to 23 of `heldout` are in no shard"),
        (8, 32, "samples 24 to 31 of `heldout` are in two shards"),
        (0, 24, "samples 0 to 7 of `heldout` are in two shards"),
        (8, 50, "shard 2 (`{}`) has samples of `heldout` that there are not"),
    ],
)
def test_rows_twice_and_rows_that_are_missing(shards, tmp_path, start, stop, message):
    report = read_report(shards[1][1] / REPORT)
    known = report.shard
    assert [(part.start, part.stop) for part in known.parts] == [(8, 24)]
    part = replace(known.parts[0], start=start, stop=stop)
    rows = stop - start
    completion = replace(report.completion, rows=rows, distinct=rows, finite=rows)
    rewrite(shards[1][1], shard=replace(known, parts=(part,)), completion=completion)
    assert refused(shards, tmp_path) == (3, message.format(shards[1][1]))


@pytest.mark.parametrize("unknown", ["spec", "checkpoint", "heldout", "environment", "run"])
def test_a_report_that_does_not_say_what_was_run(shards, tmp_path, unknown):
    rewrite(shards[1][1], **{unknown: None})
    assert refused(shards, tmp_path) == (
        3,
        f"the report in `{shards[1][1]}` does not say what was run",
    )


def test_a_set_that_the_spec_does_not_have(shards, tmp_path):
    for folder in shards[1]:
        shard = read_report(folder / REPORT).shard
        part = PartInfo(heldout="other", start=0, stop=0, of=0)
        rewrite(folder, shard=replace(shard, parts=(*shard.parts, part)))
    assert refused(shards, tmp_path)[0] == 3


def test_a_set_of_which_the_shards_say_nothing(shards, tmp_path):
    for folder in shards[1]:
        shard = replace(read_report(folder / REPORT).shard, parts=())
        rewrite(folder, shard=shard, completion=None)
    assert refused(shards, tmp_path) == (3, "the shards have 0 of the 40 samples of `heldout`")


def test_the_ledger_of_another_shard(shards, tmp_path):
    known = shards[1]
    shutil.copy(known[2] / LEDGER, known[1] / LEDGER)
    assert refused(shards, tmp_path) == (
        4,
        f"`ledger.parquet` of shard 2 (`{known[1]}`) is not the file that its report is of",
    )


def test_a_ledger_that_says_that_it_is_another_part(shards, tmp_path):
    known = shards[1]
    shutil.copy(known[2] / LEDGER, known[1] / LEDGER)
    report = read_report(known[1] / REPORT)
    rewrite(known[1], shard=sealed(report, "heldout", known[1] / LEDGER).shard)
    assert refused(shards, tmp_path) == (
        3,
        f"`ledger.parquet` is not the ledger that the report of shard 2 (`{known[1]}`) is of",
    )


def test_the_ledger_of_a_whole_run(shards, tmp_path):
    spec, known = shards
    run(spec, tmp_path / "whole")
    shutil.copy(tmp_path / "whole" / LEDGER, known[0] / LEDGER)
    assert refused(shards, tmp_path)[0] == 4


@pytest.mark.parametrize("place", [0.1, 0.3, 0.5, 0.9])
def test_a_damaged_ledger(shards, tmp_path, place):
    path = shards[1][1] / LEDGER
    data = bytearray(path.read_bytes())
    at = int(place * len(data))
    data[at : at + 16] = bytes(16)
    path.write_bytes(data)
    code, message = refused(shards, tmp_path)
    assert code == 4
    assert "ledger" in message


@pytest.mark.parametrize("ending", ["missing", "empty", "half"])
def test_a_ledger_that_did_not_arrive(shards, tmp_path, ending):
    path = shards[1][1] / LEDGER
    data = path.read_bytes()
    path.unlink()
    if ending != "missing":
        path.write_bytes(data[: len(data) // 2 if ending == "half" else 0])
    code, message = refused(shards, tmp_path)
    assert code == 4
    assert "is not a ledger that can be used" in message


def test_the_spec_changed_since(shards, tmp_path):
    spec, _ = shards
    spec.write_text(spec.read_text().replace("min: 0.9", "min: 0.1"))
    code, message = refused(shards, tmp_path)
    assert code == 3
    assert message.startswith("this run has another digest of the spec than the shards: ")


def test_the_weights_changed_since(shards, tmp_path):
    spec, _ = shards
    path = spec.with_name("model.safetensors")
    data = path.read_bytes()
    path.write_bytes(data[:-1] + bytes([data[-1] ^ 1]))
    code, message = refused(shards, tmp_path)
    assert code == 3
    assert message.startswith("this run has another digest of the weights than the shards: ")


def test_the_code_changed_since(shards, tmp_path):
    spec, _ = shards
    path = spec.with_name("model.py")
    path.write_text(path.read_text().replace("return self", "return 2 * self"))
    code, message = refused(shards, tmp_path)
    assert code == 3
    assert message.startswith("this run has another digest of the code that the spec names than")


def test_the_set_changed_since(shards, tmp_path):
    spec, _ = shards
    path = spec.with_name("heldout.csv")
    lines = path.read_text().splitlines()
    lines[5] = lines[5].replace(".", ".1")
    path.write_text("\n".join(lines) + "\n")
    code, message = refused(shards, tmp_path)
    assert code == 3
    assert message.startswith("this run has another digest of `heldout` than the shards: ")


READS = "import json, pathlib\n" + MODEL.replace(
    "return self.layer(x)",
    "return json.loads(pathlib.Path(__file__).with_name('sign.json').read_text()) * self.layer(x)",
)


@pytest.mark.parametrize("others", [(1, 2, 3), (3,), (2,)])
def test_a_file_that_the_code_reads_changed_since(tmp_path, others):
    """No digest has it: what the model answers shows it."""
    made = make_project(tmp_path, model=READS)
    config = tmp_path / "sign.json"
    folders = []
    for index in range(1, OF + 1):
        config.write_text("1" if index in others else "-1")
        folders.append(tmp_path / f"shard-{index}")
        run(made.spec, folders[-1], shard=Shard(index, OF))
    config.write_text("-1")
    code, message = refusal(made.spec, tmp_path / "joined", folders)
    assert code == 3
    assert "the model answers something else here than in its shard: `" in message
    config.write_text("1")
    joined = merged(made.spec, tmp_path / "joined", folders)
    assert joined.verdict is (Verdict.PASS if others == (1, 2, 3) else Verdict.ERROR)


def test_golden_cases_are_run_again_where_shards_are_joined(tmp_path):
    """What the code reads may show in these alone."""
    rare = READS.replace("* self.layer(x)", "** (x[:, :1].abs() > 100).float() * self.layer(x)")
    golden = (
        "golden: {path: golden.csv, inputs: [{columns: [a, b], dtype: float32}], "
        "outputs: logit, id: name, tolerance: 0.01}\n"
    )
    made = make_project(tmp_path, model=rare, spec=SPEC + golden)
    (tmp_path / "golden.csv").write_text("name,a,b,logit\none,200,200,2000\n")
    (tmp_path / "sign.json").write_text("1")
    folders = sharded(made.spec, tmp_path / "shards", OF)
    assert merged(made.spec, tmp_path / "joined", folders).verdict is Verdict.PASS
    (tmp_path / "sign.json").write_text("-1")
    joined, whole = (
        merged(made.spec, tmp_path / "joined", folders),
        run(made.spec, tmp_path / "whole"),
    )
    assert joined.verdict is whole.report.verdict is Verdict.FAIL
    assert joined.reason == whole.report.reason


@pytest.mark.parametrize("other", [1, 2, 3])
def test_further_sets_are_held_against_the_model_too(tmp_path, other):
    """The main set may be too small for every shard, and may not show what its code reads."""
    body = (
        "sign = json.loads(pathlib.Path(__file__).with_name('sign.json').read_text())\n"
        "        return torch.where(x[:, :1].abs() > 100, sign, 1) * self.layer(x)"
    )
    model = "import json, pathlib\n" + MODEL.replace("return self.layer(x)", body)
    more = "{path: more.csv, inputs: [{columns: [a, b], dtype: float32}], target: label}"
    made = make_project(
        tmp_path, model=model, spec=f"{SPEC}more_heldout: {{more: {more}}}\n", rows=8
    )
    far = "".join(f"{sign * 200},{sign * 100},{int(sign > 0)}\n" for sign in (1, -1) * 12)
    (tmp_path / "more.csv").write_text("a,b,label\n" + far)
    folders = []
    for index in range(1, OF + 1):
        (tmp_path / "sign.json").write_text("-1" if index == other else "1")
        folders.append(tmp_path / f"shard-{index}")
        run(made.spec, folders[-1], shard=Shard(index, OF))
    assert [(folder / LEDGER).exists() for folder in folders] == [True, False, False]
    (tmp_path / "sign.json").write_text("1")
    code, message = refusal(made.spec, tmp_path / "joined", folders)
    assert code == 3
    found = re.match("for sample ([0-9]+) of `more` the model answers something else here", message)
    assert int(found[1]) // 8 == other - 1  # one of its shard's


@pytest.mark.parametrize(
    ("body", "output"),
    [
        ("torch.cat([torch.zeros_like(y), y], 1)", "float32 (2,)"),
        ("y.double()", "float64 (1,)"),
    ],
)
def test_outputs_of_another_kind_in_another_part(tmp_path, body, output):
    """As in a run that is not shared out, which refuses them from one batch to the next."""
    model = MODEL.replace(
        "return self.layer(x)", f"y = self.layer(x); return {body} if float(x.max()) > 50 else y"
    )
    made = make_project(tmp_path, model=model, rows=24)
    path = tmp_path / "heldout.csv"
    path.write_text(path.read_text() + "100,100,1\n" * 24)
    whole = run(made.spec, tmp_path / "whole").report
    assert "for every batch" in whole.faults[0].remedy
    folders = sharded(made.spec, tmp_path, 2)
    code, message = refusal(made.spec, tmp_path / "joined", folders)
    assert code == 3
    assert message == (
        f"shard 2 (`{folders[1]}`) has the output `{output}` per sample of `heldout`, and "
        f"shard 1 (`{folders[0]}`) `float32 (1,)`"
    )


# --- what only all parts together tell --------------------------------------------------------

PROBABILITIES = MODEL.replace("return self.layer(x)", "return self.layer(x).sigmoid()")


def test_outputs_that_look_like_probabilities_in_every_part(tmp_path):
    made = make_project(tmp_path, model=PROBABILITIES)
    whole = run(made.spec, tmp_path / "whole").report
    joined = merged(made.spec, tmp_path / "joined", sharded(made.spec, tmp_path, 2))
    assert whole.faults == joined.faults
    assert "the outputs of all 40 samples look like probabilities" in joined.reason


def test_outputs_that_look_like_probabilities_in_one_part(tmp_path):
    body = "return torch.where(x[:, :1] > 100, self.layer(x), self.layer(x).sigmoid())"
    model = MODEL.replace("return self.layer(x)", body)
    made = make_project(tmp_path, model=model, rows=80)
    path = tmp_path / "heldout.csv"
    path.write_text(path.read_text() + "1000,1000,1\n")
    folders = sharded(made.spec, tmp_path, 2)
    parts = [read_report(folder / REPORT).shard.parts[0] for folder in folders]
    assert [part.like_probabilities for part in parts] == [True, False]
    joined = merged(made.spec, tmp_path / "joined", folders)
    assert_same_report(run(made.spec, tmp_path / "whole").report, joined)


LOADER = """
import pathlib, torch

class Data(torch.utils.data.Dataset):
    def __init__(self):
        lines = pathlib.Path(__file__).with_name('heldout.csv').read_text().splitlines()[1:]
        self.rows = [[float(v) for v in line.split(',')] for line in lines]

    def __len__(self):
        return len(self.rows)

    def __getitem__(self, index):
        *x, y = self.rows[index]
        return torch.tensor(x), int(y)
"""


@pytest.fixture
def loader(tmp_path):
    text = SPEC.replace(
        "  path: heldout.csv\n  inputs: [{columns: [a, b], dtype: float32}]\n  target: label\n",
        '  loader: "data.py:Data"\n',
    )
    made = make_project(tmp_path, spec=text)
    (tmp_path / "data.py").write_text(LOADER)
    return made


def test_shards_of_a_loader(loader, tmp_path):
    whole = run(loader.spec, tmp_path / "whole").report
    assert whole.verdict is Verdict.PASS, whole.faults
    joined = merged(loader.spec, tmp_path / "joined", sharded(loader.spec, tmp_path, 3))
    assert_same_report(whole, joined)
    assert_same_ledgers(tmp_path / "whole", tmp_path / "joined")


def test_a_loader_that_gives_other_samples_now(loader, tmp_path):
    folders = sharded(loader.spec, tmp_path, 3)
    path = tmp_path / "heldout.csv"
    lines = path.read_text().splitlines()
    lines[20] = lines[20][:-1] + str(1 - int(lines[20][-1]))
    path.write_text("\n".join(lines) + "\n")
    code, message = refusal(loader.spec, tmp_path / "joined", folders)
    assert code == 3
    assert "the shards have other values of `target` than `heldout` has" in message


def test_a_loader_that_gives_other_inputs_now(loader, tmp_path):
    folders = sharded(loader.spec, tmp_path, 3)
    path = tmp_path / "heldout.csv"
    lines = path.read_text().splitlines()
    lines[21] = "0.5" + lines[21][lines[21].index(",") :]
    path.write_text("\n".join(lines) + "\n")
    code, message = refusal(loader.spec, tmp_path / "joined", folders)
    assert code == 3
    assert message == "samples 8 to 23 of `heldout` are not those that their shard was given"


def test_the_pin_of_a_loader_is_held_against_what_the_shards_were_given(loader, tmp_path):
    """Shards know no digest of the whole set: those of other data end, and are refused here."""
    pinned = run(loader.spec, tmp_path / "whole").report.heldout.sha256
    loader.spec.write_text(
        loader.spec.read_text().replace('data.py:Data"', f'data.py:Data"\n  sha256: "{pinned}"')
    )
    folders = sharded(loader.spec, tmp_path, 2)
    shard = read_report(folders[0] / REPORT)
    assert (shard.heldout.pinned, shard.heldout.sha256) == (False, "")  # nobody has checked it yet
    assert "`sha256:`" not in (folders[0] / "summary.md").read_text()
    report = merged(loader.spec, tmp_path / "joined", folders)
    assert report.verdict is Verdict.PASS
    assert (report.heldout.pinned, report.heldout.sha256) == (True, pinned)
    path = tmp_path / "heldout.csv"
    good = path.read_text()
    path.write_text(good.replace("\n-", "\n-1"))
    assert good != path.read_text()
    others = sharded(loader.spec, tmp_path, 2)
    assert "the spec pins" in refusal(loader.spec, tmp_path / "joined", others)[1]
    path.write_text(good)
    code, message = refusal(loader.spec, tmp_path / "joined", others)
    assert code == 3
    assert "are not those that their shard was given" in message


def after_now(process, made, folder):
    """The report of a shard, or of a merge, of a project whose code does something once `now` is there."""
    folders = sharded(made.spec, folder, 2)
    (folder / "now").touch()
    if process == "shard":
        return run(made.spec, folder / "again", shard=Shard(1, 2)).report
    return merged(made.spec, folder / "joined", folders)


@pytest.mark.parametrize("process", ["shard", "merge"])
def test_code_that_changes_while_it_runs(tmp_path, process):
    """Which of the two was imported nobody knows."""
    body = (
        "path = pathlib.Path(__file__); path.with_name('now').exists() and "
        "path.write_text(path.read_text().replace('return self', 'return -self'))\n"
        "        return self.layer(x)"
    )
    model = "import pathlib\n" + MODEL.replace("return self.layer(x)", body)
    if process == "merge":
        model = model.replace("super().__init__()", "super().__init__()\n        self(None)")
        model = model.replace("return self.layer(x)", "return None if x is None else self.layer(x)")
        model = model.replace("'return self'", "'return None'").replace("-self", "not None")
    made = make_project(tmp_path, model=model)
    report = after_now(process, made, tmp_path)
    assert report.exit_code == 3
    assert report.faults[0].message == (
        "a file of code that the spec names changed while it was being used"
    )


@pytest.mark.parametrize("process", ["shard", "merge"])
def test_a_model_eval_that_is_upgraded_while_it_runs(tmp_path, monkeypatch, process):
    """What ran is not what is there at the end, which the next shard would say it was run by, too."""
    package = tmp_path / "package"
    package.mkdir()
    (package / "module.py").write_text("of the release that ran")
    monkeypatch.setattr(own_files, "_PACKAGE", package)
    own_files.digest_of_own_files.cache_clear()
    body = (
        "super().__init__()\n        here = pathlib.Path(__file__).parent\n"
        "        if (here / 'now').exists(): (here / 'package/module.py').write_text('of the next')"
    )
    model = "import pathlib\n" + MODEL.replace("super().__init__()", body)
    made = make_project(tmp_path, model=model)
    try:
        report = after_now(process, made, tmp_path)
    finally:
        own_files.digest_of_own_files.cache_clear()
    assert (report.exit_code, report.faults[0].message) == (
        3,
        "the files of model-eval changed while it ran",
    )


def test_a_merge_that_is_stopped(small, tmp_path, monkeypatch):
    made, folders = small

    stop = Stop(deadline=True)
    monkeypatch.setattr("model_eval.run.parts.join", lambda *_: stop.take(signal.SIGALRM, None))
    [fault] = run(made.spec, tmp_path / "joined", shards=folders, stop=stop).report.faults
    assert fault.message == "the deadline came while the shards were being joined"


def test_a_merge_on_another_machine_says_so(shards, tmp_path):
    spec, folders = shards
    for folder in folders:
        here = read_report(folder / REPORT).environment
        device = replace(here.device, name="another processor")
        rewrite(folder, environment=replace(here, device=device, python="3.9.1"))
    report = merged(spec, tmp_path / "joined", folders)
    assert report.verdict is Verdict.PASS
    ran = f"another processor (Python 3.9.1, {here.platform})"
    own = f"{here.device.name} (Python {here.python}, {here.platform})"
    assert f"joined from 3 shards, which ran on {ran}; joined on {own}" in report.notes


@pytest.mark.parametrize(
    "change",
    [
        lambda report: {"run": replace(report.run, batch_size=-5)},
        lambda report: {"shard": replace(report.shard, grid=0)},
        lambda report: {"shard": replace(report.shard, index=7)},
        lambda report: {"shard": replace(report.shard, index=0)},
        lambda report: {"shard": replace(report.shard, of=10**12)},
        lambda report: {"shard": replace(report.shard, parts=report.shard.parts * 2)},
        lambda report: {"shard": replace(report.shard, parts=())},
        lambda report: {"completion": replace(report.completion, rows=1)},
        lambda report: {"completion": replace(report.completion, expected=41)},
        lambda report: {"completion": replace(report.completion, distinct=17)},
        lambda report: {"completion": replace(report.completion, finite=17)},
        lambda report: {"completion": None},
        lambda report: {
            "shard": replace(
                report.shard, parts=(replace(report.shard.parts[0], heldout="/../../x"),)
            ),
            "completion": None,
            "more_heldout": (
                SetInfo(name="/../../x", heldout=report.heldout, completion=report.completion),
            ),
        },
    ],
    ids=[
        "batch",
        "grid",
        "beyond",
        "before",
        "endless",
        "twice",
        "none",
        "rows",
        "expected",
        "distinct",
        "finite",
        "completion",
        "path",
    ],
)
def test_a_report_that_contradicts_itself(shards, tmp_path, change):
    rewrite(shards[1][1], **change(read_report(shards[1][1] / REPORT)))
    code, message = refused(shards, tmp_path)
    assert (code, message) == (3, f"the report in `{shards[1][1]}` contradicts itself")


@pytest.mark.parametrize("column", ["weight", "cluster", "slice:hospital"])
def test_a_column_that_the_spec_does_not_name(shards, tmp_path, column):
    for folder in shards[1]:
        rows = open_ledger(folder / LEDGER)
        extra = np.ones(len(rows))
        save_ledger(replace(rows, columns={**rows.columns, column: extra}), folder / LEDGER)
        report = sealed(read_report(folder / REPORT), "heldout", folder / LEDGER)
        rewrite(folder, shard=report.shard)
    assert refused(shards, tmp_path) == (
        3,
        f"the shards have the column `{column}`, and `heldout` not",
    )


# --- the command line -------------------------------------------------------------------------


@pytest.mark.parametrize("shard", ["0/3", "4/3", "1", "a/b", "-1/3", "1/5000", "1/2/3"])
def test_a_shard_that_there_is_not(tmp_path, shard):
    made = make_project(tmp_path)
    done = made.run(f"--shard={shard}")
    assert done.returncode == 2
    assert "argument --shard: " in done.stderr


def test_what_has_a_say_in_the_verdict_has_none_in_a_shard(tmp_path):
    made = make_project(tmp_path)
    done = made.run("--shard", "1/3", "--new-spec")
    assert done.returncode == 2
    assert "a shard is not judged" in done.stderr


def test_a_shard_in_process_needs_a_folder_too(tmp_path, capsys):
    made = make_project(tmp_path)
    assert main(["run", str(made.spec), "--shard", "1/3", "--in-process"]) == 2
    assert "a shard needs `--output`" in capsys.readouterr().err


def test_a_merge_in_process_does_not_remove_a_shard(tmp_path, capsys):
    made = make_project(tmp_path)
    folders = [tmp_path / "a", tmp_path / "b"]
    for folder in folders:
        folder.mkdir()
        (folder / REPORT).write_text("of a shard")
    merge = ["merge", str(made.spec), *map(str, folders), "--in-process"]
    assert main([*merge, "--output", f"{tmp_path}/b/../a"]) == 2
    assert "is a shard's folder, and would be overwritten" in capsys.readouterr().err
    assert all((folder / REPORT).exists() for folder in folders)


def test_a_merge_on_the_command_line(shards, tmp_path):
    spec, folders = shards
    command = [sys.executable, "-I", "-m", "model_eval", "merge", str(spec), *map(str, folders)]
    done = subprocess.run(
        [*command, "--output", str(tmp_path / "joined")],
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.endswith("sign: pass (exit 0): the required gate passed\n")
    assert read_report(tmp_path / "joined" / REPORT).completion.rows == 40
    over = subprocess.run(
        [*command, "--output", str(folders[0])],
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )
    assert over.returncode == 2
    assert "is a shard's folder, and would be overwritten" in over.stderr
    assert all((folder / REPORT).exists() for folder in folders)
