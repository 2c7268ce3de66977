"""How the C library of the evaluating process keeps memory for tensors.

glibc gives every large block back to the system when it is freed, and takes it anew for the next batch,
page by page, zeroed: up to a third of the time of a ResNet. These settings keep it. Other C libraries do
not read them. Huge pages (`glibc.malloc.hugetlb=1`) would do no more for batches, and make the system
take four times as long to give memory for the weights.
"""

from collections.abc import Mapping

_KEPT = 1 << 30
"""Bytes of free memory at the end of the heap that are kept; the rest is given back."""

ENVIRON: Mapping[str, str] = {
    "MALLOC_MMAP_MAX_": "0",  # no block is a mapping of its own, which ends when it is freed
    "MALLOC_TRIM_THRESHOLD_": str(_KEPT),
}
"""For the environment that a process starts with: see mallopt(3)."""
