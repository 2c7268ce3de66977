"""Which vector instructions NumPy uses in the evaluating process.

Zen 4 has AVX-512, and a microcoded form of the one instruction that NumPy's sort with AVX-512 lives on: a
compress that writes to memory, which AMD's guide to optimisation for it (57647, section 2.11.2) says to avoid. With
AVX2 a sort takes a sixth of the time there. NumPy's own exponentials and logarithms take up to six times as
long without AVX-512; those of whole sets are torch's here, so only a repository's own code is left with that.
"""

from collections.abc import Mapping
from itertools import takewhile
from pathlib import Path

_CPUINFO = Path("/proc/cpuinfo")
_FAMILY = "25"
"""Of AMD: Zen 3, which has no AVX-512, and Zen 4. OpenJDK's sort draws the line at the same."""

_WITHOUT_AVX512 = {"NPY_DISABLE_CPU_FEATURES": "X86_V4"}
"""The name from NumPy 2.4 on; an older one does not know it, warns where nobody reads it, and sorts as before."""


def environ(cpuinfo: Path = _CPUINFO) -> Mapping[str, str]:
    """For the environment that a process starts with: nothing where this is another processor.

    Args:
        cpuinfo: what Linux says of the processors.
    """
    try:
        with cpuinfo.open(encoding="utf-8", errors="replace") as lines:
            first = [line.partition(":") for line in takewhile(str.strip, lines)]
    except OSError:
        return {}
    said = {name.strip(): value.strip() for name, _, value in first}
    zen4 = (
        said.get("vendor_id") == "AuthenticAMD"
        and said.get("cpu family") == _FAMILY
        and "avx512f" in said.get("flags", "").split()
    )
    return _WITHOUT_AVX512 if zen4 else {}
