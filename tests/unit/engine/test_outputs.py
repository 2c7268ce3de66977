"""What a model may return: real floating point numbers, all batches of one kind."""

import numpy as np
import pytest
import torch

from model_eval.engine import BatchSize, MeasuredBatchSize, evaluate
from model_eval.engine.memory import is_out_of_memory
from model_eval.errors import EvaluationError, OutOfMemoryError
from model_eval.heldout import Batch, Labels
from model_eval.tasks import Scorer
from model_eval.types import BatchSizeFrom, OutputKind, Task

N, CLASSES = 100, 3
LOGITS = torch.randn((N, CLASSES), generator=torch.Generator().manual_seed(0)) * 4
TARGET = LOGITS.argmax(dim=1).numpy()
SCORER = Scorer(
    task=Task.MULTICLASS, kind=OutputKind.LOGITS, threshold=None, classes=None, outputs=()
)
DEVICES = ["cpu", "xpu"]  # on the latter several pieces are scored at once; here it is a CPU, too


class Memory:
    def blocks(self, _multiple):
        labels = Labels(ids=np.arange(N), target=TARGET, cluster=None, slices={})
        yield Batch(args=(LOGITS,), kwargs={}, labels=labels)


def run(predict, *, batch_size=None, device="cpu"):
    return evaluate(
        lambda args, _kwargs: predict(args[0]),
        Memory(),
        SCORER,
        batch_size=batch_size or BatchSize(8),
        progress=lambda _: None,
        device=torch.device(device),
    ).whole()


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize(
    "dtype",
    [torch.int64, torch.int8, torch.bool, torch.complex64, torch.float8_e4m3fn, torch.float8_e5m2],
)
def test_other_numbers_are_refused_and_not_converted(dtype, device):
    name = str(dtype).removeprefix("torch.")
    with pytest.raises(EvaluationError, match=f"the model returned {name} numbers"):
        run(lambda x: x.to(dtype), device=device)


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16, torch.float32, torch.float64])
def test_every_precision_is_scored(dtype, device):
    rows = run(lambda x: x.to(dtype), device=device)
    given = LOGITS.to(dtype)
    assert rows["prediction"].tolist() == given.argmax(dim=1).tolist()
    expected = torch.nn.functional.cross_entropy(
        given.double(), torch.from_numpy(TARGET), reduction="none"
    )
    np.testing.assert_allclose(rows["log_loss"], expected.numpy(), rtol=1e-9, atol=1e-15)


@pytest.mark.parametrize("device", DEVICES)
def test_another_dtype_than_before_is_refused(device):
    calls = []

    def predict(x):
        calls.append(len(x))
        return x.double() if len(calls) > 4 else x

    with pytest.raises(EvaluationError, match=r"returned torch.float64 after torch.float32"):
        run(predict, device=device)


@pytest.mark.parametrize("fits", [1, 5, 16])
@pytest.mark.parametrize("batch_size", [None, 64])
def test_the_first_samples_are_halved_too_where_memory_ends(fits, batch_size):
    def predict(x):
        if len(x) > fits:
            raise OutOfMemoryError("too many")
        return x

    policy = MeasuredBatchSize(free=lambda: None) if batch_size is None else BatchSize(batch_size)
    rows = run(predict, batch_size=policy)
    assert rows["id"].tolist() == list(range(N))
    assert policy.size <= fits
    assert policy.origin is BatchSizeFrom.MEMORY


def test_outputs_that_do_not_fit_together_are_said_to_be_too_large(monkeypatch):
    def no_memory(*_, **__):
        raise RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried to allocate 1")

    monkeypatch.setattr("model_eval.engine.chunk.Chunk._room", no_memory)
    with pytest.raises(OutOfMemoryError, match="outputs of 8 samples do not fit in memory"):
        run(lambda x: x, batch_size=BatchSize(8))


def test_scores_that_do_not_fit_are_said_to_be_too_large(monkeypatch):
    def no_memory(*_, **__):
        raise MemoryError

    monkeypatch.setattr(Scorer, "columns", no_memory)
    with pytest.raises(OutOfMemoryError, match="do not fit in memory"):
        run(lambda x: x)


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2 GiB"), True),
        (MemoryError(), True),
        (RuntimeError("[enforce fail] DefaultCPUAllocator: can't allocate memory: you"), True),
        (RuntimeError("CUDA error: out of memory"), True),
        (RuntimeError("CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling `cublasCreate`"), True),
        (RuntimeError("MPS backend out of memory (MPS allocated: 5 GB)"), True),
        (RuntimeError("shape mismatch"), False),
        (ValueError("can't allocate memory"), False),
        (None, False),
    ],
)
def test_how_memory_ends_is_known(error, expected):
    assert is_out_of_memory(error) is expected
