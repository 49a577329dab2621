"""Which column of a table plays which part: found by its usual names and by its type."""

import re
from collections.abc import Collection, Mapping
from typing import Any, NamedTuple

from data_catalog.json_text import load_json
from data_catalog.sources.base import SourceError
from data_catalog.sources.cells import as_text
from data_catalog.wording import did_you_mean

IMAGE, TEXT, INTEGER, FLOAT, SCALAR, OTHER = "image", "text", "integer", "float", "scalar", "other"

_USUAL_NAMES = {
    "image": ("image", "img", "jpg", "jpeg", "png", "webp", "image_bytes", "bytes"),
    "file": (
        *("image", "image_path", "image_file", "img", "img_path"),
        *("path", "file_path", "filepath", "file_name", "filename", "file"),
    ),
    "label": ("label", "labels", "fine_label", "class", "target", "class_id", "label_id", "y"),
    "class_name": ("class_name", "label_name", "class", "category", "name"),
    "split": ("split", "subset", "partition"),
    "domain": ("domain",),
    "path": ("path", "file_name", "filename", "image_path", "file_path"),
}
_USUAL_OF_TEXTS = {
    "text": (
        *("text", "sentence", "content", "review", "review_text", "question", "utterance", "query"),
        *("document", "body", "message", "comment", "tweet", "headline", "title"),
    ),
    "label": (
        *("label", "labels", "fine_label", "coarse_label", "class", "target", "class_id"),
        *("label_id", "class_index", "y", "intent", "sentiment", "category", "topic"),
        *("stars", "rating", "polarity"),
    ),
    "class_name": (
        *("class_name", "label_name", "label_text", "label_str", "class", "category"),
        *("intent", "topic", "sentiment"),
    ),
    "split": _USUAL_NAMES["split"],
    "domain": _USUAL_NAMES["domain"],
}
_OF_FILES = ("image", "img", "file", "path", "photo", "picture")  # in names of other tables
_LAST_RESORT = ("cls",)  # WebDataset's label, where no other column is one
PAIR = ("attribute", "object")  # what a class is composed of, and the class where none is said
_TYPES = {
    **{part: {TEXT} for part in PAIR},
    "image": {IMAGE},
    "file": {TEXT},
    "text": {TEXT},
    "label": {INTEGER, FLOAT},
    "class_name": {TEXT},
    "split": {TEXT},
    "domain": {TEXT},
    "path": {TEXT},
}
ROLES = frozenset({*_USUAL_NAMES, *_USUAL_OF_TEXTS, *PAIR})


class UnknownColumns(SourceError):
    """A table was read, and its columns have no names by which their parts are known."""


class Columns(NamedTuple):
    """The column that plays each part, None where none does, and what is left.

    Attributes:
        text: What is to be classified, in a table of texts.
        image: Encoded bytes, or a struct of bytes and path.
        file: Path of an image file; what a manifest has in place of `image`.
        label: Class index.
        class_name: Class as text.
        split: Split as text.
        domain: Domain as text.
        path: Where the image came from.
        extras: Scalar columns that play no part, in table order.
        left_out: Columns of bytes, lists or structs that cannot be kept, in table order.
        attribute: Of what a class is composed of, together with `object`.
        object: See `attribute`.
    """

    image: str | None
    file: str | None
    label: str | None
    class_name: str | None
    split: str | None
    domain: str | None
    path: str | None
    text: str | None
    extras: tuple[str, ...]
    left_out: tuple[str, ...]
    attribute: str | None = None
    object: str | None = None

    @property
    def pair(self) -> tuple[str, str] | None:
        """The columns of attribute and object."""
        return (self.attribute, self.object) if self.attribute and self.object else None

    def parts(self) -> list[str]:
        """The columns that play a part."""
        return [name for name in (*self[:8], *(self.pair or ())) if name is not None]

    def class_of(self, row: Mapping[str, Any]) -> str | None:
        """The class of a row in words: as a column says it, or its attribute and its object."""
        if self.class_name is not None:
            return as_text(row.get(self.class_name))
        if self.label is not None or self.pair is None:
            return None
        words = [as_text(row.get(column)) for column in self.pair]
        return f"{words[0]} {words[1]}" if all(words) else None

    def kept_of(self, row: Mapping[str, Any]) -> dict[str, Any]:
        """What is kept of a row beyond its class: the extras, and attribute and object as such."""
        kept = {column: row.get(column) for column in self.extras}
        if self.pair is None:
            return kept
        return kept | {p: as_text(row.get(c)) for p, c in zip(PAIR, self.pair, strict=True)}


