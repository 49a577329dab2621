"""The card of a dataset: what is known of it before anything is read."""

import hashlib
import html
import json
import re
import unicodedata
from collections.abc import Mapping, Sequence
from dataclasses import MISSING, dataclass, field, fields
from typing import Any

from data_catalog.secrets import redact
from data_catalog.sources import SOURCES, Source
from data_catalog.wording import did_you_mean

_LATER = {"later": True}  # of a field that came after cards were written
_NAME = re.compile(r"[a-z0-9][a-z0-9_-]*")


@dataclass(frozen=True, kw_only=True)
class DatasetCard:
    """A filled form. What it says is checked when it is made, what it promises at ingestion.

    Attributes:
        name: What users type: lower-case letters, digits, `-` and `_`.
        source: Where the raw images are and how they are read.
        template: Prompt with `{}` in the place of the class name.
        templates: Ensemble of prompts; empty for `template` alone.
        classes: Names in label order, as a person would write them; None takes those of the
            source, in its label order, else sorted.
        duplicate_class_names: Whether two labels may share a name, as two pairs of ImageNet do.
        title: Name for people.
        description: What the images show.
        license: Licence of the images.
        citation: Publication to cite.
        homepage: Where it is described.
        trouble: Known trouble, and what a user should do about it.
        split_sizes: Rows by split that ingestion must find; None does not check.
        split_names: What the source calls each split that is wanted, such as
            `{"train": "partial-train", "test": "validation"}`, a name or a list of names; splits
            that are not named are left out. None takes all that the source has.
        domains: Domains that ingestion must find; empty does not check.
        max_corrupt_share: Share of images that may fail to decode, 0..1, before ingestion fails.
        provider_package: Python package that brings the images, empty if none does.
    """

    name: str
    source: Source
    template: str = "a photo of a {}."
    templates: tuple[str, ...] = ()
    classes: tuple[str, ...] | None = None
    duplicate_class_names: bool = False
    title: str = ""
    description: str = ""
    license: str = ""
    citation: str = ""
    homepage: str = ""
    trouble: str = ""
    split_sizes: Mapping[str, int] | None = None
    domains: tuple[str, ...] = ()
    max_corrupt_share: float = 0.25
    provider_package: str = ""
    split_names: Mapping[str, str | Sequence[str]] | None = field(default=None, metadata=_LATER)

    def __post_init__(self) -> None:
        if not isinstance(self.name, str) or not _NAME.fullmatch(self.name):
            raise ValueError(
                f"dataset name {self.name!r} is not made of lower-case letters, digits, - and _, "
                "starting with a letter or digit. Write for instance oxford_pets."
            )
        if not isinstance(self.source, Source):
            raise ValueError(
                f"{self.name}: source {self.source!r} has no examples(). Use a source."
            )
        _check_texts(self.name, "templates", self.templates)
        for template in (self.template, *self.templates):
            _check_template(self.name, template)
        if self.classes is not None:
            _check_texts(self.name, "classes", self.classes)
            check_class_names(self.name, self.classes, duplicates=self.duplicate_class_names)
        _check_texts(self.name, "domains", self.domains)
        for key in ("split_sizes", "split_names"):
            unknown = set(getattr(self, key) or ()) - {"train", "val", "test"}
            if unknown:
                raise ValueError(
                    f"{self.name}: {key} names {', '.join(sorted(unknown))}. Splits are train, "
                    "val and test."
                )
        if not 0 <= self.max_corrupt_share < 1:
            raise ValueError(
                f"{self.name}: max_corrupt_share={self.max_corrupt_share} is not a share from 0 "
                "to below 1. A quarter is 0.25."
            )

    @staticmethod
    def prompt_names(classes: Sequence[str]) -> tuple[str, ...]:
        """Class names as they stand in a prompt: underscores become spaces (protocol.md, 1.4)."""
        return tuple(name.replace("_", " ") for name in classes)

    def to_json(self) -> dict[str, Any]:
        """Every field as plain values; the source as its kind and fields."""
        values = {field.name: _plain(getattr(self, field.name)) for field in fields(self)}
        return values | {"source": _source_values(self.source)}

    def place(self) -> str:
        """Where the images come from, as the card has it but without secrets; opens nothing."""
        if type(self.source) not in SOURCES.values():
            return self.source.describe()  # code that knows its data
        saved = _source_values(self.source)
        return redact(
            f"{saved['kind']}: {saved.get('path') or saved.get('url') or saved.get('repo')}"
        )

    def digest(self) -> str:
        """Sixteen hex digits that move when any field does.

        A field that came later is left out at its default, so that no older digest moves.
        """
        left_out = {f.name for f in fields(self) if f.metadata and getattr(self, f.name) is None}
        values = {key: value for key, value in self.to_json().items() if key not in left_out}
        text = json.dumps(values, sort_keys=True)
        return hashlib.sha256(text.encode()).hexdigest()[:16]

    def to_yaml(self) -> str:
        """The card as a user may edit it: fields that differ from their default.

        Raises:
            ValueError: The source is code of an embedded dataset and has no place in a file.
        """
        from data_catalog.yaml_text import dump_yaml

        if type(self.source) not in SOURCES.values():
            raise ValueError(
                f"{self.name}: its source {type(self.source).__name__} is code, so it cannot be "
                f"written to a file. Sources that can: {', '.join(SOURCES)}."
            )
        values = self.to_json()
        kept = {
            field.name: values[field.name]
            for field in fields(self)
            if field.default is MISSING or getattr(self, field.name) != field.default
        }
        return dump_yaml(kept)

    @classmethod
    def from_yaml(cls, text: str) -> "DatasetCard":
        """Reads what `to_yaml` wrote, or a user.

        Raises:
            ValueError: The text is not YAML, or a key or value is not that of a card.
        """
        from data_catalog.yaml_text import YAMLError, load_yaml

        try:
            values = load_yaml(text)
        except YAMLError as error:
            raise ValueError(f"the card is not valid YAML: {error}.") from error
        if not isinstance(values, dict):
            raise ValueError("the card is no mapping of keys to values. Start with `name: ...`.")
        _check_keys("dataset card", cls, values)
        values["source"] = _read_source(values["source"])
        for key in ("classes", "templates", "domains"):
            if isinstance(values.get(key), list):
                values[key] = tuple(values[key])
        return cls(**values)


