"""A ledger that an earlier run saved."""

from hashlib import file_digest
from pathlib import Path

from model_eval.errors import BaselineError, ModelEvalError
from model_eval.ledger import Ledger, open_ledger
from model_eval.spec.eval_spec import BaselineSpec, PathRef
from model_eval.spec.files import explain, open_regular
from model_eval.types import FileInfo, Location
from model_eval.wording import quote


def pinned(ledger: PathRef, wanted: BaselineSpec) -> FileInfo:
    """The ledger's file, after its digest was held against the spec's.

    Raises:
        BaselineError: it cannot be read, or is another one.
    """
    try:
        with open_regular(ledger.path) as file:
            # A BinaryIO has all that it needs; typeshed asks for `readinto`.
            found = file_digest(file, "sha256").hexdigest()  # type: ignore[arg-type]
            size = file.tell()
    except (OSError, ValueError) as error:
        what, remedy = explain(error, ledger.path)
        raise BaselineError(
            f"{quote(ledger.display)} {what}", remedy=remedy, location=wanted.location
        ) from error
    if wanted.sha256 not in {None, found}:
        raise BaselineError(
            f"{quote(ledger.display)} has the digest sha256:{found}, and the spec pins another",
            remedy="restore the file, or correct baseline.sha256",
            location=wanted.location,
        )
    return FileInfo(path=ledger.display, sha256=found, size=size)


def opened(path: Path, location: Location) -> Ledger:
    """The ledger of a file.

    Args:
        path: the file.
        location: where the spec names the baseline.

    Raises:
        BaselineError: it is no ledger, or cannot be read.
    """
    try:
        return open_ledger(path)
    except ModelEvalError as error:
        raise BaselineError(error.message, remedy=error.remedy, location=location) from error
