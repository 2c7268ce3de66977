"""A language model that looks ahead is found, and one that does not is left alone."""

import numpy as np
import pytest
import torch

from model_eval.engine.causal import require_causal
from model_eval.errors import EvaluationError, OutOfMemoryError
from model_eval.heldout import Batch, Labels

N, T, V = 6, 12, 17
IGNORED = -100


def batch(lengths=None, *, left=False, length=T, mask=False):
    """Documents of random tokens, padded with 0, whose targets are their next tokens."""
    rng = np.random.default_rng(0)
    tokens = rng.integers(1, V, (N, length))
    for row, real in enumerate(lengths or []):
        pad = slice(0, length - real) if left else slice(real, length)
        tokens[row, pad] = 0
    target = np.concatenate([tokens[:, 1:], np.zeros((N, 1), int)], axis=1)
    target[target == 0] = IGNORED
    args = (torch.from_numpy(tokens),)
    return Batch(
        args=args,
        kwargs={"mask": args[0] != 0} if mask else {},
        labels=Labels(ids=np.arange(N), target=target, cluster=None, slices={}),
    )


def embedded(tokens):
    return torch.nn.functional.one_hot(tokens, V).double()


def bigram(args, _):
    return embedded(args[0]).roll(1, dims=2)


def prefix_mean(args, _):
    x = embedded(args[0])
    return x.cumsum(dim=1) / torch.arange(1, x.shape[1] + 1)[None, :, None]


def recurrent(args, kwargs):
    torch.manual_seed(0)
    return torch.nn.GRU(V, V, batch_first=True)(embedded(args[0]).float())[0].detach()


def ahead_by(steps):
    def predict(args, _):
        x = embedded(args[0])
        return torch.cat([x[:, steps:], x[:, :steps] * 0], dim=1)

    return predict


def whole_mean(args, _):
    x = embedded(args[0])
    return x + x.mean(dim=1, keepdim=True)


def inside_blocks(size):
    def predict(args, _):
        x = embedded(args[0])
        block = torch.arange(x.shape[1]) // size
        see = (block[:, None] >= block[None, :]).double()
        return see @ x

    return predict


def masked_mean(args, kwargs):
    x = embedded(args[0]) * kwargs["mask"][:, :, None]
    return x.sum(dim=1, keepdim=True) / kwargs["mask"].sum(dim=1)[:, None, None] + 0 * x


SHORT = [3, 4, 2, 5, 3, 12]


@pytest.mark.parametrize("predict", [bigram, prefix_mean, recurrent])
@pytest.mark.parametrize("given", [batch(), batch(SHORT), batch(SHORT, left=True), batch(length=2)])
def test_a_causal_model_is_left_alone(predict, given):
    seen = []

    def counted(args, kwargs):
        seen.append(args[0])
        return predict(args, kwargs)

    require_causal(counted, given, ignore_index=IGNORED)
    # It did look: once as the tokens are, once with later ones changed.
    assert len(seen) == 2
    assert not torch.equal(*seen)


@pytest.mark.parametrize(
    "predict", [ahead_by(1), ahead_by(2), whole_mean, inside_blocks(2), inside_blocks(4)]
)
@pytest.mark.parametrize("given", [batch(), batch(SHORT), batch(length=5)])
def test_a_model_that_looks_ahead_is_found(predict, given):
    with pytest.raises(EvaluationError) as caught:
        require_causal(predict, given, ignore_index=IGNORED)
    assert caught.value.message.startswith("the model looks ahead: its output at position ")
    assert "`shift: true`" in caught.value.message


def test_the_message_says_where():
    with pytest.raises(EvaluationError) as caught:
        require_causal(whole_mean, batch(), ignore_index=IGNORED)
    assert str(caught.value) == (
        "the model looks ahead: its output at position 6 of 6 documents of 6 hangs on later "
        "tokens, which are its targets with `shift: true`; make it causal (mask attention to later "
        "positions); where looking ahead is meant, write the targets into a column of their own "
        "and leave `shift` out"
    )


def test_masks_are_changed_with_what_they_mask():
    seen = []

    def predict(args, kwargs):
        seen.append((args[0], kwargs["mask"]))
        return masked_mean(args, kwargs)

    with pytest.raises(EvaluationError):
        require_causal(predict, batch(SHORT, mask=True), ignore_index=IGNORED)
    (_, mask), (tokens, other) = seen
    assert torch.equal(tokens != 0, other)
    assert not torch.equal(mask, other)


def test_outputs_that_become_nan_are_not_the_same():
    def predict(args, _):
        x = embedded(args[0])
        return x.where(args[0][:, -1:, None] == batch().args[0][:, -1:, None], torch.nan)

    with pytest.raises(EvaluationError):
        require_causal(predict, batch(), ignore_index=IGNORED)


def test_memory_that_ends_where_outputs_are_compared(monkeypatch):
    def no_memory(_tensor):
        raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB.")

    monkeypatch.setattr(torch.Tensor, "double", no_memory)
    with pytest.raises(OutOfMemoryError, match=r"^the outputs of 6 samples do not fit in memory"):
        require_causal(
            lambda args, _: torch.nn.functional.one_hot(args[0], V), batch(), ignore_index=IGNORED
        )


def test_what_is_of_the_wrong_shape_is_the_scorings_to_explain():
    seen = []

    def predict(args, _):
        seen.append(args[0].double())
        return seen[-1]

    require_causal(predict, batch(), ignore_index=IGNORED)
    assert seen[0].ndim == 2  # and not (documents, tokens, vocabulary)


def test_no_counted_token_is_the_scorings_to_explain():
    seen = []
    require_causal(lambda *given: seen.append(given), batch([0] * N), ignore_index=IGNORED)
    assert seen == []


def test_the_default_device_of_the_repositorys_code_changes_nothing():
    with torch.device("meta"):
        require_causal(bigram, batch(), ignore_index=IGNORED)
        with pytest.raises(EvaluationError, match="the model looks ahead"):
            require_causal(ahead_by(1), batch(), ignore_index=IGNORED)
