"""Runs that end as soon as their gates are decided: what they leave, and what they refuse."""

import json
import shutil

import numpy as np
import pyarrow.parquet as pq
import pytest

from builders.projects import MODEL, SPEC, make_project
from model_eval.errors import ReportError
from model_eval.output import LEDGER, REPORT, SUMMARY, read_report
from model_eval.report import from_json
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


def test_a_saved_ledger_of_a_run_that_ended_early_pairs_with_nothing(tmp_path, tmp_path_factory):
    project = against_itself(tmp_path, tmp_path_factory)
    assert project.run().returncode == 0
    shutil.copy(project.output / LEDGER, tmp_path / "before.parquet")
    project.spec.write_text((EARLY + DROP).replace("true}", "true, seed: 1}"))
    assert project.run().returncode == 4
    report = read_report(project.output / REPORT)
    assert (report.stopped, report.verdict) == (None, Verdict.UNDECIDED)
    assert "ids are not in the baseline" in report.baseline.refused


def test_near_the_threshold_it_goes_to_its_end_and_has_the_usual_interval(tmp_path):
    project = noisy(tmp_path, 0.1)
    assert project.run().returncode == 4
    report = read_report(project.output / REPORT)
    assert (report.stopped, report.completion.rows) == (None, ROWS)
    [gate] = report.gates
    assert gate.status is GateStatus.UNDECIDED
    assert (gate.interval.method, gate.interval.confidence) == ("jeffreys", pytest.approx(0.975))


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
            one["interval"].update(method="jeffreys")
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
