"""What a worker keeps between trials: backbones, datasets and features that are open."""

from contextlib import suppress
from functools import cache, lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tasks.computing.context import Context, Encoder
from tasks.planning import own_backbones
from tasks.storage.store import Store

if TYPE_CHECKING:
    from data_catalog import Dataset
    from operators.backbones import Backbone, BackboneReference
    from operators.episodes.episode import Episode
    from operators.episodes.features import FeatureStore
    from operators.methods import Teacher
    from operators.spec import TrialSpec
    from operators.tracks import TargetData
    from tasks.planning.data import TrialData

STORES_OPEN = 64  # feature stores whose checksums a worker keeps; 9 bytes a row


class Loaded:
    """What was asked for once, and is there from then on.

    Attributes:
        dataset: Opens the dataset in a folder.
        data: A dataset in a folder as trials need it, with a set of templates.

    Args:
        store: Of the trials.
        device: That backbones are on.
    """

    def __init__(self, store: Store, device: str) -> None:
        self._store = store
        self._device = device
        self._backbones = cache(self._load)
        self.dataset = cache(_open_dataset)
        self.data = cache(self._read_data)
        self._features = lru_cache(STORES_OPEN)(_open_features)
        # Drawing takes a while on a large dataset.
        self._episodes: dict[tuple[Path, str, int], Episode] = {}

    def load_ahead(self, name: str, precision: str) -> None:
        """Loads a backbone before it is asked for, if it is one that everybody knows."""
        from operators.backbones import BACKBONES, is_location, reference

        with suppress(Exception):  # whatever it is, it will be the error of a trial
            if name in BACKBONES or is_location(name):  # code of a user's own comes with trials
                self._backbones(reference(name)._replace(precision=precision))

    def backbone(self, which: "BackboneReference", context: Context) -> "Backbone":
        """The backbone that is meant, with the weights that it is loaded from."""
        own_backbones.make_known(which, context.sources)
        return self._backbones(which)

    def episode(self, spec: "TrialSpec", context: Context) -> "Episode":
        """A draw of the kind of a trial's, to count by: one of each kind is kept."""
        from operators.tracks.rows import episode_of

        key = context.dataset, spec.protocol, spec.shots
        if key not in self._episodes:
            data = self.data(context.dataset, spec.template_set)
            self._episodes[key] = episode_of(spec, data.table)
        return self._episodes[key]

    def teacher(self, spec: "TrialSpec", context: Context) -> "Teacher":
        """What a trial of the store has learned, ready to teach.

        Raises:
            ValueError: See `teacher_from`.
        """
        from tasks.computing.tuned import teacher_from

        data = self.data(context.dataset, spec.template_set)
        own = context.others.get(spec.backbone)
        which = context.backbone if own is None else own.backbone
        source = None if own is None else self.source(spec, context.dataset, own, context)
        return teacher_from(self._store, spec, self.backbone(which, context), data, source)

    def target(self, spec: "TrialSpec", name: str, context: Context) -> "TargetData":
        """A dataset that a trial is tested on, with the templates that it was planned with."""
        from operators.tracks import TargetData

        folder, features = context.targets[name]
        data = self.data(folder, spec.targets[name].template_set)
        encoder = context.encoder._replace(features=features)
        return TargetData(data, self.source(spec, folder, encoder, context))

    def source(
        self,
        spec: "TrialSpec",
        folder: Path,
        encoder: Encoder,
        context: Context,
    ) -> Any:
        """A dataset as a trial reads it: features from the stores, and encoded where in none."""
        from operators.episodes.features import view_folder
        from operators.tracks import track_of

        which, features = encoder
        return track_of(spec.protocol).source(
            self.dataset(folder).examples,
            self.backbone(which, context),
            lambda view: self._features(view_folder(features, view, which.precision)),
        )

    def _read_data(self, folder: Path, templates: str) -> "TrialData":
        from tasks.planning.data import data_of

        return data_of(self._store, self.dataset(folder), templates)

    def _load(self, which: "BackboneReference") -> "Backbone":
        return which.load(which.describe(), self._device)


def _open_dataset(folder: Path) -> "Dataset":
    from data_catalog import Dataset

    return Dataset.open(folder)


def _open_features(folder: Path) -> "FeatureStore":
    from operators.episodes.features import FeatureStore

    return FeatureStore(folder)
