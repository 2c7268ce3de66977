"""A folder with one folder of images per class.

Files and folders whose names begin with a dot are left out; every other file must be an image.
As in torchvision, an EXIF orientation is not applied: the pixels are used as they are stored.
"""

import os
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing
from typing import Any

import numpy as np
import torch

from model_eval.errors import HeldOutError
from model_eval.heldout.batch import Array, Column
from model_eval.heldout.files import require_folder, unreadable
from model_eval.heldout.readers.ahead import decoded
from model_eval.heldout.readers.base import pieces
from model_eval.heldout.readers.trim import trimming
from model_eval.heldout.wording import is_utf8, one_line, shape_of
from model_eval.spec.eval_spec import ImageSpec, PathRef
from model_eval.spec.suggest import listed
from model_eval.wording import quote

SUFFIXES = (".bmp", ".jpeg", ".jpg", ".pgm", ".png", ".ppm", ".tif", ".tiff", ".webp")
MAX_PIXELS = 1 << 26
"""About 67 million: a 12 kB file can claim far more. Checked before an image is decoded."""

_FORMATS = ("BMP", "JPEG", "PNG", "PPM", "TIFF", "WEBP")  # never Pillow's whole list: it has EPS
_DEEP_MODES = frozenset({"I", "I;16", "I;16B", "I;16L", "F"})
_DEFAULT = ImageSpec(
    mode="RGB", resize=None, interpolation="bilinear", crop=None, scale=1 / 255, mean=None, std=None
)


class ImageFolderReader:
    """Columns `image` (float32 [C, H, W]), `label` (the class folder) and `id` (the path).

    Args:
        ref: the folder.
        files: path inside the folder → image, as `list_images` finds them.
        image: how pixels become numbers.
    """

    columns: tuple[str, ...] = ("image", "label", "id")
    default_id: str | None = "id"

    def __init__(self, ref: PathRef, files: Mapping[str, PathRef], image: ImageSpec | None) -> None:
        self._ref = ref
        self._names = list(files)
        self._files = list(files.values())
        self._labels = [name.split("/", 1)[0] for name in self._names]
        self._image = image or _DEFAULT
        self.rows = len(self._names)
        self.row_bytes = 1 << 30  # decode no more than a batch at a time

    @property
    def classes(self) -> tuple[str, ...]:
        """The folders' names, sorted."""
        return tuple(sorted(set(self._labels)))

    @trimming
    def chunks(
        self, columns: Sequence[str], rows: int, *, start: int = 0, stop: int | None = None
    ) -> Iterator[Mapping[str, Column]]:
        """See `Reader.chunks`. Images are decoded only where they are asked for, and ahead."""
        parts = list(pieces(self.rows, rows, start, stop))
        texts = {"label": self._labels, "id": self._names}
        if "image" not in columns:
            for part in parts:
                yield {name: _text(texts[name][part]) for name in columns}
            return
        # Pillow warns of large images and odd metadata; `decode` refuses what matters.
        warnings.filterwarnings("ignore", module=r"PIL\.")
        images = decoded(
            (self._files[part] for part in parts),
            lambda file: decode(file, self._image),
            location=self._ref.location,
        )
        with closing(images):
            for part, pixels in zip(parts, images, strict=True):
                yield {
                    name: torch.from_numpy(pixels) if name == "image" else _text(texts[name][part])
                    for name in columns
                }


def list_images(ref: PathRef) -> dict[str, PathRef]:
    """Finds the images: path inside the folder (with `/`) → file, sorted.

    Raises:
        HeldOutError: it is no folder, has a file that is not an image or is in no class folder, a
            class without images, or a symbolic link that leads out of it.
    """
    require_folder(ref)
    root = ref.path.resolve()
    found: dict[str, PathRef] = {}
    classes: list[str] = []

    def refuse(error: OSError) -> None:
        raise unreadable(ref, error) from error

    for folder, folders, names in os.walk(root, onerror=refuse, followlinks=False):
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        inside = os.path.relpath(folder, root)
        for name in folders:
            if os.path.islink(os.path.join(folder, name)):  # noqa: PTH114, PTH118
                raise _unusable(ref, _join(inside, name), "is a symbolic link to a folder")
        for name in sorted(names):
            if name.startswith("."):
                continue
            relative = _join(inside, name)
            file = root / relative
            if "/" not in relative:
                raise _unusable(ref, relative, "is in no class folder")
            if file.suffix.lower() not in SUFFIXES:
                raise _unusable(ref, relative, "is not an image")
            if file.is_symlink() and not file.resolve().is_relative_to(root):
                raise _unusable(ref, relative, "is a symbolic link that leads out of the folder")
            if not is_utf8(relative):
                raise HeldOutError(
                    f"{quote(f'{ref.display}/{relative}')} has a name that is not UTF-8",
                    remedy="rename it; names of images are ids, and those of folders classes",
                    location=ref.location,
                )
            found[relative] = PathRef(
                path=file, display=f"{ref.display}/{relative}", location=ref.location
            )
        if inside == ".":
            classes = list(folders)
    for name in classes:
        if not any(path.startswith(f"{name}/") for path in found):
            raise _unusable(ref, name, "is a class without images")
    return dict(sorted(found.items()))


