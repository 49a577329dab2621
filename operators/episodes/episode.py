"""Who sees which rows: an episode by row ids, and what tuning is given of it."""

from collections.abc import Mapping, Sequence
from concurrent.futures import Executor, Future
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any, NamedTuple, Protocol, runtime_checkable

import numpy as np
import torch
from torch import Tensor

from operators.engine.accounting import count_cached
from operators.engine.transfer import onto
from operators.episodes.views import CENTRE, View, ViewPolicy
from operators.shapes import Float, Int
from operators.spec import digest


@dataclass(frozen=True)
class Evaluation:
    """Test rows that are classified among some classes.

    Attributes:
        split: `all`, `base`, `new`, or the name of a target dataset or domain.
        classes: Labels to choose from, in the order of the logits.
        rows: Row ids.
        dataset: That labels and rows are of; empty for the one that is learned.
        version: Fingerprint of that dataset, so that trials on two versions are not paired.
        domain: That all rows are of; empty where they may be of any.
    """

    split: str
    classes: tuple[int, ...]
    rows: np.ndarray
    dataset: str = ""
    version: str = ""
    domain: str = ""

    def identity(self) -> list[Any]:
        """What its episode's fingerprint is taken from."""
        place = {name: getattr(self, name) for name in ("dataset", "version", "domain")}
        own = {name: value for name, value in place.items() if value}
        return [self.split, self.classes, self.rows.tolist(), *([own] if own else [])]


class Vocabulary(NamedTuple):
    """What classes are composed of, where each is a pair of an attribute and an object.

    Attributes:
        attributes: All of the dataset, sorted, also those of classes that are not here.
        objects: Likewise.
        pairs: Of each class the positions of its attribute and of its object.
    """

    attributes: tuple[str, ...]
    objects: tuple[str, ...]
    pairs: tuple[tuple[int, int], ...]

    @classmethod
    def of(cls, pairs: Sequence[tuple[str, str]]) -> "Vocabulary":
        """The vocabulary of some pairs, which are all pairs of a dataset."""
        attributes = sorted({attribute for attribute, _ in pairs})
        objects = sorted({object_ for _, object_ in pairs})
        places = [(attributes.index(a), objects.index(o)) for a, o in pairs]
        return cls(tuple(attributes), tuple(objects), tuple(places))

    def names(self) -> tuple[str, ...]:
        """`attribute object` of each class."""
        return tuple(f"{self.attributes[a]} {self.objects[o]}" for a, o in self.pairs)


class Pool(NamedTuple):
    """Examples that may be learned from without labels.

    Attributes:
        classes: Labels that the examples may have.
        rows: Row ids.
    """

    classes: tuple[int, ...]
    rows: np.ndarray


@dataclass(frozen=True)
class Episode:
    """The rows of one draw.

    Attributes:
        classes: Labels that are learned, in the order of the logits.
        train: Row ids, in the order drawn.
        val: Row ids for selection; may be empty.
        evaluations: Test rows, each in the order in which they are asked about; `fit` never sees
            them, unless they are `unlabelled`.
        unlabelled: What the protocol hands to methods that learn without labels; None where it has
            nothing of its own for them.
        validation: What a setting is chosen on, where that is more than `val` among the learned
            classes: rows of classes that are not learned too. `fit` never sees it.
    """

    classes: tuple[int, ...]
    train: np.ndarray
    val: np.ndarray
    evaluations: tuple[Evaluation, ...]
    unlabelled: Pool | None = None
    validation: Evaluation | None = None

    @property
    def fingerprint(self) -> str:
        """Digest of every row id and class: equal where two trials saw the same images.

        The order of test rows is part of it, so a stream in another order is another episode.
        """
        said: dict[str, Any] = {
            "classes": self.classes,
            "train": self.train.tolist(),
            "val": self.val.tolist(),
            "test": [evaluation.identity() for evaluation in self.evaluations],
        }
        if self.unlabelled is not None:
            said["unlabelled"] = [self.unlabelled.classes, self.unlabelled.rows.tolist()]
        if self.validation is not None:
            said["validation"] = self.validation.identity()
        return digest(said)

    @property
    def rows(self) -> np.ndarray:
        """Row ids of the dataset that is learned, sorted; of those without labels the tested."""
        return np.unique(np.concatenate([self.train, self.chosen_on, self.tested()]))

    @property
    def chosen_on(self) -> np.ndarray:
        """Row ids that a method or a setting is chosen on."""
        if self.validation is None:
            return self.val
        return np.unique(np.concatenate([self.val, self.validation.rows]))

    def tested(self, dataset: str = "") -> np.ndarray:
        """Row ids of a dataset that are tested, sorted; the empty name is the learned one."""
        rows = [each.rows for each in self.evaluations if each.dataset == dataset]
        return np.unique(np.concatenate(rows)) if rows else np.empty(0, dtype=np.int64)


