"""Runs that end as soon as their gates are decided: what they leave, and what they refuse."""

import json
import re
import shutil
import time
from contextlib import nullcontext

import numpy as np
import pyarrow.parquet as pq
import pytest

from builders.projects import MODEL, SPEC, make_project
from model_eval.errors import ReportError
from model_eval.output import LEDGER, REPORT, SUMMARY, read_report
from model_eval.report import from_json, to_json
from model_eval.run import BaseBranch, evaluate
from model_eval.types import SEQUENCE, GateStatus, Verdict

EARLY = SPEC.replace("batch_size: 8", "batch_size: 8, stop_early: true").replace(
    "decisions: {decide_on: point}\n", ""
)
ROWS = 3_000


def noisy(folder, share, **more):
    """The labels of so many of the rows are turned round."""
    project = make_project(folder, spec=EARLY, rows=ROWS, **more)
    file = folder / "heldout.csv"
    header, *lines = file.read_text().splitlines()
    wrong = np.random.default_rng(2).random(len(lines)) < share
    turned = [
        f"{line[:-1]}{1 - int(line[-1])}" if bad else line
        for line, bad in zip(lines, wrong, strict=True)
    ]
    file.write_text("\n".join([header, *turned]) + "\n")
    return project


def test_a_good_model_passes_on_a_part_of_the_samples(tmp_path):
    project = noisy(tmp_path, 0.02)
    done = project.run()
    assert done.returncode == 0, done.stdout + done.stderr
    report = read_report(project.output / REPORT)
    samples = report.stopped.samples
    assert 500 <= samples < 1_000
    assert report.stopped.of == ROWS
    counted = report.completion
    assert (counted.expected, counted.rows, counted.distinct) == (samples, samples, samples)
    [gate] = report.gates
    assert (gate.status, gate.interval.method, gate.flip) == (GateStatus.PASS, SEQUENCE, None)
    assert gate.interval.low >= 0.9
    assert report.control.n == samples
    assert f"the run ended after {samples} of 3,000 samples" in done.stdout
    summary = (project.output / SUMMARY).read_text()
    assert f"The required gate passed on {samples} of 3,000 samples." in summary
    # The first of a random order, each once: not the first of the file.
    ids = pq.read_table(project.output / LEDGER)["id"].to_numpy()
    assert np.array_equal(ids, np.random.default_rng(0).permutation(ROWS)[:samples])


def test_a_bad_model_fails_on_a_part_of_the_samples(tmp_path):
    project = noisy(tmp_path, 0.2)
    assert project.run().returncode == 1
    report = read_report(project.output / REPORT)
    assert (report.verdict, report.stopped.samples < 1_000) == (Verdict.FAIL, True)


DROP = "  - {metric: accuracy, max_drop: 0.05}\nbaseline: {ledger: before.parquet}\n"


def against_itself(folder, tmp_path_factory):
    """A run against the ledger of a whole run of the same model."""
    before = noisy(tmp_path_factory.mktemp("before"), 0.02)
    before.spec.write_text(EARLY.replace(", stop_early: true", ""))
    assert before.run().returncode == 0
    project = noisy(folder, 0.02)
    project.spec.write_text(EARLY + DROP)
    shutil.copy(before.output / LEDGER, folder / "before.parquet")
    return project


def test_a_drop_is_decided_on_a_part_of_a_saved_ledger(tmp_path, tmp_path_factory):
    project = against_itself(tmp_path, tmp_path_factory)
    done = project.run()
    assert done.returncode == 0, done.stdout + done.stderr
    report = read_report(project.output / REPORT)
    assert (report.stopped.samples < 1_500, report.baseline.refused) == (True, None)
    [drop] = [gate for gate in report.gates if gate.bound == "max_drop"]
    assert (drop.status, drop.value, drop.interval.method) == (GateStatus.PASS, 0, SEQUENCE)
    assert 0 < drop.interval.high <= 0.05


