"""Baselines, golden cases, further sets, weights and slices in whole runs: never a pass without proof."""

import fcntl
import os
import shutil
import subprocess
import time
from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from builders.projects import MODEL, SPEC, make_project
from builders.samples import with_columns
from model_eval.baseline import revision
from model_eval.ledger import save
from model_eval.output import REPORT, read_report
from model_eval.report import from_json, to_json
from model_eval.run import evaluate
from model_eval.types import GateStatus, Verdict

PASS, FAIL, UNDECIDED = GateStatus
ROWS = 400


def weights_file(path, weight):
    state = {"layer.weight": torch.tensor([weight]), "layer.bias": torch.zeros(1)}
    save_file(state, path)


def project(folder, changes="", *, gates=None, spec=SPEC, heldout="", model=MODEL):
    """A project that passes, with more keys, other gates or more keys of the held-out set."""
    spec = spec.replace("decisions: {decide_on: point}\n", "decisions: {on_underpowered: warn}\n")
    if gates is not None:
        spec = spec.replace(
            "  - {metric: accuracy, min: 0.9}\n", "".join(f"  - {{{one}}}\n" for one in gates)
        )
    spec = spec.replace("  target: label\n", f"  target: label\n{heldout}")
    made = make_project(folder, spec=spec + changes, rows=ROWS, model=model)
    weights_file(folder / "worse.safetensors", [5.0, -1.0])
    weights_file(folder / "close.safetensors", [5.0, 4.9])
    return made


def add_column(made, name, value):
    """A column of the held-out set: `value` is called with the number of the row."""
    path = made.folder / "heldout.csv"
    head, *rows = path.read_text().splitlines()
    lines = [f"{row},{value(index)}" for index, row in enumerate(rows)]
    path.write_text("\n".join([f"{head},{name}", *lines]) + "\n")


def run(made, *more_roots):
    done = evaluate(
        made.spec, roots=[made.folder, *more_roots], progress=lambda _: nullcontext(lambda _: None),
        clock=time.monotonic,
    )  # fmt: skip
    assert from_json(to_json(done.report)) == done.report
    return done


def judged(made, *more_roots):
    return run(made, *more_roots).report


def error(made):
    report = judged(made)
    assert report.verdict is Verdict.ERROR
    [fault] = report.faults
    assert fault.location is not None
    return report.exit_code, fault.message


# --- a baseline -----------------------------------------------------------------------------

DROP = ("metric: accuracy, min: 0.9", "metric: accuracy, max_drop: 0.02")


def test_the_same_checkpoint_does_not_drop_at_all(tmp_path):
    gates = (*DROP, "metric: f1_macro, max_drop: 0", "metric: log_loss, max_relative_rise: 0")
    gates = [gate for gate in gates if "f1_macro" not in gate]
    shutil.copy(
        make_project(tmp_path / "x").folder / "model.safetensors", tmp_path / "same.safetensors"
    )
    made = project(tmp_path, "baseline: {checkpoint: same.safetensors}\n", gates=gates)
    report = judged(made)
    assert report.verdict is Verdict.PASS, report.reason
    assert report.baseline.identical
    assert {one.interval.method for one in report.comparisons} == {"identical"}
    assert (report.baseline.flips.gained, report.baseline.flips.lost) == (0, 0)


@pytest.mark.parametrize(
    ("baseline", "model", "status", "flips"),
    [
        ("worse", "model", PASS, (1, 0)),
        ("model", "worse", FAIL, (0, 1)),
        ("close", "model", PASS, (1, 0)),
    ],
)
def test_a_baselines_checkpoint(tmp_path, baseline, model, status, flips):
    spec = SPEC.replace("path: model.safetensors", f"path: {model}.safetensors")
    made = project(
        tmp_path, f"baseline: {{checkpoint: {baseline}.safetensors}}\n",
        gates=("metric: accuracy, min: 0.1", "metric: accuracy, max_drop: 0.03"), spec=spec,
    )  # fmt: skip
    report = judged(made)
    assert report.gates[1].status is status
    assert not report.baseline.identical
    [comparison] = report.comparisons
    found = report.baseline.flips
    assert (found.gained > 0, found.lost > 0) == tuple(map(bool, flips))
    assert comparison.difference == pytest.approx((found.gained - found.lost) / ROWS)
    assert comparison.interval.low < comparison.difference < comparison.interval.high


