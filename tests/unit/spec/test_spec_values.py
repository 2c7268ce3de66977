"""What a valid spec becomes."""

import hashlib
from pathlib import Path

import pytest

from model_eval.spec import load_base_spec, load_spec
from model_eval.spec.eval_spec import ImageSpec, InputSpec
from model_eval.types import DecideOn, Gate, Location, MetricRef, OutputKind, Severity, Task

CASES = Path(__file__).parents[2] / "cases"
FILES = CASES / "files"


def case(name):
    return load_spec(CASES / "accepted" / "specs" / f"{name}.yaml", roots=[CASES])


def at(name, line, column):
    return Location(file=f"accepted/specs/{name}.yaml", line=line, column=column)


def test_defaults():
    spec = case("smallest")
    data = (CASES / "accepted/specs/smallest.yaml").read_bytes()
    assert (spec.name, spec.task, spec.threshold) == ("case", Task.MULTICLASS, None)
    assert (spec.sha256, spec.size) == (hashlib.sha256(data).hexdigest(), len(data))
    assert spec.source.path == CASES / "accepted/specs/smallest.yaml"
    assert spec.source.display == "accepted/specs/smallest.yaml"
    assert spec.roots == (CASES,)
    assert spec.model.factory.file == FILES / "model.py"
    assert (spec.model.factory.module, spec.model.factory.attribute) == (None, "Net")
    assert spec.model.factory.kwargs == {}
    assert (spec.model.output, spec.model.output_field) == (OutputKind.LOGITS, None)
    assert (spec.checkpoint.sha256, spec.checkpoint.state_key) == (None, None)
    assert spec.checkpoint.path.display == "files/model.safetensors"
    assert spec.heldout.format == "csv"
    assert spec.heldout.args == (
        InputSpec(
            columns=("pixels",), stack=False, dtype=None, shape=None, scale=None,
            location=at("smallest", 8, 11),
        ),
    )  # fmt: skip
    assert (spec.heldout.kwargs, spec.heldout.slices, spec.heldout.image) == ({}, (), None)
    assert spec.heldout.location == at("smallest", 6, 1)
    assert spec.heldout.locations == {
        "path": at("smallest", 7, 9),
        "inputs": at("smallest", 8, 11),
        "target": at("smallest", 9, 11),
        "id": at("smallest", 10, 7),
        "classes": at("smallest", 11, 12),
    }
    assert (spec.run.device, spec.run.precision, spec.run.batch_size, spec.run.seed) == (
        "auto", "fp32", None, 0,
    )  # fmt: skip
    assert [metric.label for metric in spec.metrics] == [
        "accuracy", "precision_macro", "recall_macro", "f1_macro", "auroc", "log_loss",
    ]  # fmt: skip
    assert spec.gates == (
        Gate(
            metric=MetricRef(name="accuracy"), bound="min", threshold=0.9,
            severity=Severity.REQUIRED, location=at("smallest", 12, 9),
                decide_on=DecideOn.INTERVAL,
        ),
    )  # fmt: skip


def test_everything():
    spec = case("everything")
    assert spec.name == "every key — é, 名前"
    assert spec.model.factory.attribute == "Nets.small"
    assert spec.model.factory.kwargs == {
        "width": 32, "rate": 0.001, "bias": False, "act": None, "norm": "no",
        "blocks": [1, 2, {"deep": True}],
    }  # fmt: skip
    assert spec.model.output_field == "logits"
    assert spec.model.postprocess.text == "../../files/model.py:clean"
    digest = "9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08"
    assert (spec.checkpoint.sha256, spec.heldout.sha256) == (digest, digest)
    assert spec.checkpoint.state_key == "ema.state_dict"
    heldout = spec.heldout
    assert heldout.args == ()
    image, size = heldout.kwargs["image"], heldout.kwargs["size"]
    assert (image.columns, image.stack, image.dtype, image.shape, image.scale) == (
        ("pixels",), False, "float32", (1, 1, 1), 0.0625,
    )  # fmt: skip
    assert (size.columns, size.stack, size.dtype) == (("si*",), True, "float32")
    assert (heldout.cluster, heldout.slices, heldout.count) == ("hospital", ("hospital",), 3)
    assert [ref.display for ref in heldout.disjoint_from] == ["files/train.csv"]
    assert (spec.run.device, spec.run.precision, spec.run.seed) == ("cuda:1", "bf16", 2**32 - 1)
    assert [metric.label for metric in spec.metrics] == [
        "accuracy", "recall[cat]", "recall[dog]", "recall[eel]", "f1[dog]", "confusion_matrix",
        "precision[cat]", "log_loss",
    ]  # fmt: skip
    assert [(g.metric.label, g.bound, g.threshold, g.severity) for g in spec.gates] == [
        ("accuracy", "min", 0.5, "required"),
        ("accuracy", "max", 0.999, "required"),
        ("accuracy", "min", 0.9, "advisory"),
        ("precision[cat]", "min", 0.9, "required"),
        ("log_loss", "max", 2.0, "required"),
    ]


def test_thresholds_are_floats():
    assert [type(gate.threshold) for gate in case("everything").gates] == [float] * 5


