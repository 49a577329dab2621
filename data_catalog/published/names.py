"""Class names of published datasets in label order, one a line, in `names/<dataset>.txt`."""

from pathlib import Path

_FOLDER = Path(__file__).parent / "names"


def class_names(dataset: str) -> tuple[str, ...]:
    """The names of a dataset, as its published split has them."""
    return tuple((_FOLDER / f"{dataset}.txt").read_text("utf-8").splitlines())
