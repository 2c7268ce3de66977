"""Names, shapes and dtypes of a file against those of a model."""

import pytest
import torch

from model_eval.checkpoint.fit import Fit, _can_cast, casts, compare
from model_eval.checkpoint.slots import slots_of
from model_eval.checkpoint.state_dict import missing_names


def a_model():
    return torch.nn.Sequential(torch.nn.Linear(2, 3), torch.nn.BatchNorm1d(3))


def test_a_state_dict_fits_its_own_model():
    model = a_model()
    assert compare(model.state_dict(), slots_of(model)).exact


def test_each_kind_of_misfit_is_told_apart():
    model = a_model()
    state = model.state_dict()
    state["0.weight"] = torch.zeros(3, 3)
    state["0.bias"] = torch.zeros(3, dtype=torch.int8)
    state["2.bias"] = state.pop("1.bias")
    assert compare(state, slots_of(model)) == Fit(
        missing=("1.bias",), unexpected=("2.bias",), wrong_shape=("0.weight",),
        wrong_dtype=("0.bias",),
    )  # fmt: skip


def test_one_of_several_tied_names_is_enough():
    model = torch.nn.ModuleList([torch.nn.Linear(2, 2), torch.nn.Linear(2, 2)])
    model[1].weight = model[0].weight
    slots = slots_of(model)
    assert missing_names(["0.bias", "1.bias", "1.weight"], slots) == []
    assert missing_names(["0.bias", "1.bias"], slots) == ["0.weight", "1.weight"]


FLOATS = [torch.float16, torch.bfloat16, torch.float32, torch.float64]


@pytest.mark.parametrize("wanted", FLOATS)
@pytest.mark.parametrize("found", FLOATS)
def test_floats_become_one_another(found, wanted):
    assert _can_cast(found, wanted)


@pytest.mark.parametrize(
    ("found", "wanted", "can"),
    [
        (torch.int8, torch.float32, False),
        (torch.uint8, torch.float16, False),
        (torch.bool, torch.float32, False),
        (torch.float32, torch.int64, False),
        (torch.complex64, torch.float32, False),
        (torch.float32, torch.complex64, False),
        (torch.complex64, torch.complex128, True),
        (torch.float8_e4m3fn, torch.float32, False),
        (torch.float8_e4m3fn, torch.float8_e4m3fn, True),
        (torch.int32, torch.int64, True),
        (torch.int64, torch.int32, False),
        (torch.uint8, torch.int8, False),
        (torch.uint8, torch.int16, True),
        (torch.bool, torch.uint8, False),
        (torch.uint8, torch.bool, False),
    ],
)
def test_other_dtypes_only_where_no_value_is_lost(found, wanted, can):
    assert _can_cast(found, wanted) is can


def test_casts_are_counted():
    model = a_model()
    state = {n: t.half() if t.is_floating_point() else t for n, t in model.state_dict().items()}
    assert casts(state, slots_of(model)) == {"float16→float32": 6}