CACHED = MODEL.replace(
    "    def forward(self, x):\n        return self.layer(x)\n",
    """
    @lru_cache(maxsize=8)
    def ones(self, n, m=1):
        return torch.ones(n * m)

    def forward(self, x):
        return self.layer(x) * self.ones(1, m=1)
""",
)


@pytest.mark.parametrize("cache", ["lru_cache(maxsize=8)", "cache"])
def test_a_cached_method_that_was_called_on_the_candidate(tmp_path, cache):
    """The cache is the class's, and holds every model that it was called on, untrained ones too."""
    made = project(tmp_path, "baseline: {checkpoint: close.safetensors}\n", gates=DROP)
    model = CACHED.replace("lru_cache(maxsize=8)", cache)
    (tmp_path / "model.py").write_text(f"from functools import cache, lru_cache\n{model}")
    report = judged(made)
    assert report.verdict is Verdict.PASS, report.reason
    assert report.control.worse


@pytest.mark.parametrize(
    ("more", "forward", "message"),
    [
        (
            "    first = []\n",
            "self.first.append(self); return self.first[0].layer(x)",
            "`close.safetensors` does not hold all of the model's weights: a Linear in `first`",
        ),
        (
            "    first = []\n    @lru_cache\n    def one(self, n):\n        return n\n",
            "FIRST.append(self); FIRST[0].one(1); return FIRST[0].layer(x)",
            "weights that are not the checkpoint's were made during the evaluation: a Linear in `one`",
        ),
        (
            "    @lru_cache\n    def one(n):\n        return FIRST[0].layer\n",
            "FIRST.append(self); return Net.one(1)(x)",
            "`close.safetensors` does not hold all of the model's weights: a Linear in `one`",
        ),
    ],
    ids=["attribute", "key", "value"],
)
def test_a_baseline_that_runs_the_candidates_layers_is_refused(tmp_path, more, forward, message):
    made = project(tmp_path, "baseline: {checkpoint: close.safetensors}\n", gates=DROP)
    model = MODEL.replace("    def forward", f"{more}\n    def forward")
    model = model.replace("return self.layer(x)", forward)
    (tmp_path / "model.py").write_text(f"from functools import lru_cache\nFIRST = []\n{model}")
    assert error(made)[1].startswith(message)


def with_ledger(tmp_path, change, **options):
    """Runs with a ledger as the baseline that an earlier run left, and somebody changed."""
    first = run(project(tmp_path / "before"))
    path = tmp_path / "project" / "ledger.parquet"
    made = project(
        tmp_path / "project", "baseline: {ledger: ledger.parquet}\n", gates=DROP, **options
    )
    save(change(first.ledgers["heldout"]), path)
    return judged(made)


def columns(ledger, **changes):
    return replace(ledger, columns={**ledger.columns, **changes})


def test_a_saved_ledger(tmp_path):
    report = with_ledger(tmp_path, lambda ledger: ledger)
    assert report.verdict is Verdict.PASS
    assert (report.baseline.kind, report.baseline.refused) == ("ledger", None)
    # The predictions of another run are not known to be of the same model.
    assert not report.baseline.identical
    assert report.comparisons[0].interval.low < 0 < report.comparisons[0].interval.high


@pytest.mark.parametrize(
    "wrong", ["ledger: heldout.csv", "git: nowhere", f"ledger: heldout.csv, sha256: {'a' * 64}"]
)
def test_a_baseline_that_is_not_there_is_missed_before_the_model_is_loaded(tmp_path, wrong):
    report = judged(project(tmp_path, f"baseline: {{{wrong}}}\n", gates=DROP))
    [fault] = report.faults
    assert (fault.code, report.exit_code, report.checkpoint) == ("baseline", 3, None)


def test_a_saved_ledger_is_the_one_of_before_the_run(tmp_path):
    path = tmp_path / "project" / "ledger.parquet"
    spoiled = MODEL.replace("return self", f"open({str(path)!r}, 'wb').close(); return self")
    report = with_ledger(tmp_path, lambda ledger: ledger, model=spoiled)
    assert path.stat().st_size == 0
    assert (report.verdict, report.baseline.refused) == (Verdict.PASS, None)


