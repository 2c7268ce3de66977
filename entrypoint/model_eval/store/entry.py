"""An entry of the store: a folder with what was measured, written whole or not at all, and doubted on reading.

KEY/manifest.json   the key, a digest of each other file, what the model's code was heard to read, and a digest of that
KEY/key.json        what the key is the digest of, for people who ask why it is another
KEY/measured.json   the facts: a report with the verdict `error`, because nothing in it was judged
KEY/ledger.parquet, KEY/ledger-NAME.parquet, KEY/golden.parquet
"""

import errno
import shutil
import tempfile
from contextlib import suppress
from dataclasses import dataclass, field, replace
from hashlib import sha256
from pathlib import Path

import msgspec

from model_eval import ledger
from model_eval.errors import EvaluationError, ModelEvalError
from model_eval.ledger import Ledger, open_ledger
from model_eval.measured import Measured
from model_eval.output import LEDGER, ledger_name
from model_eval.report import error_report, from_json, to_json
from model_eval.spec.digest import sha256_of
from model_eval.spec.files import open_regular
from model_eval.store.facts import facts_of
from model_eval.store.key import Key
from model_eval.store.opened import Dependency
from model_eval.store.place import FORMAT_VERSION
from model_eval.store.unproved import UnprovedError
from model_eval.types import GOLDEN_HELDOUT, MAIN_HELDOUT, Completion, HeldOutInfo, Report

MANIFEST, KEY, FACTS, GOLDEN = "manifest.json", "key.json", "measured.json", "golden.parquet"
MAX_MANIFEST = 64 << 20
_ATTEMPTS = 8
_TAKEN = {errno.ENOTEMPTY, errno.EEXIST, errno.ENOTDIR}
"""By an older entry; by a file or a link, which is none."""

_NOT_JUDGED = EvaluationError(
    "these are the facts of a measurement that is kept for later runs, and no verdict",
    remedy="run `model-eval run` with the same --cache",
).faults


@dataclass(frozen=True, kw_only=True, slots=True)
class Heard:
    """What a measurement depends on and is known only after it.

    Attributes:
        opened: files and folders that the model's code opened.
        asked: variables of the environment that it asked for, with digests of their values.
    """

    opened: tuple[Dependency, ...] = ()
    asked: dict[str, str | None] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True, slots=True)
class Manifest:
    """What an entry says of itself.

    Attributes:
        key: the entry's own name.
        files: digest of each other file of the entry.
        heard: what is known of the model's code since it ran, which must be unchanged.
        digest: of all the rest; see `sealed`.
    """

    format: int
    key: str
    files: dict[str, str]
    heard: Heard
    digest: str = ""


def sealed(manifest: Manifest) -> Manifest:
    """With its digest: a bit that fell over in the name of what was looked for in vain shows nowhere else."""
    rest = msgspec.json.encode(replace(manifest, digest=""))
    return replace(manifest, digest=sha256(rest).hexdigest())


def written(manifest: Manifest) -> bytes:
    """As it is in its file."""
    return msgspec.json.format(msgspec.json.encode(manifest), indent=1)


def write(measured: Measured, key: Key, heard: Heard, store: Path) -> Path:
    """Adds an entry, in the place of one of the same key; two may do so at once.

    Raises:
        OSError: the store cannot be written, or is full; nothing is left of the entry.
        EvaluationError: a ledger cannot be written.
    """
    store.mkdir(parents=True, exist_ok=True)
    part = Path(tempfile.mkdtemp(prefix=".part-", dir=store))
    try:
        (part / KEY).write_bytes(key.document)
        (part / FACTS).write_bytes(to_json(_facts(measured.report)))
        for name, rows in measured.ledgers.items():
            ledger.save(rows, part / _file_of(name))
        if measured.golden is not None:
            digest = key.sets[GOLDEN_HELDOUT].sha256
            golden = replace(measured.golden, heldout=digest, checkpoint=key.checkpoint)
            ledger.save(golden, part / GOLDEN)
        manifest = sealed(
            Manifest(
                format=FORMAT_VERSION,
                key=key.name,
                files={file.name: sha256_of(file) for file in sorted(part.iterdir())},
                heard=heard,
            )
        )
        (part / MANIFEST).write_bytes(written(manifest))
        part.chmod(0o755)  # as other folders; a temporary one is its owner's alone
        _take_place(part, store / key.name)
    finally:
        shutil.rmtree(part, ignore_errors=True)
    return store / key.name


