"""What there is in the world, and which of it pretraining never sees.

A *kind* is what a picture shows ("cat", "the letter q", "star"). A *style* is how a kind looks:
an icon set, a font, or a form drawn here. Held out of pretraining are

- the icon set `phosphor` and the font families `HELD_OUT_FONTS`: new looks of known kinds;
- `NOVEL`: kinds that it never sees at all;
- `held_out_pair(colour, kind)`: a quarter of the combinations of `PAIR_COLOURS` and `PAIR_KINDS`;
- the domain `sketch` (`scenes.py`).

Sources: Font Awesome 6 Free, Material Design Icons 6, Remix Icon 2.5 and Phosphor 1.3 as packed in
qtawesome (SIL OFL 1.1, Apache 2.0, Apache 2.0, MIT); DejaVu, STIX and Computer Modern as packed in
matplotlib; Lato, Manrope, Caladea, Fredoka One and Amatic SC (SIL OFL 1.1) as packed on PyPI.
"""

import csv
import json
import string
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Literal

from data_catalog.packages import find_package

Group = Literal["icon", "shape", "letter", "digit", "symbol"]

DIGITS = ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine")
SYMBOLS = {
    "plus sign": "+",
    "equals sign": "=",
    "percent sign": "%",
    "question mark": "?",
    "exclamation mark": "!",
    "ampersand": "&",
    "at sign": "@",
    "hash sign": "#",
    "dollar sign": "$",
    "euro sign": "€",
    "asterisk": "*",
    "section sign": "§",
}
SHAPES = (
    "circle", "square", "triangle", "diamond", "pentagon", "hexagon", "star", "heart", "cross",
    "ring", "crescent", "arrow", "oval", "semicircle", "trapezoid", "spiral",
)  # fmt: skip

COLOURS = {
    "red": (214, 40, 40),
    "green": (44, 150, 60),
    "blue": (38, 84, 200),
    "yellow": (240, 210, 40),
    "orange": (240, 132, 30),
    "purple": (128, 50, 160),
    "pink": (245, 145, 190),
    "brown": (122, 78, 40),
    "black": (20, 20, 20),
    "white": (246, 246, 246),
    "gray": (128, 128, 128),
    "cyan": (60, 200, 215),
}
TEXTURES = ("solid", "striped", "dotted", "checkered")

PAIR_COLOURS = ("red", "green", "blue", "yellow", "orange", "purple", "pink", "brown")
PAIR_KINDS = ("star", "heart", "circle", "triangle", "car", "house", "tree", "umbrella")

# One folder a family; the names of the faces follow.
FONTS: dict[tuple[str, str, str], tuple[str, ...]] = {
    ("matplotlib", "matplotlib", "mpl-data/fonts/ttf"): (
        "DejaVuSans", "DejaVuSans-Bold", "DejaVuSans-Oblique", "DejaVuSansMono",
        "DejaVuSansMono-Bold", "DejaVuSerif", "DejaVuSerif-Bold", "DejaVuSerif-Italic",
        "STIXGeneral", "STIXGeneralBol", "STIXGeneralItalic", "cmr10", "cmb10", "cmss10",
        "cmtt10", "cmti10",
    ),
    ("font_lato", "font-lato", "files"): (
        "Lato-Light", "Lato-Regular", "Lato-Bold", "Lato-Black", "Lato-Italic", "Lato-BoldItalic",
    ),
    ("font_fredoka_one", "font-fredoka-one", "files"): ("FredokaOne-Regular",),
    ("font_amatic_sc", "font-amatic-sc", "files"): ("AmaticSC-Regular", "AmaticSC-Bold"),
}  # fmt: skip
HELD_OUT_FONTS: dict[tuple[str, str, str], tuple[str, ...]] = {
    ("font_caladea", "font-caladea", "files"): (
        "Caladea-Regular", "Caladea-Bold", "Caladea-Italic", "Caladea-BoldItalic",
    ),
    ("font_manrope", "font-manrope", "files"): ("Manrope-Light", "Manrope-Medium", "Manrope-Bold"),
}  # fmt: skip
_NO_SYMBOLS = ("cm",)  # Computer Modern keeps other characters at these code points

ICON_SETS = {
    "fontawesome": ("fontawesome6-solid-webfont", "6.7.2", ""),
    "material": ("materialdesignicons6-webfont", "6.9.96", ""),
    "remix": ("remixicon", "2.5.0", "-fill"),
    "phosphor": ("phosphor", "1.3.0", "-fill"),
}
HELD_OUT_ICON_SET = "phosphor"
# How a set names another drawing of the same thing.
VARIANTS = {"material": ("-variant",), "remix": tuple(f"-{number}" for number in range(2, 9))}