@pytest.mark.parametrize("seed", [0, 1])
def test_a_saved_ledger_of_a_run_that_ended_early_pairs_with_nothing(
    tmp_path, tmp_path_factory, seed
):
    """Nor with the same seed, where it would have the same samples if this run ended no later."""
    project = against_itself(tmp_path, tmp_path_factory)
    assert project.run().returncode == 0
    shutil.copy(project.output / LEDGER, tmp_path / "before.parquet")
    project.spec.write_text((EARLY + DROP).replace("true}", f"true, seed: {seed}}}"))
    assert project.run().returncode == 4
    report = read_report(project.output / REPORT)
    assert (report.stopped, report.verdict) == (None, Verdict.UNDECIDED)
    assert "ids are not in the baseline" in report.baseline.refused


def test_nor_where_the_run_that_is_compared_ends_early_on_the_same_samples(
    tmp_path, tmp_path_factory
):
    project = against_itself(tmp_path, tmp_path_factory)
    assert project.run().returncode == 0
    shutil.copy(project.output / LEDGER, tmp_path / "before.parquet")
    advisory = DROP.replace("max_drop: 0.05", "max_drop: 0.05, severity: advisory")
    assert advisory != DROP
    project.spec.write_text(EARLY + advisory)
    assert project.run().returncode == 0
    report = read_report(project.output / REPORT)
    seen = report.stopped.samples
    assert report.baseline.refused == f"it has {seen:,} of the 3,000 samples"
    assert report.gates[-1].status is not GateStatus.PASS


@pytest.mark.parametrize(("rows", "ends"), [(400, False), (512, False), (513, True)])
def test_a_set_in_which_no_run_can_end_early_keeps_its_whole_level(tmp_path, rows, ends):
    project = make_project(tmp_path, spec=EARLY.replace("min: 0.9", "min: 0.99"), rows=rows)
    done = project.run()
    assert done.returncode == 0 or ends, done.stdout + done.stderr
    report = read_report(project.output / REPORT)
    note = f"the run did not end early: no run does before 512 samples, and there are {rows}"
    assert (note in report.notes) is not ends
    if not ends:
        assert report.gates[0].interval.confidence == pytest.approx(0.95)


def test_a_stated_batch_size_is_what_ran(tmp_path):
    project = noisy(tmp_path, 0.02)
    project.spec.write_text(EARLY.replace("batch_size: 8", "batch_size: 1024"))
    assert project.run().returncode == 0
    report = read_report(project.output / REPORT)
    assert report.run.batch_size == 256
    assert "batches have 256 samples: after so many it is asked" in " ".join(report.notes)


def test_intervals_of_several_levels_say_theirs(tmp_path):
    project = noisy(tmp_path, 0.1)
    project.spec.write_text(EARLY.replace("metrics: [accuracy]", "metrics: [accuracy, f1]"))
    project.run()
    summary = (project.output / SUMMARY).read_text()
    metrics = summary[summary.index("<summary>Metrics") :]
    assert re.search(r"`accuracy`.* to \S+ \(0\.975\)", metrics)
    assert re.search(r"`f1`.* to \S+ \(0\.95\)", metrics)
    assert "0.975 interval" not in summary


def test_near_the_threshold_it_goes_to_its_end_and_has_the_usual_interval(tmp_path):
    project = noisy(tmp_path, 0.1)
    assert project.run().returncode == 4
    report = read_report(project.output / REPORT)
    assert (report.stopped, report.completion.rows) == (None, ROWS)
    [gate] = report.gates
    assert gate.status is GateStatus.UNDECIDED
    assert (gate.interval.method, gate.interval.confidence) == (
        "clopper-pearson",
        pytest.approx(0.975),
    )


def test_outputs_that_are_not_finite_never_end_it_early(tmp_path):
    body = "return self.layer(x) / (x.sum() != 0) if self.training else self.layer(x).log().neg()"
    project = noisy(tmp_path, 0.02, model=MODEL.replace("return self.layer(x)", body))
    assert project.run().returncode == 4
    report = read_report(project.output / REPORT)
    assert (report.verdict, report.stopped, report.completion.rows) == (
        Verdict.UNDECIDED,
        None,
        ROWS,
    )


