"""Labels, pixels and tokens through `model-eval run`: a real model, and others' numbers for it."""

import warnings
from dataclasses import replace

import numpy as np
import pyarrow.parquet as pq
import pytest
import torch
from safetensors.torch import save_file
from sklearn import metrics as sk
from torchmetrics.functional import classification as tm
from torchmetrics.functional.text import perplexity

from builders.heldout import written
from builders.projects import Project
from builders.wide_models import LABELS, PIXELS, TOKENS
from model_eval.ledger import open_ledger
from model_eval.metrics import estimate
from model_eval.report import from_json

NAMED = TOKENS.replace("return self.head(self.recurrent(self.embedding(tokens))[0])",
                       'return {"logits": self.head(self.recurrent(self.embedding(tokens))[0])}')  # fmt: skip

SPEC = """
version: 1
name: wide
task: {task}
model: {{factory: "model.py:Net", output: logits{field}}}
checkpoint: {{path: model.safetensors}}
heldout:
  path: {source}
{heldout}
run: {{batch_size: 7, device: cpu}}
metrics: {metrics}
gates:
  - {gate}
"""


def net(code):
    """The model with weights of its own, which the project's checkpoint has."""
    scope = {}
    exec(code, scope)
    torch.manual_seed(3)
    return scope["Net"]().eval()


def evaluated(folder, code, spec):
    """The metrics of a run of the command, by label; the model; the report."""
    project = Project(folder)
    (folder / "model.py").write_text(code)
    (folder / "model-eval.yaml").write_text(spec)
    model = net(code)
    save_file(model.state_dict(), folder / "model.safetensors")
    done = project.run()
    report = from_json((project.output / "report.json").read_bytes())
    assert report.faults == ()
    assert done.returncode == report.exit_code == 0
    ledger = open_ledger(project.output / "ledger.parquet")
    for found in report.estimates:
        # What is reported follows from the file.
        assert estimate(ledger, found.metric) == replace(found, interval=None, no_interval=None)
    return {found.metric.label: found.value for found in report.estimates}, model, report


def test_multilabel(tmp_path):
    rng = np.random.default_rng(0)
    x = rng.normal(size=(60, 5)).astype(np.float32)
    target = rng.random((60, 3)) < 0.4
    columns = {"x": x} | {name: target[:, i].astype(int) for i, name in enumerate("abc")}
    written(tmp_path, "parquet", columns)
    got, model, report = evaluated(
        tmp_path,
        LABELS,
        SPEC.format(
            task="multilabel",
            field="",
            source="heldout.parquet",
            heldout="  inputs: {column: x, dtype: float32}\n  target: [a, b, c]",
            metrics="[exact_match, hamming_loss, f1_samples, f1_per_class, f1_macro, f1_micro, "
            "auroc, average_precision, average_precision_weighted, log_loss]",
            gate="{metric: log_loss, max: 9}",
        ),
    )
    with torch.inference_mode():
        probability = model(torch.from_numpy(x)).double().sigmoid().numpy()
    predicted = probability >= 0.5
    expected = {
        "exact_match": sk.accuracy_score(target, predicted),
        "hamming_loss": sk.hamming_loss(target, predicted),
        "f1_macro": sk.f1_score(target, predicted, average="macro"),
        "f1_micro": sk.f1_score(target, predicted, average="micro"),
        "auroc": sk.roc_auc_score(target, probability),
        "average_precision": sk.average_precision_score(target, probability),
        "average_precision_weighted": sk.average_precision_score(
            target, probability, average="weighted"
        ),
        "log_loss": np.mean([sk.log_loss(target[:, i], probability[:, i]) for i in range(3)]),
    }
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        expected["f1_samples"] = sk.f1_score(target, predicted, average="samples")
    of_labels = sk.f1_score(target, predicted, average=None)
    expected |= {f"f1[{name}]": of_labels[i] for i, name in enumerate("abc")}
    assert got == pytest.approx(expected, abs=1e-7)
    assert [row.name for row in report.classes] == ["a", "b", "c"]
    assert [row.support for row in report.classes] == target.sum(axis=0).tolist()
    assert report.confusion_matrix is None


