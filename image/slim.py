"""Removes from site-packages what no evaluation uses: `python3 image/slim.py SITE` in the Dockerfile.

What is here must stay importable where the image promises it; `tests/end_to_end/test_slim.py` lists
that. Every pattern says why; one that finds nothing is passed over, because packages change.

sympy, networkx and torch's compilers (70 MB unpacked) stay: code of a repository may import `torch.fx`,
`torch.export` and `torch._dynamo`, whose backends do not all need a C++ compiler, and these import them.
"""

import shutil
import struct
import sys
from pathlib import Path

UNUSED = {
    "torch's own tests, and programs that are not torch_shm_manager, by which DataLoader workers share tensors": [
        "torch/test",
        "torch/bin/[!t]*",
        "torch/bin/test_*",
        "torch/lib/lib*_test.so",
        "torch/lib/libaoti_custom_ops.so",
        "torch/lib/libbackend_with_compiler.so",
        "torch/lib/libshm_windows",
    ],
    "what only a C++ compiler reads, which the image does not have": [
        "torch/include",
        "torch/share/cmake",
        "numpy/_core/include",
        "pyarrow/include",
        "pyarrow/src",
        "**/*.h",
        "**/*.hpp",
        "**/*.pxd",
        "**/*.pxi",
        "**/*.pyx",
        "**/*.a",
    ],
    "what only a type checker reads": ["**/*.pyi"],
    "setuptools' hook, which every start of Python would run": ["distutils-precedence.pth"],
    "services and object stores: an evaluation has no network": [
        "pyarrow/*flight*",
        "pyarrow/*_s3*",
        "pyarrow/_gcsfs*",
        "pyarrow/_azurefs*",
        "pyarrow/_hdfs*",  # libarrow_substrait stays: all of pyarrow is linked to it
    ],
    "tests of packages": [
        "pyarrow/tests",
        "pyarrow/_pyarrow_cpp_tests*",
        "networkx/**/tests",
        "mpmath/tests",
        "sympy/**/tests",
        "numpy/[!_]*/tests",
        "numpy/tests",
    ],
}
"""Why → patterns below site-packages."""

KEPT = ("numpy/testing",)
"""Folders in which nothing is removed: torch.testing and many loaders import them."""

NOT_OURS_TO_CHANGE = ("nvidia", "triton")
"""Packages whose libraries stay as they are: NVIDIA's licence lets them be passed on unchanged."""

_HEADER = struct.Struct("<16sHHIQQQIHHHHHH")
_SECTION = struct.Struct("<IIQQQQIIQQ")
_SYMTAB, _STRTAB, _ALLOCATED = 2, 3, 2


def unused(site: Path) -> list[Path]:
    """The files and folders to be removed, an outer one before what is in it."""
    found = {path for patterns in UNUSED.values() for one in patterns for path in site.glob(one)}
    kept = [site / name for name in KEPT]
    return sorted(path for path in found if not any(path.is_relative_to(one) for one in kept))


def remove(path: Path) -> None:
    """Removes a file, a link or a folder, if it is still there."""
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


def link_copies(folder: Path) -> None:
    """Makes links of equal shared libraries: a wheel has no links, and packs one library three times."""
    first: dict[bytes, Path] = {}
    for path in sorted(folder.glob("*.so*")):
        if path.is_symlink():
            continue
        data = path.read_bytes()
        original = first.setdefault(data, path)
        if original is not path:
            path.unlink()
            path.symlink_to(original.name)


def without_symbols(data: bytes) -> bytes | None:
    """A shared library without `.symtab` and `.strtab`, which only debuggers read.

    As `strip --strip-unneeded` does, which the base image does not have. What is loaded stays where it
    is: the two are removed only where nothing but them and the names of sections stands behind them.

    Args:
        data: the whole file.

    Returns:
        The shorter file; None where it is no 64-bit little-endian ELF file, or is laid out otherwise.
    """
    if data[:6] != b"\x7fELF\x02\x01" or len(data) < _HEADER.size:
        return None
    header = list(_HEADER.unpack_from(data))
    at, size, count, names = header[6], header[11], header[12], header[13]
    if size != _SECTION.size or not 0 < names < count or at + count * size > len(data):
        return None
    sections = [list(_SECTION.unpack_from(data, at + i * size)) for i in range(count)]
    symbols = [i for i, one in enumerate(sections) if one[1] == _SYMTAB]
    if len(symbols) != 1 or at < sections[symbols[0]][4]:
        return None
    texts = sections[symbols[0]][6]
    gone = {symbols[0], texts}
    if (
        texts in {0, names}
        or texts >= count
        or any(sections[i][2] & _ALLOCATED for i in (*gone, names))
    ):
        return None
    cut = min(sections[i][4] for i in (*gone, names))
    others = [one for i, one in enumerate(sections) if i not in {*gone, names}]
    if any(
        one[1] != 8 and one[4] + one[5] > cut for one in others
    ):  # 8: takes no space in the file
        return None
    if any(one[6] in gone for one in others):
        return None
    name_table = data[sections[names][4] : sections[names][4] + sections[names][5]]
    for i in gone:
        sections[i] = [0] * len(sections[i])  # stays as an empty one, so that indexes hold
    sections[names][4] = cut
    end = cut + len(name_table)
    header[6] = end + -end % 8
    return b"".join(
        [
            _HEADER.pack(*header),
            data[_HEADER.size : cut],
            name_table,
            bytes(header[6] - end),
            *(_SECTION.pack(*one) for one in sections),
        ]
    )


def main(site: Path) -> None:
    """Makes an installation smaller in place."""
    for path in unused(site):
        remove(path)
    link_copies(site / "pyarrow")
    for path in sorted(site.glob("**/*.so*")):
        if path.is_symlink() or path.relative_to(site).parts[0] in NOT_OURS_TO_CHANGE:
            continue
        shorter = without_symbols(path.read_bytes())
        if shorter is not None:
            path.write_bytes(shorter)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
