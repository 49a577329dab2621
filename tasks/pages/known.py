"""What the code says of methods and backbones, kept beside it as Python keeps bytecode.

Reading the code takes torch, and commands that only list are over in less time than its import.
So what was read once is kept under a digest of the code, by size and time of each file and of
what is installed: code that has changed is read again.
"""

import json
import sys
from contextlib import suppress
from functools import cache
from pathlib import Path
from typing import Any

from operators.files import write_atomic
from tasks.code_stamp import ROOT, code_stamp

_CODE = ("operators", "tasks/pages/zoo.py", "tasks/pages/known.py")
_LEFT_OUT = ("__pycache__", "board")  # written as it is used; says nothing of the zoo


def method_rows() -> list[dict[str, Any]]:
    """See `tasks.pages.zoo.method_rows`."""
    return _known("methods")


def backbone_rows() -> list[dict[str, Any]]:
    """Those with a name; of those that come with the installation all that is known."""
    return _known("backbones")


def capabilities() -> dict[str, str]:
    """What methods may ask of a backbone, in words, by name."""
    return _known("capabilities")


def track_rows() -> list[dict[str, Any]]:
    """See `tasks.pages.zoo.track_rows`."""
    return _known("tracks")


def protocol_rows() -> list[dict[str, Any]]:
    """See `tasks.pages.zoo.protocol_rows`."""
    return _known("protocols")


def _known(part: str) -> Any:
    """A part of the zoo: from the code where that is loaded anyway, else as it was kept."""
    if "operators.methods" in sys.modules:
        from tasks.pages.zoo import PARTS

        return json.loads(json.dumps(PARTS[part]()))
    return kept()[part]


@cache
def kept(root: Path = ROOT, folder: Path = ROOT / "tasks" / "__pycache__") -> dict[str, Any]:
    """The whole zoo by part, read from the code where it was not kept or has changed.

    Args:
        root: Folder of the code.
        folder: Where it is kept.
    """
    file = folder / f"zoo-{code_stamp(_CODE, root, _LEFT_OUT)}.json"
    with suppress(OSError, ValueError):
        return json.loads(file.read_bytes())
    from tasks.pages.zoo import PARTS

    found = {part: rows() for part, rows in PARTS.items()}
    with suppress(OSError):  # an installation that may not be written to is read each time
        for old in folder.glob("zoo-*.json"):
            old.unlink(missing_ok=True)
        write_atomic(file, json.dumps(found).encode())
    return json.loads(json.dumps(found))