def test_a_saved_ledger_of_other_weights_is_weighted_as_this_run_is(tmp_path):
    skewed = with_ledger(
        tmp_path,
        lambda ledger: with_columns(ledger, weight=np.where(ledger["target"] == 1, 1.0, 0)),
    )
    assert skewed.comparisons[0].baseline == 1.0


REFUSED = {
    "other-ids": (
        lambda ledger: columns(ledger, id=ledger["id"] + 1),
        "1 of 400 ids are not in the baseline (first: 0)",
    ),
    "fewer-ids": (
        lambda ledger: replace(ledger, columns={k: v[:-1] for k, v in ledger.columns.items()}),
        "1 of 400 ids are not in the baseline (first: 399)",
    ),
    "other-targets": (
        lambda ledger: columns(ledger, target=np.where(ledger["id"] == 5, 1 - ledger["target"], ledger["target"])),
        "1 samples have other targets (first id: 5)",
    ),
    "other-classes": (
        lambda ledger: replace(ledger, classes=("a", "b")),
        "its classes are others, or in another order",
    ),
    "another-set": (
        lambda ledger: replace(ledger, heldout="0" * 64),
        "its held-out set is another (sha256:000000000000",
    ),
}  # fmt: skip


@pytest.mark.parametrize(("change", "reason"), REFUSED.values(), ids=REFUSED)
def test_a_baseline_of_other_samples_decides_nothing(tmp_path, change, reason):
    report = with_ledger(tmp_path, change)
    assert (report.verdict, report.exit_code) == (Verdict.UNDECIDED, 4)
    assert report.baseline.refused.startswith(reason)
    assert report.comparisons == ()
    [plain, drop] = report.gates
    assert plain.status is PASS
    assert (drop.status, drop.blocks) == (UNDECIDED, True)
    assert drop.reason == f"nothing was compared: {report.baseline.refused}"


def test_a_baseline_of_another_task_decides_nothing(tmp_path):
    from builders.ledgers import regression_ledger

    report = with_ledger(tmp_path, lambda _: regression_ledger(np.zeros(ROWS), np.zeros(ROWS)))
    assert report.verdict is Verdict.UNDECIDED
    assert report.baseline.refused == "it is a ledger of a regression task, and this is binary"


def test_a_baseline_that_is_broken(tmp_path):
    made = project(tmp_path, "baseline: {ledger: ledger.parquet}\n", gates=DROP)
    (tmp_path / "ledger.parquet").write_text("no ledger")
    code, message = error(made)
    assert code in {3, 4}
    assert message.startswith(f"`{tmp_path / 'ledger.parquet'}` is not a ledger that can be used")
    made = project(tmp_path, "baseline: {checkpoint: old.safetensors}\n", gates=DROP)
    (tmp_path / "old.safetensors").write_text("no checkpoint")
    assert "old.safetensors" in error(made)[1]


def git(folder, *arguments):
    subprocess.run(
        ["git", "-c", "user.name=a", "-c", "user.email=a@example.org", "-C", folder, *arguments],
        check=True,
        capture_output=True,
    )


@pytest.mark.skipif(shutil.which("git") is None, reason="git is not installed")
def test_a_git_ref(tmp_path):
    made = project(tmp_path, "baseline: {git: before}\n", gates=DROP)
    shutil.copy(tmp_path / "model.safetensors", tmp_path / "good.safetensors")
    shutil.copy(tmp_path / "worse.safetensors", tmp_path / "model.safetensors")
    git(tmp_path, "init", "-q")
    git(tmp_path, "add", ".")
    git(tmp_path, "commit", "-qm", "before")
    git(tmp_path, "tag", "before")
    shutil.copy(tmp_path / "good.safetensors", tmp_path / "model.safetensors")
    report = judged(made)
    assert report.verdict is Verdict.PASS, report.reason
    assert (report.baseline.source, report.baseline.kind) == ("before", "git")
    assert report.comparisons[0].difference > 0.1
    assert report.baseline.flips.lost == 0

    # Against itself, and against a ref whose samples are others.
    shutil.copy(tmp_path / "worse.safetensors", tmp_path / "model.safetensors")
    report = judged(made)
    assert report.comparisons[0].difference == 0
    add_column(made, "more", str)
    report = judged(made)
    assert report.verdict is not Verdict.PASS
    assert report.baseline.refused.startswith("its held-out set is another")

    for ref, why in (
        ("nowhere", "git does not find `nowhere`"),
        ("--output=x", "git does not find `--output=x`"),
    ):
        spec = made.spec.read_text()
        made.spec.write_text(spec.replace("git: before", f"git: {ref}"))
        assert error(made)[1].startswith(why)
        made.spec.write_text(spec)

    (tmp_path / "empty").mkdir()
    git(tmp_path, "rm", "-q", "--cached", "model.safetensors")
    git(tmp_path, "commit", "-qm", "without")
    git(tmp_path, "tag", "-f", "before")
    assert error(made)[1].startswith("the spec of `before` could not be evaluated: ")


