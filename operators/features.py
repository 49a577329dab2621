"""Frozen features: encoded once, kept on disk, and memory-mapped by every trial.

There is a store for the centre crop and one for each view of a bank. In each, one file holds a
row for each row of a dataset, another says which of them are there. A feature is written before
it is marked, so a process that dies leaves nothing half done.
"""

from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from operators.backbones import Backbone
from operators.images import TRANSFORM_VERSION
from operators.shapes import Float
from operators.views import View

ENCODED_AT_ONCE = 256  # images; their pixels are 154 MB at 224 x 224


def view_folder(features: Path, view: View | None, precision: str = "fp32") -> Path:
    """Where the features under one view lie; None is the centre crop.

    Args:
        features: Folder of a dataset under a backbone; its name carries both fingerprints.
        view: One that is kept.
        precision: Of the image tower; features are stored in float32 whatever it is.
    """
    name = "centre" if view is None else view.name
    return features / f"v{TRANSFORM_VERSION}-{name}-{precision}"


class FeatureStore:
    """The features of one dataset under one backbone, transform, view and precision.

    Args:
        folder: Made by `create`.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._values = np.load(folder / "features.npy", mmap_mode="r")
        self._present = np.load(folder / "present.npy", mmap_mode="r")

    @classmethod
    def create(cls, folder: Path, rows: int, width: int) -> "FeatureStore":
        """Opens the store at `folder`, making it if it is not there or does not fit.

        Args:
            folder: Its name carries the fingerprints of all that decides the numbers.
            rows: Rows of the dataset.
            width: d, size of a feature.
        """
        folder.mkdir(parents=True, exist_ok=True)
        fits = False
        if (folder / "present.npy").is_file() and (folder / "features.npy").is_file():
            fits = np.load(folder / "features.npy", mmap_mode="r").shape == (rows, width)
        if not fits:
            # The marks go first: whatever stops this, none of them stands beside empty features.
            for name, dtype, shape in (
                ("present.npy", np.bool_, (rows,)),
                ("features.npy", np.float32, (rows, width)),
            ):
                draft = folder / f".{name}"
                np.lib.format.open_memmap(draft, mode="w+", dtype=dtype, shape=shape).flush()
                draft.replace(folder / name)
        return cls(folder)

    def missing(self, rows: np.ndarray) -> np.ndarray:
        """Those of `rows` that have no feature yet, sorted."""
        rows = np.unique(rows)
        return rows[~self._present[rows]]

    def write(self, rows: np.ndarray, features: Float[np.ndarray, "b d"]) -> None:
        """Stores features; one process at a time writes to a store.

        Raises:
            ValueError: A feature is infinite or no number.
        """
        if not np.isfinite(features).all():
            bad = rows[~np.isfinite(features).all(axis=1)]
            raise ValueError(f"the features of rows {bad[:5].tolist()} are infinite or no numbers.")
        values = np.load(self.folder / "features.npy", mmap_mode="r+")
        values[rows] = features
        values.flush()
        present = np.load(self.folder / "present.npy", mmap_mode="r+")
        present[rows] = True
        present.flush()

    def read(self, rows: np.ndarray) -> Float[Tensor, "b d"]:
        """Features of some rows.

        Raises:
            LookupError: A row has not been encoded.
        """
        absent = rows[~self._present[rows]]
        if len(absent):
            raise LookupError(
                f"{len(absent)} rows have no features in {self.folder.name}, the first is "
                f"{absent[0]}: encode them first."
            )
        return torch.from_numpy(self._values[rows])


class Images:
    """The images of a dataset as a backbone reads them; see `ImageSource`.

    Args:
        encoded: Gives the files of some rows.
        backbone: Preprocesses and encodes them.
        stores: Gives the store of the centre crop or of a view that is kept. None encodes
            whatever is asked for.
    """

    def __init__(
        self,
        encoded: Callable[[np.ndarray], Sequence[bytes]],
        backbone: Backbone,
        stores: Callable[[View | None], FeatureStore] | None = None,
    ) -> None:
        self.encoded = encoded
        self.backbone = backbone
        self.stores = stores

    def features(self, rows: np.ndarray, view: View | None = None) -> Float[Tensor, "b d"]:
        """Frozen features: kept ones, or encoded now under a view that nobody keeps."""
        if self.stores is not None and (view is None or view.kept):
            return self.stores(view).read(rows)
        parts = np.split(rows, range(ENCODED_AT_ONCE, len(rows), ENCODED_AT_ONCE))
        return torch.cat(
            [self.backbone.encode_images(self.pixels(part, view)).float() for part in parts]
        )

    def pixels(self, rows: np.ndarray, view: View | None = None) -> Float[Tensor, "b 3 s s"]:
        """Preprocessed images, decoded now."""
        crops = None if view is None else view.crops(rows)
        return self.backbone.preprocess(self.encoded(rows), crops)
