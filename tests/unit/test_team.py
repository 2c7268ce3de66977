"""Processes that share out a run, as threads with one store: what arrives, and what each ends with."""

import socket
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import nullcontext
from threading import Lock

import pytest

from model_eval import team as teams
from model_eval.errors import DeadlineReached, EvaluationError, Interrupted
from model_eval.parts import Shard
from model_eval.rank import Rank, forget_rank, rank_of
from model_eval.team import Team, torch_store


class Store:
    """What torch's store does, in memory."""

    def __init__(self):
        self.values, self._lock = {}, Lock()

    def check(self, keys):
        with self._lock:
            return all(key in self.values for key in keys)

    def get(self, key):
        with self._lock:
            return self.values[key]

    def set(self, key, value):
        with self._lock:
            self.values[key] = value

    def add(self, key, amount):
        with self._lock:
            self.values[key] = self.values.get(key, 0) + amount
            return self.values[key]

    def delete_key(self, key):
        with self._lock:
            return self.values.pop(key, None) is not None


class Broken(Store):
    def check(self, *_):
        raise RuntimeError("Connection reset by peer\nand a stack")

    set = get = add = check


@pytest.fixture(autouse=True)
def quick(monkeypatch):
    monkeypatch.setattr(teams, "PIECE_BYTES", 100)
    monkeypatch.setattr(teams, "LOST_SECONDS", 0.5)
    monkeypatch.setattr(teams, "BEAT_SECONDS", 0.05)
    monkeypatch.setattr(teams, "_LAST_SECONDS", 0.2)


def team(index, of, store, *, kept=True):
    return Team(Rank(index=index, of=of, local=index, kept=kept), lambda: store)


def folder(path, **files):
    path.mkdir()
    for name, data in files.items():
        (path / name).write_bytes(data)
    return path


def test_folders_arrive_as_they_were(tmp_path):
    store = Store()
    scratch = folder(tmp_path / "scratch")
    sent = [
        folder(tmp_path / str(index), report=bytes([index]) * 250, empty=b"", one=b"x" * 100)
        for index in range(3)
    ]
    with ThreadPoolExecutor(3) as pool:
        others = [pool.submit(team(i, 3, store).gather, sent[i], scratch) for i in (1, 2)]
        found = team(0, 3, store).gather(sent[0], scratch)
        assert [other.result(timeout=10) for other in others] == [None, None]
    assert [{path.name: path.read_bytes() for path in one.iterdir()} for one in found] == [
        {path.name: path.read_bytes() for path in one.iterdir()} for one in sent
    ]
    assert not [key for key in store.values if "/file/" in key]


def test_the_first_one_says_how_it_ended():
    store = Store()
    with ThreadPoolExecutor(2) as pool:
        other = pool.submit(team(1, 2, store).end, 4, None)
        assert team(0, 2, store, kept=False).end(1, None) == 1
        assert other.result(timeout=10) == 1


def test_a_pass_is_a_pass_everywhere():
    store = Store()
    assert team(0, 2, store).end(0, None) == 0
    assert team(1, 2, store).end(4, None) == 0


def test_what_a_process_could_not_do_is_named(tmp_path):
    store = Store()
    with ThreadPoolExecutor(1) as pool:
        other = pool.submit(team(1, 2, store).end, 3, "the file is not there")
        first = team(0, 2, store)
        with pytest.raises(EvaluationError) as caught:
            first.gather(folder(tmp_path / "own"), tmp_path)
        assert first.end(4, str(caught.value)) == 4
        assert other.result(timeout=10) == 4
    assert caught.value.message == "rank 1 of 2 failed: the file is not there"


def test_a_fault_of_any_process_ends_the_wait_for_another(tmp_path):
    store = Store()
    with ThreadPoolExecutor(1) as pool:
        busy = team(1, 3, store)
        busy.begin()
        last = pool.submit(team(2, 3, store).end, 3, "the file is not there")
        first = team(0, 3, store)
        with pytest.raises(EvaluationError) as caught:
            first.gather(folder(tmp_path / "own"), tmp_path)
        assert caught.value.message == "rank 2 of 3 failed: the file is not there"
        assert first.end(4, str(caught.value)) == last.result(timeout=10) == 4
    busy._over.set()


