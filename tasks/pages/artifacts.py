"""What a flow run leaves in Prefect: board, pictures, what has changed or failed, and links.

Everything is Markdown, which Prefect shows beside the run with its tables, pictures and links.
"""

import base64
from collections.abc import Mapping, Sequence
from contextlib import suppress
from itertools import groupby
from typing import Any

from prefect.artifacts import create_link_artifact, create_markdown_artifact

from operators.episodes.shots import shots_said
from tasks.pages.asking import BoardError
from tasks.pages.links import served_pages
from tasks.pages.pictures import picture
from tasks.pages.reports import SHARE, board_rows, changes_markdown, quantity, score
from tasks.plain_text import Marked, in_markdown, markdown_table
from tasks.planning.planned import Plan
from tasks.storage.store import Store

MOST_ROWS = 300  # of a table; the board page has all
MOST_PICTURES = 8  # some 60 KB each, in the database of the server
_PLACE = ("dataset", "backbone", "shots")


def publish_artifacts(
    store: Store, plan: Plan, failed: Sequence[tuple[str, str]], summary: str
) -> None:
    """Leaves what a run did with its flow run in Prefect.

    Args:
        store: Whose board.
        plan: What was asked for; the numbers shown are those of its trials and no others.
        failed: Id and reason of each trial that failed.
        summary: A sentence.
    """
    name = plan.suite.name
    rows = board_rows(store, plan.specs)
    _leave(
        "board", board_markdown(rows), f"The trials of this run of {name}: mean ± std over seeds"
    )
    pictures = pictures_markdown(store, rows)
    if pictures:
        _leave("pictures", pictures, "Few-shot curves, and score against cost, of all on the board")
    if failed:
        _leave("failures", failures_markdown(plan, failed), f"{len(failed)} trials failed, and why")
    with suppress(BoardError):
        about = f"What moved since the whole run of {name} before, and why"
        _leave("changes", changes_markdown(store, name), about)
    _leave("summary", _summary(store, plan, failed, summary), f"What this run of {name} did")
    link_pages()


def board_markdown(rows: Sequence[Mapping[str, Any]]) -> str:
    """A table for each protocol and split, the method first, the best in bold.

    Args:
        rows: As `board_rows` gives them: the best first in each place.
    """
    parts = []
    grounds = sorted(rows, key=lambda row: (row["protocol"], row["split"], row["metric"]))
    for (protocol, split, _), found in groupby(
        grounds, lambda row: (row["protocol"], row["split"], row["metric"])
    ):
        of_table = list(found)
        varying = [name for name in _PLACE if len({row[name] for row in of_table}) > 1]
        fixed = [_said(name, of_table[0][name]) for name in _PLACE if name not in varying]
        parts.append(f"## {in_markdown(protocol)}, {in_markdown(split)}\n")
        if fixed:
            parts.append(f"{in_markdown(', '.join(filter(None, fixed)))}\n")
        parts.append(_table(of_table, varying))
    board = served_pages().on_board()
    link = f"\n[The whole board, to sort and compare]({board})\n" if board else ""
    return "\n".join(parts) + link if parts else "No trial has completed yet."


def _table(rows: Sequence[Mapping[str, Any]], varying: Sequence[str]) -> str:
    heads = ["method", *varying, quantity(rows[0]), "95 % over seeds", "seeds"]
    lines: list[list[object]] = []
    names = _names(rows)
    for _, found in groupby(rows[:MOST_ROWS], lambda row: [row[name] for name in _PLACE]):
        competing = list(found)
        for rank, row in enumerate(competing):
            method, number = names[row["method"], row["variant"]], score(row)
            if rank == 0 and len(competing) > 1 and row["mean"] is not None:
                method, number = f"**{method}**", f"**{number}**"
            place = [row[name] for name in varying]
            lines.append([Marked(method), *place, Marked(number), _interval(row), row["n"]])
    parts = [markdown_table(heads, lines, [False] * (1 + len(varying)) + [True] * 3).rstrip()]
    if len(rows) > MOST_ROWS:
        parts.append(f"\n{len(rows) - MOST_ROWS} more rows are on the board.")
    settings = [f"- {name}: {in_markdown(key[1])}" for key, name in names.items() if key[1]]
    return "\n".join([*parts, *([""] if settings else []), *settings]) + "\n"


