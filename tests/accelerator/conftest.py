"""Every test of this folder runs on an NVIDIA GPU, or is skipped with a word."""

import os

import pytest
import torch


@pytest.fixture(scope="session")
def device():
    """With `MODEL_EVAL_REQUIRE=cuda` it is a failure that there is none."""
    if not torch.cuda.is_available():
        reason = "torch finds no CUDA device"
        if "cuda" in os.environ.get("MODEL_EVAL_REQUIRE", "").split():
            pytest.fail(reason)
        pytest.skip(reason)
    return torch.device("cuda", torch.cuda.current_device())


@pytest.fixture
def slow(device):
    """Keeps the device busy for some milliseconds, so that the host is ahead of it."""
    return lambda: torch.cuda._sleep(20_000_000)


@pytest.fixture
def little_memory(device):
    """Lets torch have no more than the given bytes on top of what it has."""

    def limit(more: int) -> None:
        torch.cuda.empty_cache()
        total = torch.cuda.get_device_properties(device).total_memory
        allowed = torch.cuda.memory_reserved(device) + more
        torch.cuda.set_per_process_memory_fraction(allowed / total, device)

    yield limit
    torch.cuda.set_per_process_memory_fraction(1.0, device)
    torch.cuda.empty_cache()
