"""The store of measurements: what misses, what hits, and that nothing stale, half or forged is used."""

import errno
import json
import os
import shutil
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from hashlib import sha256

import msgspec
import pytest
import torch
from safetensors.torch import save_file

from builders.projects import ENVIRON, Project, make_project
from builders.stored import MODEL, look_up, make_stored, store_at
from model_eval.checks import CONTROL_FAILED
from model_eval.cli.child import _no_progress
from model_eval.errors import DeadlineReached, ReportError
from model_eval.ledger import open_ledger, save
from model_eval.output import LEDGER, REPORT, read_report
from model_eval.run import evaluate, keep
from model_eval.spec import load_spec
from model_eval.stop import Stop
from model_eval.store import here
from model_eval.store.entry import (
    FACTS,
    GOLDEN,
    KEY,
    MANIFEST,
    Heard,
    Manifest,
    read,
    sealed,
    write,
    written,
)
from model_eval.store.reuse import Reuse, prune
from model_eval.supervise import child_environ
from model_eval.types import ControlInfo, NoiseInfo, Verdict


def measured(project, store, *arguments, **environ):
    """A whole run in processes of its own."""
    return project.run("--cache", str(store), *arguments, **environ)


@pytest.fixture(scope="session")
def searched():
    """Where a process that evaluates looks for modules."""
    command = [sys.executable, "-I", "-c", "import json, sys; print(json.dumps(sys.path))"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=True)
    return json.loads(done.stdout)


@pytest.fixture(autouse=True)
def _searched_as_there(searched, monkeypatch):
    """The tests' own modules are in more places."""
    monkeypatch.setattr("sys.path", [*searched])


@pytest.fixture(scope="session")
def kept(tmp_path_factory):
    """A project, and a store that a run of it has filled."""
    folder = tmp_path_factory.mktemp("kept")
    project = make_stored(folder / "project")
    done = measured(project, folder / "store")
    assert done.returncode == 0, done.stdout + done.stderr
    assert "not kept" not in done.stderr
    return folder


@pytest.fixture
def project(kept, tmp_path):
    """A copy of both, in another place: no key holds where files are."""
    shutil.copytree(kept, tmp_path, dirs_exist_ok=True)
    return Project(tmp_path / "project")


@pytest.fixture
def store(tmp_path, project):
    return store_at(tmp_path / "store", output=project.output)


def entry_of(store):
    [found] = store.entries.iterdir()
    return found


def test_nothing_changed_hits(project, store):
    said = []
    found = look_up(project, replace(store, say=said.append))
    assert said == []
    assert found.key == entry_of(store).name
    assert found.measured.expected == {"heldout": 40, "further": 20, "golden": 2}
    assert len(found.measured.golden) == 2


def test_a_store_inside_of_the_repository_is_no_part_of_its_own_key(project, store):
    inside = project.folder / "kept"
    shutil.copytree(store.folder, inside)
    found = look_up(project, replace(store, folder=inside))
    assert found.key == entry_of(store).name


def test_the_output_of_another_run_may_be_read_as_any_file(project, store):
    shutil.copytree(project.output, project.folder / "out-of-another")
    assert look_up(project, store) is None


# --- each part of the key --------------------------------------------------------------------

CHANGES_OF_THE_SPEC = {
    "the factory": ("model.py:Net", "model.py:other"),
    "its arguments": ("scale: 1.0", "scale: 2.0"),
    "the type of an argument": ("other: 2", "other: 2.0"),
    "the output": ("output: logits", "output: probabilities"),
    "the output's field": ("output: logits", "output: logits, output_field: 0"),
    "postprocess": ("output: logits", 'output: logits, postprocess: "model.py:same"'),
    "the checkpoint's file": ("path: model.safetensors", "path: copy.safetensors"),
    "the state's key": ("path: model.safetensors", "path: model.safetensors, state_key: model"),
    "the held-out file's name": ("path: heldout.csv", "path: copy.csv"),
    "the columns' order": ("columns: [a, b], dtype: float32}]\n  target", "columns: [b, a], dtype: float32}]\n  target"),
    "the dtype": ("dtype: float32}]\n  target", "dtype: float64}]\n  target"),
    "the shape": ("dtype: float32}]\n  target", "dtype: float32, shape: [2]}]\n  target"),
    "the scale": ("dtype: float32}]\n  target", "dtype: float32, scale: 0.5}]\n  target"),
    "the transform": ("  id: name", '  id: name\n  transform: "model.py:same"'),
    "the id": ("  id: name\n", ""),
    "the weight": ("  id: name", "  id: name\n  weight: weight"),
    "the cluster": ("  id: name", "  id: name\n  cluster: group"),
    "the classes": ("  id: name", "  id: name\n  classes: [no, yes]"),
    "the count": ("  id: name", "  id: name\n  count: 40"),
    "a slice's column": ("slices: [{column: group}]", "slices: [{column: weight}]"),
    "the training files": ("  disjoint_from: [train.csv]\n", ""),
    "a further set's dtype": ("dtype: float32}]\n    target", "dtype: float64}]\n    target"),
    "a further set's name": ("  further:", "  another:"),
    "no golden cases": ("golden: {", "x-golden: {"),
    "the golden cases' dtype": ("dtype: float32}], outputs", "dtype: float64}], outputs"),
    "the threshold": ("task: binary", "task: binary\nthreshold: 0.4"),
    "the batch size": ("batch_size: 8", "batch_size: 4"),
    "a batch size that is measured": ("batch_size: 8, ", ""),
    "the precision": ("batch_size: 8", "batch_size: 8, precision: bf16"),
    "compilation": ("batch_size: 8", "batch_size: 8, compile: true"),
    "the layout": ("batch_size: 8", "batch_size: 8, memory_format: channels_last"),
    "the seed": ("batch_size: 8", "batch_size: 8, seed: 7"),
    "the device": ("device: cpu", "device: auto"),
    "no control": ("task: binary", "task: binary\ncontrol: false"),
    "a metric of a gate": ("{metric: accuracy, min: 0.9}", "{metric: recall, min: 0.1}"),
    "a gate that is required now": (", severity: advisory", ""),
}  # fmt: skip


