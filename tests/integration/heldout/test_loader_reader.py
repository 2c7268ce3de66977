"""Datasets of the user's own: nothing may be lost or added silently."""

import numpy as np
import pytest
import torch
from torch.utils.data import DataLoader, IterableDataset, TensorDataset

from builders.heldout import AT, an_input, batches, everything, loaded
from model_eval.errors import HeldOutError, UserCodeError
from model_eval.types import Task

N = 64


def items(n=N, **changes):
    return [(torch.full((2,), float(i)), changes.get(i, i % 3)) for i in range(n)]


class Stream(IterableDataset):
    def __init__(self, values, length=None):
        self.values = values
        if length is not None:
            self.length = length

    def __iter__(self):
        return iter(self.values)

    def __len__(self):
        if not hasattr(self, "length"):
            raise TypeError("no length")
        return self.length


class Mapped:
    def __init__(self, n, get):
        self.n = n
        self.get = get

    def __len__(self):
        return self.n

    def __getitem__(self, index):
        return self.get(index)


def refused(make, error=HeldOutError, **changes):
    with pytest.raises(error) as caught:
        everything(loaded(make, **changes), 7)
    assert caught.value.location == AT
    assert "\n" not in str(caught.value)
    return str(caught.value).removeprefix(f"{AT}: ")


REMEDY = "look at what the dataset gives for this sample"


@pytest.mark.parametrize(
    ("make", "count"),
    [
        (items, None),
        (lambda: TensorDataset(*(torch.stack(c) for c in zip(
            *[(x, torch.tensor(y)) for x, y in items()], strict=True))), None),
        (lambda: Stream(items()), N),
        (lambda: Stream(items(), N), None),
        (lambda: (item for item in items()), N),
    ],
)  # fmt: skip
@pytest.mark.parametrize("size", [1, 7, 64, 100])
def test_datasets_come_back(make, count, size):
    batch = everything(loaded(make, count=count), size)
    assert batch.args[0][:, 0].tolist() == list(range(N))
    assert batch.labels.target.tolist() == [i % 3 for i in range(N)]
    assert batch.labels.ids.tolist() == list(range(N))


def test_the_digest_does_not_depend_on_the_batches():
    digests = set()
    for size in (1, 7, 64):
        heldout = loaded(items)
        everything(heldout, size)
        digests.add(heldout.info().sha256)
    assert len(digests) == 1
    heldout = loaded(lambda: [*items(N - 1), (torch.zeros(2), 0)])
    everything(heldout)
    assert heldout.info().sha256 not in digests


def test_the_digest_tells_dtypes_and_shapes_apart():
    found = set()
    for x in (torch.zeros(4), torch.zeros(2, 2), torch.zeros(4, dtype=torch.int32)):
        heldout = loaded(lambda x=x: [(x, 0)])
        everything(heldout)
        found.add(heldout.info().sha256)
    assert len(found) == 3


def test_a_pin_is_checked_after_the_pass():
    heldout = loaded(items)
    everything(heldout)
    digest = heldout.info().sha256
    pinned = loaded(items, sha256=digest)
    everything(pinned)
    assert pinned.info().pinned
    wrong = loaded(items, sha256="0" * 64)
    everything(wrong)
    with pytest.raises(HeldOutError) as caught:
        wrong.info()
    assert caught.value.message == (
        f"`data.py:make` has the sha256 {digest}, the spec pins {'0' * 64}"
    )


def test_there_is_no_info_before_a_complete_pass():
    heldout = loaded(items)
    with pytest.raises(HeldOutError, match="was not read to its end"):
        heldout.info()
    next(batches(heldout, 7))
    with pytest.raises(HeldOutError, match="was not read to its end"):
        heldout.info()


def test_a_mapping_gives_columns():
    def make():
        return [
            {"tokens": [i, i + 1], "mask": np.ones(2, bool), "label": "ab"[i % 2], "key": f"k{i}"}
            for i in range(5)
        ]

    batch = everything(
        loaded(
            make, args=(), kwargs={"input_ids": an_input("tokens"), "mask": an_input("mask")},
            targets=("label",), id="key", classes=("a", "b"), slices=("label",),
        ),
        2,
    )  # fmt: skip
    assert batch.kwargs["input_ids"].tolist() == [[i, i + 1] for i in range(5)]
    assert batch.kwargs["mask"].dtype == torch.bool
    assert batch.labels.ids.tolist() == ["k0", "k1", "k2", "k3", "k4"]
    assert batch.labels.target.tolist() == [0, 1, 0, 1, 0]


