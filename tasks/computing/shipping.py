"""Our code for the workers of a cluster that is joined: what this process imports, and no other.

Its hosts may have another version of Shotboard, or none. So Ray brings each of them the packages of
the driver, some megabytes by their content, once; what these import must be there.
"""

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

from tasks.environment import PACKAGES, ROOT

COMMAND = "shotboard"  # a package as well: registered models name it


@contextmanager
def code_to_ship() -> Iterator[Path]:
    """A folder with our packages alone, while the block lasts: Ray takes all of what it is given.

    Raises:
        OSError: There is no room for it.
    """
    with TemporaryDirectory(prefix="shotboard-") as folder:
        for package in (*PACKAGES, COMMAND):
            if (ROOT / package).is_dir():
                ignored = shutil.ignore_patterns("__pycache__", ".*")
                shutil.copytree(ROOT / package, Path(folder) / package, ignore=ignored)
        yield Path(folder)
