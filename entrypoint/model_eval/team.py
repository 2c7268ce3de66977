"""The processes of `torchrun` that share out one run: what they tell one another, and how it ends.

They compute nothing together, so that there is no collective that could hang: all goes through the
store in which torch's processes find one another. Each runs its part as a shard does and hands its
folder to the first one, which joins and judges them as `merge` does. Whoever waits looks for a sign
of life of whom it waits for, so that a process that died is an error and never a gap.
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from datetime import timedelta
from pathlib import Path
from threading import Event, Thread
from time import monotonic, sleep
from typing import Any

from model_eval.errors import EvaluationError, Interrupted, StoppedError
from model_eval.parts import Shard
from model_eval.progress import Progress
from model_eval.rank import Rank
from model_eval.wording import first_line

PIECE_BYTES = 4 << 20
"""Of a file, at a time: the store takes no values of any size."""

BEAT_SECONDS = 2.0
LOST_SECONDS = 120.0
"""A process that gives no sign of life for so long is taken for dead: importing torch can take long."""

_POLL_SECONDS = 0.02
_LAST_SECONDS = 3.0
"""The store may end with the first process: the others have so long to hear how it ended."""


class Team:
    """This process among the others.

    Args:
        rank: which one it is.
        store: gives the store that all have in common; see `torch_store`.
    """

    def __init__(self, rank: Rank, store: Callable[[], Any]) -> None:
        self.rank = rank
        self._open = store
        self._store: Any = None
        self._tried = False
        self._listened = 0.0
        # The repository's code may use the store, too, and so did processes that were restarted.
        self._prefix = f"model-eval/{rank.attempt}"
        self._over = Event()
        self._seen: dict[int, tuple[bytes, float]] = {}

    @property
    def shard(self) -> Shard:
        """The part that this process runs."""
        return Shard(self.rank.index + 1, self.rank.of)

    def begin(self) -> None:
        """From now on the others know that this process is alive, however long its part takes.

        Raises:
            EvaluationError: the others cannot be reached.
        """
        self._asked(lambda _store: None)

    def listening(self, progress: Progress) -> Progress:
        """A progress display that ends the run where another process has said that it failed.

        Nobody should wait for the end of a part that is for nothing. It asks now and then.
        """

        @contextmanager
        def shown(expected: int) -> Iterator[Callable[[int], None]]:
            with progress(expected) as advance:

                def advanced(rows: int) -> None:
                    advance(rows)
                    if monotonic() - self._listened > BEAT_SECONDS:
                        self._require_no_fault()
                        self._listened = monotonic()

                yield advanced

        return shown

    def gather(self, own: Path, scratch: Path) -> Sequence[Path] | None:
        """Hands over what this process has evaluated.

        Args:
            own: the folder with its report and ledgers.
            scratch: where the first process puts the folders of the others.

        Returns:
            In the first process the folders of all, in order; None in every other.

        Raises:
            EvaluationError: a process failed or died.
        """
        if not self.rank.first:
            self._hand_over(own)
            return None
        folders = [own]
        for other in range(1, self.rank.of):
            self._require_no_fault()  # even where all that is waited for is there already
            folder = scratch / f"rank-{other}"
            folder.mkdir()
            self._take(other, folder)
            folders.append(folder)
        return folders

    def end(self, status: int, fault: str | None) -> int:
        """Agrees on how the run ended, which the first process says.

        Args:
            status: the exit status that this process would have.
            fault: what it could not do; None where it did all.

        Returns:
            The exit status of this process: never 0 where the first one's is not known.
        """
        try:
            if self.rank.first:
                self._set("status", str(status).encode())
                self._see_off()
                return status
            if fault is not None:
                self._set("fault", f"{self.rank.index} {fault}".encode())
            said = int(self._wait("status", of=0))
            self._set(f"bye/{self.rank.index}", b"1")
            self._linger(said)
        except (Interrupted, StoppedError):
            return status or EvaluationError.exit_code
        except EvaluationError:
            failed = status or EvaluationError.exit_code
            if not self.rank.first:
                self._linger(failed)  # what is wrong here may be wrong there, and is said there
            return failed
        else:
            return said
        finally:
            self._over.set()

    def _hand_over(self, own: Path) -> None:
        me = self.rank.index
        files = sorted(path for path in own.iterdir() if path.is_file())
        self._set(f"files/{me}", "\n".join(path.name for path in files).encode())
        # In turn, so that the store holds the ledgers of one process at a time.
        self._wait(f"turn/{me}", of=0)
        for number, path in enumerate(files):
            with path.open("rb") as file:
                count = 0
                while piece := file.read(PIECE_BYTES):
                    self._set(f"file/{me}/{number}/{count}", piece)
                    count += 1
            self._set(f"pieces/{me}/{number}", str(count).encode())

    def _take(self, other: int, folder: Path) -> None:
        names = self._wait(f"files/{other}", of=other).decode().split("\n")
        self._set(f"turn/{other}", b"1")
        for number, name in enumerate(names):
            count = int(self._wait(f"pieces/{other}/{number}", of=other))
            with (folder / Path(name).name).open("wb") as file:
                for piece in range(count):
                    key = f"file/{other}/{number}/{piece}"
                    file.write(self._wait(key, of=other))
                    self._drop(key)

    def _see_off(self) -> None:
        """The store of torchrun itself is still there when this process is not."""
        end = monotonic() + (0 if self.rank.kept else _LAST_SECONDS)
        waiting = {f"bye/{other}" for other in range(1, self.rank.of)}
        while waiting and monotonic() < end:
            waiting = {key for key in waiting if not self._has(key)}
            sleep(_POLL_SECONDS)

    def _linger(self, status: int) -> None:
        """Leaves the first process time to show its report: torchrun stops all when one fails."""
        if status:
            with suppress(Interrupted):
                sleep(_LAST_SECONDS)

    def _wait(self, key: str, *, of: int) -> bytes:
        """The value that another process sets.

        Raises:
            EvaluationError: it says that it failed, or gives no sign of life.
        """
        who = f"rank {of} of {self.rank.of}"
        began = monotonic()
        try:
            while not self._has(key):
                self._require_no_fault()
                if of == 0 and key != "status" and self._has("status"):
                    raise EvaluationError(f"{who} has ended the run", remedy="look at its report")
                if monotonic() - max(began, self._last_sign(of)) > LOST_SECONDS:
                    raise EvaluationError(
                        f"{who} has given no sign of life for {LOST_SECONDS:.0f} seconds",
                        remedy="look at what this process printed; it may have run out of memory",
                    )
                sleep(_POLL_SECONDS)
        except Interrupted as stopped:
            if type(stopped) is not Interrupted:  # an alarm came
                raise
            raise StoppedError(
                f"the run was stopped before {who} had finished",
                remedy="torchrun stops all processes when one dies: look at what this one printed",
            ) from stopped
        return self._get(key)

    def _require_no_fault(self) -> None:
        """The first process ends the run as soon as any other has failed."""
        if not self.rank.first or not self._has("fault"):
            return
        index, _, said = self._get("fault").decode(errors="replace").partition(" ")
        raise EvaluationError(
            f"rank {index} of {self.rank.of} failed: {said}",
            remedy="look at what this process printed",
        )

    def _last_sign(self, of: int) -> float:
        """When the other process was last heard of, in the seconds of this one's clock."""
        key = f"beat/{of}"
        beat = self._get(key) if self._has(key) else b""
        known = self._seen.get(of)
        if known is None or known[0] != beat:
            self._seen[of] = known = (beat, monotonic())
        return known[1]

    def _key(self, name: str) -> str:
        return f"{self._prefix}/{name}"

    def _has(self, key: str) -> bool:
        return bool(self._asked(lambda store: store.check([self._key(key)])))

    def _get(self, key: str) -> bytes:
        return bytes(self._asked(lambda store: store.get(self._key(key))))

    def _set(self, key: str, value: bytes) -> None:
        self._asked(lambda store: store.set(self._key(key), value))

    def _drop(self, key: str) -> None:
        self._asked(lambda store: store.delete_key(self._key(key)))

    def _asked(self, ask: Callable[[Any], Any]) -> Any:
        """The store's answer; the store is opened when it is first needed."""
        try:
            if self._store is None:
                if self._tried:  # and nobody came: the others are not waited for again
                    raise EvaluationError(f"there is no store at {self.rank.at}")
                self._tried = True
                self._store = self._first_to_use(self._open())
                Thread(target=self._beat, name="beat", daemon=True).start()
            return ask(self._store)
        except (RuntimeError, ValueError) as error:  # torch.distributed's errors are RuntimeErrors
            raise EvaluationError(
                f"the processes of this run have lost one another: {first_line(error)}",
                remedy="look at what each of them printed",
            ) from error

    def _first_to_use(self, store: Any) -> Any:
        """The store, unless a process of this number has used it already.

        It outlives a run: what is in there of another one would be taken for this one's.
        """
        if store.add(self._key(f"used/{self.rank.index}"), 1) != 1:
            raise EvaluationError(
                "another run of this torchrun job has used the store of its processes already",
                remedy="start torchrun once for each run",
            )
        return store

    def _beat(self) -> None:
        count = 0
        with suppress(RuntimeError):  # who waits for this process says that it is gone
            while not self._over.wait(BEAT_SECONDS):
                count += 1
                self._store.set(self._key(f"beat/{self.rank.index}"), str(count).encode())


