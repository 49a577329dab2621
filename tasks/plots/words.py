"""What pictures say in words: titles, notes, and alternative texts with their numbers."""

from collections.abc import Mapping, Sequence
from typing import Any

from data_catalog.wording import plural
from operators.episodes.shots import shots_said
from operators.episodes.splits import ALL, WORDS, H
from tasks.plots.measure import Measure

Row = Mapping[str, Any]

_IN_ORDER = (
    *("dataset", "source", "split", "shots", "backbone", "protocol"),
    "test_rows_per_class",
)
AVERAGE = "AVERAGE"  # what views call the mean over data sets


def on(ground: Row) -> str:
    """The data set of a ground in words."""
    return "mean over data sets" if ground["dataset"] == AVERAGE else str(ground["dataset"])


def where(ground: Row, *, but: str = "") -> str:
    """A ground in words: `digits, 16 shots, mini-clip, few_shot`.

    Args:
        ground: Values by column.
        but: A column that is left out.
    """
    parts = []
    for name in _IN_ORDER:
        value = ground.get(name)
        if value is None or name == but or (name, value) == ("split", "all"):
            continue
        if name == "test_rows_per_class":
            parts.append(f"{plural(value, 'test row')} a class")
        elif name == "shots":
            parts.append(shots_said(value) if value else "no labelled example")
        elif name == "source":
            parts.append(f"from {value}")
        elif value == AVERAGE:
            parts.append(on(ground))
        else:
            parts.append(_split(value) if name == "split" else str(value))
    return ", ".join(parts)


def _split(name: str) -> str:
    """`base classes`, `H of base and new`, or the name of a target."""
    known = WORDS | {H: "H of base and new"}
    known |= {"HM": known[H], "test": known[ALL]}
    return known.get(name, name)


def several(names: Sequence[str], most: int = 4) -> str:
    """Names in a sentence: `a, b and c`, `a, b, c, d and 7 more`.

    Args:
        names: At least one.
        most: How many are told.
    """
    if len(names) > most + 1:
        return f"{', '.join(names[:most])} and {len(names) - most} more"
    return " and ".join(filter(None, [", ".join(names[:-1]), names[-1]]))


def best(at: str, rows: Sequence[Row], measure: Measure, *, what: str | None = None) -> str:
    """A sentence that says which row is best, and by how much.

    Args:
        at: How it begins: where these rows compete.
        rows: At least one, with the columns label, mean, low and high.
        measure: Of their metric.
        what: What they are compared by, where it is not the metric itself.
    """
    first, *rest = sorted(rows, key=lambda row: (-measure.goodness(row["mean"]), row["label"]))
    said = f"{at}, {first['label']} has {what or measure.words} {told(first, measure)}"
    if rest:
        lead = measure.lead(first["mean"], rest[0]["mean"])
        said += f", best of {len(rows)} and {lead} ahead of {rest[0]['label']}"
    return f"{said}."


def told(row: Row, measure: Measure) -> str:
    """A mean with its interval: `71.3 % (95 % interval 70.1 to 72.5)`.

    Args:
        row: With the columns mean, low and high.
        measure: Of its metric.
    """
    return measure.text(row["mean"]) + measure.interval(row["low"], row["high"])