SLEEPS = """
        import os, pathlib, time
        if "model-eval-baseline-" in __file__:
            pathlib.Path({pid!r}).write_text(str(os.getpid()))
            time.sleep(60)
        return self.layer(x)"""


def is_over(pid):
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z"
    except OSError:
        return True


def wait_for(what):
    end = time.monotonic() + 60
    while not what():
        assert time.monotonic() < end
        time.sleep(0.05)


@pytest.mark.skipif(shutil.which("git") is None, reason="git is not installed")
@pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="Linux ends it")
def test_another_revision_ends_with_the_run_and_its_folder_with_the_next(tmp_path):
    made = project(tmp_path / "project", "baseline: {git: before}\n", gates=DROP)
    pid, scratch = tmp_path / "pid", tmp_path / "scratch"
    scratch.mkdir()
    sleeps = SLEEPS.format(pid=str(pid)).lstrip()
    (made.folder / "model.py").write_text(MODEL.replace("return self.layer(x)", sleeps))
    for command in (["init", "-q"], ["add", "."], ["commit", "-qm", "before"], ["tag", "before"]):
        git(made.folder, *command)
    environ = {**os.environ, "TMPDIR": str(scratch), "OMP_NUM_THREADS": "1"}
    child = subprocess.Popen(
        made.command(), env=environ, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    wait_for(lambda: pid.exists() and pid.read_text())
    child.kill()
    child.wait()
    wait_for(lambda: is_over(pid.read_text()))

    assert len(list(scratch.glob("model-eval-baseline-*"))) == 1
    in_use = scratch / "model-eval-baseline-used"
    in_use.mkdir()
    with (in_use / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_SH)
        made.spec.write_text(made.spec.read_text().replace("git: before", "git: HEAD"))
        (made.folder / "model.py").write_text(MODEL)
        git(made.folder, "commit", "-qam", "now")
        assert made.run(TMPDIR=str(scratch)).returncode == 0
    assert list(scratch.glob("model-eval-baseline-*")) == [in_use]


def test_a_folder_that_another_run_has_removed_is_made_anew(tmp_path, monkeypatch):
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    waits = revision.flock
    asked = []

    def removed(lock, how):
        waits(lock, how)
        if how == fcntl.LOCK_SH and not asked:  # another run was faster, and is done with it
            [folder] = tmp_path.glob("model-eval-baseline-*")
            shutil.rmtree(folder)
        asked.append(how)

    monkeypatch.setattr(revision, "flock", removed)
    with revision._scratch() as folder:
        assert (folder / "lock").exists()
    assert asked == [fcntl.LOCK_SH] * 2
    assert list(tmp_path.iterdir()) == []


def committed(folder):
    git(folder, "init", "-q")
    git(folder, "add", ".")
    git(folder, "commit", "-qm", "before")
    git(folder, "tag", "before")
    shown = ["git", "-C", folder, "rev-parse", "HEAD"]
    return subprocess.run(shown, check=True, capture_output=True, text=True).stdout.strip()


READING = """
from pathlib import Path
import torch
class Net(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.layer = torch.nn.Linear(2, 1)
        self.scale = float(Path(NAME).read_text())
    def forward(self, x):
        return self.layer(x) * self.scale
"""


@pytest.mark.skipif(shutil.which("git") is None, reason="git is not installed")
@pytest.mark.parametrize("folder", ["", "sub", "empty"])
def test_a_git_ref_is_run_in_the_same_folder_of_its_own_tree(tmp_path, monkeypatch, folder):
    made = project(tmp_path, "baseline: {git: before}\n", gates=DROP)
    name = "scale.dat" if folder != "empty" else "../scale.dat"
    (tmp_path / "model.py").write_text(READING.replace("NAME", repr(name)))
    for one in (tmp_path, tmp_path / "sub"):
        one.mkdir(exist_ok=True)
        (one / "scale.dat").write_text("-1")
    commit = committed(tmp_path)
    (tmp_path / "empty").mkdir()
    for one in (tmp_path, tmp_path / "sub"):
        (one / "scale.dat").write_text("1")
    monkeypatch.chdir(tmp_path / folder)
    report = judged(made)
    assert report.verdict is Verdict.PASS, report.reason
    assert report.comparisons[0].difference > 0.9
    assert report.baseline.commit == commit


GOING = """
import os
from pathlib import Path
import torch
SCALE = float(Path("scale.dat").read_text())
os.chdir(PLACE)
class Net(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.layer = torch.nn.Linear(2, 1)
    def forward(self, x):
        return self.layer(x) * SCALE
"""


@pytest.mark.skipif(shutil.which("git") is None, reason="git is not installed")
@pytest.mark.parametrize("started", ["root", "elsewhere"])
def test_a_git_ref_is_run_where_the_run_was_started(tmp_path, monkeypatch, started):
    made = project(tmp_path / "root", "baseline: {git: before}\n", gates=DROP)
    for one in ("elsewhere", "root/sub"):
        (tmp_path / one).mkdir()
    (tmp_path / started / "scale.dat").write_text("1")
    place = repr(str(tmp_path / "root/sub"))
    (made.folder / "model.py").write_text(GOING.replace("PLACE", place))
    committed(made.folder)
    monkeypatch.chdir(tmp_path / started)
    report = judged(made)
    assert report.verdict is Verdict.PASS, report.reason


SIGNED = """
import os
import torch
class Net(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.layer = torch.nn.Linear(2, 1)
    def forward(self, x):
        return self.layer(x) * float(os.environ.get("SIGN_OF_NET", "1"))
"""


@pytest.mark.skipif(shutil.which("git") is None, reason="git is not installed")
def test_a_git_ref_has_the_environment_of_before_the_models_code(tmp_path, monkeypatch):
    """Or a model that is worse by what it sets would make its baseline as bad."""
    monkeypatch.setenv("SIGN_OF_NET", "1")  # which is set back afterwards
    made = project(tmp_path, "baseline: {git: before}\n", gates=DROP)
    (tmp_path / "model.py").write_text(SIGNED)
    committed(tmp_path)
    worse = SIGNED.replace("import os\n", "import os\nos.environ['SIGN_OF_NET'] = '-1'\n")
    (tmp_path / "model.py").write_text(worse)
    report = judged(made)
    assert report.verdict is not Verdict.PASS
    assert report.comparisons[0].difference < -0.9


@pytest.mark.skipif(shutil.which("git") is None, reason="git is not installed")
def test_a_git_ref_has_all_its_files_and_its_links_and_runs_no_hook(tmp_path):
    made = project(tmp_path, "baseline: {git: before}\n", gates=DROP)
    name = str(tmp_path / "nowhere")
    (tmp_path / "model.py").write_text(
        READING.replace("NAME", "__file__.replace('model.py', 'scale.dat')")
    )
    (tmp_path / "scale.dat").write_text("-1")
    (tmp_path / ".gitattributes").write_text("*.dat export-ignore\n")
    (tmp_path / "absolute").symlink_to(name)
    committed(tmp_path)
    hook = tmp_path / ".git/hooks/post-index-change"
    hook.parent.mkdir(exist_ok=True)
    hook.write_text(f"#!/bin/sh\ntouch {tmp_path}/hooked\n")
    hook.chmod(0o755)
    (tmp_path / "scale.dat").write_text("1")
    report = judged(made)
    assert report.verdict is Verdict.PASS, report.reason
    assert report.comparisons[0].difference > 0.9
    assert not (tmp_path / "hooked").exists()


@pytest.mark.skipif(shutil.which("git") is None, reason="git is not installed")
def test_a_git_ref_whose_own_gates_cannot_pass_is_compared_all_the_same(tmp_path):
    """Or nobody could merge what corrects them."""
    made = project(tmp_path, "baseline: {git: before}\n", gates=DROP)
    spec = made.spec.read_text().replace(
        "on_underpowered: warn", "on_underpowered: refuse, min_samples: 9999"
    )
    made.spec.write_text(spec)
    committed(tmp_path)
    report = judged(made)
    [fault] = report.faults
    assert (fault.code, report.exit_code, report.checkpoint) == ("heldout-power", 3, None)
    assert fault.message.endswith(": 400 samples are fewer than min_samples, 9,999")
    assert fault.remedy == "add samples, or lower `min_samples`"
    made.spec.write_text(spec.replace("min_samples: 9999", "min_samples: 400"))
    assert judged(made).verdict is Verdict.PASS


@pytest.mark.skipif(shutil.which("git") is None, reason="git is not installed")
def test_a_git_ref_may_read_what_this_run_may(tmp_path):
    folder = tmp_path / "project"
    folder.mkdir()
    made = project(folder, "baseline: {git: before}\n", gates=DROP)
    (tmp_path / "data").mkdir()
    (folder / "heldout.csv").rename(tmp_path / "data/heldout.csv")
    spec = made.spec.read_text()
    made.spec.write_text(spec.replace("path: heldout.csv", f"path: {tmp_path}/data/heldout.csv"))
    committed(folder)
    report = judged(made, tmp_path / "data")
    assert report.verdict is Verdict.PASS, report.reason
    assert report.baseline.commit is not None


@pytest.mark.skipif(shutil.which("git") is None, reason="git is not installed")
def test_a_git_ref_that_cannot_be_laid_out_is_an_error_that_says_so(tmp_path, monkeypatch):
    made = project(tmp_path, "baseline: {git: before}\n", gates=DROP)
    committed(tmp_path)
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path / "missing"))
    said = "the files of `before` cannot be laid out: No such file or directory"
    assert error(made)[1] == said
    monkeypatch.undo()
    objects = [path for path in (tmp_path / ".git/objects").rglob("*") if path.is_file()]
    name = subprocess.run(
        ["git", "-C", tmp_path, "rev-parse", "HEAD:heldout.csv"],
        check=True, capture_output=True, text=True,
    ).stdout.strip()  # fmt: skip
    [blob] = [path for path in objects if path.parent.name + path.name == name]
    blob.unlink()
    assert error(made)[1].startswith("git cannot lay out the files of `before`: ")


