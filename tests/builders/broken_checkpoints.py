"""Checkpoints that must be refused and are made when a test asks for them.

Either they would be too large or too hostile to commit, or they are links, pipes and folders.
"""

import argparse
import os
import pickle
import struct
import zipfile
import zlib
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch

from builders.checkpoints import (
    Net,
    Payload,
    a_state,
    pickled,
    rezipped,
    saved,
    with_pickle,
    written,
)

CASES: dict[str, Callable[[Path], Path]] = {}
MARKER = "marker"
"""The file that a payload writes, in the folder of the test."""


def case(make: Callable[[Path], Path]) -> Callable[[Path], Path]:
    CASES[make.__name__] = make
    return make


# --- file -----------------------------------------------------------------------------------


@case
def missing(folder):
    return folder / "model.pt"


@case
def a_folder(folder):
    path = folder / "model.pt"
    path.mkdir()
    return path


@case
def dangling_symlink(folder):
    path = folder / "model.pt"
    path.symlink_to("gone.pt")
    return path


@case
def symlink_loop(folder):
    path = folder / "model.pt"
    path.symlink_to("model.pt")
    return path


@case
def fifo(folder):
    path = folder / "model.pt"
    os.mkfifo(path)
    return path


@case
def device(folder):
    path = folder / "model.pt"
    path.symlink_to("/dev/zero")
    return path


@case
def symlink_to_text(folder):
    path = folder / "model.pt"
    path.symlink_to(written(folder / "notes.txt", "x"))
    return path


@case
def compressed_entries(folder):
    state = a_state() | {"layer.weight": torch.zeros(300, 300)}
    return rezipped(saved(folder / "model.pt", state), compression=zipfile.ZIP_DEFLATED)


@case
def duplicate_entries(folder):
    path = saved(folder / "model.pt", a_state())
    with zipfile.ZipFile(path, "a") as archive:
        archive.writestr("model/data/0", b"\0" * 24)
    return path


@case
def entry_in_capitals(folder):
    """torch takes the one for the other."""
    return rezipped(saved(folder / "model.pt", a_state()), extra={"model/DATA.PKL": b"x"})


@case
def two_tables_of_contents(folder):
    """`zipfile` finds the last one; torch, by a locator in the comment of its last entry, the first."""
    path = folder / "model.pt"
    names: list[tuple[str, bytes]] = []
    for value in (0.0, 1.0):
        state = {name: torch.full_like(tensor, value) for name, tensor in a_state().items()}
        with zipfile.ZipFile(saved(path, state)) as archive:
            names.append([(one.filename, archive.read(one)) for one in archive.infolist()])
    parts, tables = b"", []
    for entries in names:
        table = b""
        for name, data in entries:
            head = struct.pack("<2L", zlib.crc32(data), len(data)) + struct.pack("<L", len(data))
            where, text = len(parts), name.encode()
            parts += struct.pack("<4s5H", b"PK\3\4", 20, 0, 0, 0, 0) + head
            parts += struct.pack("<2H", len(text), 0) + text + data
            table += struct.pack("<4s6H", b"PK\1\2", 20, 20, 0, 0, 0, 0) + head
            table += struct.pack("<5H2L", len(text), 0, 0, 0, 0, 0, where) + text
        tables.append(table)
    begin, count = len(parts), len(names[0])
    parts += tables[0]
    end64 = len(parts)
    sizes = (count, count, len(tables[0]), begin)
    parts += struct.pack("<4sQ2H2L4Q", b"PK\6\6", 44, 45, 45, 0, 0, *sizes)
    comment = bytes(60) + struct.pack("<4sLQL", b"PK\6\7", 0, end64, 1)
    # The length of the last entry's comment is 14 bytes before its name.
    last = len(tables[1]) - len(names[1][-1][0].encode()) - 14
    table = tables[1][:last] + struct.pack("<H", len(comment)) + tables[1][last + 2 :] + comment
    end = struct.pack("<4s4H2LH", b"PK\5\6", 0, 0, count, count, len(table), len(parts), 0)
    path.write_bytes(parts + table + end)
    return path


