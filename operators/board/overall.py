"""Compares every two methods over data sets; fills the table `dataset_comparisons`.

Two questions again. Data sets are one sample, another data set is what is asked about: Wilcoxon's
signed-rank test of the differences, a data set each. Seeds are the other, for the same data sets
with other draws: Student's t on the averages of each seed. Both are over the data sets, and seeds,
that the two methods have in common, which `covers` names.

Source: Demsar, "Statistical comparisons of classifiers over multiple data sets", Journal of Machine
Learning Research 7, 2006, section 3.1.3.
"""

from collections import defaultdict
from collections.abc import Hashable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa

from operators.board.connection import Connection, insert
from operators.board.paired import holm, over_datasets, over_seeds, plain

GROUND = ("protocol", "source", "backbone", "split", "metric", "test_rows_per_class")
_TABLE = (*GROUND, "better")
_SIDE = ("method", "variant")


class Scores(NamedTuple):
    """What one method got on one ground.

    Attributes:
        name: What stands in the columns of its side.
        values: By data set and seed.
        draws: Whether it learns from what a seed draws; else a number is for every seed.
    """

    name: tuple[Any, ...]
    values: Mapping[str, Mapping[Hashable, float]]
    draws: bool


def replace_overall(connection: Connection) -> None:
    """Fills the table from the scores that the board has now.

    Args:
        connection: An open DuckDB connection to a board; trials and variants are filled already.
    """
    names = (*_TABLE, "shots", *_SIDE, "dataset")
    found = connection.execute(
        f"SELECT {', '.join(names)}, list(seed), list(value) "
        f"FROM (SELECT * FROM dataset_scores WHERE value IS NOT NULL ORDER BY seed) "
        "GROUP BY ALL ORDER BY ALL"
    ).fetchall()
    grounds: dict[tuple, dict[int, dict[tuple, dict]]] = defaultdict(lambda: defaultdict(dict))
    for *ground, shots, method, variant, dataset, seeds, values in found:
        of_method = grounds[tuple(ground)][shots].setdefault((method, variant), {})
        of_method[dataset] = dict(zip(seeds, values, strict=True))
    rows: list[dict[str, Any]] = []
    for ground, by_shots in grounds.items():
        place = dict(zip(_TABLE, ground, strict=True))
        better = place.pop("better")
        fixed = [Scores(name, of, False) for name, of in by_shots.pop(0, {}).items()]
        tables = {0: fixed} if len(fixed) > 1 else {}
        for shots, methods in by_shots.items():
            tables[shots] = [*(Scores(name, of, True) for name, of in methods.items()), *fixed]
        for shots, methods in tables.items():
            lines = corrected_overall(_lines(methods, better))
            rows += [{**place, "shots": shots, **line} for line in lines]
    connection.execute("DELETE FROM dataset_comparisons")
    if rows:
        insert(connection, "dataset_comparisons", pa.Table.from_pylist(rows))


