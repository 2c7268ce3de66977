"""The store's own reading of files: the digests of the loaders, and what a model's code opens."""

import ctypes
import importlib
import json
import os
import py_compile
import re
import shutil
import sqlite3
import subprocess
import sys
import tempfile
import threading
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from functools import partial
from hashlib import sha256
from importlib.machinery import SourceFileLoader, SourcelessFileLoader
from mmap import ACCESS_READ, mmap
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from safetensors.torch import save_file

import model_eval
from builders import checkpoints
from builders.heldout import a_spec, an_input, opened
from builders.reports import HERE
from model_eval.cli.arguments import parser
from model_eval.cli.surroundings import store_of
from model_eval.errors import UsageError
from model_eval.ledger import Ledger, save
from model_eval.spec.digest import sha256_of
from model_eval.spec.eval_spec import CheckpointSpec, PathRef
from model_eval.store.code import CodeFiles
from model_eval.store.named import Digests, checkpoint_digest, set_digests
from model_eval.store.opened import Dependency, Opened
from model_eval.store.unproved import UnprovedError
from model_eval.store.variables import Asked
from model_eval.types import Task

# --- the digests of the loaders, which need torch, and of the store, which does without -------


def check_same_digest(source, **changes):
    seal = opened(source, **changes).seal
    assert set_digests(a_spec(source, **changes), Digests()).sha256 == seal.sha256


def test_a_files_digest_is_the_readers(tmp_path):
    (tmp_path / "data.csv").write_text("x,y\n1,0\n2,1\n")
    check_same_digest(tmp_path / "data.csv")


def test_several_arrays_digest_is_the_readers(tmp_path):
    np.save(tmp_path / "first.npy", np.zeros((2, 3), np.float32))
    np.save(tmp_path / "second.npy", np.array([0, 1]))
    check_same_digest({"x": tmp_path / "first.npy", "y": tmp_path / "second.npy"})


def test_a_folder_of_images_digest_is_the_readers(tmp_path):
    for name in ("b/2.png", "a/1.png", "a/0.png", "a/.hidden"):
        path = tmp_path / "images" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (2, 2), (len(name), 0, 0)).save(path, format="png")
    pixels = {"args": (an_input("image"),), "targets": ("label",)}
    check_same_digest(tmp_path / "images", **pixels)
    (tmp_path / "images/a/1.png").rename(tmp_path / "images/a/3.png")
    check_same_digest(tmp_path / "images", **pixels)


def checkpoint(path):
    ref = PathRef(path=path, display=path.name, location=HERE)
    return CheckpointSpec(path=ref, sha256=None, state_key=None)


def test_a_checkpoints_digest_is_the_loaders(tmp_path):
    save_file(checkpoints.a_state(), tmp_path / "model.safetensors")
    _, info = checkpoints.loaded(tmp_path / "model.safetensors")
    assert checkpoint_digest(checkpoint(tmp_path / "model.safetensors"), Digests()) == info.digest


def test_a_sharded_checkpoints_digest_is_the_loaders_and_covers_every_shard(tmp_path):
    state = checkpoints.a_state()
    names = sorted(state)
    shards = {"one.safetensors": names[:1], "two.safetensors": names[1:]}
    for shard, held in shards.items():
        save_file({name: state[name] for name in held}, tmp_path / shard)
    placed = {name: shard for shard, held in shards.items() for name in held}
    index = tmp_path / "model.safetensors.index.json"
    index.write_text(json.dumps({"weight_map": placed}))
    _, info = checkpoints.loaded(index)
    before = checkpoint_digest(checkpoint(index), Digests())
    assert before == info.digest
    changed = {name: state[name] + 1 for name in shards["two.safetensors"]}
    save_file({n: t.to(state[n].dtype) for n, t in changed.items()}, tmp_path / "two.safetensors")
    assert checkpoint_digest(checkpoint(index), Digests()) != before


def test_an_index_that_is_none_is_for_the_loader_to_say(tmp_path):
    (tmp_path / "model.json").write_text("[]")
    with pytest.raises(UnprovedError, match=r"`model\.json` is no index of shards"):
        checkpoint_digest(checkpoint(tmp_path / "model.json"), Digests())


@pytest.mark.parametrize(
    "shard", ["../other/x.safetensors", "/dev/zero", "..", ".", "", "x\0y.safetensors", 3, None]
)
def test_a_shard_that_is_not_beside_the_index_is_for_the_loader_to_say(tmp_path, shard):
    index = tmp_path / "model.safetensors.index.json"
    index.write_text(json.dumps({"weight_map": {"a": shard}}))
    with pytest.raises(UnprovedError, match="is no index of shards"):
        checkpoint_digest(checkpoint(index), Digests())


