"""Tables in a compact form, for a page to unpack: columns of codes and what each code stands for.

A packed table is gzip over: four bytes, little endian, with the length of a JSON text; that text;
the codes. The text is `{"rows": n, "columns": [{"name", "values", "width"}, ..]}`: the codes
of a column are indices into `values`, `width` bytes each (0 where all rows have the one value), as
`width` planes of n bytes, lowest byte first. Ids that many tables have are there once: in place of
`values` such a column has `of`, the column of the table `ids` whose values its codes are indices
into. `assets/payload.js` is the reader.
"""

import base64
import gzip
import json
import math
from collections.abc import Collection, Mapping, Sequence
from typing import Any

import numpy as np
import pyarrow as pa

from tasks.plain_text import plain

Column = pa.ChunkedArray | Sequence[Any]
IDS = "ids"  # the table of ids


def packed(
    tables: Mapping[str, Mapping[str, Column]],
    *,
    json_columns: Collection[str],
    digits: Mapping[str, int],
    ids: Mapping[str, str],
) -> dict[str, str]:
    """Tables as base64 of their packed form, and beside them that of their ids.

    Args:
        tables: Columns of text, truth and numbers, by name of the table and the column.
        json_columns: Those whose texts are JSON.
        digits: Significant digits that are kept of numbers that are not whole, by column.
        ids: Of which kind the ids of a column are, by its name.
    """
    encoded = {
        name: {column: coded(values, digits.get(column, 17)) for column, values in table.items()}
        for name, table in tables.items()
    }
    known: dict[str, set[Any]] = {kind: set() for kind in ids.values()}
    for table in encoded.values():
        for column in table.keys() & ids.keys():
            known[ids[column]].update(table[column][0])
    every = {kind: _ordered(values) for kind, values in known.items()}
    places = {
        kind: {value: at for at, value in enumerate(values)} for kind, values in every.items()
    }
    found = {IDS: _whole([{"name": k, "values": v, "width": 0} for k, v in every.items()], [], 0)}
    for name, table in encoded.items():
        heads, planes = [], []
        for column, (values, codes) in table.items():
            kind = ids.get(column)
            if kind is not None:
                codes = np.array([places[kind][v] for v in values], np.uint32)[codes]
                head = {"of": kind, "width": _width(len(every[kind]))}
            else:
                read = column in json_columns
                told = [v and _plain_inside(json.loads(v)) for v in values] if read else values
                head = {"values": told, "width": _width(len(values))}
            heads.append({"name": column, **head})
            # Bytes of one weight lie together: the high ones hardly vary, and cost nothing.
            bytes_of_rows = codes.astype("<u4").view(np.uint8).reshape(-1, 4)
            planes.append(bytes_of_rows[:, : head["width"]].T.tobytes())
        found[name] = _whole(heads, planes, len(next(iter(table.values()))[1]))
    return found


def _whole(heads: Sequence[Mapping[str, Any]], planes: Sequence[bytes], rows: int) -> str:
    text = json.dumps({"rows": rows, "columns": heads}, separators=(",", ":")).encode()
    return compressed(b"".join([len(text).to_bytes(4, "little"), text, *planes]))


def compressed(content: bytes) -> str:
    """Base64 of gzip, equal for equal content."""
    return base64.b64encode(gzip.compress(content, compresslevel=9, mtime=0)).decode("ascii")


def coded(column: Column, digits: int) -> tuple[list[Any], np.ndarray]:
    """The distinct values of a column as JSON has them, in order, and of each row which.

    Args:
        column: Of text, truth or numbers.
        digits: Significant digits that are kept of numbers that are not whole.
    """
    if not len(column):  # pyarrow would import pandas for an array of nothing
        return [], np.zeros(0, np.uint32)
    if isinstance(column, Sequence):
        seen: dict[Any, int] = {}
        indices = np.array([seen.setdefault(value, len(seen)) for value in column])
        distinct = list(seen)
    else:
        encoded = column.combine_chunks().dictionary_encode(null_encoding="encode")
        distinct = encoded.dictionary.to_pylist()
        indices = np.from_dlpack(encoded.indices)  # as above, `to_numpy` would import pandas
    told = [_told(value, digits) for value in distinct]
    values = _ordered(set(told))
    places = {value: place for place, value in enumerate(values)}
    codes = np.array([places[value] for value in told], np.uint32)
    return values, codes[indices.astype(np.intp)]


def _ordered(values: Collection[Any]) -> list[Any]:
    return sorted(values, key=lambda value: (value is None, value))


def _told(value: Any, digits: int) -> Any:
    """A value as the page has it: a number that is none as None, text without what may harm."""
    if isinstance(value, float):
        return float(f"{value:.{digits}g}") if math.isfinite(value) else None
    return plain(value) if isinstance(value, str) else value


def _plain_inside(value: Any) -> Any:
    """A value of JSON whose texts are plain."""
    if isinstance(value, dict):
        return {plain(key): _plain_inside(inner) for key, inner in value.items()}
    if isinstance(value, list):
        return [_plain_inside(inner) for inner in value]
    return plain(value) if isinstance(value, str) else value


def _width(count: int) -> int:
    return 0 if count <= 1 else 1 if count <= 256 else 2 if count <= 65536 else 4
