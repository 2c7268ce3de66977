"""SHA-256 of a checkpoint while it is read: hashing takes about as long as all the rest."""

import hashlib
import os
import threading
from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from typing import Self

from model_eval.checkpoint.file import CheckpointFile
from model_eval.types import FileInfo

_BLOCK = 1 << 20
_BEHIND = 16
"""How many parts the thread may be behind: they may be all that keeps their memory."""


class Sha256:
    """SHA-256 of parts that lie in memory, in a thread of its own.

    A context, which the thread does not outlive. A part must stay as it is until the digest is
    asked for.
    """

    def __init__(self) -> None:
        self._sha256 = hashlib.sha256()
        self._pool = ThreadPoolExecutor(1, thread_name_prefix="sha256")
        self._waiting: deque[Future[None]] = deque()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._pool.shutdown(cancel_futures=True)

    def update(self, part: bytes | memoryview) -> None:
        """Adds a part; waits where the thread is far behind."""
        self._waiting.append(self._pool.submit(self._sha256.update, part))
        if len(self._waiting) > _BEHIND:
            self._waiting.popleft().result()

    def hexdigest(self) -> str:
        """64 hex digits, of all parts so far."""
        while self._waiting:
            self._waiting.popleft().result()
        return self._sha256.hexdigest()


@contextmanager
def hashing(opened: CheckpointFile) -> Iterator[Callable[[], FileInfo]]:
    """Hashes the open file in a thread, for as long as the context lasts.

    For a file that a library reads. The thread has a position of its own; that nobody wrote the
    file between the two readings is for `check_unchanged`.

    Yields:
        A function that waits for the digest. It raises `OSError` where the disk failed.
    """
    stop = threading.Event()
    with ThreadPoolExecutor(1, thread_name_prefix="sha256") as pool:
        digest = pool.submit(_digest, opened.file.fileno(), stop)
        try:
            yield lambda: FileInfo(
                path=opened.ref.display, sha256=digest.result(), size=opened.size
            )
        finally:
            stop.set()  # after an error nobody asks


def _digest(file: int, stop: threading.Event) -> str:
    sha256 = hashlib.sha256()
    block = bytearray(_BLOCK)
    view = memoryview(block)
    place = 0
    while not stop.is_set() and (got := os.preadv(file, [block], place)):
        sha256.update(view[:got])
        place += got
    return sha256.hexdigest()