def test_the_third_of_a_tuple_is_the_id():
    batch = everything(loaded(lambda: [(1.0, 0, "a"), (2.0, 1, "b")]))
    assert batch.labels.ids.tolist() == ["a", "b"]


def test_ids_that_repeat_are_found_before_the_pass_ends():
    assert refused(lambda: [(1.0, 0, "a"), (2.0, 1, "b"), (3.0, 1, "a")]) == (
        "the id `a` occurs 2 times; 1 of 3 samples repeat the id of another; "
        "give each sample its own id, or leave `id` out"
    )


def test_regression_targets_may_mix_whole_and_broken_numbers():
    batch = everything(loaded(lambda: [(1.0, 0.5), (2.0, 1)], Task.REGRESSION))
    assert batch.labels.target.tolist() == [[0.5], [1.0]]


# Silent loss


@pytest.mark.parametrize("at", [1, 16, 63])
def test_stop_iteration_in_getitem(at):
    def get(index):
        if index == at:
            raise StopIteration
        return items()[index]

    assert refused(lambda: Mapped(N, get)) == (
        f"the loader `data.py:make` raises StopIteration at sample {at} of 64; {REMEDY}"
    )


def test_stop_iteration_at_the_first_sample():
    def get(index):
        raise StopIteration

    assert "raises StopIteration at sample 0 of 64" in refused(lambda: Mapped(N, get))


@pytest.mark.parametrize("declared", ["length", "count"])
def test_an_iterable_that_ends_early(declared):
    length, count = (N, None) if declared == "length" else (None, N)
    assert refused(lambda: Stream(items(20), length), count=count) == (
        f"the loader `data.py:make` gives 20 samples, 64 are expected; {REMEDY}"
    )


@pytest.mark.parametrize("surplus", [1, 64])
def test_an_iterable_that_goes_on(surplus):
    assert refused(lambda: Stream(items(N + surplus), N)) == (
        f"the loader `data.py:make` gives more samples than the 64 that are expected; {REMEDY}"
    )


def test_an_endless_iterable():
    from itertools import repeat

    assert "gives more samples than the 64" in refused(
        lambda: Stream(repeat((torch.zeros(1), 0))), count=N
    )


def test_nobody_says_how_many():
    assert refused(lambda: Stream(items())) == (
        "the loader `data.py:make` returns a dataset without a length; "
        "state `count:`, how many samples there must be"
    )


def test_the_count_must_be_the_length():
    assert refused(items, count=63) == (
        "the loader `data.py:make` has 64 samples, the spec states `count: 63`; "
        "correct the one that is wrong"
    )


def test_no_samples():
    assert refused(list) == (
        "the loader `data.py:make` has no samples; check what the dataset reads"
    )
    assert refused(lambda: Stream([]), count=3) == (
        f"the loader `data.py:make` gives no samples, 3 are expected; {REMEDY}"
    )


def test_an_iterable_that_is_used_up_cannot_be_read_again():
    heldout = loaded(lambda: iter(items()), count=N)
    assert len(everything(heldout)) == N
    with pytest.raises(HeldOutError, match="gives 0 samples, 64 are expected"):
        everything(heldout)


def test_a_dataset_that_is_random():
    def make():
        generator = torch.Generator().manual_seed(0)
        return Mapped(5, lambda _: (torch.rand(2, generator=generator), 0))

    heldout = loaded(make)
    everything(heldout)
    with pytest.raises(HeldOutError) as caught:
        everything(heldout)
    assert caught.value.message == ("the loader `data.py:make` gives other samples the second time")


def test_a_dataset_that_is_random_is_found_by_one_column_of_several():
    # What is compared with training files is the inputs alone; the evaluation reads more.
    heldout = loaded(lambda: Mapped(5, lambda _: (torch.rand(2), 0)))
    for _ in heldout.reader.chunks(("input",), 5):
        pass
    with pytest.raises(HeldOutError, match="gives other samples the second time"):
        everything(heldout)


class Refilled:
    """A dataset that gives the same object each time, with other values in it."""

    def __init__(self, buffer, fill):
        self.buffer = buffer
        self.fill = fill

    def __len__(self):
        return 10

    def __getitem__(self, index):
        self.fill(self.buffer, index)
        return self.buffer, index % 3


