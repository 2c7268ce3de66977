"""Whole passes: every sample once, with the values that the CPU has, whatever memory and batches are."""

import numpy as np
import pytest
import torch

from model_eval import engine
from model_eval.engine import MeasuredBatchSize, chunk
from model_eval.errors import EvaluationError, OutOfMemoryError
from model_eval.heldout import Batch, Labels
from model_eval.tasks import Scorer
from model_eval.types import BatchSizeFrom, OutputKind, Task

N, WIDTH, CLASSES = 5_000, 64, 10
CPU = torch.device("cpu")
SCORER = Scorer(
    task=Task.MULTICLASS, kind=OutputKind.LOGITS, threshold=None, classes=None, outputs=()
)


class Samples:
    """A set in memory, in one block or in several."""

    def __init__(self, block=N):
        generator = torch.Generator().manual_seed(0)
        self.x = torch.randn((N, WIDTH), generator=generator)
        self.target = torch.randint(0, CLASSES, (N,), generator=generator).numpy()
        self.block = block

    def blocks(self, _multiple):
        for start in range(0, N, self.block):
            rows = slice(start, start + self.block)
            ids = np.arange(N)[rows]
            labels = Labels(ids=ids, target=self.target[rows], cluster=None, slices={})
            yield Batch(args=(self.x[rows],), kwargs={}, labels=labels)


class Net(torch.nn.Module):
    """Needs `blow_up` times the memory of its input for each sample."""

    def __init__(self, before=lambda: None, blow_up=1):
        super().__init__()
        self.layers = torch.nn.Sequential(
            torch.nn.Linear(WIDTH, WIDTH), torch.nn.ReLU(), torch.nn.Linear(WIDTH, CLASSES)
        )
        self.before, self.blow_up = before, blow_up

    def forward(self, x):
        self.before()
        if self.blow_up > 1:
            x = x.repeat(1, self.blow_up)[:, :WIDTH]
        return self.layers(x)


def net(**options):
    torch.manual_seed(1)
    return Net(**options).eval()


def ledger(model, device, batch_size, *, samples=None, precision="fp32", **more):
    engine.prepare(seed=0, precision=precision)
    predict = engine.make_predict(
        model.to(device), device=device, precision=precision, output_field=None,
        transform=None, postprocess=None,
    )  # fmt: skip
    seen = []
    rows = engine.evaluate(
        predict, samples or Samples(), SCORER, batch_size=batch_size, progress=seen.append,
        device=device, expected=N, **more,
    ).whole()  # fmt: skip
    assert sum(seen) == len(rows) == N
    assert rows["id"].tolist() == list(range(N))
    return rows


@pytest.fixture(scope="module")
def expected():
    return ledger(net(), CPU, engine.BatchSize(256))


def assert_close(found, expected, within):
    assert found.columns.keys() == expected.columns.keys()
    assert np.mean(found["prediction"] != expected["prediction"]) <= within
    np.testing.assert_allclose(found["score"], expected["score"], atol=within)
    assert found["target"].tolist() == expected["target"].tolist()


@pytest.mark.parametrize("block", [N, 700])
@pytest.mark.parametrize("batch_size", [1_000, 256, 97])
def test_it_is_what_the_cpu_answers(device, slow, expected, batch_size, block):
    found = ledger(
        net(before=slow), device, engine.BatchSize(batch_size), samples=Samples(block)
    )  # the device is behind, so that what is not waited for is seen
    assert_close(found, expected, 1e-5)


@pytest.mark.parametrize("elements", [10, 1_000, 30_000])
def test_small_chunks(device, slow, expected, monkeypatch, elements):
    monkeypatch.setattr(chunk, "ELEMENTS_ON_ACCELERATOR", elements)
    assert_close(ledger(net(before=slow), device, engine.BatchSize(500)), expected, 1e-5)


@pytest.mark.parametrize(
    ("precision", "within"), [("fp32", 1e-5), ("tf32", 2e-2), ("fp16", 2e-2), ("bf16", 1e-1)]
)
def test_precisions(device, expected, precision, within):
    found = ledger(net(), device, engine.BatchSize(256), precision=precision)
    assert_close(found, expected, within)
    if precision != "fp32":  # else it would not be that precision
        assert np.abs(found["score"] - expected["score"]).max() > 1e-5


