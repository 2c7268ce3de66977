"""The device's class and the versions, told without torch."""

import platform
from hashlib import sha256

import pytest

from model_eval.store.here import device_class, preloaded, versions
from model_eval.store.unproved import UnprovedError

CPU_BUILD = ["numpy-2.0 0123", "torch-2.13.0+cpu 4567"]
CUDA_BUILD = ["numpy-2.0 0123", "torch-2.13.0 4567"]
CPUINFO = "processor : 0\nmodel name : A fast one\nstepping : 2\nflags : avx avx2\n"

pytestmark = pytest.mark.skipif(platform.system() != "Linux", reason="reads /proc")


def machine(folder, *, cpuinfo=CPUINFO, gpus=(), driver="595.71.05", devices=(), mig=False):
    """The parts of a file system that say which devices there are."""
    (folder / "dev").mkdir()
    for name in devices:
        (folder / "dev" / name).touch()
    (folder / "proc/driver/nvidia/gpus").mkdir(parents=True)
    (folder / "proc/cpuinfo").write_text(cpuinfo)
    for number, model in enumerate(gpus):
        place = folder / f"proc/driver/nvidia/gpus/0000:0{number}:00.0"
        place.mkdir()
        (place / "information").write_text(f"Model: \t\t {model}\nIRQ:   16\n")
    if gpus:
        version = f"NVRM version: NVIDIA UNIX x86_64 Kernel Module  {driver}  Thu Jan 1\n"
        (folder / "proc/driver/nvidia/version").write_text(version)
    if mig:
        (folder / "proc/driver/nvidia/capabilities/gpu0/mig/gi3").mkdir(parents=True)
    return folder


def classified(folder, requested="auto", installed=CPU_BUILD, environ=None, **parts):
    folder.mkdir()
    return device_class(requested, installed, environ=environ or {}, root=machine(folder, **parts))


def test_a_cpu_is_its_model_and_what_it_can_do(tmp_path):
    one = classified(tmp_path / "1")
    assert one["cpu"].startswith("A fast one ")
    assert one == classified(tmp_path / "2", "cpu")
    assert one != classified(tmp_path / "3", cpuinfo=CPUINFO.replace("fast", "slow"))
    assert one != classified(tmp_path / "4", cpuinfo=CPUINFO.replace("avx2", "avx512"))
    assert one == classified(tmp_path / "5", cpuinfo=CPUINFO + CPUINFO.replace(": 0", ": 1"))


def test_a_system_that_does_not_name_its_processor_is_refused(tmp_path):
    with pytest.raises(UnprovedError, match="does not say which processor it has"):
        classified(tmp_path / "1", cpuinfo="")


def test_auto_is_the_cpu_where_there_is_nothing_else(tmp_path):
    gpu = {"devices": ["nvidia0"], "gpus": ["A GPU"]}
    assert "gpus" not in classified(tmp_path / "1", installed=CPU_BUILD, **gpu)
    assert "gpus" not in classified(tmp_path / "2", installed=CUDA_BUILD)
    assert classified(tmp_path / "3", installed=CUDA_BUILD, **gpu)["gpus"] == ["A GPU"]


def test_gpus_are_their_models_driver_and_who_chooses(tmp_path):
    gpu = {"devices": ["nvidia0"], "gpus": ["A GPU"]}
    one = classified(tmp_path / "1", "cuda", **gpu)
    assert one != classified(tmp_path / "2", "cuda", **(gpu | {"gpus": ["Another"]}))
    assert one != classified(tmp_path / "3", "cuda", **(gpu | {"gpus": ["A GPU", "A GPU"]}))
    assert one != classified(tmp_path / "4", "cuda", driver="1.2", **gpu)
    hidden = {"CUDA_VISIBLE_DEVICES": ""}
    assert one != classified(tmp_path / "5", "cuda", environ=hidden, **gpu)
    assert one == classified(tmp_path / "6", "cuda:0", **gpu)


