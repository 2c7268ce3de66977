"""Which files the model's code opens while it is measured: like the dependency file of a compiler.

Python tells an audit hook of every file that it opens and every folder that it lists, before it does.
What native code opens nobody is told of, but for what it has mapped at the end (`mapped`); files below the
roots count in any case (`code`). What another process opens is not known either, so that nothing is kept of a run
whose own code starts one.
"""

import os
import sys
import sysconfig
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from hashlib import sha256
from importlib.machinery import SourceFileLoader
from importlib.util import source_from_cache
from pathlib import Path
from stat import S_ISCHR, S_ISDIR, S_ISREG
from types import FrameType
from typing import Any

from model_eval.processes import children
from model_eval.store.code import MAX_BYTES, CodeFiles
from model_eval.store.here import is_metadata, is_site, recorded
from model_eval.store.mapped import REMOVED, mapped
from model_eval.store.named import Digests
from model_eval.store.unproved import UnprovedError
from model_eval.wording import printable, quote

_PACKAGE = str(Path(__file__).parent.parent)
_READERS = tuple(
    f"{_PACKAGE}/{name}"
    for name in (
        "spec/",
        "checkpoint/read",
        "heldout/",
        "ledger/",
        "lookups",
        "output",
        "baseline/",
    )
)
"""Our own code that opens what the spec names and what runs leave, and calls nobody else's directly."""

_SYSTEM = ("/proc/", "/sys/")
"""What the system says of itself at this moment; of the device the key holds what counts."""

_FILES = frozenset({"open", "ctypes.dlopen"})
_DATABASE = "sqlite3.connect"
_BESIDE = ("", "-journal", "-wal")
"""What SQLite reads of a database: the file, and what a process that died has left of a change."""

_EXTENSION = "import"
"""Has a file's name for a module in native code only; others are opened."""

_MAKING, _RENAMING = "os.mkdir", "os.rename"
_LISTINGS = frozenset({"os.listdir", "os.scandir"})
_PROCESSES = frozenset(
    {
        "subprocess.Popen",
        "os.fork",
        "os.forkpty",
        "os.posix_spawn",
        "os.spawn",
        "os.system",
        "os.exec",
    }
)
_HEARD = _FILES | _LISTINGS | _PROCESSES | {_EXTENSION, _MAKING, _RENAMING, _DATABASE}
_SPAWNING = frozenset(
    {
        "multiprocessing.popen_spawn_posix",
        "multiprocessing.popen_forkserver",
        "joblib.externals.loky.backend.popen_loky_posix",
        "loky.backend.popen_loky_posix",
    }
)
"""Modules that are imported by the first process that is started without an event."""

_IMPORT = SourceFileLoader.get_code.__code__
"""Reads bytecode only where there is a source, and believes it only where it was compiled from that."""

_MOST = 100_000


@dataclass(frozen=True, kw_only=True, slots=True)
class Dependency:
    """A file or folder that the model's code opened.

    Attributes:
        root: index of the root that it is below; None where `path` is absolute.
        at: the absolute path that it was opened by: code may name it so, and finds it there
            when its own copy is elsewhere.
        sha256: of a file's content or of the names in a folder; None where it was not there.
        made: whether the run has made it, and not read it: another one finds it so, or not at all.
    """

    root: int | None
    path: str
    at: str
    folder: bool
    sha256: str | None
    made: bool = False


