"""Image folders: what is read, what the pixels become, and what is refused."""

import io
import struct
import zlib

import numpy as np
import pytest
import torch
from PIL import Image

from builders.heldout import AT, an_input, everything, opened
from model_eval.errors import HeldOutError
from model_eval.heldout import heldout_set
from model_eval.heldout.readers import image_folder
from model_eval.spec.eval_spec import ImageSpec
from model_eval.types import Task

RNG = np.random.default_rng(3)


def an_image(**changes):
    values = {
        "mode": "RGB", "resize": None, "interpolation": "bilinear", "crop": None,
        "scale": 1 / 255, "mean": None, "std": None,
    }  # fmt: skip
    return ImageSpec(**(values | changes))


def save(path, height=6, width=8, mode="RGB"):
    path.parent.mkdir(parents=True, exist_ok=True)
    shape = (height, width) if mode == "L" else (height, width, len(mode))
    pixels = RNG.integers(0, 256, size=shape, dtype=np.uint8)
    Image.fromarray(pixels).save(path)
    return pixels


@pytest.fixture
def folder(tmp_path):
    root = tmp_path / "images"
    for name in ("dog/b.png", "cat/sub/c.png", "dog/a.PNG"):
        save(root / name)
    (root / ".DS_Store").touch()
    (root / ".hidden").mkdir()
    (root / "dog" / "._a.png").touch()
    return root


def images(root, **changes):
    changes = {"args": (an_input("image"),), "targets": ("label",)} | changes
    return opened(root, changes.pop("task", Task.MULTICLASS), **changes)


def refused(root, **changes):
    with pytest.raises(HeldOutError) as caught:
        everything(images(root, **changes))
    assert caught.value.location == AT
    assert "\n" not in str(caught.value)
    return str(caught.value).removeprefix(f"{AT}: ")


def test_classes_are_the_sorted_folders_and_ids_the_paths(folder):
    heldout = images(folder)
    assert (heldout.classes, heldout.expected) == (("cat", "dog"), 3)
    batch = everything(heldout)
    assert batch.labels.ids.tolist() == ["cat/sub/c.png", "dog/a.PNG", "dog/b.png"]
    assert batch.labels.target.tolist() == [0, 1, 1]
    assert (batch.args[0].dtype, batch.args[0].shape) == (torch.float32, (3, 3, 6, 8))


def test_the_spec_can_order_the_classes(folder):
    heldout = images(folder, classes=("dog", "bird", "cat"))
    assert everything(heldout).labels.target.tolist() == [2, 0, 0]


def test_a_folder_that_is_no_class(folder):
    assert refused(folder, classes=("dog", "cta")) == (
        "the target `label` is `cat` in row 0 (id `cat/sub/c.png`), which is not among the "
        "classes; did you mean `cta`? the classes are `dog`, `cta`"
    )


def test_pixels_are_scaled_and_normalised(folder):
    pixels = save(folder / "cat" / "sub" / "c.png")
    mean, std = (0.5, 0.4, 0.3), (0.2, 0.3, 0.4)
    found = everything(images(folder, image=an_image(mean=mean, std=std))).args[0][0]
    expected = (pixels / 255 - mean) / std
    np.testing.assert_allclose(found.numpy(), expected.transpose(2, 0, 1), atol=1e-6)


def test_grey_images_have_one_channel(folder):
    found = everything(images(folder, image=an_image(mode="L", scale=1.0))).args[0]
    assert found.shape == (3, 1, 6, 8)
    assert found.max() > 1


@pytest.mark.parametrize(
    ("size", "resize", "expected"),
    [
        ((6, 8), 12, (12, 16)),
        ((8, 6), 12, (16, 12)),
        ((5, 7), 4, (4, 5)),  # 4 * 7 / 5 = 5.6 is cut, as torchvision does
        ((6, 8), (3, 5), (3, 5)),
    ],
)
def test_resizing(tmp_path, size, resize, expected):
    save(tmp_path / "i" / "a" / "a.png", *size)
    found = everything(images(tmp_path / "i", image=an_image(resize=resize))).args[0]
    assert tuple(found.shape[2:]) == expected


def test_resizing_is_pillows(tmp_path):
    pixels = save(tmp_path / "i" / "a" / "a.png", 9, 9)
    spec = an_image(resize=(4, 4), interpolation="bicubic", scale=1.0)
    found = everything(images(tmp_path / "i", image=spec)).args[0][0]
    expected = np.asarray(Image.fromarray(pixels).resize((4, 4), Image.Resampling.BICUBIC))
    np.testing.assert_array_equal(found.numpy(), expected.transpose(2, 0, 1))


def test_the_crop_is_the_centre(tmp_path):
    pixels = save(tmp_path / "i" / "a" / "a.png", 9, 8)
    found = everything(images(tmp_path / "i", image=an_image(crop=(4, 4), scale=1.0))).args[0][0]
    # round(5 / 2) = 2, as torchvision rounds it
    np.testing.assert_array_equal(found.numpy(), pixels[2:6, 2:6].transpose(2, 0, 1))


def test_exif_orientation_is_left_alone_as_in_torchvision(tmp_path):
    (tmp_path / "i" / "a").mkdir(parents=True)
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.new("RGB", (8, 6)).save(tmp_path / "i" / "a" / "a.jpg", exif=exif)
    assert everything(images(tmp_path / "i")).args[0].shape == (1, 3, 6, 8)


def test_the_digest_covers_names_and_contents(folder):
    first = images(folder).info().sha256
    assert images(folder).info().sha256 == first
    (folder / ".DS_Store").write_bytes(b"x")
    assert images(folder).info().sha256 == first
    (folder / "dog" / "b.png").rename(folder / "dog" / "d.png")
    renamed = images(folder).info().sha256
    assert renamed != first
    save(folder / "dog" / "d.png")
    assert images(folder).info().sha256 not in {first, renamed}


