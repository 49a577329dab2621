"""Archives of a data set, unpacked into its folder among what is there already."""

import filecmp
import json
import shutil
from pathlib import Path
from typing import Any

from data_catalog.drafts import held
from data_catalog.fetching.files import KEPT
from data_catalog.json_text import JSONError, load_json
from data_catalog.sources import SourceError
from data_catalog.sources.archive import SUFFIXES
from data_catalog.sources.unpacking import unpack


def unpack_into(archive: Path, folder: Path, receipt: Path, digest: str) -> None:
    """Unpacks an archive into a folder, and notes that it is done.

    It is unpacked beside, and moved when all of it is there: a process killed at any point leaves
    no half file under its name.

    Args:
        archive: The local file, named by its suffix.
        folder: Where its members go; made if missing.
        receipt: Notes what came of it; beside it is the draft.
        digest: Of the archive, or what else tells it apart.

    Raises:
        SourceError: It is damaged or unsafe, or holds a file that is there with other content.
    """
    draft = receipt.with_name(f"{receipt.name}.unpacking")
    shutil.rmtree(draft, ignore_errors=True)  # of a process that was killed; the lock is ours
    draft.mkdir(parents=True)
    try:
        with held(draft):
            unpack(archive, draft, archive.name)
            _unpack_inner(draft)
            top = sorted(path.name for path in draft.iterdir())
            folder.mkdir(parents=True, exist_ok=True)
            _move_into(draft, folder, archive.name)
    finally:
        shutil.rmtree(draft, ignore_errors=True)
    receipt.write_text(json.dumps({"digest": digest, "top": top}, indent=1))


def is_unpacked(folder: Path, receipt: Path, digest: str) -> bool:
    """Whether an archive was unpacked whole into a folder, and what it held is still there.

    Args:
        folder: Where its members went.
        receipt: As `unpack_into` wrote it.
        digest: Likewise.
    """
    try:
        noted: Any = load_json(receipt.read_bytes())
    except (OSError, JSONError):
        return False
    if not isinstance(noted, dict) or noted.get("digest") != digest:
        return False
    return all((folder / str(name)).exists() for name in noted.get("top") or [KEPT])


def _unpack_inner(folder: Path) -> None:
    """Unpacks the archives that an archive holds, each where it lies, and takes them away."""
    for path in sorted(folder.rglob("*")):
        if path.name.lower().endswith(SUFFIXES) and path.is_file() and not path.is_symlink():
            inner = path.with_name(f".{path.name}.inner")
            inner.mkdir()
            unpack(path, inner, path.name)
            path.unlink()
            _move_into(inner, path.parent, path.name)
            shutil.rmtree(inner)


def _move_into(draft: Path, folder: Path, archive: str) -> None:
    """Moves all of a folder into another, and what is the same in both once.

    Raises:
        SourceError: A file of both has two contents.
    """
    for path in sorted(draft.iterdir()):
        there = folder / path.name
        if path.is_dir() and not path.is_symlink() and there.is_dir():
            _move_into(path, there, archive)
        elif not there.exists() and not there.is_symlink():
            path.rename(there)
        elif path.is_symlink() or there.is_dir() or not filecmp.cmp(path, there, shallow=False):
            raise SourceError(
                f"{archive} holds {path.name!r}, and {there} is there with another content. Move "
                "that away, or give another folder with --to."
            )
