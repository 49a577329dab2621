"""How many labelled images a template classifies right: all that a black-box search is told."""

from collections.abc import Sequence

import torch
from torch import Tensor

from operators.backbones import DualEncoder, unit
from operators.episodes.episode import Batch, Classes
from operators.shapes import Float, Int

PROMPTS = 4096  # whose features are held at a time


@torch.no_grad()
def template_vectors(
    backbone: DualEncoder, classes: Classes, templates: Sequence[str]
) -> Float[Tensor, "t k d"]:
    """Unit-norm class vectors of t templates that a search may find, however long they are.

    Args:
        backbone: Encodes the class prompts; what it cannot read of a long one is left out.
        classes: The k classes.
        templates: Each with one `{}`.
    """
    prompts = [prompt for template in templates for prompt in classes.prompts(template)]
    texts = unit(backbone.whole_text_features(prompts, cut=True))
    return texts.view(len(templates), len(classes), -1)


@torch.no_grad()
def right_answers(
    backbone: DualEncoder, classes: Classes, templates: Sequence[str], batch: Batch
) -> Int[Tensor, "t"]:  # noqa: F821
    """How many images each of t templates classifies right.

    Args:
        backbone: As for `template_vectors`.
        classes: The k classes.
        templates: Each with one `{}`.
        batch: b labelled images, of which the features are read.
    """
    images, labels = unit(batch.features), batch.labels
    right = []
    at_once = max(1, PROMPTS // len(classes))
    for start in range(0, len(templates), at_once):
        some = templates[start : start + at_once]
        scores = images @ template_vectors(backbone, classes, some).mT  # (t, b, k)
        right.append((scores.argmax(dim=2) == labels).sum(dim=1))
    return torch.cat(right)
