"""RandAugment, AugMix and MoCo v3: operations in plain arithmetic, how they are drawn and mixed."""

import random

import numpy as np
import pytest
from PIL import Image, ImageEnhance, ImageFilter

from operators import augmentations
from operators.augmentations import augmixed, randaugmented, recoloured

SIDE = 56  # a quarter of the side that the codes were written for
NAMES = [
    "autocontrast",
    "equalize",
    "invert",
    "rotate",
    "posterize",
    "solarize",
    "solarize_add",
    "color",
    "contrast",
    "brightness",
    "sharpness",
    "shear_x",
    "shear_y",
    "cutout",
    "translate_x",
    "translate_y",
]


class Given:
    """A generator whose numbers are known."""

    def __init__(self, *numbers):
        self.left = list(numbers)

    def __call__(self):
        return self.left.pop(0)


def picture(side=SIDE):
    return np.random.default_rng(0).integers(20, 230, (side, side, 3), dtype=np.uint8)


def one(name, *drawn, side=SIDE):
    """What RandAugment's operation makes of the picture, at the strength of the configuration."""
    operation, low, high = augmentations._RANDAUGMENT[NAMES.index(name)]
    draw = Given(*drawn)
    found = operation(Image.fromarray(picture(side)), low + (high - low) / 3, draw)
    assert not draw.left, "it draws less than it should"
    return np.asarray(found).astype(int)


def mild(place, *drawn, side=SIDE):
    """What AugMix's operation makes of the picture."""
    draw = Given(*drawn)
    found = augmentations._AUGMIX[place](Image.fromarray(picture(side)), draw)
    assert not draw.left, "it draws less than it should"
    return np.asarray(found).astype(int)


def grey(pixels):
    """Pillow's weights of 16 bits."""
    weights = np.array([19595, 38470, 7471])
    return (pixels.astype(np.int64) @ weights + 0x8000) >> 16


def blended(one, other, share):
    """Pillow's, which rounds down."""
    return np.clip(one + share * (other - one), 0, 255).astype(int)


def stretched(channel):
    low, high = channel.min(), channel.max()
    return np.clip((channel.astype(int) - low) * 255 / (high - low), 0, 255).astype(int)