def test_a_fault_is_heard_of_during_the_first_ones_own_part(monkeypatch):
    monkeypatch.setattr(teams, "BEAT_SECONDS", 0.0)
    store, told = Store(), []
    first = team(0, 2, store)
    with first.listening(lambda _: nullcontext(told.append))(40) as advance:
        advance(8)
        store.set("model-eval/0/fault", b"1 the file is not there")
        with pytest.raises(EvaluationError, match="rank 1 of 2 failed: the file is not there"):
            advance(8)
    assert told == [8, 8]
    first.end(4, None)


def test_who_did_not_come_is_not_waited_for_again(tmp_path):
    asked = []

    def nobody():
        asked.append(1)
        raise EvaluationError("nobody came")

    alone = Team(Rank(index=0, of=2, local=0, kept=True), nobody)
    with pytest.raises(EvaluationError, match="nobody came"):
        alone.begin()
    assert alone.end(4, None) == 4
    assert asked == [1]


def test_a_process_that_gives_no_sign_of_life(tmp_path):
    with pytest.raises(EvaluationError) as caught:
        team(0, 2, Store()).gather(folder(tmp_path / "own"), tmp_path)
    assert caught.value.message == "rank 1 of 2 has given no sign of life for 0 seconds"


@pytest.mark.parametrize(("status", "expected"), [(0, 4), (3, 3)])
def test_without_the_first_one_nothing_is_a_pass(status, expected):
    assert team(1, 2, Store()).end(status, None) == expected


def test_whoever_is_busy_is_waited_for(tmp_path):
    store = Store()
    other = team(1, 2, store)
    other.begin()
    with ThreadPoolExecutor(1) as pool:
        first = pool.submit(team(0, 2, store).gather, folder(tmp_path / "0"), tmp_path)
        with pytest.raises(TimeoutError):
            first.result(timeout=1.0)
        other.gather(folder(tmp_path / "1", report=b"late"), tmp_path)
        assert (first.result(timeout=10)[1] / "report").read_bytes() == b"late"
    other._over.set()


def test_the_end_of_the_run_ends_the_wait_of_the_others(tmp_path):
    store = Store()
    team(0, 2, store).end(3, "no checkpoint")
    with pytest.raises(EvaluationError, match="rank 0 of 2 has ended the run"):
        team(1, 2, store).gather(folder(tmp_path / "own"), tmp_path)


def test_what_was_said_before_a_restart_is_not_heard():
    store = Store()
    team(0, 2, store).end(0, None)
    again = Team(Rank(index=1, of=2, local=1, kept=True, attempt="1"), lambda: store)
    assert again.end(4, None) == 4


@pytest.mark.parametrize("index", [0, 1])
def test_a_second_run_of_one_job_takes_nothing_of_the_first(tmp_path, index):
    """The store of torchrun outlives a run: the ledgers of the other process may still be there."""
    store = Store()
    with ThreadPoolExecutor(1) as pool:
        other = team(1, 2, store)
        handed = pool.submit(other.gather, folder(tmp_path / "1", report=b"of run 1"), tmp_path)
        first = team(0, 2, store)
        first.gather(folder(tmp_path / "0"), tmp_path)
        assert handed.result(timeout=10) is None
    assert first.end(0, None) == other.end(4, None) == 0
    again = team(index, 2, store)
    with pytest.raises(EvaluationError) as caught:
        again.begin()
    assert caught.value.message == (
        "another run of this torchrun job has used the store of its processes already"
    )
    assert again.end(0, None) == 4
    assert team(index, 2, store).end(0, "a run that did not begin") == 4


def test_a_fault_counts_more_than_what_was_handed_over(tmp_path):
    store = Store()
    with ThreadPoolExecutor(1) as pool:
        other = team(1, 2, store)
        other._hand_over = lambda own: [
            store.set(f"model-eval/0/{key}", value)
            for key, value in (("files/1", b"one"), ("pieces/1/0", b"0"))
        ]
        other.gather(folder(tmp_path / "1"), tmp_path)
        failed = pool.submit(other.end, 4, "the run was interrupted")
        while "model-eval/0/fault" not in store.values:
            time.sleep(0.01)
        first = team(0, 2, store)
        with pytest.raises(EvaluationError, match="rank 1 of 2 failed: the run was interrupted"):
            first.gather(folder(tmp_path / "0"), tmp_path)
        assert first.end(4, "it failed") == failed.result(timeout=10) == 4


def test_a_store_that_is_gone_is_an_error(tmp_path):
    with pytest.raises(EvaluationError) as caught:
        team(0, 2, Broken()).gather(folder(tmp_path / "own"), tmp_path)
    assert caught.value.message == (
        "the processes of this run have lost one another: Connection reset by peer"
    )
    assert team(0, 2, Broken()).end(0, None) == 4


