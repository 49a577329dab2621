"""Whether the ranks of methods over data sets differ by more than chance; fills `friedman_tests`.

Source: Friedman, "The use of ranks to avoid the assumption of normality implicit in the analysis
of variance", JASA 32, 1937, in the form for tied ranks; Iman and Davenport, "Approximations of the
critical region of the Friedman statistic", Communications in Statistics A9, 1980; Demsar,
"Statistical comparisons of classifiers over multiple data sets", JMLR 7, 2006.
"""

from collections import defaultdict
from typing import NamedTuple

import numpy as np
import pyarrow as pa

from operators.board.connection import Connection, insert

GROUND = ("protocol", "source", "backbone", "shots", "split", "metric", "test_rows_per_class")


class Friedman(NamedTuple):
    """The test that all methods are alike; all None where ranks say nothing.

    Attributes:
        statistic: Chi-square.
        p: By the chi-square distribution, which is conservative.
        iman_davenport: F, the analysis of variance of the ranks; None where all data sets rank
            alike, for then it has no end.
        iman_davenport_p: By the F distribution; None likewise.
    """

    statistic: float | None
    p: float | None
    iman_davenport: float | None = None
    iman_davenport_p: float | None = None


def friedman(ranks: np.ndarray) -> Friedman:
    """Friedman's test, by chi-square and in the form of Iman and Davenport.

    Args:
        ranks: (data sets, methods) places from 1, tied ones as the mean of their places.
    """
    from scipy.special import chdtrc, fdtrc  # scipy.stats takes a second to import

    datasets, methods = ranks.shape
    middle = (methods + 1) / 2
    spread = ((ranks - middle) ** 2).sum()
    if datasets < 2 or methods < 2 or spread == 0:
        return Friedman(None, None)
    between = ((ranks.sum(axis=0) - datasets * middle) ** 2).sum()
    statistic = float((methods - 1) * between / spread)
    p, left = float(chdtrc(methods - 1, statistic)), datasets * (methods - 1) - statistic
    if left < 1e-9 * statistic:
        return Friedman(statistic, p)
    f, df = (datasets - 1) * statistic / left, (methods - 1, (methods - 1) * (datasets - 1))
    return Friedman(statistic, p, f, float(fdtrc(*df, f)))


def replace_friedman(connection: Connection) -> None:
    """Fills the table from the ranks that the board has now.

    Args:
        connection: An open DuckDB connection to a board; trials and variants are filled already.
    """
    grounds: dict[tuple, dict[tuple, list[float]]] = defaultdict(lambda: defaultdict(list))
    found = connection.execute(
        f"SELECT {', '.join(GROUND)}, method, variant, rank FROM dataset_ranks "
        "WHERE rank IS NOT NULL ORDER BY dataset"
    )
    for *ground, method, variant, rank in found.fetchall():
        grounds[tuple(ground)][method, variant].append(rank)
    rows = []
    for ground, by_method in grounds.items():
        ranks = np.array(list(by_method.values())).T
        datasets, methods = ranks.shape
        row = dict(zip(GROUND, ground, strict=True))
        rows.append(row | {"methods": methods, "datasets": datasets, **friedman(ranks)._asdict()})
    connection.execute("DELETE FROM friedman_tests")
    if rows:
        insert(connection, "friedman_tests", pa.Table.from_pylist(rows))
