"""After the pass the model must be what was loaded, and every way of not being it is named."""

from contextlib import nullcontext

import pytest
import torch
from torch import nn

from builders.checkpoints import Net, a_state, loaded, saved
from builders.projects import MODEL, make_project
from model_eval.checkpoint import unchanged
from model_eval.checkpoint.proof import _factors, fingerprint, prints_of
from model_eval.errors import EvaluationError
from model_eval.run import evaluate
from model_eval.types import Verdict

X = torch.ones(4, 2)


@pytest.fixture
def model(tmp_path):
    return loaded(saved(tmp_path / "model.pt", a_state()))[0]


def refusal(model, change):
    with pytest.raises(EvaluationError) as caught, unchanged(model), torch.inference_mode():
        change(model)
    return str(caught.value)


def test_an_ordinary_pass_changes_nothing(model):
    with unchanged(model), torch.inference_mode():
        outputs = model(X)
    assert torch.equal(outputs, model(X))  # and the check itself changed nothing


def data(model):
    model.layer.weight.data.mul_(0.5)


def in_place(model):
    model.layer.weight[0, 0] += 1


def negated(model):
    model.layer.weight.data.neg_()


def swapped(model):
    model.layer.weight.data[:] = model.layer.weight.flip(0)


def through_numpy(model):
    model.layer.weight.detach().numpy()[1, 1] = 7


def replaced(model):
    model.layer.weight = nn.Parameter(torch.ones(3, 2))


def converted(model):
    model.layer.half()


@pytest.mark.parametrize(
    "change", [data, in_place, negated, swapped, through_numpy, replaced, converted]
)
def test_a_weight_that_changes(model, change):
    assert refusal(model, change) == (
        "`layer.weight` changed during the evaluation: it is the checkpoint's no more; leave it "
        "as it is in eval mode; for a cache or a counter, `register_buffer(..., persistent=False)`"
    )


@pytest.mark.parametrize("kind", [nn.Embedding, nn.EmbeddingBag])
def test_an_embedding_that_shortens_its_rows(kind):
    class Tied(nn.Module):
        def __init__(self):
            super().__init__()
            self.out = nn.Linear(3, 4, bias=False)
            self.table = kind(4, 3, max_norm=1.0)
            self.table.weight = self.out.weight

        def forward(self, x):
            return self.out(self.table(x))

    model = Tied().eval()
    model.out.weight.data.fill_(2.0)
    x = torch.arange(4)[:, None]
    assert refusal(model, lambda model: model(x)) == (
        "`out.weight` changed during the evaluation: it is the checkpoint's no more; an embedding "
        "shortens rows that are longer than its `max_norm` whenever it runs: renormalise them to a "
        "little less before saving"
    )
    model.out.weight.data.fill_(2.0).renorm_(2, 0, 0.999)
    with unchanged(model), torch.inference_mode():
        model(x)


def test_a_square_weight_that_is_transposed_without_a_copy():
    def transpose(model):
        model[0].weight.data = model[0].weight.data.t()

    model = nn.Sequential(nn.Linear(3, 3)).eval()
    assert refusal(model, transpose).startswith("`0.weight` changed during the evaluation")


def test_a_running_statistic_that_changes(model):
    def own_mode(model):
        nn.functional.batch_norm(
            torch.ones(4, 3), model.norm.running_mean, model.norm.running_var, training=True
        )

    assert refusal(model, own_mode).startswith("`norm.running_mean` changed during the evaluation")


def test_a_cache_may_change(tmp_path):
    class Caching(Net):
        def __init__(self):
            super().__init__()
            self.register_buffer("seen", torch.zeros(()), persistent=False)

        def forward(self, x):
            self.seen += len(x)
            self.last = super().forward(x)
            return self.last

    model, _ = loaded(saved(tmp_path / "model.pt", a_state()), Caching)
    with unchanged(model), torch.inference_mode():
        model(X)
    assert model.seen == 4


def test_training_mode(model):
    assert refusal(model, lambda model: model.train()) == (
        "the model went into training mode during the evaluation; "
        "take the call of `train` out of its `forward`"
    )
    model.eval()
    assert refusal(model, lambda model: model.norm.train()).startswith(
        "`norm` went into training mode during the evaluation; "
    )


def test_a_layer_that_is_made_in_forward(model):
    def registered(model):
        model.late = nn.Linear(2, 1).eval()

    def hidden(model):
        model.hidden = [nn.Linear(2, 1)]

    assert refusal(model, registered) == (
        "`late.weight` was made during the evaluation: its values are not the checkpoint's; "
        "make it in `__init__`, so that it is saved and loaded"
    )
    assert refusal(model, hidden) == (
        "weights that are not the checkpoint's were made during the evaluation: a Linear in "
        "`hidden`; make them in `__init__`, so that they are saved and loaded"
    )


def test_a_layer_that_is_made_in_forward_is_in_training_mode(model):
    def registered(model):
        model.late = nn.Linear(2, 1)

    assert refusal(model, registered) == (
        "`late.weight` was made during the evaluation: its values are not the checkpoint's; "
        "make it in `__init__`, so that it is saved and loaded"
    )


