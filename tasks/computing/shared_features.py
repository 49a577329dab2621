"""Frozen features of a store at a URL: every node encodes what no other has.

Below the folder of a view lie packs, which never change: the rows that somebody has encoded, under
the digest of their bytes. So nodes that encode at once add to each other, and a pack is whole or
absent. Where two hold the same row, the one that came first stays on each node.
"""

import io
import json
from datetime import datetime
from pathlib import Path

import numpy as np

from operators.episodes.features import FeatureStore
from operators.files import write_atomic
from tasks.storage.copies import WorkingCopy
from tasks.storage.remote import DamagedError, digest_of

PACK_ROWS = 1 << 16  # of 512 numbers each: 128 MiB
_PACKS, _SHARED = ".packs.json", ".shared.npy"


def fetch_features(copy: WorkingCopy, features: Path) -> None:
    """Fetches the features of a dataset under a backbone that other nodes have encoded.

    One process of a machine at a time may call it.

    Args:
        copy: Working copy of the store.
        features: Folder of the dataset under the backbone, all views.

    Raises:
        RemoteError: They cannot be read, or are not what was written.
    """
    there = copy.remote.listed(_name(copy, features))
    by_view: dict[str, list[tuple[datetime, str]]] = {}
    for key, seen in there.items():
        view, _, file = key.partition("/")
        if view and not view.startswith(".") and file.endswith(".npz") and "/" not in file:
            by_view.setdefault(view, []).append((seen.changed, file))
    for view, packs in by_view.items():
        folder = features / view
        known = _known_packs(folder)
        for _, file in sorted(packs):
            if file not in known:
                _take(copy, folder, file)
                _note_packs(folder, {*_known_packs(folder), file})


def send_features(copy: WorkingCopy, folder: Path) -> None:
    """Sends the features under one view that are here alone.

    Args:
        copy: Working copy of the store.
        folder: Of the view.
    """
    store = FeatureStore(folder)
    shared = _shared(folder, store.rows)
    own = np.flatnonzero(~shared)
    own = own[~np.isin(own, store.missing(own))]
    for rows in np.split(own, range(PACK_ROWS, len(own), PACK_ROWS)):
        if len(rows):
            content = io.BytesIO()
            np.savez(content, rows=rows, values=store.read(rows).numpy(), total=store.rows)
            digest, _ = digest_of(content.getvalue())
            file = f"{digest}.npz"
            copy.remote.replace(f"{_name(copy, folder)}/{file}", content.getvalue())
            _note_packs(folder, {*_known_packs(folder), file})
            shared[rows] = True
            _note_shared(folder, shared)


def _take(copy: WorkingCopy, folder: Path, file: str) -> None:
    """Writes the rows of a pack that are not here."""
    key = f"{_name(copy, folder)}/{file}"
    content = copy.remote.read(key)
    if content is None:
        return
    if digest_of(content)[0] != file.removesuffix(".npz"):
        raise DamagedError(f"{key} of {copy.remote.shown} is not what was written there.")
    with np.load(io.BytesIO(content), allow_pickle=False) as pack:
        rows, values, total = pack["rows"], pack["values"], int(pack["total"])
    store = FeatureStore.create(folder, total, values.shape[1])
    new = np.isin(rows, store.missing(rows))
    store.write(rows[new], values[new])
    shared = _shared(folder, total)
    shared[rows] = True
    _note_shared(folder, shared)


def _name(copy: WorkingCopy, folder: Path) -> str:
    return folder.relative_to(copy.home).as_posix()


def _known_packs(folder: Path) -> set[str]:
    try:
        return set(json.loads((folder / _PACKS).read_bytes()))
    except (OSError, ValueError, TypeError):
        return set()  # none yet, or damaged: then they are looked at again


def _note_packs(folder: Path, packs: set[str]) -> None:
    write_atomic(folder / _PACKS, json.dumps(sorted(packs)).encode())


def _shared(folder: Path, rows: int) -> np.ndarray:
    """Which rows some pack has, (rows,) bool."""
    try:
        found = np.load(folder / _SHARED, allow_pickle=False)
    except (OSError, ValueError):
        return np.zeros(rows, np.bool_)
    return found if found.shape == (rows,) else np.zeros(rows, np.bool_)


def _note_shared(folder: Path, shared: np.ndarray) -> None:
    content = io.BytesIO()
    np.save(content, shared)
    write_atomic(folder / _SHARED, content.getvalue())
