"""Tables in a compact form, for a page to unpack: columns of codes and what each code stands for.

A packed table is gzip over: four bytes, little endian, with the length of a JSON text; that text;
the codes. The text is `{"rows": n, "columns": [{"name", "values", "width"}, ..]}`: the codes
of a column are indices into `values`, `width` bytes each (0 where all rows have the one value), as
`width` planes of n bytes, lowest byte first. `assets/payload.js` is the reader.
"""

import base64
import gzip
import json
import math
from collections.abc import Collection
from typing import Any

import numpy as np
import pyarrow as pa

from tasks.plain_text import plain


def packed(table: pa.Table, *, json_columns: Collection[str], digits: dict[str, int]) -> str:
    """A table as base64 of its packed form.

    Args:
        table: Columns of text, truth and numbers.
        json_columns: Those whose texts are JSON.
        digits: Significant digits that are kept of numbers that are not whole, by column.
    """
    columns, planes = [], []
    for name in table.column_names:
        values, codes = coded(table[name], digits.get(name, 17))
        width = _width(len(values))
        if name in json_columns:
            values = [value and _plain_inside(json.loads(value)) for value in values]
        columns.append({"name": name, "values": values, "width": width})
        # Bytes of one weight lie together: the high ones hardly vary, and cost nothing.
        planes.append(codes.astype("<u4").view(np.uint8).reshape(-1, 4)[:, :width].T.tobytes())
    text = json.dumps({"rows": table.num_rows, "columns": columns}, separators=(",", ":")).encode()
    return compressed(b"".join([len(text).to_bytes(4, "little"), text, *planes]))


def compressed(content: bytes) -> str:
    """Base64 of gzip, equal for equal content."""
    return base64.b64encode(gzip.compress(content, compresslevel=9, mtime=0)).decode("ascii")


def coded(column: pa.ChunkedArray, digits: int) -> tuple[list[Any], np.ndarray]:
    """The distinct values of a column as JSON has them, in order, and of each row which.

    Args:
        column: Of text, truth or numbers.
        digits: Significant digits that are kept of numbers that are not whole.
    """
    if not len(column):  # pyarrow would import pandas for an array of nothing
        return [], np.zeros(0, np.uint32)
    encoded = column.combine_chunks().dictionary_encode(null_encoding="encode")
    told = [_told(value, digits) for value in encoded.dictionary.to_pylist()]
    values = sorted(set(told), key=lambda value: (value is None, value))
    places = {value: place for place, value in enumerate(values)}
    codes = np.array([places[value] for value in told], np.uint32)
    indices = np.from_dlpack(encoded.indices)  # as above, `to_numpy` would import pandas
    return values, codes[indices.astype(np.intp)]


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