def test_a_layer_that_is_removed(model):
    def remove(model):
        del model.norm

    assert refusal(model, remove) == (
        "`norm.weight` was removed during the evaluation; "
        "leave the model's weights as they are in `forward`"
    )


def test_an_error_of_the_pass_is_not_hidden(model):
    def fail(model):
        model.train()
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError), unchanged(model):
        fail(model)


def test_a_change_explains_what_the_engine_found(model):
    def differs(model):
        model.train()
        raise EvaluationError("the model gives different outputs for the same inputs")

    assert refusal(model, differs).startswith("the model went into training mode")

    def raises(model):
        model.train()
        raise EvaluationError("the model raised ValueError") from ValueError()

    assert refusal(model, raises).startswith("the model raised ValueError")

    def fails(model):
        raise EvaluationError("nothing to do with it")

    model.eval()
    assert refusal(model, fails).startswith("nothing to do with it")


# --- a whole run ----------------------------------------------------------------------------

FORWARD = "return self.layer(x)"


@pytest.mark.parametrize(
    ("forward", "code", "message"),
    [
        (
            "self.layer.weight.data.mul_(2); return self.layer(x)",
            4,
            "`layer.weight` changed during the evaluation: it is the checkpoint's no more",
        ),
        ("self.train(); return self.layer(x)", 4, "the model went into training mode"),
        (
            "self.late = getattr(self, 'late', torch.nn.Linear(2, 1)); return self.layer(x)",
            4,
            "`late.weight` was made during the evaluation",
        ),
        (
            "return self.layer(x)\n    hidden = [torch.nn.Linear(2, 1)]",
            3,
            "`model.safetensors` does not hold all of the model's weights: a Linear in `hidden`",
        ),
    ],
)
def test_a_run_with_other_weights_is_no_pass(tmp_path, forward, code, message):
    project = make_project(tmp_path, model=MODEL.replace(FORWARD, forward))
    ended = evaluate(
        project.spec, roots=[tmp_path], progress=lambda _: nullcontext(lambda _: None), clock=float
    )
    assert ended.ledgers == {}
    assert (ended.report.verdict, ended.report.exit_code) == (Verdict.ERROR, code)
    assert ended.report.faults[0].message.startswith(message)
    assert ended.report.faults[0].location.file == "model-eval.yaml"


# --- fingerprints ---------------------------------------------------------------------------

DTYPES = [
    torch.float32, torch.float16, torch.bfloat16, torch.float64, torch.float8_e4m3fn,
    torch.complex64, torch.complex128, torch.int64, torch.int32, torch.int8, torch.uint8,
    torch.bool,
]  # fmt: skip


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("shape", [(), (1,), (2, 3), (2, 3, 4, 5)])
def test_each_value_counts(dtype, shape):
    tensor = torch.zeros(shape, dtype=dtype)
    found = {fingerprint(tensor)}
    for place in range(tensor.numel()):
        changed = tensor.clone()
        changed.view(-1)[place] = 1
        found.add(fingerprint(changed))
    assert len(found) == tensor.numel() + 1


def test_the_order_counts_also_between_chunks(monkeypatch):
    monkeypatch.setattr("model_eval.checkpoint.proof._CHUNK", 4)
    first = torch.arange(12)
    assert fingerprint(first) != fingerprint(first.flip(0))
    assert fingerprint(first) != fingerprint(torch.cat([first[4:8], first[:4], first[8:]]))


def test_the_sign_of_every_value_counts():
    values = torch.randn(8)
    assert fingerprint(values) != fingerprint(-values)
    assert fingerprint(values.double()) != fingerprint(-values.double())


def test_strides_do_not_need_a_copy_and_are_read_right():
    dense = torch.randn(2, 3, 4, 5).to(memory_format=torch.channels_last)
    changed = dense.clone()
    changed[1, 2, 3, 4] += 1
    assert fingerprint(dense) == fingerprint(dense.clone())
    assert fingerprint(dense) != fingerprint(changed)
    expanded = torch.randn(3, 1).expand(3, 4)
    assert fingerprint(expanded) == fingerprint(expanded.clone(memory_format=torch.preserve_format))


def test_the_stride_of_an_axis_of_one_means_nothing():
    row = torch.randn(1, 3)
    assert prints_of({"row": row}) == prints_of({"row": row.as_strided((1, 3), (7, 1))})


def test_values_that_are_negated_where_they_are_read():
    values = torch.randn(3, dtype=torch.complex64)
    assert fingerprint(values.conj().imag) == fingerprint(-values.imag)


def test_nothing_has_a_fingerprint():
    assert fingerprint(torch.zeros(0, 3)) == 0


def test_the_default_device_does_not_matter():
    cpu = torch.device("cpu")
    with torch.device("meta"):
        made = _factors.__wrapped__(cpu)
    assert torch.equal(made, _factors(cpu))