@runtime_checkable
class ImageSource(Protocol):
    """Where the images of a dataset come from, as features or as pixels.

    They are seen under a random view, or as the centre crop where `view` is None.
    """

    def features(self, rows: np.ndarray, view: View | None = None) -> Float[Tensor, "b d"]:
        """Frozen features, not normalised.

        Args:
            rows: (b,) row ids of the dataset.
            view: What they are seen under.
        """
        ...

    def pixels(self, rows: np.ndarray, view: View | None = None) -> Float[Tensor, "b 3 s s"]:
        """Preprocessed images.

        Args:
            rows: (b,) row ids of the dataset.
            view: What they are seen under.
        """
        ...


@runtime_checkable
class TextSource(Protocol):
    """Where the texts of a dataset come from, as they are or as sentence features."""

    def features(self, rows: np.ndarray, view: View | None = None) -> Float[Tensor, "b d"]:
        """Frozen sentence features, not normalised; texts have no views.

        Args:
            rows: (b,) row ids of the dataset.
            view: None; it is here so that methods ask images and texts alike.
        """
        ...

    def texts(self, rows: np.ndarray) -> list[str]:
        """The texts."""
        ...


class Batch:
    """Some images or texts and their labels, read when they are asked for.

    A method that only uses `features` never decodes an image. Features are small: the first
    part of a batch that asks for them has them read for the whole, once. Those that nobody keeps
    have to be encoded, so each part of a whole episode encodes its own.

    Attributes:
        rows: (b,) row ids.
        view: What the images are seen under; None is the centre crop.
        device: Where its tensors are.

    Args:
        source: Reads the rows; None where all that is asked for is there.
        rows: (b,) row ids.
        labels: Positions in the classes to choose from; None where nobody may know them.
        view: What the images are seen under; None is the centre crop.
        device: Where tensors go; that of the labels where there are some.
        part_of: A batch whose features hold these ones, and where.
        host_labels: The labels in memory of the host, where somebody has them there.
    """

    def __init__(
        self,
        source: ImageSource | TextSource | None,
        rows: np.ndarray,
        labels: Int[Tensor, "b"] | None,  # noqa: F821
        view: View | None = None,
        *,
        device: torch.device | None = None,
        part_of: "_Part | None" = None,
        host_labels: Int[Tensor, "b"] | None = None,  # noqa: F821
    ) -> None:
        self._source: Any = source
        self._part_of = part_of
        self._read_in_parts = False
        self._read_by_steps = False
        self._labels = labels
        self._host_labels = host_labels
        self._ahead: Future[Tensor] | None = None
        self.rows = rows
        self.view = view
        self.device = labels.device if labels is not None else device or torch.device("cpu")

    def __len__(self) -> int:
        return len(self.rows)

    @property
    def labels(self) -> Int[Tensor, "b"]:  # noqa: F821
        """Positions in the classes to choose from.

        Raises:
            ValueError: These images have no labels.
        """
        if self._labels is None:
            raise ValueError(
                "these examples have no labels: what is tested or learned from without labels has "
                "only what it shows. Labelled ones are in `FewShot.train`."
            )
        return self._labels

    @property
    def host_labels(self) -> Int[Tensor, "b"]:  # noqa: F821
        """The labels where the host has them, so that no step waits for a device.

        Those that somebody has made on a device are read, once.

        Raises:
            ValueError: These images have no labels.
        """
        if self._host_labels is None:
            self._host_labels = self.labels.cpu()
        return self._host_labels

    @property
    def kept(self) -> bool:
        """Whether its features are kept somewhere; else reading them runs the image tower."""
        return self.view is None or self.view.kept

    @cached_property
    def features(self) -> Float[Tensor, "b d"]:
        """Frozen features, not normalised."""
        if self._part_of is not None:
            whole, _, places = self._part_of
            if whole._part_of is None and self.kept:
                count_cached(len(places))
            return whole.features[places]
        if self._read_by_steps:
            count_cached(len(self))
        return onto(self._source.features(self.rows, self.view), self.device)

    @cached_property
    def pixels(self) -> Float[Tensor, "b 3 s s"]:
        """Preprocessed images."""
        ahead, self._ahead = self._ahead, None
        read = self.read_pixels() if ahead is None else ahead.result()
        return onto(read, self.device)

    @property
    def has_read_pixels(self) -> bool:
        """Whether somebody has asked for the pixels."""
        return "pixels" in vars(self)

    def read_pixels(self) -> Float[Tensor, "b 3 s s"]:
        """Preprocessed images as the source has them, on the host."""
        return self._source.pixels(self.rows, self.view)

    def held(self) -> dict[str, Tensor]:
        """Its labels, and the features and pixels that were read: see engine/graphs.py."""
        there = {name: vars(self)[name] for name in ("features", "pixels") if name in vars(self)}
        return there if self._labels is None else {"labels": self._labels, **there}

    def reading(self, names: Sequence[str]) -> dict[str, Tensor]:
        """Tensors of it by the names that `held` gives them."""
        return {name: getattr(self, name) for name in names}

    def holding(self, tensors: Mapping[str, Tensor]) -> "Batch":
        """As many examples that have these tensors, and whose source has no others.

        Args:
            tensors: By the names that `held` gives them.
        """
        other = Batch(None, self.rows, tensors.get("labels"), self.view, device=self.device)
        vars(other).update({name: x for name, x in tensors.items() if name != "labels"})
        return other

    def read_ahead(self, reader: Executor) -> None:
        """Lets another thread decode the pixels, for whoever asks for them next."""
        self._ahead = reader.submit(self.read_pixels)

    @cached_property
    def texts(self) -> list[str]:
        """The texts as the dataset has them, read once for a whole and its parts."""
        if self._part_of is not None:
            return [self._part_of.whole.texts[place] for place in self._part_of.rows.tolist()]
        return self._source.texts(self.rows)

    def select(self, index: Int[Tensor, "m"]) -> "Batch":  # noqa: F821
        """The images at some positions.

        Positions on the host are copied to the device and nobody waits for that; those on the
        device are read, and everybody does.
        """
        index, places = index.cpu(), onto(index, self.device)
        rows = self.rows[index.numpy()]
        labels = None if self._labels is None else self._labels[places]
        known = None if self._host_labels is None else self._host_labels[index]
        part_of = None if self._read_in_parts else _Part(self, index, places)
        return Batch(
            self._source,
            rows,
            labels,
            self.view,
            device=self.device,
            part_of=part_of,
            host_labels=known,
        )

    def labelled(self, labels: Int[Tensor, "b"]) -> "Batch":  # noqa: F821
        """The same images with labels that somebody made for them."""
        other = Batch(self._source, self.rows, labels, self.view, part_of=self._part_of)
        other._read_in_parts, other._read_by_steps = self._read_in_parts, self._read_by_steps
        return other

    def beside(self, other: "Batch") -> "Batch":
        """These images and behind them those of another batch, with the labels of both.

        Raises:
            ValueError: The other one is of another source, or under another view.
        """
        if other._source is not self._source or other.view != self.view:
            raise ValueError("batches of two sources or under two views are no one batch.")
        rows = np.concatenate([self.rows, other.rows])
        return Batch(self._source, rows, torch.cat([self.labels, other.labels]), self.view)

    def under(self, view: View | None) -> "Batch":
        """The same images under another view; this very batch where it is the same."""
        if view == self.view:
            return self
        return self._like(self._source, view)

    def through(self, source: ImageSource | TextSource) -> "Batch":
        """The same images under the same view, as another source reads them."""
        return self._like(source, self.view)

    def _like(self, source: ImageSource | TextSource, view: View | None) -> "Batch":
        other = Batch(
            source,
            self.rows,
            self._labels,
            view,
            device=self.device,
            host_labels=self._host_labels,
        )
        other._read_in_parts = not other.kept
        other._read_by_steps = other.kept and self._part_of is not None
        return other


