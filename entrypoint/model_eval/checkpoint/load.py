"""The whole way from a checkpoint's path to a model that is proved to hold its weights."""

from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import nn

from model_eval.checkpoint import build as building
from model_eval.checkpoint.file import CheckpointFile, open_checkpoint, reading
from model_eval.checkpoint.fit import Fit, casts, check_values, compare, fit_error
from model_eval.checkpoint.hashing import hashing
from model_eval.checkpoint.inspect import Format, identify
from model_eval.checkpoint.outside import outside
from model_eval.checkpoint.own_code import Watch
from model_eval.checkpoint.read_safetensors import read_safetensors, read_sharded
from model_eval.checkpoint.read_torch import read_torch
from model_eval.checkpoint.slots import Slot, parameters_of, slots_of, tensors_of
from model_eval.checkpoint.state_dict import Metadata, StateDict, find_state_dict
from model_eval.errors import CheckpointError, FitError, Interrupted
from model_eval.spec.eval_spec import CheckpointSpec
from model_eval.types import CheckpointInfo, FileInfo, sha256_of_digests
from model_eval.usercode import describe
from model_eval.wording import dtype_name, quote


def load_model(
    spec: CheckpointSpec, *, build: Callable[[], Any], device: torch.device
) -> tuple[nn.Module, CheckpointInfo]:
    """Builds the model and loads the checkpoint into it.

    A pinned digest is checked before anything is unpickled. Of a sharded checkpoint the pin is
    that of the index; the digest of every shard is in the result.

    Args:
        spec: which file, its digest, and where in it the state dict is.
        build: makes the model; called with the meta device as default first, and once more
            without where that does not do.
        device: where the model is to be.

    Returns:
        The model on `device`, in eval mode and without gradients, every parameter and persistent
        buffer of which was compared with the file; and what was loaded.

    Raises:
        CheckpointError: the file cannot be used.
        FitError: it is not a checkpoint of this model.
        UserCodeError: the factory failed or returned something else than a module.
    """
    with open_checkpoint(spec.path) as opened:
        loaded = _assigned(opened, spec, build, device) or _copied(opened, spec, build, device)
        opened.check_unchanged()  # once more: the factory is code of the pull request
    model = loaded.model
    if (found := outside(model)) is not None:
        raise FitError(
            f"{quote(opened.ref.display)} does not hold all of the model's weights: {found} "
            "is no part of its state dict",
            remedy="keep modules in an `nn.ModuleList` or `nn.ModuleDict` and tensors in an "
            "`nn.ParameterList` or `register_buffer`",
            location=opened.ref.location,
        )
    return model, _info(loaded, model, pinned=spec.sha256 is not None)


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class _Loaded:
    """A model with its weights, ready to be evaluated, and what they were read from."""

    model: nn.Module
    slots: Mapping[str, Slot]
    state: StateDict
    kind: Format
    files: tuple[FileInfo, ...]
    on_meta: bool


def _assigned(
    opened: CheckpointFile, spec: CheckpointSpec, build: Callable[[], Any], device: torch.device
) -> _Loaded | None:
    """The file's tensors as the model's own; None where that cannot be proved to be complete."""
    with building.MetaBuild(build) as meta:
        if meta.model is None:
            return None
        content, kind, files = _read(opened, spec, device, mapped=False)
        slots = slots_of(meta.model)
        state = find_state_dict(opened, content, state_key=spec.state_key, slots=slots)
        del content  # an optimizer's state may be twice the weights
        fit = compare(state.tensors, slots)
        if fit.only_names:
            return None  # the model may know the older names
        _require_fit(opened, fit, state, slots)
        weights = building.completed(state.tensors, slots, device)
        if not meta.fill(weights, state.metadata, slots, device):
            return None
        return _Loaded(
            model=meta.model, slots=slots, state=state, kind=kind, files=files, on_meta=True
        )


def _copied(
    opened: CheckpointFile, spec: CheckpointSpec, build: Callable[[], Any], device: torch.device
) -> _Loaded:
    """The model as its own code builds it, its weights copied from the file where it lies.

    The file is mapped: what is in memory twice is the system's copy of the file, which it gives up
    when memory is short. At the end nothing of the model is the file's memory.
    """
    content, kind, files = _read(opened, spec, device, mapped=True)
    model = building.build_real(build, device)
    opened.check_unchanged()  # of a file that has become shorter, reading the map would be fatal
    slots = slots_of(model)
    state = find_state_dict(opened, content, state_key=spec.state_key, slots=slots)
    del content
    fit = compare(state.tensors, slots)
    if fit.only_names and _took_older_names(model, state):
        check_values(opened, state.tensors, slots)
    else:
        _require_fit(opened, fit, state, slots)
        _copy(opened, model, building.completed(state.tensors, slots, device), state.metadata)
    building.own_memory(model, state.tensors.values())
    _make_ready(opened, model)
    return _Loaded(
        model=model, slots=slots, state=_described(state), kind=kind, files=files, on_meta=False
    )


def _read(
    opened: CheckpointFile, spec: CheckpointSpec, device: torch.device, *, mapped: bool
) -> tuple[object, Format, tuple[FileInfo, ...]]:
    opened.check_unchanged()  # the factory may have run
    with reading(opened):
        kind = identify(opened)
        try:
            content, files = _content(opened, kind, spec, device, mapped=mapped)
        except CheckpointError:
            # That it is another file says more than what is wrong with it.
            if spec.sha256 is not None and kind is not Format.SAFETENSORS_SHARDED:
                with hashing(opened) as digest:
                    _require_pin(opened, spec, lambda: (digest(),))
            raise
    return content, kind, files