def test_a_run_that_dies_on_its_way_is_not_one_that_ended_early(tmp_path):
    body = "self.calls = getattr(self, 'calls', 0) + 1\n        "
    body += "if self.calls > 30: os._exit(0)\n        return self.layer(x)"
    project = noisy(
        tmp_path, 0.02, model="import os\n" + MODEL.replace("return self.layer(x)", body)
    )
    assert project.run().returncode == 4
    report = read_report(project.output / REPORT)
    assert (report.verdict, report.stopped) == (Verdict.ERROR, None)


def judged(project, base=None, allow_loosening=False):
    """The report of a run in this process, against the base branch's spec where one is given."""
    branch = None
    if base is not None:
        path = project.folder / "base.yaml"
        path.write_text(base)
        branch = BaseBranch(spec=path, allow_loosening=allow_loosening)
    done = evaluate(
        project.spec,
        roots=[project.folder],
        progress=lambda _: nullcontext(lambda _: None),
        clock=time.monotonic,
        base=branch,
    )
    assert from_json(to_json(done.report)) == done.report
    return done.report


def test_what_is_not_of_the_samples_in_order_is_whole(tmp_path):
    """Further sets, golden cases and costs; a slice has a value and no interval."""
    project = noisy(tmp_path, 0.02)
    part = (tmp_path / "heldout.csv").read_text().splitlines()
    (tmp_path / "other.csv").write_text("\n".join(part[:301]) + "\n")
    rows = [(1.0, 0.5), (-1.0, 0.25)]
    cases = [f"{i},{a},{b},{5 * (a + b)}" for i, (a, b) in enumerate(rows)]
    (tmp_path / "golden.csv").write_text("\n".join(["name,a,b,logit", *cases]) + "\n")
    project.spec.write_text(
        EARLY.replace(
            "  target: label\n", "  target: label\n  slices: [{name: right, where: a > 0}]\n"
        )
        + "  - {metric: parameters, max: 10}\n"
        + "  - {metric: f1, min: 0.5, severity: advisory}\n"
        + "  - {metric: accuracy, slice: right, min: 0.5, severity: advisory}\n"
        + "  - {metric: accuracy, heldout: other, min: 0.5, severity: advisory}\n"
        + "more_heldout:\n  other: {path: other.csv, inputs: [{columns: [a, b], dtype: float32}], "
        "target: label}\n"
        "golden: {path: golden.csv, inputs: [{columns: [a, b], dtype: float32}], outputs: logit, "
        "id: name, tolerance: 0.001}\n"
    )
    report = judged(project)
    assert (report.verdict, report.reason) == (Verdict.PASS, "all 3 required gates passed")
    assert 500 <= report.stopped.samples < 1_000
    counted = {one.name: one.completion.rows for one in report.more_heldout}
    assert counted == {"other": 300, "golden": 2}
    undecided = [gate for gate in report.gates if gate.status is GateStatus.UNDECIDED]
    assert [(gate.metric.name, gate.slice) for gate in undecided] == [
        ("f1", None),
        ("accuracy", "right"),
    ]
    assert all("the run ended early" in gate.reason for gate in undecided)


def test_a_loader_is_read_to_its_end_and_only_a_part_is_given_to_the_model(tmp_path):
    project = noisy(tmp_path, 0.02)
    (tmp_path / "data.py").write_text(LOADER)
    project.spec.write_text(
        re.sub(r"heldout:\n(  .*\n)+", 'heldout: {loader: "data.py:rows"}\n', EARLY)
    )
    report = judged(project)
    assert (report.verdict, report.stopped.of) == (Verdict.PASS, 3_000)
    assert report.completion.rows == report.stopped.samples < 1_000
    assert len(report.heldout.sha256) == 64


LOADER = """
import torch

def rows():
    x = torch.randn((3000, 2), generator=torch.Generator().manual_seed(0))
    return torch.utils.data.TensorDataset(x, (x.sum(dim=1) > 0).long())
"""


