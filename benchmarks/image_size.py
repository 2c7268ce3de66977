"""How large each layer of an image is, unpacked and compressed, and what fills its environment.

    python benchmarks/image_size.py model-eval:local

Asks `docker save` for the image. A layer is compressed with gzip as registries do it, one by one;
sizes are sums of the files, as `docker pull` has to write them.
"""

import argparse
import gzip
import json
import shutil
import subprocess
import tarfile
import tempfile
from collections import defaultdict
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import IO

FOLDERS = 20
DEPTH = 2
"""Folders of so many levels below `site-packages` are told apart."""

_GZIP_LEVEL = 6
_MIB = 2**20


@dataclass(frozen=True, kw_only=True, slots=True)
class Layer:
    """A layer.

    Attributes:
        command: what made it, in one line.
        unpacked: bytes of its files.
        compressed: bytes of its tar file after gzip.
        folders: bytes below each folder of an environment, by its path below `site-packages`.
    """

    command: str
    unpacked: int
    compressed: int
    folders: dict[str, int]


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("image")
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        saved = Path(folder) / "image.tar"
        subprocess.run(["docker", "save", "--output", str(saved), args.image], check=True)
        print(markdown(layers(saved)), end="")


def layers(saved: Path) -> list[Layer]:
    """Of what `docker save` wrote, the lowest first.

    Raises:
        ValueError: the file has not one image, or another history than layers.
    """
    with tarfile.open(saved) as image:
        manifests = json.load(_file(image, "manifest.json"))
        if len(manifests) != 1:
            raise ValueError(f"{saved} has {len(manifests)} images, and must have one")
        config = json.load(_file(image, manifests[0]["Config"]))
        made = [
            _command(one.get("created_by", "(not said)"))
            for one in config["history"]
            if not one.get("empty_layer", False)
        ]
        paths = manifests[0]["Layers"]
        if len(made) != len(paths):
            raise ValueError(f"{saved} has {len(paths)} layers and a history of {len(made)}")
        return [_layer(image, *of) for of in zip(paths, made, strict=True)]


def _layer(image: tarfile.TarFile, path: str, command: str) -> Layer:
    member = image.getmember(path)
    with tempfile.TemporaryFile() as plain:
        file = _file(image, path)
        packed = file.read(2) == b"\x1f\x8b"  # engines with containerd's store save them so
        file.seek(0)
        shutil.copyfileobj(gzip.GzipFile(fileobj=file) if packed else file, plain)
        compressed = member.size if packed else _compressed(plain)
        plain.seek(0)
        unpacked, folders = _contents(plain)
    return Layer(command=command, unpacked=unpacked, compressed=compressed, folders=folders)


def _compressed(plain: IO[bytes]) -> int:
    plain.seek(0)
    with tempfile.TemporaryFile() as small:
        with gzip.GzipFile(fileobj=small, mode="wb", compresslevel=_GZIP_LEVEL) as packer:
            shutil.copyfileobj(plain, packer)
        return small.tell()


def _contents(plain: IO[bytes]) -> tuple[int, dict[str, int]]:
    total, folders = 0, defaultdict(int)
    with tarfile.open(fileobj=plain) as files:
        for file in files:
            total += file.size
            parts = PurePosixPath(file.name).parts
            if "site-packages" in parts:
                below = parts[parts.index("site-packages") + 1 : -1][:DEPTH]
                for depth in range(1, len(below) + 1):
                    folders["/".join(below[:depth])] += file.size
    return total, dict(folders)


def _file(image: tarfile.TarFile, name: str) -> IO[bytes]:
    file = image.extractfile(name)
    if file is None:
        raise ValueError(f"`{name}` is no file of the image")
    return file


def _command(created_by: str) -> str:
    """In one line, without what the builder puts around it."""
    text = " ".join(created_by.split())
    return text.removeprefix("/bin/sh -c #(nop) ").removesuffix(" # buildkit").strip()


def markdown(found: list[Layer]) -> str:
    """A table of the layers, and one of the folders of the layer with most of the environment."""
    lines = ["| layer | unpacked, MiB | compressed, MiB |", "|---|---:|---:|"]
    lines += [
        f"| `{_cell(one.command)}` | {one.unpacked / _MIB:.1f} | {one.compressed / _MIB:.1f} |"
        for one in found
    ]
    unpacked, compressed = (
        sum(getattr(one, of) for one in found) for of in ("unpacked", "compressed")
    )
    lines += [f"| **all** | **{unpacked / _MIB:.1f}** | **{compressed / _MIB:.1f}** |", ""]
    environment = max(found, key=lambda one: sum(one.folders.values()), default=None)
    if environment is None or not environment.folders:
        return "\n".join(lines)
    largest = sorted(environment.folders.items(), key=lambda item: -item[1])[:FOLDERS]
    lines += [f"| folder of `{_cell(environment.command)}` | unpacked, MiB |", "|---|---:|"]
    lines += [f"| `{name}` | {size / _MIB:.1f} |" for name, size in largest]
    return "\n".join([*lines, ""])


def _cell(command: str, most: int = 90) -> str:
    short = command if len(command) <= most else f"{command[: most - 1]}…"
    return short.replace("|", r"\|").replace("`", "'")


if __name__ == "__main__":
    main()
