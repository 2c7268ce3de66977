"""Runs as users have them: the report names the device, and its numbers are those of a CPU."""

import os
import re
import subprocess
import sys

import pytest
import torch

from builders.projects import MODEL, SPEC, make_project
from builders.reports import ROOT
from builders.shards import evidence
from model_eval.output import REPORT, read_report
from model_eval.types import Verdict

ENVIRON = {
    name: value
    for name, value in os.environ.items()
    if name in {"PATH", "LD_LIBRARY_PATH", "PYTHONPATH", "HOME"}
} | {"OMP_NUM_THREADS": "2"}  # several tests at once must not each take every core


def run(spec, output, *arguments, **environ):
    command = [sys.executable, "-m", "model_eval", "run", str(spec), "--output", str(output)]
    done = subprocess.run(
        [*command, *arguments],
        env=ENVIRON | environ,
        capture_output=True,
        text=True,
        timeout=200,
        check=False,
    )
    report = read_report(output / REPORT, exit_status=done.returncode)
    return done, report


def on(folder, device, *gates):
    """The example with all the evidence, on a device."""
    spec = evidence(folder)
    text = spec.read_text().replace("device: cpu", f"device: {device}")
    more = "".join(f"  - {gate}\n" for gate in gates)
    spec.write_text(text.replace("gates:\n", f"gates:\n{more}"))
    return spec


def plain(folder, settings):
    """The newcomer's example, with what `run:` says."""
    evidence(folder)
    spec = folder / "model-eval.yaml"
    spec.write_text(f"{spec.read_text()}\nrun: {settings}\n")
    return spec


def values(report):
    return {
        (one.heldout, one.metric.label): one.value
        for one in report.estimates
        if one.value is not None and not one.metric.name.startswith(("latency", "throughput"))
    }


@pytest.fixture(scope="module")
def on_cpu(tmp_path_factory):
    folder = tmp_path_factory.mktemp("cpu")
    done, report = run(on(folder / "project", "cpu"), folder / "out")
    assert report.verdict is Verdict.PASS, done.stdout + done.stderr
    return report


@pytest.mark.parametrize("requested", ["auto", "cuda:0"])
def test_the_verdict_is_that_of_a_cpu(device, tmp_path, on_cpu, requested):
    spec = on(tmp_path / "project", requested, "{metric: peak_device_memory_mb, max: 2000}")
    done, report = run(spec, tmp_path / "out")
    assert report.verdict is Verdict.PASS, done.stdout + done.stderr
    found = report.environment.device
    assert (found.requested, found.used) == (requested, "cuda:0")
    assert found.name == torch.cuda.get_device_name(device)
    assert found.driver
    assert found.runtime == f"CUDA {torch.version.cuda}"
    assert report.heldout.sha256 == on_cpu.heldout.sha256
    assert report.checkpoint.digest == on_cpu.checkpoint.digest
    ours, theirs = values(report), values(on_cpu)
    for key in theirs:
        if "memory" not in key[1]:
            assert ours[key] == pytest.approx(theirs[key], rel=1e-4, abs=1e-5), key
    assert 0 < ours[("heldout", "peak_device_memory_mb")] < 1_000
    assert 0 < report.noise.device_difference < 1e-4
    assert report.noise.batch_difference < 1e-4
    assert report.noise.skipped == ()


@pytest.mark.parametrize(
    "settings",
    ["{precision: bf16}", "{precision: fp16, memory_format: channels_last}",
     "{precision: tf32, batch_size: 1000}", "{compile: true}"],
)  # fmt: skip
def test_what_a_run_can_ask_for(device, tmp_path, settings):
    done, report = run(plain(tmp_path / "project", settings), tmp_path / "out")
    assert report.verdict is Verdict.PASS, done.stdout + done.stderr
    assert report.environment.device.used == "cuda:0"
    [accuracy] = [one.value for one in report.estimates if one.metric.label == "accuracy"]
    assert accuracy > 0.97


