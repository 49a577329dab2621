"""The read side of an ingested dataset: labels and splits at once, examples by row on demand."""

import hashlib
import json
import threading
from collections.abc import Iterable, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from data_catalog.json_text import load_json
from data_catalog.kinds import IMAGE, KINDS, Kind
from data_catalog.splits import SPLITS, TEST, VAL
from data_catalog.wording import plural, some

PAIR = ("attribute", "object")  # columns of what a class is composed of
DATA, CARD, QUARANTINE, CURRENT = "data.parquet", "card.json", "quarantine.parquet", "current.json"


class Dataset:
    """An ingested dataset. It never changes: another content is another fingerprint.

    Opening reads labels, splits and domains, and no example. An object may be shared by threads
    and sent to another process, which opens the files again.

    Attributes:
        folder: Where it lies, `<store>/data/<name>/<fingerprint>`.
        name: Name in the catalog or of the registered card.
        fingerprint: 16 hex digits of class names, contents, labels, splits, domains and paths.
        card: Content of `card.json`: the card, counts, quarantine, duplicates, rules.
        kind: What an example is, a key of `KINDS`, such as `image` or `text`.
        classes: The k names in label order, as the card or the source writes them.
        verbalizer: A word for each class, with which a language model answers; the names where
            the card has no others.
        template: Prompt of a class, as the kind has it: an image's with `{}` for the class name.
        templates: The ensemble, at least one; `template` alone if the card has no other.
        labels: Class of each row, int32 of shape (rows,).
        splits: train, val or test for each row, texts of shape (rows,).
        domains: Domain of each row, empty where there is none, texts of shape (rows,).
        domain_names: The d domains in sorted order, as `domain_codes` numbers them.
        domain_codes: Domain of each row, -1 where there is none, int32 of shape (rows,).
        rows: Number of rows n; row ids are 0..n-1, in the order of the source.
        pairs: Attribute and object of each class, where columns of these names say one of each for
            every class; else empty.
    """

    def __init__(self, folder: Path) -> None:
        import pyarrow.parquet as pq

        try:
            self.card: dict[str, Any] = load_json((folder / CARD).read_bytes())
            # `read_table` and `to_numpy` import pandas, which takes longer than all else here.
            with pq.ParquetFile(folder / DATA, memory_map=True) as file:
                composed = [name for name in PAIR if name in file.schema_arrow.names]
                table = file.read(columns=["label", "split", "domain", *composed])
        except (FileNotFoundError, NotADirectoryError) as error:
            raise FileNotFoundError(
                f"{folder} holds no ingested dataset. Ingest it; the folder is written then."
            ) from error
        except (ValueError, OSError, RecursionError) as error:  # pyarrow's and JSON's are too
            raise ValueError(
                f"{folder} is damaged ({error}). Delete the folder and ingest again."
            ) from error
        self.folder = folder
        try:
            self.name: str = self.card["name"]
            self.fingerprint: str = self.card["fingerprint"]
            self.kind: str = self.card.get("kind", IMAGE)
            self.classes: tuple[str, ...] = tuple(self.card["classes"])
            self.verbalizer: tuple[str, ...] = tuple(self.card.get("verbalizer") or self.classes)
            self.template: str = self.card["template"]
            self.templates: tuple[str, ...] = tuple(self.card["templates"]) or (self.template,)
        except (KeyError, TypeError) as error:
            raise ValueError(
                f"{folder / CARD} is damaged ({error!r}). Delete the folder and ingest again."
            ) from error
        self.labels: np.ndarray = np.array(table["label"].to_pylist(), dtype=np.int32)
        self.splits: np.ndarray = np.array(table["split"].to_pylist(), dtype=np.str_)
        self.domains: np.ndarray = np.array(table["domain"].to_pylist(), dtype=np.str_)
        names, codes = np.unique(self.domains, return_inverse=True)
        bare = bool(len(names)) and not names[0]  # the empty text comes first
        self.domain_names: tuple[str, ...] = tuple(names[bare:].tolist())
        self.domain_codes: np.ndarray = (codes.reshape(-1) - bare).astype(np.int32)
        self.rows: int = len(self.labels)
        self.pairs: tuple[tuple[str, str], ...] = ()
        if len(composed) == len(PAIR):
            columns = [table[name].to_pylist() for name in PAIR]
            self.pairs = _pairs(self.labels, columns, len(self.classes))
        self._lock = threading.Lock()
        self._file: Any = None
        self._starts: np.ndarray = np.empty(0, np.int64)  # first row of each row group, then n
        self._held: tuple[int, Any] | None = None  # row group read last, and its contents

    @classmethod
    def open(cls, folder: str | Path) -> "Dataset":
        """Opens `<store>/data/<name>/<fingerprint>`.

        Raises:
            FileNotFoundError: Nothing was ingested there.
            ValueError: The files are damaged.
        """
        return cls(Path(folder))

    def __reduce__(self) -> tuple[Any, ...]:
        """Travels to another process as its path."""
        return Dataset, (self.folder,)

    def __repr__(self) -> str:
        return f"Dataset({self.name!r}, {self.fingerprint}, {self.rows} rows)"

    @cached_property
    def val_is_test(self) -> bool:
        """Whether all rows of val are rows of test too, as ImageNet's are in CoOp's protocol."""
        if not self.card.get("duplicates", {}).get(f"leaked_{self._kind().noun}s"):
            return False
        import pyarrow.parquet as pq

        with pq.ParquetFile(self.folder / DATA, memory_map=True) as file:
            digests = file.read(columns=["sha256"])["sha256"]
        val, test = (set(digests.take(self.rows_of(s)).to_pylist()) for s in (VAL, TEST))
        return bool(val) and val <= test

    def rows_of(self, split: str) -> np.ndarray:
        """Row ids of one split, int64 and ascending: the order that a few-shot draw needs.

        Raises:
            ValueError: `split` is not train, val or test.
        """
        if split not in SPLITS:
            raise ValueError(f"split {split!r} is none of {', '.join(SPLITS)}.")
        return np.flatnonzero(self.splits == split)

    def examples(self, row_ids: Sequence[int] | np.ndarray) -> list[Any]:
        """What some rows hold, in the order asked for: encoded images, or texts.

        One row group, about 256 rows, is read at a time and the last one is kept, so ascending
        ids over many calls read the file once.

        Raises:
            IndexError: An id is below 0 or not below `rows`.
        """
        wanted = np.asarray(row_ids, dtype=np.int64).reshape(-1)
        if len(wanted) and (wanted.min() < 0 or wanted.max() >= self.rows):
            odd = wanted[(wanted < 0) | (wanted >= self.rows)]
            raise IndexError(
                f"{self.name} has no row {some(odd)}: its {self.rows} rows count from 0."
            )
        found: list[Any] = [None] * len(wanted)
        with self._lock:
            self._open_contents()
            groups = np.searchsorted(self._starts, wanted, side="right") - 1
            for position in np.argsort(groups, kind="stable"):
                group = int(groups[position])
                values = self._group(group)
                found[position] = values[int(wanted[position] - self._starts[group])].as_py()
        return found

    def images(self, row_ids: Sequence[int] | np.ndarray) -> list[bytes]:
        """Encoded images of some rows of a dataset of images; see `examples`.

        Raises:
            TypeError: It holds something else.
        """
        self._refuse_other("image")
        return self.examples(row_ids)

    def texts(self, row_ids: Sequence[int] | np.ndarray) -> list[str]:
        """Texts of some rows of a dataset of texts; see `examples`.

        Raises:
            TypeError: It holds something else.
        """
        self._refuse_other("text")
        return self.examples(row_ids)

    def column(self, name: str) -> np.ndarray:
        """One column other than the content, such as `path`, `sha256` or an extra, shape (rows,).

        Raises:
            KeyError: There is no such column.
        """
        import pyarrow.parquet as pq

        names = pq.read_schema(self.folder / DATA).names
        known = [column for column in names if column != self._kind().column]
        if name not in known:
            raise KeyError(f"{self.name} has no column {name!r}; it has {', '.join(known)}.")
        with pq.ParquetFile(self.folder / DATA, memory_map=True) as file:
            values = file.read(columns=[name])[name].to_pylist()  # `to_numpy` imports pandas
        texts = any(isinstance(value, str | bytes) for value in values[:1])
        return np.array(values, dtype=object if texts else None)

    def quarantined(self) -> list[dict[str, Any]]:
        """What could not be used: path, error, label, class_name, split, size_bytes."""
        import pyarrow.parquet as pq

        with pq.ParquetFile(self.folder / QUARANTINE) as file:
            return file.read().to_pylist()

    def verify(self) -> list[str]:
        """Reads everything and recomputes every digest.

        Returns:
            One sentence for each thing that differs; empty if the dataset is whole.
        """
        import pyarrow as pa
        import pyarrow.parquet as pq

        wrong: list[str] = []
        digest = start_fingerprint(self.classes)
        kind = self._kind()
        columns = ["row_id", kind.column, *FINGERPRINTED]
        count = 0
        try:
            with pq.ParquetFile(self.folder / DATA, memory_map=True) as file:
                for batch in file.iter_batches(64, columns=columns):
                    for row in batch.to_pylist():
                        found = hashlib.sha256(kind.content(row[kind.column])).hexdigest()
                        if found != row["sha256"]:
                            wrong.append(
                                f"row {row['row_id']} ({row['path']}): the {kind.noun} has sha256 "
                                f"{found}, recorded is {row['sha256']}."
                            )
                        digest.update(fingerprint_line(row[name] for name in FINGERPRINTED))
                        count += 1
        except (pa.ArrowException, OSError) as error:
            return [*wrong, f"{DATA} cannot be read after row {count}: {error}."]
        if count != self.card["rows"]:
            wrong.append(f"{plural(count, 'row')} found, recorded are {self.card['rows']}.")
        found = digest.hexdigest()[:16]
        if not found == self.fingerprint == self.folder.name:
            wrong.append(
                f"the content has fingerprint {found}, the card says {self.fingerprint} and the "
                f"folder is called {self.folder.name}."
            )
        return wrong

    def _kind(self) -> Kind:
        if self.kind not in KINDS:  # of a store that a later Shotboard has written
            raise ValueError(f"{self.folder} holds data of kind {self.kind!r}, unknown here.")
        return KINDS[self.kind]

    def _refuse_other(self, kind: str) -> None:
        if self.kind != kind:
            raise TypeError(f"{self.name} holds {self._kind().noun}s and no {KINDS[kind].noun}s.")

    def _open_contents(self) -> None:
        """Maps the file into memory on first use."""
        if self._file is None:
            import pyarrow.parquet as pq

            self._file = pq.ParquetFile(self.folder / DATA, memory_map=True)
            meta = self._file.metadata
            sizes = [meta.row_group(group).num_rows for group in range(meta.num_row_groups)]
            self._starts = np.concatenate([[0], np.cumsum(sizes)]).astype(np.int64)

    def _group(self, group: int) -> Any:
        """Contents of one row group, a `pyarrow.ChunkedArray`."""
        if self._held is None or self._held[0] != group:
            column = self._kind().column
            self._held = (group, self._file.read_row_group(group, columns=[column])[column])
        return self._held[1]


