"""Colours that people can tell apart, on either background."""

import itertools
import re
from pathlib import Path

import numpy as np
import pytest

from tasks.plots.looks import COLOURS, GREY, SHAPES, THEMES, Looks, config

# Machado, Oliveira and Fernandes, "A physiologically-based model for simulation of color vision
# deficiency", IEEE TVCG 15, 2009: severity 1, on linear RGB.
SEEN_BY = {
    "all colours": np.eye(3),
    "protanopia": [
        *([0.152286, 1.052583, -0.204868], [0.114503, 0.786281, 0.099216]),
        [-0.003882, -0.048116, 1.051998],
    ],
    "deuteranopia": [
        *([0.367322, 0.860646, -0.227968], [0.280085, 0.672501, 0.047413]),
        [-0.011820, 0.042940, 0.968881],
    ],
    "tritanopia": [
        *([1.255528, -0.076749, -0.178779], [-0.078411, 0.930809, 0.147602]),
        [0.004733, 0.691367, 0.303900],
    ],
}
TO_CONES = [
    *([0.4122214708, 0.5363325363, 0.0514459929], [0.2119034982, 0.6806995451, 0.1073969566]),
    [0.0883024619, 0.2817188376, 0.6299787005],
]
TO_OKLAB = [
    *([0.2104542553, 0.7936177850, -0.0040720468], [1.9779984951, -2.4285922050, 0.4505937099]),
    [0.0259040371, 0.7827717662, -0.8086757660],
]


def linear(colour):
    parts = np.array([int(colour[at : at + 2], 16) / 255 for at in (1, 3, 5)])
    return np.where(parts <= 0.04045, parts / 12.92, ((parts + 0.055) / 1.055) ** 2.4)


def contrast(one, other):
    light, dark = sorted((linear(c) @ [0.2126, 0.7152, 0.0722] for c in (one, other)), reverse=True)
    return (light + 0.05) / (dark + 0.05)


def oklab(colour, seen):
    cones = np.clip(np.array(seen) @ linear(colour), 0, 1) @ np.array(TO_CONES).T
    return np.cbrt(cones) @ np.array(TO_OKLAB).T


@pytest.mark.parametrize("theme", THEMES)
def test_marks_and_texts_have_the_contrast_of_wcag(theme):
    colours = THEMES[theme]
    for mark in (*COLOURS, GREY):
        assert contrast(mark, colours.background) >= 3
    for text in (colours.text, colours.quiet):
        assert contrast(text, colours.background) >= 4.5


def test_marks_stand_out_from_the_cards_of_the_page():
    style = (Path(__file__).parents[3] / "tasks/site/assets/style.css").read_text()
    (cards,) = re.findall(r"--card: light-dark\((#\w+), (#\w+)\)", style)
    for card in cards:
        assert all(contrast(mark, card) >= 3 for mark in (*COLOURS, GREY))


@pytest.mark.parametrize("who", SEEN_BY)
def test_any_two_colours_stay_apart(who):
    for one, other in itertools.combinations(COLOURS, 2):
        assert np.linalg.norm(oklab(one, SEEN_BY[who]) - oklab(other, SEEN_BY[who])) > 0.07


def test_a_method_keeps_its_look_and_no_two_that_ship_share_one():
    from tasks.pages.known import method_rows

    trains = {row["method"]: row["trains"] for row in method_rows()}
    assert len(trains) > 20
    looks = Looks(trains)
    assert len({looks.of(name) for name in trains}) == len(trains)
    assert looks.of("of-a-user") == Looks({}).of("of-a-user")
    assert len({looks.of(f"mine-{number}") for number in range(500)}) == len(COLOURS) * len(SHAPES)


def test_a_transparent_picture_has_no_background():
    assert config("dark", transparent=True)["background"] is None
    assert config("dark")["background"] == THEMES["dark"].background
