"""Which code is installed, told from sizes and times of its files: no file is read."""

import hashlib
import json
import sys
import sysconfig
from collections.abc import Collection, Sequence
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]


def code_stamp(
    places: Sequence[str], root: Path = ROOT, left_out: Collection[str] = ("__pycache__",)
) -> str:
    """Sixteen hex digits that move with any of some files, and with what is installed.

    Args:
        places: Files and folders, relative to `root`.
        root: Folder of the code.
        left_out: Names of folders that do not count.
    """
    stamps = []
    for place in places:
        path = root / place
        for file in sorted(path.rglob("*")) if path.is_dir() else [path]:
            inside = file.relative_to(root)
            if file.is_file() and not set(left_out) & set(inside.parts):
                stamps.append((inside.as_posix(), *stamp(file)))
    installed = Path(sysconfig.get_path("purelib"))  # its time moves as packages come and go
    stamps.append((str(installed), sys.version, installed.stat().st_mtime_ns))
    return hashlib.sha256(json.dumps(stamps).encode()).hexdigest()[:16]


def stamp(file: Path) -> tuple[int, int]:
    """Size of a file, and when it was changed."""
    status = file.stat()
    return status.st_size, status.st_mtime_ns
