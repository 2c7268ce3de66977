"""A range of the samples is the same samples as in the whole, in every format."""

from itertools import pairwise
from zipfile import ZipFile

import numpy as np
import pyarrow.parquet as pq
import pytest
import torch
from PIL import Image
from torch.utils.data import IterableDataset

from builders.heldout import TABLES, TENSORS, an_input, loaded, opened, written
from model_eval.errors import HeldOutError

N = 23
RNG = np.random.default_rng(11)
COLUMNS = {
    "x": RNG.normal(size=N),
    "y": RNG.integers(0, 4, size=N),
    "key": np.arange(100, 100 + N),
}
CUTS = [(0, 0), (0, 1), (1, 2), (6, 7), (6, 8), (7, 14), (7, 7), (8, 9), (13, 22), (22, 23), (23, 23)]  # fmt: skip
"""Around the row groups of seven rows, at both ends, and empty."""


class Stream(IterableDataset):
    def __init__(self, items):
        self.items = items
        self.taken = 0

    def __iter__(self):
        for item in self.items:
            self.taken += 1
            yield item


class Mapped:
    def __init__(self, items):
        self.items = items
        self.asked = []

    def __len__(self):
        return len(self.items)

    def __getitem__(self, index):
        self.asked.append(index)
        return self.items[index]


ITEMS = [(torch.tensor([float(i)]), i % 4, f"s{i}") for i in range(N)]


def as_list(blocks):
    return [
        (value.tolist(), int(target), str(key))
        for block in blocks
        for value, target, key in zip(
            block.args[0], block.labels.target, block.labels.ids, strict=True
        )
    ]


@pytest.mark.parametrize("file_format", [*TABLES, *TENSORS])
@pytest.mark.parametrize("id_column", [None, "key"])
def test_a_part_of_a_set_has_the_samples_and_ids_of_the_whole(tmp_path, file_format, id_column):
    heldout = opened(written(tmp_path, file_format, COLUMNS), id=id_column)
    whole = as_list(heldout.blocks(4))
    assert len(whole) == N
    for start, stop in CUTS:
        assert as_list(heldout.part(start, stop).blocks(4)) == whole[start:stop]
    found = [str(key) for block in heldout.labels(4) for key in block.ids]
    assert found == [key for _, _, key in whole]


def test_a_part_of_a_loader_knows_no_digest():
    heldout = loaded(lambda: Mapped(ITEMS))
    assert [key for _, _, key in as_list(heldout.part(4, 9).blocks(3))] == [
        f"s{i}" for i in range(4, 9)
    ]
    assert heldout.info(whole=False).sha256 == ""
    with pytest.raises(HeldOutError, match="was not read to its end"):
        heldout.info()
    assert [key for block in heldout.labels(5) for key in block.ids] == [f"s{i}" for i in range(N)]
    assert len(heldout.info().sha256) == 64


def image_folder(folder):
    for i in range(N):
        file = folder / "images" / "ab"[i % 2] / f"{i}.png"
        file.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(RNG.integers(0, 256, size=(4, 5, 3), dtype=np.uint8)).save(file)
    return opened(folder / "images", args=(an_input("image"),), targets=("label",))


def fortran(folder):
    columns = COLUMNS | {"x": np.asfortranarray(RNG.normal(size=(N, 3)))}
    return opened(written(folder, "npy", columns), id="key")


def compressed(folder):
    np.savez_compressed(folder / "heldout.npz", **COLUMNS)
    return opened(folder / "heldout.npz", id="key")


OPENERS = {
    **{
        file_format: lambda folder, f=file_format: opened(written(folder, f, COLUMNS), id="key")
        for file_format in (*TABLES, *TENSORS)
    },
    "fortran": fortran,
    "compressed": compressed,
    "image_folder": image_folder,
    "mapped": lambda _: loaded(lambda: Mapped(ITEMS)),
    "stream": lambda _: loaded(lambda: Stream(ITEMS), count=N),
}


@pytest.fixture(scope="module", params=OPENERS)
def reader(request, tmp_path_factory):
    return OPENERS[request.param](tmp_path_factory.mktemp("ranges")).reader


def read(reader, rows=5, **span):
    """Column → all of its values, as one array; None where there are no samples."""
    chunks = list(reader.chunks(reader.columns, rows, **span))
    assert all(len(value) for chunk in chunks for value in chunk.values())
    return {
        name: np.concatenate([np.asarray(chunk[name]) for chunk in chunks])
        for name in reader.columns
        if chunks
    }


@pytest.mark.parametrize("cut", CUTS)
@pytest.mark.parametrize("rows", [1, 4, 100])
def test_three_ranges_are_the_whole(reader, cut, rows):
    whole = read(reader)
    parts = [read(reader, rows, start=a, stop=b) for a, b in pairwise((0, *cut, N))]
    lengths = [len(next(iter(part.values()))) if part else 0 for part in parts]
    assert lengths == [cut[0], cut[1] - cut[0], N - cut[1]]
    for name in reader.columns:
        joined = np.concatenate([part[name] for part in parts if part])
        assert joined.dtype == whole[name].dtype
        np.testing.assert_array_equal(joined, whole[name])


