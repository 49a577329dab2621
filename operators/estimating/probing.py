"""What a method takes, in passes through the towers: found by counting a few small fits.

A step works on all classes that are learned, on the images of a batch, or on every pair of them.
So the operations of a step are k + a C + b B + c C B, and four fits with two numbers of classes and
two batches give the factors exactly, whatever the method does inside. The same holds for what it
does once, before its first step, and for what it does to classify.

Factors are in units of one plain pass: a text of full length through the text tower, or an image
through the image tower. In these units they carry over from small towers to large ones as far as
the shares of attention and of short texts are alike, which is what an estimate needs.
"""

from collections.abc import Mapping, Sequence

import numpy as np
import torch
from torch import Tensor

from operators.backbones import DualEncoder
from operators.contract.case import Case
from operators.contract.drawn import DrawnPictures, drawn_pictures
from operators.engine.accounting import counting
from operators.episodes.episode import Classes, Vocabulary
from operators.episodes.views import View
from operators.estimating.towers import TowerOperations, operations_in
from operators.estimating.work import Passes, Work
from operators.methods import Method
from operators.methods.hyperparameters import defaults

CLASSES, BATCHES = (4, 8), (8, 16)  # of the probes: two points of each line
_NOUNS = ("cat", "sailing boat", "dog", "oak tree", "house", "fire engine", "bird", "street lamp")
_ATTRIBUTES = ("old", "red")
_NAMES = Classes(
    _NOUNS,
    ("a photo of a {}.",),
    descriptions=tuple((f"a {n} has a shape of its own.", f"a photo of a {n}.") for n in _NOUNS),
    vocabulary=Vocabulary.of([(a, o) for a in _ATTRIBUTES for o in _NOUNS[::2]]),
)


def probe(name: str, method: type[Method], backbone: DualEncoder) -> Work:
    """Counts a method at work on drawn images.

    Args:
        name: Id of the method.
        method: Its class.
        backbone: A small one that has all that the method needs, and counts its operations.
    """
    towers = operations_in(backbone)
    case = Case(name, method, backbone)
    counts = {(c, b): _counted(case, c, b) for c in CLASSES for b in BATCHES}
    once, step, answer = (
        _factors({place: found[part] for place, found in counts.items()}, towers)
        for part in range(3)
    )
    return Work(once, step, answer)


def _counted(case: Case, classes: int, batch: int) -> tuple[float, float, float]:
    """Operations once, in a step, and of an answer about as many images as a batch has.

    Args:
        case: The method.
        classes: That are learned.
        batch: Images of a step, and all that are learned from.
    """
    names = _NAMES.subset(range(classes))
    labels = [label % classes for label in range(batch)]
    source = _Pictures(case.backbone, [*labels, *range(classes)])
    published = defaults(case.method)  # not shortened, as promises are looked at
    done, steps, fitted = [], [], None
    for epochs in (1, 2):
        shots = case.shots(labels, tuple(range(classes)), source=source)
        with torch.random.fork_rng(devices=[]), counting() as work:
            torch.manual_seed(0)
            changes = {**published, "epochs": epochs, "batch_size": batch}
            fitted = case.fit(shots, names, **changes)
        done.append(work.done)
        steps.append(fitted.report.steps)
    more = steps[1] - steps[0]
    step = (done[1] - done[0]) / more if more else 0.0
    with counting() as work:
        fitted.method.logits(case.shots(labels, (), source=source).train)
    return done[0] - step * steps[0], step, float(work.done)


def _factors(counts: Mapping[tuple[int, int], float], unit: TowerOperations) -> Passes:
    """The factors of k + a C + b B + c C B in passes; k is shared out among the classes.

    Args:
        counts: Operations by number of classes and of images.
        unit: What a pass takes.
    """
    (few, many), (small, large) = CLASSES, BATCHES
    more_classes, more_images = many - few, large - small
    cross = counts[many, large] - counts[many, small] - counts[few, large] + counts[few, small]
    pairs = cross / more_classes / more_images
    texts = (counts[many, small] - counts[few, small]) / more_classes - pairs * small
    images = (counts[few, large] - counts[few, small]) / more_images - pairs * few
    rest = counts[few, small] - texts * few - images * small - pairs * few * small
    return Passes((texts + rest / many) / unit.text, images / unit.image, pairs / unit.text)


class _Pictures(DrawnPictures):
    """Drawn pictures whose features are kept; images that trials encode are counted elsewhere."""

    def __init__(self, backbone: DualEncoder, labels: Sequence[int]) -> None:
        super().__init__(drawn_pictures(backbone, labels).values, backbone)
        with torch.no_grad():
            self.kept = backbone.encode_images(self.values)

    def features(self, rows: np.ndarray, view: View | None = None) -> Tensor:
        """See `ImageSource.features`."""
        return self.kept[rows]
