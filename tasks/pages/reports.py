"""The board as people see it: rows for a table, what changed as Markdown."""

import math
from collections.abc import Iterable, Mapping
from typing import Any

from operators.spec import TrialSpec
from tasks.pages import asking
from tasks.plain_text import in_markdown, markdown_table
from tasks.storage.store import Store

COLUMNS = (
    *("protocol", "dataset", "backbone", "shots", "method", "variant", "split"),
    *("mean", "std", "n", "ci95_low", "ci95_high"),
    *("metric", "unit", "better", "test_rows_per_class", "inference", "unseen_head"),
)

SHARE = "share"  # the unit of metrics that people read in per cent

# The harmonic mean of base and new stands beside them, as the mean over seeds of each seed's own.
_ORDER = """
ORDER BY
    protocol, dataset, backbone, split, shots_order(shots),
    goodness(mean, better) DESC NULLS LAST, method
"""
BOARD = f"""
SELECT {", ".join(COLUMNS)}
FROM (
    SELECT * EXCLUDE (better, inference) FROM leaderboard WHERE is_primary
    UNION ALL BY NAME
    SELECT
        protocol, dataset, backbone, shots, method, variant, cell_id, metric, test_rows_per_class,
        'H' AS split, h AS mean, h_std AS std, n, h_ci95_low AS ci95_low, h_ci95_high AS ci95_high,
        unseen_head
    FROM base_to_new WHERE cell_id IS NOT NULL AND h IS NOT NULL
)
JOIN metric_definitions USING (metric)
LEFT JOIN cell_inferences USING (cell_id)
{_ORDER}
"""
# The same of some trials alone: a cell of the board may have seeds that they are not of.
OF_TRIALS = f"""
WITH primary_scores AS (
    SELECT scores.*, better, low, high, unit
    FROM scores JOIN metric_definitions USING (metric)
    WHERE is_primary AND trial_id IN ({{trials}})
),
harmonics AS (
    SELECT base.* REPLACE (
        'H' AS split, harmonic(base.value, new.value) AS value, new.unseen_head AS unseen_head
    )
    FROM primary_scores AS base
    JOIN primary_scores AS new ON new.trial_id = base.trial_id AND new.metric = base.metric
    WHERE base.split = 'base' AND new.split = 'new'
        AND base.better = 'higher' AND base.low = 0 AND base.high = 1
        AND base.protocol IN (SELECT protocol FROM protocols WHERE tests = 'base and new')
),
cells AS (
    SELECT
        protocol, dataset, backbone, shots, method, variant, cell_id, split, metric, unit, better,
        low, high, test_rows_per_class, inference, unseen_head,
        whole_mean(value) AS mean, whole_std(value) AS std, count(*) AS n
    FROM (FROM primary_scores UNION ALL BY NAME FROM harmonics)
    GROUP BY
        protocol, dataset, backbone, shots, method, variant, cell_id, split, metric, unit, better,
        low, high, test_rows_per_class, inference, unseen_head
)
SELECT
    {", ".join(name for name in COLUMNS if not name.startswith("ci95"))},
    seeds_low(mean, std, n, t, low) AS ci95_low, seeds_high(mean, std, n, t, high) AS ci95_high
FROM cells LEFT JOIN t_values ON df = least(n - 1, 200)
{_ORDER}
"""
CHANGES = """
SELECT suite, protocol, dataset, backbone, method, shots, split,
       change, previous_mean, current_mean, difference, cause
FROM nightly_changes JOIN protocols USING (protocol)
WHERE metric = primary_metric AND suite = '{suite}'
  AND (change <> 'same' OR cause IS NOT NULL)
ORDER BY protocol, dataset, method, shots_order(shots), split
"""
AVERAGES = """
SELECT averages.*, unit
FROM averages JOIN metric_definitions USING (metric)
WHERE averages.source IS NULL
"""
WHOLE_RUNS = """
SELECT count(*) AS n FROM runs
WHERE suite = '{suite}' AND finished_at IS NOT NULL AND NOT partial
"""


def board_rows(store: Store, specs: Iterable[TrialSpec] | None = None) -> list[dict[str, Any]]:
    """The primary metric by cell: over all of the board, or over some trials and no others.

    Args:
        store: Whose board.
        specs: The trials.

    Returns:
        Rows of `COLUMNS`, the best first in each place; shares in 0..1. Split `H` is the harmonic
        mean of base and new.
    """
    if specs is None:
        return asking.own_rows(store, BOARD)
    trials = ", ".join(f"'{spec.trial_id}'" for spec in specs)
    return asking.own_rows(store, OF_TRIALS.format(trials=trials)) if trials else []


def average_rows(store: Store) -> list[dict[str, Any]]:
    """Averages over data sets, with the unit of their metric; see the view `averages`.

    Raises:
        BoardError: There is no board, or it cannot be read.
    """
    return asking.own_rows(store, AVERAGES)


def seen(rows: Iterable[Mapping[str, Any]]) -> list[str]:
    """A line for each way in which methods saw test examples beforehand: `test-time: tpt`.

    Args:
        rows: Of `board_rows`; where all are inductive, and the same head answers for all classes,
            there is no line.
    """
    methods: dict[str, dict[str, None]] = {}
    for row in rows:
        if (how := row.get("inference")) not in (None, "inductive"):
            methods.setdefault(how, {})[row["method"]] = None
    lines = [f"{how}: {', '.join(sorted(names))}" for how, names in sorted(methods.items())]
    heads = {(row["method"], row["unseen_head"]) for row in rows if row.get("unseen_head")}
    return lines + [f"{method}, classes not learned: by {head}" for method, head in sorted(heads)]


def score(row: Mapping[str, Any]) -> str:
    """`71.3 ± 1.2`: mean and standard deviation over seeds, in the unit of `quantity`.

    Args:
        row: One of `board_rows`; empty where it has no mean.
    """
    times, digits = (100, 1) if row["unit"] == SHARE else (1, 3)
    known = [row[name] for name in ("mean", "std") if row[name] is not None]
    return " ± ".join(f"{times * value:.{digits}f}" for value in known)


def quantity(row: Mapping[str, Any]) -> str:
    """What a row says and in what: `accuracy in %`, `nll in nats`.

    Args:
        row: One of `board_rows`.
    """
    return f"{row['metric']} in {'%' if row['unit'] == SHARE else row['unit']}"


def goodness(row: Mapping[str, Any]) -> float:
    """Greater for better rows, whichever the direction of their metric; least without a mean.

    Args:
        row: One of `board_rows`.
    """
    if row["mean"] is None:
        return -math.inf
    return -row["mean"] if row["better"] == "lower" else row["mean"]


def changes_markdown(store: Store, suite: str) -> str:
    """What moved between the last two runs of a suite, as a markdown table."""
    name = suite.replace("'", "''")
    rows = asking.own_rows(store, CHANGES.format(suite=name))
    if not rows:
        (whole,) = asking.own_rows(store, WHOLE_RUNS.format(suite=name))
        if whole["n"] < 2:
            return (
                f"Nothing to compare yet: this page needs two whole runs of {in_markdown(suite)}."
            )
        return f"Nothing has changed between the last two whole runs of {in_markdown(suite)}."
    names = list(rows[0])
    lines = ([f"{v:.4f}" if isinstance(v, float) else v for v in row.values()] for row in rows)
    return markdown_table(names, lines).rstrip()