def test_a_run_that_ends_early(device, tmp_path):
    spec = SPEC.replace("{batch_size: 8}", "{stop_early: true}").replace(
        "decisions: {decide_on: point}\n", ""
    )
    project = make_project(tmp_path / "project", spec=spec, rows=4_000)
    done, report = run(project.spec, tmp_path / "out")
    assert report.verdict is Verdict.PASS, done.stdout + done.stderr
    assert 0 < report.stopped.samples < report.stopped.of == 4_000


def test_a_second_run_is_from_the_store(device, tmp_path):
    spec = plain(tmp_path / "project", "{device: cuda}")
    store = ("--cache", str(tmp_path / "store"))
    done, first = run(spec, tmp_path / "1", *store)
    assert "not kept" not in done.stderr, done.stderr
    _, second = run(spec, tmp_path / "2", *store)
    assert first.reused is None
    assert second.reused.checkpoint is not None
    assert second.estimates == first.estimates
    # Of a device that it may not see, nothing is told.
    _, hidden = run(spec, tmp_path / "3", *store, CUDA_VISIBLE_DEVICES="")
    assert hidden.verdict is Verdict.ERROR


def test_without_a_gpu_that_it_may_see_auto_is_the_cpu(device, tmp_path):
    spec = on(tmp_path / "project", "auto")
    _, report = run(spec, tmp_path / "out", CUDA_VISIBLE_DEVICES="")
    assert report.environment.device.used == "cpu"
    assert report.verdict is Verdict.PASS


def test_an_index_that_is_not_there(device, tmp_path):
    done, report = run(on(tmp_path / "project", "cuda:9"), tmp_path / "out")
    [fault] = report.faults
    count = torch.cuda.device_count()
    devices = "device" if count == 1 else "devices"
    assert fault.message == (
        f"`cuda:9` was asked for and is not here; this machine has {count} `cuda` {devices}"
    )
    assert done.returncode == 3


def test_a_kernel_that_fails_is_an_error_with_a_report(device, tmp_path):
    """After it the device answers nothing any more: whatever is tried then must not hide it."""
    model = MODEL.replace(
        "return self.layer(x)",
        "y = self.layer(x)\n        return y[torch.full((len(y),), 1 << 30, device=y.device)]",
    )
    project = make_project(tmp_path / "project", model=model, spec=SPEC)
    done, report = run(project.spec, tmp_path / "out")
    assert report.verdict is Verdict.ERROR
    assert done.returncode == 4
    [fault] = report.faults
    assert "device-side assert" in fault.message
    assert "bug in model-eval" not in done.stderr


@pytest.mark.parametrize("processes", [2])
def test_processes_that_share_a_gpu_count_every_sample_once(device, tmp_path, on_cpu, processes):
    spec = on(tmp_path / "project", "cuda")
    command = [
        sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node",
        str(processes), "-m", "model_eval", "run", str(spec), "--output", str(tmp_path / "out"),
    ]  # fmt: skip
    done = subprocess.run(
        command, env=ENVIRON, capture_output=True, text=True, timeout=250, check=False
    )
    report = read_report(tmp_path / "out" / REPORT, exit_status=done.returncode)
    assert report.verdict is Verdict.PASS, done.stdout + done.stderr
    assert report.completion == on_cpu.completion
    ours, theirs = values(report), values(on_cpu)
    assert ours[("heldout", "accuracy")] == theirs[("heldout", "accuracy")]


def test_a_deadline_leaves_a_report(device, tmp_path):
    model = MODEL.replace(
        "return self.layer(x)",
        "torch.cuda._sleep(1_000_000_000)\n        return self.layer(x)",
    )
    project = make_project(tmp_path / "project", model=model, spec=SPEC, rows=4_000)
    done, report = run(project.spec, tmp_path / "out", "--deadline", "15")
    assert report.verdict is Verdict.ERROR
    assert done.returncode == 4, done.stdout + done.stderr
    [fault] = report.faults
    counted = re.fullmatch(r"the deadline came after (\d+) of 4000 samples", fault.message)
    assert 0 < int(counted[1]) < 4_000


def test_the_newcomers_example(device, tmp_path):
    _, report = run(ROOT / "examples/digits/model-eval.yaml", tmp_path / "out")
    assert report.verdict is Verdict.PASS
    assert report.environment.device.used == "cuda:0"