def test_a_link_to_nothing_in_a_folder_of_images_is_for_the_reader_to_say(tmp_path):
    (tmp_path / "images/a").mkdir(parents=True)
    (tmp_path / "images/a/1.png").symlink_to("gone.png")
    pixels = {"args": (an_input("image"),), "targets": ("label",)}
    with pytest.raises(UnprovedError, match=r"1\.png` is a symlink to `gone\.png`, which does not"):
        set_digests(a_spec(tmp_path / "images", **pixels), Digests())


# --- the code --------------------------------------------------------------------------------


def code_of(*roots, leave_out=(), output=None, **more):
    out = frozenset(os.path.realpath(path) for path in leave_out)
    return CodeFiles(roots, leave_out=out, output=output, digests=Digests(), **more)


@pytest.mark.parametrize(
    "name",
    [
        "net.py", "sub/net.py", "ops.so", "conf.yaml", "back.ONNX", "image.png", "table.csv", "calib.pt",
        "t.dat", "s.sqlite-wal", "no_suffix", ".hidden/net.py", ".cache/hub/m.safetensors", "venv/net.py",
        "out/other.json", "out/ledger-2024.parquet", "out/sub/report.json", "other/report.json", "other/ledger.parquet",
        "set/.hidden.bin", "set/.hidden/1.png",
    ],
)  # fmt: skip
def test_all_files_count_with_their_content(tmp_path, name):
    tree = tree_of(tmp_path, name)
    before = tree.digest()
    (tmp_path / name).write_text("2")
    assert tree.digest() != before


@pytest.mark.parametrize(
    "name",
    [
        "README.md", "docs/index.rst", ".git/index", "sub/.git/index", "__pycache__/net.pyc", "out/report.json",
        "out/summary.md", "out/ledger.parquet", "out/.report.json.part", "out/.ledger-more.parquet.part",
        "set/1.png", "left.csv", "store/1/key.json",
    ],
)  # fmt: skip
def test_what_has_a_digest_of_its_own_or_is_no_code_does_not_count(tmp_path, name):
    tree = tree_of(tmp_path, name)
    before = tree.digest()
    (tmp_path / name).write_text("2")
    assert tree.digest() == before


def test_a_further_ledger_of_the_runs_own_does_not_count(tmp_path):
    tree = tree_of(tmp_path, "out/other.json")
    before = tree.digest()
    value = np.array([[0.5]])
    columns = {"id": np.array([1]), "finite": value[0] > 0, "target": value, "prediction": value}
    save(
        Ledger(task=Task.REGRESSION, columns=columns, outputs=("y",)),
        tmp_path / "out/ledger-more.parquet",
    )
    assert tree.digest() == before


def tree_of(folder, name):
    for one in (name, "left.csv", "set/0.png"):
        (folder / one).parent.mkdir(parents=True, exist_ok=True)
        (folder / one).write_text("1")
    return code_of(
        folder,
        leave_out=[folder / "left.csv", folder / "set"],
        ours=frozenset({str(folder / "store")}),
        output=folder / "out",
    )


@pytest.mark.parametrize(
    "name", ["table.npy", "README.md", "sub/README.md", "empty/", ".env", "set/link.png"]
)
def test_that_something_is_there_counts(tmp_path, name):
    tree = tree_of(tmp_path, "net.py")
    before = tree.digest()
    path = tmp_path / name
    path.parent.mkdir(exist_ok=True)
    if name.endswith("/"):
        path.mkdir()
    elif "link" in name:
        path.symlink_to("0.png")
    else:
        path.touch()
    assert tree.digest() != before


@pytest.mark.parametrize("name", ["out/report.json", "store/1/key.json"])
def test_the_folders_that_a_run_makes_do_not_count(tmp_path, name):
    tree = tree_of(tmp_path, "net.py")
    before = tree.digest()
    (tmp_path / name).parent.mkdir(parents=True)
    (tmp_path / name).touch()
    assert tree.digest() == before


def test_a_store_in_the_output_folder_does_not_count(tmp_path):
    out = tmp_path / "out"
    tree = code_of(tmp_path, ours=frozenset({str(out / "store")}), output=out)
    before = tree.digest()
    (out / "store/1").mkdir(parents=True)
    (out / "store/1/key.json").touch()
    assert tree.digest() == before
    assert tree.is_ours(out / "store")
    (out / "other").touch()
    assert tree.digest() != before


def test_where_a_link_leads_counts_and_not_where_the_root_is(tmp_path):
    digests = []
    for root, link in (("one", "v1"), ("two", "v1"), ("one", "v2"), ("one", str(tmp_path / "v1"))):
        for version in ("v1", "v2"):
            (tmp_path / root / version).mkdir(parents=True, exist_ok=True)
        for name, target in (("latest", link), ("absolute", tmp_path / root / "v1")):
            (tmp_path / root / name).unlink(missing_ok=True)
            (tmp_path / root / name).symlink_to(target)
        digests.append(code_of(tmp_path / root).digest())
    assert digests[0] == digests[1]
    assert len(set(digests)) == 3