# --- golden cases ---------------------------------------------------------------------------


def test_a_stop_in_the_baseline_counts_its_samples_too(tmp_path):
    made = project(
        tmp_path,
        "golden: {path: golden.csv, inputs: [{columns: [a, b], dtype: float32}], outputs: logit}\n"
        "baseline: {checkpoint: worse.safetensors}\n",
    )
    (tmp_path / "golden.csv").write_text("a,b,logit\n0,0,0\n1,1,10\n")
    stops = """
        if self.layer.weight[0, 1] == -1:
            os.kill(os.getpid(), signal.SIGALRM)
        return self.layer(x)""".lstrip()
    model = "import os, signal\n" + MODEL.replace("return self.layer(x)", stops)
    (tmp_path / "model.py").write_text(model)
    assert made.run("--deadline", "600").returncode == 4
    [fault] = read_report(made.output / REPORT).faults
    assert fault.message == "the deadline came after 402 of 802 samples"


def golden(tmp_path, rows, tolerance=0.001, **options):
    made = project(
        tmp_path,
        "golden: {path: golden.csv, inputs: [{columns: [a, b], dtype: float32}], outputs: logit, "
        f"id: name, tolerance: {tolerance}}}\n",
        **options,
    )
    lines = [",".join(map(str, row)) for row in rows]
    (tmp_path / "golden.csv").write_text("\n".join(["name,a,b,logit", *lines]) + "\n")
    return judged(made)


