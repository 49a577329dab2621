"""Block P, a learned context: the words of the class prompts, at the input of the text tower."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from operators.backbones import DualEncoder
from operators.blocks.linear_maps import drawn_linear
from operators.blocks.prompt_tokens import (
    ClassPosition,
    prompt_tokens,
    random_context,
    started_prompts,
    worded_context,
)
from operators.episodes.episode import Batch
from operators.shapes import Float


class LearnedContext(nn.Module):
    """The prompts `[v_1] ... [v_m] <class name>.`, where v is learned.

    Dimensions: k classes, m context tokens, w width of a token embedding, d of a feature.

    Args:
        backbone: Frozen encoders.
        names: The k class names.
        generator: Draws a random start.
        n_context: m; the length of `words` where they are given.
        words: What v starts from; empty for N(0, std^2).
        std: Standard deviation of a random start.
        position: Where the class name stands.
        per_class: Whether each class has a v of its own.
        ending: What follows the prompts.

    Attributes:
        layout: The prompts, with places for v.
        context: v, one or k of them.

    Source: Zhou et al., "Learning to Prompt for Vision-Language Models", IJCV 2022, section 3.2.
    """

    def __init__(
        self,
        backbone: DualEncoder,
        names: Sequence[str],
        *,
        generator: torch.Generator,
        n_context: int,
        words: str,
        std: float,
        position: ClassPosition = "end",
        per_class: bool = False,
        ending: str = ".",
    ) -> None:
        super().__init__()
        self.backbone = backbone
        started = worded_context(backbone, words) if words else None
        m = n_context if started is None else started.shape[1]
        self.layout = prompt_tokens(backbone, names, n_context=m, position=position, ending=ending)
        copies = len(names) if per_class else 1
        if started is None:
            shape = (copies, m, backbone.token_width)
            context = random_context(shape, std, generator, like=self.layout.embeddings)
        else:
            context = started.expand(copies, -1, -1).clone()
        self.context = nn.Parameter(context)

    def class_features(
        self, context: Float[Tensor, "#k m w"] | None = None
    ) -> Float[Tensor, "k d"]:
        """The features of the k prompts, of any length; of v, or of another context."""
        return self.backbone.encode_prompts(
            self.layout, self.context if context is None else context
        )

    def image_features(self, batch: Batch) -> Float[Tensor, "b d"]:
        """The images as the frozen tower reads them, of any length."""
        return batch.features


class ConditionalContext(nn.Module):
    """The prompts `[v_1 + h(x)] ... [v_m + h(x)] <class name>.`, where v and h are learned.

    h is a network of two layers, of a feature x that each image, or each pair of image and class,
    has of its own.

    Dimensions: k classes, m context tokens, w width of a token embedding, d of a feature.

    Args:
        backbone: Frozen encoders.
        names: The k class names.
        generator: Draws v where it starts at random, then h.
        n_context: m.
        words: What the first m tokens of the prompts start from; empty for N(0, std^2).
        std: Standard deviation of a random start.
        reduction: The inner layer of h is d / reduction wide, at least 1.

    Attributes:
        layout: The prompts, with places for the m tokens.
        context: v.

    Source: Zhou et al., "Conditional Prompt Learning for Vision-Language Models", CVPR 2022,
    section 3.2.
    """

    def __init__(
        self,
        backbone: DualEncoder,
        names: Sequence[str],
        *,
        generator: torch.Generator,
        n_context: int,
        words: str,
        std: float,
        reduction: int,
    ) -> None:
        super().__init__()
        self.backbone = backbone
        self.layout, context = started_prompts(
            backbone, names, words=words, n_context=n_context, std=std, generator=generator
        )
        self.context = nn.Parameter(context.clone())
        d, w = backbone.feature_width, backbone.token_width
        inner = max(1, d // reduction)
        self.narrow = drawn_linear(d, inner, generator, backbone.device)
        self.widen = drawn_linear(inner, w, generator, backbone.device)

    def contexts(self, features: Float[Tensor, "*b d"]) -> Float[Tensor, "*b m w"]:
        """V + h(x) of each feature x, which has unit norm."""
        shift = self.widen(F.relu(self.narrow(features)))  # one for all m tokens of a context
        return self.context + shift[..., None, :]

    def class_features(self, features: Float[Tensor, "b ... d"]) -> Float[Tensor, "b k d"]:
        """The features of the k prompts, of any length, that each image has of its own.

        Args:
            features: x of each image and class, or of each image for all classes.
        """
        return self.backbone.encode_prompts(self.layout, self.contexts(features))
