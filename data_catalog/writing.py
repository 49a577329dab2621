"""How a dataset is written: a spool of contents, then Parquet, then a rename."""

import contextlib
import json
import os
import uuid
from collections.abc import Container, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from data_catalog.dataset import DATA, QUARANTINE
from data_catalog.kinds import Checked, Kept, Kind
from data_catalog.labels import Labelling

GROUP_ROWS = 256
GROUP_BYTES = 64 << 20  # a row group ends here too, so that large images fit into memory
_SPOOL = "contents.spool"
_OWN = ("row_id", "label", "class_name", "split", "domain", "path", "sha256")


class Spool:
    """Contents in order, one after the other in one file, with a record of each in memory.

    Attributes:
        kept: Record of each example, in order.
    """

    def __init__(self, draft: Path) -> None:
        self.kept: list[Kept] = []
        self._places: list[int] = []  # where each content begins in the file
        self._path = draft / _SPOOL
        self._file = self._path.open("w+b")

    def __enter__(self) -> "Spool":
        return self

    def __exit__(self, *_: object) -> None:
        self._file.close()
        self._path.unlink(missing_ok=True)

    def add(self, checked: Checked) -> None:
        """Appends an example that can be used."""
        example = checked.example
        self._places.append(self._file.tell())
        self._file.write(example.content)
        self.kept.append(
            Kept(
                size=len(example.content),
                sha256=checked.sha256,
                path=example.path,
                label=example.label,
                class_name=example.class_name,
                split=example.split,
                domain=example.domain or "",
                extras=example.extras,
                measures=checked.measures,
                findings=checked.findings,
            )
        )

    def leave_out(self, splits: Container[str]) -> None:
        """Forgets the examples of some splits, as the source calls them."""
        places = zip(self.kept, self._places, strict=True)
        left = [(row, at) for row, at in places if not row.split or row.split not in splits]
        self.kept, self._places = [row for row, _ in left], [at for _, at in left]

    def groups(self) -> Iterator[tuple[int, list[Kept], list[bytes]]]:
        """Yields the first row, the records and the contents of each row group to write."""
        rows: list[Kept] = []
        contents: list[bytes] = []
        start = size = 0
        for row, place in zip(self.kept, self._places, strict=True):
            if rows and (len(rows) == GROUP_ROWS or size + row.size > GROUP_BYTES):
                yield start, rows, contents
                start, size, rows, contents = start + len(rows), 0, [], []
            rows.append(row)
            self._file.seek(place)
            contents.append(self._file.read(row.size))
            size += row.size
        if rows:
            yield start, rows, contents


def write_data(
    spool: Spool, draft: Path, kind: Kind, labelling: Labelling, splits: Sequence[str]
) -> list[str]:
    """Writes `data.parquet`, rows in the order of the source.

    Args:
        spool: Contents, and the record of each.
        draft: Folder that is written into.
        kind: How a content is stored.
        labelling: Class of each row, and their names.
        splits: Train, val or test for each row.

    Returns:
        Names of the extra columns. One that would hide a column of ours gets `source_` before it.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    types = _extra_types(spool.kept)
    own = {*_OWN, kind.column, *kind.measures}
    columns = {name: _extra_column(name, types, own) for name in types}
    schema = pa.schema(
        [
            ("row_id", pa.int64()),
            (kind.column, pa.type_for_alias(kind.arrow)),
            ("label", pa.int32()),
            *((name, pa.string()) for name in ("class_name", "split", "domain", "path")),
            *((name, pa.int32()) for name in kind.measures),
            ("sha256", pa.string()),
            *((columns[name], arrow) for name, arrow in types.items()),
        ]
    )
    compression = {
        name: kind.compression if name == kind.column else "ZSTD" for name in schema.names
    }
    repeating = ["class_name", "split", "domain"]
    measured = ["row_id", "label", "split", "domain"]
    with pq.ParquetWriter(
        draft / DATA,
        schema,
        compression=compression,  # pyright: ignore[reportArgumentType]  # lists and mappings
        use_dictionary=repeating,  # pyright: ignore[reportArgumentType]  # are allowed, though
        write_statistics=measured,  # pyright: ignore[reportArgumentType]  # the stubs lack them
    ) as writer:
        for start, rows, contents in spool.groups():
            end = start + len(rows)
            labels = labelling.labels[start:end]
            values: list[Sequence[Any]] = [
                range(start, end),
                [kind.stored(content) for content in contents],
                labels,
                [labelling.classes[label] for label in labels],
                splits[start:end],
                [row.domain for row in rows],
                [row.path for row in rows],
                *([row.measures[at] for row in rows] for at in range(len(kind.measures))),
                [row.sha256 for row in rows],
                *([_extra(row, name, arrow) for row in rows] for name, arrow in types.items()),
            ]
            arrays = [pa.array(v, t) for v, t in zip(values, schema.types, strict=True)]
            writer.write_table(pa.Table.from_arrays(arrays, schema=schema), GROUP_ROWS)
    return list(columns.values())


def write_quarantine(draft: Path, quarantine: Sequence[Mapping[str, Any]]) -> None:
    """Writes `quarantine.parquet`, also when nothing is in it.

    Args:
        draft: Folder that is written into.
        quarantine: What was set aside, a mapping each.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    texts = ("path", "error", "class_name", "split")
    schema = pa.schema(
        [*((n, pa.string()) for n in texts), ("label", pa.int64()), ("size_bytes", pa.int64())]
    )
    pq.write_table(pa.Table.from_pylist(list(quarantine), schema=schema), draft / QUARANTINE)


