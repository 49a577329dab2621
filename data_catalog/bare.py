"""A dataset without its examples: what a tuned prompt still needs where the data are not."""

from pathlib import Path

from data_catalog.dataset import CARD, DATA, Dataset

DIGITS = 15  # of the SHA-256 of an example: they tell it from all others


def write_bare(dataset: Dataset, folder: Path) -> None:
    """Writes labels, splits, domains and the beginnings of the digests, a few bytes a row.

    `Dataset.open` reads the folder; only the examples themselves, and what else is known of each,
    are not there.

    Args:
        dataset: Whose card and rows are written.
        folder: A new one.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    columns = {
        "label": pa.array(dataset.labels, pa.int32()),
        "split": pa.array(dataset.splits.tolist(), pa.string()).dictionary_encode(),
        "domain": pa.array(dataset.domains.tolist(), pa.string()).dictionary_encode(),
        "sha256": pa.array([text[:DIGITS] for text in dataset.column("sha256").tolist()]),
    }
    folder.mkdir(parents=True)
    pq.write_table(pa.table(columns), folder / DATA, compression="ZSTD")
    (folder / CARD).write_bytes((dataset.folder / CARD).read_bytes())
