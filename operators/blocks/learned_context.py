"""Block P, a learned context: the words of the class prompts, at the input of the text tower."""

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from operators.backbones import DualEncoder, TextPrompts
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


class SharedLayout(NamedTuple):
    """The prompts of some contexts of a set, which differ in their learned tokens alone.

    Attributes:
        prompts: Of the k classes, with places for m tokens.
        places: Which contexts of the set they are of.
    """

    prompts: TextPrompts
    places: tuple[int, ...]


class LearnedContexts(nn.Module):
    """A set of p learned contexts, each of which gives all classes a prompt.

    Those that leave the class name at the same place share a pass through the text tower.

    Dimensions: p contexts, k classes, m tokens a context, w width of a token embedding, d of a
    feature.

    Args:
        backbone: Frozen encoders.
        names: The k class names.
        generator: Draws a random start.
        count: p.
        n_context: m.
        std: Standard deviation of a random start.
        positions: Where the class name stands, of one context after the other, again and again.
        words: A phrase for each of the p contexts, whose first m tokens it starts from and whose
            others stay as they are before the class name; none for N(0, std^2).

    Attributes:
        layouts: The prompts, each with the contexts that it is of.
        context: (p, m, w).

    Source: Lu et al., "Prompt Distribution Learning", CVPR 2022; Chen et al., "PLOT: Prompt
    Learning with Optimal Transport for Vision-Language Models", ICLR 2023.
    """

    def __init__(
        self,
        backbone: DualEncoder,
        names: Sequence[str],
        *,
        generator: torch.Generator,
        count: int,
        n_context: int,
        std: float,
        positions: Sequence[ClassPosition] = ("end",),
        words: Sequence[str] = (),
    ) -> None:
        super().__init__()
        self.backbone = backbone
        started: list[Tensor] = []
        alike: dict[tuple[str | int, ...], list[int]] = {}
        prompts: dict[tuple[str | int, ...], TextPrompts] = {}
        for place in range(count):
            position = positions[place % len(positions)]
            rest: tuple[str | int, ...] = (position,)  # and what stays of a phrase, by its tokens
            if words:
                laid, start = started_prompts(
                    backbone,
                    names,
                    words=words[place],
                    n_context=n_context,
                    std=std,
                    generator=generator,
                )
                started.append(start)
                ids, end = backbone.tokenize([words[place]])
                rest += tuple(ids[0, backbone.text_start + n_context : int(end[0])].tolist())
                prompts.setdefault(rest, laid)
            elif rest not in prompts:
                prompts[rest] = prompt_tokens(
                    backbone, names, n_context=n_context, position=position
                )
            alike.setdefault(rest, []).append(place)
        self.layouts = tuple(SharedLayout(prompts[rest], tuple(alike[rest])) for rest in alike)
        if started:
            context = torch.stack(started)
        else:
            shape = (count, n_context, backbone.token_width)
            like = self.layouts[0].prompts.embeddings
            context = random_context(shape, std, generator, like=like)
        self.context = nn.Parameter(context)

    def class_features(self, chosen: Sequence[int] | None = None) -> Float[Tensor, "p k d"]:
        """The features of the k prompts of each context, of any length.

        Args:
            chosen: Contexts that are asked for, in the order of the result; all in theirs if None.
        """
        wanted = range(len(self.context)) if chosen is None else chosen
        features: list[Tensor] = []
        order: list[int] = []
        for layout in self.layouts:
            places = [place for place in wanted if place in layout.places]
            if not places:
                continue
            order += places
            every = places == list(range(len(self.context)))
            contexts = self.context if every else self.context[places]
            features.append(
                self.backbone.encode_prompts(
                    layout.prompts, contexts[:, None], share=len(self.layouts)
                )
            )
        found = features[0] if len(features) == 1 else torch.cat(features)
        if order == list(wanted):
            return found
        return found[[order.index(place) for place in wanted]]


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
