"""The repository's own spec at another commit, run in a process and folder of its own."""

import errno
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from fcntl import LOCK_EX, LOCK_NB, LOCK_SH, flock
from functools import partial
from pathlib import Path
from typing import IO

from model_eval import output
from model_eval.baseline.saved import opened
from model_eval.errors import BaselineError
from model_eval.ledger import Ledger
from model_eval.spec.eval_spec import BaselineSpec, EvalSpec
from model_eval.types import GOLDEN_HELDOUT, MAIN_HELDOUT, FileInfo, Verdict
from model_eval.wording import printable

_GIT_SECONDS = 300
_SCRATCH, _LOCK = "model-eval-baseline-", "lock"
_NOT_FOUND = (
    "does not find",
    "fetch it (actions/checkout with `fetch-depth: 0`), or name a checkpoint",
)
_ROOM = "give the folder for temporary files room (TMPDIR), and see that the ref is fetched whole"


@dataclass(frozen=True, kw_only=True, slots=True)
class Started:
    """How the run was started, before the model's code could change it: another commit's code must not see that.

    Attributes:
        folder: the current one; None where that is not there.
        environ: the variables of the environment.
    """

    folder: Path | None
    environ: Mapping[str, str]

    @classmethod
    def now(cls) -> "Started":
        """As this process is; to be called before any code of the repository is imported."""
        folder = None
        with suppress(OSError):  # it was removed
            folder = Path.cwd()
        return cls(folder=folder, environ=dict(os.environ))


@dataclass(frozen=True, kw_only=True, slots=True)
class There:
    """What the spec of another revision left.

    Attributes:
        ledgers: by held-out set.
        files: of its checkpoint.
        reused: the name of the entry in the store that they are from.
    """

    ledgers: Mapping[str, Ledger]
    files: tuple[FileInfo, ...]
    reused: str | None


def commit_of(root: Path, wanted: BaselineSpec, environ: Mapping[str, str]) -> str:
    """The commit that the ref of a baseline is now.

    Args:
        root: the repository, or a folder in it.
        wanted: the baseline.
        environ: of git's process.

    Raises:
        BaselineError: there is none, or no git.
    """
    name = f"{wanted.git or ''}^{{commit}}"
    arguments = ("rev-parse", "--verify", "--quiet", "--end-of-options", name)
    return _git("-C", str(root), *arguments, wanted=wanted, environ=environ)


def evaluate_commit(
    spec: EvalSpec,
    wanted: BaselineSpec,
    commit: str,
    started: Started,
    cache: Sequence[str],
) -> There:
    """Evaluates the repository's version of the spec at a commit, in a process and folder of its own.

    Raises:
        BaselineError: it cannot be laid out or evaluated.
    """
    root = spec.roots[0]
    inside = spec.source.path.relative_to(root) if spec.source.path.is_relative_to(root) else None
    if inside is None:
        raise BaselineError(
            "the spec is outside of the repository",
            remedy="name it with --root",
            location=wanted.location,
        )
    try:
        with _scratch() as scratch:
            tree = scratch / "tree"
            tree.mkdir()
            environ = {**started.environ, "GIT_INDEX_FILE": str(scratch / "index")}
            _check_out(root, commit, tree, wanted, environ)
            options = [*(f"--allow-path={one}" for one in spec.roots[1:]), *cache]
            place = None if started.folder is None else _same_place(started.folder, root, tree)
            there = replace(started, folder=place)
            return _run_there(tree / inside, tree, wanted, options, there)
    except OSError as error:
        why = printable(error.strerror or type(error).__name__)
        raise BaselineError(
            f"the files of `{printable(wanted.git or '')}` cannot be laid out: {why}",
            remedy=_ROOM,
            location=wanted.location,
        ) from error


def _check_out(
    root: Path, commit: str, tree: Path, wanted: BaselineSpec, environ: Mapping[str, str]
) -> None:
    """Writes all files of a commit below the root, as a checkout would, and nothing else.

    Not by `git archive`, which leaves out what `.gitattributes` marks for that. The index is of its
    own, and no hook runs. Filters do, as in every checkout: they are of git's configuration, which
    no commit can change.
    """
    here, git = ("-C", str(root), "rev-parse"), partial(_git, wanted=wanted, environ=environ)
    git_dir, prefix = git(*here, "--absolute-git-dir"), git(*here, "--show-prefix")
    quiet = ("core.hooksPath=/dev/null", "core.fsmonitor=false", "core.sparseCheckout=false")
    place = [f"--git-dir={git_dir}", f"--work-tree={tree}", "-C", str(tree)]
    place += [word for setting in quiet for word in ("-c", setting)]
    for command in (("read-tree", f"{commit}:{prefix}"), ("checkout-index", "--all", "--quiet")):
        git(*place, *command, failed=("cannot lay out the files of", _ROOM))


