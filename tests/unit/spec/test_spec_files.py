"""Files that cannot be used, the spec's own and those that it names; none of them may hang."""

import errno
import os
import socket
import time

import pytest

from model_eval.errors import SpecError
from model_eval.spec import load_spec
from model_eval.spec.files import NotRegularError, explain, open_regular


def load_faults(path, *roots):
    with pytest.raises(SpecError) as caught:
        load_spec(path, roots=roots)
    return str(caught.value).splitlines()


def test_missing(workspace):
    assert load_faults(workspace.root / "sub" / "spec.yaml", workspace.root) == [
        (
            "the spec `sub/spec.yaml` does not exist; check the path; it must be committed, or made "
            "before this step"
        )
    ]


def test_directory(workspace):
    assert load_faults(workspace.root / "images", workspace.root) == [
        "the spec `images` is a folder, not a file; name a file in it"
    ]


def test_dangling_symlink(workspace):
    workspace.spec.symlink_to("nowhere.yaml")
    assert load_faults(workspace.spec, workspace.root) == [
        (
            "the spec `spec.yaml` is a symlink to `nowhere.yaml`, which does not exist; commit the "
            "file that it points to"
        )
    ]


def test_symlink_loop(workspace):
    workspace.spec.symlink_to("spec.yaml")
    assert load_faults(workspace.spec, workspace.root) == [
        "the spec `spec.yaml` is a symlink that leads back to itself; point the symlink at a file"
    ]


def test_symlink_out_of_the_root(workspace):
    outside = workspace.root.parent / "outside.yaml"
    outside.write_text(workspace.valid)
    workspace.spec.symlink_to(outside)
    assert load_faults(workspace.spec, workspace.root) == [
        (
            f"the spec `spec.yaml` is outside of `{workspace.root}`; move it inside, or name its "
            "folder with `--allow-path`"
        )
    ]


def test_fifo_does_not_hang(workspace):
    os.mkfifo(workspace.spec)
    start = time.monotonic()
    assert load_faults(workspace.spec, workspace.root) == [
        "the spec `spec.yaml` is a FIFO, not a file; name a regular file"
    ]
    assert time.monotonic() - start < 1


def test_socket(workspace, monkeypatch):
    monkeypatch.chdir(workspace.root)  # the path of a socket is short
    with socket.socket(socket.AF_UNIX) as made:
        made.bind("spec.yaml")
        [found] = load_faults(workspace.spec, workspace.root)
    assert found.startswith("the spec `spec.yaml` ")


def test_device(workspace):
    [found] = load_faults(workspace.root.__class__("/dev/zero"), workspace.root.__class__("/dev"))
    assert found == "the spec `zero` is a device, not a file; name a regular file"


def test_too_large(workspace):
    workspace.spec.write_bytes(b"#" * (256 * 1024 + 1))
    assert load_faults(workspace.spec, workspace.root) == [
        (
            "the spec `spec.yaml` is larger than 256 KiB; name the spec, not a data file; a spec holds "
            "names, not data"
        )
    ]


def test_as_large_as_allowed(workspace):
    padding = "#" * (256 * 1024 - len(workspace.valid))
    assert workspace.load(workspace.valid + padding).name == "case"


@pytest.mark.skipif(os.geteuid() == 0, reason="root can read everything")
def test_unreadable(workspace):
    workspace.spec.write_text(workspace.valid)
    workspace.spec.chmod(0)
    assert load_faults(workspace.spec, workspace.root) == [
        (
            "the spec `spec.yaml` cannot be read: permission denied; make it readable for the user of "
            "this run"
        )
    ]


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (OSError(errno.EACCES, "x"), "cannot be read: permission denied"),
        (OSError(errno.EPERM, "x"), "cannot be read: permission denied"),
        (OSError(errno.ENAMETOOLONG, "x"), "is too long a path"),
        (OSError(errno.EIO, "Input/output error"), "cannot be read: Input/output error"),
        (ValueError("embedded null byte"), "cannot be read: embedded null byte"),
    ],
)
def test_reasons(error, expected, tmp_path):
    assert explain(error, tmp_path)[0] == expected


def test_a_closed_descriptor_is_not_left_behind(tmp_path):
    before = len(os.listdir("/proc/self/fd"))
    for _ in range(3):
        with pytest.raises(NotRegularError):
            open_regular(tmp_path)
    assert len(os.listdir("/proc/self/fd")) == before


def test_a_name_that_is_too_long(workspace):
    assert load_faults(workspace.root / ("x" * 300), workspace.root)[0].endswith(
        "is too long a path; shorten it"
    )


def test_a_nul_in_the_path(workspace):
    assert load_faults(workspace.root.__class__("a\0b"), workspace.root) == [
        "the spec `a\\u0000b` cannot be read: its name holds a NUL; correct the path"
    ]