def test_binary_thresholds():
    assert case("binary").threshold == 0.3
    assert case("binary-without-classes").threshold == 0.5


def test_regression():
    spec = case("regression")
    assert (spec.model.output, spec.heldout.targets) == (None, ("height", "width"))
    assert [metric.label for metric in spec.metrics] == ["r2", "mae[height]", "rmse[width]"]


@pytest.mark.parametrize(
    ("name", "file_format"),
    [
        ("parquet", "parquet"), ("safetensors", "safetensors"), ("npy-pair", "npy"),
        ("regression", "npz"), ("format-stated", "csv"), ("image-folder", "image_folder"),
        ("image-folder-options", "image_folder"), ("loader", "loader"),
    ],
)  # fmt: skip
def test_formats(name, file_format):
    heldout = case(name).heldout
    assert heldout.format == file_format
    sources = [heldout.path is not None, bool(heldout.columns_from), heldout.loader is not None]
    assert sources.count(True) == 1


def test_npy_pair():
    columns = case("npy-pair").heldout.columns_from
    assert {name: ref.display for name, ref in columns.items()} == {
        "pixels": "files/x.npy", "label": "files/y.npy",
    }  # fmt: skip


def test_image_folder_defaults():
    heldout = case("image-folder").heldout
    assert [source.columns for source in heldout.args] == [("image",)]
    assert (heldout.targets, heldout.id) == (("label",), "id")
    assert heldout.image == ImageSpec(
        mode="RGB", resize=None, interpolation="bilinear", crop=None, scale=1 / 255, mean=None,
        std=None,
    )  # fmt: skip


def test_image_options():
    assert case("image-folder-options").heldout.image == ImageSpec(
        mode="RGB", resize=(32, 40), interpolation="bicubic", crop=(32, 32), scale=0.5,
        mean=(0.485, 0.456, 0.406), std=(0.229, 0.224, 0.225),
    )  # fmt: skip


def test_loader():
    heldout = case("loader").heldout
    assert heldout.loader.file == FILES / "data.py"
    assert heldout.loader.kwargs == {"split": "test"}
    assert [source.columns for source in heldout.args] == [("input",)]
    assert (heldout.targets, heldout.id) == (("target",), None)


def test_loader_from_a_module():
    heldout = case("loader-module").heldout
    assert (heldout.loader.file, heldout.loader.module) == (None, "project.data")
    assert heldout.loader.attribute == "Splits.heldout"
    assert {name: source.columns for name, source in heldout.kwargs.items()} == {
        "tokens": ("ids",), "mask": ("mask",),
    }  # fmt: skip


def test_words_that_other_yaml_reads_as_booleans_are_class_names():
    spec = case("words-that-are-text")
    assert spec.name == "12:30:45"
    assert spec.heldout.classes == ("no", "yes", "on")
    assert spec.gates[0].metric.label == "recall[no]"


def test_numbers():
    assert case("numbers").model.factory.kwargs == {
        "a": 1, "b": -2, "c": 0.5, "d": 2.0, "e": 0.001, "f": 1500.0, "g": 123456789012345678,
        "h": "2026-01-31", "i": "v0x10", "j": 0, "k": 0.0,
    }  # fmt: skip


@pytest.mark.parametrize("device", ["auto", "cpu", "cuda", "cuda:0", "cuda:15", "mps", "mps:0", "xpu:1", "privateuse1"])  # fmt: skip
def test_devices(device, shared_workspace):
    text = shared_workspace.valid + f"run: {{device: '{device}'}}\n"
    assert shared_workspace.load(text).run.device == device


def test_faults_of_all_stages_come_together_in_the_order_of_the_file(shared_workspace):
    text = shared_workspace.valid.replace("model.py", "modle.py").replace(
        "id: sample", "id: smaple"
    )
    assert shared_workspace.faults(text + "run: {sede: 1}\n") == [
        "spec.yaml:4:18: `modle.py` does not exist; did you mean `model.py`?",
        "spec.yaml:10:7: the held-out set has no column `smaple`; did you mean `sample`?",
        "spec.yaml:13:7: unknown key `sede` in `run`; did you mean `seed`?",
    ]


@pytest.mark.parametrize(
    ("edges", "labels"),
    [
        ("[40, 65]", ("size<40", "40≤size<65", "size≥65")),
        ("[20240101, 20240102]", ("size<20240101", "20240101≤size<20240102", "size≥20240102")),
        ("[0.5, 0.50000001]", ("size<0.5", "0.5≤size<0.50000001", "size≥0.50000001")),
        ("[1e-7, 1e20]", ("size<1e-07", "1e-07≤size<1e+20", "size≥1e+20")),
    ],
)
def test_bins_are_called_by_their_whole_edges(edges, labels):
    """Six digits would call two bins of dates alike, or by another day."""
    text = (CASES / "accepted/specs/smallest.yaml").read_text()
    assert text.count("  id: sample\n") == 1
    text = text.replace(
        "  id: sample\n", f"  id: sample\n  slices: [{{column: size, bins: {edges}}}]\n"
    )
    at = CASES / "accepted/specs/smallest.yaml"
    [family] = load_base_spec(text.encode(), at=at, roots=[CASES]).heldout.families
    assert family.labels == labels
