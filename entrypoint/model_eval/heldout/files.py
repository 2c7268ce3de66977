"""What is wrong with a file before anybody parses it."""

import os
import stat

from model_eval.errors import HeldOutError
from model_eval.heldout.wording import one_line
from model_eval.spec.eval_spec import PathRef
from model_eval.wording import quote

MAX_EXPANSION = 500
"""A file that unpacks to more than this many times its size, and to more than `FREE_EXPANSION`
bytes, is refused: real samples do not compress so well, and decompression bombs do."""

FREE_EXPANSION = 64 << 20

_MAGIC = {
    "parquet": (b"PAR1",),
    "npz": (b"PK\x03\x04", b"PK\x05\x06"),
    "npy": (b"\x93NUMPY",),
    "pt": (b"PK\x03\x04",),
}
_NAMES = {
    "parquet": "a Parquet file",
    "csv": "a CSV file",
    "npz": "an .npz file",
    "npy": "an .npy file",
    "pt": "a zip file as torch.save writes it",
    "safetensors": "a safetensors file",
}
_FOREIGN = {
    b"\x1f\x8b": "gzip",
    b"PAR1": "Parquet",
    b"PARE": "encrypted Parquet",
    b"PK\x03\x04": "a zip archive",
    b"\x93NUMPY": "a NumPy array",
    b"\x89HDF": "HDF5",
    b"\x89PNG": "a PNG image",
    b"ARROW1": "an Arrow IPC file",
    b"\x28\xb5\x2f\xfd": "zstd",
    b"BZh": "bzip2",
    b"\xfd7zXZ": "xz",
    b"%PDF": "a PDF",
    b"SQLite format 3": "an SQLite database",
    b"\x80\x02": "a pickle",
    b"\x80\x04": "a pickle",
    b"\x80\x05": "a pickle",
    b"\xff\xfe": "UTF-16 text",
    b"\xfe\xff": "UTF-16 text",
}


def require_file(ref: PathRef) -> os.stat_result:
    """Looks at a file without opening it, so that a FIFO cannot block.

    Raises:
        HeldOutError: it is missing, not a regular file, or empty.
    """
    found = _status(ref)
    if stat.S_ISDIR(found.st_mode):
        raise HeldOutError(
            f"{quote(ref.display)} is a folder",
            remedy="name a file, or state `format: image_folder`",
            location=ref.location,
        )
    if not stat.S_ISREG(found.st_mode):
        raise HeldOutError(
            f"{quote(ref.display)} is not a regular file",
            remedy="name a regular file, not a pipe, socket or device",
            location=ref.location,
        )
    if found.st_size == 0:
        raise HeldOutError(
            f"{quote(ref.display)} is empty",
            remedy="write the samples again; an upload or a download may have failed",
            location=ref.location,
        )
    return found


def require_folder(ref: PathRef) -> None:
    """Raises `HeldOutError` where the path is not a folder."""
    if not stat.S_ISDIR(_status(ref).st_mode):
        raise HeldOutError(
            f"{quote(ref.display)} is not a folder",
            remedy="name the folder that has one folder per class",
            location=ref.location,
        )


def check_kind(ref: PathRef, file_format: str) -> None:
    """Looks at the first bytes for what cannot be a file of this format.

    Raises:
        HeldOutError: a Git LFS pointer, a web page, another format, or unreadable.
    """
    try:
        with ref.path.open("rb") as file:
            head = file.read(512)
            file.seek(max(0, os.fstat(file.fileno()).st_size - 4))
            tail = file.read(4)
    except OSError as error:
        raise unreadable(ref, error) from error
    if head.startswith(b"version https://git-lfs.github.com/spec/"):
        raise HeldOutError(
            f"{quote(ref.display)} is a Git LFS pointer, not the file itself",
            remedy="run `git lfs pull`, or check out with `lfs: true`",
            location=ref.location,
        )
    if head.lstrip().lower().startswith((b"<!doctype html", b"<html")):
        raise HeldOutError(
            f"{quote(ref.display)} is a web page",
            remedy="download the file itself; a link to a page or a log-in was followed",
            location=ref.location,
        )
    expected = _MAGIC.get(file_format)
    foreign = next((name for magic, name in _FOREIGN.items() if head.startswith(magic)), None)
    if (expected and not head.startswith(expected)) or (not expected and foreign):
        looks = f"; it looks like {foreign}" if foreign else ""
        raise HeldOutError(
            f"{quote(ref.display)} is not {_NAMES[file_format]}{looks}",
            remedy="name the right file, or state its `format`",
            location=ref.location,
        )
    if file_format == "parquet" and tail != b"PAR1":
        raise HeldOutError(
            f"{quote(ref.display)} is truncated: the end of a Parquet file is missing",
            remedy="write or download it again",
            location=ref.location,
        )


def check_expansion(ref: PathRef, *, unpacked: int, size: int) -> None:
    """Refuses a decompression bomb by what its own directory says it unpacks to.

    Raises:
        HeldOutError: more than `MAX_EXPANSION` times `size` and more than `FREE_EXPANSION`.
    """
    if unpacked > FREE_EXPANSION and unpacked > MAX_EXPANSION * size:
        raise HeldOutError(
            f"{quote(ref.display)} unpacks from {size:,} to about {unpacked:,} bytes, "
            f"more than {MAX_EXPANSION} times its size",
            remedy="write the samples without compression, if they really are like this",
            location=ref.location,
        )


def unreadable(ref: PathRef, error: OSError) -> HeldOutError:
    """The error for a file that the operating system refuses to give."""
    return HeldOutError(
        f"{quote(ref.display)} cannot be read: {error.strerror or one_line(error)}",
        remedy="check the path and its permissions",
        location=ref.location,
    )


def _status(ref: PathRef) -> os.stat_result:
    try:
        return ref.path.stat()
    except FileNotFoundError as error:
        dangling = ref.path.is_symlink()
        raise HeldOutError(
            f"{quote(ref.display)} "
            + ("is a symbolic link to nothing" if dangling else "does not exist"),
            remedy="check the path; it is relative to the spec's folder",
            location=ref.location,
        ) from error
    except OSError as error:
        raise unreadable(ref, error) from error