def check_roles(columns: Mapping[str, str] | None) -> None:
    """Refuses a part that no column can play.

    Raises:
        ValueError: A key of `columns` is not in `ROLES`.
    """
    for role in columns or ():
        if role not in ROLES:
            raise ValueError(f"no column part is called {role!r}. {did_you_mean(role, ROLES)}")


def find_columns(
    kinds: Mapping[str, str],
    *,
    place: str,
    chosen: Mapping[str, str] | None = None,
    unlabelled: bool = False,
    texts: bool = False,
) -> Columns:
    """Decides the part of every column.

    Args:
        kinds: Type of each column, `IMAGE` to `OTHER`, in table order.
        place: What to call the table in errors.
        chosen: Column for some parts, where the usual names do not fit.
        unlabelled: Whether the table may lack labels, as that of a hidden test split does.
        texts: Whether it is one of texts, and not of images or their files.

    Raises:
        UnknownColumns: There is no image or text, or neither label nor class name, or a column of
            `chosen` is not there.
    """
    pair = _pair_of(kinds, place, chosen, texts=texts)
    free = {name: kind for name, kind in kinds.items() if name not in pair.values()}
    elsewhere = unlabelled and any(
        role in ("label", "class_name") and name not in kinds
        for role, name in (chosen or {}).items()
    )
    usual = _USUAL_OF_TEXTS if texts else _USUAL_NAMES
    parts: dict[str, str | None] = dict.fromkeys((*_USUAL_NAMES, "text"))
    for role in usual:
        if elsewhere and role in ("label", "class_name"):
            parts[role] = None
            continue
        parts[role] = _chosen(role, kinds, place, chosen) or _usual(role, free, usual[role])
    if elsewhere:
        pass
    elif parts["class_name"] is None and parts["label"] is None:  # `label` holding words
        parts["class_name"] = _usual("class_name", free, usual["label"])
        if parts["class_name"] is None:
            parts["label"] = _usual("label", free, _LAST_RESORT)
            parts["class_name"] = _usual("class_name", free, _LAST_RESORT)
    elif kinds.get(parts["label"] or "") == TEXT:  # words chosen as label
        parts["class_name"], parts["label"] = parts["label"], None
    _refuse_empty(parts, kinds, place, texts=texts)
    if not unlabelled and not pair:
        _refuse_unlabelled(parts, kinds, place, usual)
    if parts["image"] is not None:
        parts["file"] = None
    used = {*parts.values(), *pair.values()}
    extras = tuple(name for name, kind in kinds.items() if name not in used and _kept(kind))
    left_out = tuple(name for name, kind in kinds.items() if name not in used and not _kept(kind))
    return Columns(**parts, extras=extras, left_out=left_out, **pair)


def _pair_of(
    kinds: Mapping[str, str], place: str, chosen: Mapping[str, str] | None, *, texts: bool
) -> dict[str, str]:
    """The columns of attribute and object: those that are chosen, or that are called so."""
    said = {role: column for role in PAIR if (column := (chosen or {}).get(role))}
    if len(said) == 1:
        (role,) = said
        other = PAIR[1 - PAIR.index(role)]
        raise SourceError(f"{place}: {role}={said[role]} is half of a pair: say {other}=.. too.")
    for role in said:
        _chosen(role, kinds, place, chosen)
    if not said and not texts:
        found = {role: _usual(role, kinds, (role,)) for role in PAIR}
        said = {role: column for role, column in found.items() if column}
    return said if len(said) == len(PAIR) else {}


def _refuse_empty(
    parts: Mapping[str, str | None], kinds: Mapping[str, str], place: str, *, texts: bool
) -> None:
    if texts and parts["text"] is None:
        raise UnknownColumns(
            f"{place} has no column of texts: its columns are {_listed(kinds)}. Needed is one of "
            f"{', '.join(_USUAL_OF_TEXTS['text'])} that holds texts; say which one is meant "
            "(--columns text=..)."
        )
    if not texts and parts["image"] is None and parts["file"] is None:
        raise UnknownColumns(
            f"{place} has no column of images: its columns are {_listed(kinds)}. Needed is one of "
            f"{', '.join(_USUAL_NAMES['image'])} that holds encoded bytes, or one of "
            f"{', '.join(_USUAL_NAMES['file'])} that holds the path of an image file; say which "
            "is meant (--columns image=.. or file=..). If it is a table of texts, say which column "
            "has them (--columns text=..)."
        )


def _refuse_unlabelled(
    parts: Mapping[str, str | None],
    kinds: Mapping[str, str],
    place: str,
    usual: Mapping[str, Collection[str]],
) -> None:
    if parts["label"] is None and parts["class_name"] is None:
        labels = ", ".join((*usual["label"], *_LAST_RESORT))
        raise UnknownColumns(
            f"{place} has no labels: its columns are {_listed(kinds)}. Needed is one of "
            f"{labels} that holds whole numbers or words, or one of "
            f"{', '.join(usual['class_name'])} that holds words."
        )


