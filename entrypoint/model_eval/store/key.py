"""The key of a measurement: a digest over all that it depends on and that is known before it.

What is known only afterwards (which other files the model's code read) is in the entry instead, and is
held against the files before the entry is used: see `opened`.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass, replace
from hashlib import sha256
from pathlib import PurePosixPath
from typing import Any

from model_eval.checks import control_refs, noise_refs
from model_eval.spec.catalog import TIMED
from model_eval.spec.custom_metrics import TORCHMETRICS
from model_eval.spec.eval_spec import BaselineSpec, EvalSpec
from model_eval.store.describe import described
from model_eval.store.named import Digests, SetDigests, checkpoint_digest, set_digests
from model_eval.store.place import FORMAT_VERSION
from model_eval.store.unproved import UnprovedError
from model_eval.types import GOLDEN_HELDOUT


@dataclass(frozen=True, kw_only=True, slots=True)
class Key:
    """What a measurement depends on.

    Attributes:
        name: 64 hex digits.
        document: the same in full, of which the name is the digest.
        checkpoint: digest of the checkpoint's files, as a ledger has it.
        sets: digests of the held-out sets, the golden cases among them.
    """

    name: str
    document: bytes
    checkpoint: str
    sets: Mapping[str, SetDigests]


@dataclass(frozen=True, kw_only=True, slots=True)
class Around:
    """What is around the spec.

    Attributes:
        code: digest of the code below the roots.
        versions: of what is installed.
        device: the class of the device.
        variables: those of the environment that torch's libraries read.
        current: index of the root that the current folder is below, and the folder from there; or
            None and its absolute path. The model's code may open what it names from there.
        searched: the places where Python looks for modules, in their order: by the index of the
            environment, of the Python it is made from, or of a root, where they are below one.
    """

    code: str
    versions: Mapping[str, Any]
    device: Mapping[str, Any]
    variables: Mapping[str, str]
    current: tuple[int | None, str]
    searched: tuple[tuple[int | None, str], ...]


def key_of(spec: EvalSpec, around: Around, digests: Digests) -> Key:
    """The key of the spec's own measurement.

    Raises:
        UnprovedError: something of it cannot be in a key.
    """
    timed = sorted({ref.name for ref in spec.metrics} & TIMED)
    if timed:
        raise UnprovedError(f"`{timed[0]}` is of one time and machine, and is measured again")
    checks = {
        "noise": described(noise_refs(spec)),
        "control": described(control_refs(spec)) if spec.control else None,
    }
    return _key("checkpoint", spec, around, checks, digests)


def baseline_key(spec: EvalSpec, wanted: BaselineSpec, around: Around, digests: Digests) -> Key:
    """The key of the ledgers of the baseline's checkpoint; no check of the model belongs to it.

    The model itself does, whose code ran before in the same process and may have left something there.

    Raises:
        UnprovedError: something of it cannot be in a key.
    """
    before = {"model": described(spec.model)}
    return _key("baseline", of_baseline(spec, wanted), around, before, digests)


def of_baseline(spec: EvalSpec, wanted: BaselineSpec) -> EvalSpec:
    """The spec as if the baseline's checkpoint were its own: the key is of what this names.

    Raises:
        UnprovedError: the baseline is no checkpoint.
    """
    if wanted.checkpoint is None:
        raise UnprovedError("the baseline is no checkpoint")
    factory = wanted.factory or spec.model.factory
    return replace(
        spec,
        checkpoint=wanted.checkpoint,
        model=replace(spec.model, factory=factory),
        golden=None,
        control=False,
    )


def _key(
    kind: str, spec: EvalSpec, around: Around, beside: Mapping[str, Any], digests: Digests
) -> Key:
    if spec.run.stop_early:
        raise UnprovedError("where a run that may end early ends depends on its gates")
    own = [one.name for one in spec.custom if not one.name.startswith(TORCHMETRICS)]
    if own:  # nothing that the model's code sets would be there for them
        raise UnprovedError(
            f"`{own[0]}` is code of the repository's, and is called where its model ran"
        )
    checkpoint = checkpoint_digest(spec.checkpoint, digests)
    sets = {name: set_digests(one, digests) for name, one in spec.heldouts.items()}
    if spec.golden is not None:
        sets[GOLDEN_HELDOUT] = set_digests(spec.golden.heldout, digests)
    document = json.dumps(
        {
            "format": FORMAT_VERSION,
            "kind": kind,
            # What the spec's paths begin at: with the names of its files it says where they are.
            "folder": PurePosixPath(spec.source.display).parent.as_posix(),
            "spec": described(spec),
            "checkpoint": checkpoint,
            "sets": described(sets),
            "beside": beside,
            "code": around.code,
            "current_folder": list(around.current),
            "searched_for_modules": list(around.searched),
            "versions": around.versions,
            "device": around.device,
            "variables": around.variables,
        },
        indent=1,
        sort_keys=True,
    ).encode()
    return Key(
        name=sha256(document).hexdigest(), document=document, checkpoint=checkpoint, sets=sets
    )
