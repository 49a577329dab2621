"""Frozen features: encoded once, kept on disk, and read by every trial.

There is a store for the centre crop and one for each view of a bank. In each, `features.npy` holds
a row for each row of a dataset, and `checksums.npy` a checksum for each of these that is there. A
feature is on disk before its checksum is, so a process that dies leaves nothing half done, and a
row that does not match its checksum is never read: it is missing, and encoded again.
"""

import errno
import os
import threading
import zlib
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from operators.backbones import DualEncoder
from operators.engine.room import in_room
from operators.episodes.array_files import ArrayFile, fault_of, make
from operators.episodes.views import View
from operators.images import TRANSFORM_VERSION, decode
from operators.shapes import Float

ENCODED_AT_ONCE = 256  # images; their pixels are 154 MB at 224 x 224
DECODED_ROOM = 128 << 20  # bytes; 230 photos of 500 x 375
VERIFIED_AT_ONCE = 8192  # rows; 16 MB of 512 numbers each
VALUES, CHECKSUMS = "features.npy", "checksums.npy"
MARKS = "present.npy"  # in stores that were made before there were checksums
THERE = np.uint64(1 << 32)  # added to a checksum, so that 0 says that there is no feature
FULL = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}


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

    Raises:
        LookupError: There is no store, or one of its files is damaged.

    Attributes:
        repairs: Sentences about what `create` and `missing` found damaged.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.repairs: list[str] = []
        try:
            self._values = ArrayFile(folder / VALUES, np.float32)
            self._sums = ArrayFile(folder / CHECKSUMS, np.uint64)
        except (OSError, ValueError) as error:
            raise LookupError(
                f"{folder} has no features that can be read ({error}): run the suite again, and "
                "they are encoded anew."
            ) from error
        self._known = self._sums.read(None)
        self._verified = np.zeros(len(self._known), dtype=np.bool_)

    @classmethod
    def create(cls, folder: Path, rows: int, width: int) -> "FeatureStore":
        """Opens the store at `folder`, making it if it is not there or does not fit.

        One process at a time may call it. What is damaged beyond single rows is made anew, and a
        store without checksums gets them: it is read once.

        Args:
            folder: Its name carries the fingerprints of all that decides the numbers.
            rows: Rows of the dataset.
            width: d, size of a feature.

        Raises:
            OSError: The disk is full.
        """
        folder.mkdir(parents=True, exist_ok=True)
        shapes = {VALUES: (rows, width), CHECKSUMS: (rows,)}
        dtypes = {VALUES: np.float32, CHECKSUMS: np.uint64}
        repairs = []
        with _room(folder):
            if not (folder / CHECKSUMS).exists() and (folder / MARKS).exists():
                _adopt_marks(folder, rows)
            there = [name for name in shapes if (folder / name).exists()]
            faults = [fault_of(folder / name, shapes[name], dtypes[name]) for name in there]
            if len(there) < len(shapes) or any(faults):
                reasons = [fault for fault in faults if fault]
                reasons += [f"{name} is missing" for name in shapes if name not in there]
                if there:
                    text = ", ".join(reasons)
                    repairs = [f"the features in {folder} are encoded again, since {text}."]
                # Checksums go first: whatever stops this, none of them stands beside new zeros.
                for name in (CHECKSUMS, VALUES):
                    make(folder / name, shapes[name], dtypes[name])
            for name in shapes:
                ArrayFile(folder / name, dtypes[name]).restore_length()
        store = cls(folder)
        store.repairs += repairs
        return store

    @property
    def rows(self) -> int:
        """Rows of the dataset, whether or not they have a feature."""
        return len(self._known)

    @property
    def width(self) -> int:
        """Size of a feature."""
        return self._values.shape[1]

    def missing(self, rows: np.ndarray) -> np.ndarray:
        """Those of `rows` that have no feature, or one that is damaged, sorted."""
        rows = np.unique(rows)
        damaged: list[int] = []
        unsure = rows[self._is_there(rows) & ~self._verified[rows]]
        for part in np.split(unsure, range(VERIFIED_AT_ONCE, len(unsure), VERIFIED_AT_ONCE)):
            damaged += self._mismatches(part, self._values.read(part)).tolist()
        if damaged:
            self._known[damaged] = 0
            self.repairs.append(
                f"{len(damaged)} features in {self.folder} do not match their checksums, the first "
                f"is that of row {damaged[0]}: encoded again."
            )
        return rows[~self._is_there(rows)]

    def reserve(self, rows: np.ndarray) -> None:
        """Takes the space of some rows on the disk before anything is encoded.

        A file system that cannot do that says so when a row is written.

        Raises:
            OSError: The disk is full.
        """
        with _room(self.folder, len(rows), len(rows) * self._values.row_bytes):
            self._values.reserve(rows)

    def write(self, rows: np.ndarray, features: Float[np.ndarray, "b d"]) -> None:
        """Stores features; one process at a time writes to a store.

        Args:
            rows: (b,) row ids of the dataset.
            features: One for each row, as the image tower gives them.

        Raises:
            ValueError: A feature is infinite or no number.
            OSError: The disk is full; the rows stay missing.
        """
        if not np.isfinite(features).all():
            bad = rows[~np.isfinite(features).all(axis=1)]
            raise ValueError(f"the features of rows {bad[:5].tolist()} are infinite or no numbers.")
        features = np.ascontiguousarray(features, dtype=np.float32)
        sums = _checksums(features)
        with _room(self.folder, len(rows), features.nbytes):
            # Values first: what stops this in between leaves rows without a checksum, which count
            # as missing and are encoded again, and never a checksum beside what it is not of.
            self._values.write(rows, features)
            self._sums.write(rows, sums)
        self._known[rows] = sums
        self._verified[rows] = True

    def read(self, rows: np.ndarray) -> Float[Tensor, "b d"]:
        """Features of some rows.

        Raises:
            LookupError: A row has not been encoded, or does not match its checksum.
        """
        if not self._is_there(rows).all():
            self._look_again()  # another process may have written them
        absent = rows[~self._is_there(rows)]
        if len(absent):
            raise LookupError(
                f"{len(absent)} rows have no features in {self.folder.name}, the first is "
                f"{absent[0]}: encode them first."
            )
        values = self._values.read(rows)
        if len(self._mismatches(rows, values)):
            self._look_again()  # or made the whole store anew
            values = self._values.read(rows)
            damaged = self._mismatches(rows, values)
            if len(damaged):
                raise LookupError(
                    f"{len(damaged)} features in {self.folder} do not match their checksums, the "
                    f"first is that of row {damaged[0]}: the disk or another program has changed "
                    "them. Run the suite again, and they are encoded anew."
                )
        # Copied into torch's memory, which always begins at a multiple of 64 bytes and numpy's does
        # not: sums over memory that begins elsewhere are rounded otherwise on some processors.
        return torch.from_numpy(values).clone()

    def _is_there(self, rows: np.ndarray) -> np.ndarray:
        return self._known[rows] >= THERE

    def _look_again(self) -> None:
        again = FeatureStore(self.folder)
        self._values, self._sums = again._values, again._sums
        self._known, self._verified = again._known, again._verified

    def _mismatches(self, rows: np.ndarray, values: np.ndarray) -> np.ndarray:
        """Those of some rows whose values are not what was written; the others are verified."""
        unsure = np.flatnonzero(~self._verified[rows])
        same = _checksums(values[unsure]) == self._known[rows[unsure]]
        self._verified[rows[unsure[same]]] = True
        return rows[unsure[~same]]


