"""Two groups of trials beside each other, such as two methods, two runs or two whole stores.

Both may be on one board or each on its own, and the same trial may be in both with other numbers.
So the trials of both go to a scratch database under ids of their own, and there `comparing.py`
compares them as it does on every board.
"""

import json
from collections import Counter, defaultdict
from collections.abc import Collection, Hashable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import pyarrow as pa

from operators.board.causes import differences, moves
from operators.board.changes import cells_of, matched
from operators.board.comparing import GROUND, compare, corrected
from operators.board.connection import Connection, named
from operators.board.overall import Scores, compare_overall, corrected_overall

_VIEW = Path(__file__).parent / "views" / "significance.sql"
_SIDES = ("a", "b")
_PLACE = ("protocol", "dataset", "backbone", "shots", "split", "metric")
_STATISTICS = (
    *("mean_a", "mean_b", "difference", "std", "ci95_low", "ci95_high", "n", "p", "p_holm"),
    *("images", "only_a", "only_b", "images_ci95_low", "images_ci95_high"),
    *("p_images", "p_images_holm", "effect_seeds", "effect_images"),
    *("bootstrap_ci95_low", "bootstrap_ci95_high"),
)
_GROUND = ("protocol", "backbone", "shots", "split", "metric")  # of a comparison over data sets
_SIDE_NAMES = ("method_a", "variant_a", "method_b", "variant_b")
_CELL = ("method", "variant", "protocol", "dataset", "backbone", "shots")
ORIGIN = (  # of a number, where no part of its identity says it
    *("torch_version", "numpy_version", "python_version", "cpu_model", "cpu_capability"),
    *("threads", "device", "git_commit", "git_dirty"),
)

Cell = Mapping[str, Any]


class Group(NamedTuple):
    """Some trials of a board.

    Attributes:
        board: What the database of the board is called on the connection, by `ATTACH`.
        trial_ids: Which; those that are not completed are passed over.
        numbers: The file of what a run saw, where that is meant and not what is on the board now.
    """

    board: str
    trial_ids: Sequence[str]
    numbers: Path | None = None


class Contrast(NamedTuple):
    """What two groups have in common and what they have not.

    Attributes:
        rows: A cell of one beside that of the other on one split: where, both means, the difference
            (a minus b), its intervals and tests as in the view `significance`, `outcome` for a
            (`win`, `tie`, `loss`, by the direction of the metric), the variants and cell ids.
            Holm's correction is over these rows.
        over_datasets: Two methods in one place over the data sets that both have, where there are
            two or more: columns as in the view `significance_over_datasets`, Holm's correction over
            these rows.
        differs: What differs between the cells that are matched and in how they were computed, in
            words, with the number of pairs of cells of which it is true; the most frequent first.
        unpaired: Matched cells without one common episode, and why.
        only_a: Cells that b has nothing beside.
        only_b: Cells that a has nothing beside.
    """

    rows: list[dict[str, Any]]
    over_datasets: list[dict[str, Any]]
    differs: list[tuple[str, int]]
    unpaired: list[dict[str, Any]]
    only_a: list[dict[str, Any]]
    only_b: list[dict[str, Any]]


def contrast(connection: Connection, a: Group, b: Group, *, across_methods: bool) -> Contrast:
    """Compares every cell of a group with that of the other which it is to be read beside.

    Args:
        connection: An open DuckDB connection to an empty database, which is filled.
        a: One group.
        b: The other.
        across_methods: Whether the two are two methods: then cells are matched by all but that;
            else by method, backbone, dataset, protocol and shots, the nearest in settings first.
    """
    cells = [_cells(connection, group) for group in (a, b)]
    found = list(_across(*cells) if across_methods else matched(*cells))
    pairs = [(one, other) for one, other in found if one and other]
    order = b.board, a.board
    connection.execute(f"SET search_path = 'memory,{','.join(dict.fromkeys(order))}'")
    _gather(connection, a, b)
    wanted = {frozenset((f"a:{a['cell_id']}", f"b:{b['cell_id']}")) for a, b in pairs}
    grounds = connection.execute(f"SELECT DISTINCT {', '.join(GROUND)} FROM trials").fetchall()
    compare(connection, grounds, wanted)
    rows = _rows(connection)
    tested = {(row["cell_a"], row["cell_b"]) for row in rows}
    differs, unpaired = Counter[str](), []
    origins = _origins(connection)
    beside = {cell for cells in tested for cell in cells}
    for one, other in pairs:
        causes = _told(one, other, across_methods)
        causes += _moved_origin(origins[f"a:{one['cell_id']}"], origins[f"b:{other['cell_id']}"])
        ids = one["cell_id"], other["cell_id"]
        if ids in tested:
            differs.update(causes)
        elif beside.isdisjoint(ids):  # of a method that has two variants, the other may be
            why = "; ".join(causes) or "no seed or episode is in both"
            unpaired.append({**_named(one), "why": why})
    return Contrast(
        rows,
        _over_datasets(connection, rows),
        differs.most_common(),
        unpaired,
        [_named(one) for one, other in found if one and not other],
        [_named(other) for one, other in found if other and not one],
    )


