"""Images of more than 8 bits: brought to 8 bits by a rule, or set aside with a reason."""

import json
from io import BytesIO

import numpy as np
import pytest
from PIL import Image

from data_catalog import DatasetCard, Example, ImageFolder, ingest
from data_catalog.dataset import CURRENT
from data_catalog.kinds.decoding import check_image, decode, needs_eight_bits

LEVELS = (4000, 20000, 60000)  # dark, middle, bright


def encoded(pixels: np.ndarray, kind: str = "PNG") -> bytes:
    file = BytesIO()
    Image.fromarray(pixels).save(file, kind)
    return file.getvalue()


def shaded(white: float, dtype: str) -> np.ndarray:
    """A ramp from 0 to `white` of shape (4, 4)."""
    return np.linspace(0, white, 16).reshape(4, 4).astype(dtype)


RAMP = np.rint(np.linspace(0, 255, 16)).astype(np.uint8).reshape(4, 4)


@pytest.fixture
def radiographs(tmp_path):
    """Three classes that only differ in brightness, as 16-bit PNG and TIFF."""
    for level in LEVELS:
        for number in range(5):
            kind = ("PNG", "TIFF")[number % 2]
            file = tmp_path / "raw" / str(level) / f"{number}.{kind.lower()}"
            file.parent.mkdir(parents=True, exist_ok=True)
            pixels = np.full((4, 4), level, np.uint16)
            pixels[0, number % 4] += 257
            file.write_bytes(encoded(pixels, kind))
    return DatasetCard(name="rays", source=ImageFolder(str(tmp_path / "raw")))


@pytest.mark.parametrize(
    ("image", "rule"),
    [
        (encoded(shaded(65535, "uint16")), "16-bit values divided by 257"),
        (encoded(shaded(65535, "uint16"), "TIFF"), "16-bit values divided by 257"),
        (encoded(shaded(65535, ">u2"), "TIFF"), "16-bit values divided by 257"),
        (encoded(shaded(65535, "int32"), "TIFF"), "16-bit values divided by 257"),
        (encoded(shaded(1, "float32"), "TIFF"), "floats of 0..1 multiplied by 255"),
    ],
)
def test_deep_images_are_brought_to_eight_bits(image, rule):
    checked = check_image(Example(image, "x"))
    assert (checked.error, checked.findings.get("rescaled", "")) == ("", rule)
    stored = np.asarray(Image.open(BytesIO(checked.example.content)))
    assert np.abs(stored.astype(int) - RAMP).max() <= 1
    assert np.array_equal(decode(image)[..., 0], stored)
    assert np.array_equal(decode(checked.example.content)[..., 0], stored)


@pytest.mark.parametrize(
    "image",
    [
        encoded(shaded(255, "uint16")),
        encoded(shaded(255, "int32"), "TIFF"),
        encoded(np.rint(shaded(255, "float32")), "TIFF"),
        encoded(np.zeros((4, 4), np.float32), "TIFF"),
        encoded(np.dstack([RAMP] * 4)),
    ],
)
def test_what_was_read_rightly_is_kept_to_the_byte(image):
    checked = check_image(Example(image, "x"))
    assert (checked.error, checked.example.content) == ("", image)
    assert checked.findings.get("rescaled", "") in ("", "values up to 255 kept")
    assert not needs_eight_bits(image)


@pytest.mark.parametrize(
    ("pixels", "reason"),
    [
        (shaded(300, "float32"), "its values go from 0 to 300"),
        (shaded(2, "float32") - 1, "its values go from -1 to 1"),
        (shaded(100000, "int32"), "its values go from 0 to 100000"),
        (shaded(2000, "int32") - 1000, "its values go from -1000 to 1000"),
        (np.full((4, 4), np.nan, np.float32), "NaN or infinite"),
        (np.array([[0, np.inf]], np.float32), "NaN or infinite"),
    ],
)
def test_values_without_a_known_scale_are_set_aside(pixels, reason):
    error = check_image(Example(encoded(pixels, "TIFF"), "x")).error
    assert error.startswith("of unknown scale: ")
    assert reason in error


