"""How the C library of the evaluating process keeps memory for tensors.

glibc gives every large block back to the system when it is freed, and takes it anew, page by page and
zeroed, for the next batch: of a ResNet's time that was up to two fifths. These settings keep it, in
huge pages. Other C libraries do not read them.
"""

from collections.abc import Mapping

_LARGEST = 32 << 20
"""Bytes of the largest block that is kept; larger ones glibc never keeps. Its own limit."""

_KEPT = 1 << 30
"""Bytes of free memory at the end of the heap that are kept; the rest is given back."""

ENVIRON: Mapping[str, str] = {
    "MALLOC_MMAP_THRESHOLD_": str(_LARGEST),
    "MALLOC_TRIM_THRESHOLD_": str(_KEPT),
    "GLIBC_TUNABLES": "glibc.malloc.hugetlb=1",
}
"""For the environment that a process starts with (mallopt(3), glibc's manual on tunables)."""
