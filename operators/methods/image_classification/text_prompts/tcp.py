"""TCP: a network turns what a class's hand-written prompt says into tokens of a deep text layer.

Source: Yao et al., "TCP: Textual-based Class-aware Prompt Tuning for Visual-Language Model",
CVPR 2024, https://arxiv.org/abs/2311.18231, section 3. As in the authors' code the context is
random, the class-aware tokens replace what the layers before have made at its places, the inner
layer has CLIP's activation x sigmoid(1.702 x), and the distance is that of KgCoOp. Adam's eps of
1e-3, which their README asks for against NaN in float16, is part of the published settings and
kept in float32.
"""

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from operators.backbones import DeepPrompts, DualEncoder
from operators.blocks.anchor_loss import cosine_distance
from operators.blocks.class_text import refuse_no_place
from operators.blocks.linear_maps import drawn_linear
from operators.blocks.prompt_tokens import (
    PLACEHOLDER,
    first_learned,
    idle_start,
    random_context,
    refuse_other_length,
    worded_context,
)
from operators.bounds import Deviation, Layers, Reduction, Tokens, Weight
from operators.episodes.episode import Batch, Classes
from operators.methods.base import MethodCard
from operators.methods.image_classification.base import StaticClassifier
from operators.shapes import Float
from operators.tuning import Tuning

WORDS = "a photo of a "  # of a template; the context takes their place


class TCP(StaticClassifier):
    """Tunes a context v and a network g by cross-entropy + weight * mean of 1 - cos(t_i, a_i).

    t_i is the feature of the prompt `[v_1] ... [v_m] <class i>.` whose places of v hold g(a_i),
    m tokens, from a deep layer on; a_i is the unit-norm feature of the hand-written prompt.

    Dimensions: k classes, m context tokens, w width of a token, d width of a feature.

    Args:
        backbone: Frozen image and text encoders.
        classes: The k classes, with the card's template.
        generator: Draws a random context, then the network.
        n_context: m; the length of `context_init` where that is given.
        context_init: Words to start from; empty for N(0, init_std^2).
        init_std: Standard deviation of a random start.
        template: What the context stands before, with one `{}` for the class name; empty for the
            template of the card, without its words before the name, or without "a photo of a"
            where it begins with that.
        class_layer: Text layer, from 0, whose input has the class-aware tokens; the last one of a
            tower that has fewer.
        reduction: The network's inner layer is d / reduction wide, at least 1.
        weight: Of the distance to the hand-written prompts.
    """

    card = MethodCard(
        title="TCP (Textual-based Class-aware Prompt tuning)",
        family="text_prompts",
        tunes="m context vectors at the input of the text tower, and a network from the feature of "
        "a hand-written prompt to m tokens of a deep text layer",
        source="Yao et al., CVPR 2024, https://arxiv.org/abs/2311.18231",
        cost="a step takes all class prompts through the text tower and back",
        views="fresh",
        views_source="TCP code, configs/trainers/TCP: random_resized_crop and random_flip",
        departures=(
            "context and network in float32, not float16",
            "the hand-written prompt is that of the dataset's card, which differs on DTD, FGVC "
            "Aircraft and Food-101; the template set tcp has theirs",
            "what follows the context is read off the card, which is what their list has but on "
            "Stanford Cars, where it is the recipe",
            "layer 8 means the last one of text towers that have fewer",
        ),
    )
    tuning = Tuning(optimizer="adam", lr=0.002, eps=1e-3, epochs=50, batch_size=32)

    def __init__(
        self,
        backbone: DualEncoder,
        classes: Classes,
        *,
        generator: torch.Generator,
        n_context: Tokens = 4,
        context_init: str = "",
        init_std: Deviation = 0.02,
        template: str = "",
        class_layer: Layers = 8,
        reduction: Reduction = 4,
        weight: Weight = 8.0,
    ) -> None:
        super().__init__(backbone, classes)
        texts = classes.prompts(template or wordless(classes.templates[0]))
        w, d = backbone.token_width, backbone.feature_width
        if context_init:
            context = worded_context(backbone, context_init)
        else:
            like = torch.empty(0, device=backbone.device)
            context = random_context((1, n_context, w), init_std, generator, like=like)
        self.context = nn.Parameter(context)
        m = context.shape[1]
        head = f"{PLACEHOLDER} " * m
        self.layout = first_learned(backbone, [head + text for text in texts], m)
        inner = max(1, d // reduction)
        self.narrow = drawn_linear(d, inner, generator, backbone.device)
        self.widen = drawn_linear(inner, m * w, generator, backbone.device)
        self.class_layer = min(class_layer, backbone.packed_text.tower.shape.layers - 1)
        self.weight = weight

    @classmethod
    def recipe(cls, *, protocol: str, shots: int, dataset: str) -> Mapping[str, Any]:
        """Half of the epochs on the two largest sets; what follows the context on one.

        See `Method.recipe`.
        """
        if dataset in ("imagenet", "sun397"):
            return {"epochs": 25}
        # A target has other classes, which are no cars.
        if dataset == "stanford_cars" and protocol in ("few_shot", "base_to_new"):
            return {"template": "{}, a type of car"}
        return {}

    @classmethod
    def idle(cls, hyperparameters: Mapping[str, Any]) -> Mapping[str, str]:
        """See `Method.idle`."""
        return idle_start(hyperparameters)

    @classmethod
    def check(cls, hyperparameters: Mapping[str, Any], *, protocol: str) -> None:
        """See `Method.check`."""
        refuse_other_length(hyperparameters["n_context"], hyperparameters["context_init"])
        refuse_no_place(hyperparameters["template"])

    def class_tokens(self) -> Float[Tensor, "k m w"]:
        """The tokens that the network makes of the hand-written prompts."""
        hidden = self.narrow(self.hand_written)
        tokens = self.widen(hidden * torch.sigmoid(1.702 * hidden))
        return tokens.view(len(tokens), *self.context.shape[1:])

    def class_features(self) -> Float[Tensor, "k d"]:
        """The class vectors that the current context and network give."""
        deep = DeepPrompts(
            self.class_tokens()[None, None],
            start=self.backbone.text_start,
            first=self.class_layer,
        )
        return self.backbone.encode_prompts(self.layout, self.context, deep)

    def loss(self, batch: Batch) -> Float[Tensor, ""]:
        """Cross-entropy plus the weighted distance to the hand-written prompts."""
        features = self.weights()
        cross_entropy = F.cross_entropy(self.compare(batch, features), batch.labels)
        return cross_entropy + self.weight * cosine_distance(features, self.hand_written)


def wordless(template: str) -> str:
    """A template without the words that a context takes the place of.

    Source: `CUSTOM_TEMPLATES` of the authors' `trainers/tcp.py`, all lines but that of cars.
    """
    if template.startswith(WORDS):
        return template.removeprefix(WORDS)
    return template[template.index("{}") :]
