"""Published numbers as the board keeps them: with what can be computed from them.

A harmonic mean follows from the base and new accuracy printed beside it, and an average from the
numbers of its data sets, where the same source prints them. Tables hold slips of the pen and rows
of older versions, so each is computed again and what disagrees is noted, never mended.
"""

from collections.abc import Iterable, Mapping
from itertools import product
from typing import Any

from operators.spec import template_set

# The published codes print accuracies in per cent with one decimal and average what they have
# printed, so a number behind a published one is known to 0.05 of a per cent; the two that are
# compared are rounded to 0.005 themselves.
TOLERANCE = 0.0006
_WHOLE_TEST = ("test", "target_test", "source_test")  # splits that an average may stand over


def checked(
    results: Iterable[Mapping[str, Any]], averages: Iterable[Mapping[str, Any]]
) -> list[dict[str, Any]]:
    """Adds to published numbers what others of the same source give in their place.

    Args:
        results: Rows of reference_results.csv; scores in 0..1.
        averages: Rows of reference_averages.csv: name of an average, name of a data set in it.

    Returns:
        The rows with `derived`, what the others give, `consistent`, whether that is the published
        value up to rounding, and `note`, which says so where it is not. All are None where
        nothing stands beside the number.
    """
    rows = [{**row, "value": float(row["value"])} for row in results]
    members: dict[str, list[str]] = {}
    for row in averages:
        members.setdefault(row["average"], []).append(row["dataset"])
    accuracies = {
        (*_table(row), row["dataset"], _split(row)): row["value"]
        for row in rows
        if row["metric"] == "accuracy"
    }
    for row in rows:
        row["derived"], said = _derived(row, accuracies, members)
        row["consistent"] = row["note"] = None
        if row["derived"] is not None:
            row["consistent"] = abs(row["value"] - row["derived"]) <= TOLERANCE
            row["note"] = None if row["consistent"] else f"{said} {row['derived']:.4f}"
    return rows


def template_sets(
    prompts: Iterable[Mapping[str, Any]], methods: Iterable[str]
) -> list[dict[str, Any]]:
    """Which template sets of trials have the prompts of a published method, data set by data set.

    Args:
        prompts: Rows of reference_templates.csv. A `method` of None stands for all that have no
            row of their own on that data set; a `template` of None for prompts that are not known.
        methods: Every published method.

    Returns:
        A row for each form that a card may give a prompt, as its template or as an ensemble of
        one; `template_set` is None where the prompts are not known.
    """
    known = {(row["method"], row["dataset"]): row["template"] for row in prompts}
    datasets = [dataset for method, dataset in known if method is None]
    rows = []
    for method, dataset in product(methods, datasets):
        template = known.get((method, dataset), known[None, dataset])
        forms = [template_set(template, kept) for kept in ((), (template,))] if template else [None]
        row = {"method": method, "dataset": dataset, "template": template}
        rows += [{**row, "template_set": form} for form in forms]
    return rows


def harmonic_mean(base: float, new: float) -> float:
    """2bn / (b + n); 0 where both are 0.

    Args:
        base: Score on the classes that were learned, 0..1.
        new: Score on the others, 0..1.
    """
    return 2 * base * new / (base + new) if base + new else 0.0


def _derived(
    row: Mapping[str, Any], accuracies: Mapping[tuple, float], members: Mapping[str, list[str]]
) -> tuple[float | None, str]:
    """What stands beside a number gives in its place, and the start of a sentence about it."""
    table, dataset = _table(row), row["dataset"]
    if row["metric"] == "harmonic_mean":
        base, new = (accuracies.get((*table, dataset, side)) for side in ("base", "new"))
        if base is not None and new is not None:
            said = f"base {base:.4f} and new {new:.4f} of the same source give"
            return harmonic_mean(base, new), said
    elif row["metric"] == "accuracy" and dataset in members:
        parts = [accuracies.get((*table, name, _split(row))) for name in members[dataset]]
        known = [part for part in parts if part is not None]
        if len(known) == len(parts):
            return sum(known) / len(known), f"the {len(known)} data sets of the same source average"
    return None, ""


def _table(row: Mapping[str, Any]) -> tuple:
    """What the numbers of one row of a published table share."""
    return tuple(row[name] for name in ("method", "backbone", "protocol", "shots", "source"))


def _split(row: Mapping[str, Any]) -> str:
    """The split; one word for a whole test set, be it that of a source or of a target."""
    return "test" if row["split"] in _WHOLE_TEST else row["split"]
