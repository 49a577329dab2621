"""Where the page begins: what a protocol shows first, and that as a table without any script.

The choice is made here alone. Scripts start from it, and show more.
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

from operators.episodes.shots import shots_order, shots_said
from operators.episodes.splits import AVERAGE, LEADING, ORDER
from tasks.plain_text import in_html

if TYPE_CHECKING:
    from duckdb import DuckDBPyConnection, DuckDBPyRelation

Row = Mapping[str, Any]

WIDE = 9  # columns that a first view may have
LINES = 60  # of a table without scripts
SHARE = "share"  # the unit of metrics that people read in per cent

# The ground with the most methods, then cells: what a protocol shows first.
GROUNDS = """
SELECT protocol, backbone, test_rows_per_class, any_value(metric) AS metric
FROM scores
JOIN protocols USING (protocol)
WHERE metric = primary_metric
GROUP BY protocol, backbone, test_rows_per_class
QUALIFY row_number() OVER (
    PARTITION BY protocol
    ORDER BY count(DISTINCT method) DESC, count(*) DESC, backbone, test_rows_per_class
) = 1
"""


class Place(NamedTuple):
    """Where scores compete: a column of a table of methods."""

    dataset: str
    shots: int
    split: str


class Choice(NamedTuple):
    """What a protocol shows first.

    Attributes:
        protocol: Its name.
        backbone: The one with the most methods.
        test_rows_per_class: The cap on test rows that the most methods have.
        metric: The primary one of the track.
        dataset: A name, or `*` for a column each; `shots` and `split` likewise.
        shots: See `dataset`.
        split: See `dataset`.
        lead: The split that methods are ranked by.
    """

    protocol: str
    backbone: str
    test_rows_per_class: int | None
    metric: str
    dataset: str
    shots: str
    split: str
    lead: str


class Line(NamedTuple):
    """A row of a table of methods: a method, in one setting where it was run in several.

    Attributes:
        method: Its id.
        variant: What tells its setting from others, empty where there is one.
        cells: Its scores, by place.
        average: Over data sets, of the split and shots that lines are ranked by; None without one.
    """

    method: str
    variant: str
    cells: dict[Place, Row]
    average: Row | None = None


class Table(NamedTuple):
    """What a protocol shows first.

    Attributes:
        choice: How it was chosen.
        places: Its columns.
        lines: Its rows, the best first.
        averaged: Whether an average over data sets is the first of its columns.
    """

    choice: Choice
    places: list[Place]
    lines: list[Line]
    averaged: bool


def first_tables(connection: "DuckDBPyConnection", scores: str) -> list[Table]:
    """What each protocol of the board shows first, in the order of the protocols.

    Args:
        connection: To a board.
        scores: SQL that gives the table `scores` of the page.
    """
    found = connection.sql(
        f"WITH scores AS ({scores}), grounds AS ({GROUNDS}) "
        "SELECT scores.*, unit, better "
        "FROM scores JOIN grounds USING (protocol, backbone, metric) "
        "JOIN metric_definitions USING (metric) "
        "WHERE scores.test_rows_per_class IS NOT DISTINCT FROM grounds.test_rows_per_class"
    )
    by_protocol = _by_protocol(_rows(found))
    averages = _by_protocol(
        _rows(
            connection.sql(
                f"WITH scores AS ({scores}), grounds AS ({GROUNDS}) "
                "SELECT averages.*, unit FROM averages "
                "JOIN grounds USING (protocol, backbone, metric) "
                "JOIN metric_definitions USING (metric) "
                "WHERE averages.source IS NULL AND averages.test_rows_per_class "
                "IS NOT DISTINCT FROM grounds.test_rows_per_class"
            )
        )
    )
    order = [name for (name,) in connection.sql("SELECT protocol FROM protocols").fetchall()]
    return [
        first_table(by_protocol[name], averages.get(name, ()))
        for name in order
        if name in by_protocol
    ]


def _rows(found: "DuckDBPyRelation") -> list[Row]:
    names = found.columns
    return [dict(zip(names, values, strict=True)) for values in found.fetchall()]


def _by_protocol(rows: Iterable[Row]) -> dict[str, list[Row]]:
    groups: dict[str, list[Row]] = {}
    for row in rows:
        groups.setdefault(row["protocol"], []).append(row)
    return groups


def first_table(rows: Sequence[Row], averages: Sequence[Row] = ()) -> Table:
    """What a protocol shows first.

    Args:
        rows: Its scores on one ground, in the primary metric.
        averages: Its averages over data sets on that ground.
    """
    datasets = sorted({row["dataset"] for row in rows})
    splits = sorted({row["split"] for row in rows}, key=split_order)
    shots = sorted({row["shots"] for row in rows} - {0}, key=shots_order) or [0]
    lead = next((split for split in LEADING if split in splits), splits[0])
    wide = len(datasets)
    shown_splits = splits if wide * len(splits) <= WIDE else [lead]
    wide *= len(shown_splits)
    shown_shots = shots if wide * len(shots) <= WIDE else shots[-1:]
    choice = Choice(
        *(rows[0][name] for name in ("protocol", "backbone", "test_rows_per_class", "metric")),
        dataset="*" if len(datasets) > 1 else datasets[0],
        shots="*" if len(shown_shots) > 1 else str(shown_shots[0]),
        split="*" if len(shown_splits) > 1 else shown_splits[0],
        lead=lead,
    )
    places = [Place(d, k, s) for d in datasets for k in shown_shots for s in shown_splits]
    known = {
        (row["method"], row["variant"], row["shots"]): row
        for row in averages
        if row["split"] == lead
    }
    averaged = len(datasets) > 1
    lines = [
        line._replace(average=_average(line, known, shots[-1]) if averaged else None)
        for line in lines_of(rows)
        if any(place in line.cells for place in places)
    ]
    telling = [Place(dataset, shots[-1], lead) for dataset in datasets]
    better = rows[0]["better"]
    lines.sort(key=lambda line: _standing(line, telling, better))
    return Table(choice, places, lines, averaged)


def _average(line: Line, known: Mapping[tuple[str, str, int], Row], shots: int) -> Row | None:
    """The average of a line; none where its setting is another on each data set."""
    variants = {row["variant"] for row in line.cells.values() if row["shots"] in (0, shots)}
    if len(variants) != 1:
        return None
    name = line.method, variants.pop()
    return known.get((*name, shots)) or known.get((*name, 0))


def lines_of(rows: Iterable[Row]) -> list[Line]:
    """Scores by method, and by its setting where a method has two scores in one place.

    A method that reads no labelled image has its score at any number of shots.

    Args:
        rows: Scores on one ground, in one metric.
    """
    rows = list(rows)
    every = {row["shots"] for row in rows} - {0} or {0}
    methods: dict[str, list[Row]] = {}
    for row in rows:
        methods.setdefault(row["method"], []).append(row)
    lines = []
    for method, members in methods.items():
        spots = [(row["dataset"], row["shots"], row["split"]) for row in members]
        alike = len(set(spots)) == len(spots)
        groups: dict[str, list[Row]] = {}
        for row in members:
            groups.setdefault("" if alike else row["variant"] or "published", []).append(row)
        for variant, group in groups.items():
            cells = {}
            # 0 first: others take over.
            for row in sorted(group, key=lambda row: shots_order(row["shots"])):
                for shots in every if row["shots"] == 0 else [row["shots"]]:
                    cells[Place(row["dataset"], shots, row["split"])] = row
            lines.append(Line(method, variant, cells))
    return lines


def _standing(line: Line, telling: Sequence[Place], better: str) -> tuple[bool, float, str, str]:
    """Sorts the best first, those without an average last."""
    if len(telling) > 1:
        mean = line.average["mean"] if line.average else None
    else:
        mean = line.cells[telling[0]]["mean"] if telling[0] in line.cells else None
    goodness = 0.0 if mean is None else mean if better == "lower" else -mean
    return mean is None, goodness, line.method, line.variant


def split_order(split: str) -> tuple[int, str]:
    """Sorts splits as papers do: base, new, H; targets by name, their average last."""
    if split == AVERAGE:
        return len(ORDER), split
    return (ORDER.index(split) if split in ORDER else len(ORDER) - 1), split


def in_page(table: Table, title: str) -> str:
    """A table as HTML, the best of each column in bold.

    Args:
        table: What a protocol shows first.
        title: Of the protocol.
    """
    heads = "<th scope='col'>Average</th>" if table.averaged else ""
    heads += "".join(f"<th scope='col'>{in_html(_heading(table, p))}</th>" for p in table.places)
    first = _best_of([line.average for line in table.lines if line.average])
    best = {place: _best(table.lines, place) for place in table.places}
    body = []
    for line in table.lines[:LINES]:
        name = f"<b>{in_html(line.method)}</b>"
        if line.variant:
            name += f" <small>{in_html(line.variant)}</small>"
        cells = _average_cell(line.average, first) if table.averaged else ""
        cells += "".join(_cell(line.cells.get(place), best[place]) for place in table.places)
        body.append(f"<tr><th scope='row'>{name}</th>{cells}</tr>")
    left = len(table.lines) - LINES
    more = f"<p class='note'>and {left} more</p>" if left > 0 else ""
    caption = f"{table.choice.metric}, {table.choice.backbone}"
    return (
        f"<section class='first'><h2>{in_html(title)}</h2><div class='scroll' tabindex='0' "
        f"role='region' aria-label='{in_html(title)}'><table class='scores'>"
        f"<caption>{in_html(caption)}: mean ± standard deviation over seeds</caption>"
        f"<thead><tr><th scope='col'>Method</th>{heads}</tr></thead>"
        f"<tbody>{''.join(body)}</tbody></table></div>{more}</section>"
    )


def _heading(table: Table, place: Place) -> str:
    """What tells a column from its neighbours."""
    parts = [
        place.dataset if len({p.dataset for p in table.places}) > 1 else "",
        shots_said(place.shots) if len({p.shots for p in table.places}) > 1 else "",
        place.split if len({p.split for p in table.places}) > 1 else "",
    ]
    return " · ".join(filter(None, parts)) or place.dataset


def _best(lines: Sequence[Line], place: Place) -> float | None:
    return _best_of([line.cells[place] for line in lines if place in line.cells])


def _best_of(rows: Sequence[Row]) -> float | None:
    known = [row["mean"] for row in rows if row["mean"] is not None]
    if not known:
        return None
    return min(known) if rows[0]["better"] == "lower" else max(known)


def _average_cell(row: Row | None, best: float | None) -> str:
    """An average over data sets, or which of them a method lacks."""
    if row is None or row["mean"] is None:
        missing = f"lacks {in_html(row['missing'])}" if row and row["missing"] else "&ndash;"
        return f"<td class='gap'>{missing}</td>"
    return _cell({**row, "std": None}, best)


def _cell(row: Row | None, best: float | None) -> str:
    if row is None or row["mean"] is None:
        return "<td class='gap'>&ndash;</td>"
    times, digits = (100, 1) if row["unit"] == SHARE else (1, 3)
    spread = "" if row["std"] is None else f" <small>± {row['std'] * times:.{digits}f}</small>"
    text = f"<span class='score'>{row['mean'] * times:.{digits}f}{spread}</span>"
    return f"<td class='best'><b>{text}</b></td>" if row["mean"] == best else f"<td>{text}</td>"
