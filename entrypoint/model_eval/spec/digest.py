"""SHA-256 of files that a spec names; without torch and NumPy, so that a stored run needs neither."""

from collections.abc import Mapping
from hashlib import file_digest, sha256
from pathlib import Path

from model_eval.spec.files import open_regular


def sha256_of(path: Path) -> str:
    """Of a regular file's bytes; 64 hex digits.

    Raises:
        OSError: it is missing, is no regular file or cannot be read.
    """
    with open_regular(path) as file:
        # A BinaryIO has all that it needs; typeshed asks for `readinto`.
        return file_digest(file, "sha256").hexdigest()  # type: ignore[arg-type]


def sha256_of_all(contents: Mapping[str, str]) -> str:
    """One digest over the names and digests of several files, but not over where they are."""
    whole = sha256()
    for name in sorted(contents):
        part = name.encode("utf-8", "surrogateescape")
        # With its length, so that no two sequences of parts give the same bytes.
        whole.update(len(part).to_bytes(8, "little") + part)
        whole.update(bytes.fromhex(contents[name]))
    return whole.hexdigest()
