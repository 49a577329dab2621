"""Images with a sentence each, for pretraining: what a source of pairs is, and Parquet as one."""

from bisect import bisect_right
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple, Protocol, runtime_checkable

import numpy as np

from data_catalog.kinds.decoding import decode
from data_catalog.secrets import redact
from data_catalog.sources import SourceError
from data_catalog.sources import columns as cols
from data_catalog.sources.base import absolute, digest_of, is_remote
from data_catalog.sources.listing import digest_files
from data_catalog.sources.parquet import list_parquet, open_parquet
from data_catalog.wording import did_you_mean, plural

IMAGE_NAMES = ("image", "img", "jpg", "jpeg", "png", "webp", "image_bytes", "bytes")
TEXT_NAMES = ("text", "caption", "txt", "sentence", "title", "alt_text", "description")
WINDOW_ROWS = 2048  # rows that are shuffled among themselves, and held in memory, at a time


class Pair(NamedTuple):
    """An image and a sentence that belongs to it.

    Attributes:
        image: RGB, uint8 of shape (h, w, 3).
        text: The sentence.
    """

    image: np.ndarray
    text: str


@runtime_checkable
class PairSource(Protocol):
    """Where pairs come from. Creating one touches nothing; it may be sent to other processes."""

    def batch(self, step: int, size: int) -> Sequence[Pair]:
        """The pairs of one training step, the first being 0.

        A pure function of the source and the arguments, so that training resumes at any step
        without a state of its data.

        Args:
            step: Of training, from 0.
            size: Pairs in it.

        Raises:
            SourceError: The source is missing or malformed.
        """
        ...

    def texts(self, count: int) -> Iterator[str]:
        """At most `count` of the sentences, always the same, to train a tokenizer on."""
        ...

    def signature(self) -> str:
        """A cheap digest that moves when the pairs or their order do."""
        ...

    def describe(self) -> str:
        """One phrase for people: what is read, and from where."""
        ...


class ParquetPairs:
    """Pairs in a Parquet file, a folder of them, or a pattern such as `data/train-*.parquet`.

    Each epoch visits every row once in an order of its own: the row groups are shuffled, then
    the rows within each window of about `WINDOW_ROWS`. So training streams through files of any
    size and holds one window at a time. A row without text, or whose image cannot be decoded, is
    passed over: the next whole row of its window stands in for it.

    Args:
        path: Place of the file, folder or pattern: local, or any URL that fsspec reads.
        image: Column of encoded images, or of Hugging Face's structs of bytes and path; None
            takes the first that has one of the usual names.
        text: Column of sentences; None takes the first that has one of the usual names.
        seed: Of the order.
    """

    def __init__(
        self, path: str, *, image: str | None = None, text: str | None = None, seed: int = 0
    ) -> None:
        self.path = absolute(path)
        self.image = image
        self.text = text
        self.seed = seed
        self._index: _Index | None = None
        self._epoch: tuple[int, list[_Window]] | None = None
        self._held: tuple[tuple[int, int], Any] | None = None  # (epoch, window), rows in order
        self._damaged: set[tuple[int, int, int]] = set()  # file, row group, row

    def __reduce__(self) -> tuple[Any, ...]:
        """Travels to another process as its arguments; the files are opened again there."""
        return _rebuild, (self.path, self.image, self.text, self.seed)

    def __repr__(self) -> str:
        return f"ParquetPairs({redact(self.path)!r}, seed={self.seed})"

    @property
    def rows(self) -> int:
        """Rows of all files, from their footers.

        Raises:
            SourceError: As `batch`.
        """
        return self._indexed().rows

    @property
    def skipped(self) -> int:
        """Rows that this object has passed over so far, each counted once."""
        return len(self._damaged)

    def batch(self, step: int, size: int) -> list[Pair]:
        """See `PairSource.batch`.

        Args:
            step: Of training, from 0.
            size: Pairs in it.

        Raises:
            SourceError: Files or columns are missing, or a whole window cannot be decoded.
        """
        rows = self.rows
        return [self._pair(*divmod(place, rows)) for place in range(step * size, (step + 1) * size)]

    def texts(self, count: int) -> Iterator[str]:
        """See `PairSource.texts`: the first ones, in the order of the files."""
        index = self._indexed()
        left = count
        for path in index.paths:
            with open_parquet(index.fs, path, self.path) as file:
                for batch in file.iter_batches(1024, columns=[index.text]):
                    for text in batch.column(0).to_pylist():
                        if left <= 0:
                            return
                        if text and text.strip():
                            left -= 1
                            yield text

    def signature(self) -> str:
        """See `PairSource.signature`: names, sizes and times of the files, columns and seed."""
        index = self._indexed()
        return digest_of(
            ("parquet", digest_files(index.files), index.image, index.text, self.seed, WINDOW_ROWS)
        )

    def describe(self) -> str:
        """See `PairSource.describe`; of a local path only the last part is named."""
        index = self._indexed()
        local = not is_remote(self.path)
        name = self.path.rstrip("/").rpartition("/")[2] if local else redact(self.path)
        files = plural(len(index.paths), "Parquet file")
        return (
            f"{plural(index.rows, 'pair')} in {files} at {name} "
            f"(columns {index.image} and {index.text})"
        )

    def _indexed(self) -> "_Index":
        if self._index is None:
            self._index = _Index.read(self.path, self.image, self.text)
        return self._index

    def _pair(self, epoch: int, place: int) -> Pair:
        """The pair at a place of an epoch, or the next whole one of its window."""
        windows = self._windows(epoch)
        number = bisect_right([window.start for window in windows], place) - 1
        window = windows[number]
        rows = self._rows_of(epoch, number, window)
        for offset in range(len(rows)):
            where, image, text = rows[(place - window.start + offset) % len(rows)]
            if where not in self._damaged:
                pair = _decoded(image, text)
                if pair is not None:
                    return pair
                self._damaged.add(where)
        raise SourceError(
            f"{self.path}: none of {plural(len(rows), 'row')} that follow each other has an image "
            "that can be decoded and a text. Look whether the columns are the right ones."
        )

    def _windows(self, epoch: int) -> "list[_Window]":
        """Cuts the shuffled row groups of an epoch into windows."""
        if self._epoch is None or self._epoch[0] != epoch:
            groups = self._indexed().groups
            order = np.random.default_rng([self.seed, epoch]).permutation(len(groups))
            windows: list[_Window] = []
            start = size = 0
            members: list[_Group] = []
            for position in order:
                group = groups[position]
                members.append(group)
                size += group.rows
                if size >= WINDOW_ROWS:
                    windows.append(_Window(start, tuple(members)))
                    start, size, members = start + size, 0, []
            if members:
                windows.append(_Window(start, tuple(members)))
            self._epoch = (epoch, windows)
        return self._epoch[1]

    def _rows_of(self, epoch: int, number: int, window: "_Window") -> list[Any]:
        """Where each row of a window lies, its image and its text, shuffled; the last is kept."""
        if self._held is None or self._held[0] != (epoch, number):
            self._held = None  # before the next is read: two may not fit
            rows: list[Any] = []
            for group in window.groups:
                rows += self._read(group)
            order = np.random.default_rng([self.seed, epoch, number]).permutation(len(rows))
            self._held = ((epoch, number), [rows[i] for i in order])
        return self._held[1]

    def _read(self, group: "_Group") -> list[Any]:
        index = self._indexed()
        with open_parquet(index.fs, index.paths[group.file], self.path) as file:
            table = file.read_row_group(group.group, columns=[index.image, index.text])
        images, texts = table[index.image], table[index.text]
        return [
            ((group.file, group.group, row), image, text)
            for row, (image, text) in enumerate(zip(images, texts, strict=True))
        ]