def commit(draft: Path, target: Path) -> None:
    """Makes `draft` the dataset at `target`, on disk before it is seen.

    Where `target` is there already it holds the same rows: its files are replaced one by one,
    which heals a damaged one and brings the card up to date. Who reads the old ones goes on.

    Args:
        draft: Folder with all files of the dataset.
        target: Where it is read.
    """
    for file in draft.iterdir():
        with file.open("rb") as handle:
            os.fsync(handle.fileno())
    try:
        draft.rename(target)
    except OSError:
        if not target.is_dir():
            raise
        for file in sorted(draft.iterdir(), reverse=True):  # card.json comes last
            file.replace(target / file.name)


def write_json(path: Path, values: Mapping[str, Any]) -> None:
    """Writes `values` so that a reader sees the old file or the new one, never a part.

    Args:
        path: Of the file; its folder is made if missing.
        values: Of which JSON is made.
    """
    write_text(path, json.dumps(values, indent=1, ensure_ascii=False) + "\n")


def write_text(path: Path, text: str, *, private: bool = False) -> None:
    """Writes `text` so that a reader sees the old file or the new one, never a part.

    A private file is one that only its owner may read, from its first byte on.

    Args:
        path: Of the file; its folder is made if missing.
        text: Of the file.
        private: Whether only its owner may read it.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    draft = path.with_name(f".{path.name}.{uuid.uuid4().hex}")
    try:
        if private:
            draft.touch(0o600)
        with draft.open("w", encoding="utf-8") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        draft.replace(path)
    finally:
        with contextlib.suppress(OSError):
            draft.unlink(missing_ok=True)


def _extra_types(kept: Sequence[Kept]) -> dict[str, Any]:
    """Arrow type of each extra column: boolean, int64, double, bytes, else text."""
    import pyarrow as pa

    seen: dict[str, set[type]] = {}
    for row in kept:
        for name, value in row.extras.items():
            seen.setdefault(name, set()).add(type(value))
    types: dict[str, Any] = {}
    for name, kinds in seen.items():
        kinds.discard(type(None))
        if kinds == {bool}:
            types[name] = pa.bool_()
        elif kinds == {int}:
            types[name] = pa.int64()
        elif kinds and kinds <= {int, float}:
            types[name] = pa.float64()
        elif kinds == {bytes}:
            types[name] = pa.binary()
        else:
            types[name] = pa.string()
    return types


def _extra(row: Kept, name: str, kind: Any) -> Any:
    """One value of an extra column, as text where the column mixes types."""
    value = row.extras.get(name)
    return str(value) if value is not None and str(kind) == "string" else value


def _extra_column(name: str, taken: Mapping[str, Any], own: Container[str]) -> str:
    """A column name that hides none of our own and none of the other extras."""
    while name in own:
        name = f"source_{name}"
        while name in taken:
            name = f"source_{name}"
    return name
