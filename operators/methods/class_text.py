"""Block T, the class-text bank: class vectors from sentences about the classes."""

from collections.abc import Sequence

from torch import Tensor

from operators.backbones import Backbone, unit
from operators.episode import Classes
from operators.shapes import Float


def class_vectors(
    backbone: Backbone, classes: Classes, templates: Sequence[str]
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


def mean_class_features(
    backbone: Backbone, classes: Classes, templates: Sequence[str]
) -> Float[Tensor, "k d"]:
    """Mean over templates of the features of each class, which keep their length.

    Args:
        backbone: Encodes the sentences.
        classes: The k classes.
        templates: Sentences with one `{}` each. One with a longer feature counts for more,
            which is how PromptSRC's code averages.
    """
    prompts = [prompt for template in templates for prompt in classes.prompts(template)]
    features = backbone.whole_text_features(prompts)
    return features.view(len(templates), len(classes), -1).mean(dim=0)