@pytest.mark.parametrize(
    ("buffer", "fill"),
    [
        (torch.zeros(1), torch.Tensor.fill_),
        (np.zeros(1), np.ndarray.fill),
        ([0.0], lambda buffer, index: buffer.__setitem__(0, float(index))),
    ],
)
@pytest.mark.parametrize("style", ["map", "iterable"])
def test_a_dataset_may_refill_what_it_gives(buffer, fill, style):
    data = Refilled(buffer, fill)
    make = (lambda: data) if style == "map" else lambda: Stream(data[i] for i in range(10))
    heldout = loaded(make, count=10)
    fill(buffer, 99)  # before the pass begins: the model's factory may read the dataset, too
    assert everything(heldout, 4).args[0].tolist() == [[float(i)] for i in range(10)]


# Items that cannot be used


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (
            lambda: [(torch.zeros(2), 0), (torch.zeros(3), 0)],
            ("gives `input` in the shape (2,) in row 0 and (3,) in row 1 (counting from 0); "
            "give every sample the same shape: resize, or pad"),
        ),
        (
            lambda: [(torch.zeros(2), 0), (torch.zeros(2).double(), 0)],
            ("gives `input` as a tensor of float32 in row 0 and as a tensor of float64 in row 1 "
            "(counting from 0); give every sample the same type"),
        ),
        (
            lambda: [(torch.zeros(2), None)],
            ("gives nothing (None or no such key) as `target` in row 0 (counting from 0); "
            "look at what the dataset gives for this sample"),
        ),
        (
            lambda: [torch.zeros(2)],
            ("gives a Tensor as sample 0; "
            "return `(input, target)`, `(input, target, id)` or a mapping of columns"),
        ),
        (
            lambda: [(1, 2, 3, 4)],
            ("gives a tuple of 4 as sample 0; "
            "return `(input, target)`, `(input, target, id)` or a mapping of columns"),
        ),
        (
            lambda: [(np.ma.array([1.0, 2.0], mask=[False, True]), 0)],
            ("gives a masked array as `input` in row 0 (counting from 0); "
            "fill in what is masked, or leave the sample out"),
        ),
        (
            lambda: [({"a": 1}, 0)],
            ("gives a dict as `input` in row 0 (counting from 0); "
            "give tensors, arrays, numbers or text; convert images with ToTensor"),
        ),
    ],
)  # fmt: skip
def test_items_that_cannot_be_used(make, message):
    assert refused(make) == f"the loader `data.py:make` {message}"


def test_nan_and_text_and_labels_are_checked_as_in_files():
    assert refused(lambda: [(float("nan"), 0)]).startswith("column `input` holds NaN in row 0 ")
    assert "is text, e.g. `hello`" in refused(lambda: [("hello", 0)])
    assert "the target `target` is -1 in row 1 " in refused(lambda: [(1.0, 0), (1.0, -1)])


def test_what_the_users_code_raises_is_named():
    def get(index):
        raise KeyError("label")

    message = refused(lambda: Mapped(N, get), UserCodeError)
    assert message.startswith("`data.py:make` raised KeyError: 'label' (test_loader_reader.py:")


class RaisingItems(dict):
    def items(self):
        raise ValueError("items")


class RaisingTensor(torch.Tensor):
    @classmethod
    def __torch_function__(cls, *_):
        raise ValueError("torch")


class RaisingAttributes:
    def __getattr__(self, name):
        raise ValueError(name)


class ExitingLength(Mapped):
    def __len__(self):
        raise SystemExit(0)


@pytest.mark.parametrize(
    ("make", "what"),
    [
        (lambda: [RaisingItems(input=1.0, target=0)], "` raised ValueError: items"),
        (lambda: [(torch.zeros(2).as_subclass(RaisingTensor), 0)], "` raised ValueError: torch"),
        (RaisingAttributes, "` raised ValueError: __getitem__"),
        (lambda: ExitingLength(2, None), "`: its length raised SystemExit: 0"),
    ],
)
def test_code_of_the_users_that_runs_where_a_sample_is_touched(make, what):
    message = refused(make, UserCodeError)
    assert message.startswith(f"`data.py:make{what} (test_loader_reader.py:")


@pytest.mark.parametrize(
    ("make", "what"),
    [
        (lambda: DataLoader(items()), "a DataLoader, whose items are batches"),
        (lambda: {"input": torch.zeros(3)}, "a dict"),
        (lambda: None, "None"),
        (lambda: torch.zeros(3), "a Tensor"),
    ],
)
def test_what_is_no_dataset(make, what):
    assert refused(make, UserCodeError) == (
        f"`data.py:make` returned {what}; "
        "return a map-style or iterable torch dataset whose items are single samples"
    )