SAME = [("plain", 1, 1, 10), ("negative", -1, 0.5, -2.5)]


def test_golden_cases_that_are_as_they_were(tmp_path):
    report = golden(tmp_path, SAME)
    assert report.verdict is Verdict.PASS, report.reason
    assert report.gates[-1].metric.name == "golden_difference"
    assert report.more_heldout[-1].completion.rows == 2


def test_a_golden_case_that_changed_fails_and_is_named(tmp_path):
    report = golden(tmp_path, [*SAME, ("moved", 1, 0, 5.5)])
    assert report.verdict is Verdict.FAIL
    assert report.gates[-1].value == pytest.approx(0.5)
    assert "1 of 3 golden cases changed: `moved`" in report.notes


def test_a_golden_case_without_a_finite_output_decides_nothing(tmp_path):
    report = golden(tmp_path, [*SAME, ("endless", 1e38, 1e38, 0)])
    assert report.verdict is Verdict.UNDECIDED
    assert report.gates[-1].reason == "undefined: the output of endless is not finite"


# --- further sets, weights, slices ----------------------------------------------------------


def test_a_further_set_has_gates_of_its_own(tmp_path):
    made = project(
        tmp_path,
        "more_heldout:\n  shifted: {path: shifted.csv, inputs: [{columns: [a, b], dtype: float32}], "
        "target: label}\n",
        gates=("metric: accuracy, min: 0.9", "metric: accuracy, heldout: shifted, min: 0.9"),
    )
    head, *rows = (tmp_path / "heldout.csv").read_text().splitlines()
    (tmp_path / "shifted.csv").write_text("\n".join([head, *rows[:100]]) + "\n")
    done = run(made)
    assert done.report.verdict is Verdict.PASS, done.report.reason
    assert set(done.ledgers) == {"heldout", "shifted"}
    assert [gate.n for gate in done.report.gates] == [ROWS, 100]
    wrong = [f"{row[:-1]}{1 - int(row[-1])}" for row in rows[:100]]
    (tmp_path / "shifted.csv").write_text("\n".join([head, *wrong]) + "\n")
    report = judged(made)
    assert [gate.status for gate in report.gates] == [PASS, FAIL]
    (tmp_path / "shifted.csv").write_text("\n".join([head, *rows[:3]]) + "\n")
    assert [gate.status for gate in judged(made).gates] == [PASS, UNDECIDED]