def test_where_memory_ends_a_batch_is_halved_and_no_sample_counts_twice(
    device, expected, little_memory
):
    model = net(blow_up=1_000).to(device)  # 250 KiB a sample
    little_memory(128 << 20)
    size = engine.BatchSize(4_096)
    assert_close(ledger(model, device, size), expected, 1e-5)
    assert size.origin is BatchSizeFrom.MEMORY
    assert size.size <= 512


def test_what_a_batch_held_that_did_not_fit_is_free_for_its_halves(device, expected, little_memory):
    class Holds(Net):
        def forward(self, x):
            first = x.repeat(1, 1_000)  # 250 KiB a sample
            return super().forward((first * 2)[:, :WIDTH] / 2)  # the same again, while it is there

    torch.manual_seed(1)
    model = Holds().eval().to(device)
    little_memory(200 << 20)
    size = engine.BatchSize(512)
    assert_close(ledger(model, device, size), expected, 1e-5)
    assert size.size == 256


def test_one_sample_that_does_not_fit_is_an_error(device, little_memory):
    model = net(blow_up=1_000_000).to(device)
    little_memory(64 << 20)
    with pytest.raises(OutOfMemoryError, match="a batch of 1 sample does not fit"):
        ledger(model, device, engine.BatchSize(64))


def test_no_size_is_tried_that_takes_more_than_half_of_what_is_free(device, expected):
    """The peak of a batch is the device's: 250 KiB a sample, of 64 MiB."""
    model = net(blow_up=1_000).to(device)
    size = MeasuredBatchSize(free=lambda: 64 << 20, most=engine.most_tried(N))
    assert_close(ledger(model, device, size), expected, 1e-5)
    assert size.size * 250 * 1024 <= 32 << 20
    assert size.origin is BatchSizeFrom.MEASURED


def test_memory_that_torch_keeps_is_free(device):
    def beyond_the_drivers():  # other processes take memory of the same device
        return engine.free(device) - torch.cuda.mem_get_info(device)[0]

    torch.cuda.empty_cache()
    block = torch.empty(1 << 30, dtype=torch.uint8, device=device)
    assert beyond_the_drivers() < 1 << 29
    del block
    assert beyond_the_drivers() >= 1 << 29


@pytest.mark.parametrize("batch_size", [256, 4_096])
def test_a_model_that_changes_its_inputs(device, expected, little_memory, batch_size):
    """Also where memory ends after that: its halves are not run on what was left."""

    class Changes(Net):
        def forward(self, x):
            kept = x.clone()
            x.zero_()
            return super().forward(kept)

    torch.manual_seed(1)
    model = Changes(blow_up=1_000).eval().to(device)
    little_memory(128 << 20)
    assert_close(ledger(model, device, engine.BatchSize(batch_size)), expected, 1e-5)


def test_a_model_that_draws_lots_is_refused(device):
    class Draws(Net):
        def forward(self, x):
            return torch.nn.functional.dropout(super().forward(x), 0.5)

    with pytest.raises(EvaluationError, match="different outputs for the same inputs"):
        ledger(Draws().eval(), device, engine.BatchSize(256))


def test_an_input_on_another_device_is_said(device):
    class Mixes(Net):
        def forward(self, x):
            return super().forward(x) + torch.ones(1, 10)

    with pytest.raises(EvaluationError, match="the model raised"):
        ledger(Mixes().eval(), device, engine.BatchSize(256))


def test_compiled_code_is_what_the_model_is(device, expected, monkeypatch):
    model = net().to(device)
    monkeypatch.setattr("model_eval.engine.compiling.WORTH_SECONDS", 0.0)
    monkeypatch.setattr("model_eval.engine.compiling.FASTER", 1e9)
    bind = {"device": device, "precision": "fp32", "output_field": None, "transform": None,
            "postprocess": None}  # fmt: skip
    compiling = engine.Compiling(
        engine.make_predict(model, **bind),
        lambda: engine.make_predict(torch.compile(model, dynamic=False), **bind),
        expected=N,
        device=device,
    )
    rows = engine.evaluate(
        compiling, Samples(), SCORER, batch_size=engine.BatchSize(100), progress=lambda _: None,
        device=device, expected=N,
    ).whole()  # fmt: skip
    assert compiling.used, compiling.why
    assert_close(rows, expected, 1e-4)