def test_a_root_may_be_one_file(tmp_path):
    (tmp_path / "data.csv").write_text("1")
    before = code_of(tmp_path / "data.csv").digest()
    assert code_of(tmp_path / "data.csv").digest() == before
    (tmp_path / "data.csv").write_text("2")
    assert code_of(tmp_path / "data.csv").digest() != before


def test_names_that_hold_separators_do_not_give_the_bytes_of_others(tmp_path):
    for root, name in (("one", "a\nb"), ("two", "a")):
        (tmp_path / root).mkdir()
        (tmp_path / root / name).touch()
    (tmp_path / "two/b").touch()
    assert code_of(tmp_path / "one").digest() != code_of(tmp_path / "two").digest()


def test_the_limit_is_for_what_the_spec_does_not_name(tmp_path, monkeypatch):
    monkeypatch.setattr("model_eval.store.code.MAX_BYTES", 3)
    (tmp_path / "base.pt").write_text("12345")
    code_of(tmp_path, named=frozenset({str(tmp_path / "base.pt")})).digest()
    with pytest.raises(UnprovedError, match="hold more than"):
        code_of(tmp_path).digest()


def test_code_is_its_place_and_content_and_not_where_the_root_is(tmp_path):
    for root in ("one", "two"):
        (tmp_path / root).mkdir()
        (tmp_path / root / "net.py").write_text("1")
    one = code_of(tmp_path / "one").digest()
    assert one == code_of(tmp_path / "two").digest()
    (tmp_path / "two/net.py").rename(tmp_path / "two/other.py")
    assert one != code_of(tmp_path / "two").digest()


def test_a_link_counts_with_what_it_leads_to(tmp_path):
    (tmp_path / "root").mkdir()
    (tmp_path / "outside.py").write_text("1")
    (tmp_path / "root/net.py").symlink_to(tmp_path / "outside.py")
    (tmp_path / "root/nothing.py").symlink_to(tmp_path / "missing.py")
    before = code_of(tmp_path / "root").digest()
    (tmp_path / "outside.py").write_text("2")
    assert code_of(tmp_path / "root").digest() != before


def test_too_much_to_read_is_not_reused(tmp_path, monkeypatch):
    monkeypatch.setattr("model_eval.store.code.MAX_FILES", 3)
    for number in range(4):
        (tmp_path / f"{number}.py").touch()
    with pytest.raises(UnprovedError, match="hold more than"):
        code_of(tmp_path).digest()


# --- what is opened --------------------------------------------------------------------------


OURS = str(Path(model_eval.__file__).parent / "engine/loop.py")


@pytest.fixture
def heard(tmp_path, monkeypatch):
    """A root with a file, and what listens to it."""
    root = tmp_path / "root"
    root.mkdir()
    (root / "known.dat").write_text("1")
    listening = Opened([root], code_of(root))
    listening._loaded = False  # of this process's own modules none is the model's
    # The tests' own modules are elsewhere.
    installed = [path for path in sys.path if f"{path}/".startswith(listening._installed)]
    monkeypatch.setattr("sys.path", installed)
    listening.start()
    yield root, listening
    listening._begun = False


def found(listening, **more):
    return listening.dependencies(but=more.get("but", frozenset()), digests=Digests())


def written(listening, path):
    """A file that was there before, as far as the listener knows."""
    with listening.paused():
        path.write_text("1")


def test_files_and_folders_are_heard_of_once(heard):
    root, listening = heard
    for _ in range(2):
        (root / "known.dat").read_text()
        os.listdir(root)
    one, folder = found(listening)
    assert (one.root, one.path, one.folder) == (0, "known.dat", False)
    assert (folder.root, folder.path, folder.folder) == (0, ".", True)


def test_a_file_that_is_missing_is_a_dependency(heard):
    root, listening = heard
    with pytest.raises(FileNotFoundError):
        (root / "missing.dat").read_text()
    at = str(root / "missing.dat")
    missing = Dependency(root=0, path="missing.dat", at=at, folder=False, sha256=None)
    assert found(listening) == (missing,)


def test_a_thread_is_heard(heard):
    root, listening = heard
    thread = threading.Thread(target=(root / "known.dat").read_text)
    thread.start()
    thread.join()
    assert [one.path for one in found(listening)] == ["known.dat"]


def test_a_thread_is_heard_while_another_one_is_paused(heard):
    root, listening = heard
    thread = threading.Thread(target=(root / "known.dat").read_text)
    with listening.paused():
        thread.start()
        thread.join()
        os.listdir(root)
    assert [one.path for one in found(listening)] == ["known.dat"]