@pytest.mark.parametrize(
    ("value", "shown"), [("-1", "-1"), ("inf", "inf"), ("-inf", "-inf"), ("nan", None), ("", None)]
)
def test_weights_that_are_none(tmp_path, value, shown):
    made = project(tmp_path, heldout="  weight: w\n")
    add_column(made, "w", lambda index: value if index == 7 else "1.5")
    code, message = error(made)
    assert code == 3
    assert "`w`" in message or "weight" in message
    assert shown is None or shown in message


def test_huge_and_tiny_weights(tmp_path):
    for factor in ("1e300", "1e-300"):
        made = project(tmp_path / factor, heldout="  weight: w\n")
        add_column(made, "w", lambda index, factor=factor: factor if index % 2 else "0")
        report = judged(made)
        assert report.verdict is Verdict.PASS, report.reason
        assert report.gates[0].n == ROWS // 2


def test_weights_of_nothing_decide_nothing(tmp_path):
    made = project(tmp_path, heldout="  weight: w\n")
    add_column(made, "w", lambda _: "0")
    report = judged(made)
    assert report.verdict is Verdict.UNDECIDED
    assert report.gates[0].value is None


def test_all_weight_on_a_few_samples_decides_nothing(tmp_path):
    made = project(tmp_path, heldout="  weight: w\n")
    add_column(made, "w", lambda index: "1e9" if index < 3 else "1e-9")
    report = judged(made)
    assert report.verdict is Verdict.UNDECIDED
    assert report.gates[0].reason.startswith("the interval [0.292402, 1] of 1 contains 0.9")


def sliced(tmp_path, *gates, slices="[site, {column: a, bins: [0, 99]}]", sites="ab"):
    made = project(
        tmp_path, gates=("metric: accuracy, min: 0.9", *gates), heldout=f"  slices: {slices}\n"
    )
    add_column(made, "site", lambda index: sites[index % len(sites)])
    return made


def test_slices(tmp_path):
    made = sliced(
        tmp_path,
        "metric: accuracy, slices: site, min: 0.9",
        "metric: accuracy, slices: site, max_gap: 0.2",
        "metric: accuracy, slice: {site: a}, min: 0.9",
        "metric: accuracy, slice: a<0, min: 0.9",
    )
    report = judged(made)
    assert [gate.status for gate in report.gates] == [PASS] * 5
    # All are right on every site, and what was not seen may still differ.
    [gap] = report.gaps
    assert gap.value == gap.interval.low == 0
    assert 0.01 < gap.interval.high < 0.05