class _Part(NamedTuple):
    """Where the examples of a batch stand in another.

    Attributes:
        whole: The other one.
        rows: (b,) positions, on the host.
        places: The same on the device of the batch.
    """

    whole: Batch
    rows: Tensor
    places: Tensor


@dataclass(frozen=True)
class Classes:
    """Class names and the sentences that they are put into.

    Attributes:
        names: As a person would write them, in the order of the logits.
        templates: Hand-written prompts of the dataset's card: of images each with one `{}`, of
            texts with `{text}` and `{answer}`.
        ensemble: Templates to average over where a method does; may be empty.
        descriptions: Sentences about each class, in the order of the names, from outside of the
            dataset; empty where there are none, else at least one a class.
        verbalizer: A word for each class, with which a language model answers; empty for the names.
        tasks: Which of several datasets that are learned at once each class is of, from 0; empty
            where there is one.
        vocabulary: What the classes are composed of, where they are pairs; None elsewhere.
    """

    names: tuple[str, ...]
    templates: tuple[str, ...]
    ensemble: tuple[str, ...] = ()
    descriptions: tuple[tuple[str, ...], ...] = ()
    verbalizer: tuple[str, ...] = ()
    tasks: tuple[int, ...] = ()
    vocabulary: Vocabulary | None = None

    def __len__(self) -> int:
        return len(self.names)

    @property
    def words(self) -> tuple[str, ...]:
        """What a language model answers with, a word or a few for each class."""
        return self.verbalizer or self.names

    def prompts(self, template: str) -> list[str]:
        """One prompt a class."""
        return [template.replace("{}", name) for name in self.names]

    def subset(self, positions: Sequence[int]) -> "Classes":
        """Some of the classes, in the order given."""
        names = tuple(self.names[i] for i in positions)
        described = tuple(self.descriptions[i] for i in positions) if self.descriptions else ()
        words = tuple(self.verbalizer[i] for i in positions) if self.verbalizer else ()
        tasks = tuple(self.tasks[i] for i in positions) if self.tasks else ()
        composed = self.vocabulary
        if composed is not None:
            composed = composed._replace(pairs=tuple(composed.pairs[i] for i in positions))
        return Classes(names, self.templates, self.ensemble, described, words, tasks, composed)