class Opened:
    """What this process opens, from `start` on. A hook cannot be removed, only paused.

    Args:
        roots: folders of the repository and of data, resolved.
        code: the files that have a digest already.
    """

    def __init__(self, roots: Sequence[Path], code: CodeFiles) -> None:
        self._roots = [str(root) for root in roots]
        self._code = code
        self._installed = _installed()
        self._sites = tuple(folder for folder in self._installed if is_site(folder))
        self._files: dict[str, tuple[int, ...] | None] = {}
        self._folders: dict[str, str | None] = {}
        self._made: set[str] = set()
        self._odd: str | None = None
        self._started_process = False
        self._children = children()
        self._mapped = mapped()
        self._spawning = _SPAWNING & sys.modules.keys()
        # As an earlier run of this process has found it, which may not be what the file holds now.
        self._loaded = any(
            self._is_code(file) and self._is_inside(file) for file in _module_files()
        )
        self._begun = False
        self._paused = threading.local()  # what other threads open meanwhile is none of our reading

    def start(self) -> None:
        """Begins to listen, in the place of another one."""
        self._note_searched()  # Python has listed these before
        _Hook.tell(self)
        self._begun = True

    def _note_searched(self) -> None:
        """Takes in where modules are looked for: one that comes to a place hides those behind it."""
        for path in map(os.path.abspath, map(os.fsdecode, sys.path)):
            if self._code.covers(path) or f"{path}/".startswith(self._installed):
                continue
            if path not in self._folders:
                self._folders[path] = names_in(path, self._code)
            if self._folders[path] is None and path not in self._files:
                self._files[path] = _stamp(path)  # an archive, or nothing yet

    @contextmanager
    def paused(self) -> Iterator[None]:
        """A context in which nothing of this thread is noted: our own reading is no dependency."""
        before = self._is_paused()
        self._paused.now = True
        try:
            yield
        finally:
            self._paused.now = before

    def _is_paused(self) -> bool:
        return getattr(self._paused, "now", False)

    def dependencies(self, *, but: frozenset[str], digests: Digests) -> tuple[Dependency, ...]:
        """All that was opened, with digests of now, which must be those of then.

        Args:
            but: files and folders, resolved, that have digests of their own.
            digests: of files.

        Raises:
            UnprovedError: one of them changed in between, or a process was started.
        """
        if self._loaded:
            raise UnprovedError("code of the repository was loaded before this run began")
        spawned = _SPAWNING & sys.modules.keys() != self._spawning
        if self._started_process or spawned or children() - self._children:
            raise UnprovedError("the model's code starts a process, whose files are not known")
        if self._odd is not None:
            raise UnprovedError(
                f"which file {quote(self._odd)} is, that the model's code opens, is not known"
            )
        if len(self._files) + len(self._folders) > _MOST:
            raise UnprovedError(f"the model's code opens more than {_MOST:,} files")
        with self.paused():
            self._note_searched()  # what the model's code has added
            known = recorded(self._sites)
            noted = self._files | {path: _stamp(path) for path in self._mapped_since()}
            files = {
                path: was
                for path, was in noted.items()
                if path not in known and not is_metadata(path) and self._counts(path, but)
            }
            if sum(was[2] for was in files.values() if was is not None) > MAX_BYTES:
                raise UnprovedError(
                    f"the model's code opens files of more than {MAX_BYTES >> 30} GiB"
                )
            found = [self._file(path, was, digests) for path, was in files.items()]
            found += [
                replace(self._file(path, now, digests), made=True)
                for path in sorted(self._made - self._files.keys())
                if (now := _stamp(path)) is not None and self._counts(path, but)
            ]
            found += [
                self._folder(path, was)
                for path, was in self._folders.items()
                if self._counts(path, but)
            ]
        return tuple(found)

    def _mapped_since(self) -> list[str]:
        """The files that were mapped after the first, and of which neither a digest nor a version tells.

        Raises:
            UnprovedError: one of them is no longer there to have a digest.
        """
        known = self._made | self._files.keys()
        since = sorted(mapped() - self._mapped - known)
        for path in since:
            before = path.removesuffix(REMOVED)
            if before != path and before not in self._made:
                raise UnprovedError(f"{quote(before)} was replaced while the model had it mapped")
        return [
            path
            for path in since
            if not self._code.covers(os.path.dirname(path))  # noqa: PTH120
            and not self._is_python(path)
            and _stamp(path) is not None  # what is no file, such as a device, has no content
        ]

    def _counts(self, path: str, but: frozenset[str]) -> bool:
        # A file that this process has made and removed is its own.
        own = path in self._made and not os.path.lexists(path)
        return not own and not self._code.is_ours(Path(path)) and not _is_in(path, but)

    def _file(self, path: str, was: tuple[int, ...] | None, digests: Digests) -> Dependency:
        root, inside = self._placed(path)
        if _stamp(path) != was:
            raise UnprovedError(f"{quote(inside)} changed while the model ran")
        content = None if was is None else digests.of(Path(path), display=inside)
        return Dependency(root=root, path=inside, at=path, folder=False, sha256=content)

    def _folder(self, path: str, was: str | None) -> Dependency:
        root, inside = self._placed(path)
        if names_in(path, self._code) != was:
            raise UnprovedError(f"the folder {quote(inside)} changed while the model ran")
        return Dependency(root=root, path=inside, at=path, folder=True, sha256=was)

    def _placed(self, path: str) -> tuple[int | None, str]:
        root, inside = placed(path, self._roots)
        try:
            path.encode()
        except UnicodeEncodeError as error:
            raise UnprovedError(f"the name of {quote(inside)} is not UTF-8") from error
        return root, inside

    def hear(self, event: str, args: tuple[Any, ...], frame: FrameType | None) -> None:
        """Takes in an event. It must not raise, or what it listens to would fail.

        Args:
            event: its name.
            args: what Python tells of it.
            frame: where it happens.
        """
        if not self._begun or self._is_paused():
            return
        if event in _PROCESSES:
            self._started_process |= self.is_the_models(frame)
            return
        try:
            if event in _FILES:
                self._hear_file(args, frame)
            elif event == _DATABASE:
                self._hear_database(args[0], frame)
            elif event in _LISTINGS:
                self._hear_listing(args[0], frame)
            elif event == _MAKING:
                self._hear_making(*args)
            elif event == _RENAMING:
                self._hear_renaming(*args)
            elif args[1] is not None:
                self._hear_file(args[1:2], frame)
        except Exception:  # noqa: BLE001 - what could not be taken in is not known
            self._odd = self._odd or printable(str(args[0]), 200)

    def _hear_file(self, args: tuple[Any, ...], frame: FrameType | None) -> None:
        path = _path(args[0])
        flags = args[2] if len(args) > 2 and isinstance(args[2], int) else os.O_RDONLY
        if path is None:
            return
        # `os.open` has no mode; and where it has the number of a folder, nobody is told of that.
        if len(args) > 1 and args[1] is None and not os.path.isabs(os.fsdecode(args[0])):  # noqa: PTH117
            if not _is_of(frame, ("shutil.py", "os.py")):  # which remove folders by such numbers
                self._odd = self._odd or os.fsdecode(args[0])
            return
        if path.endswith(".pyc") and ("__pycache__" in path or _is_import(frame)):
            self._note(source_from_cache(path), os.O_RDONLY, frame)
            if _is_import(frame):  # whoever else reads it has not held it against its source
                return
        self._note(path, flags, frame)

    def _note(self, path: str, flags: int, frame: FrameType | None) -> None:
        if path in self._files or self._is_python(path):
            return
        was = _stamp(path)
        # What is added to is found as it was, as if it were read; what must not be there, where it is.
        anew = flags & os.O_TRUNC or (flags & os.O_EXCL and was is None)
        if was is None and flags & os.O_CREAT and anew:
            self._made.add(path)
        writes = anew and flags & os.O_ACCMODE == os.O_WRONLY
        if writes or (path in self._made and was is None):
            return
        if self._is_ours(frame):
            return
        if was is None and os.path.exists(path):  # noqa: PTH110
            # A folder is opened to be listed; of /dev/null and its like nothing can change.
            if not S_ISDIR(mode := os.stat(path).st_mode) and not S_ISCHR(mode):  # noqa: PTH116
                self._odd = self._odd or path
            return
        self._files[path] = was

    def _hear_database(self, found: Any, frame: FrameType | None) -> None:
        name = os.fsdecode(found)
        if name in {"", ":memory:"}:
            return
        if name.startswith("file:"):
            raise ValueError("a URI, which SQLite reads in its own way")
        for more in _BESIDE:
            self._hear_file((name + more,), frame)

    def _hear_listing(self, found: Any, frame: FrameType | None) -> None:
        if isinstance(found, int):
            if _is_of(frame, ("shutil.py",)):
                return
            path: str | None = os.readlink(f"/proc/self/fd/{found}")  # noqa: PTH115
        else:
            path = os.getcwd() if found is None else _path(found)  # noqa: PTH109
        if path is None or path in self._folders:
            return
        # The import system lists folders to find modules; names that are code's have a digest.
        importing = frame is not None and "importlib" in frame.f_code.co_filename
        if (importing and self._code.covers(path)) or self._is_ours(frame):
            return
        if not f"{path}/".startswith((*self._installed, *_SYSTEM)):
            with self.paused():
                self._folders[path] = names_in(path, self._code)

    def _hear_making(self, found: Any, _mode: int, of_folder: int) -> None:
        path = _path(found)
        known = path in self._folders or path in self._files
        if path is not None and of_folder == -1 and not known and not os.path.lexists(path):
            self._made.add(path)

    def _hear_renaming(self, old: Any, new: Any, *of_folders: int) -> None:
        before, path = _path(old), _path(new)
        # What is written whole has another name first. Of Python's caches the source counts.
        if before is None or path is None or "__pycache__" in path or of_folders != (-1, -1):
            return
        if before in self._made and not os.path.lexists(path):
            self._made.add(path)

    def note_modules(self) -> None:
        """Takes in the files of modules that were imported before, such as by a `.pth`."""
        for path in _module_files():
            if os.path.isabs(path) and not self._is_python(path) and not self._is_inside(path):  # noqa: PTH117
                self._files.setdefault(path, _stamp(path))

    def _is_python(self, path: str) -> bool:
        """Whether it is of Python itself, of model-eval, or of the system's own telling."""
        if path.startswith(_SYSTEM):
            return True
        return path.startswith(self._installed) and not path.startswith(self._sites)

    def _is_inside(self, path: str) -> bool:
        return placed(path, self._roots)[0] is not None

    def is_the_models(self, frame: FrameType | None) -> bool:
        """Whether the model's code may be what runs in this frame."""
        return self._is_users(frame) or _is_of_nobody(frame)

    def _is_users(self, frame: FrameType | None) -> bool:
        """Whether a line of the repository's is running, in this frame or in what called it.

        Or one of elsewhere that is not installed, as long as none of ours was met: further out is who called us.
        """
        further_out = False
        while frame is not None:
            file = frame.f_code.co_filename
            further_out = further_out or file.startswith(f"{_PACKAGE}/")
            if self._is_code(file) and (not further_out or self._is_inside(file)):
                return True
            if not further_out and _is_generated(file):  # by whom, it does not say
                return True
            frame = frame.f_back
        return False

    def _is_ours(self, frame: FrameType | None) -> bool:
        """Whether one of our readers reads, and not for the repository's code.

        What they read is in the key, or is of our own making, and says nothing of the model.
        """
        if self._is_users(frame):
            return False
        while frame is not None and not frame.f_code.co_filename.startswith(f"{_PACKAGE}/"):
            frame = frame.f_back
        return frame is not None and frame.f_code.co_filename.startswith(_READERS)

    def _is_code(self, file: str) -> bool:
        """Whether it is a file, unlike `<frozen os>`, of which no version tells."""
        return os.path.isabs(file) and not file.startswith(self._installed)  # noqa: PTH117