def _checksums(values: np.ndarray) -> np.ndarray:
    """CRC-32 of each row, marked as there; (b, d) float32 -> (b,) uint64."""
    sums = np.fromiter((zlib.crc32(row) for row in values), np.uint64, len(values))
    return sums + THERE


def _adopt_marks(folder: Path, rows: int) -> None:
    """Gives checksums to a store that was made before there were any: reads it once.

    A row that is no number, or zero throughout, was never a feature, so it gets none.
    """
    try:
        values = ArrayFile(folder / VALUES, np.float32)
        there = np.flatnonzero(ArrayFile(folder / MARKS, np.bool_).read(None))
    except (OSError, ValueError):
        return  # `create` says so
    if values.shape[0] != rows or len(there) > rows:
        return
    make(folder / f"{CHECKSUMS}.new", (rows,), np.uint64)
    sums = ArrayFile(folder / f"{CHECKSUMS}.new", np.uint64)
    for part in np.split(there, range(VERIFIED_AT_ONCE, len(there), VERIFIED_AT_ONCE)):
        features = values.read(part)
        sound = np.isfinite(features).all(axis=1) & features.any(axis=1)
        sums.write(part[sound], _checksums(features[sound]))
    sums.path.replace(folder / CHECKSUMS)
    (folder / MARKS).unlink()


