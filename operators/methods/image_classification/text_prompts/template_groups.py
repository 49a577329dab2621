"""Block T, the class-text bank in groups: templates that say the same of a picture."""

import re
from collections.abc import Sequence

import torch
from torch import Tensor

from operators.backbones import DualEncoder, TextPrompts
from operators.blocks.class_text import class_vectors
from operators.blocks.prompt_tokens import PLACEHOLDER
from operators.episodes.episode import Classes
from operators.shapes import Float

ARTICLES = ("a", "an", "the")
ALIKE = (  # templates with any of these words are of one group
    ("low resolution", "pixelated", "jpeg corrupted", "blurry", "bad"),
    ("art", "rendering", "rendition"),
)


def template_groups(templates: Sequence[str]) -> tuple[tuple[str, ...], ...]:
    """Groups templates that differ in their articles alone, or that speak of one thing.

    These things are low quality and art, see ALIKE. On the lists of MoCoOp's authors this gives
    their own groups, but for Cars and Food, where they put three adjectives into one.

    Args:
        templates: With one `{}` each; a repeated one counts once.

    Returns:
        Groups in the order of their first template, and templates in theirs.

    Source: Du et al., "Mixture of Prompt Learning for Vision Language Models", 2024; their code
    lists the groups of each dataset.
    """
    groups: dict[str, list[str]] = {}
    for template in dict.fromkeys(templates):
        groups.setdefault(_subject(template), []).append(template)
    return tuple(map(tuple, groups.values()))


def _subject(template: str) -> str:
    words = [w for w in re.findall(r"[\w{}-]+", template.lower()) if w not in ARTICLES]
    sentence = f" {' '.join(words)} "
    for alike in ALIKE:
        if any(f" {word} " in sentence for word in alike):
            return alike[0]
    return sentence


def group_vectors(
    backbone: DualEncoder, classes: Classes, groups: Sequence[Sequence[str]]
) -> Float[Tensor, "g k d"]:
    """Unit-norm class vectors of each group: means of the unit-norm features of its templates.

    Args:
        backbone: Its text tower.
        classes: The k classes.
        groups: g lists of templates, one `{}` in each.
    """
    return torch.stack([class_vectors(backbone, classes, group) for group in groups])


@torch.no_grad()
def learned_template(
    backbone: DualEncoder, names: Sequence[str], template: str
) -> tuple[TextPrompts, Float[Tensor, "m w"]]:
    """Lays out a template whose words are learned, all but the name, and what they start from.

    Args:
        backbone: Gives tokens and embeddings.
        names: Class names.
        template: With one `{}`. Its m tokens are those before the name, then those after it; full
            stops are left out.

    Raises:
        ValueError: A prompt is longer than the text tower reads.

    Source: Du et al., "Mixture of Prompt Learning for Vision Language Models", 2024; the full
    stops are left out in the authors' code alone.
    """
    words = template.replace(".", "")
    head = words.partition("{}")[0].strip()
    tokens = backbone.tokenize([words.replace("{}", name) for name in (PLACEHOLDER, *names)])
    start, end = backbone.text_start, tokens.end[:, None]
    before = int(backbone.tokenize([head]).end[0]) - start if head else 0
    after = int(tokens.end[0]) - start - before - 1  # of a name of one token
    index = torch.arange(before + after, device=end.device)
    slots = torch.where(index < before, start + index, end - before - after + index)
    embeddings = backbone.embed(tokens.ids)
    prompts = TextPrompts(tokens.ids[1:], embeddings[1:], tokens.end[1:], slots[1:])
    return prompts, embeddings[0, slots[0]].clone()
