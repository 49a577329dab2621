"""What a run made worse beyond chance, and which numbers moved by themselves.

Judged is the primary metric of each track, in `nightly_changes`, which says how. A flow run is
marked by the name of its state, leaves an artifact that names each cell, and emits an event, which
automations can wait for.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from operators.episodes.shots import shots_said
from tasks.pages.asking import rows
from tasks.pages.links import served_pages
from tasks.pages.reports import SHARE
from tasks.plain_text import in_markdown, plain
from tasks.storage.store import Store

REGRESSED = "Regressed"
MOVED = "Moved"
EVENTS = {REGRESSED: "shotboard.regression", MOVED: "shotboard.moved"}
TOLD = 3  # cells in one sentence
SENT = 40  # cells in one event: Prefect takes a hundred related resources

_FOUND = """
SELECT
    suite, protocol, dataset, backbone, method, variant, shots, split, metric, unit, verdict, cause,
    previous_mean, current_mean, previous_ci95_low, previous_ci95_high, p_images, moved_trials,
    current_cell_id AS cell_id, previous_run_id, current_run_id
FROM nightly_changes
JOIN protocols USING (protocol)
JOIN metric_definitions USING (metric)
WHERE current_run_id = '{run_id}' AND metric = primary_metric
    AND (verdict = 'regressed' OR moved_trials > 0)
ORDER BY verdict <> 'regressed', protocol, dataset, backbone, method, variant,
    shots_order(shots), split
"""

Row = Mapping[str, Any]


@dataclass(frozen=True)
class Moves:
    """What a run moved that somebody should look at.

    Attributes:
        rows: Cells, with split and metric, that regressed; then those of which a trial has another
            number under the same id.
    """

    rows: tuple[Row, ...] = ()

    def __bool__(self) -> bool:
        return bool(self.rows)

    @property
    def regressed(self) -> tuple[Row, ...]:
        """Those that are worse than in the run before, beyond chance, whatever the cause."""
        return tuple(row for row in self.rows if row["verdict"] == "regressed")

    @property
    def mark(self) -> str:
        """The name of the state of its flow run; empty where there is nothing to tell."""
        return (REGRESSED if self.regressed else MOVED) if self.rows else ""

    @property
    def title(self) -> str:
        """`2 cells regressed`, `1 moved by itself`, or both."""
        parts = []
        if count := len({row["cell_id"] for row in self.regressed}):
            parts.append(f"{count} {'cell' if count == 1 else 'cells'} regressed")
        if count := len({row["cell_id"] for row in self.rows if row["moved_trials"]}):
            parts.append(f"{count} moved by {'itself' if count == 1 else 'themselves'}")
        return ", ".join(parts)

    @property
    def subject(self) -> str:
        """The title, with the suite: of a message."""
        return f"Shotboard, suite {self.rows[0]['suite']}: {self.title}" if self.rows else ""

    @property
    def text(self) -> str:
        """The title, and the first few cells in a line each."""
        more = len(self.rows) - TOLD
        lines = [f"{self.title}:", *map(line, self.rows[:TOLD])]
        return "\n".join([*lines, f"and {more} more"] if more > 0 else lines)


def moves_of(store: Store, run_id: str) -> Moves:
    """What a run moved against the whole run of its suite before it, as the board has it.

    Args:
        store: Whose board.
        run_id: Of its manifest; a run of a part of its suite is compared with none.

    Raises:
        BoardError: There is no board, or it cannot be read.
    """
    return Moves(tuple(rows(store, _FOUND.format(run_id=run_id))))


def line(row: Row) -> str:
    """One cell: which, from what to what, and why.

    Args:
        row: One of `Moves.rows`.
    """
    then, now = (_shown(row, f"{time}_mean") or "none" for time in ("previous", "current"))
    cause = row["cause"] or "no cause is known"
    return plain(f"{_word(row)}: {_name(row)}: {row['metric']} {then} to {now}; {cause}")


def markdown(moves: Moves) -> str:
    """A section for each cell: its numbers, the cause, where it is; Prefect's pages are narrow."""
    lines = [f"# {in_markdown(moves.title)}"]
    for row in moves.rows:
        ends = [_shown(row, f"previous_ci95_{end}") for end in ("low", "high")]
        tests = [f"95 % before: {' to '.join(ends)}"] if all(ends) else []
        if row["p_images"] is not None:
            tests.append(f"the same test images: p = {row['p_images']:.2g}")
        then, now = (_shown(row, f"{time}_mean") or "none" for time in ("previous", "current"))
        which = [row["split"], row["protocol"], _shots(row), row["backbone"], row["variant"]]
        lines += [
            "",
            f"### {_word(row)}: {in_markdown(row['method'])} on {in_markdown(row['dataset'])}",
            "",
            f"- {in_markdown(row['metric'])} {then} to **{now}**",
            f"- cause: {in_markdown(row['cause'] or 'none is known')}",
            f"- {in_markdown(', '.join(filter(None, which)))}",
            *([f"- {in_markdown('; '.join(tests))}"] if tests else []),
        ]
    board = served_pages().on_board()
    links = ["", f"[The board]({board})"] if board else []
    return "\n".join([*lines, *links])


def tell_prefect(moves: Moves) -> None:
    """Leaves the artifact `regressions` and emits the event, where there is something to tell.

    Called within a flow run; the event names the suite as its resource and the cells as related
    ones, and holds them in its payload.
    """
    if not moves:
        return
    from prefect.artifacts import create_markdown_artifact
    from prefect.events import emit_event
    from prefect.runtime import flow_run

    create_markdown_artifact(
        key="regressions",
        markdown=markdown(moves),
        description="What is worse than in the run before, or moved by itself",
    )
    suite, run_id = moves.rows[0]["suite"], moves.rows[0]["current_run_id"]
    pages = served_pages()
    links = {"board": pages.on_board(), "flow_run": pages.flow_run(flow_run.get_id() or "")}
    emit_event(
        EVENTS[moves.mark],
        resource={
            "prefect.resource.id": f"shotboard.suite.{suite}",
            "prefect.resource.name": suite,
            "shotboard.run": run_id,
        },
        related=_cells(moves.rows[:SENT]),
        payload={
            "suite": suite,
            "run_id": run_id,
            "title": moves.subject,
            "text": "\n".join([moves.text, *filter(None, links.values())]),
            "cells": [dict(row) for row in moves.rows[:SENT]],
            **links,
        },
    )


def _cells(rows: Sequence[Row]) -> list[dict[str, str]]:
    """Related resources of an event: each cell once, however many of its splits moved."""
    names = {row["cell_id"]: f"{row['method']} on {row['dataset']}" for row in rows}
    return [
        {
            "prefect.resource.id": f"shotboard.cell.{cell_id}",
            "prefect.resource.role": "cell",
            "prefect.resource.name": name,
        }
        for cell_id, name in names.items()
    ]


def _name(row: Row) -> str:
    """Which cell, and which split of it."""
    variant = f" ({row['variant']})" if row["variant"] else ""
    where = [row["dataset"], row["protocol"], _shots(row), row["split"], row["backbone"]]
    return f"{row['method']}{variant} on {', '.join(filter(None, where))}"


def _word(row: Row) -> str:
    return "regressed" if row["verdict"] == "regressed" else "moved"


def _shots(row: Row) -> str:
    return shots_said(row["shots"]) if row["shots"] else ""


def _shown(row: Row, name: str) -> str:
    """A score as people read it, shares in per cent; empty where it is not known."""
    value = row[name]
    if value is None:
        return ""
    return f"{100 * value:.1f} %" if row["unit"] == SHARE else f"{value:.3f} {row['unit']}"
