"""How a dataset is written: from a spool to Parquet, then a rename."""

import contextlib
import json
import os
import uuid
from collections.abc import Container, Iterable, Iterator, Mapping, Sequence
from itertools import islice
from pathlib import Path
from typing import Any

from data_catalog.dataset import DATA, QUARANTINE
from data_catalog.kinds import Kept, Kind
from data_catalog.rows import Rows
from data_catalog.splits import SPLITS
from data_catalog.spool import Spool

GROUP_ROWS = 256
GROUP_BYTES = 64 << 20  # a row group ends here too, so that large images fit into memory
_ASIDE_ROWS = 10_000
_OWN = ("row_id", "label", "class_name", "split", "domain", "path", "sha256")


def write_data(
    spool: Spool,
    draft: Path,
    kind: Kind,
    rows: Rows,
    types: Mapping[str, Any],
) -> list[str]:
    """Writes `data.parquet`, rows in the order of the source.

    Args:
        spool: Contents, and what is remembered of each.
        draft: Folder that is written into.
        kind: How a content is stored.
        rows: Class, split and domain of each row, and the names of classes.
        types: Arrow type of each extra column.

    Returns:
        Names of the extra columns. One that would hide a column of ours gets `source_` before it.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

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
        for start, kept, contents in _groups(spool):
            end = start + len(kept)
            labels = rows.labels[start:end].tolist()
            values: list[Sequence[Any]] = [
                range(start, end),
                [kind.stored(content) for content in contents],
                labels,
                [rows.classes[label] for label in labels],
                [SPLITS[code] for code in rows.splits[start:end].tolist()],
                [rows.domains[code] for code in rows.domain_codes[start:end].tolist()],
                [row.path for row in kept],
                *([row.measures[at] for row in kept] for at in range(len(kind.measures))),
                list(rows.hex_digests(start, end)),
                *([_extra(row, name, arrow) for row in kept] for name, arrow in types.items()),
            ]
            arrays = [pa.array(v, t) for v, t in zip(values, schema.types, strict=True)]
            writer.write_table(pa.Table.from_arrays(arrays, schema=schema), GROUP_ROWS)
    return list(columns.values())


def _groups(spool: Spool) -> Iterator[tuple[int, list[Kept], list[bytes]]]:
    """Yields the first row, what is remembered and the contents of each row group to write."""
    rows: list[Kept] = []
    contents: list[bytes] = []
    start = size = 0
    for row, content in zip(spool.rows(), spool.contents(), strict=True):
        if rows and (len(rows) == GROUP_ROWS or size + len(content) > GROUP_BYTES):
            yield start, rows, contents
            start, size, rows, contents = start + len(rows), 0, [], []
        rows.append(row)
        contents.append(content)
        size += len(content)
    if rows:
        yield start, rows, contents


def write_quarantine(draft: Path, quarantine: Iterable[Mapping[str, Any]]) -> None:
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
    remaining = iter(quarantine)
    rows = list(islice(remaining, _ASIDE_ROWS))
    with pq.ParquetWriter(draft / QUARANTINE, schema) as writer:
        writer.write_table(pa.Table.from_pylist(rows, schema=schema))
        while rows := list(islice(remaining, _ASIDE_ROWS)):
            writer.write_table(pa.Table.from_pylist(rows, schema=schema))


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


class ExtraTypes:
    """Finds the type of each extra column: boolean, int64, double, bytes, else text."""

    def __init__(self) -> None:
        self._seen: dict[str, set[type]] = {}

    def see(self, row: Kept) -> None:
        """Takes in one row."""
        for name, value in row.extras.items():
            self._seen.setdefault(name, set()).add(type(value))

    def arrow(self) -> dict[str, Any]:
        """Arrow type by column."""
        import pyarrow as pa

        types: dict[str, Any] = {}
        for name, seen in self._seen.items():
            kinds = seen - {type(None)}
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