def test_a_link_counts_with_its_own_name(heard, tmp_path):
    root, listening = heard
    written(listening, tmp_path / "far.dat")
    os.utime(tmp_path / "far.dat", (1, 1))
    (root / "near.dat").symlink_to(tmp_path / "far.dat")
    (root / "near.dat").read_text()
    assert [one.path for one in found(listening)] == ["near.dat"]


def test_a_parent_behind_a_link_is_refused_and_others_are_not(heard, tmp_path):
    root, listening = heard
    (tmp_path / "shared/package").mkdir(parents=True)
    written(listening, tmp_path / "shared/scale.txt")
    (root / "package").mkdir()
    (root / "package/../known.dat").read_text()
    assert [one.path for one in found(listening)] == ["known.dat"]
    (root / "link").symlink_to(tmp_path / "shared/package")
    Path(root, "link", "..", "scale.txt").read_text()
    with pytest.raises(UnprovedError, match=r"which file `.*link/\.\./scale\.txt` is"):
        found(listening)


def test_modules_are_looked_for_behind_a_link_that_leads_out(heard, tmp_path, monkeypatch):
    root, listening = heard
    (tmp_path / "shared").mkdir()
    (root / "inside").mkdir()
    (root / "link").symlink_to(tmp_path / "shared")
    monkeypatch.setattr("sys.path", [*sys.path, str(root / "link"), str(root / "inside")])
    with pytest.raises(ModuleNotFoundError):
        importlib.import_module("module_that_nobody_has")
    assert [one.path for one in found(listening) if one.root is not None] == ["link"]


@pytest.mark.parametrize(
    ("name", "covered"),
    [
        (".", True),
        ("package/missing", True),
        ("link", False),
        ("env", False),
        ("env/src/package", False),
        (".git/hooks", False),
        ("../elsewhere", False),
    ],
)
def test_which_names_have_a_part_in_the_digest(tmp_path, monkeypatch, name, covered):
    (tmp_path / "root").mkdir()
    (tmp_path / "root/link").symlink_to(tmp_path)
    monkeypatch.setattr("sys.prefix", str(tmp_path / "root/env"))
    assert code_of(tmp_path / "root").covers(str(tmp_path / "root" / name)) is covered
    monkeypatch.setattr("sys.prefix", str(tmp_path))  # of the system, with the repository below it
    assert code_of(tmp_path / "root").covers(str(tmp_path / "root"))


def test_what_is_outside_counts_wherever_it_is_from(heard, tmp_path):
    _, listening = heard
    old, new, later = (tmp_path / name for name in ("old.dat", "new.dat", "later.dat"))
    old.write_text("of another")
    later.write_text("")
    os.utime(later, (4e9, 4e9))
    new.write_text("of this run, which leaves it")
    for path in (old, new, later):
        path.read_text()
    assert [(one.root, one.path) for one in found(listening)] == [
        (None, str(path)) for path in (old, new, later)
    ]


def test_what_this_run_makes_and_removes_is_its_own(heard):
    _, listening = heard
    with tempfile.TemporaryDirectory() as folder:
        (Path(folder) / "own.tmp").write_text("1")
        (Path(folder) / "own.tmp").read_text()
        (Path(folder) / "below").mkdir()
        assert sorted(os.listdir(folder)) == ["below", "own.tmp"]
    with tempfile.NamedTemporaryFile("w+") as file:
        Path(file.name).read_text()
    assert found(listening) == ()


def test_what_is_missing_outside_is_a_dependency(heard, tmp_path):
    _, listening = heard
    with pytest.raises(FileNotFoundError):
        (tmp_path / "missing.dat").read_text()
    [one] = found(listening)
    assert (one.root, one.path, one.sha256) == (None, str(tmp_path / "missing.dat"), None)


def test_a_listing_outside_is_a_dependency(heard, tmp_path):
    _, listening = heard
    (tmp_path / "v").mkdir()
    for list_it in (list(os.scandir(tmp_path / "v")), os.listdir(tmp_path / "v")):
        assert list_it == []
    [one] = found(listening)
    assert (one.root, one.path, one.folder) == (None, str(tmp_path / "v"), True)
    (tmp_path / "v/.hidden").write_text("")
    with pytest.raises(UnprovedError, match=r"the folder `.*v` changed while the model ran"):
        found(listening)


def test_a_folder_that_is_listed_by_its_number_is_a_dependency(heard, tmp_path):
    _, listening = heard
    number = os.open(tmp_path, os.O_RDONLY)
    os.listdir(number)
    os.close(number)
    assert [one.path for one in found(listening)] == [str(tmp_path)]