def test_a_gate_of_the_base_branch_that_cannot_be_decided_early_makes_the_run_a_whole_one(tmp_path):
    base = EARLY + "  - {metric: f1, min: 0.9}\n"
    base = base.replace(", stop_early: true", "")
    report = judged(noisy(tmp_path, 0.02), base)
    assert (report.stopped, report.completion.rows, report.verdict) == (None, ROWS, Verdict.FAIL)
    assert [one.status for one in report.base_gates] == [GateStatus.PASS]
    assert [one.what for one in report.loosened] == ["gate f1", "run.stop_early"]
    note = (
        "the run did not end early: a gate of the base branch can be decided on all samples alone"
    )
    assert note in report.notes


def test_where_loosening_is_allowed_the_base_branch_holds_nothing_up(tmp_path):
    base = (EARLY + "  - {metric: f1, min: 0.9}\n").replace(", stop_early: true", "")
    report = judged(noisy(tmp_path, 0.02), base, allow_loosening=True)
    assert (report.verdict, report.stopped.samples < 1_000) == (Verdict.PASS, True)
    assert [one.status for one in report.base_gates] == [GateStatus.UNDECIDED]


def test_a_stricter_gate_of_the_base_branch_is_waited_for(tmp_path):
    project = noisy(tmp_path, 0.02)
    alone = judged(project)
    report = judged(project, EARLY.replace("min: 0.9", "min: 0.95"), allow_loosening=False)
    assert (report.verdict, report.base_gates[0].status) == (Verdict.FAIL, GateStatus.PASS)
    assert alone.stopped.samples < report.stopped.samples


def test_further_gates_do_not_leave_open_what_fails_in_the_base_branch(tmp_path):
    """They share the level at which a run that may end early fails, and what is open does not block."""
    project = noisy(tmp_path, 0.1)
    # Between the upper ends at the level of one gate and of five.
    least = round(judged(project).gates[0].value + 0.0138, 4)
    base = EARLY.replace("min: 0.9", f"min: {least}")
    easy = "".join(
        f"  - {{metric: {name}, min: 0.5}}\n" for name in ("precision", "recall", "specificity")
    )
    decisions = "decisions: {on_undecided: advisory}\n"
    project.spec.write_text(base + decisions)
    assert judged(project, base + decisions).verdict is Verdict.FAIL
    project.spec.write_text(base + easy + "  - {metric: brier_score, max: 0.5}\n" + decisions)
    assert judged(project).verdict is Verdict.PASS
    report = judged(project, base + decisions)
    assert (report.verdict, report.loosened, report.stopped) == (Verdict.FAIL, (), None)
    assert (
        "the run did not end early: more gates share its level than in the base branch, where one "
        "does not block while it is undecided"
    ) in report.notes


@pytest.fixture(scope="module")
def ended(tmp_path_factory):
    """The report of a run that ended early, as JSON."""
    project = noisy(tmp_path_factory.mktemp("ended"), 0.02)
    assert project.run().returncode == 0
    return (project.output / REPORT).read_text()


def forged(text, change):
    document = json.loads(text)
    change(document)
    return json.dumps(document).encode()


def test_the_report_is_judged_again_as_it_was(ended):
    report = from_json(ended.encode())
    assert (report.verdict, report.stopped.of) == (Verdict.PASS, ROWS)


FORGERIES = {
    "more samples than were counted": (
        lambda d: d["stopped"].update(samples=d["stopped"]["samples"] + 1),
        "claims a run that ended early and does not show one",
    ),
    "all of them": (
        lambda d: d["stopped"].update(of=d["stopped"]["samples"]),
        "claims a run that ended early and does not show one",
    ),
    "none asked for": (
        lambda d: d["run"].update(stop_early=False),
        "claims a run that ended early and does not show one",
    ),
    "a run to its end": (
        lambda d: d.update(stopped=None),
        "has intervals of a run that ended early, and it did not",
    ),
    "an interval of all samples": (
        lambda d: [
            one["interval"].update(method="clopper-pearson")
            for one in (*d["estimates"], *d["gates"])
            if one["interval"]
        ],
        "does not follow from it",
    ),
}


@pytest.mark.parametrize("name", FORGERIES)
def test_a_forged_end_is_refused(ended, name):
    change, message = FORGERIES[name]
    with pytest.raises(ReportError, match=message):
        from_json(forged(ended, change))