class _Group(NamedTuple):
    """A row group: position of its file, its own in the file, and its rows."""

    file: int
    group: int
    rows: int


class _Window(NamedTuple):
    """Row groups that are shuffled together, and the place of the first row in the epoch."""

    start: int
    groups: tuple[_Group, ...]


class _Index(NamedTuple):
    """What the footers of the files say."""

    fs: Any
    files: dict[str, dict[str, Any]]
    paths: list[str]
    groups: list[_Group]
    rows: int
    image: str
    text: str

    @classmethod
    def read(cls, place: str, image: str | None, text: str | None) -> "_Index":
        """Reads the footers.

        Raises:
            SourceError: There is no file, no row, or a column is not there.
        """
        fs, files = list_parquet(place)
        paths = [info["name"] for info in files.values()]
        groups: list[_Group] = []
        found: tuple[str, str] | None = None
        for number, path in enumerate(paths):
            with open_parquet(fs, path, place) as file:
                kinds = cols.kinds_of(file.schema_arrow)
                chosen = found or (None, None)
                found = (
                    _column("image", image or chosen[0], IMAGE_NAMES, cols.IMAGE, kinds, path),
                    _column("text", text or chosen[1], TEXT_NAMES, cols.TEXT, kinds, path),
                )
                meta = file.metadata
                groups += [
                    _Group(number, group, meta.row_group(group).num_rows)
                    for group in range(meta.num_row_groups)
                    if meta.row_group(group).num_rows
                ]
        rows = sum(group.rows for group in groups)
        if not rows or found is None:
            raise SourceError(f"the Parquet files at {place} have no rows.")
        return cls(fs, files, paths, groups, rows, *found)


def _column(
    part: str,
    chosen: str | None,
    usual: Sequence[str],
    kind: str,
    kinds: dict[str, str],
    place: str,
) -> str:
    """The column that plays a part.

    Raises:
        SourceError: There is none, or the chosen one is not there or of another type.
    """
    needed = "encoded bytes" if kind == cols.IMAGE else "text"
    if chosen is None:
        lower = {name.lower(): name for name in reversed(list(kinds))}
        for name in usual:
            if kinds.get(lower.get(name, "")) == kind:
                return lower[name]
        raise SourceError(
            f"{place} has no {part} column: its columns are "
            f"{', '.join(f'{name} ({k})' for name, k in kinds.items())}. Needed is one that holds "
            f"{needed}; name it with `{part}:` in the recipe's data."
        )
    if chosen not in kinds:
        raise SourceError(
            f"{place} has no column {chosen!r}, chosen as {part}. {did_you_mean(chosen, kinds)}"
        )
    if kinds[chosen] != kind:
        raise SourceError(
            f"{place}: column {chosen!r}, chosen as {part}, holds {kinds[chosen]}; needed is "
            f"{needed}."
        )
    return chosen


def _decoded(image: Any, text: Any) -> Pair | None:
    """The pair of a row's cells, or None where an image or a text cannot be had from them."""
    value, sentence = image.as_py(), text.as_py()
    encoded = value.get("bytes") if isinstance(value, dict) else value
    if not encoded or not sentence or not sentence.strip():
        return None
    try:
        return Pair(decode(encoded), sentence)
    except MemoryError:  # says something of the machine, not of the image
        raise
    except Exception:  # Pillow's readers raise a dozen kinds on damaged data
        return None


def _rebuild(path: str, image: str | None, text: str | None, seed: int) -> ParquetPairs:
    return ParquetPairs(path, image=image, text=text, seed=seed)