def test_a_file_below_a_folder_that_has_a_number_only_is_refused(heard, tmp_path):
    root, listening = heard
    number = os.open(root, os.O_RDONLY)
    os.close(os.open("known.dat", os.O_RDONLY, dir_fd=number))
    os.close(number)
    with pytest.raises(
        UnprovedError, match=r"which file `known\.dat` is, that the model's code opens"
    ):
        found(listening)


def test_what_can_be_read_once_is_refused(heard):
    root, listening = heard
    Path("/dev/null").read_text()
    assert found(listening) == ()
    os.mkfifo(root / "pipe")
    os.close(os.open(root / "pipe", os.O_RDONLY | os.O_NONBLOCK))
    with pytest.raises(UnprovedError, match=r"which file `.*pipe` is"):
        found(listening)


def test_a_folder_where_modules_are_looked_for_is_a_dependency(tmp_path, monkeypatch):
    (tmp_path / "root").mkdir()
    (tmp_path / "libs").mkdir()
    monkeypatch.syspath_prepend(tmp_path / "libs")
    listening = Opened([tmp_path / "root"], code_of(tmp_path / "root"))
    listening._loaded = False
    listening.start()
    listening._begun = False
    assert str(tmp_path / "libs") in [one.path for one in found(listening)]


def test_a_place_for_modules_that_the_model_adds_is_a_dependency(heard, tmp_path, monkeypatch):
    """Nothing is there to be listed, and a folder or an archive that comes there is looked into."""
    root, listening = heard
    (tmp_path / "libs").mkdir()
    added = [str(tmp_path / "override"), str(tmp_path / "libs"), str(root / "package"), root]
    monkeypatch.setattr("sys.path", [*added, *sys.path])
    archive, folder, libs = found(listening)
    assert archive == replace(folder, folder=False)
    assert (folder.path, folder.folder, folder.sha256) == (added[0], True, None)
    assert (libs.path, libs.folder, libs.sha256 is None) == (added[1], True, False)


def test_what_this_run_makes_and_leaves_is_a_dependency(heard, tmp_path):
    _, listening = heard
    (tmp_path / "log.dat").write_text("written")
    (tmp_path / ".whole.dat.part").write_text("whole")
    (tmp_path / ".whole.dat.part").replace(tmp_path / "whole.dat")
    (tmp_path / "read.dat").write_text("read")
    (tmp_path / "read.dat").read_text()
    assert [(Path(one.path).name, one.made) for one in found(listening)] == [
        ("read.dat", False),
        ("log.dat", True),
        ("whole.dat", True),
    ]


def test_what_is_written_to_or_left_out_is_no_dependency(heard):
    root, listening = heard
    (root / "known.dat").write_text("more")
    assert found(listening) == ()
    (root / "known.dat").read_text()
    assert found(listening, but=frozenset({str(root / "known.dat")})) == ()


def test_what_is_hidden_in_a_folder_of_images_has_no_digest_of_its_own(heard):
    root, listening = heard
    images = root / "..images"  # its own name does not count
    names = ["no/1.png", "no/.labels.md", ".git/sign", "yes/.hidden/1.png", "yes/1..png"]
    for name in names:
        (images / name).parent.mkdir(parents=True, exist_ok=True)
        written(listening, images / name)
        (images / name).read_text()
    but = frozenset({str(images)})
    assert [one.path for one in found(listening, but=but)] == [
        f"..images/{name}" for name in names[1:4]
    ]


def test_a_file_that_changes_is_refused(heard):
    root, listening = heard
    (root / "known.dat").read_text()
    (root / "known.dat").write_text("22")
    with pytest.raises(UnprovedError, match=r"`known\.dat` changed while the model ran"):
        found(listening)


def test_our_own_reading_is_none_of_the_models(heard, tmp_path):
    root, listening = heard
    for path in (root / "named.csv", tmp_path / "ledger.parquet"):
        written(listening, path)
        sha256_of(path)
        assert found(listening) == ()
    (root / "named.csv").read_text()
    code = compile(
        f"sha256_of(Path({str(tmp_path / 'ledger.parquet')!r}))", str(root / "x.py"), "eval"
    )
    eval(code, {"sha256_of": sha256_of, "Path": Path})  # a line of the model's that uses our code
    assert [Path(one.path).name for one in found(listening)] == ["named.csv", "ledger.parquet"]


def test_too_much_that_is_opened_is_refused(heard, monkeypatch):
    root, listening = heard
    (root / "known.dat").read_text()
    monkeypatch.setattr("model_eval.store.opened.MAX_BYTES", 0)
    with pytest.raises(UnprovedError, match="the model's code opens files of more than 0 GiB"):
        found(listening)