def rewritten(project, old, new):
    spec = project.spec.read_text()
    assert spec.count(old) == 1, old
    project.spec.write_text(spec.replace(old, new))


@pytest.mark.parametrize("change", CHANGES_OF_THE_SPEC)
def test_what_changes_a_measurement_misses(project, store, change):
    for name in ("model.safetensors", "heldout.csv"):
        shutil.copy(project.folder / name, project.folder / f"copy.{name.rpartition('.')[2]}")
    # The copies are files that could be code, so that the key is another already: compare with that.
    before = key_of(project, store)
    if change == "no golden cases":
        lines = project.spec.read_text().splitlines(keepends=True)
        project.spec.write_text("".join(line for line in lines if not line.startswith("golden:")))
    else:
        rewritten(project, *CHANGES_OF_THE_SPEC[change])
    assert key_of(project, store) != before


def key_of(project, store):
    reuse = Reuse(load_spec(project.spec, roots=[project.folder]), store)
    said = []
    reuse._store = replace(store, say=said.append)
    reuse.find()
    assert not [line for line in said if "is not reused" in line], said
    return reuse._keys["the measurement"].name


def edited(folder, name, text="changed\n"):
    path = folder / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text((path.read_text() if path.exists() else "") + text)


CHANGED_FILES = {
    "the held-out set": lambda f: edited(f, "heldout.csv", "1,1,1,n40,x,1\n"),
    "a training file": lambda f: edited(f, "train.csv", "t2,8,8,1\n"),
    "a further set": lambda f: edited(f, "further.csv", "1,1,1\n"),
    "the golden cases": lambda f: edited(f, "golden.csv", "three,1,0,5\n"),
    "the model's code": lambda f: edited(f, "model.py", "\n# a comment\n"),
    "a module of it": lambda f: edited(f, "parts/names.py", "\nNAME = 'b'\n"),
    "a new module": lambda f: edited(f, "parts/new.py", "NAME = 'b'\n"),
    "settings": lambda f: edited(f, "settings.json", "{}"),
    "a tokenizer": lambda f: edited(f, "tokenizer.model", "words"),
    "the weights": lambda f: save_file(
        {"layer.weight": torch.tensor([[5.0, 4.0]]), "layer.bias": torch.zeros(1)},
        f / "model.safetensors",
    ),
    "other weights that the code may read": lambda f: save_file(
        {"x": torch.zeros(1)}, f / "backbone.safetensors"
    ),
}


@pytest.mark.parametrize("change", CHANGED_FILES)
def test_another_file_misses(project, store, change):
    CHANGED_FILES[change](project.folder)
    assert look_up(project, store) is None


READS_ELSEWHERE = """
ELSEWHERE = Path({folder!r})
(ELSEWHERE / "scale.dat").read_text()
os.listdir(ELSEWHERE / "parts")
try:
    (ELSEWHERE / "optional.dat").read_text()
except FileNotFoundError:
    pass
"""

READ_BY_THE_MODEL = {
    "a file": ("scale.dat", lambda f: edited(f, "scale.dat", "5")),
    "a file that is gone": ("scale.dat", lambda f: (f / "scale.dat").unlink()),
    "a file that was not there": ("optional.dat", lambda f: edited(f, "optional.dat", "2")),
    "a name in a folder": ("parts", lambda f: edited(f, "parts/more.dat")),
    "a folder that is gone": ("parts", lambda f: shutil.rmtree(f / "parts")),
}


@pytest.fixture(scope="session")
def reading(tmp_path_factory):
    """A project whose model reads files outside of the roots, and a store that a run of it has filled."""
    folder = tmp_path_factory.mktemp("reading")
    elsewhere = folder / "elsewhere"
    edited(elsewhere, "scale.dat", "1")
    edited(elsewhere, "parts/one.dat")
    reads = READS_ELSEWHERE.format(folder=str(elsewhere))
    project = make_stored(folder / "project", model=MODEL + reads)
    done = measured(project, folder / "store")
    assert done.returncode == 0, done.stdout + done.stderr
    assert "not kept" not in done.stderr
    return folder


@pytest.mark.parametrize("change", READ_BY_THE_MODEL)
def test_what_the_models_code_read_elsewhere_misses(reading, tmp_path, change):
    project, elsewhere = Project(reading / "project"), reading / "elsewhere"
    said = []
    store = store_at(reading / "store", output=project.output, said=said)
    assert look_up(project, store) is not None
    shutil.copytree(elsewhere, tmp_path / "before")
    name, change_it = READ_BY_THE_MODEL[change]
    try:
        change_it(elsewhere)
        assert look_up(project, store) is None
    finally:
        shutil.rmtree(elsewhere)
        shutil.copytree(tmp_path / "before", elsewhere)
    assert said == [
        f"the measurement of an earlier run is not used: `{elsewhere / name}`, which its model read, has changed"
    ]


def test_a_document_that_the_models_code_read_misses(project, store):
    edited(project.folder, "README.md")
    said = []
    assert look_up(project, replace(store, say=said.append)) is None
    assert said == [
        "the measurement of an earlier run is not used: `README.md`, which its model read, has changed"
    ]


def test_a_file_that_was_read_in_another_copy_misses(kept, project, store):
    """Its code may name it by its absolute path."""
    said = []
    path = kept / "project/scale.dat"
    try:
        path.write_text("5")
        assert look_up(project, replace(store, say=said.append)) is None
    finally:
        path.write_text("1.0")
    [line] = said
    assert line.endswith(
        f"is not used: `{path}`, which its model read in another copy of the repository, has changed"
    )
    assert look_up(project, store) is not None


