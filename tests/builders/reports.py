"""Reports for tests: a passing one, to be changed by `dataclasses.replace`."""

from dataclasses import replace
from pathlib import Path

from model_eval.gates import EXIT_CODES, Evidence, decide, judge
from model_eval.spec.catalog import METRICS
from model_eval.types import (
    CheckpointInfo,
    ClassRow,
    Completion,
    ConfusionMatrix,
    DeviceInfo,
    Environment,
    Estimate,
    FileInfo,
    Gate,
    HeldOutInfo,
    Location,
    Loosening,
    MetricRef,
    Report,
    RunSettings,
    Severity,
    Task,
    Timings,
)

ACCURACY = MetricRef(name="accuracy")
HERE = Location(file="model-eval.yaml", line=20, column=5)


def gate(metric=ACCURACY, *, bound="min", threshold=0.9, severity=Severity.REQUIRED, line=20):
    info = METRICS.get(metric.name)
    return Gate(
        metric=metric,
        bound=bound,
        threshold=threshold,
        severity=severity,
        location=replace(HERE, line=line),
        higher_is_better=info is None or info.higher_is_better is not False,
    )


def estimate(value, metric=ACCURACY, *, n=100, undefined=None):
    return Estimate(metric=metric, value=value, undefined=undefined, n=n)


def evidence(*estimates, **more):
    """What gates are held against, from estimates."""
    return Evidence(estimates={(e.heldout, e.slice, e.metric): e for e in estimates}, **more)


def loosening(what="gate accuracy: min", base="0.95", head="0.9", **changes):
    reason = "`min` of the gate asks for less than in the base branch"
    known = Loosening(what=what, base=base, head=head, reason=reason, location=HERE)
    return replace(known, **changes)


def complete(n=100):
    return Completion(expected=n, rows=n, distinct=n, finite=n)


def report(estimates=None, gates=None, completion=None, **changes):
    """A whole, consistent report of these estimates and gates."""
    estimates = tuple(estimates or (estimate(0.95),))
    results = judge(gates or (gate(),), evidence(*estimates))
    completion = completion or complete()
    verdict, reason = decide(results, [completion], changes.get("control"))
    known = Report(
        schema_version=1,
        name="digits",
        verdict=verdict,
        exit_code=EXIT_CODES[verdict],
        reason=reason,
        model_eval="0.1.0",
        spec=FileInfo(path="model-eval.yaml", sha256="a" * 64, size=700),
        task=Task.BINARY,
        checkpoint=CheckpointInfo(
            files=(FileInfo(path="model.safetensors", sha256="b" * 64, size=2048),),
            format="safetensors",
            state_key=None,
            stripped_prefix="",
            tensors=4,
            parameters=500,
            parameters_from_file=500,
            buffers_from_file=0,
            dtypes={"float32": 4},
            casts={},
            built_on_meta=True,
            pinned=False,
        ),
        heldout=HeldOutInfo(
            source="heldout.parquet",
            format="parquet",
            sha256="c" * 64,
            pinned=False,
            disjoint_from=(FileInfo(path="train.parquet", sha256="d" * 64, size=9000),),
        ),
        environment=Environment(
            model_eval="0.1.0",
            python="3.11.7",
            torch="2.13.0",
            platform="Linux",
            threads=2,
            device=DeviceInfo(
                requested="auto", used="cpu", name="A CPU", memory=None, runtime=None, driver=None
            ),
        ),
        run=RunSettings(precision="fp32", batch_size=256, seed=0, decision_threshold=0.5),
        completion=completion,
        estimates=estimates,
        classes=(
            ClassRow(name="no", support=60, predicted=61, precision=0.9, recall=0.9, f1=0.9),
            ClassRow(name="yes", support=40, predicted=39, precision=None, recall=0.8, f1=0.85),
        ),
        confusion_matrix=ConfusionMatrix(labels=("no", "yes"), counts=((58, 2), (3, 37))),
        gates=results,
        notes=("the checkpoint is not pinned",),
        timings=Timings(load=0.5, evaluate=1.5, total=2.25),
    )
    return replace(known, **changes)


ROOT = Path(__file__).parents[2]
