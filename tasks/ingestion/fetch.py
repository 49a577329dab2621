"""Published data sets into folders of this machine, and their cards into the store."""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from data_catalog.fetching import Noted, Telling, Ways, get_published
from tasks.progress import reporter, stage
from tasks.storage.store import Store

if TYPE_CHECKING:
    from data_catalog.published import PublishedDataset

_MIB = 1 << 20


def fetch_published(
    dataset: "PublishedDataset",
    store: Store,
    folder: Path | None = None,
    *,
    chosen: str = "",
    keep_archives: bool = False,
) -> Path:
    """Fetches a published data set, or what is missing of it; gives the folder to register.

    Args:
        dataset: What is known of it.
        store: Keeps the files, and the digests of those that have no published one.
        folder: Where the files go instead.
        chosen: See `get_published`.
        keep_archives: Likewise.

    Raises:
        SourceError: See `get_published`.
    """
    where = store.downloads / dataset.name if folder is None else folder
    noted = Noted(store.downloads / "digests.json")
    telling = Telling(_bar, reporter().say)
    return get_published(dataset, where, noted, telling, chosen=chosen, keep_archives=keep_archives)


@contextmanager
def _bar(name: str) -> Iterator[Ways]:
    """How far one file is, in MiB, and how fast it comes."""
    with stage(f"fetch {name}, MiB") as bar:
        started, first, last = time.monotonic(), -1, 0

        def progress(done: int, total: int | None) -> None:
            nonlocal first, last
            first = done if first < 0 else first
            if done // _MIB == last and done != total:
                return
            last = done // _MIB
            bar.to(-(-done // _MIB), None if total is None else -(-total // _MIB))
            seconds = time.monotonic() - started
            if seconds > 1:  # before, it says nothing
                bar.note(f"{(done - first) / _MIB / max(seconds, 1e-3):.1f} MiB/s")
            bar.summary = f"{done / _MIB:,.1f} MiB in {seconds:.1f} s"

        yield Ways(progress=progress, say=bar.reporter.say)
