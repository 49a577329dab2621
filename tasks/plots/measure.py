"""How people read numbers of a metric: shares in per cent, the rest in its unit."""

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

_SHARE = "share"  # the unit of metrics that people read in per cent


@dataclass(frozen=True)
class Measure:
    """How people read a metric, as `metric_definitions` says it.

    Attributes:
        metric: Its name.
        title: What it is.
        unit: Of its values.
        better: `higher` or `lower`.
        low: Least value there is; None without.
        high: Greatest value there is; None without.
    """

    metric: str
    title: str
    unit: str
    better: str
    low: float | None = None
    high: float | None = None

    @classmethod
    def of(cls, row: Mapping[str, Any]) -> "Measure":
        """That of a row with the columns of `MEASURE`; of the split H it is the harmonic mean."""
        names = ("metric", "metric_title", "unit", "better", "metric_low", "metric_high")
        metric, *rest = (row[name] for name in names)
        return cls("H" if row.get("split") == "H" else metric, *rest)

    @property
    def times(self) -> int:
        """By what a value is multiplied where people read it."""
        return 100 if self.unit == _SHARE else 1

    @property
    def words(self) -> str:
        """Its name as words: `macro f1`."""
        return self.metric.replace("_", " ")

    @property
    def axis(self) -> str:
        """The title of an axis: `accuracy (%)`, `nll (nats, less is better)`."""
        unit = "%" if self.unit == _SHARE else self.unit
        return f"{self.words} ({unit}{', less is better' if self.better == 'lower' else ''})"

    @property
    def format(self) -> str:
        """How d3 writes a value."""
        return ".1f" if self.unit == _SHARE else ".3~r"

    @property
    def writing(self) -> dict[str, str]:
        """Values of the holes `digits` and `unit`."""
        return {"digits": self.format, "unit": " %" if self.unit == _SHARE else f" {self.unit}"}

    def goodness(self, value: float | None) -> float:
        """Greater for better values, whichever the direction; least where there is none."""
        if value is None:
            return -math.inf
        return -value if self.better == "lower" else value

    def text(self, value: float | None, *, unit: bool = True) -> str:
        """A value as people read it: `71.3 %`, `0.412 nats`.

        Args:
            value: In the unit of the board; None for none.
            unit: Whether its unit is told.
        """
        if value is None:
            return "no number"
        if self.unit == _SHARE:
            return f"{100 * value:.1f}{' %' if unit else ''}"
        return f"{value:.3g}{f' {self.unit}' if unit else ''}"

    def lead(self, best: float, second: float) -> str:
        """How far one value is from another: `1.2 points`."""
        if self.unit == _SHARE:
            return f"{100 * abs(best - second):.1f} points"
        return f"{abs(best - second):.3g} {self.unit}"

    def interval(self, low: float | None, high: float | None) -> str:
        """` (95 % interval 70.1 to 72.5)`, or nothing where there is none.

        Args:
            low: Its lower end; None where seeds tell none.
            high: Its upper end.
        """
        if low is None or high is None:
            return ""
        ends = f"{self.text(low, unit=False)} to {self.text(high, unit=False)}"
        return f" (95 % interval {ends})"

    def domain(self, values: Iterable[float | None]) -> list[float]:
        """Ends of an axis that shows all values, in the unit in which people read them."""
        known = [value for value in values if value is not None]
        low, high = min(known), max(known)
        room = 0.05 * (high - low) or max(0.02 * abs(high), 1e-3)
        ends = [low - room, high + room]
        if self.low is not None:
            ends[0] = max(ends[0], self.low - room / 2)
        if self.high is not None:
            ends[1] = min(ends[1], self.high + room / 2)
        return [self.times * end for end in ends]


# Columns of `metric_definitions` that `Measure.of` reads.
MEASURE = (
    "metric, metric_definitions.title AS metric_title, metric_definitions.unit, "
    "metric_definitions.better, metric_definitions.low AS metric_low, "
    "metric_definitions.high AS metric_high"
)
