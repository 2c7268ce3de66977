"""The size of batches: what is tried, what is chosen, and what memory takes away."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from model_eval.engine import BatchSize, MeasuredBatchSize, batch_size_of, evaluate, most_tried
from model_eval.engine import chunk as chunks
from model_eval.errors import EvaluationError, OutOfMemoryError
from model_eval.heldout import Batch, Labels
from model_eval.tasks import Scorer
from model_eval.types import BatchSizeFrom, OutputKind, Task

ENDLESS = 10_000


def measured(seconds, *, free=lambda: None, bytes_a_row=0):
    """Feeds a policy batches that take `seconds(size)` until it is content; gives it, and sizes."""
    policy, tried = MeasuredBatchSize(free=free), []
    while policy.measuring:
        tried.append(policy.size)
        assert len(tried) < ENDLESS
        policy.record(policy.size, seconds(policy.size), bytes_a_row * policy.size)
    return policy, tried


@pytest.mark.parametrize("best", [16, 32, 64, 128, 256, 512, 1024, 2048, 4096, 8192])
def test_the_fastest_size_is_found(best):
    def seconds(size):
        return size * 1e-6 * (1 + abs(np.log2(size / best)))

    policy, _ = measured(seconds)
    assert (policy.size, policy.origin) == (best, BatchSizeFrom.MEASURED)


def test_of_sizes_that_are_as_fast_the_smallest_is_taken():
    policy, tried = measured(lambda size: size * 1e-6)
    assert policy.size == 16
    assert max(tried) == 128  # a larger one did not pay, so that none after it is tried


def test_slow_batches_are_tried_less_often():
    _, quick = measured(lambda size: size * 1e-6)
    _, slow = measured(lambda size: size * 1e-1)
    assert sum(slow) < sum(quick)
    assert slow.count(32) == 2


@pytest.mark.parametrize(
    ("seconds", "following"), [(1e-5, 16), (2e-4, 10), (1e-3, 2), (0.04, 2), (0.06, 1)]
)
def test_what_follows_the_first_batch_of_a_size_comes_in_one_piece(seconds, following):
    """As batches do later: one by one, each pays for what is between pieces, the quick ones most."""
    policy = MeasuredBatchSize(free=lambda: None)
    assert policy.batches == 1
    policy.record(32, seconds, None)
    assert policy.batches == following
    for left in range(following - 1, 0, -1):
        policy.record(32, seconds, None)
        assert (policy.size, policy.batches) == (32, left)
    policy.record(32, seconds, None)
    assert (policy.size, policy.batches) == (128, 1)


def test_a_size_that_is_known_comes_in_pieces_of_any_length():
    assert BatchSize(32).batches is None
    policy, _ = measured(lambda size: size * 1e-6)
    assert policy.batches is None


def test_the_shortest_of_several_counts():
    """The first batch of a size pays for what is set up, and any may be disturbed."""
    seen = {}

    def seconds(size):
        seen[size] = seen.get(size, 0) + 1
        return size * 1e-6 / size**0.5 + (10 if seen[size] == 1 else 0)

    policy, _ = measured(seconds)
    assert policy.size == 8192


@pytest.mark.parametrize(("free", "largest"), [(10**12, 8192), (1_000_000, 256), (10_000, 32)])
def test_a_size_that_might_not_fit_is_not_tried(free, largest):
    policy, tried = measured(lambda size: size**0.5, free=lambda: free, bytes_a_row=1000)
    assert max(tried) == largest
    assert policy.size <= largest


@pytest.mark.parametrize(("samples", "most"), [(1, 32), (597, 37), (5_000, 312), (10**6, 8192)])
def test_a_size_is_tried_that_is_a_small_share_of_the_samples(samples, most):
    """A lucky batch of 2,048 would leave little of 5,000 samples for the size that is fast."""
    assert most_tried(samples) == most
    policy = batch_size_of(None, free=lambda: None, most=most)
    tried = []
    while policy.measuring:
        tried.append(policy.size)
        policy.record(policy.size, policy.size**0.5, None)
    assert max(tried) <= most


def test_a_batch_of_another_size_tells_nothing():
    policy = MeasuredBatchSize(free=lambda: None)
    policy.record(7, 1e-9, None)
    assert (policy.size, policy.measuring) == (32, True)


@given(st.lists(st.floats(1e-6, 10), min_size=40, max_size=40), st.integers(0, 39))
def test_whatever_is_measured_it_ends_with_a_size_it_tried(times, start):
    given_times = iter(times[start:] + times * 10)
    policy, tried = measured(lambda _size: next(given_times))
    assert policy.size in tried
    assert 16 <= policy.size <= 8192
    for size in set(tried):
        assert 2 <= tried.count(size) <= 17
    assert len(set(tried)) <= 7


def test_a_stated_size_stays():
    policy = batch_size_of(48, free=lambda: None)
    policy.record(48, 1.0, None)
    assert (policy.size, policy.multiple, policy.origin) == (48, 48, BatchSizeFrom.SPEC)
    assert isinstance(batch_size_of(None, free=lambda: None), MeasuredBatchSize)


def test_memory_ends_the_measurement():
    policy = MeasuredBatchSize(free=lambda: None)
    policy.lower(8)
    assert (policy.size, policy.measuring, policy.origin) == (8, False, BatchSizeFrom.MEMORY)
    policy.lower(0)
    assert policy.size == 1


# --- with the engine -------------------------------------------------------------------------

N, CLASSES = 101, 4


class Memory:
    """Inputs that are their own logits, in blocks of any sizes."""

    def __init__(self, sizes=(N,)):
        generator = torch.Generator().manual_seed(0)
        self.x = torch.randn((N, CLASSES), generator=generator)
        self.sizes = sizes

    def blocks(self, _multiple):
        start = 0
        for size in self.sizes:
            part = slice(start, start + size)
            ids = np.arange(N)[part]
            labels = Labels(ids=ids, target=ids % CLASSES, cluster=None, slices={})
            yield Batch(args=(self.x[part],), kwargs={}, labels=labels)
            start += size


SCORER = Scorer(
    task=Task.MULTICLASS, kind=OutputKind.LOGITS, threshold=None, classes=None, outputs=()
)


class Device:
    """A model's side on which only so many samples fit; it remembers what it was given."""

    def __init__(self, fits):
        self.fits, self.seen, self.failed = fits, [], 0

    def __call__(self, args, _kwargs):
        (x,) = args
        if len(x) > self.fits:
            self.failed += 1
            raise OutOfMemoryError(f"a batch of {len(x)} samples does not fit in memory")
        self.seen.append(x.clone())
        return x.clone()