def _names(rows: Sequence[Mapping[str, Any]]) -> dict[tuple[str, str | None], str]:
    """What each method and setting is called; settings stand below, or no number would be seen."""
    settings: dict[str, list[str | None]] = {}
    for row in rows:
        of_method = settings.setdefault(row["method"], [])
        if row["variant"] not in of_method:
            of_method.append(row["variant"])
    return {
        (method, variant): in_markdown(method) + (f" ({place})" if len(variants) > 1 else "")
        for method, variants in settings.items()
        for place, variant in enumerate(variants, start=1)
    }


def _interval(row: Mapping[str, Any]) -> str:
    low, high = row["ci95_low"], row["ci95_high"]
    if low is None or high is None:
        return ""
    return (
        f"{100 * low:.1f} to {100 * high:.1f}"
        if row["unit"] == SHARE
        else f"{low:.3f} to {high:.3f}"
    )


def _said(name: str, value: Any) -> str:
    if name != "shots":
        return str(value)
    return shots_said(value) if value else ""


def pictures_markdown(store: Store, rows: Sequence[Mapping[str, Any]]) -> str:
    """Curves and cost at the places of some rows, with what they say in words.

    Args:
        store: Whose board.
        rows: Of `board_rows`.
    """
    parts: list[str] = []
    for protocol, dataset, backbone in dict.fromkeys(
        (row["protocol"], row["dataset"], row["backbone"]) for row in rows
    ):
        place = {"protocol": protocol, "dataset": dataset, "backbone": backbone}
        for name in ("curves", "cost"):
            if len(parts) < MOST_PICTURES:
                with suppress(LookupError, BoardError):  # there may be nothing to draw
                    drawn = picture(store, name, place, format="png")
                    content = base64.b64encode(drawn.content).decode()
                    alt = in_markdown(drawn.alt)
                    parts.append(f"![{alt}](data:{drawn.media_type};base64,{content})\n")
    return "\n".join(parts)


def failures_markdown(plan: Plan, failed: Sequence[tuple[str, str]]) -> str:
    """A table of trials that failed, what they are, and why.

    Args:
        plan: Of the run.
        failed: Id and reason of each.
    """
    specs = {spec.trial_id: spec for spec in plan.specs}
    pages = served_pages()
    lines = []
    for trial_id, reason in failed[:MOST_ROWS]:
        spec = specs.get(trial_id)
        page = pages.on_board("trial", trial_id)
        shown = Marked(f"[{trial_id}]({page})") if page else trial_id
        place = (spec.method, _where(spec)) if spec else (None, None)
        lines.append((shown, *place, reason))
    table = markdown_table(("trial", "method", "where", "reason"), lines)
    return f"{table}\nThe next run of the same tries them again."


def _where(spec: Any) -> str:
    shots = shots_said(spec.shots)
    return f"{spec.dataset}, {spec.protocol}, {shots}, seed {spec.seed}, {spec.backbone}"


def _summary(store: Store, plan: Plan, failed: Sequence[tuple[str, str]], summary: str) -> str:
    """What was done, where it is, and what a reader should know."""
    board = served_pages().on_board()
    lines = [f"# {in_markdown(plan.suite.name)}", "", in_markdown(summary), ""]
    lines += [f"- [board]({board})"] if board else []
    lines += [f"- MLflow: experiment {in_markdown(plan.suite.name)}, {mlflow_place(store)}"]
    lines += [f"- failed: {in_markdown(f'{trial}: {reason}')}" for trial, reason in failed]
    lines += [f"- skipped: {in_markdown(text)}" for text in plan.skipped]
    lines += [f"- note: {in_markdown(text)}" for text in plan.notices]
    return "\n".join(lines)


def _leave(key: str, markdown: str, description: str) -> None:
    create_markdown_artifact(key=key, markdown=markdown, description=in_markdown(description))


def link_pages() -> None:
    """Leaves links to the board and to MLflow with the flow run, where they are served."""
    pages = served_pages()
    if board := pages.on_board():
        create_link_artifact(
            key="board-page",
            link=board,
            link_text="The board",
            description="All of the board: tables, plots, trials, comparisons",
        )
    if pages.mlflow:
        create_link_artifact(
            key="mlflow",
            link=pages.mlflow,
            link_text="MLflow",
            description="Parameters, metrics, prompts and predictions of each cell",
        )


def mlflow_place(store: Store) -> str:
    """Where MLflow's pages are, or the commands that show them."""
    uri = store.mlflow_uri_to_show
    if store.mlflow_is_server:
        return f"at {uri}"
    if url := served_pages().mlflow:
        return f"at {url}"
    return (
        f"shown by `shotboard up --home {store.place}`, or by `mlflow ui --backend-store-uri {uri}`"
    )
