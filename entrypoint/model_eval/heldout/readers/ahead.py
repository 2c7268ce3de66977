"""Decodes files in threads, while what was decoded before is being used.

Threads and not processes: decoders release the interpreter lock, and threads need no shared memory,
cannot be orphaned and raise what they raise here.
"""

from collections.abc import Callable, Generator, Iterable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np

from model_eval.cores import cores
from model_eval.errors import HeldOutError
from model_eval.heldout.batch import Array
from model_eval.heldout.wording import shape_of
from model_eval.spec.eval_spec import PathRef
from model_eval.types import Location
from model_eval.wording import quote

Decode = Callable[[PathRef], Array]


@dataclass(frozen=True, kw_only=True, slots=True)
class _Group:
    """The arrays of a few files: where they will be, and who puts them there."""

    arrays: Array
    filled: Sequence[Future[None]]

    def wait(self) -> Array:
        for one in self.filled:
            one.result()
        return self.arrays


def decoded(
    groups: Iterable[Sequence[PathRef]], decode: Decode, *, location: Location
) -> Generator[Array, None, None]:
    """Decodes each group of files to one array; the next group while one is being used.

    There are as many threads as this process was given cores, and never more than two groups in
    memory beside those that were given out. Where the iteration ends, however it does, nothing is
    decoded any more and no thread is left.

    Args:
        groups: at least one file each.
        decode: makes one file's array; all must have the same shape and dtype.
        location: of the set in the spec, for messages.

    Yields:
        [n, ...] for each group of n files, in order.

    Raises:
        HeldOutError: what `decode` raised, of the first file in order; or two shapes differ.
    """
    pool = ThreadPoolExecutor(cores(), thread_name_prefix="decode")
    try:
        first: tuple[PathRef, Array] | None = None
        waiting: _Group | None = None
        for files in groups:
            if first is None:
                first = (files[0], decode(files[0]))
            group = _begun(pool, files, decode, first, location)
            if waiting is not None:
                yield waiting.wait()
            waiting = group
        if waiting is not None:
            yield waiting.wait()
    finally:
        pool.shutdown(cancel_futures=True)


def _begun(
    pool: ThreadPoolExecutor,
    files: Sequence[PathRef],
    decode: Decode,
    first: tuple[PathRef, Array],
    location: Location,
) -> _Group:
    first_file, like = first
    arrays: Array = np.empty((len(files), *like.shape), dtype=like.dtype)

    def fill(place: int, file: PathRef) -> None:
        # Not collected in a list and stacked: one thread would copy what many decoded.
        array = like if file is first_file else decode(file)
        if array.shape != like.shape:
            raise HeldOutError(
                f"images differ in shape: {quote(first_file.display)} is {shape_of(like.shape)}, "
                f"{quote(file.display)} {shape_of(array.shape)}",
                remedy="state `image: {resize: [height, width]}`",
                location=location,
            )
        arrays[place] = array

    return _Group(
        arrays=arrays, filled=[pool.submit(fill, place, file) for place, file in enumerate(files)]
    )