@case
def entry_outside(folder):
    return rezipped(saved(folder / "model.pt", a_state()), extra={"model/../../etc/passwd": b"x"})


@case
def entry_absolute(folder):
    return rezipped(saved(folder / "model.pt", a_state()), extra={"/etc/passwd": b"x"})


@case
def two_folders(folder):
    return rezipped(saved(folder / "model.pt", a_state()), extra={"other/data.pkl": b"x"})


@case
def overlapping_entries(folder):
    # The second entry of the table of contents points at the first one's data, again and again.
    path = folder / "model.pt"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("model/data.pkl", b"\0" * 5000)
        first = archive.filelist[0]
        for number in range(5):
            other = zipfile.ZipInfo(f"model/data/{number}")
            other.file_size = other.compress_size = 5000
            other.header_offset, other.CRC = first.header_offset, first.CRC
            archive.filelist.append(other)
        archive._didModify = True
    return path


@case
def missing_storage(folder):
    path = saved(folder / "model.pt", a_state())
    return rezipped(path, lambda name, data: None if name.endswith("/data/0") else (name, data))


@case
def short_storage(folder):
    path = saved(folder / "model.pt", a_state())
    return rezipped(path, lambda name, data: (name, data[:4] if name.endswith("/data/0") else data))


@case
def bytes_after_the_archive(folder):
    path = saved(folder / "model.pt", a_state())
    return written(path, path.read_bytes() + b"more")


@case
def truncated_legacy(folder):
    path = saved(folder / "model.pt", a_state(), legacy=True)
    return written(path, path.read_bytes()[:-20])


@case
def truncated_legacy_pickle(folder):
    path = saved(folder / "model.pt", a_state(), legacy=True)
    return written(path, path.read_bytes()[:200])


# --- pickle ---------------------------------------------------------------------------------


@case
def code(folder):
    return saved(folder / "model.pt", {"w": Payload(folder / MARKER)})


@case
def code_in_legacy(folder):
    return saved(folder / "model.pt", {"w": Payload(folder / MARKER)}, legacy=True)


@case
def code_in_a_plain_pickle(folder):
    return written(folder / "model.pt", pickled(Payload(folder / MARKER), protocol=4))


@case
def code_in_an_old_plain_pickle(folder):
    return written(folder / "model.pt", pickled(Payload(folder / MARKER), protocol=0))


@case
def code_before_damage(folder):
    return with_pickle(folder / "model.pt", pickled(Payload(folder / MARKER))[:-1] + b"\xff")


@case
def code_with_a_protocol_of_four(folder):
    torch.save({"w": Payload(folder / MARKER)}, folder / "model.pt", pickle_protocol=4)
    return folder / "model.pt"


@case
def code_by_instance(folder):
    # INST of protocol 0 calls without a GLOBAL or a REDUCE.
    return with_pickle(folder / "model.pt", b"(S'echo'\nios\nsystem\n.")


@case
def plain_pickle(folder):
    return written(folder / "model.pt", pickled({"layer.weight": [0.5, 1.0]}))


@case
def whole_module(folder):
    return saved(folder / "model.pt", Net())


@case
def whole_module_in_legacy(folder):
    return saved(folder / "model.pt", Net(), legacy=True)


@case
def namespace(folder):
    return saved(folder / "model.pt", {"state_dict": a_state(), "args": argparse.Namespace(lr=0.1)})


@case
def numpy_scalar(folder):
    return saved(folder / "model.pt", {"state_dict": a_state(), "best": np.float64(0.5)})


@case
def posix_path(folder):
    return saved(folder / "model.pt", {"state_dict": a_state(), "path": Path("runs")})


@case
def several_objects(folder):
    content = {"a": argparse.Namespace(), "b": Path("x"), "c": np.float64(1), "d": slice(1)}
    return saved(folder / "model.pt", {"state_dict": a_state()} | content)


