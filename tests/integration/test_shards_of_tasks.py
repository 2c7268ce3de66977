"""Every task and several formats in parts: joined they are the whole run."""

import re
import shutil

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from PIL import Image
from safetensors.torch import save_file

from builders.heldout import written
from builders.reports import ROOT
from builders.shards import assert_same_ledgers, assert_same_report, merged, refusal, run, sharded
from builders.wide_models import LABELS, PIXELS, TOKENS
from model_eval.types import Verdict

SPEC = """
version: 1
name: task
task: {task}
model: {{factory: "model.py:Net", output: logits}}
checkpoint: {{path: model.safetensors}}
heldout:
  path: heldout.{file_format}
{heldout}
run: {{batch_size: 8, device: cpu}}
metrics: [{metric}]
gates:
  - {{metric: {metric}, {bound}, decide_on: point}}
"""


SPEC_SIZE = re.compile(r"batch_size: \d+")


def a_project(folder, code, *, file_format, columns, **fields):
    folder.mkdir()
    scope = {}
    exec(code, scope)
    torch.manual_seed(3)
    save_file(scope["Net"]().state_dict(), folder / "model.safetensors")
    (folder / "model.py").write_text(code)
    spec = folder / "model-eval.yaml"
    spec.write_text(SPEC.format(file_format=file_format, **fields))
    written(folder, file_format, columns)
    return spec


def assert_parts_are_the_whole(spec, folder, of):
    whole = run(spec, folder / "whole").report
    assert whole.verdict is not Verdict.ERROR, whole.faults
    joined = merged(spec, folder / "joined", sharded(spec, folder, of))
    assert_same_report(whole, joined)
    assert_same_ledgers(folder / "whole", folder / "joined")


@pytest.mark.parametrize("example", ["breast-cancer", "diabetes"])
def test_examples(tmp_path, example):
    shutil.copytree(ROOT / "examples" / example, tmp_path / "project")
    spec = tmp_path / "project" / "model-eval.yaml"
    spec.write_text(f"{spec.read_text()}\nrun: {{batch_size: 16, device: cpu}}\n")
    assert_parts_are_the_whole(spec, tmp_path, 3)


FEW = """
import torch

class Net(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.of = torch.nn.Embedding(3, 1)

    def forward(self, x):
        return self.of(x)
"""


def test_an_output_at_the_threshold_is_on_one_side(tmp_path):
    """Of few distinct outputs, one of which has the threshold as its probability to the last digit."""
    logits = torch.randn(20_000, generator=torch.Generator().manual_seed(0)).double()
    alone, among = torch.stack([one.sigmoid() for one in logits]), logits.sigmoid()
    at = int((alone > among).nonzero()[0]) if (alone > among).any() else 0
    rng = np.random.default_rng(0)
    spec = a_project(
        tmp_path / "project",
        FEW,
        file_format="npz",
        columns={"x": rng.integers(0, 3, 103), "y": rng.integers(0, 2, 103)},
        task=f"binary\nthreshold: {float(alone[at])!r}",
        metric="accuracy",
        bound="min: 0.1",
        heldout="  inputs: {column: x, dtype: int64}\n  target: y",
    )
    levels = torch.stack([logits[at], logits[at] - 1, logits[at] + 1]).float()[:, None]
    save_file({"of.weight": levels}, spec.parent / "model.safetensors")
    found = set()
    for size in (1, 3, 37, 256):
        text = SPEC_SIZE.sub(f"batch_size: {size}", spec.read_text())
        spec.write_text(text)
        for of in (1, 2, 3, 8):
            at_size = tmp_path / f"{size}-{of}"
            report = merged(spec, at_size / "joined", sharded(spec, at_size, of))
            assert report.verdict is not Verdict.ERROR, report.faults
            found.add(report.estimates[0].value)
        found.add(run(spec, tmp_path / f"{size}").report.estimates[0].value)
    assert len(found) == 1


@pytest.mark.parametrize("file_format", ["npz", "parquet", "pt"])
def test_a_part_of_whose_pixels_none_is_counted(tmp_path, file_format):
    rng = np.random.default_rng(0)
    target = rng.integers(0, 4, (20, 6, 5))
    target[:8] = 255
    x = rng.normal(size=(20, 2, 6, 5)).astype(np.float32)
    spec = a_project(
        tmp_path / "project",
        PIXELS,
        file_format=file_format,
        columns={"x": x, "mask": target},
        task="segmentation",
        metric="iou_macro",
        bound="min: 0.01",
        heldout="  inputs: {column: x, dtype: float32}\n  target: mask\n  ignore_index: 255\n"
        "  classes: [sky, road, tree, boat]",
    )
    assert_parts_are_the_whole(spec, tmp_path, 3)


