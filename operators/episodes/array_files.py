"""Arrays in .npy files, read and written by rows through file handles.

With a memory map, a full disk, a file that was cut short or a bad sector would be a signal that
ends the process, and not an error.
"""

import errno
import os
from collections.abc import Iterator
from pathlib import Path

import numpy as np

NO_RESERVING = {errno.EOPNOTSUPP, errno.ENOSYS, errno.EINVAL}  # of file systems that cannot


class ArrayFile:
    """An array in a .npy file, of which only the rows asked for are read or written.

    Args:
        path: Made by `make`, or by `numpy.save`.
        dtype: What it must hold; None for anything.

    Attributes:
        shape: Of the array.
        row_bytes: Size of a row.

    Raises:
        OSError: There is no file.
        ValueError: It is no .npy file of such an array.
    """

    def __init__(self, path: Path, dtype: type | None) -> None:
        self.path = path
        with path.open("rb") as file:
            version = np.lib.format.read_magic(file)
            if version != (1, 0):
                raise ValueError(f"{path.name} is of another version of the format")
            self.shape, transposed, found = np.lib.format.read_array_header_1_0(file)
            self.start = file.tell()
        if transposed or not self.shape or (dtype and found != dtype):
            raise ValueError(f"{path.name} holds other rows than it should")
        self.dtype = found
        self.row_bytes = self.dtype.itemsize * int(np.prod(self.shape[1:], dtype=np.int64))

    def read(self, rows: np.ndarray | None) -> np.ndarray:
        """Some rows, in the order asked for; None for all. What is beyond the end is zero."""
        rows = np.arange(self.shape[0]) if rows is None else rows
        values = np.zeros((len(rows), *self.shape[1:]), self.dtype)
        flat = values.reshape(-1).view(np.uint8).data
        with self.path.open("rb", buffering=0) as file:
            for place, wanted in self._pieces(rows):
                piece = flat[wanted]
                while len(piece) and (count := os.preadv(file.fileno(), [piece], place)):
                    place, piece = place + count, piece[count:]
        return values

    def write(self, rows: np.ndarray, values: np.ndarray) -> None:
        """Some rows, which are on disk when it returns.

        Args:
            rows: (b,) ids of rows of the array, in any order.
            values: (b, ..) what stands there from now on, of the dtype of the array.
        """
        flat = values.reshape(-1).view(np.uint8).data
        with self.path.open("r+b", buffering=0) as file:
            for place, given in self._pieces(rows):
                piece = flat[given]
                while len(piece):
                    count = os.pwrite(file.fileno(), piece, place)
                    place, piece = place + count, piece[count:]
            os.fsync(file.fileno())

    def reserve(self, rows: np.ndarray) -> None:
        """Space for some rows, where the file system gives it."""
        if not hasattr(os, "posix_fallocate"):
            return
        with self.path.open("r+b", buffering=0) as file:
            for place, piece in self._pieces(rows):
                try:
                    os.posix_fallocate(file.fileno(), place, piece.stop - piece.start)
                except OSError as error:
                    if error.errno not in NO_RESERVING:
                        raise
                    return

    def restore_length(self) -> None:
        """Gives a file that was cut short its length again; what was cut off reads as zero."""
        length = self.start + self.shape[0] * self.row_bytes
        if self.path.stat().st_size != length:
            os.truncate(self.path, length)

    def _pieces(self, rows: np.ndarray) -> Iterator[tuple[int, slice]]:
        """Rows that follow each other: where they begin in the file, and their bytes in memory."""
        ends = [*(np.flatnonzero(np.diff(rows) != 1) + 1).tolist(), len(rows)]
        begin = 0
        for end in ends:
            if end > begin:
                place = self.start + int(rows[begin]) * self.row_bytes
                yield place, slice(begin * self.row_bytes, end * self.row_bytes)
            begin = end


def fault_of(path: Path, shape: tuple[int, ...], dtype: type) -> str:
    """Why a file is not that of an array; empty if it is.

    Args:
        path: A file of numpy's format.
        shape: That it should have.
        dtype: Of its numbers.
    """
    try:
        found = ArrayFile(path, dtype).shape
    except (OSError, ValueError) as error:
        return f"{path.name} cannot be read: {' '.join(str(error).split())}"
    return "" if found == shape else f"{path.name} has the shape {found}, not {shape}"


def broken(path: Path) -> str:
    """Why a file holds no whole array; empty if it does."""
    try:
        file = ArrayFile(path, None)
        length = file.start + file.shape[0] * file.row_bytes
        return "" if path.stat().st_size == length else f"{path.name} is not as long as it says"
    except (OSError, ValueError) as error:
        return f"{path.name} cannot be read: {' '.join(str(error).split())}"


def make(path: Path, shape: tuple[int, ...], dtype: type) -> None:
    """An array of zeros that takes no space yet, put in its place when it is whole.

    Args:
        path: A `.npy` file; one that is there is replaced.
        shape: Rows first.
        dtype: Of its numbers.

    Raises:
        OSError: The disk is full or cannot be written.
    """
    draft = path.with_name(f".{path.name}")
    with draft.open("wb") as file:
        header = np.lib.format.header_data_from_array_1_0(np.empty((0, *shape[1:]), dtype))
        np.lib.format.write_array_header_1_0(file, header | {"shape": shape})
        file.truncate(file.tell() + int(np.prod(shape, dtype=np.int64)) * np.dtype(dtype).itemsize)
    draft.replace(path)
