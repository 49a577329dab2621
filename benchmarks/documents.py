"""Writes the boards and tables of README and docs, and says where they are out of date.

    python benchmarks/documents.py record quickstart      # runs its commands, keeps the board
    python benchmarks/documents.py answers                # to the questions of docs/sql.md
    python benchmarks/documents.py write                  # the blocks of all documents
    python benchmarks/documents.py check quickstart       # a store against what was recorded

A record is a board as a store had it, with the identity of every cell, in `docs/figures/`. A block
of a document is what this program makes of a record, between two comments:

    <!-- figures: quickstart board digits/base_to_new digits/few_shot -->
    <!-- figures: zoo table digits/few_shot/all@0,16=Few-shot digits/base_to_new/new@0,16=New -->
    <!-- figures: steps-small benchmark -->
    <!-- figures: sql answer best -->
    <!-- end of figures -->

`board` is what `shotboard board` prints of a dataset and a protocol. `table` has a method a line,
and in each column one split at one of some shots. `benchmark` is the table of a report that a
script of this folder wrote with `--json docs/figures/NAME.json`. `answer` is what the board said to
the SQL that stands before it, kept in `docs/figures/sql.json`. Tests see that all blocks are as
they would be written now, and that no record has settings that today's code would not give.
"""

import argparse
import importlib
import io
import json
import os
import re
import shlex
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import redirect_stdout
from dataclasses import dataclass
from pathlib import Path
from typing import Any

PROJECT = Path(__file__).resolve().parents[1]
FIGURES = PROJECT / "docs" / "figures"
QUESTIONS = "docs/sql.md"
DOCUMENTS = ("README.md", "docs/benchmarks.md", "docs/data.md", QUESTIONS)
QUESTION = re.compile(
    r"^```sql\n(?P<sql>[^`]*?)^```\n\n<!-- figures: sql answer (?P<name>\S+) -->$", re.M
)
BLOCK = re.compile(
    r"^<!-- figures: (?P<name>\S+) (?P<kind>board|table|benchmark|answer)"
    r"(?P<arguments>[^\n]*) -->\n"
    r"(?P<text>.*?)^<!-- end of figures -->$",
    re.M | re.S,
)
# A mean of accuracies may differ by this much on another processor: sums are taken in another
# order, and a prompt that was tuned for hundreds of steps turns a few test images over. See
# "What rounding is worth" in docs/benchmarks.md.
TOLERANCE = 0.01


@dataclass(frozen=True)
class Recipe:
    """How a recorded board is made: commands of `shotboard`, in a store of its own.

    Attributes:
        commands: As a user types them; `DATA` is the folder of the real data sets.
        about: What it is a board of.
    """

    commands: tuple[str, ...]
    about: str


RECIPES = {
    "quickstart": Recipe(("shotboard run",), "the suite that `make run` runs"),
    "zoo": Recipe(("shotboard run zoo",), "every method on digits"),
    "caltech": Recipe(
        (
            "shotboard datasets add caltech --path DATA/caltech101/data.parquet",
            "shotboard run --datasets caltech --backbones effnet-minilm "
            "--methods zero-shot,tip-adapter,tip-adapter-f,linear-probe --shots 1,16",
        ),
        "photos of Caltech-101",
    ),
}


@dataclass(frozen=True)
class Difference:
    """A cell that is not as it was recorded; `found` is None where it is not there."""

    cell: str
    recorded: float
    found: float | None

    def __str__(self) -> str:
        found = "absent" if self.found is None else f"{100 * self.found:.2f}"
        return f"{self.cell}: recorded {100 * self.recorded:.2f}, found {found}"