def test_a_variable_that_the_models_code_read_misses(project, store, tmp_path):
    said = []
    other = store_at(tmp_path / "store", output=project.output, said=said, SCALE="2")
    assert look_up(project, other) is None
    assert said == [
        "the measurement of an earlier run is not used: the variable `SCALE`, which its model read, has changed"
    ]


def test_a_variable_counts_as_it_was_before_code_could_set_it(project, store):
    """A baseline is looked for after the model ran."""
    reuse = Reuse(load_spec(project.spec, roots=[project.folder]), store)
    store.environ["SCALE"] = "2"
    assert reuse.find() is not None


def test_a_variable_that_the_model_does_not_read_hits(project, store, tmp_path):
    other = store_at(tmp_path / "store", output=project.output, OTHER="2", OMP_NUM_THREADS="7")
    assert look_up(project, other) is not None


@pytest.mark.parametrize(
    "name", ["ONEDNN_DEFAULT_FPMATH_MODE", "NVIDIA_TF32_OVERRIDE", "LD_LIBRARY_PATH"]
)
def test_a_variable_that_torchs_libraries_read_misses(project, store, tmp_path, name):
    other = store_at(tmp_path / "store", output=project.output, **{name: "1"})
    assert look_up(project, other) is None


def test_another_current_folder_misses(project, store, monkeypatch):
    assert look_up(project, store) is not None
    monkeypatch.chdir(project.folder / "parts")
    assert look_up(project, store) is None


def test_another_place_where_modules_are_looked_for_misses(project, store, monkeypatch, tmp_path):
    monkeypatch.setattr("sys.path", [*sys.path, str(tmp_path / "libs")])
    assert look_up(project, store) is None


def test_an_environment_in_another_place_hits(project, store, monkeypatch, searched):
    there = [path.replace(sys.prefix, "/elsewhere", 1) for path in searched]
    assert there != searched
    monkeypatch.setattr("sys.prefix", "/elsewhere")
    monkeypatch.setattr("sys.path", there)
    assert look_up(project, store) is not None


JUDGING = {
    "a threshold": ("min: 0.9", "min: 0.95"),
    "a bound": ("{metric: accuracy, min: 0.9}", "{metric: accuracy, max: 0.9}"),
    "a gate of a slice": ("{metric: accuracy, min: 0.9}", "{metric: accuracy, min: 0.9, slice: {group: x}}"),
    "the decisions": ("decide_on: point", "decide_on: interval, confidence: 0.9, on_underpowered: warn"),
    "a metric of torchmetrics'": ("metrics: [accuracy", "metrics: [{name: torchmetrics.JaccardIndex, kwargs: {task: binary}}, accuracy"),
    "the metrics": ("metrics: [accuracy, parameters]", "metrics: [accuracy, auroc, model_size_mb]"),
    "how a column is divided": ("{column: group}", "{name: exes, where: \"group == 'x'\"}"),
    "the name": ("name: sign", "name: other"),
    "the tolerance": ("tolerance: 0.001", "tolerance: 0.1"),
    "a comment": ("version: 1", "# a comment\nversion: 1"),
    "a baseline": ("golden:", "baseline: {checkpoint: model.safetensors}\ngolden:"),
}  # fmt: skip


@pytest.mark.parametrize("change", JUDGING)
def test_what_only_judges_hits(project, store, change):
    rewritten(project, *JUDGING[change])
    assert look_up(project, store) is not None


@pytest.mark.parametrize(
    "name", ["CHANGES.md", ".git/config", "__pycache__/x.pyc", "out/report.json"]
)
def test_what_is_no_code_hits(project, store, name):
    edited(project.folder, name)
    assert look_up(project, store) is not None


@pytest.mark.parametrize("part", sorted(here.versions()))
def test_another_version_misses(project, store, part, monkeypatch):
    known = here.versions()
    monkeypatch.setattr("model_eval.store.reuse.versions", lambda: {**known, part: ["another"]})
    assert look_up(project, store) is None


def test_another_device_misses(project, store, monkeypatch):
    other = lambda *_, **__: {"cpu": "another"}  # noqa: E731
    monkeypatch.setattr("model_eval.store.reuse.device_class", other)
    assert look_up(project, store) is None


def test_another_format_of_entries_is_another_folder(project, store, monkeypatch):
    monkeypatch.setattr("model_eval.store.place.FORMAT_VERSION", 2)
    assert look_up(project, store) is None


# --- what cannot be reused -------------------------------------------------------------------


@pytest.mark.parametrize(
    ("old", "new", "why"),
    [
        ("[accuracy, parameters]", "[accuracy, latency_p95_ms]",
         "`latency_p95_ms` is of one time and machine, and is measured again"),
        ("decide_on: point}", "decide_on: interval, on_underpowered: warn}\nrun: {stop_early: true}",
         "where a run that may end early ends depends on its gates"),
        ("metrics: [accuracy", 'metrics: [{name: mine, callable: "parts/names.py:f"}, accuracy',
         "`mine` is code of the repository's, and is called where its model ran"),
        ("device: cpu", "device: mps",
         "`device: mps` is not told apart from others without torch"),
    ],
)  # fmt: skip
def test_what_cannot_be_proved_is_measured_again(project, store, old, new, why):
    if "run:" in new:
        rewritten(project, "run: {batch_size: 8, device: cpu}\n", "")
    rewritten(project, old, new)
    said = []
    assert look_up(project, replace(store, say=said.append)) is None
    assert said == [f"the measurement is not reused: {why}"]


def test_a_loader_is_run_again(tmp_path):
    spec = (
        "version: 1\nname: x\ntask: binary\n"
        'model: {factory: "model.py:Net", output: logits}\n'
        "checkpoint: {path: model.safetensors}\n"
        'heldout: {loader: "model.py:Net", inputs: [x], target: y}\n'
        "gates: [{metric: accuracy, min: 0.5}]\n"
    )
    project = make_project(tmp_path / "project", spec=spec)
    said = []
    assert look_up(project, store_at(tmp_path / "store", said=said)) is None
    assert said == [
        "the measurement is not reused: a loader's samples are not known before it was run"
    ]


