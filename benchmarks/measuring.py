"""What the benchmarks share: the clock, what autograd keeps, and the report for machines."""

import json
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor


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