def test_outside_of_every_root_is_shown_as_given(workspace, monkeypatch):
    monkeypatch.chdir(workspace.root.parent)
    (workspace.root.parent / "s.yaml").write_text("x")
    [found] = load_faults(workspace.root.__class__("s.yaml"), workspace.root)
    assert found.startswith("the spec `s.yaml` is outside of ")


def test_a_second_root(workspace):
    other = workspace.root.parent / "other"
    other.mkdir()
    (workspace.root / "model.safetensors").rename(other / "model.safetensors")
    text = workspace.valid.replace("model.safetensors", "../other/model.safetensors")
    workspace.spec.write_text(text)
    spec = load_spec(workspace.spec, roots=[workspace.root, other])
    assert spec.checkpoint.path.path == other / "model.safetensors"
    assert spec.checkpoint.path.display == str(other / "model.safetensors")
    assert workspace.faults(text) == [
        (
            f"spec.yaml:5:20: `../other/model.safetensors` is outside of `{workspace.root}`; move the "
            "file inside, or name its folder with `--allow-path`"
        )
    ]


def test_no_roots(workspace):
    with pytest.raises(ValueError, match="at least one root"):
        load_spec(workspace.spec, roots=[])


# The files that a spec names.


def test_named_symlink_out_of_the_root(workspace):
    (workspace.root / "model.safetensors").rename(workspace.root.parent / "m.safetensors")
    (workspace.root / "model.safetensors").symlink_to("../m.safetensors")
    root, target = workspace.root, f"{workspace.root.parent}/m.safetensors"
    assert workspace.faults() == [
        (
            f"spec.yaml:5:20: `model.safetensors` is outside of `{root}`; it is a symlink to "
            f"`{target}`; put the file itself there, or name its folder with `--allow-path`"
        )
    ]


def test_named_symlink_inside_is_fine(workspace):
    (workspace.root / "latest").symlink_to("model.safetensors")
    spec = workspace.load(workspace.valid.replace("path: model.safetensors", "path: latest"))
    assert spec.checkpoint.path.path == workspace.root / "model.safetensors"
    assert spec.checkpoint.path.display == "latest"


def test_dots_that_stay_inside_are_fine(workspace):
    text = workspace.valid.replace("model.safetensors", "images/../model.safetensors")
    spec = workspace.load(text)
    assert spec.checkpoint.path.display == "model.safetensors"


def test_absolute_paths_inside_are_fine(workspace):
    text = workspace.valid.replace("model.safetensors", f"{workspace.root}/model.safetensors")
    assert workspace.load(text).checkpoint.path.display == "model.safetensors"


@pytest.mark.parametrize(
    ("make", "expected"),
    [
        (os.mkfifo, "is a FIFO, not a file; name a regular file"),
        (
            lambda path: os.symlink("heldout.csv", path),
            "is a symlink that leads back to itself; point the symlink at a file",
        ),
        (
            lambda path: os.symlink("gone.csv", path),
            "is a symlink to `gone.csv`, which does not exist; commit the file that it points to",
        ),
    ],
)
def test_named_files_that_are_none(make, expected, workspace):
    (workspace.root / "heldout.csv").unlink()
    make(workspace.root / "heldout.csv")
    assert workspace.faults() == [f"spec.yaml:7:9: `heldout.csv` {expected}"]


# --- modules of the repository ---------------------------------------------------------------


def factory(workspace, text):
    return workspace.load(workspace.valid.replace("model.py:Net", text)).model.factory


def put(path):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("")
    return path


def test_a_module_of_the_repository_is_found(workspace):
    plain = put(workspace.root / "nets/small.py")
    assert factory(workspace, "nets.small:Net").source.path == plain
    package = put(workspace.root / "nets/small/__init__.py")
    found = factory(workspace, "nets.small:Net")
    assert (found.source.path, found.source.display) == (package, "nets/small/__init__.py")
    assert (found.file, found.module) == (None, "nets.small")


def test_a_module_that_is_not_in_the_repository_may_be_installed(workspace):
    assert factory(workspace, "nets.small:Net").source is None
    assert factory(workspace, "model.py:Net").source is None


def test_a_module_outside_of_the_root(workspace):
    outside = put(workspace.root.parent / "elsewhere.py")
    (workspace.root / "nets.py").symlink_to(outside)
    assert workspace.faults(workspace.valid.replace("model.py:Net", "nets:Net")) == [
        (
            f"spec.yaml:4:18: `nets.py` is outside of `{workspace.root}`; it is a symlink to "
            f"`{outside}`; put the file itself there, or name its folder with `--allow-path`"
        )
    ]