def test_a_name_that_is_not_utf_8_is_refused(heard):
    root, listening = heard
    path = os.fsencode(root) + b"/caf\xe9.dat"
    os.close(os.open(path, os.O_CREAT | os.O_RDONLY))
    os.close(os.open(path, os.O_RDONLY))
    with pytest.raises(UnprovedError, match=r"the name of `caf.*\.dat` is not UTF-8"):
        found(listening)


def test_the_number_of_an_open_file_is_that_file(heard):
    root, listening = heard
    with (root / "known.dat").open() as file, open(f"/dev/fd/{file.fileno()}"):
        pass
    assert [one.path for one in found(listening)] == ["known.dat"]


def compiled(listening, source):
    """Bytecode in the place where import looks for that of a source, as an earlier run leaves it."""
    with listening.paused():
        source.write_text("VALUE = 1")
        return Path(py_compile.compile(str(source), doraise=True))


def test_bytecode_that_import_holds_against_its_source_counts_as_that(heard):
    root, listening = heard
    cache = compiled(listening, root / "module.py")
    assert SourceFileLoader("module", str(root / "module.py")).get_code("module")
    [one] = found(listening)
    assert (one.path, one.sha256) == ("module.py", sha256_of(root / "module.py"))
    assert cache.exists()


@pytest.mark.parametrize("there", [True, False])
def test_bytecode_that_is_held_against_no_source_counts(heard, there):
    root, listening = heard
    cache = compiled(listening, root / "module.py")
    if not there:
        (root / "module.py").unlink()
    assert SourcelessFileLoader("module", str(cache)).get_code("module")
    source, one = found(listening)
    assert (source.path, source.sha256 is not None) == ("module.py", there)
    assert (one.path, one.sha256) == (f"__pycache__/{cache.name}", sha256_of(cache))


def test_a_library_is_heard(heard):
    root, listening = heard
    with pytest.raises(OSError, match=r"known\.dat"):
        ctypes.CDLL(str(root / "known.dat"))
    assert [one.path for one in found(listening)] == ["known.dat"]


def test_what_native_code_has_mapped_is_heard(heard, tmp_path):
    """A library that the system has found for another one is not opened by Python."""
    root, listening = heard
    inside, outside = root / "inside.so", tmp_path / "outside.so"
    with mapping(listening, inside), mapping(listening, outside):
        [one] = found(listening)
    assert (one.path, one.sha256) == (str(outside), sha256(b"1").hexdigest())


def mapping(listening, path):
    """A file that native code maps, of which nobody is told."""
    written(listening, path)
    with listening.paused(), path.open("rb") as file:
        return mmap(file.fileno(), 0, access=ACCESS_READ)


@pytest.mark.parametrize("instead", [True, False])
def test_a_file_that_is_replaced_while_it_is_mapped_is_refused(heard, tmp_path, instead):
    _, listening = heard
    path = tmp_path / "outside.so"
    with mapping(listening, path):
        path.unlink()
        if instead:
            written(listening, path)
        with pytest.raises(
            UnprovedError, match=r"`.*outside\.so` was replaced while the model had it mapped"
        ):
            found(listening)


def test_memory_and_what_this_run_has_made_are_no_files_that_are_replaced(heard, tmp_path):
    _, listening = heard
    own = tmp_path / "own.dat"
    own.write_text("1")
    memory = os.memfd_create("shared")
    os.truncate(memory, 8)
    with own.open("rb") as file, mmap(file.fileno(), 0, access=ACCESS_READ):
        own.unlink()
        with mmap(memory, 8), mmap(-1, 8):
            assert found(listening) == ()
    os.close(memory)


def test_a_database_is_heard_with_what_is_beside_it(heard):
    root, listening = heard
    sqlite3.connect(":memory:").close()
    sqlite3.connect(root / "known.dat").close()
    names = ["known.dat", "known.dat-journal", "known.dat-wal"]
    assert [one.path for one in found(listening)] == names


def test_a_database_by_a_uri_is_refused(heard):
    root, listening = heard
    sqlite3.connect(f"file:{root}/known.dat?mode=ro", uri=True).close()
    with pytest.raises(UnprovedError, match=r"which file `file:.*known\.dat\?mode=ro` is"):
        found(listening)


def test_what_is_installed_is_known_by_its_version(heard):
    _, listening = heard
    importlib.import_module("xml.dom.minidom")
    (Path(np.__file__).parent / "version.py").read_text()
    assert found(listening) == ()


