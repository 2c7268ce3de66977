"""The peak of the process's memory: whatever is set back, what was taken before it counts."""

import numpy as np
import pytest
import torch

from model_eval.engine.memory import Peak, peak_resident

BLOCK = 256 << 20
SLACK = 8 << 20
"""The kernel counts pages for each processor apart, and adds them up later."""


@pytest.mark.skipif(peak_resident() is None, reason="this system does not tell a peak")
def test_a_peak_that_was_set_back_counts():
    """`batch_size: auto` sets it back for each batch that is measured, and a gate reads it later."""
    block = np.ones(BLOCK, dtype=np.uint8)
    highest = peak_resident()
    del block
    peak = Peak(torch.device("cpu"))
    for _ in range(2):
        peak.begin()
        assert peak_resident() >= highest - SLACK
    taken = peak.taken()
    assert taken is None or taken < BLOCK // 2


def test_a_peak_is_what_was_taken_since():
    peak = Peak(torch.device("cpu"))
    peak.begin()
    block = np.ones(BLOCK, dtype=np.uint8)
    taken = peak.taken()
    assert taken is None or BLOCK // 2 < taken < 4 * BLOCK
    assert len(block) == BLOCK
