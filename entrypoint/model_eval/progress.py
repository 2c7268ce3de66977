"""How far the evaluation is: a bar on a terminal, a plain line now and then in a log."""

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import TextIO

Progress = Callable[[int], AbstractContextManager[Callable[[int], None]]]
"""Given the number of samples, a context whose value is called with each batch's size."""

SECONDS_BETWEEN_LINES = 10.0


@contextmanager
def show_progress(
    total: int, *, stream: TextIO, clock: Callable[[], float]
) -> Iterator[Callable[[int], None]]:
    """Shows progress towards `total` samples on `stream`.

    Yields:
        A function to call with the number of samples of each finished batch.
    """
    if stream.isatty():
        from tqdm import tqdm

        with tqdm(total=total, unit=" samples", file=stream, leave=False) as bar:

            def advance(rows: int) -> None:
                bar.update(rows)

            yield advance
        return
    yield _lines(total, stream=stream, clock=clock)


def _lines(total: int, *, stream: TextIO, clock: Callable[[], float]) -> Callable[[int], None]:
    done, next_line = 0, clock() + SECONDS_BETWEEN_LINES

    def advance(rows: int) -> None:
        nonlocal done, next_line
        done += rows
        if (now := clock()) >= next_line:
            stream.write(f"evaluated {done:,} of {total:,} samples\n")
            stream.flush()
            next_line = now + SECONDS_BETWEEN_LINES

    return advance