def current(folder: Path) -> Dataset | None:
    """The dataset that `<store>/data/<name>` stands for now, None before any ingestion."""
    found = read_receipt(folder)
    return Dataset.open(folder / found["fingerprint"]) if found else None


def read_receipt(folder: Path) -> dict[str, Any] | None:
    """Content of `current.json`, None where it or the dataset it names is missing."""
    try:
        receipt = load_json((folder / CURRENT).read_bytes())
        place = folder / receipt["fingerprint"]
    except FileNotFoundError:
        return None
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise ValueError(
            f"{folder / CURRENT} is damaged ({error}). Delete it and ingest again."
        ) from error
    whole = all((place / name).is_file() for name in (DATA, CARD))
    return receipt if whole else None


def _pairs(
    labels: np.ndarray, columns: Sequence[Sequence[Any]], classes: int
) -> tuple[tuple[str, str], ...]:
    """The pair of each class; none at all where a class has no rows, or rows that differ."""
    found = set(zip(labels.tolist(), *columns, strict=True))
    pairs = {label: (attribute, object_) for label, attribute, object_ in found}
    whole = len(found) == len(pairs) == len(set(pairs.values())) == classes
    texts = all(isinstance(part, str) and part for pair in pairs.values() for part in pair)
    return tuple(pairs[label] for label in range(classes)) if whole and texts else ()


FINGERPRINTED = ("sha256", "label", "split", "domain", "path")


def start_fingerprint(classes: Iterable[str]) -> Any:
    """A SHA-256 that has taken in the class names; each row's `fingerprint_line` follows."""
    return hashlib.sha256(fingerprint_line(classes))


def fingerprint_line(values: Iterable[object]) -> bytes:
    """Values as one line of JSON, so that no two lists of values look alike."""
    return (json.dumps(list(values), ensure_ascii=True) + "\n").encode()
