"""Reads a file of torch.save: as data, on the device, and never in another way."""

import warnings
from collections.abc import Callable
from typing import BinaryIO

import torch

from model_eval.checkpoint.file import CheckpointFile
from model_eval.checkpoint.inspect import SAVE, Format
from model_eval.checkpoint.pickle_scan import scan_legacy, scan_pickle
from model_eval.checkpoint.zip_archive import check_archive
from model_eval.errors import CheckpointError


def read_torch(
    opened: CheckpointFile,
    kind: Format,
    *,
    device: torch.device,
    mapped: bool,
    before_unpickling: Callable[[], None],
) -> object:
    """Reads what torch.save wrote.

    Args:
        opened: the file.
        kind: one of torch's two.
        device: where the tensors are to be, where they are not mapped.
        mapped: leaves the tensors in the file, on the CPU, where its format can; only to be
            copied from while nobody writes the file (`check_unchanged` tells afterwards).
        before_unpickling: may raise; called when everything was looked at.

    Returns:
        What was saved: tensors, and plain numbers, texts and containers.

    Raises:
        CheckpointError: it is damaged, holds code or anything else but data, or does not fit
            in memory. torch's own words are kept back: they advise to switch off the protection.
    """
    # By the number of the open file, so that it is the file that was looked at.
    path = f"/dev/fd/{opened.file.fileno()}"
    if kind is Format.TORCH_ZIP:
        scan_pickle(opened, check_archive(opened, path))
    else:
        scan_legacy(opened)
    before_unpickling()
    file: BinaryIO | str = opened.file
    if mapped:
        device = torch.device("cpu")
        if kind is Format.TORCH_ZIP:
            file = path
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            content: object = torch.load(
                file, map_location=device, weights_only=True, mmap=isinstance(file, str)
            )
    # Mutated files have made torch raise eleven classes; none of them may end as a traceback.
    except Exception as error:
        raise _explain(opened, error, device) from error
    opened.check_unchanged()
    return content


def _explain(opened: CheckpointFile, error: Exception, device: torch.device) -> CheckpointError:
    text = str(error)
    if isinstance(error, torch.OutOfMemoryError | MemoryError) or "allocate" in text:
        return opened.error(
            f"does not fit in the memory of `{device}`",
            "save only `model.state_dict()`, without the optimizer; or use a larger machine",
        )
    if "failed locating file" in text:
        return opened.error("is damaged: the data of a tensor is missing", SAVE)
    return opened.error("is damaged: its tensors cannot be put together", SAVE)