@dataclass(frozen=True)
class Unlabelled:
    """Images without their labels, which nobody can read from here.

    They are of the train split; in a transductive protocol they are those that are tested.

    Attributes:
        images: The centre crops.
        classes: What they may show: more than the learned classes where an episode has new ones
            and its setting hands over their names.
    """

    images: Batch
    classes: Classes


@dataclass(frozen=True)
class FewShot:
    """What `fit` is given: labelled train and validation images, and no test row.

    A transductive protocol alone has the test images among what is `unlabelled`.

    Attributes:
        n_shots: Labelled examples a class that were asked for; -1 for all of the train split.
        train: The centre crops. Labels are positions in the learned classes. Empty where no label
            may be seen.
        val: As `train`; may be empty.
        views: How training images are seen in each epoch.
        seed: Of the trial; fresh views depend on it.
        unlabelled: For methods whose card asks for it, else None.
        domains: (n,) domain of each training image, likewise.
    """

    n_shots: int
    train: Batch
    val: Batch
    views: ViewPolicy = CENTRE
    seed: int = 0
    unlabelled: Unlabelled | None = None
    domains: Int[Tensor, "n"] | None = None  # noqa: F821

    def without_labels(self) -> "FewShot":
        """The same with the unlabelled images in the place of the training images.

        Raises:
            ValueError: There are none.
        """
        if self.unlabelled is None:
            raise ValueError(
                "there are no unlabelled images: they are handed to methods whose card says "
                "`unlabelled=True`."
            )
        return replace(self, train=self.unlabelled.images)

    def in_epoch(self, epoch: int) -> Batch:
        """The training images as an epoch shows them, from 0."""
        return self.train.under(self.views.view(epoch, seed=self.seed))

    def shown(self, epochs: int) -> list[Batch]:
        """The training images under each different view of the first epochs."""
        return [self.train.under(view) for view in self.views.shown(epochs, seed=self.seed)]


def batch_of(
    source: ImageSource | TextSource,
    rows: np.ndarray,
    labels: np.ndarray,
    classes: Sequence[int],
    device: torch.device,
) -> Batch:
    """A batch of `rows` whose labels are positions in `classes`.

    Args:
        source: Where images or texts are read.
        rows: Row ids.
        labels: Label of every row of the dataset, indexed by row id.
        classes: Labels to choose from.
        device: Where the tensors go.
    """
    position = {label: index for index, label in enumerate(classes)}
    indices = [position[int(label)] for label in labels[rows]]
    here = torch.tensor(indices, dtype=torch.long)
    return Batch(source, rows, onto(here, device), host_labels=here)
