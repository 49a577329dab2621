"""Where checked examples wait until all are there: on disk, so that a killed ingestion goes on.

Contents and looks lie one after the other in a file each; a third has a line for every batch, with
all else that is known of its rows and a checksum of both. What is in memory of a row are 44 bytes:
the number of its mark, the size of its content and its digest. A batch is there once its line is:
after a kill, the files are cut behind the last whole one.
"""

import base64
import json
import zlib
from array import array
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from itertools import compress
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from data_catalog.kinds import Checked, Kept
from data_catalog.marks import Mark, MarkCodes, Marks

SPOOL_VERSION = 1  # moves when what a spool of before holds is not what would be found today
BATCH_ROWS = 256
BATCH_BYTES = 16 << 20  # a batch ends here too
DIGEST_BYTES = 32
ASIDE: tuple[str, ...] = ("path", "error", "label", "class_name", "split", "size_bytes")
_PLAIN = (bool, int, float, str, type(None))  # types of extras that JSON gives back as they were


class Reached(NamedTuple):
    """How far a source has been read.

    Attributes:
        examples: How many of its examples.
        path: Of the last of them; empty before the first.
        left_out: Those that the card does not want, by split.
    """

    examples: int = 0
    path: str = ""
    left_out: Mapping[str, int] = {}


class Spool:
    """Checked examples in order. A context manager; what it wrote stays when it is left.

    Attributes:
        reached: How far the source was read for the last batch.
    """

    def __init__(self, folder: Path, look_bytes: int) -> None:
        """Opens the spool of a folder, and goes on with what is whole in it.

        Args:
            folder: Of this spool alone, and of no other process.
            look_bytes: Length of a look; see `Kind`.
        """
        self.reached = Reached()
        self._look_bytes = look_bytes
        self._no_look = bytes(look_bytes)
        self._codes, self._sizes, self._digests = array("i"), array("q"), bytearray()
        self._marks = MarkCodes()
        self._aside: Counter[str | None] = Counter()  # what was set aside, by split
        self._hidden: frozenset[str] = frozenset()
        self._contents, self._looks, self._lines = (
            (folder / name).open("a+b") for name in ("contents", "looks", "records")
        )
        self._recover()
        self._begin()

    def __enter__(self) -> "Spool":
        return self

    def __exit__(self, *_: object) -> None:
        for file in (self._contents, self._looks, self._lines):
            file.close()

    @property
    def checked(self) -> int:
        """Examples that are in it, those set aside included."""
        batch = len(self._line["rows"]) + len(self._line["aside"])
        return len(self._codes) + self._aside.total() + batch

    @property
    def set_aside(self) -> int:
        """Examples that cannot be used, without those of hidden splits."""
        return sum(count for split, count in self._aside.items() if split not in self._hidden)

    def clear(self) -> None:
        """Forgets everything."""
        for file in (self._contents, self._looks, self._lines):
            file.truncate(0)
        self._codes, self._sizes, self._digests = array("i"), array("q"), bytearray()
        self._marks, self._aside, self.reached = MarkCodes(), Counter(), Reached()
        self._begin()

    def add(self, checked: Checked, reached: Reached) -> None:
        """Appends an example; one that cannot be used is set aside.

        Args:
            checked: The example.
            reached: How far the source was read to it.
        """
        example = checked.example
        self._line["reached"] = reached
        if checked.error:
            told = (example.path, checked.error, example.label, example.class_name, example.split)
            self._line["aside"].append((*told, len(example.content)))
        else:
            self._crc = zlib.crc32(example.content, self._crc)
            self._contents.write(example.content)
            self._looks.write(checked.look or self._no_look)
            self._bytes += len(example.content)
            self._line["rows"].append(
                (
                    self._marks.of(example),
                    len(example.content),
                    checked.sha256,
                    example.path,
                    checked.measures,
                    dict(checked.findings),
                    {name: _packed(value) for name, value in example.extras.items()},
                )
            )
        rows = len(self._line["rows"]) + len(self._line["aside"])
        if rows >= BATCH_ROWS or self._bytes >= BATCH_BYTES:
            self.flush()

    def flush(self) -> None:
        """Ends the batch: from now on its rows are there, also after a kill."""
        if not self._line["rows"] and not self._line["aside"]:
            return
        self._line |= {
            "marks": list(self._marks.codes)[self._told :],
            "bytes": self._bytes,
            "crc": self._crc,
        }
        text = json.dumps(self._line, separators=(",", ":")).encode()
        self._contents.flush()
        self._looks.flush()
        self._lines.write(b"%08x %b\n" % (zlib.crc32(text), text))
        self._lines.flush()
        self._take(self._line)
        self._begin()

    def hide(self, splits: Iterable[str]) -> None:
        """Leaves out the examples of some splits, as the source calls them."""
        self._hidden = frozenset(splits)

    def marks(self) -> Marks:
        """The marks of the rows."""
        codes = np.frombuffer(self._codes, np.int32)[self._shown()]
        used, first, codes = np.unique(codes, return_index=True, return_inverse=True)
        order = np.argsort(first)  # as they come
        place = np.empty(len(used), np.int32)
        place[order] = np.arange(len(used), dtype=np.int32)
        known = list(self._marks.codes)
        distinct = [known[used[at]] for at in order]
        return Marks(distinct, place[codes], lambda: (row.path for row in self.rows()))

    def digests(self) -> np.ndarray:
        """SHA-256 of the content of each row, `S32` of shape (rows,)."""
        return np.frombuffer(self._digests, f"S{DIGEST_BYTES}")[self._shown()]

    def looks(self) -> "Looks":
        """The looks of the rows, which stay on disk."""
        return Looks(Path(self._looks.name), self._look_bytes, np.flatnonzero(self._shown()))

    def rows(self) -> Iterator[Kept]:
        """Yields what is remembered of each row, in order."""
        shown = iter(self._shown().tolist())
        for line in self._read_lines():
            for row in compress(line["rows"], shown):
                yield _kept(row)

    def aside(self) -> Iterator[dict[str, Any]]:
        """Yields what was set aside: path, error, label, class_name, split, size_bytes."""
        for line in self._read_lines():
            for values in line["aside"]:
                told = dict(zip(ASIDE, values, strict=True))
                if told["split"] not in self._hidden:
                    yield told

    def contents(self) -> Iterator[bytes]:
        """Yields the content of each row, in order."""
        with Path(self._contents.name).open("rb", buffering=1 << 20) as file:
            for size, shown in zip(self._sizes, self._shown().tolist(), strict=True):
                if shown:
                    yield file.read(size)
                else:
                    file.seek(size, 1)

    def _shown(self) -> np.ndarray:
        """Whether each row is of a split that is not hidden."""
        hidden = [mark.split in self._hidden for mark in self._marks.codes]
        return ~np.array(hidden, bool)[np.frombuffer(self._codes, np.int32)]

    def _begin(self) -> None:
        """An empty batch."""
        self._line: dict[str, Any] = {"rows": [], "aside": [], "reached": self.reached}
        self._bytes = self._crc = 0
        self._told = len(self._marks.codes)

    def _take(self, line: Mapping[str, Any]) -> None:
        """Keeps in memory what has to be there of a batch."""
        for code, size, sha256, *_ in line["rows"]:
            self._codes.append(code)
            self._sizes.append(size)
            self._digests += bytes.fromhex(sha256)
        self._aside.update(values[4] for values in line["aside"])
        self.reached = Reached(*line["reached"])

    def _recover(self) -> None:
        """Takes the whole batches of the files, and cuts off the rest."""
        ends = [0, 0, 0]  # of lines, contents and looks
        self._contents.seek(0)
        self._looks.seek(0)
        for size, line in _lines(Path(self._lines.name)):
            crc = zlib.crc32(self._contents.read(line["bytes"]))
            looks = len(line["rows"]) * self._look_bytes
            if crc != line["crc"] or len(self._looks.read(looks)) < looks:
                break
            for mark in line["marks"]:
                self._marks.codes.setdefault(Mark(*mark), len(self._marks.codes))
            self._take(line)
            ends = [ends[0] + size, ends[1] + line["bytes"], ends[2] + looks]
        for file, end in zip((self._lines, self._contents, self._looks), ends, strict=True):
            file.truncate(end)

    def _read_lines(self) -> Iterator[dict[str, Any]]:
        return (line for _, line in _lines(Path(self._lines.name)))