def prompt_key(name: str) -> str:
    """What tells a class name from others once it stands in a prompt.

    Tokenizers read text in lower case and composed letters, blanks as one, entities of HTML as
    their characters, and what `ftfy` mends (wide letters, curly quotes, UTF-8 taken for Latin-1)
    as it should be; cards read underscores as blanks. Two names of one key are one prompt.
    """
    if not name.isascii():
        import ftfy

        name = ftfy.fix_text(name)
    text = unicodedata.normalize("NFC", html.unescape(html.unescape(name)))
    seen = "".join(each for each in text if unicodedata.category(each) != "Cf")
    return " ".join(DatasetCard.prompt_names([seen])[0].casefold().split())


def check_class_names(dataset: str, classes: Sequence[str], *, duplicates: bool) -> None:
    """Refuses empty names, fewer than two classes, and repetition that is not declared.

    Raises:
        ValueError: As said; the message names the labels.
    """
    if len(classes) < 2:
        raise ValueError(
            f"{dataset}: {len(classes)} class is nothing to tell apart: {', '.join(classes)}. "
            "Give two or more."
        )
    first: dict[str, int] = {}
    for label, name in enumerate(classes):
        if not name.strip():
            raise ValueError(f"{dataset}: class {label} has an empty name. Name it.")
        if first.setdefault(name, label) != label and not duplicates:
            raise ValueError(
                f"{dataset}: class name {name!r} is used by labels {first[name]} and {label}. "
                "Tell them apart, or declare duplicate_class_names: true if the dataset means it "
                "(--same-names)."
            )