def _content(
    opened: CheckpointFile,
    kind: Format,
    spec: CheckpointSpec,
    device: torch.device,
    *,
    mapped: bool,
) -> tuple[object, tuple[FileInfo, ...]]:
    if kind is Format.SAFETENSORS:
        tensors, info = read_safetensors(opened, device=device, mapped=mapped)
        _require_pin(opened, spec, lambda: (info,))
        return tensors, (info,)
    with hashing(opened) as digest:
        if kind is Format.SAFETENSORS_SHARDED:
            tensors, shards = read_sharded(opened, device=device, mapped=mapped)
            files = (digest(), *shards)
            _require_pin(opened, spec, lambda: files)
            return tensors, files
        content = read_torch(
            opened,
            kind,
            device=device,
            mapped=mapped,
            before_unpickling=lambda: _require_pin(opened, spec, lambda: (digest(),)),
        )
        return content, (digest(),)


def _require_pin(
    opened: CheckpointFile, spec: CheckpointSpec, files: Callable[[], tuple[FileInfo, ...]]
) -> None:
    """Waits for the digests where there is a pin; else they are needed only at the end."""
    if spec.sha256 is None:
        return
    known = files()
    found = sha256_of_digests([file.sha256 for file in known])
    if found != spec.sha256:
        of = "its sha256" if len(known) == 1 else "the sha256 of its index and shards together"
        raise opened.error(
            f"is not the pinned file: {of} is {found}, checkpoint.sha256 is {spec.sha256}",
            "correct the pin if the checkpoint was meant to change; else restore the file",
        )


def _require_fit(
    opened: CheckpointFile, fit: Fit, state: StateDict, slots: Mapping[str, Slot]
) -> None:
    if not fit.exact:
        raise fit_error(opened, fit, state.tensors, slots)
    check_values(opened, state.tensors, slots)


def _copy(
    opened: CheckpointFile,
    model: nn.Module,
    weights: Mapping[str, torch.Tensor],
    metadata: Metadata | None,
) -> None:
    """Loads in the ordinary way, and proves that every tensor arrived."""
    watch = Watch(model, weights)
    try:
        building.copy_weights(model, weights, metadata)
    except Interrupted:
        raise
    except BaseException as error:
        raise FitError(
            f"{quote(opened.ref.display)} fits, but the model's own `load_state_dict` "
            f"raised {describe(error)}",
            remedy="run `model.load_state_dict(state_dict, strict=True)` to see it fail",
            location=opened.ref.location,
        ) from error
    if (name := building.differing(model, weights) or watch.changed(weights)) is not None:
        raise FitError(
            f"{quote(opened.ref.display)} was loaded, but {quote(name)} in the model is not "
            "what the file holds",
            remedy="a tied weight has two values in the file, or the model's own "
            "`load_state_dict` drops or changes it",
            location=opened.ref.location,
        )


def _took_older_names(model: nn.Module, state: StateDict) -> bool:
    """Loads where the model's own code knows the file's names; False where it does not."""
    watch = Watch(model, state.tensors)
    try:
        building.copy_weights(model, state.tensors, state.metadata)
    except Interrupted:
        raise
    # It does not; the table of names says all there is to say.
    except BaseException:  # noqa: BLE001
        return False
    return watch.changed(state.tensors) is None and building.renamed(model, state.tensors)


def _make_ready(opened: CheckpointFile, model: nn.Module) -> None:
    """Makes it `ready`, and proves that its own `eval` left what was loaded."""
    watch = Watch(model, tensors_of(model))
    building.ready(model)
    if (name := watch.changed(tensors_of(model))) is not None:
        raise FitError(
            f"{quote(opened.ref.display)} was loaded, but the model's own `eval` or `train` "
            f"changes {quote(name)}: it is not what the file holds any more",
            remedy="leave weights as they are there; for layers that merge weights, switch that "
            "off (loralib: `merge_weights=False`)",
            location=opened.ref.location,
        )


def _described(state: StateDict) -> StateDict:
    """The same names, shapes and dtypes without the values, which are mapped."""
    described = {name: tensor.detach().to("meta") for name, tensor in state.tensors.items()}
    return replace(state, tensors=described)


def _info(loaded: _Loaded, model: nn.Module, *, pinned: bool) -> CheckpointInfo:
    state, slots = loaded.state, loaded.slots
    filled = _filled_from(state, slots)
    parameters = parameters_of(model)
    parameters_from_file = _numbers(t for name, t in parameters.items() if name in filled)
    from_file = _numbers(t for name, t in tensors_of(model).items() if name in filled)
    dtypes = Counter(dtype_name(t.dtype) for t in state.tensors.values())
    return CheckpointInfo(
        files=loaded.files,
        format=str(loaded.kind),
        state_key=state.key,
        stripped_prefix=state.prefix,
        tensors=len(state.tensors),
        parameters=_numbers(parameters.values()),
        parameters_from_file=parameters_from_file,
        buffers_from_file=from_file - parameters_from_file,
        dtypes=dict(sorted(dtypes.items())),
        casts=casts(state.tensors, slots),
        built_on_meta=loaded.on_meta,
        pinned=pinned,
    )


def _numbers(tensors: Iterable[torch.Tensor]) -> int:
    """How many numbers they hold; tied tensors count once."""
    return sum(tensor.numel() for tensor in {id(tensor): tensor for tensor in tensors}.values())


def _filled_from(state: StateDict, slots: Mapping[str, Slot]) -> set[str]:
    """The names in the model whose values are the file's, directly or by a tie."""
    if any(name not in slots for name in state.tensors):
        return set(slots)  # by older names: every one was found among the file's by its values
    given = {slots[name].tied_to for name in state.tensors}
    return {name for name, slot in slots.items() if slot.tied_to in given}
