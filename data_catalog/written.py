"""Labelled sets of sentences that are written by a grammar, as `world` draws sets of pictures."""

import random
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field

from data_catalog.sources.base import Example, digest_of

_DRAWS = 1000  # of one sentence, until it is new


@dataclass(frozen=True)
class WrittenSet:
    """Sentences of a named set, split by split and class by class, from `write`.

    Each sentence has a random stream of its own, and no two are equal in the whole set, so that
    none of train is in test.

    Attributes:
        name: Name of the set; part of every random stream.
        revision: Moves when the sentences do; what is ingested already is then read anew.
        classes: Class names, in label order.
        per_class: Sentences of each class, by split.
        write: From a random stream, a class name and a split to a sentence. What only the test
            split has is its business.
    """

    name: str
    revision: int
    classes: tuple[str, ...]
    per_class: Mapping[str, int]
    write: Callable[[random.Random, str, str], str] = field(repr=False, compare=False)

    def holds(self) -> str:
        """The kind of data."""
        return "text"

    def examples(self) -> Iterator[Example]:
        """Yields every sentence; see `Source.examples`."""
        seen: set[str] = set()
        for split, count in self.per_class.items():
            for label, name in enumerate(self.classes):
                for number in range(count):
                    sentence = self._new(seen, name, split, number)
                    path = f"{split}/{name}/{number}"
                    yield Example(sentence.encode(), path, label, name, split)

    def _new(self, seen: set[str], name: str, split: str, number: int) -> str:
        """A sentence that is not in `seen`, which it is put into."""
        stream = random.Random(f"{self.name}/{split}/{name}/{number}")
        for _ in range(_DRAWS):
            sentence = self.write(stream, name, split)
            if sentence not in seen:
                seen.add(sentence)
                return sentence
        raise ValueError(
            f"{self.name} has too few sentences for {self.per_class[split]} of {name} in {split}. "
            "Give its grammar more words, or ask for fewer."
        )

    def total(self) -> int:
        """Sentences of all classes and splits."""
        return len(self.classes) * sum(self.per_class.values())

    def signature(self) -> str:
        """Digest of what decides the sentences."""
        sizes = sorted(self.per_class.items())
        return digest_of(["written set", self.revision, self.name, self.classes, sizes])

    def describe(self) -> str:
        """The set and its revision."""
        return f"{self.name}, sentences written by Shotboard's grammar, revision {self.revision}"

    def sizes(self) -> dict[str, int]:
        """Sentences by split."""
        return {split: count * len(self.classes) for split, count in self.per_class.items()}


def sentence_case(text: str) -> str:
    """The text with a capital first letter."""
    return text[:1].upper() + text[1:]