@pytest.mark.parametrize(
    ("gate", "reason"),
    [
        ("metric: accuracy, slice: {site: gone}, min: 0.9", "no sample is in the slice"),
        ("metric: accuracy, slice: a≥99, min: 0.9", "undefined: there are no samples"),
        (
            "metric: accuracy, slices: a, min: 0.9",
            "1 of 3 slices undecided, a≥99: undefined: there are no samples",
        ),
        ("metric: accuracy, slices: a, max_gap: 0.1", "undefined: no sample is in a≥99"),
    ],
)
@pytest.mark.parametrize("on_undecided", ["undecided", "fail", "advisory"])
def test_a_slice_that_vanished_is_no_pass(tmp_path, gate, reason, on_undecided):
    report = judged(sliced(tmp_path, f"{gate}, on_undecided: {on_undecided}"))
    assert report.verdict is Verdict.UNDECIDED
    assert report.gates[1].reason == reason
    assert report.gates[1].blocks


@pytest.mark.parametrize(
    ("slices", "message"),
    [
        ("[site, {where: a > 0, name: site=a}]", "two slices are called `site=a`"),
        ("[{column: site, bins: [1]}]", "the column `site` holds text, and `bins` are of numbers"),
        ("[a]", "`a` has more than 200 values, and a family has at most so many slices"),
        ("[{where: site > 1}]", "the condition `site > 1` cannot be evaluated: "),
    ],
)
def test_what_cannot_be_divided_is_said_before_the_model_is_loaded(tmp_path, slices, message):
    report = judged(sliced(tmp_path, slices=slices))
    [fault] = report.faults
    assert (report.exit_code, report.checkpoint) == (3, None)
    assert fault.message.startswith(message)
    assert fault.location is not None


# --- what a reviewer found -------------------------------------------------------------------


def further(tmp_path, keys, *, model=None):
    made = project(
        tmp_path / "p",
        "more_heldout:\n  other: {path: heldout.csv, inputs: [{columns: [a, b], dtype: float32}], "
        f"target: label, {keys}}}\n",
        gates=["metric: accuracy, min: 0.9", "metric: accuracy, heldout: other, min: 0.9"],
    )
    if model:
        path = made.folder / "model.py"
        path.write_text(path.read_text() + model)
    return made


def test_a_further_set_is_transformed_in_its_own_way(tmp_path):
    blank = "\ndef blank(x):\n    return x * 0 - 1\n"
    report = judged(further(tmp_path, "transform: model.py:blank", model=blank))
    assert [gate.status for gate in report.gates] == [PASS, FAIL]
    assert report.gates[1].value < 0.7


def test_a_further_set_cannot_read_the_outputs_in_another_order(tmp_path):
    made = further(tmp_path, "classes: ['1', '0']")
    made.spec.write_text(
        made.spec.read_text().replace(
            "  target: label\n", "  target: label\n  classes: ['0', '1']\n", 1
        )
    )
    path = made.folder / "heldout.csv"
    head, *rows = path.read_text().splitlines()
    rows = [row[:-1] + {"0": "no", "1": "yes"}[row[-1]] for row in rows]
    path.write_text("\n".join([head, *rows]) + "\n")
    text = made.spec.read_text()
    made.spec.write_text(text.replace("['0', '1']", "[no, yes]").replace("['1', '0']", "[yes, no]"))
    assert error(made) == (
        3,
        "the classes of the held-out set `other` are not those of the main set in the same order",
    )


@pytest.mark.parametrize(
    ("key", "message"),
    [("ledger", "and the spec pins another"), ("checkpoint", "digest")],
)
def test_a_pinned_baseline_cannot_be_replaced(tmp_path, key, message):
    file = "old.parquet" if key == "ledger" else "close.safetensors"
    made = project(
        tmp_path / "p", f"baseline: {{{key}: {file}, sha256: {'a' * 64}}}\n", gates=[DROP[1]]
    )
    save(next(iter(run(project(tmp_path / "q")).ledgers.values())), made.folder / "old.parquet")
    code, shown = error(made)
    assert code == 3
    assert message in shown or "sha256" in shown


def test_a_baseline_without_a_pin_is_noted(tmp_path):
    made = project(tmp_path / "p", "baseline: {checkpoint: close.safetensors}\n", gates=DROP)
    assert any("baseline.sha256" in note for note in judged(made).notes)
