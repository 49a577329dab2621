"""RandAugment, AugMix and others as the codes of methods have them: Pillow's, drawn one by one.

    randaugment   two of sixteen operations, each a third as strong as it can be (Cubuk et al.,
                  "RandAugment", NeurIPS 2020, in the form of Dassl, `randaugment.py`)
    augmix        a mixture of an image with three chains of mild operations (Hendrycks et al.,
                  "AugMix", ICLR 2020, in the form of TPT, `datautils.py` and `augmix_ops.py`)
    jitter        another colour, brightness, contrast and sharpness, and a mild bend: it stands in
                  for a model that makes variations of an image, and has no paper behind it
    mocov3        other colours, grey and blur (Chen et al., "An Empirical Study of Training
                  Self-Supervised Vision Transformers", ICCV 2021, in the form of GOPro, `gopro.py`)
    perspective   mirrored in half of the cases, in half of them seen from aside, and turned a
                  little (CSP, `composition_dataset.py`, with the operations of torchvision)

What the codes do is restated with its quirks. Operations that move an image by pixels were written
for squares of 224 pixels; on another square they move it by the same share. Only the source of
randomness is ours: each function draws from the generator that it is given, in a fixed order.

Whatever moves a pixel here raises `TRANSFORM_VERSION` in `operators/images.py`.
"""

import math
from collections.abc import Callable, Sequence

import numpy as np
from PIL import Image, ImageDraw, ImageEnhance, ImageFilter, ImageOps

from operators.shapes import Float, UInt8

Draw = Callable[[], float]  # the next number of a generator, 0 to 1 without 1
Operation = Callable[[Image.Image, Draw], Image.Image]

WRITTEN_FOR = 224  # pixels of a side
STRENGTH = 10 / 30  # Dassl's `RANDAUGMENT_M` of the 30 that there are
PICKED = 2  # Dassl's `RANDAUGMENT_N`
CUT_OUT = (125, 123, 114)  # the colour of a hole
CHAINS, LONGEST = 3, 3  # of AugMix
SEVERITY = 1.0  # of 10
RECOLOURED, GREY = 0.8, 0.2  # how often, of MoCo v3's views
BRIGHTNESS, CONTRAST, SATURATION, HUE = 0.4, 0.4, 0.2, 0.1  # at most, to both sides
GAUSSIAN = (0.1, 2.0)  # pixels of the Gaussian's deviation
DISTORTION, TILTED, DEGREES = 0.5, 0.5, 5.0  # torchvision's defaults, and the angle of CSP


def randaugmented(image: UInt8[np.ndarray, "s s 3"], draw: Draw) -> UInt8[np.ndarray, "s s 3"]:
    """A square after two operations, which may be the same.

    Args:
        image: RGB.
        draw: Gives the operations, then their directions.

    Source: Dassl, `RandAugment` with n = 2 and m = 10.
    """
    seen = Image.fromarray(image)
    picked = [_RANDAUGMENT[int(draw() * len(_RANDAUGMENT))] for _ in range(PICKED)]
    for operation, low, high in picked:
        seen = operation(seen, low + (high - low) * STRENGTH, draw)
    return np.asarray(seen)


def augmixed(image: UInt8[np.ndarray, "s s 3"], draw: Draw) -> Float[np.ndarray, "s s 3"]:
    """A square mixed with what three chains of one to three operations make of it, 0 to 255.

    The shares of the chains are uniform on the simplex, and so is that of the square itself between
    0 and 1. The code mixes standardised pixels, which is the same, for all shares sum to 1.

    Args:
        image: RGB.
        draw: Gives the shares, then each chain.

    Source: TPT, `augmix` with severity 1.
    """
    weights = [-math.log(1 - draw()) for _ in range(CHAINS)]  # Dirichlet(1, 1, 1) by its gammas
    own = draw()  # Beta(1, 1)
    mixed = np.float32(own) * image.astype(np.float32)
    for weight in weights:
        seen = Image.fromarray(image)
        for _ in range(1 + int(draw() * LONGEST)):
            seen = _AUGMIX[int(draw() * len(_AUGMIX))](seen, draw)
        mixed += np.float32((1 - own) * weight / sum(weights)) * np.asarray(seen, dtype=np.float32)
    return mixed


JITTER = 0.4  # furthest from 1 of colour, brightness and contrast
BLUR = 1 / 112  # largest radius, of the side
BEND, WAVES = 1 / 32, 3  # furthest that a pixel moves, of the side; most waves across it