def run(device, batch_size, sizes=(N,), seen=None):
    progress = (lambda _rows: None) if seen is None else seen.append
    return evaluate(
        device, Memory(sizes), SCORER, batch_size=batch_size, progress=progress, expected=N
    ).whole()


def check_same(found, expected):
    assert set(found.columns) == set(expected.columns)
    for name, column in expected.columns.items():
        np.testing.assert_array_equal(found[name], column, err_msg=name)


@pytest.mark.parametrize("fits", [1, 3, 8, 31])
@pytest.mark.parametrize("batch_size", [1, 7, 40, 101, 500])
@pytest.mark.parametrize("sizes", [(N,), (1, 60, 40), (50, 51)])
def test_a_batch_that_does_not_fit_is_halved_and_only_it_is_redone(fits, batch_size, sizes):
    device, policy, seen = Device(fits), BatchSize(batch_size), []
    # The first samples are run twice more before the pass, in a batch that must fit.
    found = run(device, policy, sizes, seen) if fits >= 32 or batch_size <= fits else None
    if found is None:
        device = Halving(fits)
        found = run(device, policy, sizes, seen)
    check_same(found, run(Device(N), BatchSize(batch_size)))
    assert sum(seen) == N
    assert policy.size <= max(fits, 1) or batch_size <= fits


class Halving(Device):
    """One whose first two calls fit whatever they are: those that see whether outputs repeat."""

    def __init__(self, fits):
        super().__init__(fits)
        self.calls = 0

    def __call__(self, args, kwargs):
        self.calls += 1
        if self.calls <= 2:
            return args[0].clone()
        return super().__call__(args, kwargs)


def test_measuring_takes_the_samples_in_order_in_batches_of_the_size_that_is_tried():
    device, seen = Device(10**6), []
    source = Memory()
    source.x = torch.randn((60_000, CLASSES), generator=torch.Generator().manual_seed(1))
    ids = np.arange(60_000)
    labels = Labels(ids=ids, target=ids % CLASSES, cluster=None, slices={})
    block = Batch(args=(source.x,), kwargs={}, labels=labels)
    source.blocks = lambda _multiple: iter([block])
    policy = MeasuredBatchSize(free=lambda: None, most=512)
    evaluate(device, source, SCORER, batch_size=policy, progress=seen.append, expected=60_000)
    repeats, passed = device.seen[:2], device.seen[2:]  # the first two see whether outputs repeat
    assert torch.equal(torch.cat([repeats[0], *passed]), source.x)
    assert [len(one) for one in passed[:2]] == [32, 32]
    assert sum(seen) == 60_000
    assert not policy.measuring


def test_no_sample_counts_twice_where_memory_ends_in_the_middle():
    device, policy = Halving(10), BatchSize(40)
    found = run(device, policy)
    assert torch.equal(torch.cat(device.seen), Memory().x)
    assert found["id"].tolist() == list(range(N))
    assert (policy.size, policy.origin) == (10, BatchSizeFrom.MEMORY)
    assert device.failed == 2  # 40 and 20; what else was cut for larger batches is not tried


