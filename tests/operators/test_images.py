"""Pixels are those of Pillow and transformers: decoded bit for bit, resized within 2 in 255."""

import io
import warnings

import numpy as np
import pyarrow.parquet as pq
import pytest
import simplejpeg
import torch
from PIL import Image

from data_catalog.kinds.decoding import decode as decode_in_the_catalog
from operators.images import Preprocessing, centre_crop, decode

LEVELS = 2  # of 255: what `operators.images` promises


def noise(*shape: int) -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, shape, dtype=np.uint8)


def photo(height: int, width: int) -> np.ndarray:
    """Smooth patches with grain, as a camera gives them."""
    patches = Image.fromarray(noise(height // 12 + 2, width // 12 + 2, 3))
    smooth = np.asarray(patches.resize((width, height), Image.Resampling.BICUBIC), np.int16)
    grain = np.random.default_rng(1).normal(0, 6, smooth.shape)
    return np.clip(smooth + grain, 0, 255).astype(np.uint8)


def encoded(image: Image.Image, kind: str = "PNG", **options: object) -> bytes:
    file = io.BytesIO()
    image.save(file, kind, **options)
    return file.getvalue()


def by_pillow(image: bytes) -> np.ndarray:
    with warnings.catch_warnings(action="ignore"):  # of transparent palettes
        return np.asarray(Image.open(io.BytesIO(image)).convert("RGB"))


def crop_by_pillow(image: np.ndarray, short_side: int, size: int) -> np.ndarray:
    height, width = image.shape[:2]
    if width <= height:
        resized = (short_side, int(short_side * height / width))
    else:
        resized = (int(short_side * width / height), short_side)
    rows = Image.fromarray(image).resize((resized[0], height), Image.Resampling.BICUBIC)
    whole = rows.resize(resized, Image.Resampling.BICUBIC)  # two steps: see `operators.images`
    left, top = (resized[0] - size) // 2, (resized[1] - size) // 2
    return np.asarray(whole.crop((left, top, left + size, top + size))).transpose(2, 0, 1)


def difference(one: np.ndarray, other: np.ndarray) -> np.ndarray:
    assert one.shape == other.shape
    return np.abs(one.astype(int) - other.astype(int))


RGB = Image.fromarray(photo(101, 203))
TURNED = Image.Exif()
TURNED[0x0112] = 6  # orientation: lying on its side

JPEGS = {
    f"{subsampling} {'progressive' if progressive else 'baseline'}": encoded(
        RGB, "JPEG", subsampling=subsampling, progressive=progressive
    )
    for subsampling in ("4:4:4", "4:2:2", "4:2:0")
    for progressive in (False, True)
} | {
    "4:4:0": simplejpeg.encode_jpeg(np.asarray(RGB, order="C"), colorsubsampling="440"),
    "4:1:1": simplejpeg.encode_jpeg(np.asarray(RGB, order="C"), colorsubsampling="411"),
    "grey": encoded(RGB.convert("L"), "JPEG"),
    "stored as RGB": encoded(RGB, "JPEG", keep_rgb=True),
    "turned by EXIF": encoded(RGB, "JPEG", exif=TURNED),
    "with a colour profile": encoded(RGB, "JPEG", icc_profile=b"profile" * 20),
    "with restart markers": encoded(RGB, "JPEG", restart_marker_blocks=3),
    "followed by garbage": encoded(RGB, "JPEG") + b"garbage",
    "of one pixel": encoded(RGB.crop((0, 0, 1, 1)), "JPEG"),
}
ENCODED = JPEGS | {
    "CMYK": encoded(RGB.convert("CMYK"), "JPEG"),
    "WebP": encoded(RGB, "WEBP"),
    "GIF": encoded(RGB, "GIF"),
    "PNG": encoded(RGB),
    "PNG, black and white": encoded(RGB.convert("1")),
    "PNG, 16 bits": encoded(Image.fromarray(noise(41, 50).astype(np.uint16) * 257)),
    "PNG, grey and transparent": encoded(RGB.convert("LA")),
    "PNG, transparent": encoded(Image.fromarray(noise(50, 41, 4))),
    "PNG, palette": encoded(RGB.quantize(16)),
    "PNG, transparent palette": encoded(RGB.quantize(16), transparency=bytes(range(16))),
}


@pytest.mark.parametrize("kind", ENCODED)
def test_an_image_of_any_kind_has_pillows_pixels(kind):
    np.testing.assert_array_equal(decode(ENCODED[kind]), by_pillow(ENCODED[kind]))


@pytest.mark.parametrize("kind", [kind for kind in ENCODED if "16 bits" not in kind])
def test_the_catalog_decodes_as_operators_do(kind):
    np.testing.assert_array_equal(decode_in_the_catalog(ENCODED[kind]), decode(ENCODED[kind]))


@pytest.mark.parametrize("kind", JPEGS)
def test_an_ordinary_jpeg_is_decoded_without_pillow(kind, monkeypatch):
    monkeypatch.delattr(Image, "open")
    assert decode(JPEGS[kind]).shape[2] == 3


@pytest.mark.parametrize("kind", ["4:2:0 baseline", "4:2:0 progressive", "grey", "CMYK"])
def test_a_damaged_jpeg_has_pillows_pixels_or_is_refused_as_by_pillow(kind):
    draw = np.random.default_rng(0)
    read = refused = 0
    for _ in range(40):
        image = bytearray(ENCODED[kind])
        for place in draw.integers(2, len(image), 2):
            image[place] = draw.integers(256)
        try:
            wanted = by_pillow(bytes(image))
        except Exception as error:
            with pytest.raises(type(error)):
                decode(bytes(image))
            refused += 1
        else:
            np.testing.assert_array_equal(decode(bytes(image)), wanted)
            read += 1
    assert read > 0
    assert refused > 0


@pytest.mark.parametrize("kind", ["4:2:0 baseline", "4:2:0 progressive", "PNG"])
def test_an_image_that_ends_too_early_is_refused(kind):
    image = ENCODED[kind]
    with pytest.raises(OSError, match="truncated"):
        decode(image[: len(image) // 2])


SHAPES = {  # height, width, short side of the result
    "photo, landscape": (375, 500, 224),
    "photo, portrait": (640, 481, 224),
    "photo of a camera": (1500, 2003, 224),
    "panorama": (60, 1201, 48),
    "tower": (1201, 60, 48),
    "one pixel": (1, 1, 32),
    "one row": (1, 30, 32),
    "digit": (8, 8, 48),
    "drawing of the world": (64, 64, 48),
    "thumbnail, up": (64, 64, 224),
    "a little up": (223, 224, 224),
    "a little down": (225, 260, 224),
    "one pixel larger on one side": (224, 225, 224),
}


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("content", ["photo", "noise", "black and white"])
def test_a_crop_is_pillows_within_two_levels(shape, content):
    height, width, side = SHAPES[shape]
    image = photo(height, width) if content == "photo" else noise(height, width, 3)
    if content == "black and white":  # where bicubic filters overshoot most
        image = np.where(image > 127, np.uint8(255), np.uint8(0))
    wanted = crop_by_pillow(image, side, side)
    off = difference(centre_crop(image, side, side), wanted)
    assert off.max() <= LEVELS
    assert (off > 0).mean() < 0.03


def test_a_crop_smaller_than_the_short_side_is_the_middle_of_pillows():
    image = photo(301, 400)
    off = difference(centre_crop(image, 256, 224), crop_by_pillow(image, 256, 224))
    assert off.max() <= LEVELS


@pytest.mark.parametrize("shape", [(224, 300), (301, 224), (224, 224)])
def test_an_image_of_the_right_size_is_only_cut(shape):
    image = noise(*shape, 3)
    np.testing.assert_array_equal(centre_crop(image, 224, 224), crop_by_pillow(image, 224, 224))


def test_an_image_that_must_not_be_written_to_can_be_cropped_and_stays_as_it_is():
    image = noise(40, 50, 3)
    image.flags.writeable = False
    before = image.copy()
    assert centre_crop(image[:, ::-1], 32, 32).shape == centre_crop(image, 32, 32).shape
    np.testing.assert_array_equal(image, before)


PICTURES = {
    "landscape": Image.fromarray(noise(45, 80, 3)),
    "portrait": Image.fromarray(noise(79, 40, 3)),
    "odd margin": Image.fromarray(noise(33, 64, 3)),
    "small": Image.fromarray(noise(7, 9, 3)),
    "as large as the crop": Image.fromarray(noise(32, 32, 3)),
    "transparent": Image.fromarray(noise(50, 41, 4)),
    "grey": Image.fromarray(noise(41, 50)),
    "palette": Image.fromarray(noise(41, 50, 3)).quantize(16),
}


@pytest.mark.parametrize("picture", PICTURES)
def test_preprocessing_is_that_of_transformers_within_two_levels(clip, clip_folder, picture):
    from transformers.models.clip.image_processing_pil_clip import CLIPImageProcessorPil

    processor = CLIPImageProcessorPil.from_pretrained(clip_folder)
    image = PICTURES[picture]
    opaque = image.convert("RGB")  # transformers would lay a transparent image on white
    wanted = processor(opaque, return_tensors="pt")["pixel_values"]
    found = clip.preprocess([encoded(image)])
    std = torch.tensor(clip.preprocess.std).view(3, 1, 1)
    levels = (found - wanted) * std * 255
    assert levels.abs().max() <= LEVELS + 1e-3
    # The standardisation itself is exact: what differs, differs by whole levels.
    torch.testing.assert_close(levels, levels.round(), rtol=0, atol=1e-3)


def test_every_image_of_a_batch_has_the_pixels_that_it_has_alone():
    preprocess = Preprocessing(size=32, short_side=32, mean=(0.1, 0.2, 0.3), std=(0.4, 0.5, 0.6))
    images = list(ENCODED.values())
    alone = torch.cat([preprocess([image]) for image in images])
    assert torch.equal(preprocess(images), alone)
    assert preprocess([]).shape == (0, 3, 32, 32)


@pytest.mark.data
@pytest.mark.parametrize("name", ["caltech101", "imagenet_sample1k", "pacs", "tiny_imagenet200"])
def test_real_photos_have_pillows_pixels_within_two_levels(name, real_data):
    with pq.ParquetFile(real_data / name / "data.parquet") as file:
        images = next(file.iter_batches(30, columns=["image"]))["image"].to_pylist()
    for image in images:
        pixels = decode(image)
        np.testing.assert_array_equal(pixels, by_pillow(image))
        for side in (224, 48):
            off = difference(centre_crop(pixels, side, side), crop_by_pillow(pixels, side, side))
            assert off.max() <= LEVELS
            assert off.mean() < 0.02