def _cells(connection: Connection, group: Group) -> list[dict[str, Any]]:
    connection.execute(f"SET search_path = '{group.board}'")
    completed = connection.execute(
        "SELECT trial_id FROM (SELECT unnest(?::VARCHAR[]) AS trial_id) JOIN trials "
        "USING (trial_id) WHERE status = 'completed' AND tested_on = 'test'",
        [list(group.trial_ids)],
    ).fetchall()
    return cells_of(connection, [trial_id for (trial_id,) in completed])


def _across(a: Sequence[Cell], b: Sequence[Cell]) -> Iterator[tuple[Cell | None, Cell | None]]:
    """Every two cells of two methods on one ground; one that draws nothing is beside all shots."""
    beside: set[str] = set()
    for one in a:
        near = [other for other in b if _one_ground(one, other)]
        beside.update(other["cell_id"] for other in near)
        yield from ((one, other) for other in near)
        if not near:
            yield one, None
    yield from ((None, other) for other in b if other["cell_id"] not in beside)


def _one_ground(one: Cell, other: Cell) -> bool:
    same = all(one[name] == other[name] for name in ("protocol", "dataset", "backbone"))
    return same and (one["shots"] == other["shots"] or 0 in (one["shots"], other["shots"]))


def _gather(connection: Connection, a: Group, b: Group) -> None:
    """Puts both groups into tables of the scratch database; all else is read from their boards."""
    for side, group in zip(_SIDES, (a, b), strict=True):
        own = f"'{side}:' || trial_id AS trial_id"
        into = "CREATE TABLE memory.{0} AS" if side == "a" else "INSERT INTO memory.{0} BY NAME"
        wanted = pa.table({"trial_id": pa.array(list(group.trial_ids), pa.string())})
        with named(connection, wanted):
            cell = f"'{side}:' || cell_id AS cell_id"
            connection.execute(
                f"{into.format('trials')} SELECT * REPLACE ({own}, {cell}) "
                f"FROM {group.board}.trials SEMI JOIN incoming USING (trial_id) "
                "WHERE status = 'completed'"
            )
            metrics, moved = f"{group.board}.metrics", "SELECT NULL AS trial_id LIMIT 0"
            if group.numbers is not None:
                metrics = f"read_parquet('{str(group.numbers).replace(chr(39), chr(39) * 2)}')"
                moved = (
                    f"SELECT trial_id FROM {metrics} AS seen JOIN {group.board}.metrics AS now "
                    "USING (trial_id, split, metric) WHERE seen.value IS DISTINCT FROM now.value"
                )
            connection.execute(
                f"{into.format('metrics')} SELECT * REPLACE ({own}) FROM {metrics} "
                "SEMI JOIN incoming USING (trial_id)"
            )
            # What a trial answered when it had other numbers is not known any more.
            connection.execute(
                f"{into.format('predictions')} SELECT * REPLACE ({own}) "
                f"FROM {group.board}.predictions SEMI JOIN incoming USING (trial_id) "
                f"WHERE trial_id NOT IN ({moved})"
            )
    connection.execute(f"CREATE TABLE memory.comparisons AS FROM {a.board}.comparisons LIMIT 0")
    connection.execute(_VIEW.read_text())


def _rows(connection: Connection) -> list[dict[str, Any]]:
    names = ", ".join(_STATISTICS[:8] + tuple(n for n in _STATISTICS[8:] if "holm" not in n))
    cursor = connection.execute(
        f"SELECT {', '.join(_PLACE)}, method_a, variant_a, method_b, variant_b, {names}, "
        "substr(cell_a, 3) AS cell_a, substr(cell_b, 3) AS cell_b, unit, better, "
        "test_rows_per_class FROM significance JOIN metric_definitions USING (metric) "
        "WHERE starts_with(cell_a, 'a:') AND starts_with(cell_b, 'b:') ORDER BY ALL"
    )
    columns = [column[0] for column in cursor.description]
    rows = [dict(zip(columns, row, strict=True)) for row in cursor.fetchall()]
    return [
        {name: value for name, value in row.items() if name != "pairs"}
        | {"outcome": _outcome(row["difference"], row["better"])}
        for row in corrected(rows)
    ]