def corrected_overall(lines: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """The lines of one table, with Holm's correction over them and `pairs`, how many they are.

    Args:
        lines: Each with `p` and `p_seeds`, None where there is no test.
    """
    for name in ("p", "p_seeds"):
        held = holm(np.array([line[name] for line in lines], dtype=np.float64))
        for line, value in zip(lines, plain(held), strict=True):
            line[f"{name}_holm"] = value
    return [{**line, "pairs": len(lines)} for line in lines]


def _lines(methods: Sequence[Scores], better: str) -> list[dict[str, Any]]:
    """A line for every two methods, of which one draws where any does."""
    ordered = sorted(methods, key=lambda scores: scores.name)
    draws = np.array([scores.draws for scores in ordered], dtype=bool)
    one, other = np.triu_indices(len(ordered), 1)
    if draws.any():
        drawn = draws[one] | draws[other]
        one, other = one[drawn], other[drawn]
    lines = []
    for a, b, line in zip(one, other, _tested(ordered, one, other, better), strict=True):
        if line is not None:
            names = zip(_SIDE, ordered[a].name, ordered[b].name, strict=True)
            sides = {
                f"{name}_{side}": v
                for name, *both in names
                for side, v in zip("ab", both, strict=True)
            }
            lines.append(sides | line)
    return lines


def compare_overall(one: Scores, other: Scores, better: str) -> dict[str, Any] | None:
    """Two methods over the data sets and seeds that both have; None of fewer than two data sets.

    Args:
        one: A method.
        other: Another.
        better: Whether `higher` or `lower` scores are.

    Returns:
        Columns of the table `dataset_comparisons` from `datasets` on, uncorrected.
    """
    return _tested([one, other], np.array([0]), np.array([1]), better)[0]


def _tested(
    methods: Sequence[Scores], one: np.ndarray, other: np.ndarray, better: str
) -> list[dict[str, Any] | None]:
    """Pairs of methods by their places; None for a pair without two data sets in common."""
    datasets = sorted({name for scores in methods for name in scores.values})
    drawn = (scores for scores in methods if scores.draws)
    seeds = sorted({s for scores in drawn for of in scores.values.values() for s in of}, key=repr)
    values = np.array([_array(scores, datasets, seeds or [None]) for scores in methods])
    a, b = values[one], values[other]
    both: np.ndarray = ~np.isnan(a) & ~np.isnan(b)  # (pairs, data sets, seeds)
    known: np.ndarray = np.any(both, axis=2)
    counts = np.where(known, both.sum(axis=2), 1)
    size = np.maximum(known.sum(axis=1), 1)
    sides = [np.where(both, side, 0) for side in (a, b)]
    means = [np.where(known, side.sum(axis=2) / counts, np.nan) for side in sides]
    columns: dict[str, np.ndarray] = over_datasets(means[0] - means[1])
    wins, losses = columns.pop("above"), columns.pop("below")
    wins, losses = (wins, losses) if better == "higher" else (losses, wins)
    mean_a, mean_b = (np.where(known, mean, 0).sum(axis=1) / size for mean in means)
    whole: np.ndarray = np.all(both | ~known[..., None], axis=1)  # seeds that all data sets have
    whole &= known.any(axis=1, keepdims=True)
    with np.errstate(invalid="ignore"):
        over_a, over_b = (side.sum(axis=1) / size[:, None] for side in sides)
        tested = over_seeds(over_a, over_b, whole)
    columns |= {"mean_a": mean_a, "mean_b": mean_b, "difference": mean_a - mean_b}
    columns |= {"wins": wins, "ties": columns.pop("equal"), "losses": losses}
    columns |= {"effect_datasets": columns.pop("effect"), "n": tested["n"]}
    columns |= {"seeds_difference": tested["difference"], "std": tested["std"]}
    columns |= {"p_seeds": tested["p"]}
    names, lines = list(columns), zip(*map(plain, columns.values()), strict=True)
    has = [scores.values.keys() for scores in methods]
    found: list[dict[str, Any] | None] = []
    for first, second, there, line in zip(one, other, known, lines, strict=True):
        if there.sum() < 2:
            found.append(None)
            continue
        covers = [name for name, shared in zip(datasets, there.tolist(), strict=True) if shared]
        missing = ", ".join(sorted((has[first] | has[second]) - set(covers))) or None
        told = {"covers": ", ".join(covers), "missing": missing}
        found.append({**dict(zip(names, line, strict=True)), **told})
    return found


def _array(scores: Scores, datasets: Sequence[str], seeds: Sequence[Hashable]) -> np.ndarray:
    """(data sets, seeds) scores, NaN where there is none."""
    if not scores.draws:
        known = [list(scores.values.get(dataset, {}).values()) for dataset in datasets]
        means = [float(np.mean(values)) if values else np.nan for values in known]
        return np.repeat(np.array(means)[:, None], len(seeds), axis=1)
    return np.array(
        [[scores.values.get(d, {}).get(seed, np.nan) for seed in seeds] for d in datasets],
        dtype=np.float64,
    )