def test_a_part_of_a_run_is_neither_found_nor_kept(project, store):
    before = entry_of(store)
    done = measured(project, store.folder, "--shard", "1/2")
    assert done.returncode == 0, done.stdout + done.stderr
    assert "a run in parts is measured each time" in done.stderr
    report = read_report(project.output / REPORT)
    assert report.reused is None
    assert report.shard is not None
    assert entry_of(store) == before


# --- an entry is doubted ---------------------------------------------------------------------


def is_refused(project, store):
    said = []
    assert look_up(project, replace(store, say=said.append)) is None
    [line] = said
    assert line.startswith("the measurement of an earlier run is not used: ")
    return line.partition("not used: ")[2]


FILES = [FACTS, KEY, LEDGER, "ledger-further.parquet", GOLDEN, MANIFEST]


@pytest.mark.parametrize("name", FILES)
def test_a_bit_that_fell_over_misses(project, store, name):
    path = entry_of(store) / name
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 4
    path.write_bytes(data)
    assert is_refused(project, store)


@pytest.mark.parametrize("name", FILES)
def test_a_file_that_is_cut_misses(project, store, name):
    path = entry_of(store) / name
    path.write_bytes(path.read_bytes()[:-7])
    assert is_refused(project, store)


@pytest.mark.parametrize("name", FILES)
def test_a_file_that_is_gone_misses(project, store, name):
    (entry_of(store) / name).unlink()
    assert is_refused(project, store)


@pytest.mark.parametrize("share", [number / 23 for number in range(23)])
def test_a_bit_that_fell_over_anywhere_in_the_manifest_misses(project, store, share):
    """Also in the name of a file that was looked for in vain: there is none of the new name, either."""
    path = entry_of(store) / MANIFEST
    data = bytearray(path.read_bytes())
    data[int(share * len(data))] ^= 1
    path.write_bytes(data)
    assert is_refused(project, store)


def rewrite(folder, change):
    """Changes the manifest, as somebody who knows the format can."""
    manifest = json.loads((folder / MANIFEST).read_text())
    change(manifest)
    known = sealed(msgspec.convert(manifest, Manifest))
    (folder / MANIFEST).write_bytes(written(known))


def resealed(folder):
    """Makes the manifest agree with the files again."""

    def agree(manifest):
        for name in manifest["files"]:
            manifest["files"][name] = sha256((folder / name).read_bytes()).hexdigest()

    rewrite(folder, agree)


def test_half_of_a_ledger_misses(project, store):
    path = entry_of(store) / LEDGER
    ledger = open_ledger(path)
    save(replace(ledger, columns={n: c[:20] for n, c in ledger.columns.items()}), path)
    resealed(entry_of(store))
    assert is_refused(project, store) == "not every sample of `heldout` is there once"


def test_a_sample_that_is_there_twice_misses(project, store):
    path = entry_of(store) / LEDGER
    ledger = open_ledger(path)
    columns = dict(ledger.columns)
    columns["id"] = columns["id"].copy()
    columns["id"][1] = columns["id"][0]
    save(replace(ledger, columns=columns), path)
    resealed(entry_of(store))
    assert is_refused(project, store) == "not every sample of `heldout` is there once"


@pytest.mark.parametrize(
    ("digest", "why"),
    [
        ("heldout", "its held-out set `heldout` is another"),
        ("checkpoint", "its ledger is of another checkpoint"),
    ],
)
def test_a_ledger_of_something_else_misses(project, store, digest, why):
    path = entry_of(store) / LEDGER
    save(replace(open_ledger(path), **{digest: "0" * 64}), path)
    resealed(entry_of(store))
    assert is_refused(project, store) == why


@pytest.mark.parametrize(
    ("change", "why"),
    [
        (lambda one: {"part": {"index": 1}}, "its ledger of `heldout` is of a part of a run"),
        (
            lambda one: {"columns": {n: c for n, c in one.columns.items() if n != "slice:group"}},
            "its ledger of `heldout` lacks a column that the spec asks for",
        ),
    ],
)
def test_a_ledger_that_is_no_whole_one_misses(project, store, change, why):
    path = entry_of(store) / LEDGER
    ledger = open_ledger(path)
    save(replace(ledger, **change(ledger)), path)
    resealed(entry_of(store))
    assert is_refused(project, store) == why


def test_files_that_are_not_those_of_the_key_miss(project, store):
    shutil.copy(entry_of(store) / LEDGER, entry_of(store) / "ledger-more.parquet")

    def add(manifest):
        manifest["files"]["ledger-more.parquet"] = manifest["files"][LEDGER]

    rewrite(entry_of(store), add)
    assert is_refused(project, store) == "it is damaged: its files are not those of its key"


def test_a_key_of_something_else_misses(project, store):
    path = entry_of(store) / KEY
    path.write_bytes(path.read_bytes().replace(b'"kind"', b'"KIND"'))
    resealed(entry_of(store))
    assert is_refused(project, store) == "it is damaged: its key is of something else"


def test_facts_of_other_training_files_miss(project, store):
    path = entry_of(store) / FACTS
    facts = json.loads(path.read_text())
    facts["heldout"]["disjoint_from"][0]["sha256"] = "0" * 64
    path.write_text(json.dumps(facts))
    resealed(entry_of(store))
    said = "its held-out set `heldout` was compared with other training files"
    assert is_refused(project, store) == said


@pytest.mark.parametrize("root", [1, -1])
def test_a_root_that_is_not_there_misses(project, store, root):
    rewrite(entry_of(store), lambda manifest: manifest["heard"]["opened"][0].update(root=root))
    assert is_refused(project, store) == "it is of another number of roots"