def test_a_changed_image_is_noticed(folder):
    heldout = images(folder)
    save(folder / "dog" / "b.png")
    with pytest.raises(HeldOutError, match=r"`images/dog/b.png` changed while it was being used"):
        heldout.info()


def test_no_folder(tmp_path):
    (tmp_path / "i").touch()
    assert refused(tmp_path / "i", format="image_folder") == (
        "`i` is not a folder; name the folder that has one folder per class"
    )


def test_no_images(tmp_path):
    (tmp_path / "i").mkdir()
    assert refused(tmp_path / "i").startswith("`i` has no samples; ")


@pytest.mark.parametrize(
    ("name", "why"),
    [
        ("dog/notes.txt", "is not an image"),
        ("dog/a.svg", "is not an image"),
        ("stray.png", "is in no class folder"),
        ("labels.csv", "is in no class folder"),
    ],
)
def test_foreign_files(folder, name, why):
    (folder / name).write_bytes(b"x")
    assert refused(folder).startswith(f"`images/{name}` {why}; an image folder has one folder per")


def test_a_class_without_images(folder):
    (folder / "bird").mkdir()
    assert refused(folder).startswith("`images/bird` is a class without images; ")
    (folder / "bird" / "deep").mkdir()
    assert refused(folder).startswith("`images/bird` is a class without images; ")


def test_links(folder, tmp_path):
    save(tmp_path / "outside.png")
    (folder / "dog" / "z.png").symlink_to(tmp_path / "outside.png")
    assert refused(folder).startswith(
        "`images/dog/z.png` is a symbolic link that leads out of the folder; "
    )
    (folder / "dog" / "z.png").unlink()
    (folder / "fox").symlink_to(folder / "dog")
    assert refused(folder).startswith("`images/fox` is a symbolic link to a folder; ")
    (folder / "fox").unlink()
    (folder / "dog" / "y.png").symlink_to(folder / "dog" / "b.png")
    assert images(folder).expected == 4


def test_images_of_unequal_size(folder):
    save(folder / "dog" / "z.png", 9, 9)
    assert refused(folder) == (
        "images differ in shape: `images/cat/sub/c.png` is (3, 6, 8), `images/dog/z.png` "
        "(3, 9, 9); state `image: {resize: [height, width]}`"
    )


@pytest.mark.parametrize("content", [b"", b"not an image", b"\x89PNG\r\n\x1a\n" + bytes(40)])
def test_broken_images(folder, content):
    (folder / "dog" / "b.png").write_bytes(content)
    message = refused(folder)
    assert message.startswith("`images/dog/b.png` ")
    assert str(folder) not in message


def test_a_truncated_image(folder):
    path = folder / "dog" / "b.png"
    path.write_bytes(path.read_bytes()[:90])
    assert refused(folder).startswith("`images/dog/b.png` cannot be decoded: ")


def test_another_format_behind_the_name(folder):
    stream = io.BytesIO()
    Image.new("RGB", (8, 6)).save(stream, "EPS")
    (folder / "dog" / "b.png").write_bytes(stream.getvalue())
    assert refused(folder).startswith("`images/dog/b.png` cannot be decoded: ")


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("side", [10_000, 60_000])
def test_a_pixel_bomb_is_not_decoded(folder, side):
    def chunk(kind, data):
        return (
            struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
        )

    header = chunk(b"IHDR", struct.pack(">IIBBBBB", side, side, 1, 0, 0, 0, 0))
    body = chunk(b"IDAT", zlib.compress(bytes(1000))) + chunk(b"IEND", b"")
    (folder / "dog" / "b.png").write_bytes(b"\x89PNG\r\n\x1a\n" + header + body)
    message = refused(folder)
    assert message.startswith("`images/dog/b.png` ")
    assert "pixels" in message


def test_animations_and_deep_pixels(folder):
    frames = [Image.new("RGB", (8, 6), color) for color in ("red", "blue")]
    frames[0].save(folder / "dog" / "b.png", save_all=True, append_images=frames[1:])
    assert refused(folder) == "`images/dog/b.png` has 2 frames; save one image per file"
    Image.fromarray(np.full((6, 8), 60_000, np.uint16)).save(folder / "dog" / "b.png")
    assert refused(folder).startswith(
        "`images/dog/b.png` has pixels of more than 8 bits (I;16), which `RGB` would cut off; "
    )


def test_a_crop_larger_than_the_image(folder):
    assert refused(folder, image=an_image(crop=(7, 7))) == (
        "`images/cat/sub/c.png` is (6, 8) after resizing, the crop is (7, 7); "
        "state a smaller `crop` or a larger `resize`"
    )


def test_labels_are_checked_without_decoding(folder, monkeypatch):
    def fail(*_):
        raise AssertionError("decoded")

    monkeypatch.setattr(image_folder, "decode", fail)
    assert images(folder).expected == 3


@pytest.mark.parametrize("multiple", [1, 3, 32])
def test_every_core_has_files_to_decode_whatever_the_size_of_a_batch_is(
    tmp_path, monkeypatch, multiple
):
    monkeypatch.setattr(heldout_set, "cores", lambda: 4)
    for index in range(70):
        save(tmp_path / "images" / ("cat", "dog")[index % 2] / f"{index}.png")
    sizes = [len(block) for block in images(tmp_path / "images").blocks(multiple)]
    assert sum(sizes) == 70
    assert all(size >= 16 and size % multiple == 0 for size in sizes[:-1])
    assert max(sizes) < 16 + multiple + 16
