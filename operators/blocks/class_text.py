"""Block T, the class-text bank: class vectors from sentences about the classes."""

from collections.abc import Sequence
from typing import Literal

import torch
from torch import Tensor

from operators.backbones import DualEncoder, unit
from operators.blocks.imagenet_templates import SELECTED_7
from operators.episodes.episode import Classes
from operators.shapes import Float

ChosenTemplates = Literal["card", "imagenet", "imagenet+card"]


def templates_of(classes: Classes, chosen: ChosenTemplates) -> tuple[str, ...]:
    """Sentences with a place for a class name.

    Args:
        classes: With the templates of the dataset's card.
        chosen: Those, the seven that were selected on ImageNet, or both.
    """
    if chosen == "card":
        return classes.templates
    return (*SELECTED_7, *(classes.templates if chosen == "imagenet+card" else ()))


def class_vectors(
    backbone: DualEncoder, classes: Classes, templates: Sequence[str]
) -> Float[Tensor, "k d"]:
    """Unit-norm mean over templates of the unit-norm features of each class.

    Args:
        backbone: Encodes the sentences.
        classes: The k classes.
        templates: Sentences with one `{}` each.

    Source: Radford et al. 2021, section 3.1.4 (prompt ensembling in feature space).
    """
    prompts = [prompt for template in templates for prompt in classes.prompts(template)]
    features = backbone.text_features(prompts).view(len(templates), len(classes), -1)
    return unit(features.mean(dim=0))


def sentences_of(classes: Classes, templates: Sequence[str] = ()) -> list[list[str]]:
    """The sentences about each class, and the prompts that templates make of its name.

    Args:
        classes: With descriptions.
        templates: Sentences with one `{}` each; each counts as one sentence more.
    """
    told = [list(own) for own in classes.descriptions]
    for template in templates:
        for own, prompt in zip(told, classes.prompts(template), strict=True):
            own.append(prompt)
    return told


def mean_vectors(
    backbone: DualEncoder, classes: Classes, templates: Sequence[str]
) -> Float[Tensor, "k d"]:
    """Mean over templates of the features of each class as the tower gives them, of any length.

    Args:
        backbone: Encodes the sentences.
        classes: The k classes.
        templates: Sentences with one `{}` each.

    Source: TaskRes's `_get_base_text_features`, which CLAP has taken over.
    """
    prompts = map(classes.prompts, templates)
    return plain_sentence_vectors(backbone, list(zip(*prompts, strict=True)))


def sentence_vectors(
    backbone: DualEncoder, sentences: Sequence[Sequence[str]]
) -> Float[Tensor, "k d"]:
    """Unit-norm mean of the unit-norm features of each class's own sentences.

    Args:
        backbone: Encodes the sentences; what it cannot read of a long one is left out.
        sentences: At least one for each of the k classes.

    Source: Pratt et al., "What does a platypus look like?", ICCV 2023, section 3; CuPL's code,
    `classify_imagenet.py`.
    """
    every = [sentence for own in sentences for sentence in own]
    return unit(_means(unit(backbone.whole_text_features(every, cut=True)), sentences))


def plain_sentence_vectors(
    backbone: DualEncoder, sentences: Sequence[Sequence[str]]
) -> Float[Tensor, "k d"]:
    """Mean of the features of each class's own sentences, as the tower gives them.

    A sentence with a longer feature counts more, and the mean keeps its length.

    Args:
        backbone: As in `sentence_vectors`.
        sentences: As in `sentence_vectors`.

    Source: TFUP's code, utils.py, `get_clip_weights`.
    """
    every = [sentence for own in sentences for sentence in own]
    return _means(backbone.whole_text_features(every, cut=True), sentences)


def _means(
    features: Float[Tensor, "n d"], sentences: Sequence[Sequence[str]]
) -> Float[Tensor, "k d"]:
    parts = features.split([len(own) for own in sentences])
    return torch.stack([part.mean(dim=0) for part in parts])


def refuse_no_place(template: str) -> None:
    """Raises where a template has no place for the class name, or several.

    Args:
        template: Empty where that of the dataset's card is meant.

    Raises:
        ValueError: Quotes it.
    """
    if template and template.count("{}") != 1:
        raise ValueError(
            f"template {template!r} has no single {{}} for the class name: write one, such as "
            "'a photo of a {}.', or '' for the template of the dataset's card."
        )