def equalized(channel):
    counts = np.bincount(channel.ravel(), minlength=256)
    step = (counts.sum() - counts[counts > 0][-1]) // 255
    before = np.concatenate([[0], np.cumsum(counts)[:-1]])
    return np.minimum((step // 2 + before) // step, 255)[channel]


def sampled(pixels, matrix):
    """The nearest pixel of where the centre of each one comes from; black from outside."""
    rows, columns = np.mgrid[:SIDE, :SIDE] + 0.5
    a, b, c, d, e, f = matrix
    x, y = a * columns + b * rows + c, d * columns + e * rows + f
    inside = (x >= 0) & (x < SIDE) & (y >= 0) & (y < SIDE)
    found = pixels[np.clip(y, 0, SIDE - 1).astype(int), np.clip(x, 0, SIDE - 1).astype(int)]
    return np.where(inside[..., None], found, 0)


def test_operations_on_levels_are_plain_arithmetic():
    pixels = picture().astype(int)
    assert np.array_equal(one("invert"), 255 - pixels)
    assert np.array_equal(one("posterize"), pixels & 0b11111000)  # int(5.33) bits
    assert np.array_equal(one("solarize"), np.where(pixels < 256 / 3, pixels, 255 - pixels))
    lighter = np.clip(pixels + 110 / 3, 0, 255).astype(int)
    assert np.array_equal(one("solarize_add"), np.where(lighter < 128, lighter, 255 - lighter))
    channels = [picture()[..., c] for c in range(3)]
    assert np.abs(one("autocontrast") - np.stack(list(map(stretched, channels)), 2)).max() <= 1
    assert np.array_equal(one("equalize"), np.stack(list(map(equalized, channels)), 2))


def test_enhancements_blend_seven_tenths_of_the_image_with_none_of_it():
    pixels = picture().astype(int)
    level = np.full_like(pixels, int(grey(pixels).mean() + 0.5))
    near = {"color": grey(pixels)[..., None], "contrast": level, "brightness": 0}
    for name, nothing in near.items():
        assert np.abs(one(name) - blended(nothing, pixels, 0.7)).max() <= 1, name
    kernel = np.array([[1, 1, 1], [1, 5, 1], [1, 1, 1]]) / 13
    inner = sum(
        kernel[i, j] * pixels[i : SIDE - 2 + i, j : SIDE - 2 + j]
        for i in range(3)
        for j in range(3)
    )
    found = one("sharpness")[1:-1, 1:-1]
    assert np.abs(found - blended(inner, pixels[1:-1, 1:-1], 0.7)).max() <= 2


@pytest.mark.parametrize(("drawn", "sign"), [(0.2, 1), (0.5, 1), (0.7, -1)])
def test_an_image_is_moved_either_way_by_the_same_share_of_a_square_of_any_side(drawn, sign):
    pixels, moved = picture(), sign * 100 / 3 * SIDE / 224
    assert np.array_equal(one("translate_x", drawn), sampled(pixels, (1, 0, moved, 0, 1, 0)))
    assert np.array_equal(one("translate_y", drawn), sampled(pixels, (1, 0, 0, 0, 1, moved)))
    share = sign * 0.1
    assert np.array_equal(one("shear_x", drawn), sampled(pixels, (1, share, 0, 0, 1, 0)))
    assert np.array_equal(one("shear_y", drawn), sampled(pixels, (1, 0, 0, share, 1, 0)))
    angle, half = np.deg2rad(-sign * 10), SIDE / 2  # counter-clockwise, around the middle
    cos, sin = np.cos(angle), np.sin(angle)
    matrix = (cos, sin, half - half * cos - half * sin, -sin, cos, half + half * sin - half * cos)
    assert (one("rotate", drawn) == sampled(pixels, matrix)).mean() > 0.999  # ties of rounding


def test_a_hole_is_cut_around_a_point_and_ends_with_the_image():
    side = 40 / 3 * SIDE / 224
    for across, down in ((0.0, 0.0), (0.5, 0.25), (0.999, 0.999)):
        x, y = SIDE + (1 - SIDE) * across, SIDE + (1 - SIDE) * down
        left, top = int(max(0, x - side / 2)), int(max(0, y - side / 2))
        found, wanted = one("cutout", across, down), picture().astype(int)
        right, bottom = min(SIDE, left + side), min(SIDE, top + side)
        wanted[top : int(bottom) + 1, left : int(right) + 1] = (125, 123, 114)
        assert np.array_equal(found, wanted)


def test_randaugment_applies_two_of_sixteen_one_after_the_other():
    assert len(augmentations._RANDAUGMENT) == len(NAMES) == 16
    draw = Given((NAMES.index("invert") + 0.5) / 16, (NAMES.index("translate_x") + 0.5) / 16, 0.9)
    moved = sampled(255 - picture(), (1, 0, -100 / 3 / 4, 0, 1, 0))
    assert np.array_equal(randaugmented(picture(), draw), moved)
    twice = Given((NAMES.index("invert") + 0.5) / 16, (NAMES.index("invert") + 0.5) / 16)
    assert np.array_equal(randaugmented(picture(), twice), picture())


def test_operations_of_augmix_are_a_tenth_as_strong_at_most():
    pixels = picture().astype(int)
    assert len(augmentations._AUGMIX) == 9
    assert np.array_equal(mild(2, 0.99), pixels & 0b11110000)  # 4 bits, whatever is drawn
    assert np.array_equal(mild(3, 0.0, 0.9), pixels)  # int(0.3) degrees
    assert not np.array_equal(mild(3, 0.99, 0.9), pixels)  # 2 degrees
    above = 256 - int((0.1 + 0.9 * 0.99) * 25.6)
    assert np.array_equal(mild(4, 0.99), np.where(pixels < above, pixels, 255 - pixels))
    # Between pixels by a bilinear filter: 7 of 224 pixels are 1.75 of 56.
    moved = 0.25 * pixels[:, 1:-2] + 0.75 * pixels[:, 2:-1]
    assert np.abs(mild(7, 0.95, 0.1)[:, : SIDE - 3] - moved).max() <= 1
    down = 0.25 * pixels[1:-2] + 0.75 * pixels[2:-1]
    assert np.abs(mild(8, 0.95, 0.1)[: SIDE - 3] - down).max() <= 1


def test_augmix_mixes_standardised_pixels_as_the_code_does():
    """In the code's own order: standardise, then mix by shares of the simplex."""
    u = (0.3, 0.8, 0.6)
    weights = -np.log(1 - np.array(u))
    weights /= weights.sum()
    own = 0.25
    posterized, solarized = (picture() & 0b11110000), picture().astype(int)
    above = 256 - int((0.1 + 0.9 * 0.5) * 25.6)
    solarized = np.where(solarized < above, solarized, 255 - solarized)
    both = np.where((picture() & 0xF0) < above, picture() & 0xF0, 255 - (picture() & 0xF0))
    # Chains of one, one and two operations.
    chains = [0.1, 2.5 / 9, 0.5, 0.1, 4.5 / 9, 0.5, 0.5, 2.5 / 9, 0.5, 4.5 / 9, 0.5]
    draw = Given(*u, own, *chains)
    found = augmixed(picture(), draw)
    assert not draw.left
    assert found.dtype == np.float32

    def standardised(image):
        return (image / 255 - 0.45) / 0.27

    mixed = sum(
        weight * standardised(each)
        for weight, each in zip(weights, (posterized, solarized, both), strict=True)
    )
    wanted = own * standardised(picture()) + (1 - own) * mixed
    np.testing.assert_allclose(standardised(found), wanted, atol=2e-5)


def test_shares_of_augmix_are_uniform_on_the_simplex():
    """Dirichlet(1, 1, 1): each share has the mean 1/3 and the variance 1/18."""
    draw = np.random.default_rng(0).random
    shares = -np.log(1 - draw((4000, 3)))
    shares /= shares.sum(axis=1, keepdims=True)
    assert np.abs(shares.mean(axis=0) - 1 / 3).max() < 0.01
    assert np.abs(shares.var(axis=0) - 1 / 18).max() < 0.003


def test_pictures_of_all_are_pinned():
    # Where one of them moves, raise TRANSFORM_VERSION in operators/images.py.
    image = np.asarray(Image.fromarray(picture(4)).resize((8, 8), Image.Resampling.NEAREST))
    sums = [
        [float(f(image, random.Random(seed).random).sum(dtype=np.float64)) for seed in range(4)]
        for f in (randaugmented, augmixed, recoloured)
    ]
    assert sums[0] == PINNED[0]
    np.testing.assert_allclose(sums[1], PINNED[1], rtol=1e-6)
    assert sums[2] == PINNED[2]


PINNED = (
    [22496.0, 24790.0, 16724.0, 21903.0],
    [23969.3267, 21568.0339, 23838.4795, 23643.9456],
    [23964.0, 14904.0, 23964.0, 14576.0],
)


def test_views_of_mocov3_move_colours_then_drop_them_then_blur():
    def seen(*draws):
        return recoloured(picture(), iter(draws).__next__)

    kept = (0.9, 0.9)  # neither colours nor grey
    sharp, soft = seen(*kept, 0.0), seen(*kept, 1.0)
    blurred = Image.fromarray(picture()).filter(ImageFilter.GaussianBlur(2.0 * SIDE / 224))
    assert np.array_equal(soft, np.asarray(blurred))
    assert np.abs(sharp.astype(int) - picture()).max() < np.abs(soft.astype(int) - picture()).max()

    grey = seen(0.9, 0.1, 0.0)
    assert np.array_equal(grey[..., 0], grey[..., 1])
    assert np.array_equal(grey[..., 0], grey[..., 2])

    # Four draws order brightness, contrast, saturation and hue; then each draws how far, in turn.
    still = seen(0.1, *(0.1, 0.2, 0.3, 0.4), *(0.5, 0.5, 0.5, 0.5), 0.9, 0.0)
    assert np.abs(still.astype(int) - sharp).max() <= 6  # there and back through hue
    light = seen(0.1, *(0.1, 0.2, 0.3, 0.4), *(1.0, 0.5, 0.5, 0.5), 0.9, 0.0)
    wanted = ImageEnhance.Brightness(Image.fromarray(picture())).enhance(1.4)
    assert np.abs(light.astype(int) - np.asarray(wanted)).mean() < 6
