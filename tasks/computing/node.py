"""What a worker needs of a store at a URL: paths of its own node, and what is to lie there."""

from dataclasses import replace
from pathlib import Path
from typing import Any

from tasks.storage.store import Store


class Node:
    """The node of a worker; where the store is a folder that all nodes have, nothing is done.

    Args:
        store: As this node sees it.
    """

    def __init__(self, store: Store) -> None:
        self.store = store
        self._ready: dict[tuple[str, Path, Path, bool], Any] = {}

    def here(self, context: Any, *, features: bool = True) -> Any:
        """What trials share, with the folders of this node; what is not in them is fetched.

        Args:
            context: As the driver has it, see `tasks.computing.context.Context`.
            features: Whether frozen features are to be there as well.

        Raises:
            RemoteError: Something cannot be fetched.
        """
        if self.store.copy is None or context.home is None:
            return context
        key = context.asked, context.dataset, context.features, features
        if key not in self._ready:
            self._ready[key] = self._fetched(context, features)
        return self._ready[key]

    def _fetched(self, context: Any, features: bool) -> Any:
        def own(path: Path) -> Path:
            return self.store.home / path.relative_to(context.home or "/")

        found = replace(
            context,
            dataset=own(context.dataset),
            features=own(context.features),
            others={n: e._replace(features=own(e.features)) for n, e in context.others.items()},
            targets={
                name: target._replace(dataset=own(target.dataset), features=own(target.features))
                for name, target in context.targets.items()
            },
            home=self.store.home,
        )
        targets = found.targets.values()
        for dataset in {found.dataset, *(target.dataset for target in targets)}:
            self.store.bring(dataset)
        encoders = (found.encoder, *found.others.values(), *targets)
        for folder in {each.features for each in encoders} if features else ():
            self._fetch_features(folder)
        return found

    def _fetch_features(self, folder: Path) -> None:
        from filelock import FileLock

        from tasks.computing.shared_features import fetch_features

        if self.store.copy is not None:
            folder.mkdir(parents=True, exist_ok=True)
            with FileLock(folder / ".lock"):
                fetch_features(self.store.copy, folder)