def read(key: Key, store: Path) -> tuple[Measured, Heard] | None:
    """What an entry holds, after everything in it was checked that can be; None where there is none.

    The caller checks what was heard.

    Raises:
        UnprovedError: it is damaged, is of something else, or is no complete measurement.
    """
    folder = store / key.name
    if not folder.is_dir():
        return None
    try:
        manifest = _manifest(folder, key)
        report = from_json(_bytes(folder / FACTS))
        ledgers = {
            name: open_ledger(folder / _file_of(name))
            for name in key.sets
            if name != GOLDEN_HELDOUT
        }
        golden = open_ledger(folder / GOLDEN) if GOLDEN_HELDOUT in key.sets else None
    except (OSError, ValueError, RecursionError, ModelEvalError, msgspec.MsgspecError) as error:
        raise UnprovedError(f"it is damaged: {' '.join(str(error).split())[:200]}") from error
    measured = Measured(report=report, ledgers=ledgers, golden=golden)
    require_complete(measured, key)
    return measured, manifest.heard


def require_complete(measured: Measured, key: Key) -> None:
    """Raises `UnprovedError` where it is not all of what the key is of: the proof, made again."""
    checkpoint, heldout = measured.report.checkpoint, measured.report.heldout
    if checkpoint is None or heldout is None or measured.report.completion is None:
        raise UnprovedError("it lacks the checkpoint, the held-out set or the proof of completion")
    if checkpoint.digest != key.checkpoint:
        raise UnprovedError("it is of another checkpoint")
    more = {one.name: (one.heldout, one.completion) for one in measured.report.more_heldout}
    said = {MAIN_HELDOUT: (heldout, measured.report.completion), **more}
    ledgers = dict(measured.ledgers)
    if measured.golden is not None:
        ledgers[GOLDEN_HELDOUT] = measured.golden
    if said.keys() != key.sets.keys() or ledgers.keys() != key.sets.keys():
        raise UnprovedError("it has other held-out sets")
    for name, (info, completion) in said.items():
        _require_set(name, ledgers[name], info, completion, key)


def _require_set(
    name: str, rows: Ledger, info: HeldOutInfo, completion: Completion, key: Key
) -> None:
    wanted = key.sets[name]
    # The golden cases' ledger learns its digests where it is written.
    unknown = {None} if name == GOLDEN_HELDOUT else set()
    if info.sha256 != wanted.sha256 or rows.heldout not in {wanted.sha256, *unknown}:
        raise UnprovedError(f"its held-out set `{name}` is another")
    if rows.checkpoint not in {key.checkpoint, *unknown}:
        raise UnprovedError("its ledger is of another checkpoint")
    if tuple(file.sha256 for file in info.disjoint_from) != wanted.disjoint_from:
        raise UnprovedError(f"its held-out set `{name}` was compared with other training files")
    if rows.part is not None:
        raise UnprovedError(f"its ledger of `{name}` is of a part of a run")
    if not rows.columns.keys() >= set(wanted.columns):
        raise UnprovedError(f"its ledger of `{name}` lacks a column that the spec asks for")
    if rows.completion(completion.expected) != completion or not completion.proved:
        raise UnprovedError(f"not every sample of `{name}` is there once")


def _facts(report: Report) -> Report:
    """The facts as a report that nobody can take for a verdict: it is an error, and says why."""
    empty = error_report("a stored measurement", _NOT_JUDGED, exit_code=EvaluationError.exit_code)
    return replace(empty, **facts_of(report), notes=report.notes)


def _manifest(folder: Path, key: Key) -> Manifest:
    data = _bytes(folder / MANIFEST)
    manifest = msgspec.json.decode(data, type=Manifest)
    # Byte for byte, because the decoder takes some that are none of JSON's.
    if manifest != sealed(manifest) or data != written(manifest):
        raise ValueError("its manifest is not what was written")
    if (manifest.format, manifest.key) != (FORMAT_VERSION, key.name):
        raise ValueError("its manifest is of another entry")
    expected = {KEY, FACTS, *(_file_of(name) for name in key.sets)}
    if manifest.files.keys() != expected:
        raise ValueError("its files are not those of its key")
    for name, digest in manifest.files.items():
        if sha256_of(folder / name) != digest:
            raise ValueError(f"`{name}` is not what was written")
    if _bytes(folder / KEY) != key.document:
        raise ValueError("its key is of something else")
    return manifest


def _bytes(path: Path) -> bytes:
    with open_regular(path) as file:
        data = file.read(MAX_MANIFEST + 1)
    if len(data) > MAX_MANIFEST:
        raise ValueError(f"`{path.name}` is too large")
    return data


def _file_of(name: str) -> str:
    if name == GOLDEN_HELDOUT:
        return GOLDEN
    return LEDGER if name == MAIN_HELDOUT else ledger_name(name)


def _take_place(part: Path, folder: Path) -> None:
    """Renames a complete entry to its name; an older one there, which was not usable, goes."""
    for _ in range(_ATTEMPTS):
        try:
            part.rename(folder)
        except OSError as error:
            if error.errno not in _TAKEN:
                raise
        else:
            return
        aside = Path(tempfile.mkdtemp(prefix=".old-", dir=folder.parent))
        try:
            with suppress(FileNotFoundError):  # another process has moved it
                folder.rename(aside / "entry")
        finally:
            shutil.rmtree(aside, ignore_errors=True)
    # Another process was faster each time: its entry is as good.
