"""One digest of model-eval's own files: two builds may have one version."""

from functools import cache
from hashlib import sha256
from pathlib import Path

_PACKAGE = Path(__file__).parent


@cache
def digest_of_own_files() -> str:
    """SHA-256 over the names and the contents of all modules, 64 hex digits.

    Of the first time that it is asked for: ask before what hangs on it begins.
    """
    return _digest()


def own_files_are_unchanged() -> bool:
    """Whether they are still those of `digest_of_own_files`: an upgrade puts others in their place."""
    try:
        return _digest() == digest_of_own_files()
    except OSError:  # one of them has gone
        return False


def _digest() -> str:
    whole = sha256()
    for file in sorted(_PACKAGE.rglob("*.py")):
        digest = sha256(file.read_bytes()).hexdigest()
        whole.update(f"{file.relative_to(_PACKAGE).as_posix()}\0{digest}\n".encode())
    return whole.hexdigest()