def test_what_no_version_tells_of_is_heard_of_where_others_are_installed(
    heard, tmp_path, monkeypatch
):
    site = tmp_path / "lib/site-packages"
    (site / "package").mkdir(parents=True)
    (site / "one-1.0.dist-info").mkdir()
    (site / "one-1.0.dist-info/RECORD").write_text(
        "package/known.bin,sha512=0,1\npackage/cached.pyc,,\none-1.0.dist-info/RECORD,,\n"
    )
    for name in ("known.bin", "cached.pyc", "downloaded.bin"):
        (site / "package" / name).write_text("1")
    monkeypatch.setattr("sys.path", [*sys.path, str(site)])
    listening = Opened([tmp_path / "root"], code_of(tmp_path / "root"))
    listening._loaded = False
    listening.start()
    for name in ("known.bin", "cached.pyc", "downloaded.bin"):
        (site / "package" / name).read_text()
    assert [Path(one.path).name for one in found(listening)] == ["cached.pyc", "downloaded.bin"]
    listening._begun = False


def test_a_file_that_must_not_be_there_counts_where_it_is(heard, tmp_path):
    _, listening = heard
    path = tmp_path / "taken"
    written(listening, path)
    with pytest.raises(FileExistsError):
        path.open("x")
    assert [(one.path, one.sha256 is None) for one in found(listening)] == [(str(path), False)]


def test_a_file_below_the_root_that_was_another_in_between_is_seen(tmp_path):
    (tmp_path / "net.py").write_text("1")
    code = code_of(tmp_path)
    before = code.digest(), code.stamps
    assert (code.digest(), code.stamps) == before
    (tmp_path / "net.py").write_text("2")
    (tmp_path / "net.py").write_text("1")
    assert code.digest() == before[0]
    assert code.stamps != before[1]


def test_nothing_is_heard_while_paused(heard):
    root, listening = heard
    with listening.paused():
        (root / "known.dat").read_text()
    assert found(listening) == ()


CODE_OF_A_MODEL = """
import multiprocessing, os, subprocess, sys
def work():
    pass
def system():
    os.system("true")
def run():
    subprocess.run([sys.executable, "-c", ""])
def fork():
    multiprocessing.get_context("fork").Process(target=work).start()
def posix_spawn():
    os.posix_spawn(sys.executable, [sys.executable, "-c", ""], {})
def joblib():
    from joblib import Parallel, delayed
    Parallel(n_jobs=2)(delayed(abs)(i) for i in range(2))
def in_a_pool():
    from concurrent.futures import ThreadPoolExecutor
    with ThreadPoolExecutor(1) as pool:
        list(pool.map(subprocess.check_output, [[sys.executable, "-c", ""]]))
def spawn():
    multiprocessing.get_context("spawn").Process(target=work).start()
def nothing():
    pass
"""


@pytest.mark.parametrize(
    ("way", "ends"),
    [
        ("system", True),
        ("run", True),
        ("fork", True),
        ("spawn", True),
        ("posix_spawn", True),
        ("joblib", True),
        ("in_a_pool", True),
        ("nothing", False),
    ],
)
def test_a_process_of_the_models_is_noticed(tmp_path, way, ends):
    (tmp_path / "startsit.py").write_text(CODE_OF_A_MODEL)
    script = f"""
import sys
from pathlib import Path
from model_eval.store.code import CodeFiles
from model_eval.store.named import Digests
from model_eval.store.opened import Opened
from model_eval.store.unproved import UnprovedError
if __name__ == "__main__":
    root = Path({str(tmp_path)!r})
    code = CodeFiles([root], leave_out=frozenset(), output=None, digests=Digests())
    code.digest()
    listening = Opened([root], code)
    listening.start()
    sys.path.append(str(root))
    import startsit
    startsit.{way}()
    try:
        listening.dependencies(but=frozenset(), digests=Digests())
        print("kept")
    except UnprovedError as error:
        print(error)
"""
    (tmp_path / "script.txt").write_text(script)
    command = [sys.executable, "-c", script]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=True)
    expected = "the model's code starts a process, whose files are not known" if ends else "kept"
    assert done.stdout.strip() == expected


def test_a_process_of_our_own_is_none_of_the_models(heard, monkeypatch):
    root, listening = heard
    monkeypatch.chdir(root)  # where `<frozen os>` would be a file of the root's
    platform = importlib.reload(importlib.import_module("platform"))
    called_from(OURS, call=partial(subprocess.run, ["true"], check=True))
    called_from(OURS, call=platform.processor)
    assert [one for one in found(listening) if one.root is not None] == []


def called_from(*files, call):
    """What a call gives in a line of the first file, which one of the next has called, and so on."""
    for file in map(str, files):
        call = eval(compile("lambda: call()", file, "eval"), {"call": call})
    return call()


ELSEWHERE = "/opt/team/lib.py"


