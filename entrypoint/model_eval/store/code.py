"""The model's code: one digest of the files below the roots that a run could execute or read as settings.

Nobody can say which files a factory imports before it was run, so all of them count. Files that are
read by native code, which tells nobody, are among them.
"""

import os
from collections.abc import Sequence
from hashlib import sha256
from pathlib import Path
from stat import S_ISREG

from model_eval.output import REPORT, SUMMARY, is_output
from model_eval.store.named import Digests
from model_eval.store.unproved import UnprovedError

CODE = frozenset({".py", ".pyi", ".pyc", ".pth", ".so", ".pyd", ".cu", ".cpp", ".cc", ".c", ".h"})
SETTINGS = frozenset({".json", ".yaml", ".yml", ".toml", ".cfg", ".ini", ".txt", ".jinja"})
NATIVE = frozenset(
    {
        ".safetensors", ".onnx", ".parquet", ".arrow", ".feather", ".h5", ".hdf5", ".gguf", ".bin",
        ".model", ".spm", ".bpe", ".vocab", ".tflite", ".pt2", ".db", ".sqlite", ".sqlite3",
    }
)  # fmt: skip
"""Formats whose usual readers open a file below Python, where nobody can see it."""

MAX_BYTES = 4 << 30
MAX_FILES = 500_000
_SUFFIXES = CODE | SETTINGS | NATIVE


class CodeFiles:
    """The files of the code below some folders.

    Args:
        roots: the folders, in their order.
        leave_out: files and folders with digests of their own, such as the checkpoint.
        output: the output folder, whose reports and ledgers are no code.
        digests: of files.
    """

    def __init__(
        self,
        roots: Sequence[Path],
        *,
        leave_out: frozenset[str],
        output: Path | None,
        digests: Digests,
    ) -> None:
        self._roots = roots
        self._leave_out = leave_out
        self._output = os.path.realpath(output) if output else None
        self._digests = digests
        self.covered: frozenset[str] = frozenset()
        """Paths of the files that the last digest is over."""

    def digest(self) -> str:
        """Over the place of each file below its root, and its content.

        Raises:
            UnprovedError: a file cannot be read, or there are too many.
        """
        whole, size, seen = sha256(), 0, 0
        covered: list[str] = []
        for index, root in enumerate(self._roots):
            for folder, folders, names in os.walk(root, onerror=_refuse, followlinks=False):
                seen += len(names)
                folders[:] = sorted(f for f in folders if self._is_wanted(folder, f))
                # Reports of other runs differ each time, and are no code of anybody's.
                reports = {REPORT, SUMMARY} <= set(names)
                for name in sorted(names):
                    path = Path(folder, name)
                    if not self._counts(path) or (reports and is_output(name)):
                        continue
                    try:
                        found = path.stat()
                    except OSError:  # a link to nothing
                        continue
                    if not S_ISREG(found.st_mode):
                        continue
                    size += found.st_size
                    if size > MAX_BYTES or seen > MAX_FILES:
                        raise UnprovedError(
                            f"the folders that code may be in hold more than {MAX_BYTES >> 30} GiB "
                            f"or {MAX_FILES:,} files"
                        )
                    inside = path.relative_to(root).as_posix()
                    content = self._digests.of(path, display=inside)
                    covered.append(str(path))
                    line = f"{index}/{inside}\0{content}\n"
                    whole.update(line.encode("utf-8", "surrogateescape"))
        self.covered = frozenset(covered)
        return whole.hexdigest()

    def is_ours(self, path: Path) -> bool:
        """Whether it is what this run writes to the output folder."""
        return os.path.realpath(path.parent) == self._output and is_output(path.name)

    def _counts(self, path: Path) -> bool:
        if path.suffix.lower() not in _SUFFIXES or self.is_ours(path):
            return False
        return os.path.realpath(path) not in self._leave_out

    def _is_wanted(self, folder: str, name: str) -> bool:
        path = os.path.join(folder, name)  # noqa: PTH118
        if name.startswith(".") or name == "__pycache__":
            return False
        # A virtual environment is known by its versions.
        if os.path.exists(os.path.join(path, "pyvenv.cfg")):  # noqa: PTH110, PTH118
            return False
        return os.path.realpath(path) not in self._leave_out


def _refuse(error: OSError) -> None:
    raise UnprovedError(f"a folder that code may be in cannot be read: {error.strerror}") from error
