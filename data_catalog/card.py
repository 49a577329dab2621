"""The card of a dataset: what is known of it before anything is read."""

import hashlib
import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import MISSING, dataclass, field, fields
from typing import Any

from data_catalog.kinds import IMAGE, KINDS
from data_catalog.naming import check_class_names, check_verbalizer, prompt_names
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
        source: Where the raw examples are and how they are read.
        template: Prompt of a class: of images with `{}` in the place of the class name, of texts
            with `{text}` and `{answer}`; empty for the usual one of the kind.
        templates: Ensemble of prompts; empty for `template` alone.
        classes: Names in label order, as a person would write them; None takes those of the
            source, in its label order, else sorted.
        duplicate_class_names: Whether two labels may share a name, as two pairs of ImageNet do.
        title: Name for people.
        description: What the examples show.
        license: Licence of the examples.
        citation: Publication to cite.
        homepage: Where it is described.
        trouble: Known trouble, and what a user should do about it.
        split_sizes: Rows by split that ingestion must find; None does not check.
        split_names: What the source calls each split that is wanted, such as
            `{"train": "partial-train", "test": "validation"}`, a name or a list of names; splits
            that are not named are left out. None takes all that the source has.
        domains: Domains that ingestion must find; empty does not check.
        max_corrupt_share: Share of examples that may be unusable, 0..1, before ingestion fails.
        provider_package: Python package that brings the data, empty if none does.
        kind: What an example is, a key of `KINDS`.
        verbalizer: A word for each class, in label order, that stands for it as the `{answer}` of
            a language model; empty for the class names.
        unseen_classes: Whether classes without train rows are meant, as in zero-shot learning.
    """

    name: str
    source: Source
    template: str = ""
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
    kind: str = field(default=IMAGE, metadata=_LATER)
    verbalizer: tuple[str, ...] = field(default=(), metadata=_LATER)
    unseen_classes: bool = field(default=False, metadata=_LATER)

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
        if self.kind not in KINDS:
            raise ValueError(
                f"{self.name}: no kind of data is called {self.kind!r}. "
                f"{did_you_mean(str(self.kind), KINDS)}"
            )
        kind = KINDS[self.kind]
        if self.template == "":
            object.__setattr__(self, "template", kind.template)
        _check_texts(self.name, "templates", self.templates)
        for template in (self.template, *self.templates):
            kind.check_template(self.name, template)
        if self.classes is not None:
            _check_texts(self.name, "classes", self.classes)
            check_class_names(self.name, self.classes, duplicates=self.duplicate_class_names)
        _check_texts(self.name, "domains", self.domains)
        _check_texts(self.name, "verbalizer", self.verbalizer)
        if self.verbalizer and self.classes is not None:
            check_verbalizer(self.name, self.verbalizer, self.classes)
        _check_splits(self)
        if not 0 <= self.max_corrupt_share < 1:
            raise ValueError(
                f"{self.name}: max_corrupt_share={self.max_corrupt_share} is not a share from 0 "
                "to below 1. A quarter is 0.25."
            )

    @staticmethod
    def prompt_names(classes: Sequence[str]) -> tuple[str, ...]:
        """Class names as they stand in a prompt: underscores become spaces (protocol.md, 1.4)."""
        return prompt_names(classes)

    def to_json(self) -> dict[str, Any]:
        """Every field as plain values; the source as its kind and fields.

        A field that came later is left out at its default, so that no older digest moves.
        """
        values = {
            each.name: _plain(getattr(self, each.name))
            for each in fields(self)
            if not (each.metadata and getattr(self, each.name) == each.default)
        }
        return values | {"source": _source_values(self.source)}

    def place(self) -> str:
        """Where the examples come from, as the card has it but without secrets; opens nothing."""
        if type(self.source) not in SOURCES.values():
            return self.source.describe()  # code that knows its data
        saved = _source_values(self.source)
        return redact(
            f"{saved['kind']}: {saved.get('path') or saved.get('url') or saved.get('repo')}"
        )

    def digest(self) -> str:
        """Sixteen hex digits that move when any field does."""
        text = json.dumps(self.to_json(), sort_keys=True)
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
        usual = {each.name: each.default for each in fields(self)}
        usual["template"] = KINDS[self.kind].template
        kept = {
            name: values[name]
            for name, default in usual.items()
            if default is MISSING or getattr(self, name) != default
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
        for key in ("classes", "templates", "domains", "verbalizer"):
            if isinstance(values.get(key), list):
                values[key] = tuple(values[key])
        return cls(**values)


def _check_splits(card: DatasetCard) -> None:
    for key in ("split_sizes", "split_names"):
        unknown = set(getattr(card, key) or ()) - {"train", "val", "test"}
        if unknown:
            raise ValueError(
                f"{card.name}: {key} names {', '.join(sorted(unknown))}. Splits are train, val "
                "and test."
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