class _Hook:
    """The one audit hook of this process, which cannot be removed."""

    listener: Opened | None = None
    installed = False

    @classmethod
    def tell(cls, listener: Opened) -> None:
        cls.listener = listener
        if not cls.installed:
            cls.installed = True
            sys.addaudithook(cls._hear)

    @classmethod
    def _hear(cls, event: str, args: tuple[Any, ...]) -> None:
        # Asking for a frame is an event, too.
        if event not in _HEARD or cls.listener is None:
            return
        try:
            frame = sys._getframe(1)  # noqa: SLF001
        except ValueError:  # no line of Python's is running
            frame = None
        cls.listener.hear(event, args, frame)


def names_in(path: str, code: CodeFiles) -> str | None:
    """Digest of the names in a folder; None where there is none.

    Caches of Python's and what this run writes do not count.
    """
    try:
        names = sorted(os.listdir(path))  # noqa: PTH208
    except (OSError, ValueError):
        return None
    kept = [name for name in names if name != "__pycache__"]
    theirs = [name for name in kept if not code.is_ours(Path(path, name))]
    return sha256("\0".join(theirs).encode("utf-8", "surrogateescape")).hexdigest()


def placed(path: str, roots: Sequence[str]) -> tuple[int | None, str]:
    """The index of the root that a path is below, and the path from there; else the path itself.

    The path as it was written counts first, so that a link that is pointed elsewhere is seen.
    """
    for one in (path, os.path.realpath(path)):
        for index, root in enumerate(roots):
            if one == root or one.startswith(root.rstrip("/") + "/"):
                return index, os.path.relpath(one, root)
    return None, path