def jittered(image: UInt8[np.ndarray, "s s 3"], draw: Draw) -> UInt8[np.ndarray, "s s 3"]:
    """A square in other colours, blurred or not, and bent along two waves.

    Args:
        image: RGB.
        draw: Gives colour, contrast, brightness, blur, then each wave.
    """
    seen = Image.fromarray(image)
    for enhance in (ImageEnhance.Color, ImageEnhance.Contrast, ImageEnhance.Brightness):
        seen = enhance(seen).enhance(1 + JITTER * (2 * draw() - 1))
    side = image.shape[0]
    blurred = seen.filter(ImageFilter.GaussianBlur(draw() * BLUR * side))
    pixels = np.asarray(blurred)
    moved = []
    for _ in range(2):  # rows by their column, then columns by their row
        far, waves, start = draw() * BEND * side, 1 + int(draw() * WAVES), draw()
        along = 2 * np.pi * (waves * np.arange(side) / side + start)
        moved.append(np.rint(far * np.sin(along)).astype(np.int64))
    places = np.arange(side)
    rows = np.clip(places[:, None] + moved[0][None, :], 0, side - 1)
    columns = np.clip(places[None, :] + moved[1][:, None], 0, side - 1)
    return pixels[rows, columns]


def recoloured(image: UInt8[np.ndarray, "s s 3"], draw: Draw) -> UInt8[np.ndarray, "s s 3"]:
    """A square whose colours are moved, or gone, and which is blurred.

    Args:
        image: RGB.
        draw: Gives whether colours move, the order in which they do and how far; whether all is
            grey; and the blur.

    Source: GOPro, `mocov3` of `trainers/gopro.py`; torchvision, `ColorJitter`.
    """
    seen = Image.fromarray(image)
    if draw() < RECOLOURED:
        for _, change in sorted((draw(), place) for place in range(len(_RECOLOUR))):
            seen = _RECOLOUR[change](seen, draw)
    if draw() < GREY:
        seen = seen.convert("L").convert("RGB")
    low, high = GAUSSIAN
    deviation = (low + (high - low) * draw()) * seen.size[0] / WRITTEN_FOR
    return np.asarray(seen.filter(ImageFilter.GaussianBlur(deviation)))


def tilted(image: UInt8[np.ndarray, "s s 3"], draw: Draw) -> UInt8[np.ndarray, "s s 3"]:
    """A square mirrored, seen from aside and turned; what comes from outside is black.

    Args:
        image: RGB.
        draw: Says whether it is mirrored and whether it is tilted, then gives corners and angle.

    Source: CSP, `transform_image`; torchvision, `RandomHorizontalFlip`, `RandomPerspective` and
    `RandomRotation(5)`.
    """
    seen = Image.fromarray(image)
    if draw() < 0.5:
        seen = ImageOps.mirror(seen)
    if draw() < TILTED:
        seen = _from_aside(seen, draw)
    return np.asarray(seen.rotate((2 * draw() - 1) * DEGREES, Image.Resampling.NEAREST))


