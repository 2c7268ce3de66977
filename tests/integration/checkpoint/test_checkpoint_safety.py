"""What an attacker, a cosmic ray or a busy disk can do to a checkpoint."""

import hashlib
import io
import json
import os
import random
import re
import subprocess
import sys
import threading
import zipfile
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from builders.broken_checkpoints import MARKER
from builders.checkpoints import (
    Net,
    Payload,
    a_state,
    loaded,
    pickled,
    refusal,
    saved,
    with_pickle,
    written,
)
from model_eval.checkpoint import load, pickle_scan, read_torch
from model_eval.errors import CheckpointError


def equal(model, state):
    return all(torch.equal(tensor, state[name]) for name, tensor in model.state_dict().items())


@pytest.mark.parametrize("variable", ["TORCH_FORCE_NO_WEIGHTS_ONLY_LOAD"])
def test_the_environment_cannot_switch_the_protection_off(tmp_path, variable):
    # The scan is taken away, so that torch.load alone stands before the payload.
    saved(tmp_path / "model.pt", {"w": Payload(tmp_path / MARKER)})
    code = f"""
import sys
sys.path.insert(0, {str(Path(__file__).parents[2])!r})
from model_eval.checkpoint import read_torch
from builders.checkpoints import refusal
from pathlib import Path
read_torch.scan_pickle = lambda *_: None
print(refusal(Path({str(tmp_path / "model.pt")!r})))
"""
    done = subprocess.run(
        [sys.executable, "-c", code],
        env={"PATH": os.environ["PATH"], variable: "1", "OMP_NUM_THREADS": "1"},
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.stdout == (
        "`model.pt` is damaged: its tensors cannot be put together; "
        "save it again: `torch.save(model.state_dict(), path)`\n"
    ), done.stderr
    assert not (tmp_path / MARKER).exists()


def test_the_payload_of_these_tests_does_run_where_nothing_protects(tmp_path):
    saved(tmp_path / "model.pt", {"w": Payload(tmp_path / MARKER)})
    torch.load(tmp_path / "model.pt", weights_only=False)["w"].close()
    assert (tmp_path / MARKER).exists()


def test_a_name_that_code_allowed_in_torch_is_still_refused(tmp_path):
    path = saved(tmp_path / "model.pt", {"w": Payload(tmp_path / MARKER)})
    with torch.serialization.safe_globals([io.open]):
        assert "contains code: `io.open`" in refusal(path)
    assert not (tmp_path / MARKER).exists()


def test_weights_only_is_written_out():
    source = Path(read_torch.__file__).read_text()
    assert source.count("torch.load(") == 1
    assert "map_location=device, weights_only=True" in source
    package = Path(load.__file__).parent
    assert not any(
        re.search(r"weights_only=False|add_safe_globals|jit\.load", path.read_text())
        for path in package.glob("*.py")
    )


def test_a_pin_that_holds_is_reported(tmp_path):
    path = saved(tmp_path / "model.pt", a_state())
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    _, info = loaded(path, sha256=digest)
    assert info.pinned
    assert [(f.path, f.sha256, f.size) for f in info.files] == [
        ("model.pt", digest, path.stat().st_size)
    ]


def test_a_pin_is_checked_before_anything_is_unpickled(tmp_path, monkeypatch):
    path = saved(tmp_path / "model.pt", {"w": Payload(tmp_path / MARKER)})
    monkeypatch.setattr(read_torch.torch, "load", lambda *_, **__: pytest.fail("was unpickled"))
    monkeypatch.setattr(read_torch, "scan_pickle", lambda *_: None)
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    assert refusal(path, sha256="0" * 64) == (
        f"`model.pt` is not the pinned file: its sha256 is {digest}, checkpoint.sha256 is "
        f"{'0' * 64}; correct the pin if the checkpoint was meant to change; "
        "else restore the file"
    )


@pytest.mark.parametrize(
    ("name", "content", "damage"),
    [
        ("model.pt", b"PK\x03\x04", "does not end like a zip archive"),
        ("model.safetensors", b"\x02\0\0\0\0\0\0\0{]", "its header is not JSON"),
    ],
)
def test_of_a_damaged_file_the_wrong_digest_is_what_is_said(tmp_path, name, content, damage):
    path = tmp_path / name
    path.write_bytes(content)
    found, right = hashlib.sha256(content).hexdigest(), "0" * 64
    assert f"is not the pinned file: its sha256 is {found}" in refusal(path, sha256=right)
    assert damage in refusal(path, sha256=found)


@pytest.mark.parametrize("suffix", ["pt", "safetensors"])
def test_no_thread_outlives_the_reading(tmp_path, suffix):
    path = tmp_path / f"model.{suffix}"
    save_file(a_state(), path) if suffix == "safetensors" else saved(path, a_state())
    before = threading.enumerate()
    loaded(path)
    assert threading.enumerate() == before
    path.write_bytes(path.read_bytes()[:-100])
    refusal(path)
    assert threading.enumerate() == before


@pytest.mark.parametrize("suffix", ["pt", "safetensors"])
def test_a_file_that_changes_while_it_is_read_is_refused(tmp_path, monkeypatch, suffix):
    path = tmp_path / f"model.{suffix}"
    save_file(a_state(), path) if suffix == "safetensors" else saved(path, a_state())
    read = os.preadv

    def then_touched(*args):
        found = read(*args)
        os.utime(path, ns=(1, 1))
        return found

    monkeypatch.setattr(os, "preadv", then_touched)
    assert refusal(path) == (
        f"`{path.name}` changed while it was being used; run again when nothing else writes it"
    )


def test_a_file_that_the_factory_changes_is_refused(tmp_path):
    path = saved(tmp_path / "model.pt", a_state())

    def build():
        with path.open("ab") as file:
            file.write(b"more")
        return Net()

    assert refusal(path, build) == (
        "`model.pt` changed while it was being used; run again when nothing else writes it"
    )


class ForRealOnly(Net):
    """Looks at its weights, which the meta device does not allow: it is loaded the ordinary way."""

    def __init__(self):
        super().__init__()
        self.largest = self.layer.weight.abs().max().item()


class Assigns(ForRealOnly):
    def load_state_dict(self, state_dict, strict=True, assign=False):
        return super().load_state_dict(state_dict, strict, assign=True)


@pytest.mark.parametrize("build", [Net, ForRealOnly, Assigns])
@pytest.mark.parametrize("kind", ["zip", "legacy", "safetensors", "sharded"])
def test_weights_are_the_process_own_once_loaded(tmp_path, kind, build):
    path, files = in_format(tmp_path, kind, a_state())
    model, info = loaded(path, build)
    assert info.built_on_meta is (build is Net)
    for one in files:
        size = one.stat().st_size
        with one.open("r+b") as file:
            file.write(b"\xff" * size)
    assert equal(model, a_state())


@pytest.mark.parametrize("kind", ["zip", "safetensors"])
def test_a_file_that_is_cut_while_the_model_is_built(tmp_path, kind):
    path, _ = in_format(tmp_path, kind, a_state())

    def build():
        model = ForRealOnly()
        os.truncate(path, 0)  # it is mapped now
        return model

    assert refusal(path, build) == (
        f"`{path.name}` changed while it was being used; run again when nothing else writes it"
    )


@pytest.mark.parametrize("of", [0, 1], ids=["the first shard", "the second"])
@pytest.mark.parametrize("how", ["written", "cut"])
def test_a_shard_that_changes_while_the_model_is_built(tmp_path, how, of):
    path, files = in_format(tmp_path, "sharded", a_state())
    shard = [file for file in files if file != path][of]

    def build():
        model = ForRealOnly()
        if how == "cut":
            os.truncate(shard, 0)
        else:
            with shard.open("r+b") as file:
                file.seek(-4, os.SEEK_END)
                file.write(b"\0\0\0\0")
        return model

    assert refusal(path, build) == (
        f"`{shard.name}` changed while it was being used; run again when nothing else writes it"
    )


@pytest.mark.parametrize("kind", ["zip", "safetensors", "sharded"])
def test_the_file_is_not_in_memory_while_the_model_is_built(tmp_path, kind):
    rows, columns = 2048, 4096  # 32 MiB
    path, _ = in_format(tmp_path, kind, {"weight": torch.ones(rows, columns)})
    own = []

    def build():
        model = torch.nn.Linear(columns, rows, bias=False)
        own.append(anonymous_mib())
        model.weight.max().item()
        return model

    before = anonymous_mib()
    model, info = loaded(path, build)
    assert not info.built_on_meta
    assert model.weight.eq(1).all()
    assert len(own) == 2  # on the meta device, and for real
    assert own[1] - before < 48


def anonymous_mib() -> float:
    """Memory of the process that is not a file's."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return int(next(line for line in lines if line.startswith("RssAnon")).split()[1]) / 1024


def in_format(folder: Path, kind: str, state: dict[str, torch.Tensor]) -> tuple[Path, list[Path]]:
    """The file to name, and all files."""
    if kind in {"zip", "legacy"}:
        path = saved(folder / "model.pt", state, legacy=kind == "legacy")
        return path, [path]
    if kind == "safetensors":
        path = folder / "model.safetensors"
        save_file(state, path)
        return path, [path]
    names = list(state)
    shards = {"a.safetensors": names[:3], "b.safetensors": names[3:]}
    shards = {shard: inside for shard, inside in shards.items() if inside}
    for shard, inside in shards.items():
        save_file({name: state[name] for name in inside}, folder / shard)
    index = folder / "model.safetensors.index.json"
    placed = {name: shard for shard, inside in shards.items() for name in inside}
    index.write_text(json.dumps({"weight_map": placed}))
    return index, [folder / shard for shard in shards]


def test_an_unreadable_file(tmp_path, monkeypatch):
    path = saved(tmp_path / "model.pt", a_state())

    def denied(*_, **__):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(os, "open", denied)  # root may read everything
    assert refusal(path) == (
        "`model.pt` cannot be read: permission denied; make it readable for the user of this run"
    )


@pytest.mark.parametrize("suffix", ["pt", "safetensors"])
def test_a_disk_that_fails_while_reading(tmp_path, monkeypatch, suffix):
    path = tmp_path / f"model.{suffix}"
    save_file(a_state(), path) if suffix == "safetensors" else saved(path, a_state())

    def failing(*_):
        raise OSError(5, "Input/output error")

    monkeypatch.setattr(os, "preadv", failing)
    assert refusal(path) == f"`{path.name}` cannot be read: Input/output error; check the disk"


def test_a_safetensors_file_that_shrinks_while_it_is_read(tmp_path, monkeypatch):
    path = tmp_path / "model.safetensors"
    save_file(a_state(), path)
    monkeypatch.setattr(os, "preadv", lambda *_: 0)
    assert refusal(path) == (
        "`model.safetensors` is truncated: the end of its data is missing; "
        "save it again with `safetensors.torch.save_file`"
    )


def test_too_many_operations(tmp_path, monkeypatch):
    monkeypatch.setattr(pickle_scan, "MAX_OPERATIONS", 50)
    assert refusal(saved(tmp_path / "model.pt", a_state())) == (
        "`model.pt` has a pickle of more than 50 operations; "
        "save it again: `torch.save(model.state_dict(), path)`"
    )


def test_a_pickle_too_large_for_any_state_dict(tmp_path):
    path = with_pickle(tmp_path / "model.pt", pickled("x" * (65 << 20)))
    assert refusal(path) == (
        "`model.pt` has a pickle of more than 64 MiB; "
        "save it again: `torch.save(model.state_dict(), path)`"
    )


def test_a_legacy_pickle_that_would_read_its_whole_file(tmp_path):
    content = {"text": "x" * (65 << 20)}
    path = saved(tmp_path / "model.pt", content, legacy=True)
    assert refusal(path).startswith("`model.pt` is damaged: its pickle cannot be read to its end;")


def test_a_table_of_contents_that_claims_to_be_huge(tmp_path):
    path = saved(tmp_path / "model.pt", a_state())
    data = bytearray(path.read_bytes())
    data[-10:-6] = (80 << 20).to_bytes(4, "little")
    assert refusal(written(path, bytes(data))) == (
        "`model.pt` has a table of contents of more than 64 MiB; "
        "save it again: `torch.save(model.state_dict(), path)`"
    )


def test_an_encrypted_entry(tmp_path):
    path = saved(tmp_path / "model.pt", a_state())
    data = bytearray(path.read_bytes())
    place = data.rindex(b"PK\x01\x02")
    data[place + 8] |= 1
    assert "has an encrypted entry: `model/" in refusal(written(path, bytes(data)))


def test_a_training_checkpoint_with_more_entries_than_a_batch_of_the_pickler(tmp_path):
    # The pickler writes containers in batches of 1,000; they must not count as nesting.
    content = {"state_dict": a_state(), "history": list(range(200_000))}
    assert equal(loaded(saved(tmp_path / "model.pt", content))[0], a_state())


@pytest.mark.timeout(20)
def test_a_fifo_with_a_writer_that_never_writes(tmp_path):
    path = tmp_path / "model.pt"
    os.mkfifo(path)
    done = threading.Event()
    threading.Thread(target=lambda: (os.close(os.open(path, os.O_RDWR)), done.set())).start()
    assert done.wait(5)
    assert refusal(path) == "`model.pt` is a FIFO, not a file; name a regular file"


def mutants(content, number, seed):
    source = random.Random(seed)
    for _ in range(number):
        changed = bytearray(content)
        for _ in range(source.choice([1, 1, 1, 2, 8])):
            place = source.randrange(len(changed))
            match source.randrange(4):
                case 0:
                    changed[place] ^= 1 << source.randrange(8)
                case 1:
                    changed[place] = source.randrange(256)
                case 2:
                    del changed[place : place + source.randrange(1, 64)]
                case _:
                    changed[place:place] = source.randbytes(source.randrange(1, 16))
        yield bytes(changed)


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize(("kind", "number"), [("zip", 400), ("legacy", 300), ("safetensors", 300)])
def test_a_mutant_is_refused_or_loads_the_same(tmp_path, kind, number):
    path = tmp_path / ("model.safetensors" if kind == "safetensors" else "model.pt")
    if kind == "safetensors":
        save_file(a_state(), path)
    else:
        saved(path, a_state(), legacy=kind == "legacy")
    messages = []
    for mutant in mutants(path.read_bytes(), number, seed=kind):
        try:
            model, _ = loaded(written(path, mutant))
        except CheckpointError as error:
            messages.append(str(error))
            continue
        # Only the zip archive has checksums; the other formats cannot tell a flipped bit.
        assert kind != "zip" or equal(model, a_state())
    assert all(message.startswith("spec.yaml:5:9: `model.") for message in messages)
    assert not any("weights_only" in message for message in messages)
    assert len(messages) > number // 3


def test_every_flipped_bit_of_the_weights_is_caught_in_a_zip(tmp_path):
    path = saved(tmp_path / "model.pt", a_state())
    original = path.read_bytes()
    with zipfile.ZipFile(path) as archive:
        (info,) = [i for i in archive.infolist() if i.filename.endswith("/data/0")]
    weights = a_state()["layer.weight"].numpy().tobytes()
    begin = original.index(weights, info.header_offset)
    for place in range(begin, begin + len(weights)):
        changed = bytearray(original)
        changed[place] ^= 0x10
        assert refusal(written(path, bytes(changed)), Net) == (
            "`model.pt` is damaged: the checksum of `model/data/0` is wrong; "
            "download or copy the file again, or save it again"
        )
