"""Costs, noise and control of whole runs: what an untrained model reaches is never a pass."""

import pytest

from builders.projects import MODEL, SPEC, make_project
from model_eval.output import REPORT, read_report
from model_eval.types import MetricRef, Verdict

FORWARD = "return self.layer(x)"
INIT = "self.layer = torch.nn.Linear(2, 1)"
RECALL_TOO = SPEC.replace("min: 0.9}", "min: 0.9}\n  - {metric: recall, min: 0.1}")


def reported(tmp_path, *, rows=200, **files):
    project = make_project(tmp_path, rows=rows, **files)
    done = project.run()
    report = read_report(project.output / REPORT)
    assert done.returncode == report.exit_code, done.stdout + done.stderr
    assert "Traceback" not in done.stdout + done.stderr
    return report


def test_a_trained_model_passes_its_control(tmp_path):
    report = reported(tmp_path)
    assert report.verdict is Verdict.PASS
    assert (report.control.worse, report.control.n, report.control.of) == (True, 200, 200)
    assert len(report.control.trials) in {2, 3}
    assert report.control.trials[0].metrics[0].checkpoint_value == 1


def test_a_result_that_does_not_hang_on_the_weights_is_no_pass(tmp_path):
    leaking = "return x.sum(dim=1, keepdim=True) + 0 * self.layer(x)"
    report = reported(tmp_path, model=MODEL.replace(FORWARD, leaking), spec=RECALL_TOO)
    assert all(str(gate.status) == "pass" for gate in report.gates)
    assert (report.verdict, report.exit_code) == (Verdict.UNDECIDED, 4)
    assert report.reason == "the checkpoint is no better than the same model untrained"
    assert report.control.worse is False
    assert [len(trial.metrics) for trial in report.control.trials] == [2, 2]


def test_the_control_can_be_turned_off(tmp_path):
    leaking = "return x.sum(dim=1, keepdim=True) + 0 * self.layer(x)"
    model = MODEL.replace(FORWARD, leaking)
    report = reported(tmp_path, model=model, spec=SPEC + "control: false\n")
    assert (report.verdict, report.control) == (Verdict.PASS, None)


def test_a_factory_that_returns_the_trained_model_has_no_control(tmp_path):
    trained = f"""{INIT}
        with torch.no_grad():
            self.layer.weight.copy_(torch.full((1, 2), 5.0))
            self.layer.bias.zero_()"""
    report = reported(tmp_path, model=MODEL.replace(INIT, trained))
    assert report.verdict is Verdict.PASS
    assert (report.control.worse, report.control.trials) == (None, ())
    assert report.control.skipped == (
        "the factory gives the checkpoint's own weights, not untrained ones"
    )


def test_a_factory_that_loads_other_weights_has_no_control(tmp_path):
    loads = f"{INIT}\n        torch.nn.init.constant_(self.layer.weight, 4.0); self.layer.bias.data.zero_()"
    report = reported(tmp_path, model=MODEL.replace(INIT, loads))
    assert report.verdict is Verdict.PASS
    assert report.control.skipped == "the factory gives the same weights whatever the seed"


def test_a_factory_that_can_be_called_only_twice_is_no_fault_of_the_checkpoint(tmp_path):
    # On the meta device and, where that does not do, for real: no more than that is needed.
    once = MODEL.replace(
        "super().__init__()",
        "super().__init__()\n        Net.calls = getattr(Net, 'calls', 0) + 1\n"
        "        if Net.calls > 2: raise RuntimeError('enough')",
    )
    report = reported(tmp_path, model=once)
    assert report.verdict is Verdict.PASS
    assert report.control.skipped.startswith(
        "no untrained model could be judged: `model.py:Net` raised RuntimeError: enough (model.py:"
    )


def test_few_samples_leave_the_control_open_and_the_verdict_alone(tmp_path):
    report = reported(tmp_path, rows=40)
    assert report.verdict is Verdict.PASS
    assert report.control.skipped == "40 samples are too few, it takes 100"


def test_the_control_changes_nothing_of_the_estimates(tmp_path):
    spec = SPEC.replace("[accuracy]", "[accuracy, log_loss, auroc]")
    with_it = reported(tmp_path / "with", spec=spec)
    without = reported(tmp_path / "without", spec=spec + "control: false\n")
    assert with_it.estimates == without.estimates
    assert with_it.noise == without.noise


def test_batch_statistics_are_noted(tmp_path):
    # Standardised over the batch: what one sample gets hangs on the others.
    body = "x = x - x.mean(dim=0) if len(x) > 1 else x\n        return self.layer(x)"
    report = reported(tmp_path, model=MODEL.replace(FORWARD, body), spec=SPEC.replace("0.9", "0.6"))
    assert report.noise.repeat_difference == 0
    assert report.noise.batch_difference > 0.1
    assert any("between sizes of batches" in note for note in report.notes)


def test_a_quiet_model_has_a_noise_floor_of_nothing(tmp_path):
    report = reported(tmp_path)
    assert report.noise.samples == 32
    assert report.noise.repeat_difference == 0
    assert report.noise.batch_difference < 1e-4
    assert report.noise.device_difference is None
    assert [one.difference for one in report.noise.metrics] == [0.0]
    assert report.noise.skipped == ()


COSTS = """
cost: {batch_size: 4, warmup: 2, runs: 100}
metrics: [accuracy, throughput, peak_memory_mb]
gates:
  - {metric: accuracy, min: 0.9}
  - {metric: latency_p95_ms, max: 60000}
"""


def costs(gates):
    return SPEC.partition("metrics:")[0] + COSTS.lstrip() + gates


@pytest.mark.parametrize(("most", "verdict"), [(3, Verdict.PASS), (2, Verdict.FAIL)])
def test_gates_on_costs(tmp_path, most, verdict):
    size = f"  - {{metric: parameters, max: {most}}}\n"
    report = reported(tmp_path, spec=costs(size) + "decisions: {confidence: 0.9}\n")
    assert report.verdict is verdict
    found = {one.metric.name: one for one in report.estimates}
    assert list(found) == [
        "accuracy",
        "throughput",
        "peak_memory_mb",
        "latency_p95_ms",
        "parameters",
    ]
    assert found["parameters"].value == 3
    latency = found["latency_p95_ms"]
    assert latency.n == report.cost.runs == 100
    assert 0 < latency.interval.low <= latency.value <= latency.interval.high
    assert latency.interval.confidence == 0.9
    assert found["throughput"].value == pytest.approx(4 * 100 / report.cost.seconds)
    # Of a process with torch in it.
    assert 50 < found["peak_memory_mb"].value < 50_000


def test_nothing_is_timed_where_no_cost_needs_it(tmp_path):
    spec = SPEC.replace("[accuracy]", "[accuracy, parameters, model_size_mb]")
    report = reported(tmp_path, spec=spec)
    assert report.cost is None
    found = {one.metric: one.value for one in report.estimates}
    assert found[MetricRef(name="model_size_mb")] == report.checkpoint.files[0].size / 1e6


def test_a_model_that_dies_while_it_is_timed_is_no_pass(tmp_path):
    body = f"""if len(x) == 3: import os; os._exit(0)
        {FORWARD}"""
    spec = costs("").replace("batch_size: 4", "batch_size: 3")
    project = make_project(tmp_path, model=MODEL.replace(FORWARD, body), spec=spec, rows=200)
    assert project.run().returncode == 4
    assert read_report(project.output / REPORT).verdict is Verdict.ERROR
