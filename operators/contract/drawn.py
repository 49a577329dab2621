"""Drawn examples: they lie around a direction of their own for each label, and cost nothing."""

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from operators.backbones import DualEncoder
from operators.backbones.language import LanguageModel
from operators.episodes.episode import Classes, Vocabulary
from operators.episodes.texts import DatasetTexts
from operators.episodes.views import View
from operators.methods import Method
from operators.shapes import Float
from operators.tracks import Track

# Names of very different lengths, as are the sentences about them.
CLASSES = Classes(
    ("cat", "a very small orange boat", "dog", "oak tree"),
    ("a photo of a {}.",),
    descriptions=(
        ("a cat has soft fur and a long tail.", "a photo of a cat with two ears."),
        ("a boat on the sea.",),
        (
            "a dog with a wet nose, which barks.",
            "a photo of a dog.",
            "a brown dog in the grass.",
        ),
        (
            "an oak tree has green leaves and a thick brown trunk, under which a dog may sleep "
            "all day.",
        ),
    ),
)
# Four answers that small vocabularies have, in a question that models of both kinds can answer.
TEXT_CLASSES = Classes(
    CLASSES.names,
    ("{text} it was {answer}",),
    descriptions=CLASSES.descriptions,
    verbalizer=("good", "bad", "great", "not"),
)
OTHERS = Classes(
    ("zebra", "tea pot"),
    CLASSES.templates,
    descriptions=(("an animal with stripes.",), ("a round pot.", "it has a lid.")),
)
# Pairs of an attribute and an object, of several words too.
_COMPOSED = (("small", "cat"), ("very old", "cat"), ("small", "oak tree"), ("very old", "oak tree"))
PAIRS = Classes(
    tuple(map(" ".join, _COMPOSED)),
    CLASSES.templates,
    descriptions=CLASSES.descriptions,
    vocabulary=Vocabulary.of(_COMPOSED),
)
OTHER_PAIRS = Classes(("small zebra", "round tea pot"), CLASSES.templates)
FILLERS = ("a film", "it was a movie", "review", "a feeling", "not a film, a movie")
VIEW_NOISE = 0.2  # beside that of the examples themselves


class DrawnFeatures:
    """Features in memory, one row each; there are no pixels behind them.

    Attributes:
        values: (n, d).
        read: Rows that were asked for, in order.
        views: How often features were read under each view, None being the centre crop.
    """

    def __init__(self, values: Tensor) -> None:
        self.values = values
        self.read: list[int] = []
        self.views: dict[View | None, int] = {}

    def features(self, rows: np.ndarray, view: View | None = None) -> Float[Tensor, "b d"]:
        """See `ImageSource.features`."""
        self.read += rows.tolist()
        self.views[view] = self.views.get(view, 0) + 1
        return self.under(view)[rows]

    def under(self, view: View | None) -> Float[Tensor, "n d"]:
        """All features as a view shows them: with noise of its own."""
        if view is None:
            return self.values
        generator = torch.Generator().manual_seed(1000 * (view.seed or 0) + view.number)
        return self.values + VIEW_NOISE * torch.randn(self.values.shape, generator=generator)

    def pixels(self, rows: np.ndarray, view: View | None = None) -> Float[Tensor, "b 3 s s"]:
        """See `ImageSource.pixels`.

        Raises:
            AssertionError: Always.
        """
        raise AssertionError("pixels were asked for, where frozen features do")


class DrawnPictures:
    """Pixels in memory, one picture a row, which a backbone encodes; every view shows the same.

    Args:
        pixels: (n, 3, s, s).
        backbone: Encodes them.
    """

    def __init__(self, pixels: Tensor, backbone: DualEncoder) -> None:
        self.values = pixels
        self.encode = backbone.encode_images

    def features(self, rows: np.ndarray, view: View | None = None) -> Float[Tensor, "b d"]:
        """See `ImageSource.features`."""
        return self.encode(self.values[rows])

    def pixels(self, rows: np.ndarray, view: View | None = None) -> Float[Tensor, "b 3 s s"]:
        """See `ImageSource.pixels`."""
        return self.values[rows]


def drawn_features(
    labels: Sequence[int] | np.ndarray, width: int, *, seed: int = 0, noise: float = 0.5
) -> DrawnFeatures:
    """A source of features.

    Args:
        labels: Of each row.
        width: d of a feature.
        seed: Of all numbers.
        noise: Standard deviation round the direction of a label, whose own is 1.
    """
    return DrawnFeatures(_around_centres(labels, width, seed=seed, noise=noise))


def drawn_pictures(
    backbone: DualEncoder, labels: Sequence[int] | np.ndarray, *, seed: int = 0, noise: float = 0.5
) -> DrawnPictures:
    """A source of pictures; those of a label resemble each other.

    Args:
        backbone: Says how large they are, and encodes them.
        labels: Of each row.
        seed: Of all numbers.
        noise: As for `drawn_features`.
    """
    side = backbone.preprocess.size
    pixels = _around_centres(labels, 3 * side**2, seed=seed, noise=noise)
    return DrawnPictures(pixels.view(-1, 3, side, side), backbone)


def drawn_images(
    method: type[Method],
    backbone: DualEncoder,
    labels: Sequence[int] | np.ndarray,
    *,
    seed: int = 0,
) -> DrawnFeatures | DrawnPictures:
    """Features for a method that needs no more, so that it is caught looking behind them.

    Args:
        method: Its card says what it needs.
        backbone: See `drawn_pictures`.
        labels: Of each row.
        seed: Of all numbers.
    """
    if method.card.needs or method.card.pixels:
        return drawn_pictures(backbone, labels, seed=seed)
    return drawn_features(labels, backbone.feature_width, seed=seed)


def _around_centres(
    labels: Sequence[int] | np.ndarray, width: int, *, seed: int, noise: float
) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    which = torch.as_tensor(np.asarray(labels), dtype=torch.long)
    centres = torch.randn(int(which.max()) + 1, width, generator=generator)
    return centres[which] + noise * torch.randn(len(which), width, generator=generator)


def drawn_texts(
    method: type[Method],
    backbone: LanguageModel,
    labels: Sequence[int] | np.ndarray,
    *,
    seed: int = 0,
) -> DatasetTexts:
    """Texts that hold the word of their class among others, of several lengths.

    Args:
        method: Not looked at: what it reads of a text is its own affair.
        backbone: Gives features of them.
        labels: Of each row.
        seed: Of the words beside that of the class.
    """
    drawn = np.random.default_rng(seed)
    which = np.asarray(labels)
    texts = [f"{drawn.choice(FILLERS)} {TEXT_CLASSES.words[label]}" for label in which.tolist()]
    return DatasetTexts(lambda rows: [texts[row] for row in rows], backbone)


class DrawnExamples(NamedTuple):
    """What the contract shows methods of a kind of data.

    Attributes:
        classes: To choose from.
        others: Two classes that are not among them.
        draw: From a method, a backbone and labels to a source of examples.
    """

    classes: Classes
    others: Classes
    draw: Callable[..., Any]


_DRAWN = {
    "image": DrawnExamples(CLASSES, OTHERS, drawn_images),
    "text": DrawnExamples(TEXT_CLASSES, OTHERS, drawn_texts),
}
_OF_TRACKS = {"compositional": DrawnExamples(PAIRS, OTHER_PAIRS, drawn_images)}


def drawn_for(track: Track) -> DrawnExamples:
    """The examples of a track: its own where it has some, else those of its kind of data."""
    return _OF_TRACKS.get(track.name) or _DRAWN[track.kind]
