"""SHA-256 of held-out sets: of a file, of several files, of a loader's samples."""

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import torch

from model_eval.errors import HeldOutError
from model_eval.heldout.batch import Column
from model_eval.heldout.files import require_file, unreadable
from model_eval.spec.digest import sha256_of, sha256_of_all
from model_eval.spec.eval_spec import PathRef
from model_eval.spec.files import stamp_of
from model_eval.wording import dtype_name, quote


@dataclass(frozen=True, kw_only=True, slots=True)
class Seal:
    """What the files of a set were when they were opened.

    Attributes:
        files: name → file; the name is what the digest covers, beside the content.
        sha256: of the file; of several, over their sorted names and digests.
        contents: name → sha256 of the one file.
        size: bytes of all files together.
    """

    files: Mapping[str, PathRef]
    stamps: Mapping[str, tuple[int, ...]]
    contents: Mapping[str, str]
    sha256: str
    size: int

    def check_unchanged(self) -> None:
        """Raises `HeldOutError` where a file is not the one that was opened."""
        for name, ref in self.files.items():
            if stamp_of(require_file(ref)) != self.stamps[name]:
                raise HeldOutError(
                    f"{quote(ref.display)} changed while it was being used",
                    remedy="run again when nothing else writes it",
                    location=ref.location,
                )


def seal_file(ref: PathRef) -> Seal:
    """Hashes one file; its digest is what `sha256sum` prints."""
    one = seal_files({"": ref})
    return Seal(
        files=one.files,
        stamps=one.stamps,
        contents=one.contents,
        sha256=one.contents[""],
        size=one.size,
    )


def seal_files(files: Mapping[str, PathRef]) -> Seal:
    """Hashes several files; the digest covers the names, too, but not where the files are."""
    found = {name: require_file(ref) for name, ref in files.items()}
    contents = {name: _digest(ref) for name, ref in files.items()}
    return Seal(
        files=files,
        stamps={name: stamp_of(one) for name, one in found.items()},
        contents=contents,
        sha256=sha256_of_all(contents),
        size=sum(one.st_size for one in found.values()),
    )


class SampleDigest:
    """SHA-256 of samples one after the other: names, dtypes, shapes and bytes of their columns."""

    def __init__(self) -> None:
        self._hash = hashlib.sha256()

    def add(self, sample: Iterable[tuple[str, Column | str]]) -> None:
        """Adds one sample; each value is an array or a tensor without a batch axis, or text."""
        for name, value in sample:
            _update(self._hash, name.encode())
            if isinstance(value, str):
                _update(self._hash, b"str")
                _update(self._hash, value.encode("utf-8", "surrogatepass"))
                continue
            dtype = dtype_name(value.dtype)
            _update(self._hash, f"{dtype} {tuple(value.shape)}".encode())
            _update(self._hash, _bytes(value))

    def hexdigest(self) -> str:
        """64 hex digits."""
        return self._hash.hexdigest()


class RangeDigests:
    """A digest of the samples of each of several ranges that follow one another.

    Args:
        ends: where each range ends, ascending; the first begins where a pass does.
    """

    def __init__(self, ends: Sequence[int]) -> None:
        self._ends = frozenset(ends)
        self.begin(0)

    def begin(self, start: int) -> None:
        """Forgets what there was: a pass begins with this sample."""
        self._at = start
        self._found: list[str] = []
        self._now = SampleDigest()

    def add(self, sample: Iterable[tuple[str, Column | str]]) -> None:
        """Adds one sample; see `SampleDigest.add`."""
        self._now.add(sample)
        self._at += 1
        if self._at in self._ends:
            self._found.append(self._now.hexdigest())
            self._now = SampleDigest()

    def found(self) -> tuple[str, ...]:
        """64 hex digits for each range that was given to its end."""
        return tuple(self._found)


def _update(digest: "hashlib._Hash", part: bytes) -> None:
    # With its length, so that no two sequences of parts give the same bytes.
    digest.update(len(part).to_bytes(8, "little"))
    digest.update(part)


def _bytes(value: Column) -> bytes:
    if isinstance(value, torch.Tensor):
        # NumPy has no bfloat16; as bytes every dtype has a NumPy counterpart.
        return value.contiguous().reshape(-1).view(torch.uint8).numpy().tobytes()
    return value.tobytes()


def _digest(ref: PathRef) -> str:
    try:
        return sha256_of(ref.path)
    except OSError as error:
        raise unreadable(ref, error) from error
