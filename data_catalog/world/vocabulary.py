"""What there is in the world, and which of it pretraining never sees.

A *kind* is what a picture shows ("cat", "the letter q", "star"). A *style* is how a kind looks:
an icon set, a font, or a form drawn here. Held out of pretraining are

- the icon set `phosphor` and the font families `HELD_OUT_FONTS`: new looks of known kinds;
- `NOVEL`: kinds that it never sees at all;
- `held_out_pair(colour, kind)`: a quarter of the combinations of `PAIR_COLOURS` and `PAIR_KINDS`;
- the domain `sketch` (`scenes.py`).

Sources: Font Awesome 6 Free, Material Design Icons 6, Remix Icon 2.5 and Phosphor 1.3 as packed in
qtawesome (SIL OFL 1.1, Apache 2.0, Apache 2.0, MIT); Lucide (ISC) and Heroicons (MIT) as packed in
the packages of their names; DejaVu, STIX and Computer Modern as packed in
matplotlib; Lato, Manrope, Caladea, Fredoka One and Amatic SC (SIL OFL 1.1) as packed on PyPI.
"""

import csv
import json
import string
import zipfile
from collections.abc import Iterator
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

# The sets of `icons.csv`: fonts of qtawesome, and SVG files in the archive of a package.
HELD_OUT_ICON_SET = "phosphor"
_FONT_SETS = {
    "fontawesome": ("fontawesome6-solid-webfont", "6.7.2"),
    "material": ("materialdesignicons6-webfont", "6.9.96"),
    "remix": ("remixicon", "2.5.0"),
    "phosphor": ("phosphor", "1.3.0"),
}
_SVG_SETS = ("lucide", "heroicons")
# How a set calls an icon's filled form and its outline.
_FILLED = {
    "fontawesome": "{}", "material": "{}", "remix": "{}-fill", "heroicons": "solid/{}",
    "phosphor": "{}-fill",
}  # fmt: skip
_LINES = {
    "material": "{}-outline", "remix": "{}-line", "lucide": "{}", "heroicons": "outline/{}",
}  # fmt: skip
# How a set names another drawing of the same thing.
_VARIANTS = {"material": ("-variant",), "remix": tuple(f"-{number}" for number in range(2, 9))}

Finish = Literal["filled", "line", "inked"]


@dataclass(frozen=True)
class Style:
    """One look of a kind.

    Attributes:
        file: Font, or archive of SVG files; empty for a shape that is drawn here.
        text: The character, or the file in the archive; for a shape its name.
        family: Icon set or stem of the font's file; `drawn` for a shape.
        finish: `inked` fills the inside of a `line` drawing and leaves its inner lines blank.
    """

    file: str
    text: str
    family: str
    finish: Finish = "filled"


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
    """Whether pretraining never paints a `kind` in `colour`: one pair in four of the tables.

    Args:
        colour: Its name.
        kind: Its name.
    """
    if colour not in PAIR_COLOURS or kind not in PAIR_KINDS:
        return False
    return (PAIR_COLOURS.index(colour) + 3 * PAIR_KINDS.index(kind)) % 4 == 0


def _icons() -> list[Kind]:
    rows = csv.DictReader((Path(__file__).parent / "icons.csv").open(encoding="utf-8"))
    found = []
    for row in rows:
        held_out = tuple(_looks(HELD_OUT_ICON_SET, row[HELD_OUT_ICON_SET]))
        seen = tuple(
            style
            for family in (*_FONT_SETS, *_SVG_SETS)
            if family != HELD_OUT_ICON_SET
            for style in _looks(family, row[family])
        )
        if held_out:
            found.append(Kind(row["name"], "icon", seen, held_out))
        else:
            filled = tuple(style for style in seen if style.finish == "filled")
            found.append(Kind(row["name"], "icon", (), filled))
    return found


def _looks(family: str, names: str) -> Iterator[Style]:
    """The icons of these names, split by `|`, in one set: filled, as lines, and lines inked."""
    file, glyphs = _font_set(family) if family in _FONT_SETS else _svg_set(family)
    bare = [name for name in names.split("|") if name]
    bare += [name + ending for name in tuple(bare) for ending in _VARIANTS.get(family, ())]
    for name in bare:
        for pattern, finishes in (
            (_FILLED.get(family, ""), _AS_FILLED),
            (_LINES.get(family, ""), _AS_LINES),
        ):
            if glyph := glyphs.get(pattern.format(name)):
                yield from (Style(file, glyph, family, finish) for finish in finishes)


_AS_FILLED: tuple[Finish, ...] = ("filled",)
_AS_LINES: tuple[Finish, ...] = ("line", "inked")


@cache
def _font_set(family: str) -> tuple[str, dict[str, str]]:
    """File of a set's font, and the character of each name."""
    stem, version = _FONT_SETS[family]
    folder = find_package("qtawesome", "qtawesome") / "fonts"
    codes = json.loads((folder / f"{stem}-charmap-{version}.json").read_text())
    characters = {name: chr(int(code, 16)) for name, code in codes.items()}
    return str(folder / f"{stem}-{version}.ttf"), characters


@cache
def _svg_set(family: str) -> tuple[str, dict[str, str]]:
    """Archive of a set's drawings, and the member of each name."""
    archive = find_package(family, family) / f"{family}.zip"
    with zipfile.ZipFile(archive) as drawings:
        members = drawings.namelist()
    return str(archive), {member.removesuffix(".svg"): member for member in members}


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