@dataclass(frozen=True)
class Style:
    """One look of a kind.

    Attributes:
        font: File of the font; empty for a shape that is drawn here.
        text: The character; for a shape its name.
        family: Icon set or stem of the font's file; `drawn` for a shape.
    """

    font: str
    text: str
    family: str


@dataclass(frozen=True)
class Kind:
    """Something a picture can show.

    Attributes:
        name: As in captions and class names: "coffee cup", "seven", "q".
        group: What sort of thing it is.
        seen: Styles that pretraining draws; empty for a novel kind.
        held_out: Styles that it never draws.
    """

    name: str
    group: Group
    seen: tuple[Style, ...]
    held_out: tuple[Style, ...]

    @property
    def phrase(self) -> str:
        """The kind as a noun that takes an article: "star", "letter q", "digit seven"."""
        return f"{self.group} {self.name}" if self.group in ("letter", "digit") else self.name


@cache
def kinds() -> dict[str, Kind]:
    """Every kind by name, in a fixed order.

    Raises:
        SourceUnavailable: A package that brings a font is not installed.
    """
    found = [*_icons(), *_shapes(), *_characters()]
    return {kind.name: kind for kind in found}


@cache
def known(group: Group) -> list[Kind]:
    """The kinds of a group that pretraining sees."""
    return [kind for kind in kinds().values() if kind.group == group and kind.seen]


def novel() -> list[Kind]:
    """The kinds that pretraining never sees."""
    return [kind for kind in kinds().values() if not kind.seen]


def held_out_pair(colour: str, kind: str) -> bool:
    """Whether pretraining never paints a `kind` in `colour`: one pair in four of the tables."""
    if colour not in PAIR_COLOURS or kind not in PAIR_KINDS:
        return False
    return (PAIR_COLOURS.index(colour) + 3 * PAIR_KINDS.index(kind)) % 4 == 0


def _icons() -> list[Kind]:
    rows = csv.DictReader((Path(__file__).parent / "icons.csv").open(encoding="utf-8"))
    found = []
    for row in rows:
        styles = {family: _looks(family, row[family]) for family in ICON_SETS if row[family]}
        held_out = styles.pop(HELD_OUT_ICON_SET, ())
        seen = tuple(style for looks in styles.values() for style in looks)
        if held_out:
            found.append(Kind(row["name"], "icon", seen, held_out))
        else:
            found.append(Kind(row["name"], "icon", (), seen))
    return found


def _looks(family: str, name: str) -> tuple[Style, ...]:
    """The icon of that name in one set, and its variants where the set has some."""
    stem, version, suffix = ICON_SETS[family]
    folder = find_package("qtawesome", "qtawesome") / "fonts"
    codes = _codes(folder / f"{stem}-charmap-{version}.json")
    first = name + suffix if name + suffix in codes else name
    others = [f"{name}{ending}{suffix}" for ending in VARIANTS.get(family, ())]
    names = [first, *(other for other in others if other in codes)]
    file = str(folder / f"{stem}-{version}.ttf")
    return tuple(Style(file, chr(int(codes[found], 16)), family) for found in names)


@cache
def _codes(path: Path) -> dict[str, str]:
    return json.loads(path.read_text())


def _shapes() -> list[Kind]:
    return [Kind(name, "shape", (Style("", name, "drawn"),), ()) for name in SHAPES]


def _characters() -> list[Kind]:
    seen, held_out = _faces(FONTS), _faces(HELD_OUT_FONTS)
    found = []
    for letter in string.ascii_lowercase:
        both = (letter.upper(), letter)
        found.append(
            Kind(
                letter,
                "letter",
                tuple(Style(f, c, Path(f).stem) for f in seen for c in both),
                tuple(Style(f, c, Path(f).stem) for f in held_out for c in both),
            )
        )
    for number, name in enumerate(DIGITS):
        found.append(_character(name, "digit", str(number), seen, held_out))
    full = [face for face in seen if not Path(face).stem.startswith(_NO_SYMBOLS)]
    full = [face for face in full if "Amatic" not in face and "Fredoka" not in face]
    found += [_character(n, "symbol", c, full, held_out) for n, c in SYMBOLS.items()]
    return found


def _character(name: str, group: Group, text: str, seen: list[str], held_out: list[str]) -> Kind:
    return Kind(
        name,
        group,
        tuple(Style(face, text, Path(face).stem) for face in seen),
        tuple(Style(face, text, Path(face).stem) for face in held_out),
    )


def _faces(fonts: dict[tuple[str, str, str], tuple[str, ...]]) -> list[str]:
    return [
        str(find_package(module, distribution) / folder / f"{face}.ttf")
        for (module, distribution, folder), faces in fonts.items()
        for face in faces
    ]