def _same_place(current: Path, root: Path, tree: Path) -> Path:
    """Where the current folder is in the tree; itself where it is outside of the root.

    Code may open files by paths from there, and must not find those of the working tree.
    """
    root = root.resolve()
    if not current.is_relative_to(root):
        return current
    place = tree / current.relative_to(root)
    if not place.resolve().is_relative_to(tree.resolve()):
        raise NotADirectoryError(errno.ENOTDIR, "the current folder is a link there")
    place.mkdir(parents=True, exist_ok=True)  # git knows of no empty folder
    return place


@contextmanager
def _scratch() -> Iterator[Path]:
    """A temporary folder. Those of runs that were killed go first: each is locked while it is used."""
    for old in Path(tempfile.gettempdir()).glob(f"{_SCRATCH}*"):
        with suppress(OSError), (old / _LOCK).open() as lock:
            flock(lock, LOCK_EX | LOCK_NB)
            shutil.rmtree(old, ignore_errors=True)
    while True:
        with (
            tempfile.TemporaryDirectory(prefix=_SCRATCH) as made,
            (Path(made) / _LOCK).open("w") as lock,
        ):
            flock(lock, LOCK_SH)
            if (Path(made) / _LOCK).exists():  # or another run was faster, and has removed it
                yield Path(made)
                return


def _run_there(
    path: Path,
    tree: Path,
    wanted: BaselineSpec,
    options: Sequence[str],
    started: Started,
) -> There:
    shown = printable(wanted.git or "")
    if not path.is_file():
        raise BaselineError(
            f"`{shown}` has no `{path.relative_to(tree)}`",
            remedy="name a ref that has the spec, or remove `baseline`",
            location=wanted.location,
        )
    out = tree.with_name("out")
    out.mkdir()
    log: IO[str]
    with (out / "log").open("w+") as log:
        subprocess.run(  # noqa: S603 — our own interpreter and arguments
            [
                sys.executable, "-I", "-m", "model_eval", "run", str(path), "--root", str(tree),
                "--output", str(out), "--in-process", "--no-baseline", *options,
            ],
            cwd=started.folder,
            env=started.environ,
            stdout=log,
            stderr=subprocess.STDOUT,
            stdin=subprocess.DEVNULL,
            check=False,
        )  # fmt: skip
    report = output.read_report(out / output.REPORT) if (out / output.REPORT).exists() else None
    if report is None or report.verdict is Verdict.ERROR or report.checkpoint is None:
        why = report.faults[0].message if report and report.faults else "it left no report"
        raise BaselineError(
            f"the spec of `{shown}` could not be evaluated: {printable(why, 300)}",
            remedy="its checkpoint and data must be in the repository; else name a checkpoint or ledger",
            location=wanted.location,
        )
    found = {MAIN_HELDOUT: opened(out / output.LEDGER, wanted.location)}
    for one in report.more_heldout:
        if (
            one.name == GOLDEN_HELDOUT
        ):  # compared with its own recorded outputs, and with nothing else
            continue
        found[one.name] = opened(out / output.ledger_name(one.name), wanted.location)
    reused = report.reused.checkpoint if report.reused is not None else None
    return There(ledgers=found, files=report.checkpoint.files, reused=reused)


def _git(
    *arguments: str,
    wanted: BaselineSpec,
    environ: Mapping[str, str],
    failed: tuple[str, str] = _NOT_FOUND,
) -> str:
    """What git prints; `failed` is what it did not do where it fails, and the remedy."""
    try:
        done = subprocess.run(  # noqa: S603
            ["git", *arguments],  # noqa: S607
            env=environ,
            capture_output=True,
            text=True,
            errors="surrogateescape",
            timeout=_GIT_SECONDS,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise BaselineError(
            "`baseline.git` needs git, which cannot be run here",
            remedy="check the ref out into a folder of the workspace and name its checkpoint",
            location=wanted.location,
        ) from error
    if done.returncode:
        what, remedy = failed
        raise BaselineError(
            f"git {what} `{printable(wanted.git or '')}`: "
            f"{printable(done.stderr.strip() or 'there is no such ref', 200)}",
            remedy=remedy,
            location=wanted.location,
        )
    return done.stdout.strip()
