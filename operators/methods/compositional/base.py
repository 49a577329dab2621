"""The contract of what learns of attributes and objects by themselves."""

from collections.abc import Sequence
from dataclasses import replace
from typing import ClassVar

from operators.backbones import DualEncoder
from operators.episodes.episode import Classes, Vocabulary
from operators.methods.image_classification.base import StaticClassifier


class PairClassifier(StaticClassifier):
    """Classifies images of pairs of an attribute and an object by one vector a pair.

    Attributes:
        vocabulary: What the classes are composed of.
    """

    track: ClassVar[str] = "compositional"

    def __init__(self, backbone: DualEncoder, classes: Classes) -> None:
        """Holds backbone and classes.

        Args:
            backbone: Frozen.
            classes: The k pairs. Where they do not say what they are composed of, the last word of
                a name is the object, and what stands before it the attribute.

        Raises:
            ValueError: The backbone lacks something, or a name is a single word.
        """
        if classes.vocabulary is None:
            classes = replace(classes, vocabulary=read_pairs(classes.names))
        super().__init__(backbone, classes)

    @property
    def vocabulary(self) -> Vocabulary:
        """See `Classes.vocabulary`."""
        assert self.classes.vocabulary is not None
        return self.classes.vocabulary


def read_pairs(names: Sequence[str], known: Vocabulary | None = None) -> Vocabulary:
    """What some names are composed of.

    Args:
        names: `attribute object` each.
        known: Attributes and objects that are looked for first, since both may have many words.

    Raises:
        ValueError: A name is a single word.
    """
    pairs = []
    for name in names:
        words = name.split()
        if len(words) < 2:
            raise ValueError(
                f"{name!r} is no pair: write an attribute and an object, such as 'red {name}'."
            )
        cuts = [(" ".join(words[:n]), " ".join(words[n:])) for n in range(1, len(words))]
        told = [c for c in cuts if known and c[0] in known.attributes and c[1] in known.objects]
        pairs.append((told or cuts)[-1])
    return Vocabulary.of(pairs)