def record(name: str, home: Path, data: Path | None) -> None:
    """Runs the commands of a recipe in a store and keeps the board that they leave.

    Args:
        name: Key of `RECIPES`.
        home: The store. What it holds already is not computed again.
        data: Folder of the real data sets; needed by recipes that read them.

    Raises:
        ValueError: The recipe reads data sets, and no folder was given.
        CalledProcessError: A command failed.
    """
    for command in RECIPES[name].commands:
        if "DATA" in command and data is None:
            raise ValueError(f"{name} reads real data sets: say where with --data FOLDER.")
        words = shlex.split(command.replace("DATA", str(data)))[1:]
        subprocess.run(
            [Path(sys.executable).with_name("shotboard"), *words],
            env=os.environ | {"SHOTBOARD_HOME": str(home)},
            check=True,
        )
    values = {"commands": list(RECIPES[name].commands), **board_of(home)}
    _keep(name, values)


def _keep(name: str, values: Mapping[str, Any]) -> None:
    FIGURES.mkdir(exist_ok=True)
    text = json.dumps(values, indent=1, sort_keys=True)
    (FIGURES / f"{name}.json").write_text(text + "\n", encoding="utf-8")


def board_of(home: Path) -> dict[str, Any]:
    """The last whole run of a store: its rows on the board, and the identity of their cells."""
    from operators.spec import TrialSpec
    from tasks.pages.reports import board_rows
    from tasks.storage.store import Store

    store = Store.at(home)
    manifests = [json.loads(path.read_bytes()) for path in store.runs.glob("*.json")]
    run = max((m for m in manifests if m["finished_at"]), key=lambda m: m["finished_at"])
    specs = [TrialSpec.from_json(store.result(trial_id)["spec"]) for trial_id in run["trial_ids"]]
    cells = {spec.cell_id: spec.to_json() for spec in reversed(specs)}  # of its first seed
    trials = sorted(spec.trial_id for spec in specs)
    return {"cells": cells, "rows": board_rows(store, specs), "trials": trials}


def questions() -> dict[str, str]:
    """The SQL of every question of `docs/sql.md`, by the name of its answer."""
    text = (PROJECT / QUESTIONS).read_text(encoding="utf-8")
    return {match["name"]: match["sql"] for match in QUESTION.finditer(text)}


def answers_of(home: Path) -> dict[str, Any]:
    """Every question with its answer, as Markdown.

    Args:
        home: A store in which `shotboard run` has run.
    """
    from flows.cli.answers import as_read
    from tasks.pages.asking import ask
    from tasks.plain_text import markdown_table
    from tasks.storage.store import Store

    found = {}
    for name, sql in questions().items():
        with ask(Store.at(home), sql) as answer:
            names, numeric = zip(*answer.columns, strict=True)
            rows = [row for batch in answer.values() for row in batch]
        lines = markdown_table(names, as_read(rows), numeric)
        found[name] = {"sql": sql, "columns": names, "rows": len(rows), "markdown": lines.rstrip()}
    return found


def read(name: str) -> dict[str, Any]:
    """A record.

    Raises:
        FileNotFoundError: There is none of that name.
    """
    return json.loads((FIGURES / f"{name}.json").read_text(encoding="utf-8"))


def differences(name: str, home: Path) -> Iterator[Difference]:
    """The means of a record that a store does not have, or has otherwise.

    Args:
        name: Of the record.
        home: A store in which its commands have run.
    """
    found = {_place(row): row["mean"] for row in board_of(home)["rows"]}
    for row in read(name)["rows"]:
        mean = found.get(_place(row))
        if mean is None or abs(mean - row["mean"]) > TOLERANCE:
            yield Difference(" ".join(map(str, _place(row))), row["mean"], mean)


def _place(row: Mapping[str, Any]) -> tuple[Any, ...]:
    names = ("dataset", "protocol", "backbone", "method", "variant", "shots", "split")
    return tuple(row[name] for name in names)


def written(text: str) -> str:
    """A document with every block as its record says now."""
    return BLOCK.sub(lambda match: _block(**match.groupdict()), text)


def _block(name: str, kind: str, arguments: str, text: str) -> str:
    body = KINDS[kind](name, shlex.split(arguments))
    return f"<!-- figures: {name} {kind}{arguments} -->\n{body}\n<!-- end of figures -->"


