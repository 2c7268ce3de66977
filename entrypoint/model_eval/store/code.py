"""What the model's code could read: one digest of everything below the roots.

Nobody can say which files a factory imports before it was run, and what native code opens is told to
nobody. So all files count with their content, whatever they are called, and all names with them: that
something is there can decide, too, and Python tells nobody of `os.path.exists`.
"""

import os
import sys
from collections.abc import Iterator, Sequence
from hashlib import sha256
from pathlib import Path
from stat import S_ISREG
from typing import NoReturn

from model_eval.output import is_output
from model_eval.spec.files import stamp_of
from model_eval.store.named import Digests
from model_eval.store.unproved import UnprovedError

DOCUMENTS = frozenset({".md", ".rst"})
"""Only their names count. A model that opens one in Python is heard (`opened`)."""

SKIPPED = frozenset({".git", "__pycache__"})
"""Not even their names count: git's own files change with each commit, Python's caches with each import."""

MAX_BYTES = 4 << 30
MAX_FILES = 500_000


class CodeFiles:
    """All files below some folders.

    Args:
        roots: folders, or single files, in their order.
        leave_out: files whose digests every key holds, such as the held-out set's; folders of
            images among them, of which the files count that are not samples.
        named: other files that the spec names, which are hashed anyway: the limit is not for them.
        unread: files whose content does not count. That of the spec, which is in the key by its values.
        ours: folders that the run itself fills, such as the store.
        output: the output folder, whose reports and ledgers this run writes.
        digests: of files.
    """

    def __init__(
        self,
        roots: Sequence[Path],
        *,
        leave_out: frozenset[str],
        named: frozenset[str] = frozenset(),
        unread: frozenset[str] = frozenset(),
        ours: frozenset[str] = frozenset(),
        output: Path | None,
        digests: Digests,
    ) -> None:
        self._roots = [str(root) for root in roots]
        self._sets = frozenset(path for path in leave_out if os.path.isdir(path))  # noqa: PTH112
        self._leave_out = _inodes(leave_out | unread)
        self._named = _inodes(named) | self._leave_out
        self._output = os.path.realpath(output) if output else None
        # A virtual environment that runs this is known by its versions.
        self._ours = ours | {os.path.realpath(sys.prefix)}
        made = ours | {self._output} if self._output else ours
        self._on_the_way = {str(one) for path in made for one in (path, *Path(path).parents)}
        self._digests = digests
        self._size = self._seen = 0
        self._stamps = sha256()

    @property
    def stamps(self) -> str:
        """Over what the file system says of each file of the last `digest`: one that was changed back is seen."""
        return self._stamps.hexdigest()

    def digest(self) -> str:
        """Over the place of each file below its root, and its content.

        Raises:
            UnprovedError: something cannot be read, or there is too much.
        """
        whole, self._stamps = sha256(), sha256()
        self._size = self._seen = 0
        for index, root in enumerate(self._roots):
            for inside, kind, content in self._root(root):
                # No name holds a NUL, so that no two trees give the same bytes.
                line = f"{index}\0{inside}\0{kind}\0{content}\0"
                whole.update(line.encode("utf-8", "surrogateescape"))
        return whole.hexdigest()

    def is_ours(self, path: Path) -> bool:
        """Whether it is what this run writes to the output folder, or the store itself."""
        if os.path.realpath(path.parent) == self._output and is_output(path):
            return True
        return os.path.realpath(path) in self._ours

    def covers(self, folder: str) -> bool:
        """Whether the names in a folder have a part in the digest: not where a link leads out of the roots."""
        real = Path(os.path.realpath(folder))
        for root in map(Path, self._roots):
            if real.is_relative_to(root):
                below = [
                    one for one in (real, *real.parents) if one != root and root in one.parents
                ]
                if not any(str(one) in self._ours or one.name in SKIPPED for one in below):
                    return True
        return False

    def _root(self, root: str) -> Iterator[tuple[str, str, str]]:
        if os.path.isdir(root):  # noqa: PTH112
            yield from self._folder(root, "", root in self._sets)
        else:
            yield ".", "file", self._content(root, root)

    def _folder(self, folder: str, inside: str, of_set: bool) -> Iterator[tuple[str, str, str]]:
        """Place, kind, and content or target, of all that is below a folder."""
        below: list[tuple[str, str, bool]] = []
        for entry in _listed(folder):
            name, path = inside + entry.name, entry.path
            if entry.name in SKIPPED or self._is_ours_here(folder, entry.name):
                continue
            hidden = entry.name.startswith(".")
            if of_set and not hidden and entry.is_file(follow_symlinks=False):
                continue  # a sample, whose place and content are in the digest of its set
            self._count(1, 0)
            if entry.is_symlink():
                yield name, "link", self._target(path)
                if os.path.isfile(path):  # noqa: PTH113
                    yield name, "file", self._content(path, name)
            elif entry.is_dir():
                # Not where this run has made it, as the one that is to find the same has.
                if path not in self._on_the_way:
                    yield name, "folder", ""
                below.append((path, name, path in self._sets or (of_set and not hidden)))
            elif entry.is_file():
                yield name, "file", self._content(path, name)
            else:
                yield name, "other", ""
        for path, name, is_set in below:
            yield from self._folder(path, f"{name}/", is_set)

    def _is_ours_here(self, folder: str, name: str) -> bool:
        """`is_ours` of what a walk has found, which followed no link."""
        if folder == self._output and is_output(Path(folder, name)):
            return True
        return os.path.join(folder, name) in self._ours  # noqa: PTH118

    def _content(self, path: str, display: str) -> str:
        if os.path.splitext(path)[1].lower() in DOCUMENTS:  # noqa: PTH122
            return "a document"
        try:
            found = os.stat(path)  # noqa: PTH116
        except OSError as error:
            _refuse(error)
        if not S_ISREG(found.st_mode):
            return "no file"
        inode = (found.st_dev, found.st_ino)
        self._count(0, 0 if inode in self._named else found.st_size)
        if inode in self._leave_out:
            return "in the key"
        self._stamps.update(repr(stamp_of(found)).encode())
        return self._digests.of(Path(path), display=display)

    def _count(self, files: int, size: int) -> None:
        self._seen += files
        self._size += size
        if self._size > MAX_BYTES or self._seen > MAX_FILES:
            raise UnprovedError(
                f"the folders that code may be in hold more than {MAX_BYTES >> 30} GiB "
                f"or {MAX_FILES:,} files"
            )

    def _target(self, path: str) -> str:
        """What a link says; where it is an absolute place below a root, the place there."""
        try:
            target = os.readlink(path)  # noqa: PTH115
        except OSError as error:
            _refuse(error)
        for index, root in enumerate(self._roots):
            if target == root or target.startswith(root.rstrip("/") + "/"):
                return f"{index}\0{os.path.relpath(target, root)}"
        return target


def _listed(folder: str) -> list["os.DirEntry[str]"]:
    try:
        with os.scandir(folder) as found:
            return sorted(found, key=lambda entry: entry.name)
    except OSError as error:
        _refuse(error)


def _inodes(paths: frozenset[str]) -> frozenset[tuple[int, int]]:
    """Which files these are; what is not there is none."""
    found = set[tuple[int, int]]()
    for path in paths:
        try:
            one = os.stat(path)  # noqa: PTH116
        except (OSError, ValueError):
            continue
        if S_ISREG(one.st_mode):
            found.add((one.st_dev, one.st_ino))
    return frozenset(found)


def _refuse(error: OSError) -> NoReturn:
    raise UnprovedError(f"a folder that code may be in cannot be read: {error.strerror}") from error