def test_one_sample_that_does_not_fit_is_an_error():
    with pytest.raises(OutOfMemoryError, match="a batch of 1 samples does not fit"):
        run(Halving(0), BatchSize(40))


@pytest.mark.parametrize("sizes", [(N,), (1, 60, 40), (50, 51)])
@pytest.mark.parametrize("chunk", [1, 40, 1 << 17])
def test_the_samples_of_the_measurement_count(monkeypatch, sizes, chunk):
    monkeypatch.setattr(chunks, "ELEMENTS_PER_CHUNK", chunk)
    found = run(Device(N), MeasuredBatchSize(free=lambda: None), sizes)
    check_same(found, run(Device(N), BatchSize(N)))


def test_outputs_in_memory_that_the_model_uses_again():
    memory = torch.empty((32, CLASSES))

    def predict(args, _kwargs):
        return memory[: len(args[0])].copy_(args[0])

    check_same(run(predict, MeasuredBatchSize(free=lambda: None)), run(Device(N), BatchSize(N)))


def test_more_samples_than_were_expected_are_kept_too():
    found = evaluate(
        Device(N), Memory(), SCORER, batch_size=BatchSize(8), progress=lambda _: None, expected=3
    ).whole()
    check_same(found, run(Device(N), BatchSize(8)))


def test_other_errors_are_not_taken_for_memory():
    def predict(_args, _kwargs):
        raise EvaluationError("broken")

    with pytest.raises(EvaluationError, match="broken"):
        run(predict, BatchSize(40))


@pytest.mark.parametrize("sizes", [(N,), (1, 60, 40), (7,) * 14 + (3,)])
@pytest.mark.parametrize("batch_size", [1, 8, 40, 500])
@pytest.mark.parametrize("elements", [4, 100, 1 << 22])
def test_where_a_device_is_seldom_waited_for(monkeypatch, sizes, batch_size, elements):
    """Outputs of several pieces are scored at once; here on a CPU that is called something else."""
    monkeypatch.setattr(chunks, "ELEMENTS_PER_CHUNK", elements)
    scored, columns = [], Scorer.columns

    def counted(self, outputs, target):
        scored.append(len(outputs))
        return columns(self, outputs, target)

    monkeypatch.setattr(Scorer, "columns", counted)
    found = evaluate(
        Device(N),
        Memory(sizes),
        SCORER,
        batch_size=BatchSize(batch_size),
        progress=lambda _: None,
        device=torch.device("xpu"),
    ).whole()
    assert sum(scored) == N
    assert len(scored) == 1 or elements < 1 << 22
    assert max(scored) <= max(batch_size, elements // CLASSES)
    check_same(found, run(Device(N), BatchSize(N)))


@pytest.mark.parametrize("most", [256, 1_000])
def test_no_size_above_the_most_is_tried(most):
    policy = batch_size_of(None, free=lambda: None, most=most)
    tried = []
    while policy.measuring:
        tried.append(policy.size)
        policy.record(policy.size, 1e-3 / policy.size, None)  # the larger the faster
    assert max(tried) <= most
    assert policy.size == max(tried) > most // 4


@pytest.mark.parametrize("batch_size", [None, 32, 64])
def test_samples_of_the_probe_count_and_one_run_of_the_check_does(batch_size):
    """With `auto` the first batch is what is run twice to see that outputs repeat."""
    device = Device(fits=ENDLESS)
    policy = batch_size_of(batch_size, free=lambda: None)
    found = run(device, policy)
    again = 32 if batch_size is None else 64
    assert sum(map(len, device.seen)) == N + again
    check_same(found, run(Device(fits=ENDLESS), batch_size_of(7, free=lambda: None)))


def test_a_model_that_uses_one_memory_again_is_measured_like_others():
    memory = torch.empty((N, CLASSES))

    def predict(args, _kwargs):
        return memory[: len(args[0])].copy_(args[0])

    found = run(predict, batch_size_of(None, free=lambda: None))
    check_same(found, run(Device(fits=ENDLESS), batch_size_of(7, free=lambda: None)))


class Crowded(Memory):
    """A set whose inputs do not fit."""

    def __init__(self, error):
        super().__init__()
        self.error = error

    def blocks(self, multiple):
        del multiple
        raise self.error
        yield


@pytest.mark.parametrize(
    "error",
    [
        RuntimeError("[enforce fail] DefaultCPUAllocator: can't allocate memory: you tried to"),
        MemoryError(),
    ],
)
def test_inputs_that_do_not_fit_are_out_of_memory(error):
    with pytest.raises(OutOfMemoryError, match="the inputs of 8 samples do not fit in memory"):
        evaluate(
            Device(N), Crowded(error), SCORER, batch_size=BatchSize(8), progress=lambda _rows: None
        )