@case
def bytearray_bomb(folder):
    # bytearray(2 << 30)
    return with_pickle(
        folder / "model.pt", b"\x80\x02c__builtin__\nbytearray\n\x8a\x05\0\0\0\x80\0\x85R."
    )


@case
def deep_tuples(folder):
    return with_pickle(folder / "model.pt", b"\x80\x02)" + b"\x85" * 100_000 + b".")


@case
def deep_tuples_through_the_memo(folder):
    step = b"\x85q\x000h\x00"
    return with_pickle(folder / "model.pt", b"\x80\x02)" + step * 100_000 + b".")


@case
def deep_lists(folder):
    return with_pickle(folder / "model.pt", b"\x80\x02" + b"]" * 1000 + b"a" * 999 + b".")


@case
def stack_underflow(folder):
    return with_pickle(folder / "model.pt", b"\x80\x02\x85.")


@case
def self_reference(folder):
    content: dict[str, object] = {"epoch": 3}
    content["me"] = content
    return saved(folder / "model.pt", content)


@case
def alias_bomb(folder):
    bomb: list[object] = []
    for _ in range(40):
        bomb = [bomb, bomb]
    return saved(folder / "model.pt", {"epoch": 3, "bomb": bomb})


@case
def alias_bomb_of_dicts(folder):
    bomb: dict[str, object] = {"x": 1}
    for _ in range(40):
        bomb = {"a": bomb, "b": bomb}
    return saved(folder / "model.pt", bomb)


@case
def string_longer_than_the_file(folder):
    return with_pickle(folder / "model.pt", b"\x80\x02X" + struct.pack("<I", 1 << 30) + b"a.")


@case
def unknown_persistent_id(folder):
    return with_pickle(folder / "model.pt", b"\x80\x02X\x01\0\0\0aQ.")


@case
def protocol_of_five(folder):
    torch.save(a_state(), folder / "model.pt", pickle_protocol=5)
    return folder / "model.pt"


@case
def torchscript(folder):
    with warnings_off():
        torch.jit.script(torch.nn.Linear(2, 1)).save(folder / "model.pt")
    return folder / "model.pt"


@case
def exported_program(folder):
    with warnings_off():
        program = torch.export.export(torch.nn.Linear(2, 1), (torch.ones(1, 2),))
        torch.export.save(program, folder / "model.pt2")
    return folder / "model.pt2"


def warnings_off():
    import warnings

    return warnings.catch_warnings(action="ignore")


# --- state dict -----------------------------------------------------------------------------


@case
def a_list(folder):
    return saved(folder / "model.pt", list(a_state().values()))


@case
def a_tensor(folder):
    return saved(folder / "model.pt", torch.zeros(3))


@case
def nothing(folder):
    return saved(folder / "model.pt", None)


@case
def empty_dict(folder):
    return saved(folder / "model.pt", {})


@case
def integer_keys(folder):
    return saved(folder / "model.pt", dict(enumerate(a_state().values())))


@case
def value_is_not_a_tensor(folder):
    return saved(folder / "model.pt", a_state() | {"epoch": 3})


@case
def no_tensors_at_all(folder):
    return saved(folder / "model.pt", {"epoch": 3, "loss": 0.25, "name": "x"})


@case
def two_candidates(folder):
    return saved(folder / "model.pt", {"model": a_state(), "ema": a_state()})


@case
def two_candidates_none_fits(folder):
    other = {"w": torch.zeros(1)}
    return saved(folder / "model.pt", {"generator": other, "critic": dict(other)})


@case
def on_the_meta_device(folder):
    return saved(
        folder / "model.pt", a_state() | {"layer.weight": torch.zeros(3, 2, device="meta")}
    )


@case
def sparse(folder):
    return saved(folder / "model.pt", a_state() | {"layer.weight": torch.eye(3, 2).to_sparse()})


