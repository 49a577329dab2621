"""What a metric is: a number that follows from the predictions of one split."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Literal

import numpy as np

Answers = Mapping[str, np.ndarray]  # columns of the predictions of one split, by name


@dataclass(frozen=True, kw_only=True)
class Metric:
    """A function of predictions, and what a reader has to know of its values.

    Attributes:
        title: One line for listings.
        of: From the columns of one split to the value.
        columns: Those that it reads; where one holds nothing, as in trials of before it was kept,
            the value is unknown.
        better: Whether `higher` or `lower` values are better.
        low: Least value.
        high: Greatest value; None where there is none.
        unit: `share` of one, or `nats`.
        proportion: Whether it is the share of test rows of which something is true, so that one
            more row or less moves it by one over their number. Wilson's interval is then that of
            the draw of test rows.
        source: Paper and equation, where the name alone does not say it.
    """

    title: str
    of: Callable[[Answers], float]
    columns: frozenset[str]
    better: Literal["higher", "lower"] = "higher"
    low: float = 0.0
    high: float | None = 1.0
    unit: str = "share"
    proportion: bool = False
    source: str = ""


@dataclass(frozen=True)
class Score:
    """The value of one metric on one split.

    Attributes:
        split: `all`, `base`, `new`, or the name of a target dataset or domain.
        metric: Key of `METRICS`.
        value: Within the metric's bounds; None where the predictions do not hold enough.
        n: Test rows behind it.
    """

    split: str
    metric: str
    value: float | None
    n: int