def known_names(chosen: Mapping[str, str] | None, *, texts: bool = False) -> set[str]:
    """Names in lower case by which a header is known to be one.

    Args:
        chosen: Column by part, as the user named them.
        texts: Whether the table may be one of texts.
    """
    listed = (_USUAL_OF_TEXTS if texts else _USUAL_NAMES).values()
    usual = {name for names in (*listed, _LAST_RESORT) for name in names}
    return usual | {name.lower() for name in (chosen or {}).values()}


def is_usual(role: str, name: str, *, texts: bool = False) -> bool:
    """Whether a column of this name is taken for a part.

    Args:
        role: The part.
        name: Of the column.
        texts: Whether the table is one of texts.
    """
    return name.lower() in (_USUAL_OF_TEXTS if texts else _USUAL_NAMES)[role]


def kinds_of(schema: Any) -> dict[str, str]:
    """Type of each column of a `pyarrow.Schema`."""
    return {field.name: _kind(field.type) for field in schema}


def has_images(kinds: Mapping[str, str]) -> bool:
    """Whether a table holds encoded images, by the name and the type of a column."""
    return _usual("image", kinds, _USUAL_NAMES["image"]) is not None


def seems_of_texts(kinds: Mapping[str, str]) -> bool:
    """Whether a table may be one of texts, and no column speaks of images or files."""
    words = [word for name in kinds for word in re.split("[^a-z]+", name.lower())]
    return (
        not has_images(kinds)
        and _usual("text", kinds, _USUAL_OF_TEXTS["text"]) is not None
        and not any(word.startswith(_OF_FILES) for word in words)
    )


def class_label_names(schema: Any, column: str | None) -> tuple[str, ...] | None:
    """Names of the labels in `column`, from the metadata that Hugging Face writes.

    Args:
        schema: Of a Parquet file.
        column: Of labels; None where there is none.

    Returns:
        The names in label order, or None where `column` is no `ClassLabel`.
    """
    metadata = (schema.metadata or {}).get(b"huggingface")
    if metadata is None or column is None:
        return None
    try:
        feature = load_json(metadata)["info"]["features"][column]
        names = feature["names"] if feature["_type"] == "ClassLabel" else None
    except (ValueError, KeyError, TypeError):
        return None
    return tuple(map(str, names)) if names else None


def _chosen(
    role: str, kinds: Mapping[str, str], place: str, chosen: Mapping[str, str] | None
) -> str | None:
    name = (chosen or {}).get(role)
    if name is not None and name not in kinds:
        raise SourceError(
            f"{place} has no column {name!r}, chosen as {role}. {did_you_mean(name, kinds)}"
        )
    if name is not None and role == "image" and kinds[name] != IMAGE:
        raise SourceError(
            f"{place}: column {name!r}, chosen as image, holds {kinds[name]} and no bytes. "
            "Choose a column of encoded images, or read the table as a Manifest."
        )
    if name is not None and role == "text" and kinds[name] not in (TEXT, IMAGE):
        raise SourceError(
            f"{place}: column {name!r}, chosen as text, holds {kinds[name]} and no texts. Choose "
            "a column of texts, or of their bytes in UTF-8."
        )
    return name


def _usual(role: str, kinds: Mapping[str, str], names: Collection[str]) -> str | None:
    """The first column of one of some names that has the type of the part."""
    lower = {name.lower(): name for name in reversed(list(kinds))}
    for name in names:
        column = lower.get(name)
        if column is not None and kinds[column] in _TYPES[role]:
            return column
    return None


def _kept(kind: str) -> bool:
    return kind in {TEXT, INTEGER, FLOAT, SCALAR}


def _listed(kinds: Mapping[str, str]) -> str:
    return ", ".join(f"{name} ({kind})" for name, kind in kinds.items()) or "none"


def _kind(kind: Any) -> str:
    import pyarrow as pa

    types = pa.types
    if types.is_dictionary(kind):
        return _kind(kind.value_type)
    if types.is_string(kind) or types.is_large_string(kind) or types.is_string_view(kind):
        return TEXT
    if types.is_integer(kind) or types.is_null(kind):  # a column in which nothing is written
        return INTEGER
    if types.is_floating(kind):
        return FLOAT
    if types.is_boolean(kind):
        return SCALAR
    if types.is_binary(kind) or types.is_large_binary(kind) or types.is_binary_view(kind):
        return IMAGE
    if types.is_struct(kind) and kind.get_field_index("bytes") >= 0:
        return IMAGE
    return OTHER
