"""Sizes of the layers of what `docker save` writes."""

import gzip
import io
import json
import tarfile

import pytest

from benchmarks.image_size import layers, markdown

SITE = "opt/venv/lib/python3.12/site-packages"


def tar(files):
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as archive:
        for name, data in files.items():
            member = tarfile.TarInfo(name)
            member.size = len(data)
            archive.addfile(member, io.BytesIO(data))
    return buffer.getvalue()


def save(path, contents, history):
    names = [f"blobs/{number}" for number in range(len(contents))]
    manifest = [{"Config": "config.json", "Layers": names}]
    config = {"history": history}
    path.write_bytes(
        tar(
            {
                "manifest.json": json.dumps(manifest).encode(),
                "config.json": json.dumps(config).encode(),
                **dict(zip(names, contents, strict=True)),
            }
        )
    )
    return path


def test_layers_are_unpacked_and_compressed_one_by_one(tmp_path):
    system = tar({"bin/sh": b"\0" * 3_000_000})
    venv = tar(
        {
            f"{SITE}/torch/lib/libtorch.so": b"\0" * 2_000_000,
            f"{SITE}/torch/version.py": b"\0" * 1_000,
            f"{SITE}/numpy/core/a/b.so": b"\0" * 500_000,
            f"{SITE}/one.py": b"\0" * 10,
        }
    )
    packed = gzip.compress(venv, 6)
    history = [
        {"created_by": "/bin/sh -c #(nop) ADD file:1 in / "},
        {"created_by": "ENV A=1", "empty_layer": True},
        {"created_by": "COPY  /venv /opt/venv # buildkit"},
    ]
    base, environment = layers(save(tmp_path / "image.tar", [system, packed], history))
    assert (base.command, base.unpacked, base.folders) == ("ADD file:1 in /", 3_000_000, {})
    # The name and the time in gzip's header are what two compressions may differ in.
    assert base.compressed == pytest.approx(len(gzip.compress(system, 6)), abs=64)
    assert environment.command == "COPY /venv /opt/venv"
    assert environment.unpacked == 2_501_010
    assert environment.compressed == len(packed)
    assert environment.folders == {
        "torch": 2_001_000,
        "torch/lib": 2_000_000,
        "numpy": 500_000,
        "numpy/core": 500_000,
    }
    assert (
        markdown([base, environment])
        == """\
| layer | unpacked, MiB | compressed, MiB |
|---|---:|---:|
| `ADD file:1 in /` | 2.9 | 0.0 |
| `COPY /venv /opt/venv` | 2.4 | 0.0 |
| **all** | **5.2** | **0.0** |

| folder of `COPY /venv /opt/venv` | unpacked, MiB |
|---|---:|
| `torch` | 1.9 |
| `torch/lib` | 1.9 |
| `numpy` | 0.5 |
| `numpy/core` | 0.5 |
"""
    )


def test_a_history_of_other_layers_is_refused(tmp_path):
    saved = save(tmp_path / "image.tar", [tar({"a": b"1"})], [])
    with pytest.raises(ValueError, match="1 layers and a history of 0"):
        layers(saved)
