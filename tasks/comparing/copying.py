"""A store brought to another place, a folder or a URL: every file is checked by its digest there.

What is there already is compared and not sent again, so a copy that was broken off goes on where it
was. Nothing at the target is overwritten, and the source stays as it is.
"""

import shutil
import tempfile
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from data_catalog.dataset import CARD, DATA
from operators.episodes.features import CHECKSUMS, FeatureStore
from operators.files import commit_folder, write_new
from tasks.computing.shared_features import fetch_features, send_features
from tasks.planning.resolve import RequestError
from tasks.progress import stage
from tasks.storage.folders import AT_ONCE, files_in, is_of, pack
from tasks.storage.remote import digest_of
from tasks.storage.small_files import small_files
from tasks.storage.store import Store

NEW, SAME, DIFFERENT = "new", "same", "different"
_ROWS = 1 << 16  # of features, at once


@dataclass
class Copied:
    """What a copy brought.

    Attributes:
        new: Folders that were not there, such as `trials/<trial_id>`.
        same: Those that were there, file by file.
        different: Those that were there with other files, which stay.
        rows: Features that were not there.
        files: Small files that were not there.
    """

    new: list[str] = field(default_factory=list)
    same: list[str] = field(default_factory=list)
    different: list[str] = field(default_factory=list)
    rows: int = 0
    files: int = 0

    def to_json(self) -> dict[str, Any]:
        """All of it as plain values."""
        return dict(vars(self))


def copy_store(source: Store, target: Store) -> Copied:
    """Brings all that cannot be computed again from the rest, and features, to another store.

    MLflow, plans, downloads and the board are made anew from it; see `rebuild_board`.

    Args:
        source: Is only read.
        target: Grows.

    Raises:
        RequestError: The source holds nothing, or is the target.
        OSError: The target cannot be written, or what was written cannot be read back as it was.
    """
    if source == target:
        raise RequestError(f"{source.place} is both ends: name another place to copy it to.")
    if not source.done() and not source.data.is_dir():
        raise RequestError(f"{source.place} is no store, or is empty: nothing to copy.")
    _fetch_all(source)
    copied = Copied()
    found = {NEW: copied.new, SAME: copied.same, DIFFERENT: copied.different}
    folders = list(_folders(source))
    with (
        stage(f"copy {source.place}", len(folders)) as progress,
        tempfile.TemporaryDirectory(prefix="shotboard-") as scratch,
        ThreadPoolExecutor(AT_ONCE) as several,
    ):

        def put(folder: Path) -> tuple[str, str]:
            name = folder.relative_to(source.home).as_posix()
            verdict = _put(target, name, folder, Path(tempfile.mkdtemp(dir=scratch)))
            progress.step()
            return verdict, name

        for verdict, name in several.map(put, folders):
            found[verdict].append(name)
        copied.rows = sum(_put_features(source, target))
        for name, path in small_files(source.home).items():
            copied.files += write_new(target.home / name, path.read_bytes())
        target.refresh()
        progress.summary = f"{len(copied.new)} new, {len(copied.same)} there already"
    return copied


def _fetch_all(source: Store) -> None:
    """Fetches what a working copy has only for those who ask for it."""
    if source.copy is None:
        return
    source.sync()
    for key in source.copy.remote.listed("data"):
        name, _, file = key.partition("/")
        if name and file.endswith(".json") and not file.startswith(".") and "/" not in file:
            source.bring(source.data / name / file.removesuffix(".json"))
    for key in source.copy.remote.listed("features"):
        backbone, dataset, *_ = parts = key.split("/")
        if len(parts) == 4 and not any(part.startswith(".") for part in parts):
            fetch_features(source.copy, source.features / backbone / dataset)


def _folders(source: Store) -> Iterator[Path]:
    """Every folder of a store that never changes: datasets first, for trials lean on them."""
    for folder in sorted(source.data.glob("*/*")):
        if (folder / CARD).is_file() and (folder / DATA).is_file():
            yield folder
    for trial_id in sorted(source.done()):
        yield source.trial(trial_id)
    yield from sorted(path for path in source.reproductions.glob("*/*") if path.is_dir())


def _put(target: Store, name: str, folder: Path, scratch: Path) -> str:
    """Brings one folder there, unless it is; says which.

    Args:
        target: Gets it.
        name: From the root of the store.
        folder: Whose files these are.
        scratch: Of its own, for what is read back.
    """
    if target.copy is None:
        return _put_here(target.home / name, folder)
    remote = target.copy.remote
    there = remote.read(f"{name}.json")
    if there is None:
        manifest = pack(remote, files_in(folder), check=scratch)
        if remote.create(f"{name}.json", manifest) is not None:
            return NEW
        there = remote.read(f"{name}.json")
    return SAME if there is not None and is_of(folder, there) else DIFFERENT


def _put_here(place: Path, folder: Path) -> str:
    """As `_put`, into a folder of this machine."""
    wanted = {name: digest_of(path) for name, path in files_in(folder).items()}
    is_new = not place.exists()
    if is_new:
        with commit_folder(place) as draft:
            for name, path in files_in(folder).items():
                shutil.copyfile(path, draft / name)
                if digest_of(draft / name) != wanted[name]:
                    raise OSError(f"{draft / name} is not what was written: look at the disk.")
    same = {name: digest_of(path) for name, path in files_in(place).items()} == wanted
    return DIFFERENT if not same else NEW if is_new else SAME


def _put_features(source: Store, target: Store) -> Iterator[int]:
    """Brings the features that are not there; gives how many rows of each view."""
    for file in sorted(source.features.glob(f"*/*/*/{CHECKSUMS}")):
        try:
            ours = FeatureStore(file.parent)
        except LookupError:  # damaged: encoded again by who needs them
            continue
        place = target.features / file.parent.relative_to(source.features)
        if target.copy is not None:
            fetch_features(target.copy, place.parent)
        every = np.arange(ours.rows)
        every = every[~np.isin(every, ours.missing(every))]
        theirs = FeatureStore.create(place, ours.rows, ours.width)
        new = theirs.missing(every)
        for rows in np.split(new, range(_ROWS, len(new), _ROWS)):
            if len(rows):
                theirs.write(rows, ours.read(rows).numpy())
        if target.copy is not None:
            send_features(target.copy, place)
        yield len(new)