class Looks:
    """Looks of rows, read from disk when they are asked for.

    Attributes:
        rows: Number of rows.

    Args:
        file: All looks, one after the other.
        look_bytes: Length of each.
        places: Which of them are those of the rows.
    """

    def __init__(self, file: Path, look_bytes: int, places: np.ndarray) -> None:
        self.rows = len(places)
        self._places = places
        empty = not file.stat().st_size
        shape = (-1, look_bytes)
        self._all = (
            np.empty((0, look_bytes), np.uint8)
            if empty
            else np.memmap(file, np.uint8, "r").reshape(shape)
        )

    def of(self, rows: np.ndarray) -> np.ndarray:
        """The looks of some rows, uint8 of shape (n, look_bytes); zeros where a row has none."""
        return self._all[self._places[rows]]


def _lines(file: Path) -> Iterator[tuple[int, dict[str, Any]]]:
    """Length and content of each whole line, up to the first that is not."""
    with file.open("rb") as lines:
        for line in lines:
            crc, _, text = line.rstrip(b"\n").partition(b" ")
            if not line.endswith(b"\n") or crc != b"%08x" % zlib.crc32(text):
                return
            yield len(line), json.loads(text)


def _kept(row: list[Any]) -> Kept:
    _, _, _, path, measures, findings, extras = row
    return Kept(path, measures, findings, {n: _unpacked(value) for n, value in extras.items()})


def _packed(value: Any) -> Any:
    """A value as JSON keeps it; as text where its type has no column of its own."""
    if type(value) is bytes:
        return [base64.b64encode(value).decode()]
    return value if type(value) in _PLAIN else str(value)


def _unpacked(value: Any) -> Any:
    return base64.b64decode(value[0]) if type(value) is list else value
