"""What the benchmarks share: the clock, what autograd keeps, and reports for machines and docs."""

import json
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from tasks import plain_text
from tasks.plain_text import Marked


def seconds(forms: Mapping[str, Callable[[], Any]], rounds: int) -> list[dict[str, float]]:
    """CPU seconds of this thread, all forms in each round."""
    measured = []
    for _ in range(rounds):
        row = {}
        for name, form in forms.items():
            start = time.thread_time()
            form()
            row[name] = time.thread_time() - start
        measured.append(row)
    return measured


def saved_bytes(form: Callable[[], Any], weights: set[int]) -> int:
    """Bytes that autograd keeps between forward and backward.

    Args:
        form: Goes both ways.
        weights: Where frozen weights lie in memory; they are not counted.
    """
    kept: dict[int, Tensor] = {}  # by storage, and alive, so that no address comes twice

    def pack(x: Tensor) -> Tensor:
        kept[x.untyped_storage().data_ptr()] = x
        return x

    with torch.autograd.graph.saved_tensors_hooks(pack, lambda x: x):
        form()
    return sum(x.untyped_storage().nbytes() for at, x in kept.items() if at not in weights)


def write_json(report: Mapping[str, Any], where: str | None) -> None:
    """Writes a report to a file, to standard output for `-`, or nowhere."""
    text = json.dumps(report, indent=2)
    if where == "-":
        print(text)
    elif where:
        Path(where).write_text(text + "\n", encoding="utf-8")


def times(ratio: float | None) -> str:
    """A ratio as it stands in a table; empty where there is none."""
    if ratio is None:
        return ""
    digits = 2 if ratio < 2 else 1 if ratio < 10 else 0
    return f"{ratio:.{digits}f}x"


def times_in(ratio: float, bounds: Sequence[float]) -> str:
    """A median ratio and the range over rounds."""
    low, high = (times(bound).removesuffix("x") for bound in bounds)
    return f"{times(ratio)} [{low}, {high}]"


def milliseconds(seconds: float) -> str:
    """A duration as it stands in a table."""
    value = 1000 * seconds
    digits = 2 if value < 1 else 1 if value < 100 else 0
    return f"{value:,.{digits}f} ms"


def markdown_table(heads: Mapping[str, str], rows: Iterable[Sequence[Any]]) -> str:
    """Rows in Markdown.

    Args:
        heads: Heading of each column, and `<` or `>`: to which side it is aligned.
        rows: A value for each column, which may be Markdown.
    """
    cells = ([Marked(value) for value in row] for row in rows)
    numeric = [side == ">" for side in heads.values()]
    return plain_text.markdown_table([*map(Marked, heads)], cells, numeric).rstrip()