def _module_files() -> list[str]:
    files = [getattr(module, "__file__", None) for module in list(sys.modules.values())]
    return [file for file in files if isinstance(file, str)]


def _installed() -> tuple[str, ...]:
    """Folders whose content versions tell of: Python, what is installed, and model-eval."""
    folders = {
        sysconfig.get_paths()[name] for name in ("stdlib", "platstdlib", "purelib", "platlib")
    }
    folders |= {f for f in sys.path if f.endswith(("/site-packages", "/dist-packages"))}
    folders |= {os.path.realpath(folder) for folder in folders}
    folders |= {_PACKAGE}
    return tuple(folder.rstrip("/") + "/" for folder in folders if folder)


def _path(found: Any) -> str | None:
    """The absolute path that a call was given; None where it was a number of an open file.

    Raises:
        ValueError: it is not known by its name.
    """
    if not isinstance(found, str | bytes | os.PathLike):
        return None
    text = os.fsdecode(found)
    path = os.path.abspath(text)  # noqa: PTH100
    # Behind a link `..` is the parent of where that leads, which may lead elsewhere tomorrow.
    if ".." in text.split("/") and os.path.realpath(text) != os.path.realpath(path):
        raise ValueError("`..` behind a link")
    # The number of an open file, which is soon another's.
    return os.path.realpath(path) if path.startswith(("/dev/fd/", "/proc/self/fd/")) else path