def test_a_folder_of_images(tmp_path):
    rng = np.random.default_rng(0)
    code = PIXELS.replace(
        "torch.nn.Conv2d(2, 4, 3, padding=1)",
        "torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(60, 2))",
    )
    spec = a_project(
        tmp_path / "project",
        code,
        file_format="npz",
        columns={"unused": np.zeros(1)},
        task="multiclass",
        metric="accuracy",
        bound="min: 0.01",
        heldout="  format: image_folder\n  image: {mode: RGB}\n"
        "  inputs: {column: image, dtype: float32, scale: 0.0039}",
    )
    spec.write_text(spec.read_text().replace("path: heldout.npz", "path: images"))
    for i in range(60):
        file = tmp_path / "project" / "images" / "ab"[i % 2] / f"{i}.png"
        file.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(rng.integers(0, 256, size=(4, 5, 3), dtype=np.uint8)).save(file)
    assert_parts_are_the_whole(spec, tmp_path, 3)


def test_documents(tmp_path):
    rng = np.random.default_rng(0)
    spec = a_project(
        tmp_path / "project",
        TOKENS,
        file_format="npz",
        columns={"tokens": rng.integers(1, 20, (23, 9))},
        task="language_modeling",
        metric="perplexity",
        bound="max: 100",
        heldout="  inputs: tokens\n  target: tokens\n  shift: true\n  ignore_index: 0",
    )
    assert_parts_are_the_whole(spec, tmp_path, 2)


def test_labels_with_clusters_weights_and_slices(tmp_path):
    rng = np.random.default_rng(0)
    names = np.array([f"id-{n}" for n in rng.permutation(60)], dtype=object)
    columns = {name: (rng.random(60) < 0.4).astype(int) for name in "abc"}
    columns |= {
        "x": rng.normal(size=(60, 5)).astype(np.float32),
        "name": names,
        "site": np.array(["north", "south", "west"], dtype=object)[rng.integers(0, 3, 60)],
        "share": rng.random(60),
    }
    spec = a_project(
        tmp_path / "project",
        LABELS,
        file_format="parquet",
        columns=columns,
        task="multilabel",
        metric="log_loss",
        bound="max: 100",
        heldout="  inputs: {column: x, dtype: float32}\n  target: [a, b, c]\n  id: name\n"
        "  cluster: site\n  weight: share\n  slices: [site]",
    )
    assert_parts_are_the_whole(spec, tmp_path, 8)


def test_lists_of_another_length_in_another_part(tmp_path):
    """The whole run refuses them, and each part alone has one length."""
    parquet(tmp_path / "a.parquet", [5] * 48)
    parquet(tmp_path / "b.parquet", [5] * 24 + [9] * 24)
    (tmp_path / "model.py").write_text(LISTS)
    save_file({"layer.weight": torch.ones(4, 2)}, tmp_path / "model.safetensors")
    heldout = "inputs: [{column: x, dtype: float32}], target: y}"
    (tmp_path / "model-eval.yaml").write_text(f"""
version: 1
name: t
task: multiclass
model: {{factory: "model.py:Net", output: logits}}
checkpoint: {{path: model.safetensors}}
heldout: {{path: a.parquet, {heldout}
more_heldout:
  other: {{path: b.parquet, {heldout}
run: {{batch_size: 8, device: cpu}}
metrics: [accuracy]
gates:
  - {{metric: accuracy, min: 0.01, decide_on: point}}
control: false
""")
    spec = tmp_path / "model-eval.yaml"
    assert run(spec, tmp_path / "whole").report.exit_code == 3
    folders = sharded(spec, tmp_path, 2)
    code, message = refusal(spec, tmp_path / "joined", folders)
    assert code == 3
    assert message == (
        f"shard 2 (`{folders[1]}`) has the input `x as float32 (9,)` per sample of `other`, and "
        f"shard 1 (`{folders[0]}`) `x as float32 (5,)`"
    )


def parquet(path, lengths):
    rows = [[0.5] * length for length in lengths]
    pq.write_table(
        pa.table(
            {
                "x": pa.array(rows, type=pa.list_(pa.float64())),
                "y": [index % 4 for index in range(len(rows))],
            }
        ),
        path,
        row_group_size=8,
    )


LISTS = """
import torch

class Net(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.layer = torch.nn.Linear(2, 4, bias=False)

    def forward(self, x):
        return self.layer(torch.stack([x.mean(1), x.amax(1)], 1))
"""