def test_sixteen_bits_of_colour_keep_their_upper_half():
    # Pillow writes none: RGB of 16 bits with the filter 0, and one pixel of 0x8001, 0x4000, 0xFFFF.
    import struct
    import zlib

    line = b"\0" + struct.pack(">HHH", 0x8001, 0x4000, 0xFFFF)
    header = struct.pack(">IIBBBBB", 1, 1, 16, 2, 0, 0, 0)
    chunks = [(b"IHDR", header), (b"IDAT", zlib.compress(line)), (b"IEND", b"")]
    image = b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack(">I", len(d)) + k + d + struct.pack(">I", zlib.crc32(k + d)) for k, d in chunks
    )
    checked = check_image(Example(image, "x"))
    assert (checked.error, checked.findings.get("rescaled", "")) == ("", "")
    assert decode(image).tolist() == [[[0x80, 0x40, 0xFF]]]


@pytest.mark.parametrize("mode", ["P", "PA", "LA", "RGBA", "CMYK", "1"])
def test_other_modes_are_decoded_as_they_are_checked(mode):
    file = BytesIO()
    image = Image.fromarray(RAMP).convert("RGB").convert(mode)
    if mode == "P":
        image.info["transparency"] = 0
    image.save(file, "TIFF" if mode in ("CMYK", "PA") else "PNG")
    assert check_image(Example(file.getvalue(), "x")).error == ""
    assert decode(file.getvalue()).shape == (4, 4, 3)


def test_the_brightness_of_radiographs_stays(radiographs, tmp_path):
    dataset = ingest(radiographs, tmp_path / "rays")
    assert dataset.card["rescaled_images"] == {"16-bit values divided by 257": 15}
    means = [
        np.mean([decode(image).mean() for image in dataset.images(np.flatnonzero(rows))])
        for rows in (dataset.labels == label for label in range(3))
    ]
    assert np.allclose(means, [level / 257 for level in LEVELS], atol=1)
    assert dataset.verify() == []


def test_constant_images_are_counted(tmp_path, pets, card):
    for number in range(3):
        (pets / f"cat/{number}.png").write_bytes(encoded(np.full((4, 4), number, np.uint8)))
    see_through = np.zeros((4, 4, 4), np.uint8)
    see_through[1:3, 1:3, 3] = 255  # a black sign whose form is in its transparency alone
    (pets / "cat/3.png").write_bytes(encoded(see_through))
    report = ingest(card, tmp_path / "pets").card
    names = [f"cat/{number}.png" for number in range(4)]
    assert report["constant_images"] == {"count": 4, "first": names}
    assert report["doubts"] == [
        "4 images with all pixels equal, so nothing is to be seen in them: cat/0.png, cat/1.png, "
        "cat/2.png and 1 more."
    ]


def test_dark_images_among_deep_ones_are_doubted(radiographs, tmp_path):
    dark = encoded(np.arange(16, dtype=np.uint16).reshape(4, 4))
    (tmp_path / "raw/4000/0.png").write_bytes(dark)
    said = ingest(radiographs, tmp_path / "rays").card["doubts"]
    assert any("14: 16-bit values divided by 257" in doubt for doubt in said)
    assert any(doubt.startswith("1 image of more than 8 bits without a value") for doubt in said)


def as_version_one(folder):
    receipt = json.loads((folder / CURRENT).read_text())
    (folder / CURRENT).write_text(json.dumps({**receipt, "version": 1}))
    return receipt


def test_a_dataset_of_before_is_taken_over_without_its_source(card, pets, tmp_path):
    before = ingest(card, tmp_path / "pets")
    receipt = as_version_one(tmp_path / "pets")
    pets.rename(tmp_path / "gone")
    assert ingest(card, tmp_path / "pets").fingerprint == before.fingerprint
    assert json.loads((tmp_path / "pets" / CURRENT).read_text()) == receipt


def test_a_dataset_of_before_with_deep_images_is_read_again(card, pets, tmp_path):
    before = ingest(card, tmp_path / "pets")
    deep = encoded(shaded(65535, "uint16"))
    (pets / "cat/0.png").write_bytes(deep)
    import data_catalog.kinds.image as module

    with pytest.MonkeyPatch.context() as patched:  # as version 1 took it
        patched.setattr(module, "check_in_order", _unchanged(module.check_in_order))
        old = ingest(card, tmp_path / "pets")
    assert deep in old.images([0])
    as_version_one(tmp_path / "pets")
    new = ingest(card, tmp_path / "pets")
    assert len({before.fingerprint, old.fingerprint, new.fingerprint}) == 3
    assert new.card["rescaled_images"]


def _unchanged(check):
    def stored_as_they_are(check_one, examples):
        for example in examples:
            (checked,) = check(check_one, [example])
            if checked.findings.get("rescaled", ""):
                checked = checked._replace(example=example, sha256="0" * 64, findings={})
            yield checked

    return stored_as_they_are