def torch_store(rank: Rank) -> Any:
    """The store of the variables that torchrun sets.

    It is opened in a thread: what waits there for the others hears of no signal and of no deadline.

    Raises:
        EvaluationError: the others did not come.
    """
    from torch.distributed.rendezvous import rendezvous

    found: list[Any] = []
    patience = timedelta(seconds=2 * LOST_SECONDS)  # it tries again and again: the end is below

    def meet() -> None:
        try:
            found.append(next(iter(rendezvous("env://", timeout=patience)))[0])
        except Exception as error:  # noqa: BLE001 — it is raised below
            found.append(error)

    thread = Thread(target=meet, name="meet", daemon=True)
    thread.start()
    end = monotonic() + LOST_SECONDS
    while thread.is_alive() and monotonic() < end:
        thread.join(_POLL_SECONDS)
    store = found[0] if found else TimeoutError(f"nobody came for {LOST_SECONDS:.0f} seconds")
    if isinstance(store, Exception):
        why = first_line(store)
        raise EvaluationError(
            f"process {rank.index} of {rank.of} (RANK, WORLD_SIZE) has not met the others at "
            f"{rank.at}: {why}",
            remedy="look at what they printed; where this is to be the only process, unset RANK, "
            "WORLD_SIZE, MASTER_ADDR and MASTER_PORT",
        ) from store
    return store