def decode(ref: PathRef, spec: ImageSpec) -> Array:
    """Reads one image: float32 [C, H, W].

    Convert, resize, crop, scale and normalise are those of torchvision's transforms: an integer
    size is the shorter side's, the longer one is cut to an integer, a crop begins at the rounded
    half of what is left over.

    Raises:
        HeldOutError: it is broken, too large, or has what would be lost silently.
    """
    from PIL import Image

    try:
        with Image.open(ref.path, formats=_FORMATS) as image:
            _check(ref, image, spec)
            pixels = np.asarray(_resized(image.convert(spec.mode), spec))
    except Image.DecompressionBombError as error:
        # Pillow's own limit, which is larger, comes before the size is known here.
        raise HeldOutError(
            f"{quote(ref.display)} claims to have more than {MAX_PIXELS:,} pixels",
            remedy="make the image smaller",
            location=ref.location,
        ) from error
    except (OSError, ValueError, SyntaxError, EOFError) as error:
        raise HeldOutError(
            f"{quote(ref.display)} cannot be decoded: "
            f"{one_line(error).replace(str(ref.path), ref.path.name)}",
            remedy="replace or remove the image",
            location=ref.location,
        ) from error
    if spec.crop is not None:
        pixels = _cropped(ref, pixels, spec.crop)
    values: Array = pixels.astype(np.float32)
    values = values[None] if values.ndim == 2 else values.transpose(2, 0, 1)
    values = values * np.float32(spec.scale)
    if spec.mean is not None:
        values = values - _per_channel(spec.mean)
    if spec.std is not None:
        values = values / _per_channel(spec.std)
    return np.ascontiguousarray(values)


def _check(ref: PathRef, image: Any, spec: ImageSpec) -> None:
    width, height = image.size
    if width * height > MAX_PIXELS:
        raise HeldOutError(
            f"{quote(ref.display)} has {width} x {height} pixels, more than {MAX_PIXELS:,}",
            remedy="make the image smaller",
            location=ref.location,
        )
    if getattr(image, "n_frames", 1) > 1:
        raise HeldOutError(
            f"{quote(ref.display)} has {image.n_frames} frames",
            remedy="save one image per file",
            location=ref.location,
        )
    if image.mode in _DEEP_MODES and image.mode != spec.mode:
        raise HeldOutError(
            f"{quote(ref.display)} has pixels of more than 8 bits ({image.mode}), which "
            f"{quote(spec.mode)} would cut off",
            remedy="save it with 8 bits per channel, or read it with `loader:`",
            location=ref.location,
        )


def _resized(image: Any, spec: ImageSpec) -> Any:
    from PIL import Image

    if spec.resize is None:
        return image
    width, height = image.size
    if isinstance(spec.resize, int):
        # torchvision.transforms.functional._compute_resized_output_size
        short, long = min(width, height), max(width, height)
        other = int(spec.resize * long / short)
        size = (spec.resize, other) if width <= height else (other, spec.resize)
    else:
        size = (spec.resize[1], spec.resize[0])
    return image.resize(size, Image.Resampling[spec.interpolation.upper()])


def _cropped(ref: PathRef, pixels: Array, crop: tuple[int, int]) -> Array:
    height, width = pixels.shape[:2]
    if crop[0] > height or crop[1] > width:
        raise HeldOutError(
            f"{quote(ref.display)} is {shape_of((height, width))} after resizing, the crop is "
            f"{shape_of(crop)}",
            remedy="state a smaller `crop` or a larger `resize`",
            location=ref.location,
        )
    top = round((height - crop[0]) / 2)
    left = round((width - crop[1]) / 2)
    return pixels[top : top + crop[0], left : left + crop[1]]


def _per_channel(numbers: Sequence[float]) -> Array:
    return np.array(numbers, dtype=np.float32)[:, None, None]


def _unusable(ref: PathRef, relative: str, why: str) -> HeldOutError:
    return HeldOutError(
        f"{quote(f'{ref.display}/{relative}')} {why}",
        remedy="an image folder has one folder per class with images "
        f"({listed(SUFFIXES)}) in it; move or remove what is neither",
        location=ref.location,
    )


def _join(inside: str, name: str) -> str:
    return name if inside == "." else f"{inside.replace(os.sep, '/')}/{name}"


def _text(values: Sequence[str]) -> Array:
    result: Array = np.empty(len(values), dtype=object)
    result[:] = values
    return result
