"""That the rows of a joined ledger are those of the samples that are here now, each once."""

from collections.abc import Callable, Iterable, Mapping, Sequence

import numpy as np

from model_eval.errors import PartsError
from model_eval.joining.facts import differ, facts_of, set_fact
from model_eval.ledger import Array, Ledger
from model_eval.types import PartInfo, Report
from model_eval.wording import printable, quote

_OF_SAMPLES = frozenset({"cluster", "weight", "bytes"})
"""Columns that come from the set, and only where the spec names them."""


def require_labels(
    name: str,
    rows: Ledger | None,
    labels: Iterable[Mapping[str, Array]],
    *,
    expected: int,
    progress: Callable[[int], None],
) -> None:
    """Compares every row of a joined ledger with its sample: each is there once, in order.

    Args:
        name: of the set.
        rows: the joined ledger; None where there is none.
        labels: of the whole set, in order: the columns that a ledger has of each block.
        expected: how many samples it has.
        progress: is told of so many samples.

    Raises:
        PartsError: a row is not its sample's.
    """
    if rows is None or len(rows) != expected:
        has = 0 if rows is None else len(rows)
        raise PartsError(f"the shards have {has} of the {expected} samples of {quote(name)}")
    kept = {name for name in rows.columns if name in _OF_SAMPLES or name.startswith("slice:")}
    start = 0
    for block in labels:
        if more := kept - block.keys():
            raise PartsError(
                f"the shards have the column `{printable(min(more))}`, and {quote(name)} not",
                remedy="run every shard again on the set that is here now",
            )
        stop = start + len(block["id"])
        for column, values in block.items():
            if column not in rows.columns or not np.array_equal(rows[column][start:stop], values):
                raise PartsError(
                    f"the shards have other values of `{printable(column)}` than {quote(name)} has "
                    f"in its rows {start} to {stop - 1}",
                    remedy="run every shard again on the set that is here now",
                )
        progress(stop - start)
        start = stop


def require_digest(name: str, report: Report, digest: str) -> None:
    """Refuses a set that is not the shards'; of a loader they do not know the digest of all samples.

    Raises:
        PartsError: it is another.
    """
    known = facts_of(report).get(set_fact(name))
    if known not in {None, digest}:
        raise differ("this run", "the shards", set_fact(name), digest, str(known))


def require_samples(name: str, parts: Sequence[PartInfo], digests: Sequence[str]) -> None:
    """Refuses shards of a loader that gave them other samples than it gives now.

    Args:
        name: of the set.
        parts: what the shards had of it, in order.
        digests: of the samples of each of these ranges, as they are now; empty of a set in files.

    Raises:
        PartsError: a digest is another.
    """
    known: Sequence[str | None] = digests or [None] * len(parts)
    for part, digest in zip(parts, known, strict=True):
        if part.samples != digest:
            raise PartsError(
                f"samples {part.start} to {part.stop - 1} of {quote(name)} are not those that their "
                "shard was given",
                remedy="run every shard again on the data that is here now; a loader must give the "
                "same samples each time, in every process",
            )
