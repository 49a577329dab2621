"""The board beside published numbers, and published numbers beside each other."""

from collections.abc import Mapping, Sequence
from typing import Any

from data_catalog.wording import some
from tasks.pages import asking
from tasks.storage.store import Store

COLUMNS = (
    *("protocol", "dataset", "backbone", "shots", "split", "method", "variant", "metric"),
    *("mean", "ci95_low", "ci95_high", "n", "published", "difference"),
    *("difference_ci95_low", "difference_ci95_high", "verdict", "published_method", "source"),
    *("published_min", "published_median", "published_max", "sources", "published_std"),
    *("templates_agree", "same_images", "backbone_known_by", "test_rows_per_class", "cell_id"),
    "note",
)
ROWS = f"""
SELECT {", ".join(COLUMNS)}
FROM reproduction
ORDER BY
    protocol, dataset, backbone, shots_order(shots), split, method, variant, published_method,
    source, cell_id
"""
# What papers disagree about in the cells that are shown; of a method of ours or of any.
CONFLICTS = """
SELECT
    kind, method, backbone, protocol, dataset, shots, split, metric, least, greatest, spread,
    sources, said, note
FROM reference_conflicts
ORDER BY kind, spread DESC, method, backbone, protocol, dataset, shots, split, metric
"""
# Names of ours that papers have numbers of, and what the board has.
KNOWN = """
SELECT
    (SELECT list_sort(list(DISTINCT backbone)) FROM trials WHERE status = 'completed') AS backbones,
    (SELECT list_sort(list(DISTINCT trials.backbone)) FROM trials JOIN reference_names AS names
        ON kind = 'backbone' AND ours = backbone
        OR kind = 'fingerprint' AND ours = backbone_fingerprint
        WHERE status = 'completed') AS known_backbones,
    (SELECT list_sort(list(DISTINCT dataset)) FROM trials WHERE status = 'completed') AS datasets,
    (SELECT list_sort(list(DISTINCT dataset)) FROM trials JOIN reference_names
        ON kind = 'dataset' AND ours = lower(dataset)
        WHERE status = 'completed') AS known_datasets,
    (SELECT list(ours ORDER BY often DESC, ours) FROM (
        SELECT min(ours) AS ours, any_value(often) AS often FROM reference_names
        JOIN (SELECT backbone, count(*) AS often FROM reference_results GROUP BY backbone)
            ON backbone = published
        WHERE kind = 'backbone' GROUP BY published)) AS their_backbones,
    (SELECT list_sort(list(DISTINCT ours)) FROM reference_names WHERE kind = 'dataset')
        AS their_datasets
"""

Row = dict[str, Any]


def reference_rows(store: Store) -> list[Row]:
    """Every score of the board beside every published number of the same thing.

    Raises:
        BoardError: There is no board, or it cannot be read.
    """
    return asking.own_rows(store, ROWS)


def conflict_rows(store: Store) -> list[Row]:
    """Published numbers that disagree with others, or do not follow from what is beside them.

    Raises:
        BoardError: There is no board, or it cannot be read.
    """
    return asking.own_rows(store, CONFLICTS)


def conflicts_of(conflicts: Sequence[Row], rows: Sequence[Mapping[str, Any]]) -> list[Row]:
    """The conflicts about the numbers that stand beside ours.

    Args:
        conflicts: As `conflict_rows` gives them.
        rows: As `reference_rows` gives them, or some of these.
    """
    sources: dict[tuple, set[str]] = {}
    for row in rows:
        sources.setdefault((*_place(row), row["shots"]), set()).add(row["source"])
    found = []
    for row in conflicts:
        beside = sources.get((*_place(row), row["shots"]), set())
        if not row["shots"] or not beside:  # a number without draws is beside all shots
            beside = beside | sources.get((*_place(row), 0), set())
        if any(f"({source})" in row["said"] for source in beside):
            found.append(row)
    return found


def _place(row: Mapping[str, Any]) -> tuple[str, ...]:
    names = ("method", "protocol", "split", "metric")
    return (*(row[name] for name in names), row["dataset"].lower())


def why_none(store: Store) -> str:
    """Why nothing on the board stands beside a published number, and what would.

    Raises:
        BoardError: There is no board, or it cannot be read.
    """
    (known,) = asking.own_rows(store, KNOWN)
    named = {name: values or [] for name, values in known.items()}
    if not named["backbones"]:
        return "no trial is on the board: run `shotboard run`."
    begin = "no trial of the board can stand beside a published number"
    if not named["known_backbones"]:
        return (
            f"{begin}: of backbones it has {some(named['backbones'])}, and papers report "
            f"{some(named['their_backbones'])}. For example: shotboard run --backbones "
            f"{named['their_backbones'][0]} --datasets dtd"
        )
    if not named["known_datasets"]:
        return (
            f"{begin}: of data sets it has {some(named['datasets'])}, and papers report "
            f"{some(named['their_datasets'])}. `shotboard datasets` says how one is had."
        )
    return (
        f"{begin}: papers report {some(named['known_backbones'])} on "
        f"{some(named['known_datasets'])} by other methods, protocols or shots. All that they "
        'report: shotboard sql "SELECT * FROM reference_results"'
    )