def test_facts_of_another_checkpoint_miss(project, store):
    path = entry_of(store) / FACTS
    facts = json.loads(path.read_text())
    facts["checkpoint"]["files"][0]["sha256"] = "0" * 64
    path.write_text(json.dumps(facts))
    resealed(entry_of(store))
    assert is_refused(project, store) == "it is of another checkpoint"


def test_facts_that_are_no_report_miss(project, store):
    path = entry_of(store) / FACTS
    path.write_text(json.dumps({"verdict": "pass"}))
    resealed(entry_of(store))
    assert is_refused(project, store).startswith("it is damaged: the report does not match")


def test_an_entry_under_another_name_misses(project, store):
    rewritten(project, "batch_size: 8", "batch_size: 4")
    entry_of(store).rename(store.entries / key_of(project, store))
    assert is_refused(project, store).startswith("it is damaged: its manifest is of another entry")


def test_an_entry_is_no_verdict(store, project):
    report = read_report(entry_of(store) / FACTS)
    assert report.verdict is Verdict.ERROR
    assert report.exit_code == 4
    assert report.gates == report.estimates == ()
    with pytest.raises(ReportError, match="exit status 4"):
        read_report(entry_of(store) / FACTS, exit_status=0)


# --- writing ---------------------------------------------------------------------------------


def test_two_writers_leave_one_whole_entry(project, store, tmp_path):
    reuse = Reuse(load_spec(project.spec, roots=[project.folder]), store)
    found = reuse.find()
    key = reuse._keys["the measurement"]
    other = tmp_path / "other"

    def writes(_):
        return write(found.measured, key, Heard(), other)

    with ThreadPoolExecutor(4) as pool:
        assert set(pool.map(writes, range(12))) == {other / key.name}
    assert [path.name for path in other.iterdir()] == [key.name]
    assert read(key, other) is not None


@pytest.mark.parametrize("what", ["file", "link to nothing", "link to a folder"])
def test_what_is_no_entry_is_replaced(project, store, tmp_path, what):
    reuse = Reuse(load_spec(project.spec, roots=[project.folder]), store)
    found = reuse.find()
    key = reuse._keys["the measurement"]
    other = tmp_path / "other"
    (other / "folder").mkdir(parents=True)
    if what == "file":
        (other / key.name).touch()
    else:
        (other / key.name).symlink_to("nowhere" if what == "link to nothing" else "folder")
    write(found.measured, key, Heard(), other)
    assert sorted(path.name for path in other.iterdir()) == sorted([key.name, "folder"])
    assert not (other / key.name).is_symlink()
    assert read(key, other) is not None


def test_a_full_disk_leaves_nothing_and_warns(project, store, tmp_path, monkeypatch):
    found = look_up(project, store)

    def full(*_):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    said = []
    empty = store_at(tmp_path / "empty", said=said)
    reuse = unloaded(project, empty)
    monkeypatch.setattr("model_eval.ledger.save", full)
    reuse.keep(found.measured, notes=())
    assert said == [
        "the measurement is not kept: the store cannot be written: No space left on device"
    ]
    assert list(empty.entries.iterdir()) == []


@pytest.mark.parametrize(
    ("facts", "why"),
    [
        (
            {"noise": NoiseInfo(samples=32, skipped=("batches of 8: no memory",))},
            "its noise was not measured in all ways: batches of 8: no memory",
        ),
        (
            {"control": ControlInfo(n=0, of=40, trials=(), worse=None, skipped=f"{CONTROL_FAILED}: no memory")},
            "its control failed: no untrained model could be judged: no memory",
        ),
        ({"control": ControlInfo(n=0, of=40, trials=(), worse=None, skipped="3 samples are too few")}, None),
    ],
)  # fmt: skip
def test_a_check_that_failed_is_made_again(project, store, tmp_path, facts, why):
    found = look_up(project, store)
    said = []
    reuse = unloaded(project, store_at(tmp_path / "empty", output=project.output, said=said))
    report = replace(found.measured.report, **facts)
    reuse.keep(replace(found.measured, report=report), notes=())
    assert said == ([f"the measurement is not kept: {why}"] if why else [])
    assert (tmp_path / "empty").exists() is (why is None)


def unloaded(project, store):
    """The store as a process sees it that has loaded nothing yet, after it has found nothing."""
    reuse = Reuse(load_spec(project.spec, roots=[project.folder]), store)
    assert reuse.find() is None
    reuse._opened._loaded = False
    return reuse


def test_what_nobody_has_thought_of_is_not_kept_and_fails_no_run(
    project, store, tmp_path, monkeypatch
):
    found = look_up(project, store)
    said = []
    reuse = unloaded(project, store_at(tmp_path / "empty", output=project.output, said=said))

    def odd(*_):
        raise UnicodeEncodeError("utf-8", "x", 0, 1, "surrogates not allowed")

    monkeypatch.setattr("model_eval.ledger.save", odd)
    reuse.keep(found.measured, notes=())
    monkeypatch.setattr("model_eval.store.entry.read", odd)
    assert reuse.find() is None
    reason = "UnicodeEncodeError: 'utf-8' codec can't encode character '\\x78' in position 0: surrogates not allowed"
    assert said == [
        f"the measurement is not kept: {reason}",
        f"the measurement of an earlier run is not used: {reason}",
    ]


def test_a_shard_whose_name_is_no_text_is_for_the_loader_to_say(project, store):
    (project.folder / "model.json").write_text('{"weight_map": {"a": "\\ud800.safetensors"}}')
    rewritten(project, "path: model.safetensors", "path: model.json")
    done = measured(project, store.folder)
    assert done.returncode == 3, done.stdout + done.stderr
    assert "nothing is reused: UnicodeEncodeError: " in done.stderr
    assert "bug" not in done.stderr


