"""One reader per format; `open_file` chooses it."""

from model_eval.errors import HeldOutError
from model_eval.heldout.readers.base import Reader
from model_eval.spec.eval_spec import PathRef
from model_eval.spec.heldout_section import SUFFIXES
from model_eval.spec.suggest import listed
from model_eval.wording import quote


def format_of(ref: PathRef) -> str:
    """What the name says the format is; a folder is an image folder.

    Raises:
        HeldOutError: the name says nothing.
    """
    if ref.path.is_dir():
        return "image_folder"
    known = SUFFIXES.get(ref.path.suffix.lower())
    if known is None:
        raise HeldOutError(
            f"the name {quote(ref.display)} does not say what format it is",
            remedy=f"end it in one of {listed(SUFFIXES)}",
            location=ref.location,
        )
    return known


def open_file(ref: PathRef, file_format: str) -> Reader:
    """Opens a single file of samples that `check_kind` has passed.

    Raises:
        HeldOutError: it is not a file of this format, or cannot be used.
    """
    if file_format == "parquet":
        from model_eval.heldout.readers.parquet_file import ParquetReader

        return ParquetReader(ref)
    if file_format == "csv":
        from model_eval.heldout.readers.csv_file import CsvReader

        return CsvReader(ref)
    if file_format == "npz":
        from model_eval.heldout.readers.numpy_files import open_npz

        return open_npz(ref)
    if file_format == "pt":
        from model_eval.heldout.readers.torch_file import TorchReader

        return TorchReader(ref)
    if file_format == "safetensors":
        from model_eval.heldout.readers.safetensors_file import SafetensorsReader

        return SafetensorsReader(ref)
    raise HeldOutError(
        f"{quote(ref.display)} cannot be read as {quote(file_format)} by itself",
        remedy="name one .npy file per column: `path: {column: file.npy, …}`",
        location=ref.location,
    )