def _is_generated(file: str) -> bool:
    """Whether code was compiled from a text, such as `<string>`; what Python is built with is `<frozen os>`."""
    return not os.path.isabs(file) and not file.startswith("<frozen ")  # noqa: PTH117


def _is_of_nobody(frame: FrameType | None) -> bool:
    """Whether no line of ours is running, in a thread that is not the first.

    A pool's thread may call what the model's code has put there, without a line of that.
    """
    if threading.get_ident() == threading.main_thread().ident:
        return False
    while frame is not None and not frame.f_code.co_filename.startswith(f"{_PACKAGE}/"):
        frame = frame.f_back
    return frame is None


def _is_import(frame: FrameType | None) -> bool:
    """Whether Python's import of a module that has a source opens a file."""
    caller = frame.f_back if frame is not None else None
    return caller is not None and caller.f_code is _IMPORT


def _is_of(frame: FrameType | None, names: tuple[str, ...]) -> bool:
    """Whether it is a line of the standard library's file of such a name."""
    if frame is None:
        return False
    file = Path(frame.f_code.co_filename)
    return file.name in names and file.parent == Path(os.__file__).parent


def _stamp(path: str) -> tuple[int, ...] | None:
    try:
        found = os.stat(path)  # noqa: PTH116
    except (OSError, ValueError):
        return None
    if not S_ISREG(found.st_mode):
        return None
    # Without ctime, which `stamp_of` has: other modes and links change it, and do not count.
    return (found.st_dev, found.st_ino, found.st_size, found.st_mtime_ns)


def _is_in(path: str, paths: frozenset[str]) -> bool:
    """Whether a path is one of these, or below one, where nothing hidden is a sample."""
    real = Path(os.path.realpath(path))
    return str(real) in paths or any(
        str(parent) in paths and "/." not in str(real)[len(str(parent)) :]
        for parent in real.parents
    )