def test_a_run_that_is_stopped_while_it_is_kept_has_its_report(project, tmp_path, monkeypatch):
    monkeypatch.setattr(
        "model_eval.store.entry.write", lambda *_: (_ for _ in ()).throw(DeadlineReached)
    )
    said = []
    monkeypatch.setattr("model_eval.store.opened.Opened.dependencies", lambda *_, **__: ())
    evaluation = evaluate(
        project.spec,
        roots=[project.folder],
        progress=_no_progress,
        clock=time.monotonic,
        store=store_at(tmp_path / "empty", output=project.output, said=said),
    )
    assert evaluation.report.verdict is Verdict.PASS
    assert said == []
    keep(evaluation, stop=Stop(), say=said.append)
    assert said == ["the measurement is not kept: the run was stopped after it was judged"]


def ending(body, where="model_eval.store.entry.write"):
    """A model whose code replaces a function of ours, which stands for what may befall a process there."""
    module, _, function = where.rpartition(".")
    return (
        f"import os, signal, sys, time\nimport {module} as ours\nbefore = ours.{function}\n"
        f"def instead(*arguments):\n    {body}\nours.{function} = instead\n"
    ) + MODEL


IGNORING = "[signal.signal(s, signal.SIG_IGN) for s in (signal.SIGTERM, signal.SIGALRM)]; "


@pytest.mark.parametrize(
    ("body", "how"),
    [
        ("os.kill(os.getpid(), signal.SIGKILL)", "was killed by SIGKILL"),
        ("os._exit(3)", "ended with 3"),
        (IGNORING + "os.kill(os.getppid(), signal.SIGTERM); time.sleep(60)", "was killed by SIGKILL"),
    ],
    ids=["killed", "exit", "hangs"],
)  # fmt: skip
@pytest.mark.parametrize("status", [0, 1])
def test_what_befalls_a_process_while_it_keeps_does_not_change_its_result(
    tmp_path, body, how, status
):
    project = make_stored(tmp_path / "project", model=ending(body))
    if status:
        rewritten(project, "{metric: accuracy, min: 0.9}", "{metric: accuracy, max: 0.9}")
    done = measured(project, tmp_path / "store")
    assert done.returncode == status, done.stdout + done.stderr
    assert read_report(project.output / REPORT).exit_code == status
    assert (
        f"the measurement is not kept: the evaluation {how} while it kept it; its result stands"
        in done.stderr
    )
    assert not (tmp_path / "store").exists()


def test_a_process_that_dies_before_it_has_handed_its_report_over_is_an_error(tmp_path):
    body = "before(*arguments); os.kill(os.getpid(), signal.SIGKILL)"
    model = ending(body, where="model_eval.output.save_report")
    project = make_stored(tmp_path / "project", model=model)
    done = measured(project, tmp_path / "store")
    assert done.returncode == 4
    [fault] = read_report(project.output / REPORT).faults
    assert fault.message == "the evaluation was killed by SIGKILL"


def test_what_is_not_used_for_long_is_removed(tmp_path):
    for number in range(5):
        (tmp_path / str(number)).mkdir()
        os.utime(tmp_path / str(number), (number, number))
    for name, age in (("half", 1e6), ("old", 1)):
        (tmp_path / f".part-{name}").mkdir()
        os.utime(tmp_path / f".part-{name}", (age, age))
    os.utime(tmp_path / "4", (1e6, 1e6))
    prune(tmp_path, keep=2)
    assert sorted(path.name for path in tmp_path.iterdir()) == [".part-half", "3", "4"]


# --- whole runs ------------------------------------------------------------------------------


def without(report):
    return replace(report, timings=None, reused=None)