@pytest.mark.parametrize(
    ("requested", "parts", "why"),
    [
        ("mps", {}, "`device: mps` is not told apart from others without torch"),
        ("xpu:1", {}, "`device: xpu:1` is not told apart from others without torch"),
        ("cuda", {}, "which accelerator `auto` or `cuda` is cannot be told without torch"),
        ("auto", {"devices": ["kfd"]}, "which accelerator `auto` or `cuda` is cannot be told without torch"),
        ("cuda", {"gpus": ["A GPU"], "mig": True}, "a part of a GPU (MIG) is not told apart from others without torch"),
    ],
)  # fmt: skip
def test_what_cannot_be_told_is_refused(tmp_path, requested, parts, why):
    with pytest.raises(UnprovedError) as refused:
        classified(tmp_path / "1", requested, installed=CUDA_BUILD, **parts)
    assert str(refused.value) == why


def install(folder, name, **files):
    (folder / name).mkdir(parents=True)
    for file, text in files.items():
        (folder / name / file).write_text(text)


def test_every_installed_distribution_is_a_version(tmp_path):
    install(tmp_path, "torch-2.13.0+cpu.dist-info", RECORD="x")
    install(tmp_path, "old.egg-info")
    (tmp_path / "torch").mkdir()
    found = versions([str(tmp_path), str(tmp_path / "missing.zip")])
    assert found["installed"] == [
        "old without a record",
        f"torch-2.13.0+cpu {sha256(b'').hexdigest()}",
    ]
    assert found["python"] == platform.python_version()
    version, digest = found["model_eval"]
    assert version
    assert len(digest) == 64


@pytest.mark.parametrize(
    ("line", "counts"),
    [
        ("mine.py,sha256=two,8", True),
        ("mine.py,sha256=one,8\r\nmore.py,sha256=two,8", True),
        ("mine.py,sha256=one,8\n../../../bin/mine,sha256=two,8", False),
        ("mine.py,sha256=one,8\n__pycache__/mine.cpython-311.pyc,,", False),
    ],
)
def test_what_is_installed_counts_with_its_content(tmp_path, line, counts):
    """One version may be built twice; scripts name the folder of the environment."""
    for place, record in (("one", "mine.py,sha256=one,8"), ("two", line)):
        install(tmp_path / place, "mine-1.0.dist-info", RECORD=record)
    one, two = (versions([str(tmp_path / place)])["installed"] for place in ("one", "two"))
    assert (one != two) is counts
    assert one[0].startswith("mine-1.0 ")


def installed(folder, record):
    (folder / "site-packages/one-1.0.dist-info").mkdir(parents=True)
    (folder / "site-packages/one-1.0.dist-info/RECORD").write_text(record)
    return versions([str(folder / "site-packages")])


def test_every_digest_of_a_distribution_counts_but_those_of_scripts(tmp_path):
    one = installed(tmp_path / "1", "a.py,sha256=1,1\n../../../bin/a,sha256=1,1\na.pyc,,\n")
    assert one == installed(tmp_path / "2", "a.py,sha256=1,1\n../../../bin/a,sha256=2,1\n")
    assert one != installed(tmp_path / "3", "a.py,sha512=1,1\n")
    shared = installed(tmp_path / "4", "a.py,sha256=1,1\n../../../share/a,sha256=1,1\n")
    assert (
        one != shared != installed(tmp_path / "5", "a.py,sha256=1,1\n../../../share/a,sha256=2,1\n")
    )


def test_one_more_name_where_distributions_are_installed_counts(tmp_path):
    one = installed(tmp_path, "a.py,sha256=1,1\n")
    (tmp_path / "site-packages/late.py").touch()
    assert one != versions([str(tmp_path / "site-packages")])


def test_what_is_put_in_front_of_all_libraries_counts_with_its_content(tmp_path):
    (tmp_path / "a.so").write_text("1")
    environ = {"LD_PRELOAD": f"{tmp_path}/a.so:libgone.so"}
    one = preloaded(environ)
    assert (one["libgone.so"], len(one[f"{tmp_path}/a.so"])) == (None, 64)
    (tmp_path / "a.so").write_text("2")
    assert one != preloaded(environ)
    assert preloaded({}) == {}
