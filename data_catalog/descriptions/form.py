"""The file of descriptions: sentences by class name, and who wrote them."""

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from data_catalog.card import DatasetCard
from data_catalog.json_text import JSONError, load_json
from data_catalog.wording import did_you_mean, plural, some

_KEYS = ("source", "license", "descriptions")


@dataclass(frozen=True)
class Descriptions:
    """What is said of classes.

    Attributes:
        sentences: By class name, at least one each, white space put in order.
        source: Who wrote them, and where they were published.
        license: Of the sentences.
    """

    sentences: Mapping[str, tuple[str, ...]]
    source: str = ""
    license: str = ""

    @classmethod
    def from_json(cls, text: str) -> "Descriptions":
        """Reads a file of descriptions.

        Either `{"source": ., "license": ., "descriptions": {class: [sentence, ..]}}`, or the
        sentences by class alone, which is how the authors of CuPL publish theirs.

        Raises:
            ValueError: The text is not JSON or has another form; the message names the class.
        """
        try:
            values = load_json(text, _refuse_repeats)
        except JSONError as error:
            raise ValueError(f"descriptions are no valid JSON: {error}.") from error
        if not isinstance(values, dict):
            raise ValueError(
                'descriptions are no object. Write {"class name": ["sentence", ..], ..}.'
            )
        if not isinstance(values.get("descriptions"), dict):
            return cls(_read_sentences(values))
        for key in values:
            if key not in _KEYS:
                raise ValueError(
                    f"no key beside descriptions is called {key!r}. {did_you_mean(key, _KEYS)}"
                )
        origin = {key: values.get(key, "") for key in ("source", "license")}
        for key, value in origin.items():
            if not isinstance(value, str):
                raise ValueError(f"{key} of the descriptions is {value!r} and no text. Quote it.")
        return cls(_read_sentences(values["descriptions"]), **origin)

    def to_json(self) -> str:
        """What `from_json` reads, a class a line."""
        lines = [
            f"  {json.dumps(name, ensure_ascii=False)}: "
            + json.dumps(list(sentences), ensure_ascii=False)
            for name, sentences in self.sentences.items()
        ]
        head = "".join(
            f' "{key}": {json.dumps(getattr(self, key), ensure_ascii=False)},\n'
            for key in ("source", "license")
        )
        return "{\n" + head + ' "descriptions": {\n' + ",\n".join(lines) + "\n }\n}\n"

    def of(self, classes: Sequence[str]) -> tuple[tuple[str, ...], ...]:
        """The sentences of some classes, in their order.

        A name is found as the dataset writes it or as it stands in a prompt, else in other
        capitals where only one class is called so.

        Raises:
            ValueError: A class has no sentence, or sentences are of no class; names them.
        """
        keys = {_spelled(name): name for name in self.sentences}
        folded: dict[str, list[str]] = {}
        for name in self.sentences:
            folded.setdefault(_spelled(name).casefold(), []).append(name)
        found: list[str | None] = []
        for name in classes:
            near = folded.get(_spelled(name).casefold(), [])
            found.append(keys.get(_spelled(name)) or (near[0] if len(near) == 1 else None))
        missing = [name for name, key in zip(classes, found, strict=True) if key is None]
        known = set(found)
        strangers = [name for name in self.sentences if name not in known]
        if strangers:
            hint = did_you_mean(strangers[0], missing or classes)
            raise ValueError(
                f"no class is called {some(map(repr, strangers))}, which the descriptions name. "
                f"{hint} Rename it in the file, or take it out."
            )
        if missing:
            raise ValueError(
                f"{len(missing)} of {len(classes)} classes have no description: "
                f"{some(map(repr, missing))}. Give each at least one sentence."
            )
        return tuple(self.sentences[key] for key in found if key is not None)

    def digest(self, classes: Sequence[str]) -> str:
        """Sixteen hex digits of what is said of some classes, whoever said it.

        Raises:
            ValueError: As `of`.
        """
        text = json.dumps([list(sentences) for sentences in self.of(classes)])
        return hashlib.sha256(text.encode()).hexdigest()[:16]

    @property
    def text(self) -> str:
        """Numbers and origin, for people."""
        count = sum(map(len, self.sentences.values()))
        classes = f"{len(self.sentences):,} class{'es' * (len(self.sentences) != 1)}"
        return f"{plural(count, 'sentence')} on {classes}; {self.source or 'source not given'}"


def _spelled(name: str) -> str:
    """A class name as it stands in a prompt."""
    return " ".join(DatasetCard.prompt_names([name])[0].split())


def _refuse_repeats(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for key, value in pairs:
        if key in found:
            raise ValueError(f"the descriptions name {key!r} twice. Put its sentences together.")
        found[key] = value
    return found


def _read_sentences(values: Mapping[str, Any]) -> dict[str, tuple[str, ...]]:
    if not values:
        raise ValueError("the descriptions name no class. Give each class at least one sentence.")
    return {name: _sentences_of(name, given) for name, given in values.items()}


def _sentences_of(name: str, given: Any) -> tuple[str, ...]:
    if not isinstance(given, list):
        raise ValueError(
            f"the descriptions of {name!r} are {given!r} and no list. Write them in brackets: "
            '["sentence", ..].'
        )
    if not given:
        raise ValueError(f"the list of descriptions of {name!r} is empty. Give a sentence.")
    for number, sentence in enumerate(given):
        if not isinstance(sentence, str) or not sentence.strip():
            raise ValueError(
                f"description {number} of {name!r} is {sentence!r} and no sentence. Write or "
                "remove it."
            )
    return tuple(" ".join(sentence.split()) for sentence in given)