def check_prompts(dataset: str, classes: Sequence[str], *, duplicates: bool) -> None:
    """Refuses names that are spelled apart and make one prompt, and names of several lines.

    Raises:
        ValueError: As said; the message has both spellings.
    """
    first: dict[str, int] = {}
    for label, name in enumerate(classes):
        if any(each in name for each in "\n\r\0"):
            raise ValueError(
                f"{dataset}: the name of class {label}, {name!r}, holds a line break. Look for a "
                "quote that is never closed, or name the class."
            )
        earlier = first.setdefault(prompt_key(name), label)
        if earlier == label or classes[earlier] == name or duplicates:
            continue
        raise ValueError(
            f"{dataset}: class names {ascii_if_alike(classes[earlier], name)} are spelled apart, "
            "but make the same prompt: case, blanks, underscores and the way letters are composed "
            "do not count. Rename one; if they are one class, give the class names once "
            "(--classes); if not, declare duplicate_class_names: true (--same-names)."
        )


def ascii_if_alike(*names: str) -> str:
    """Names in quotes, joined by `and`; with escapes where they would look the same."""
    composed = {unicodedata.normalize("NFKC", name).strip() for name in names}
    alike = len(composed) < len(names)
    return " and ".join(ascii(name) if alike else repr(name) for name in names)


def _check_template(dataset: str, template: str) -> None:
    rest = template.replace("{}", "", 1) if isinstance(template, str) else "{"
    if rest == template or "{" in rest or "}" in rest:
        raise ValueError(
            f"{dataset}: template {template!r} does not hold {{}} exactly once, and no other "
            "brace. Write for instance 'a photo of a {}.'"
        )


def _check_texts(dataset: str, field: str, values: object) -> None:
    """Refuses what YAML makes of `no` or `1`, and a text in place of a list."""
    if not isinstance(values, tuple):
        raise ValueError(f"{dataset}: {field} is {values!r} and no list. Write one item a line.")
    for number, value in enumerate(values):
        if not isinstance(value, str):
            raise ValueError(
                f"{dataset}: {field}[{number}] is {value!r} and no text. Put it in quotes."
            )


def _check_keys(what: str, kind: type, values: Mapping[str, Any]) -> None:
    """Refuses unknown and missing keys of a dataclass."""
    known = {field.name: field for field in fields(kind)}
    for key in values:
        if key not in known:
            raise ValueError(f"no key of a {what} is called {key!r}. {did_you_mean(key, known)}")
    missing = [k for k, field in known.items() if field.default is MISSING and k not in values]
    if missing:
        raise ValueError(f"the {what} has no {' and no '.join(missing)}. Add the key.")


def _read_source(values: Any) -> Source:
    kind = values.get("kind") if isinstance(values, dict) else None
    if kind not in SOURCES:
        raise ValueError(f"no source is of kind {kind!r}. {did_you_mean(str(kind), SOURCES)}")
    arguments = {key: value for key, value in values.items() if key != "kind"}
    _check_keys(f"{kind} source", SOURCES[kind], arguments)
    for key, value in arguments.items():
        if isinstance(value, int | float) and not isinstance(value, bool):
            raise ValueError(f"{key}: {value} of the source is a number. Put it in quotes.")
    return SOURCES[kind](**arguments)


def _source_values(source: Source) -> dict[str, Any]:
    """Kind and fields that differ from their default, as YAML keeps them."""
    names = {kind: name for name, kind in SOURCES.items()}
    values: dict[str, Any] = {"kind": names.get(type(source), type(source).__name__)}
    for each in getattr(source, "__dataclass_fields__", {}).values():
        if not each.repr:  # code, such as the painter of a drawn set
            continue
        value = getattr(source, each.name)
        if each.default is MISSING or value != each.default:
            values[each.name] = _plain(value)
    return values


def _plain(value: Any) -> Any:
    if isinstance(value, tuple):
        return list(value)
    return dict(value) if isinstance(value, Mapping) else value
