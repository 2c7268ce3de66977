"""Opens files that a pull request names: regular ones only, never waiting, never too much."""

import errno
import os
import stat
from pathlib import Path
from typing import BinaryIO

from model_eval.wording import printable_path


class NotRegularError(OSError):
    """The path names something that is not a regular file."""


def open_regular(path: Path) -> BinaryIO:
    """Opens for reading without following into what blocks: a FIFO would hang an ordinary open.

    Raises:
        NotRegularError: it is a directory, a FIFO, a socket or a device.
        OSError: it is missing or cannot be opened.
        ValueError: the path holds a NUL.
    """
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK | os.O_NOCTTY)
    try:
        mode = os.fstat(descriptor).st_mode
    except OSError:
        os.close(descriptor)
        raise
    if not stat.S_ISREG(mode):
        os.close(descriptor)
        raise NotRegularError(errno.EINVAL, kind_of(mode))
    return os.fdopen(descriptor, "rb")


def stamp_of(found: os.stat_result) -> tuple[int, ...]:
    """Which content a file has, as the file system sees it: device, inode, size, and both times in ns."""
    return (found.st_dev, found.st_ino, found.st_size, found.st_mtime_ns, found.st_ctime_ns)


def kind_of(mode: int) -> str:
    """What a path names, as a noun."""
    kinds = {
        stat.S_IFREG: "file",
        stat.S_IFDIR: "folder",
        stat.S_IFIFO: "FIFO",
        stat.S_IFSOCK: "socket",
        stat.S_IFCHR: "device",
        stat.S_IFBLK: "device",
    }
    return kinds.get(stat.S_IFMT(mode), "special file")


def explain(error: OSError | ValueError, path: Path) -> tuple[str, str]:
    """Why the path cannot be used, as a clause behind its name, and what to do about it."""
    if isinstance(error, NotRegularError):
        kind = error.strerror or "special file"
        remedy = "name a file in it" if kind == "folder" else "name a regular file"
        return f"is a {kind}, not a file", remedy
    number = error.errno if isinstance(error, OSError) else None
    if number == errno.ELOOP:
        return "is a symlink that leads back to itself", "point the symlink at a file"
    if number in {errno.ENOENT, errno.ENOTDIR}:
        if path.is_symlink():
            return (
                f"is a symlink to `{printable_path(path.readlink())}`, which does not exist",
                "commit the file that it points to",
            )
        return "does not exist", "check the path; it must be committed, or made before this step"
    if number in {errno.EACCES, errno.EPERM}:
        return "cannot be read: permission denied", "make it readable for the user of this run"
    if number == errno.ENAMETOOLONG:
        return "is too long a path", "shorten it"
    reason = error.strerror if isinstance(error, OSError) else str(error)
    return f"cannot be read: {reason}", "check the file"
