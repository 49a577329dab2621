"""The board brought to what the store holds, with all that is known of what is on it."""

import json
from collections.abc import Iterable, Mapping
from contextlib import suppress
from dataclasses import asdict
from typing import Any

from operators.board import read_object
from operators.board.variants import Chosen
from operators.files import write_atomic
from operators.spec import TrialSpec
from tasks.code_stamp import code_stamp
from tasks.pages import board
from tasks.pages.cards import class_rows, dataset_rows
from tasks.pages.known import backbone_rows, method_rows
from tasks.planning.own_methods import read_method
from tasks.planning.planned import chosen_of
from tasks.planning.resolve import RequestError
from tasks.progress import reporter
from tasks.storage.store import Store


def rebuild_board(
    store: Store,
    *,
    backbones: Iterable[Mapping[str, Any]] | None = None,
    full: bool = False,
) -> board.Rebuilt:
    """Rebuilds the board and says what was left out.

    Args:
        store: Whose board.
        backbones: Rows of the table `backbones`; default: those with a name.
        full: Read every trial again.

    Raises:
        BoardError: The board could not be written; the published one is as it was.
        OSError: A store at a URL cannot be reached.
    """
    store.sync()
    variants = _Variants(store)
    rebuilt = board.rebuild(
        store,
        datasets=dataset_rows(store),
        classes=class_rows(store),
        methods=method_rows(),
        backbones=backbone_rows() if backbones is None else backbones,
        chosen=variants.of,
        full=full,
    )
    variants.keep()
    store.publish()
    for path, reason in rebuilt.skipped.items():
        reporter().say(f"not on the board: {path}: {reason}")
    return rebuilt


class _Variants:
    """What was chosen in each cell: as the code says it, or as the same code said it before.

    Every rebuild names all cells, and reading the code takes torch.
    """

    def __init__(self, store: Store) -> None:
        self.store = store
        self.file = store.home / ".variants.json"
        self.code = code_stamp(("operators", "tasks/planning"), left_out=("__pycache__",))
        self.known: dict[str, Chosen] = {}
        self.news = False
        with suppress(OSError, ValueError, TypeError, AttributeError):
            found = read_object(self.file)
            if found.get("code") == self.code:
                self.known = {cell: Chosen(**told) for cell, told in found["cells"].items()}

    def of(self, spec: TrialSpec) -> Chosen:
        """The settings of the cell of a trial."""
        if "method_source" in spec.aids:  # of a user's own, whose code comes and goes
            with suppress(RequestError):  # it may be gone; its numbers stay
                read_method(self.store, spec)
            return chosen_of(spec)
        if spec.cell_id not in self.known:
            self.known[spec.cell_id] = chosen_of(spec)
            self.news = True
        return self.known[spec.cell_id]

    def keep(self) -> None:
        """Keeps what was found, for the next rebuild; not what JSON would give back otherwise."""
        if not self.news:
            return
        cells = {}
        for cell, chosen in self.known.items():
            told = asdict(chosen)
            if json.loads(json.dumps(told)) == told:
                cells[cell] = told
        write_atomic(self.file, json.dumps({"code": self.code, "cells": cells}).encode())