@pytest.mark.parametrize("file_format", ["npz", "safetensors", "pt", "parquet"])
def test_segmentation(file_format, tmp_path):
    rng = np.random.default_rng(0)
    x = rng.normal(size=(20, 2, 6, 5)).astype(np.float32)
    target = rng.integers(0, 3, (20, 6, 5))  # the fourth class is only predicted
    target[rng.random(target.shape) < 0.1] = 255
    mask = target if file_format == "parquet" else target.astype(np.uint8)
    written(tmp_path, file_format, {"x": x, "mask": mask})
    got, model, report = evaluated(
        tmp_path,
        PIXELS,
        SPEC.format(
            task="segmentation",
            field="",
            source=f"heldout.{file_format}",
            heldout="  inputs: {column: x, dtype: float32}\n  target: mask\n  ignore_index: 255\n"
            "  classes: [sky, road, tree, boat]",
            metrics="[iou_per_class, iou_macro, dice_macro, pixel_accuracy]",
            gate="{metric: iou_macro, min: 0.01}",
        ),
    )
    with torch.inference_mode():
        prediction = model(torch.from_numpy(x)).argmax(dim=1)
    counted = target != 255
    options = {"labels": range(4), "zero_division": 0}
    pixels = target[counted], prediction.numpy()[counted]
    of_classes = sk.jaccard_score(*pixels, average=None, **options)
    expected = {
        f"iou[{name}]": of_classes[i] for i, name in enumerate(("sky", "road", "tree", "boat"))
    }
    expected |= {
        "iou_macro": of_classes.mean(),
        "dice_macro": sk.f1_score(*pixels, average="macro", **options),
        "pixel_accuracy": sk.accuracy_score(*pixels),
    }
    assert got == pytest.approx(expected, abs=1e-7)
    index = tm.multiclass_jaccard_index(
        prediction, torch.from_numpy(target), num_classes=4, ignore_index=255
    )
    assert got["iou_macro"] == pytest.approx(float(index), abs=1e-6)
    assert (report.classes, report.confusion_matrix) == ((), None)
    assert report.completion.rows == 20
    columns = pq.read_schema(tmp_path / "out/ledger.parquet").names
    assert set(columns) == {"id", "finite", "hits", "predicted", "support"}


@pytest.mark.parametrize("shift", [True, False])
def test_language_modeling(shift, tmp_path):
    rng = np.random.default_rng(0)
    tokens = rng.integers(1, 20, (23, 9))
    for row, length in enumerate(rng.integers(2, 10, 23)):
        tokens[row, length:] = 0
    tokens[5, 1:] = 0  # of which no token has a next one
    following = np.concatenate([tokens[:, 1:], np.zeros((23, 1), int)], axis=1)
    size = rng.integers(20, 60, 23)
    written(tmp_path, "parquet", {"tokens": tokens, "next": following, "size": size})
    got, model, report = evaluated(
        tmp_path,
        NAMED,
        SPEC.format(
            task="language_modeling",
            field=", output_field: logits",
            source="heldout.parquet",
            heldout="  inputs: {tokens: tokens}\n  ignore_index: 0\n  bytes: size\n"
            + ("  shift: true" if shift else "  target: next"),
            metrics="[perplexity, log_loss, token_accuracy, bits_per_byte]",
            gate="{metric: perplexity, max: 1000}",
        ),
    )
    with torch.inference_mode():
        logits = model(torch.from_numpy(tokens))["logits"].double()
    target = torch.from_numpy(following)
    loss = torch.nn.functional.cross_entropy(logits.mT, target, ignore_index=0, reduction="sum")
    counted = target != 0
    mean = float(loss / counted.sum())
    assert got == pytest.approx(
        {
            "perplexity": np.exp(mean),
            "log_loss": mean,
            "token_accuracy": float((logits.argmax(dim=2) == target)[counted].double().mean()),
            "bits_per_byte": float(loss) / np.log(2) / size.sum(),
        },
        rel=1e-6,  # the model is run in batches of 7 there, and whole here
    )
    assert got["perplexity"] == pytest.approx(float(perplexity(logits, target, 0)), rel=1e-5)
    assert report.completion.rows == 23
    assert "1 of 23 samples have no say: every target is ignored" in report.notes
