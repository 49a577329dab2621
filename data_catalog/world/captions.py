"""From a scene to a caption of varied wording.

The kinds are always named, in words. Colour, texture, size, number, place, background and domain
are named some of the time, so that captions differ in what they tell, as captions of photos do.
"""

import random

from data_catalog.world.scenes import Scene, Thing

_MEDIA = {
    "clean": ("a picture of", "an image of", "a drawing of", "a clean picture of", "an icon of"),
    "photo": ("a photo of", "a photograph of", "a noisy photo of", "a close-up photo of"),
    "blurred": ("a blurry photo of", "a blurred image of", "a small blurry picture of",
                "a low resolution photo of", "a pixelated photo of"),
    "inverted": ("a negative of", "an inverted picture of", "a photo negative of"),
    "sketch": ("a sketch of", "an outline of", "a pencil drawing of"),
}  # fmt: skip
_ANY = ("a photo of", "a picture of", "an image of", "there is", "this is", "a view of")
_NUMBERS = {2: "two", 3: "three", 4: "four"}
_PLACES = {
    (0, 0): "in the top left corner", (2, 0): "in the top right corner",
    (0, 2): "in the bottom left corner", (2, 2): "in the bottom right corner",
    (1, 0): "at the top", (1, 2): "at the bottom", (0, 1): "on the left", (2, 1): "on the right",
    (1, 1): "in the center",
}  # fmt: skip
_PLURALS = {
    "leaf": "leaves", "bus": "buses", "cross": "crosses", "wrench": "wrenches",
    "scissors": "pairs of scissors", "headphones": "pairs of headphones",
    "compass": "compasses", "flask": "flasks", "mouse": "mice", "fish": "fish",
    "wine glass": "wine glasses", "magnifying glass": "magnifying glasses",
}  # fmt: skip
_PAIRS = frozenset({"scissors", "headphones", "glasses"})


def caption(scene: Scene, rng: random.Random, detail: float = 1.0) -> str:
    """One of the many true captions of `scene`.

    Args:
        scene: What is described.
        rng: Draws the wording.
        detail: Scales how often more than the kinds is told; 0 for names alone.
    """
    coloured = scene.domain not in ("inverted", "sketch")  # their colours are not those named
    first = scene.things[0]
    if scene.relation:
        second = scene.things[1]
        where = {"above": ("above", "below"), "left": ("to the left of", "to the right of")}
        forth, back = where[scene.relation]
        names = [noun(thing, rng, coloured, 0.4 * detail) for thing in (first, second)]
        if rng.random() < 0.3:
            text = f"{names[0]} and {names[1]}"
        elif rng.random() < 0.5:
            text = f"{names[0]} {forth} {names[1]}"
        else:
            text = f"{names[1]} {back} {names[0]}"
    elif len(scene.things) > 1:
        described = _described(first, rng, coloured, 0.5 * detail)
        many = plural(first.kind.phrase)
        number = _NUMBERS[len(scene.things)] if rng.random() < 0.85 else "several"
        text = " ".join([number, *described, many])
    else:
        text = noun(first, rng, coloured, 0.4 * detail)
        if rng.random() < 0.12 * detail:
            text += f" {_PLACES[_third(first.place.x), _third(first.place.y)]}"
    if coloured and rng.random() < 0.16 * detail:
        text += f" on {article(scene.background)} {scene.background} background"
    what = rng.random()
    if what < 0.45:
        text = f"{rng.choice(_MEDIA[scene.domain])} {text}"
    elif what < 0.85:
        text = f"{rng.choice(_ANY)} {text}"
    return text + ("." if rng.random() < 0.5 else "")


def noun(thing: Thing, rng: random.Random, coloured: bool, detail: float) -> str:
    """The thing with its article: "a small red star", "the letter q", "a pair of scissors".

    Args:
        thing: What is named.
        rng: Random stream of the words.
        coloured: Whether its colour is said.
        detail: How often its size, texture and colour are said, 0..1.
    """
    described = _described(thing, rng, coloured, detail)
    if thing.kind.name in _PAIRS:
        return " ".join(
            [article((described or ["pair"])[0]), *described, "pair of", thing.kind.name]
        )
    name = thing.kind.phrase
    what = rng.random()
    if thing.kind.group == "digit":
        if what < 0.25:
            name = f"number {thing.kind.name}"
        elif what < 0.5:
            name = thing.kind.name
    elif thing.kind.group == "letter" and what < 0.3:
        name = (
            f"{'capital' if thing.style.text.isupper() else 'lowercase'} letter {thing.kind.name}"
        )
    words = [*described, name]
    known = thing.kind.group in ("letter", "digit") and not described
    return " ".join(["the" if known and rng.random() < 0.7 else article(words[0]), *words])


def plural(name: str) -> str:
    """The plural of a kind."""
    for one, many in _PLURALS.items():
        if name == one:
            return many
    return name + "s"


def article(word: str) -> str:
    """The indefinite article of a word."""
    vowel = word[0] in "aeiou" and not word.startswith(("one", "euro"))
    return "an" if vowel or word == "hourglass" else "a"


def _described(thing: Thing, rng: random.Random, coloured: bool, detail: float) -> list[str]:
    words = []
    if rng.random() < 0.35 * detail and not 0.52 < thing.place.size < 0.8:
        small = thing.place.size <= 0.52
        words.append(rng.choice(("small", "little", "tiny") if small else ("large", "big")))
    if coloured and thing.texture != "solid" and rng.random() < detail:
        words.append(thing.texture)
    if coloured and rng.random() < detail:
        words.append(thing.colour)
    return words


def _third(part: float) -> int:
    return 0 if part < 0.4 else 2 if part > 0.6 else 1