def _over_datasets(
    connection: Connection, rows: Sequence[Mapping[str, Any]]
) -> list[dict[str, Any]]:
    """The rows of a contrast taken together, a data set each."""
    values: dict[tuple, dict[Hashable, float]] = defaultdict(dict)
    for *cell, seed, value in connection.execute(
        "SELECT cell_id, split, metric, seed, value FROM memory.trials "
        "JOIN memory.metrics USING (trial_id) WHERE value IS NOT NULL ORDER BY seed"
    ).fetchall():
        values[tuple(cell)][seed] = value
    draws = dict(
        connection.execute("SELECT DISTINCT cell_id, shots <> 0 FROM memory.trials").fetchall()
    )
    grounds: dict[tuple, list[Mapping[str, Any]]] = defaultdict(list)
    for row in rows:
        key = (*_GROUND, "test_rows_per_class", *_SIDE_NAMES, "unit", "better")
        grounds[tuple(row[name] for name in key)].append(row)
    lines = []
    for ground, found in grounds.items():
        place = dict(zip((*_GROUND, "test_rows_per_class", *_SIDE_NAMES), ground, strict=False))
        latest = {row["dataset"]: row for row in sorted(found, key=lambda row: row["n"])}
        sides = []
        for side in _SIDES:
            ids = {d: f"{side}:{row[f'cell_{side}']}" for d, row in latest.items()}
            split, metric = place["split"], place["metric"]
            of_dataset = {d: values[cell, split, metric] for d, cell in ids.items()}
            draw = any(draws[cell] for cell in ids.values())
            sides.append(Scores((side,), of_dataset, draw))
        line = compare_overall(*sides, better=ground[-1])
        if line is not None:
            lines.append({**place, **line, "unit": ground[-2], "better": ground[-1]})
    return corrected_overall(lines)


def _outcome(difference: float, better: str) -> str:
    if abs(difference) < 1e-12:
        return "tie"
    return "win" if (difference > 0) == (better == "higher") else "loss"


def _told(one: Cell, other: Cell, across_methods: bool) -> list[str]:
    """What makes one cell another, a setting at a time; of two methods, in what both have."""
    settings = [json.loads(cell["hyperparameters"]) for cell in (one, other)]
    names = settings[0].keys() | settings[1].keys()
    left_out: dict[str, Any] = {"hyperparameters": "{}"}
    if across_methods:
        names = settings[0].keys() & settings[1].keys()
        left_out |= {"method": None, "method_revision": None, "aids": {}}
        if 0 in (one["shots"], other["shots"]):  # one that draws nothing is beside all shots
            left_out["shots"] = 0
    said = differences({**one, **left_out}, {**other, **left_out})
    return said + [
        f"hyperparameter {move}" for move in moves(settings[0], settings[1], sorted(names))
    ]


def _origins(connection: Connection) -> dict[str, list[str]]:
    """How the trials of each cell were computed, in the order of `ORIGIN`."""
    wanted = ", ".join(f"list_sort(list_distinct(list({name}::VARCHAR)))" for name in ORIGIN)
    rows = connection.execute(
        f"SELECT cell_id, {wanted} FROM memory.trials GROUP BY cell_id"
    ).fetchall()
    return {cell_id: [" and ".join(values) for values in said] for cell_id, *said in rows}


def _moved_origin(before: Sequence[str], now: Sequence[str]) -> list[str]:
    """How two cells were computed otherwise: versions, processor, commit."""
    return [
        f"{name.replace('_', ' ')} {was} to {is_}"
        for name, was, is_ in zip(ORIGIN, before, now, strict=True)
        if was and is_ and was != is_
    ]


def _named(cell: Cell) -> dict[str, Any]:
    return {name: cell[name] for name in _CELL}


def summary(rows: Collection[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Wins, ties and losses of a, and the average difference, by protocol, split and metric.

    Args:
        rows: Of a `Contrast`.
    """
    keys = dict.fromkeys((row["protocol"], row["split"], row["metric"]) for row in rows)
    found = []
    for key in keys:
        there = [row for row in rows if (row["protocol"], row["split"], row["metric"]) == key]
        outcomes = Counter(row["outcome"] for row in there)
        found.append(
            {
                **dict(zip(("protocol", "split", "metric"), key, strict=True)),
                "datasets": len({row["dataset"] for row in there}),
                "pairs": len(there),
                "wins": outcomes["win"],
                "ties": outcomes["tie"],
                "losses": outcomes["loss"],
                "average_difference": sum(row["difference"] for row in there) / len(there),
                "unit": there[0]["unit"],
                "better": there[0]["better"],
            }
        )
    return found