def _board(name: str, places: Sequence[str]) -> str:
    """Tables as `shotboard board` prints them, in the order asked for."""
    from flows.cli.display import board_tables, print_board

    rows = read(name)["rows"]
    texts = []
    for place in places:
        dataset, protocol = place.split("/")
        chosen = [row for row in rows if (row["dataset"], row["protocol"]) == (dataset, protocol)]
        if not chosen:
            raise ValueError(f"the record {name} has nothing of {place}.")
        (table,) = board_tables(chosen)
        printed = io.StringIO()
        with redirect_stdout(printed):
            print_board(chosen)
        lines = [line.rstrip() for line in printed.getvalue().splitlines()]
        texts.append("\n".join(lines[lines.index(table.title) :]))
    return "```\n" + "\n\n".join(texts) + "\n```"


def _table(name: str, columns: Sequence[str]) -> str:
    """A Markdown table with a method a line."""
    from operators.methods import METHODS
    from tasks.pages.reports import score
    from tasks.plain_text import Marked, markdown_table

    rows = read(name)["rows"]
    places, heads = [], []
    for column in columns:
        place, _, head = column.partition("=")
        where, _, shots = place.partition("@")
        places.append((*where.split("/"), [int(k) for k in shots.split(",")]))
        heads.append(head)
    lines = []
    for method in METHODS:
        found = []
        for dataset, protocol, split, shots in places:
            values = [
                score(row)
                for row in rows
                if (row["method"], row["dataset"], row["protocol"], row["split"])
                == (method, dataset, protocol, split)
                and row["shots"] in shots
            ]
            if len(values) > 1:
                raise ValueError(f"{name}: {method} has {len(values)} figures for one cell.")
            found.append(values[0] if values else "")
        if any(found):
            lines.append(map(Marked, (method, *found)))
    numeric = [False] + [True] * len(heads)
    return markdown_table(["Method", *map(Marked, heads)], lines, numeric).rstrip()


def _benchmark(name: str, _: Sequence[str]) -> str:
    """The table of a benchmark's report, as its script writes it in Markdown."""
    report = read(name)
    return importlib.import_module(report["benchmark"]).markdown(report)


def _answer(name: str, arguments: Sequence[str]) -> str:
    """The answer to a question, as a table in Markdown."""
    (question,) = arguments
    record = read(name)
    if question not in record:
        raise ValueError(f"{question} is not answered: run `documents.py answers`.")
    return record[question]["markdown"] if record[question]["rows"] else "*No rows.*"


KINDS = {"board": _board, "table": _table, "benchmark": _benchmark, "answer": _answer}


def main() -> int:
    """Records, writes or checks; 1 where something is out of date."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    commands = parser.add_subparsers(dest="command", required=True)
    for command in ("record", "check"):
        one = commands.add_parser(command)
        one.add_argument("name", choices=RECIPES)
        one.add_argument("--home", type=Path, default=PROJECT / ".shotboard")
        if command == "record":
            one.add_argument("--data", type=Path, help="folder of the real data sets")
    commands.add_parser("write")
    asked = commands.add_parser("answers")
    asked.add_argument("--home", type=Path, default=PROJECT / ".shotboard")
    given = parser.parse_args()
    if given.command == "record":
        record(given.name, given.home, given.data)
    elif given.command == "answers":
        _keep("sql", answers_of(given.home))
    elif given.command == "write":
        for path in DOCUMENTS:
            text = (PROJECT / path).read_text(encoding="utf-8")
            (PROJECT / path).write_text(written(text), encoding="utf-8")
    else:
        found = list(differences(given.name, given.home))
        for difference in found:
            print(difference)
        print(f"{given.name}: {len(found)} figures differ by more than {100 * TOLERANCE} points.")
        return bool(found)
    return 0


if __name__ == "__main__":
    sys.exit(main())
