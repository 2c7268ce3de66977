"""Which vector instructions NumPy is told not to use, on which processor."""

import subprocess
import sys

import numpy as np
import pytest

from model_eval import simd
from model_eval.supervise import child_environ

WITHOUT = {"NPY_DISABLE_CPU_FEATURES": "X86_V4"}


def processor(vendor="AuthenticAMD", family="25", flags="fpu avx2 avx512f avx512bw"):
    return f"processor\t: 0\nvendor_id\t: {vendor}\ncpu family\t: {family}\nmodel\t\t: 17\nflags\t\t: {flags}\n"


def told(folder, text):
    (folder / "cpuinfo").write_text(text)
    return dict(simd.environ(folder / "cpuinfo"))


def test_zen_4_sorts_without_avx512(tmp_path):
    assert told(tmp_path, processor()) == WITHOUT


@pytest.mark.parametrize(
    "other",
    [
        pytest.param(processor(vendor="GenuineIntel", family="6"), id="Intel"),
        pytest.param(processor(family="26"), id="Zen 5"),
        pytest.param(processor(flags="fpu avx2"), id="Zen 3, which has no AVX-512"),
        pytest.param(processor(flags="fpu avx2 avx512fake"), id="another flag that begins so"),
        pytest.param("processor\t: 0\nFeatures\t: fp asimd\nCPU implementer\t: 0x41\n", id="Arm"),
        pytest.param("", id="an empty file"),
        pytest.param("\n\n" + processor(), id="nothing of the first processor"),
        pytest.param("\0\xff: : :\n", id="nonsense"),
    ],
)
def test_another_processor_is_told_nothing(tmp_path, other):
    assert told(tmp_path, other) == {}


def test_only_the_first_processor_is_read(tmp_path):
    """There may be hundreds, and the system takes a while to describe each."""
    several = "\n".join([processor(vendor="GenuineIntel"), processor(), processor()])
    assert told(tmp_path, several) == {}


@pytest.mark.parametrize("missing", ["nothing", "."])
def test_where_linux_says_nothing_nothing_is_told(tmp_path, missing):
    assert simd.environ(tmp_path / missing) == {}


def test_the_child_is_told_unless_somebody_has_said_so():
    assert simd.environ().items() <= child_environ({}).items()
    asked = {"NPY_DISABLE_CPU_FEATURES": ""}
    assert child_environ(asked)["NPY_DISABLE_CPU_FEATURES"] == ""


@pytest.mark.skipif(
    not np._core._multiarray_umath.__cpu_features__.get("X86_V4"),
    reason="no AVX-512 here, or a NumPy that calls it otherwise",
)
def test_numpy_knows_the_name():
    code = "import numpy; print(numpy._core._multiarray_umath.__cpu_features__['X86_V4'])"
    command = [sys.executable, "-W", "error", "-c", code]
    done = subprocess.run(command, env=WITHOUT, capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["False"]
