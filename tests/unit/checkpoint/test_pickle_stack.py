"""How deep a pickle nests, told without unpickling it, against the values themselves."""

import pickle
import pickletools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from model_eval.checkpoint.pickle_stack import PickleStack


def deepest(content: bytes) -> int:
    stack = PickleStack()
    return max(stack.apply(opcode, argument) for opcode, argument, _ in pickletools.genops(content))


def depth_of(value) -> int:
    if isinstance(value, dict):
        value = [*value, *value.values()]
    if isinstance(value, list | tuple):
        return 1 + max(map(depth_of, value)) if value else 0
    return 0


NESTED = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=3),
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.tuples(inner, inner)
        | st.dictionaries(st.text(max_size=3), inner, max_size=4)
    ),
    max_leaves=20,
)


@given(value=NESTED, protocol=st.sampled_from([0, 1, 2, 4, 5]))
def test_depth_is_that_of_the_value(value, protocol):
    content = pickle.dumps(value, protocol=protocol)
    # One text pickled twice comes from the memo, and a long integer is no container.
    assert deepest(content) == depth_of(value)


@pytest.mark.parametrize("length", [10, 999, 1001, 5000])
def test_a_long_container_is_not_a_deep_one(length):
    assert deepest(pickle.dumps(list(range(length)), protocol=2)) == 1
    assert deepest(pickle.dumps(dict.fromkeys(range(length)), protocol=2)) == 1


def test_depth_goes_through_the_memo():
    assert deepest(b"\x80\x02)\x85q\x000h\x00\x85q\x000h\x00\x85.") == 3


@pytest.mark.parametrize("protocol", [4, 5])
def test_the_name_of_a_global_comes_from_the_stack_also_through_the_memo(protocol):
    # The second global takes its module from the memo.
    content = pickle.dumps([pickle.Pickler, pickle.Unpickler], protocol=protocol)
    stack = PickleStack()
    names = []
    for opcode, argument, _ in pickletools.genops(content):
        if opcode.name == "STACK_GLOBAL":
            names.append(stack.top_texts())
        stack.apply(opcode, argument)
    assert names == [("_pickle", "Pickler"), ("_pickle", "Unpickler")]
