"""The metrics. A new one is a function and a line in a dict of its kind.

They are projections: each is computed from the predictions that trials leave behind, so a new one
needs no trial to be run again. Nothing here imports torch.
"""

from collections.abc import Collection, Iterator

import numpy as np
import pyarrow as pa

from operators.metrics.base import Answers, Metric, Score
from operators.metrics.classification import CLASSIFICATION
from operators.metrics.compositional import COMPOSITIONAL

METRICS: dict[str, Metric] = {**CLASSIFICATION, **COMPOSITIONAL}


def scores_of(predictions: pa.Table, names: Collection[str]) -> list[Score]:
    """Scores of every split, in the order in which splits and names come.

    Args:
        predictions: With a column `split` and those that the metrics read. A column that lacks or
            has a NULL is one that a trial of before did not keep.
        names: Keys of `METRICS`.
    """
    return [
        Score(split, name, _value(METRICS[name], answers), n)
        for split, answers, n in _splits(predictions)
        for name in names
    ]


def _value(metric: Metric, answers: Answers) -> float | None:
    return metric.of(answers) if metric.columns <= answers.keys() else None


def _splits(predictions: pa.Table) -> Iterator[tuple[str, Answers, int]]:
    """Each split with its columns as arrays and its number of rows."""
    splits = np.asarray(predictions["split"].to_pylist(), dtype=object)
    columns = {
        name: _array(predictions[name])
        for name in predictions.column_names
        if name != "split" and not predictions[name].null_count
    }
    for split in dict.fromkeys(splits.tolist()):
        here = splits == split
        yield split, {name: column[here] for name, column in columns.items()}, int(here.sum())


def _array(column: pa.ChunkedArray) -> np.ndarray:
    """A column as an array; lists become rows, which are all as long as the longest, filled by -1.

    Splits of fewer classes than others have shorter lists.
    """
    if not pa.types.is_list(column.type):
        return column.to_numpy()
    joined = column.combine_chunks()
    lengths = np.asarray(joined.value_lengths())
    filled = np.full((len(joined), max(lengths, default=0)), -1, dtype=np.float64)
    values = joined.flatten().to_numpy(zero_copy_only=False)
    filled[np.arange(filled.shape[1]) < lengths[:, None]] = values
    return filled


__all__ = ["CLASSIFICATION", "COMPOSITIONAL", "METRICS", "Answers", "Metric", "Score", "scores_of"]