def test_a_second_run_is_the_first_without_torch(kept, project, store):
    first = read_report(kept / "project" / "out" / REPORT)
    assert first.verdict is Verdict.PASS
    assert first.reused is None
    script = (
        "import sys; from model_eval.cli import main\n"
        "status = main(sys.argv[1:])\n"
        "assert 'torch' not in sys.modules\n"
        "sys.exit(status)"
    )
    command = [
        sys.executable, "-I", "-c", script, "run", str(project.spec), "--in-process",
        "--cache", str(store.folder), "--output", str(project.output),
    ]  # fmt: skip
    # As a child is started, as the first was: other instructions of NumPy give other last digits.
    done = subprocess.run(
        command, capture_output=True, text=True, timeout=120, check=False,
        env=child_environ(ENVIRON),
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    second = read_report(project.output / REPORT)
    assert second.reused.checkpoint == entry_of(store).name
    assert without(second) == without(first)
    before = open_ledger(kept / "project" / "out" / LEDGER)
    after = open_ledger(project.output / LEDGER)
    assert before.columns.keys() == after.columns.keys()
    assert all((before[name] == after[name]).all() for name in before.columns)
    assert "measured in an earlier run, nothing it depends on has changed: entry" in done.stdout


def test_a_changed_gate_judges_the_stored_ledger(project, store):
    rewritten(project, "{metric: accuracy, min: 0.9}", "{metric: accuracy, max: 0.9}")
    done = measured(project, store.folder)
    assert done.returncode == 1, done.stdout + done.stderr
    report = read_report(project.output / REPORT)
    assert report.verdict is Verdict.FAIL
    assert report.reused.checkpoint == entry_of(store).name


def test_a_store_that_cannot_be_written_warns(tmp_path):
    project = make_project(tmp_path / "project")
    (tmp_path / "store").write_text("a file")
    done = measured(project, tmp_path / "store")
    assert done.returncode == 0
    assert "the measurement is not kept: the store cannot be written: " in done.stderr
    assert read_report(project.output / REPORT).verdict is Verdict.PASS


def test_what_may_only_be_read_is_not_written(tmp_path):
    project = make_project(tmp_path / "project")
    done = measured(project, tmp_path / "store", "--cache-read-only")
    assert done.returncode == 0
    assert "not kept" not in done.stderr
    assert not (tmp_path / "store").exists()


def test_a_model_that_starts_a_process_is_not_kept(tmp_path):
    model = MODEL.replace("return self.layer(x)", "os.system('true'); return self.layer(x)")
    project = make_stored(tmp_path / "project", model=model)
    done = measured(project, tmp_path / "store")
    assert done.returncode == 0
    assert (
        "the measurement is not kept: the model's code starts a process, whose files are not known"
        in done.stderr
    )
    assert not (tmp_path / "store").exists()


def test_a_file_that_the_model_writes_and_reads_is_not_kept(tmp_path):
    line = 'p = HERE / "seen.dat"; p.write_text("1"); p.read_text(); '
    model = MODEL.replace("return self.layer(x)", f"{line}return self.layer(x)")
    project = make_stored(tmp_path / "project", model=model)
    done = measured(project, tmp_path / "store")
    assert done.returncode == 0
    assert "the measurement is not kept: `seen.dat` changed while the model ran" in done.stderr


def test_a_file_that_the_model_leaves_must_be_the_same_or_gone(tmp_path):
    made = tmp_path / "made.dat"
    lines = f'MADE = Path("{made}")\nif not MADE.exists():\n    MADE.write_text("1.0")\n'
    project = make_stored(tmp_path / "project", model=MODEL + lines)
    done = measured(project, tmp_path / "store")
    assert "not kept" not in done.stderr
    said = []
    store = store_at(tmp_path / "store", output=project.output, said=said)
    assert look_up(project, store) is not None
    made.write_text("-1.0")
    assert look_up(project, store) is None
    assert said == [
        f"the measurement of an earlier run is not used: `{made}`, which its model left, has changed"
    ]
    made.unlink()
    assert look_up(project, store) is not None


ADDS = """
import os
with open("{path}", "{mode}") as file:
    found = file.tell()
    {rest}
"""


@pytest.mark.parametrize("mode", ["a", "a+"])
def test_a_file_that_would_have_been_added_to_must_not_be_there(tmp_path, mode):
    grown = tmp_path / "grown.dat"
    lines = ADDS.format(path=grown, mode=mode, rest=f'file.write("1"); os.unlink("{grown}")')
    project = make_stored(tmp_path / "project", model=MODEL + lines)
    done = measured(project, tmp_path / "store")
    assert "not kept" not in done.stderr
    said = []
    store = store_at(tmp_path / "store", output=project.output, said=said)
    assert look_up(project, store) is not None
    grown.write_text("-1.0")
    assert look_up(project, store) is None
    assert said == [
        f"the measurement of an earlier run is not used: `{grown}`, which its model read, has changed"
    ]


@pytest.mark.parametrize("mode", ["a", "a+"])
def test_a_file_that_is_opened_to_be_added_to_must_be_the_same(tmp_path, mode):
    grown = tmp_path / "grown.dat"
    grown.write_text("1")
    lines = ADDS.format(path=grown, mode=mode, rest="pass")
    project = make_stored(tmp_path / "project", model=MODEL + lines)
    assert "not kept" not in measured(project, tmp_path / "store").stderr
    store = store_at(tmp_path / "store", output=project.output)
    assert look_up(project, store) is not None
    grown.unlink()
    assert look_up(project, store) is None


@pytest.mark.parametrize("mode", ["a", "a+"])
@pytest.mark.parametrize("before", [None, "1"])
def test_what_is_added_to_a_file_that_stays_keeps_the_run_from_being_kept(tmp_path, mode, before):
    grown = tmp_path / "grown.dat"
    if before is not None:
        grown.write_text(before)
    lines = ADDS.format(path=grown, mode=mode, rest='file.write("1")')
    done = measured(make_stored(tmp_path / "project", model=MODEL + lines), tmp_path / "store")
    assert f"the measurement is not kept: `{grown}` changed while the model ran" in done.stderr


def test_a_root_may_be_a_single_file(tmp_path):
    project = make_stored(tmp_path / "project")
    (project.folder / "heldout.csv").rename(tmp_path / "heldout.csv")
    rewritten(project, "path: heldout.csv", f"path: {tmp_path}/heldout.csv")
    for _ in range(2):
        done = measured(project, tmp_path / "store", "--allow-path", str(tmp_path / "heldout.csv"))
        assert done.returncode == 0, done.stdout + done.stderr
    assert read_report(project.output / REPORT).reused is not None


def test_a_run_that_fails_to_measure_is_not_kept(tmp_path):
    model = MODEL.replace("return self.layer(x)", "raise ValueError('no'); return self.layer(x)")
    project = make_stored(tmp_path / "project", model=model)
    assert measured(project, tmp_path / "store").returncode == 4
    assert not (tmp_path / "store").exists()


# --- baselines -------------------------------------------------------------------------------


def test_a_baselines_ledger_is_computed_once(project, store):
    save_file(
        {"layer.weight": torch.tensor([[5.0, 4.0]]), "layer.bias": torch.zeros(1)},
        project.folder / "before.safetensors",
    )
    rewritten(project, "golden:", "baseline: {checkpoint: before.safetensors}\ngolden:")
    done = measured(project, store.folder)
    assert done.returncode == 0, done.stdout + done.stderr
    first = read_report(project.output / REPORT)
    assert first.reused is None  # the factory may read the baseline's file, too
    done = measured(project, store.folder)
    second = read_report(project.output / REPORT)
    assert second.reused.baseline is not None
    assert second.reused.checkpoint is not None
    assert without(second) == without(first)

    # Other weights to be judged: the baseline is still there.
    save_file(
        {"layer.weight": torch.tensor([[5.0, 4.5]]), "layer.bias": torch.zeros(1)},
        project.folder / "model.safetensors",
    )
    rewritten(project, "tolerance: 0.001", "tolerance: 10")
    done = measured(project, store.folder)
    third = read_report(project.output / REPORT)
    assert third.reused.checkpoint is None
    assert third.reused.baseline == second.reused.baseline


def test_a_baseline_is_measured_where_the_model_has_run_before(project, store):
    """Its code may need, or be changed by, what that left in the process."""
    baseline = 'baseline: {checkpoint: model.safetensors, factory: "model.py:other"}'
    assert measured(project, store.folder).returncode == 0
    assert look_up(project, store) is not None
    rewritten(project, "golden:", f"{baseline}\ngolden:")
    done = measured(project, store.folder)
    assert "not kept" not in done.stderr
    assert read_report(project.output / REPORT).reused is None
    assert measured(project, store.folder).returncode == 0
    reused = read_report(project.output / REPORT).reused
    assert None not in {reused.checkpoint, reused.baseline}


def test_a_baselines_key_holds_the_model_that_ran_before_it(project, store):
    """In the same process, where it may have left something."""
    baseline = 'baseline: {checkpoint: model.safetensors, factory: "model.py:other"}'
    rewritten(project, "golden:", f"{baseline}\ngolden:")
    before = key_of_the_baseline(project, store)
    assert key_of_the_baseline(project, store) == before
    rewritten(project, "scale: 1.0", "scale: 2.0")
    assert key_of_the_baseline(project, store) != before


def key_of_the_baseline(project, store):
    spec = load_spec(project.spec, roots=[project.folder])
    reuse = Reuse(spec, store)
    assert reuse.find_baseline(spec.baseline) is None
    return reuse._keys["the baseline"].name


def test_a_baseline_is_not_measured_again_because_we_have_read_the_main_checkpoint(project, store):
    # What the meta device cannot build is loaded from the mapped file, by its name.
    line = "        self.drawn = float(self.layer.weight.detach().sum())\n"
    place = "        self.scale = scale"
    (project.folder / "model.py").write_text(MODEL.replace(place, line + place, 1))
    rewritten(project, "path: model.safetensors", "path: model.pt")
    rewritten(project, "golden:", "baseline: {checkpoint: before.safetensors}\ngolden:")
    rewritten(project, "tolerance: 0.001", "tolerance: 10")
    (project.folder / "model.safetensors").rename(project.folder / "before.safetensors")
    for weight in (5.0, 4.5):
        weights = {"layer.weight": torch.tensor([[5.0, weight]]), "layer.bias": torch.zeros(1)}
        torch.save(weights, project.folder / "model.pt")
        done = measured(project, store.folder)
        assert "not kept" not in done.stderr
        assert "not used" not in done.stderr
    report = read_report(project.output / REPORT)
    assert report.reused.checkpoint is None
    assert report.reused.baseline is not None


def test_a_baseline_that_is_not_finite_is_kept_as_it_is(project, store):
    save_file(
        {"layer.weight": torch.tensor([[5.0, 4.0]]), "layer.bias": torch.tensor([-2e38])},
        project.folder / "before.safetensors",
    )
    (project.folder / "scale.dat").write_text("1e30")
    rewritten(project, "golden:", "baseline: {checkpoint: before.safetensors}\ngolden:")
    done = measured(project, store.folder)
    assert "not kept" not in done.stderr
    first = read_report(project.output / REPORT)
    done = measured(project, store.folder)
    second = read_report(project.output / REPORT)
    assert second.reused.baseline is not None
    assert without(second) == without(first)


def test_a_baseline_whose_factory_reads_the_main_checkpoint_is_not_stale(project, store):
    """Its key is of its own checkpoint, so that reading another file is a dependency of it."""
    model = MODEL + (
        "\n\ndef scaled():\n"
        "    return Net(1.0 + float((HERE / 'model.safetensors').stat().st_size > 0)"
        " * len((HERE / 'model.safetensors').read_bytes()))\n"
    )
    (project.folder / "model.py").write_text(model)
    shutil.copy(project.folder / "model.safetensors", project.folder / "before.safetensors")
    rewritten(project, "tolerance: 0.001", "tolerance: 1000000")
    rewritten(
        project,
        "golden:",
        'baseline: {checkpoint: before.safetensors, factory: "model.py:scaled"}\ngolden:',
    )
    for _ in range(2):
        done = measured(project, store.folder)
        assert "not kept" not in done.stderr
    again = read_report(project.output / REPORT)
    assert again.reused.baseline is not None
    save_file(
        {"layer.weight": torch.tensor([[5.0, 4.5]]), "layer.bias": torch.zeros(1)},
        project.folder / "model.safetensors",
    )
    done = measured(project, store.folder)
    assert "the baseline of an earlier run is not used: `model.safetensors`, which" in done.stderr
    assert read_report(project.output / REPORT).reused is None


@pytest.mark.skipif(shutil.which("git") is None, reason="git is not installed")
def test_another_revisions_ledger_is_computed_once(project, store):
    def git(*arguments):
        who = ["-c", "user.name=a", "-c", "user.email=a@example.org"]
        subprocess.run(["git", *who, "-C", project.folder, *arguments], check=True)

    shutil.rmtree(project.output)
    git("init", "-q")
    git("add", ".")
    git("commit", "-qm", "before")
    git("tag", "before")
    before = entry_of(store).name
    rewritten(project, "golden:", "baseline: {git: before}\ngolden:")
    done = measured(project, store.folder)
    assert done.returncode == 0, done.stdout + done.stderr
    report = read_report(project.output / REPORT)
    assert report.baseline.kind == "git"
    assert report.baseline.refused is None
    # The tree of that revision has the same key in another folder: nothing was measured at all.
    assert [path.name for path in store.entries.iterdir()] == [before]
    assert report.reused.checkpoint == report.reused.baseline == before

    # What is measured beside it is kept: to read what that process left is no dependency, nor are
    # the folders of other runs.
    (project.folder / "model.py").write_text(MODEL + "# changed\n")
    killed = project.folder.parent / "model-eval-baseline-killed"
    killed.mkdir()
    (killed / "lock").touch()
    for _ in range(2):
        done = measured(project, store.folder, TMPDIR=str(project.folder.parent))
        assert "not kept" not in done.stderr
    assert not killed.exists()
    report = read_report(project.output / REPORT)
    assert report.reused.checkpoint not in {None, before}, done.stderr
    assert report.reused.baseline == before