@pytest.mark.parametrize(
    ("files", "counts"),
    [
        ([], False),
        ([json.__file__], False),
        (["model.py"], True),
        ([json.__file__, ELSEWHERE, json.__file__], True),
        (["<string>"], True),
        (["<frozen os>"], False),
    ],
)
def test_whose_line_is_running(heard, files, counts):
    """One of the repository's, or one of elsewhere that ours has called; who calls us is nobody's."""
    root, listening = heard
    paths = [str(root / file) if file == "model.py" else file for file in files]
    frame = called_from(*paths, OURS, ELSEWHERE, call=sys._getframe)
    assert listening.is_the_models(frame) is counts
    inside = called_from(OURS, *paths, OURS, call=sys._getframe)
    assert listening.is_the_models(inside) is ("model.py" in files)


def test_code_that_ours_is_called_by_may_be_generated(heard):
    _, listening = heard
    assert not listening.is_the_models(called_from(OURS, "<string>", call=sys._getframe))


def test_a_thread_without_a_line_of_ours_may_be_the_models(heard):
    _, listening = heard
    asked = Asked({}, listening.is_the_models)
    with ThreadPoolExecutor(1) as pool:
        [frame] = pool.map(sys._getframe, [0])
        pool.submit(asked.hear, "ONE", frame).result()
    asked.hear("TWO", frame)
    assert asked.dependencies() == {"ONE": None}


def test_a_process_that_is_there_at_the_end_is_noticed_however_it_was_started(heard):
    _, listening = heard
    with listening.paused():  # as of native code
        child = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
    try:
        with pytest.raises(UnprovedError, match="the model's code starts a process"):
            found(listening)
    finally:
        child.communicate()
    assert found(listening) == ()


def test_code_that_was_loaded_before_is_not_trusted_to_be_the_files(tmp_path, monkeypatch):
    (tmp_path / "loaded_before.py").write_text("X = 1\n")
    monkeypatch.syspath_prepend(tmp_path)
    __import__("loaded_before")
    listening = Opened([tmp_path], code_of(tmp_path))
    with pytest.raises(UnprovedError, match="was loaded before this run began"):
        found(listening)


# --- the action ---


@pytest.mark.skipif(shutil.which("bash") is None, reason="bash is not installed")
def test_the_action_sees_an_entry_that_is_replaced_under_its_name(tmp_path):
    script = Path(__file__).parents[2] / "entrypoint/host/sandbox.sh"
    [function] = re.findall(r"^kept\(\) \{.*?^\}", script.read_text(), re.MULTILINE | re.DOTALL)

    def kept():
        command = ["bash", "-euo", "pipefail", "-c", f"{function}\nkept"]
        environ = {"PATH": os.environ["PATH"], "MODEL_EVAL_STORE": str(tmp_path)}
        return subprocess.run(
            command, env=environ, capture_output=True, text=True, check=True
        ).stdout

    assert kept() == ""
    for name in ("one", ".part-two"):
        (tmp_path / "measured-v1" / name).mkdir(parents=True)
        (tmp_path / "measured-v1" / name / "manifest.json").write_text("1")
    before = kept()
    assert before.endswith("  ./measured-v1/one/manifest.json\n")
    assert before.count("\n") == 1
    (tmp_path / "measured-v1/one/manifest.json").write_text("2")
    assert kept() != before


# --- the command line ------------------------------------------------------------------------


def chosen(*arguments, **environ):
    return store_of(parser().parse_args(["run", "spec.yaml", *arguments]), environ)


def test_there_is_no_store_unless_one_is_named():
    assert chosen() is None
    assert chosen("--cache", "x").folder == Path("x").absolute()
    assert chosen(MODEL_EVAL_CACHE="/y").folder == Path("/y")
    assert chosen("--cache", "x", MODEL_EVAL_CACHE="/y").folder == Path("x").absolute()
    assert chosen("--no-cache", MODEL_EVAL_CACHE="/y") is None
    assert chosen(MODEL_EVAL_CACHE="") is None


def test_a_folder_below_somebodys_home(monkeypatch):
    monkeypatch.setenv("HOME", "/home/me")
    assert chosen("--cache", "~/x").folder == Path("/home/me/x")
    assert chosen(MODEL_EVAL_CACHE="~/x").folder == Path("/home/me/x")
    with pytest.raises(UsageError, match="`~nobody-has-this-name/x`, is below a home that is not"):
        chosen("--cache", "~nobody-has-this-name/x")


def test_an_empty_name_is_refused():
    with pytest.raises(UsageError, match="`--cache` names no folder"):
        chosen("--cache", "", MODEL_EVAL_CACHE="/y")


def test_a_child_is_told_the_same():
    store = chosen("--cache", "/x", "--cache-read-only")
    assert store.read_only
    again = chosen(*store.arguments)
    assert (again.folder, again.read_only) == (store.folder, True)


def test_contradicting_arguments_are_refused():
    with pytest.raises(UsageError, match="`--cache` and `--no-cache` contradict each other"):
        chosen("--cache", "x", "--no-cache")