def test_an_error_of_the_store_that_says_nothing_is_one(tmp_path):
    class Silent(Store):
        def check(self, *_):
            raise RuntimeError

    with pytest.raises(EvaluationError, match="have lost one another: "):
        team(0, 2, Silent()).gather(folder(tmp_path / "own"), tmp_path)


@pytest.mark.parametrize(("index", "waits"), [(0, False), (1, True)])
def test_what_is_wrong_with_the_store_is_for_the_first_process_to_say(monkeypatch, index, waits):
    """torchrun stops all when one fails: the first must come to its report."""
    slept = []
    monkeypatch.setattr(teams, "sleep", slept.append)
    assert team(index, 2, Broken()).end(0, "it failed") == 4
    assert slept == [teams._LAST_SECONDS] * waits


@pytest.mark.parametrize(("kind", "named"), [(Interrupted, True), (DeadlineReached, False)])
def test_a_stop_names_whom_it_waited_for(tmp_path, monkeypatch, kind, named):
    def stop(_seconds):
        raise kind

    monkeypatch.setattr(teams, "sleep", stop)
    with pytest.raises(EvaluationError if named else DeadlineReached) as caught:
        team(0, 2, Store()).gather(folder(tmp_path / "own"), tmp_path)
    assert named is ("before rank 1 of 2 had finished" in str(caught.value))


def test_the_part_of_a_process():
    assert team(0, 3, Store()).shard == Shard(1, 3)
    assert team(2, 3, Store()).shard == Shard(3, 3)


@pytest.mark.parametrize("index", [0, 1])
def test_nobody_comes_to_the_store(monkeypatch, index):
    with socket.socket() as free:
        free.bind(("localhost", 0))
        port = str(free.getsockname()[1])
    variables = {
        "RANK": str(index), "WORLD_SIZE": "2", "MASTER_ADDR": "localhost", "MASTER_PORT": port,
    }  # fmt: skip
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    with pytest.raises(EvaluationError) as caught:
        torch_store(rank_of(variables))
    assert caught.value.message == (
        f"process {index} of 2 (RANK, WORLD_SIZE) has not met the others at localhost:{port}: "
        "nobody came for 0 seconds"
    )


# --- which process this is --------------------------------------------------------------------

TORCHRUN = {
    "RANK": "5", "LOCAL_RANK": "1", "WORLD_SIZE": "8", "MASTER_ADDR": "localhost",
    "MASTER_PORT": "29500", "TORCHELASTIC_USE_AGENT_STORE": "True",
    "TORCHELASTIC_RESTART_COUNT": "2",
}  # fmt: skip


def test_the_variables_of_torchrun():
    rank = Rank(index=5, of=8, local=1, kept=True, at="localhost:29500", attempt="2")
    assert rank_of(TORCHRUN) == rank
    assert not rank.first


@pytest.mark.parametrize(
    "changes", [{"WORLD_SIZE": "1", "RANK": "0"}, {"MASTER_ADDR": ""}, {"RANK": "x"}, {"RANK": ""}]
)
def test_a_process_that_is_alone(changes):
    assert rank_of({**TORCHRUN, **changes}) is None


def test_variables_that_contradict_one_another():
    with pytest.raises(ValueError, match="RANK is 8 and WORLD_SIZE is 8"):
        rank_of({**TORCHRUN, "RANK": "8"})


def test_restarts_are_for_one_host():
    on_two = {**TORCHRUN, "GROUP_WORLD_SIZE": "2", "TORCHELASTIC_MAX_RESTARTS": "3"}
    with pytest.raises(ValueError, match="are on 2 hosts and are to be restarted 3 times"):
        rank_of(on_two)
    assert rank_of({**on_two, "TORCHELASTIC_MAX_RESTARTS": "0"}) is not None
    assert rank_of({**on_two, "GROUP_WORLD_SIZE": "1"}) is not None


def test_the_code_of_the_repository_is_not_told_its_rank():
    others = {"PATH": "/bin", "SLURM_PROCID": "1", "RANKS": "2", "MASTER": "m"}
    environ = {
        **TORCHRUN, **others, "ROLE_RANK": "1", "ROLE_WORLD_SIZE": "8", "GROUP_RANK": "0",
        "GROUP_WORLD_SIZE": "1", "LOCAL_WORLD_SIZE": "2",
    }  # fmt: skip
    forget_rank(environ)
    assert environ == others
