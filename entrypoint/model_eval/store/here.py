"""What the numbers depend on beside the model and the data: versions, our own code, the device's class.

All of it is found without torch. Where that cannot be, nothing is reused.
"""

import json
import os
import platform
import re
import sys
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from hashlib import sha256
from pathlib import Path
from typing import Any

from model_eval import __version__
from model_eval.own_files import digest_of_own_files
from model_eval.spec.digest import sha256_of
from model_eval.store.unproved import UnprovedError

_INSTALLED = (".dist-info", ".egg-info")
_ACCELERATORS = ("nvidia0", "nvidiactl", "nvidia-caps", "kfd", "dri", "dxg", "accel")
"""Below /dev: what a driver of NVIDIA's, AMD's, Intel's or Windows' leaves there."""

_CHOOSING = ("CUDA_VISIBLE_DEVICES", "NVIDIA_VISIBLE_DEVICES", "CUDA_DEVICE_ORDER")


def versions(path: Sequence[str] = tuple(sys.path)) -> Mapping[str, Any]:
    """Python, every installed distribution, and model-eval with a digest of its own files.

    Args:
        path: the folders where Python looks for modules, as they were before code of the
            repository could add to them.
    """
    return {
        "python": platform.python_version(),
        "implementation": sys.implementation.cache_tag,
        "system": f"{platform.system()} {platform.machine()}",
        "installed": sorted(set(_installed(path))),
        "names": sorted(set(_names(path))),
        "optimized": sys.flags.optimize,  # without assertions
        "model_eval": [__version__, digest_of_own_files()],
    }


def _installed(path: Sequence[str]) -> Iterable[str]:
    """`torch-2.13.0+cpu`, with a digest of its content: a version may stay the same where that does not."""
    for folder in path:
        try:
            names = os.listdir(folder or ".")  # noqa: PTH208
        except OSError:  # an archive, or not there
            continue
        for name in names:
            stem, suffix = os.path.splitext(name)  # noqa: PTH122
            if suffix not in _INSTALLED:
                continue
            yield f"{stem} {_content(Path(folder, name, 'RECORD'))}"


def _content(record: Path) -> str:
    """Digest over the digests that a distribution has of its files, but not of its scripts, which name the environment."""
    try:
        lines = record.read_bytes().splitlines()
    except OSError:
        return "without a record"
    kept = [line for line in lines if _tells(line)]
    return sha256(b"\n".join(kept)).hexdigest()


def _tells(line: bytes) -> bool:
    """Whether a line of a RECORD has a digest, and of no script, which names the environment."""
    path, digest, _ = (*line.rsplit(b",", 2), b"", b"")[:3]
    return bool(digest) and not (path.startswith(b"..") and b"/bin/" in path)


def recorded(path: Sequence[str]) -> frozenset[str]:
    """Absolute paths of all files of which `versions` has the digests."""
    found = set[str]()
    for folder in path:
        for record in Path(folder or ".").glob("*.dist-info/RECORD"):
            found.add(str(record))
            for line in record.read_bytes().splitlines():
                if _tells(line):
                    name = os.fsdecode(line.rsplit(b",", 2)[0]).strip('"')
                    found.add(os.path.normpath(os.path.join(folder, name)))  # noqa: PTH118
    return frozenset(found)


def _names(path: Sequence[str]) -> Iterable[str]:
    """Of folders of what is installed, digests over what lies there: one more module can be found there."""
    for folder in path:
        if is_site(folder):
            with suppress(OSError):
                names = sorted(set(os.listdir(folder)) - {"__pycache__"})  # noqa: PTH208
                yield sha256("\0".join(names).encode("utf-8", "surrogateescape")).hexdigest()


def is_site(folder: str) -> bool:
    """Whether distributions are installed there."""
    return folder.rstrip("/").endswith(("/site-packages", "/dist-packages"))


def is_metadata(path: str) -> bool:
    """Whether a file is one of those that say what is installed, which the name of its distribution tells of."""
    folder = os.path.dirname(path)  # noqa: PTH120
    return folder.endswith(_INSTALLED) and is_site(os.path.dirname(folder))  # noqa: PTH120


def preloaded(environ: Mapping[str, str]) -> Mapping[str, str | None]:
    """The digests of what `LD_PRELOAD` puts in front of all libraries; None of what is no file."""
    names = environ.get("LD_PRELOAD", "").replace(":", " ").split()
    return {name: sha256_of(Path(name)) if Path(name).is_file() else None for name in names}


def device_class(
    requested: str,
    installed: Iterable[str],
    *,
    environ: Mapping[str, str],
    root: Path = Path("/"),
) -> Mapping[str, Any]:
    """What `requested` will be on this machine: the CPU's model, or the accelerators and their driver.

    Args:
        requested: as the spec has it: auto, cpu, cuda, cuda:1 …
        installed: of `versions`, which say for what torch was built.
        environ: may hide accelerators.
        root: of the file system.

    Raises:
        UnprovedError: that cannot be told without torch.
    """
    if requested == "cpu" or (requested == "auto" and _only_cpu(installed, root)):
        return {"cpu": _processor(root)}
    kind = requested.partition(":")[0]
    if kind not in {"auto", "cuda"}:
        raise UnprovedError(f"`device: {requested}` is not told apart from others without torch")
    gpus, driver = _nvidia(root)
    if not gpus or driver is None:
        raise UnprovedError("which accelerator `auto` or `cuda` is cannot be told without torch")
    return {
        "cpu": _processor(root),  # what the model does outside of the accelerator
        "gpus": gpus,
        "driver": driver,
        "chosen": [[name, environ.get(name)] for name in _CHOOSING],
    }


def _only_cpu(installed: Iterable[str], root: Path) -> bool:
    """Whether torch can have no accelerator: it is built without, or the system has none."""
    if platform.system() != "Linux":
        return False
    if any(re.match(r"torch-[^ ]*\+cpu( |$)", name) for name in installed):
        return True
    return not any((root / "dev" / name).exists() for name in _ACCELERATORS)


def _processor(root: Path) -> str:
    """The model that the system names, with its number of revision and what it can do.

    Raises:
        UnprovedError: the system does not say.
    """
    wanted = ("model name", "cpu family", "model", "stepping", "flags", "Features", "CPU part")
    found: dict[str, str] = {}
    for line in _read(root / "proc/cpuinfo").splitlines():
        key, _, value = line.partition(":")
        if key.strip() in wanted:
            found.setdefault(key.strip(), " ".join(value.split()))
    if not found:
        raise UnprovedError("this system does not say which processor it has")
    name = found.get("model name", "a processor")
    return f"{name} {sha256(json.dumps(sorted(found.items())).encode()).hexdigest()[:16]}"


def _nvidia(root: Path) -> tuple[list[str], str | None]:
    """The models of all GPUs of NVIDIA's, and the version of their driver.

    Raises:
        UnprovedError: one of them is divided (MIG), so that its name says too little.
    """
    proc = root / "proc/driver/nvidia"
    if next(proc.glob("capabilities/*/mig/gi*"), None) is not None:
        raise UnprovedError("a part of a GPU (MIG) is not told apart from others without torch")
    models = [
        line.partition(":")[2].strip()
        for file in sorted(proc.glob("gpus/*/information"))
        for line in _read(file).splitlines()
        if line.startswith("Model:")
    ]
    words = _read(proc / "version").split("Kernel Module")
    return models, (words[1].split()[0] if len(words) > 1 and words[1].split() else None)


def _read(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8", errors="replace")
    except OSError:
        return ""
