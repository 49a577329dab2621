"""The board: SQL tables and views over trial folders, on an open DuckDB connection.

    schema.sql      tables                 views/<name>.sql      one view a file
    columns.csv     what each column means t_values.csv          Student's t, 97.5 %
    studentized_ranges.csv                 of normal means, 95 %
    reference_results.csv                  published numbers, each with its source
    reference_names.csv                    which of our names is which of theirs
    reference_averages.csv                 which data sets a published average is over

DuckDB itself is not imported here: operators also run on machines without it.
"""

from operators.board.auditing import audit, unbacked
from operators.board.build import TABLES, VIEWS, create, current_version, stored_version
from operators.board.changes import last_runs, numbers_of
from operators.board.filling import fill, without_labels
from operators.board.projecting import metrics_by_protocol
from operators.board.reading import Found, look, numbers_file
from operators.board.reproductions import ORIGIN, origin_of, replace_reproductions
from operators.board.rows import TrialRows, completed_rows, failed_row, receipt_row, run_row
from operators.board.wholeness import explain, glance, inspect, read_object, stamp_of

__all__ = [
    "ORIGIN",
    "TABLES",
    "VIEWS",
    "Found",
    "TrialRows",
    "audit",
    "completed_rows",
    "create",
    "current_version",
    "explain",
    "failed_row",
    "fill",
    "glance",
    "inspect",
    "last_runs",
    "look",
    "metrics_by_protocol",
    "numbers_file",
    "numbers_of",
    "origin_of",
    "read_object",
    "receipt_row",
    "replace_reproductions",
    "run_row",
    "stamp_of",
    "stored_version",
    "unbacked",
    "without_labels",
]