def of_a_malformed_sparse_tensor(expected):
    """What people read: torch 2.14 and later find out before it is known to be sparse."""
    if tuple(map(int, torch.__version__.split(".")[:2])) < (2, 14):
        return expected
    start, _, _ = expected.partition("`model.pt`")
    return (
        f"{start}`model.pt` is damaged: its tensors cannot be put together; "
        "save it again: `torch.save(model.state_dict(), path)`\n"
    )


@case
def sparse_and_malformed(folder):
    with warnings_off():
        tensor = torch.sparse_csr_tensor(
            torch.tensor([0, 1, 2, 99]), torch.tensor([0, 1]), torch.ones(2), (3, 2),
            check_invariants=False,
        )  # fmt: skip
        return saved(folder / "model.pt", a_state() | {"layer.weight": tensor})


@case
def quantised(folder):
    with warnings_off():
        tensor = torch.quantize_per_tensor(torch.zeros(3, 2), 0.1, 0, torch.qint8)
        return saved(folder / "model.pt", a_state() | {"layer.weight": tensor})


@case
def nested_tensor(folder):
    with warnings_off():
        tensor = torch.nested.nested_tensor([torch.zeros(2), torch.zeros(3)])
        return saved(folder / "model.pt", a_state() | {"layer.weight": tensor})


@case
def integer_weights(folder):
    return saved(
        folder / "model.pt", a_state() | {"layer.weight": torch.ones(3, 2, dtype=torch.int8)}
    )


@case
def complex_weights(folder):
    return saved(
        folder / "model.pt", a_state() | {"layer.weight": torch.ones(3, 2, dtype=torch.complex64)}
    )


@case
def float_counter(folder):
    return saved(folder / "model.pt", a_state() | {"norm.num_batches_tracked": torch.tensor(7.0)})


@case
def nan_and_infinity(folder):
    weight = torch.tensor([[float("nan"), 1], [float("inf"), 2], [float("nan"), -float("inf")]])
    return saved(folder / "model.pt", a_state() | {"layer.weight": weight})


@case
def infinity_in_many(folder):
    bad = torch.full((3,), float("inf"))
    names = ("layer.bias", "norm.weight", "norm.bias", "norm.running_mean", "norm.running_var")
    return saved(folder / "model.pt", a_state() | dict.fromkeys(names, bad))


@case
def negative_variance(folder):
    return saved(
        folder / "model.pt", a_state() | {"norm.running_var": torch.tensor([1.0, -0.5, 2.0])}
    )


@case
def terabyte_view(folder):
    view = torch.zeros(1).expand(1 << 20, 1 << 20)
    return saved(folder / "model.pt", a_state() | {"layer.weight": view})


@case
def wrong_shape(folder):
    return saved(folder / "model.pt", a_state() | {"layer.weight": torch.zeros(3, 4)})


@case
def a_key_renamed(folder):
    state = a_state()
    state["linear.weight"] = state.pop("layer.weight")
    return saved(folder / "model.pt", state)


@case
def all_that_can_be_wrong(folder):
    state = a_state() | {"layer.bias": torch.zeros(4), "norm.bias": torch.zeros(3).long()}
    state["norm.w`eight\n::error::"] = state.pop("norm.weight")
    return saved(folder / "model.pt", state)


@case
def many_missing(folder):
    return saved(folder / "model.pt", {f"extra.{number}": torch.zeros(1) for number in range(51)})


@case
def pickle_of_a_dict_subclass(folder):
    class_ = type("Config", (dict,), {"__module__": "their.code"})
    import sys
    import types

    module = types.ModuleType("their.code")
    module.Config = class_
    sys.modules["their"], sys.modules["their.code"] = types.ModuleType("their"), module
    try:
        return saved(folder / "model.pt", {"state_dict": a_state(), "config": class_(lr=1)})
    finally:
        del sys.modules["their"], sys.modules["their.code"]


assert pickle.DEFAULT_PROTOCOL >= 4