@contextmanager
def _room(folder: Path, rows: int = 0, size: int = 0) -> Iterator[None]:
    """Says of a full disk what it is in the way of.

    Raises:
        OSError: The disk is full, a quota is used up, or no file may be as large.
    """
    try:
        yield
    except OSError as error:
        if error.errno not in FULL:
            raise
        what = f"the features of {rows} images ({size / 2**20:.1f} MiB)" if rows else "features"
        raise OSError(
            error.errno,
            f"no room for {what} in {folder}: {os.strerror(error.errno or 0)}. Free some space, or "
            "set SHOTBOARD_HOME to a larger disk; what was encoded stays",
        ) from error


class DecodedImages:
    """Decoded images, for whoever asks for many views of the same ones.

    The last ones that were asked for are kept, as many as there is room for. Decoding a photo takes
    as long as cutting several views out of it.

    Args:
        encoded: Gives the files of some rows.
        room: Bytes that are kept at most.
    """

    def __init__(
        self, encoded: Callable[[np.ndarray], Sequence[bytes]], room: int = DECODED_ROOM
    ) -> None:
        self.encoded = encoded
        self.room = room
        self._kept: dict[int, np.ndarray] = {}  # by row, the one that was asked for last at the end
        self._size = 0
        self._lock = threading.Lock()

    def read(self, rows: np.ndarray) -> list[np.ndarray]:
        """The (h, w, 3) images of some rows.

        Args:
            rows: (b,) row ids, whose images the caller holds all at once.
        """
        wanted = rows.tolist()
        with self._lock:  # images of the next step are read by another thread
            new = [row for row in dict.fromkeys(wanted) if row not in self._kept]
            files = self.encoded(np.array(new, dtype=rows.dtype)) if new else []
            fresh = {row: decode(file) for row, file in zip(new, files, strict=True)}
            found = [fresh[row] if row in fresh else self._kept[row] for row in wanted]
            for row, image in zip(wanted, found, strict=True):
                self._keep(row, image)
        return found

    def _keep(self, row: int, image: np.ndarray) -> None:
        if self._kept.pop(row, None) is None:
            self._size += image.nbytes
        self._kept[row] = image
        while self._size > self.room:
            oldest = next(iter(self._kept))
            self._size -= self._kept.pop(oldest).nbytes


class DatasetImages:
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
        backbone: DualEncoder,
        stores: Callable[[View | None], FeatureStore] | None = None,
    ) -> None:
        self.encoded = encoded
        self.backbone = backbone
        self.stores = stores
        self.kept_decoded = DecodedImages(encoded)

    def features(self, rows: np.ndarray, view: View | None = None) -> Float[Tensor, "b d"]:
        """Frozen features: kept ones, or encoded now under a view that nobody keeps.

        See `ImageSource.features`.
        """
        if self.stores is not None and (view is None or view.kept):
            return self.stores(view).read(rows)

        def some(start: int, stop: int) -> Tensor:
            return self.backbone.encode_images(self.pixels(rows[start:stop], view)).float()

        return torch.cat(in_room(some, len(rows), ENCODED_AT_ONCE, "images"))

    def pixels(self, rows: np.ndarray, view: View | None = None) -> Float[Tensor, "b 3 s s"]:
        """Preprocessed images. See `ImageSource.pixels`.

        Under random views the same images are asked for again and again, and decoded once.
        """
        if view is None:
            return self.backbone.preprocess(self.encoded(rows))
        return self.backbone.preprocess(self.kept_decoded.read(rows), view.crops(rows))
