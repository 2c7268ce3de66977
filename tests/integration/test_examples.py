"""Every example: one spec passes, its sibling fails for a real reason, and the numbers are right."""

import json
import shutil
import subprocess
import sys

import jsonschema
import numpy as np
import pytest
import sklearn.metrics as reference

from builders.reports import ROOT
from model_eval.ledger import open_ledger
from model_eval.output import LEDGER, REPORT, SUMMARY, read_report
from model_eval.types import GateStatus, Severity, Task, Verdict

EXAMPLES = sorted(path.parent.name for path in ROOT.glob("examples/*/model-eval.yaml"))


def run(spec, output):
    return subprocess.run(
        [sys.executable, "-I", "-m", "model_eval", "run", str(spec), "--output", str(output)],
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.fixture(scope="module", params=EXAMPLES)
def passing(request, tmp_path_factory):
    output = tmp_path_factory.mktemp(request.param)
    done = run(ROOT / "examples" / request.param / "model-eval.yaml", output)
    assert done.returncode == 0, done.stdout + done.stderr
    return output


def test_there_are_three():
    assert EXAMPLES == ["breast-cancer", "diabetes", "digits"]


def test_a_passing_run_writes_three_files_and_a_valid_report(passing):
    assert sorted(path.name for path in passing.iterdir()) == sorted([REPORT, SUMMARY, LEDGER])
    schema = json.loads((ROOT / "schemas/report.schema.json").read_text())
    jsonschema.validate(json.loads((passing / REPORT).read_text()), schema)
    report = read_report(passing / REPORT)
    assert report.verdict is Verdict.PASS
    assert report.completion.proved
    assert report.checkpoint.parameters == report.checkpoint.parameters_from_file
    assert report.heldout.disjoint_from


def test_the_metrics_are_those_of_scikit_learn(passing):
    report, ledger = read_report(passing / REPORT), open_ledger(passing / LEDGER)
    seen = {estimate.metric.label: estimate.value for estimate in report.estimates}
    target, predicted = ledger["target"], ledger["prediction"]
    if ledger.task is Task.REGRESSION:
        expected = {
            "r2": reference.r2_score(target, predicted),
            "mse": reference.mean_squared_error(target, predicted),
            "rmse": reference.root_mean_squared_error(target, predicted),
            "mae": reference.mean_absolute_error(target, predicted),
        }
    else:
        scores = ledger["probability"].astype(np.float64)
        multiclass = ledger.task is Task.MULTICLASS
        if multiclass:
            scores /= scores.sum(axis=1, keepdims=True)
        expected = {
            "accuracy": reference.accuracy_score(target, predicted),
            "f1_macro": reference.f1_score(target, predicted, average="macro"),
            "auroc": reference.roc_auc_score(target, scores, multi_class="ovr"),
            "log_loss": reference.log_loss(target, scores),
        }
        if multiclass:
            recall = reference.recall_score(target, predicted, average=None)
            expected["recall[eight]"] = recall[8]
        else:
            expected |= {
                "precision": reference.precision_score(target, predicted),
                "recall": reference.recall_score(target, predicted),
                "f1": reference.f1_score(target, predicted),
                "average_precision": reference.average_precision_score(target, scores),
            }
    assert set(seen) <= set(expected)
    for label, value in seen.items():
        # A multiclass ledger holds probabilities in float32, its log loss in float64.
        tolerance = 1e-6 if label == "log_loss" else 1e-9
        assert value == pytest.approx(expected[label], rel=tolerance), label


@pytest.mark.parametrize("example", EXAMPLES)
def test_the_sibling_fails_for_its_checkpoint(example, tmp_path):
    folder = ROOT / "examples" / example
    done = run(folder / "model-eval-failing.yaml", tmp_path)
    assert done.returncode == 1, done.stdout + done.stderr
    report = read_report(tmp_path / REPORT)
    assert report.verdict is Verdict.FAIL
    required = [gate for gate in report.gates if gate.severity is Severity.REQUIRED]
    assert any(gate.status is GateStatus.FAIL for gate in required)
    passing = (folder / "model-eval.yaml").read_text().splitlines()
    failing = (folder / "model-eval-failing.yaml").read_text().splitlines()
    changed = [b.split(":")[0].strip() for a, b in zip(passing, failing, strict=True) if a != b]
    assert changed == ["name", "path"]


@pytest.mark.parametrize("precision", ["bf16", "fp16"])
@pytest.mark.parametrize("example", EXAMPLES)
def test_half_precision_is_judged_too(example, precision, tmp_path):
    folder = tmp_path / example
    shutil.copytree(ROOT / "examples" / example, folder)
    spec = folder / "model-eval.yaml"
    text = spec.read_text()
    assert "\nrun:" not in text
    spec.write_text(f"{text}\nrun: {{precision: {precision}}}\n")
    done = subprocess.run(
        [sys.executable, "-I", "-m", "model_eval", "run", spec, "--output", tmp_path / "out"],
        cwd=folder,
        capture_output=True,
        text=True,
        check=False,
    )
    report = read_report(tmp_path / "out" / REPORT)
    assert report.run.precision == precision
    assert report.completion.proved
    # What half precision costs is for the gates to say; the run itself must come to its end.
    assert done.returncode == (0 if report.verdict is Verdict.PASS else 1), (
        done.stdout + done.stderr
    )
    assert report.noise.samples > 0