def _from_aside(image: Image.Image, draw: Draw) -> Image.Image:
    """Each corner moves inwards by up to a quarter of the side."""
    last = float(image.size[0] - 1)
    within = int(DISTORTION * (image.size[0] // 2)) + 1
    corners = [(0.0, 0.0), (last, 0.0), (last, last), (0.0, last)]
    moves = [(float(int(draw() * within)), float(int(draw() * within))) for _ in corners]
    moved = [
        (x - dx if x else dx, y - dy if y else dy)
        for (x, y), (dx, dy) in zip(corners, moves, strict=True)
    ]
    return image.transform(
        image.size,
        Image.Transform.PERSPECTIVE,
        perspective(corners, moved),
        resample=Image.Resampling.BILINEAR,
    )


def perspective(
    corners: Sequence[tuple[float, float]], moved: Sequence[tuple[float, float]]
) -> tuple[float, ...]:
    """The eight numbers by which Pillow takes `moved` from where `corners` are.

    Args:
        corners: Four points of the image.
        moved: Where they are shown.
    """
    rows = [
        row
        for (x, y), (u, v) in zip(corners, moved, strict=True)
        for row in ((u, v, 1, 0, 0, 0, -x * u, -x * v), (0, 0, 0, u, v, 1, -y * u, -y * v))
    ]
    return tuple(np.linalg.solve(np.array(rows, float), np.array(corners, float).ravel()).tolist())


# Operations of both


def _turned(value: float, draw: Draw) -> float:
    """The value or its opposite."""
    return -value if draw() > 0.5 else value


def _affine(image: Image.Image, matrix: tuple[float, ...], filter: Image.Resampling) -> Image.Image:
    """Each pixel from where a matrix says; what comes from outside is black."""
    return image.transform(image.size, Image.Transform.AFFINE, matrix, resample=filter)


def _sheared(image: Image.Image, share: float, axis: int, filter: Image.Resampling) -> Image.Image:
    matrix = (1.0, share, 0.0, 0.0, 1.0, 0.0) if axis == 0 else (1.0, 0.0, 0.0, share, 1.0, 0.0)
    return _affine(image, matrix, filter)


def _moved(image: Image.Image, pixels: float, axis: int, filter: Image.Resampling) -> Image.Image:
    pixels *= image.size[0] / WRITTEN_FOR
    matrix = (1.0, 0.0, pixels, 0.0, 1.0, 0.0) if axis == 0 else (1.0, 0.0, 0.0, 0.0, 1.0, pixels)
    return _affine(image, matrix, filter)


# RandAugment's: the image, how strong, and the generator


def _brightened_and_solarized(image: Image.Image, added: float) -> Image.Image:
    lighter = np.clip(np.asarray(image).astype(np.float64) + added, 0, 255).astype(np.uint8)
    return ImageOps.solarize(Image.fromarray(lighter), 128)


def _cut_out(image: Image.Image, side: float, draw: Draw) -> Image.Image:
    """A hole around a point; like the code, none lies in the first column or row."""
    wide, high = image.size
    side *= wide / WRITTEN_FOR
    across, down = (length + (1 - length) * draw() for length in (wide, high))
    left, top = (int(max(0, at - side / 2)) for at in (across, down))
    image = image.copy()
    box = (left, top, min(wide, left + side), min(high, top + side))
    ImageDraw.Draw(image).rectangle(box, CUT_OUT)
    return image


_NEAREST = Image.Resampling.NEAREST
_RANDAUGMENT: list[tuple[Callable[[Image.Image, float, Draw], Image.Image], float, float]] = [
    (lambda image, _, draw: ImageOps.autocontrast(image), 0, 1),
    (lambda image, _, draw: ImageOps.equalize(image), 0, 1),
    (lambda image, _, draw: ImageOps.invert(image), 0, 1),
    (lambda image, degrees, draw: image.rotate(_turned(degrees, draw)), 0, 30),
    (lambda image, bits, draw: ImageOps.posterize(image, int(bits)), 4, 8),
    (lambda image, above, draw: ImageOps.solarize(image, above), 0, 256),  # pyright: ignore
    (lambda image, added, draw: _brightened_and_solarized(image, added), 0, 110),
    (lambda image, much, draw: ImageEnhance.Color(image).enhance(much), 0.1, 1.9),
    (lambda image, much, draw: ImageEnhance.Contrast(image).enhance(much), 0.1, 1.9),
    (lambda image, much, draw: ImageEnhance.Brightness(image).enhance(much), 0.1, 1.9),
    (lambda image, much, draw: ImageEnhance.Sharpness(image).enhance(much), 0.1, 1.9),
    (lambda image, share, draw: _sheared(image, _turned(share, draw), 0, _NEAREST), 0, 0.3),
    (lambda image, share, draw: _sheared(image, _turned(share, draw), 1, _NEAREST), 0, 0.3),
    (_cut_out, 0, 40),
    (lambda image, pixels, draw: _moved(image, _turned(pixels, draw), 0, _NEAREST), 0, 100),
    (lambda image, pixels, draw: _moved(image, _turned(pixels, draw), 1, _NEAREST), 0, 100),
]


# AugMix's: each draws how strong it is, up to a tenth of what it can be


def _level(most: float, draw: Draw) -> float:
    return (0.1 + (SEVERITY - 0.1) * draw()) * most / 10


_BILINEAR = Image.Resampling.BILINEAR
_AUGMIX: list[Operation] = [
    lambda image, draw: ImageOps.autocontrast(image),
    lambda image, draw: ImageOps.equalize(image),
    lambda image, draw: ImageOps.posterize(image, 4 - int(_level(4.0, draw))),
    lambda image, draw: image.rotate(
        _turned(float(int(_level(30.0, draw))), draw), resample=_BILINEAR
    ),
    lambda image, draw: ImageOps.solarize(image, 256 - int(_level(256.0, draw))),
    lambda image, draw: _sheared(image, _turned(_level(0.3, draw), draw), 0, _BILINEAR),
    lambda image, draw: _sheared(image, _turned(_level(0.3, draw), draw), 1, _BILINEAR),
    lambda image, draw: _moved(
        image, _turned(float(int(_level(WRITTEN_FOR / 3, draw))), draw), 0, _BILINEAR
    ),
    lambda image, draw: _moved(
        image, _turned(float(int(_level(WRITTEN_FOR / 3, draw))), draw), 1, _BILINEAR
    ),
]


# MoCo v3's: each draws how far it goes


def _around(one: float, most: float, draw: Draw) -> float:
    return one + most * (2 * draw() - 1)


def _hue_turned(image: Image.Image, turns: float) -> Image.Image:
    hue, saturation, value = image.convert("HSV").split()
    turned = (np.asarray(hue).astype(np.int32) + int(turns * 255)) % 256
    hue = Image.fromarray(turned.astype(np.uint8))
    return Image.merge("HSV", (hue, saturation, value)).convert("RGB")


_RECOLOUR: list[Operation] = [
    lambda image, draw: ImageEnhance.Brightness(image).enhance(_around(1.0, BRIGHTNESS, draw)),
    lambda image, draw: ImageEnhance.Contrast(image).enhance(_around(1.0, CONTRAST, draw)),
    lambda image, draw: ImageEnhance.Color(image).enhance(_around(1.0, SATURATION, draw)),
    lambda image, draw: _hue_turned(image, _around(0.0, HUE, draw)),
]
