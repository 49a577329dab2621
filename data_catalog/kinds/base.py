"""What a kind of data has to say, so that ingestion, files and datasets know none by name."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from types import MappingProxyType
from typing import Any, NamedTuple, Protocol

import numpy as np

from data_catalog.sources.base import Example

PREVIEW = 96  # pixels of the longer side of a picture


class Checked(NamedTuple):
    """An example, and what checking it gave.

    Attributes:
        example: As it is stored, which its kind may have brought into another form.
        sha256: Digest of its content, in hex: equal contents are duplicates.
        error: Why it cannot be used; empty when it can. It begins with one of the words of
            `data_catalog.reasons`.
        measures: A whole number for each of the kind's `measures`; empty where `error` says why.
        findings: What else was seen, by name; for `Kind.report`.
        look: What tells near duplicates from others, `Kind.look_bytes` long; empty where it would
            tell nothing.
    """

    example: Example
    sha256: str
    error: str = ""
    measures: tuple[int, ...] = ()
    findings: Mapping[str, Any] = MappingProxyType({})
    look: bytes = b""


class Kept(NamedTuple):
    """What is remembered of one example that is used, beside its content, mark and digest.

    Attributes:
        path: As in `Example`.
        measures: As in `Checked`.
        findings: As in `Checked`.
        extras: As in `Example`, what is no number, text, boolean or bytes as text.
    """

    path: str
    measures: Sequence[int]
    findings: Mapping[str, Any]
    extras: Mapping[str, Any]


class Preview(NamedTuple):
    """How one example is shown to people.

    Attributes:
        text: In words, on one line; empty where a picture says all.
        picture: WebP of at most `PREVIEW` pixels a side; empty where words say all.
    """

    text: str = ""
    picture: bytes = b""


class Kind(Protocol):
    """What one example is, how it is checked, stored and read back, and what is doubtful in it.

    From the source to the spool of ingestion an example's content is bytes. In Parquet it is one
    column, whose values are also what `Dataset.examples` gives.

    Attributes:
        noun: What a person calls one example; takes a plain s.
        column: Column of the content in `data.parquet`.
        arrow: Alias of its Arrow type, such as `binary`.
        compression: Its compression in Parquet.
        measures: Columns of whole numbers that are known of each example, such as `width`.
        template: Prompt of a class where a card gives none.
        look_bytes: Length of a look, see `Checked`.
        radius: Bits in which hashes of near duplicates may differ.
        near: In what near duplicates differ, in words.
    """

    noun: str
    column: str
    arrow: str
    compression: str
    measures: tuple[str, ...]
    template: str
    look_bytes: int
    radius: int
    near: str

    def check(self, examples: Iterable[Example]) -> Iterator[Checked]:
        """Reads every example as a trial would, and yields in the order given.

        What cannot be used is yielded with its `error`, and never dropped.
        """
        ...

    def hashes(self, looks: np.ndarray) -> np.ndarray:
        """The hash of each look, uint64 of shape (n,), from uint8 of shape (n, look_bytes)."""
        ...

    def alike(self, first: np.ndarray, second: np.ndarray) -> np.ndarray:
        """Whether looks of near hashes are those of near duplicates, bool of shape (n,).

        Args:
            first: Looks, uint8 of shape (n, look_bytes).
            second: Likewise, each to be compared with the one of its row.
        """
        ...

    def named(self, text: str) -> bytes:
        """The content of one example as a person names it: a file or URL, or the thing itself.

        Raises:
            SourceError: It cannot be read.
        """
        ...

    def stored(self, content: bytes) -> Any:
        """The value of the Parquet column, of a content that was checked."""
        ...

    def content(self, value: Any) -> bytes:
        """The content of such a value, the inverse of `stored`."""
        ...

    def preview(self, value: Any) -> Preview:
        """How such a value is shown on a page, small.

        Raises:
            ValueError: It cannot be read any more.
        """
        ...

    def check_template(self, dataset: str, template: str) -> None:
        """Refuses a prompt that has not the places that examples and classes of the kind need.

        Args:
            dataset: What to call the dataset in errors.
            template: Of the card.

        Raises:
            ValueError: As said.
        """
        ...

    def report(self, kept: Iterable[Kept]) -> dict[str, Any]:
        """What `card.json` says of the examples beyond counts, splits and duplicates."""
        ...

    def doubts(self, report: Mapping[str, Any]) -> list[str]:
        """A sentence for each finding of `report` that a person should look at."""
        ...