def test_without_an_end_a_range_goes_to_the_last(reader):
    assert {name: value.tolist() for name, value in read(reader, start=20).items()} == {
        name: value[20:].tolist() for name, value in read(reader).items()
    }


@pytest.mark.parametrize("span", [(-1, 3), (4, 3), (0, N + 1), (N + 1, None)])
def test_a_range_that_is_not_of_the_set_is_refused(reader, span):
    with pytest.raises(ValueError, match=f"of {N}"):
        list(reader.chunks(reader.columns, 5, start=span[0], stop=span[1]))


def test_row_groups_before_and_after_a_range_are_not_read(tmp_path):
    path = written(tmp_path, "parquet", COLUMNS)
    reader = opened(path, id="key").reader
    first, last = (pq.ParquetFile(path).metadata.row_group(i).column(0) for i in (0, 3))
    content = bytearray(path.read_bytes())
    for column in (first, last):
        at = column.data_page_offset
        content[at : at + 8] = b"\xff" * 8
    path.write_bytes(content)
    assert read(reader, start=7, stop=21)["x"].tolist() == COLUMNS["x"][7:21].tolist()
    for span in ({"start": 6, "stop": 8}, {"start": 20}):
        with pytest.raises(HeldOutError):
            read(reader, **span)


@pytest.mark.parametrize("save", [np.savez, np.savez_compressed])
def test_a_wrong_checksum_is_found_outside_of_the_range(tmp_path, save):
    path = tmp_path / "heldout.npz"
    # Noise that deflate stores as it is, so that a changed byte still unpacks.
    columns = {"x": RNG.integers(0, 256, size=(N, 64), dtype=np.uint8), "y": COLUMNS["y"]}
    save(path, **columns)
    reader = opened(path).reader
    with ZipFile(path) as archive:
        at = archive.getinfo("x.npy").header_offset + 1400
    content = bytearray(path.read_bytes())
    content[at] ^= 1
    path.write_bytes(content)
    for span in ({"start": 2, "stop": 4}, {"start": 22}):
        with pytest.raises(HeldOutError) as caught:
            read(reader, **span)
        assert caught.value.message == (
            "column `x` of `heldout.npz` cannot be read: Bad CRC-32 for file 'x.npy'"
        )


def test_only_the_images_of_a_range_are_decoded(tmp_path):
    reader = image_folder(tmp_path).reader
    broken = sorted((tmp_path / "images").rglob("*.png"), key=str)[3]
    broken.write_bytes(b"no image")
    assert len(read(reader, start=4)["image"]) == N - 4
    with pytest.raises(HeldOutError, match=f"{broken.name}` cannot be decoded"):
        read(reader, start=3, stop=4)


def test_a_map_style_dataset_is_asked_for_the_samples_of_the_range_alone():
    dataset = Mapped(ITEMS)
    reader = loaded(lambda: dataset).reader
    dataset.asked.clear()
    read(reader, start=5, stop=9)
    assert dataset.asked == [5, 6, 7, 8]


def test_an_iterable_is_taken_no_further_than_the_range():
    dataset = Stream(ITEMS)
    reader = loaded(lambda: dataset, count=N).reader
    read(reader, start=5, stop=9)
    assert dataset.taken == 9


def test_the_digest_of_a_loader_is_known_after_all_samples_alone():
    reader = loaded(lambda: Mapped(ITEMS)).reader
    for span in ({"stop": N - 1}, {"start": 1}, {"start": 3, "stop": 9}):
        read(reader, **span)
        assert reader.digest(reader.columns) is None
    read(reader)
    assert reader.digest(reader.columns) is not None


def test_an_iterable_that_is_longer_or_shorter_is_found_by_its_last_range():
    for given, message in (
        ((*ITEMS, ITEMS[0]), f"gives more samples than the {N} that are expected"),
        (ITEMS[:-1], f"gives {N - 1} samples, {N} are expected"),
    ):
        reader = loaded(lambda given=given: Stream(given), count=N).reader
        assert len(read(reader, stop=9)["input"]) == 9
        with pytest.raises(HeldOutError, match=message):
            read(reader, start=9)


def test_an_iterator_that_cannot_begin_again_gives_no_wrong_samples():
    reader = loaded(lambda: (item for item in ITEMS), count=N).reader
    assert read(reader, stop=9)["target"].tolist() == [i % 4 for i in range(9)]
    with pytest.raises(HeldOutError, match="gives other samples the second time"):
        read(reader, start=9, stop=12)


def test_the_samples_of_a_range_are_like_the_first_of_the_set():
    items = [(torch.tensor([float(i)], dtype=torch.float64 if i > 4 else torch.float32), 0) for i in range(N)]  # fmt: skip
    reader = loaded(lambda: Mapped(items)).reader
    with pytest.raises(HeldOutError, match="as a tensor of float32 in row 0 and as a tensor of "):
        read(reader, start=9)
