"""MMRL: tokens of one space, mapped into the later layers of both towers, with a head of their own.

Source: Guo and Gu, "MMRL: Multi-Modal Representation Learning for Vision-Language Models", CVPR
2025, https://arxiv.org/abs/2503.08497, section 3.2 (representation tokens, and their features),
3.3 (loss) and 3.4 (which features answer for which classes). Classes that were learned are told by
the mean of the logits of the image and of the tokens' features, others by the image's alone: what
the tokens learned of the few examples is kept from what they do not know.

The tokens that stand behind the start token of a text are replaced in every layer, and nothing is
read of them behind the last one, so of each layer they are keys and values that the words read.
"""

from collections.abc import Mapping
from functools import cached_property
from typing import Annotated, Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from operators.backbones import DeepPrompts, DualEncoder, unit
from operators.backbones.towers.packed_attention import split_heads
from operators.backbones.towers.transformer import Layer
from operators.blocks.anchor_loss import cosine_distance
from operators.blocks.class_text import class_vectors, refuse_no_place
from operators.blocks.deep_tokens import effective_depth, image_tower, text_tower
from operators.blocks.hooked_towers import laid_sentences, last_layers
from operators.blocks.linear_maps import drawn_linear
from operators.blocks.parts import IMAGE_ROWS, in_parts
from operators.blocks.prompt_tokens import random_context
from operators.bounds import Bounds, Brief, Deviation, Layers, Share, Tokens, Weight
from operators.episodes.episode import Batch, Classes
from operators.episodes.views import ViewPolicy
from operators.methods.base import MethodCard
from operators.methods.classifier import Classifier
from operators.methods.image_classification.base import StaticClassifier
from operators.shapes import Bool, Float
from operators.tuning import Tuning

ANCHORS = {  # train.py of the authors' code, whatever is learned there
    "stanford_cars": 7.0,
    "fgvc_aircraft": 6.0,
    "sun397": 6.0,
    "dtd": 6.0,
    "food101": 5.0,
    "flowers102": 4.0,
    "ucf101": 3.0,
    "imagenet": 0.5,
    "caltech101": 0.5,
    "oxford_pets": 0.2,
    "eurosat": 0.01,
}


class MMRL(StaticClassifier):
    """Classifies images by two features of each, those of learned classes by both.

    Dimensions: b images, k classes, m tokens, r width of their space, J prompted layers, w and v
    width of the text and the image tower, d of a feature.

    Args:
        backbone: Frozen image and text encoders.
        classes: The k classes.
        generator: Draws the tokens, the two maps and the projection.
        tokens: m.
        depth: J, the last layers of each tower.
        token_width: r.
        share: Weight of the image's own feature in loss and logits; that of the tokens has the
            rest.
        anchor_weight: Weight of how far images and texts are from the frozen ones.
        template: Sentence with one `{}` that class names are put into; empty for that of the
            dataset's card.
        init_std: Standard deviation of the tokens at the start.
    """

    card = MethodCard(
        title="MMRL (Multi-Modal Representation Learning)",
        family="deep_prompts",
        tunes="tokens of one space with maps into the later layers of both towers, and a "
        "projection of what the image tower makes of them",
        source="Guo and Gu, CVPR 2025, https://arxiv.org/abs/2503.08497",
        cost="a step takes images and class prompts through both towers and back",
        needs=frozenset({"visual-prompts", "layer-states", "class-token"}),
        unseen_head="the logits of the image's own feature alone; the tokens' share in those of "
        "learned classes",
        views="fresh:crop-0.5",
        views_source="MMRL code, configs/trainers/MMRL: random_resized_crop of 0.5 to 1 and "
        "random_flip",
        departures=(
            "tokens, maps and projection in float32",
            "layers 6 to 12 of 12 are the last 7 of any tower, or all of both where one has fewer",
            "the backbone's own scale of logits, not 100",
        ),
    )
    tuning = Tuning(optimizer="adamw", lr=0.001, epochs=10, batch_size=4)

    def __init__(
        self,
        backbone: DualEncoder,
        classes: Classes,
        *,
        generator: torch.Generator,
        tokens: Tokens = 5,
        depth: Layers = 7,
        token_width: Annotated[int, Bounds(1, 65_536), Brief(16)] = 512,
        share: Share = 0.7,
        anchor_weight: Weight = 1.0,
        template: str = "",
        init_std: Deviation = 0.02,
    ) -> None:
        super().__init__(backbone, classes)
        self.share, self.anchor_weight = share, anchor_weight
        self.template = template or classes.templates[0]
        self.sentences = laid_sentences(backbone, classes.prompts(self.template))
        towers = text_tower(backbone), image_tower(backbone)
        count = effective_depth(depth, *towers)
        self.text_layers, self.image_layers = (last_layers(count, t.layers) for t in towers)
        like = torch.empty(0, device=backbone.device)
        self.tokens = nn.Parameter(
            random_context((tokens, token_width), init_std, generator, like=like)
        )
        to_images, to_texts = (
            drawn_linear(token_width, tower.width, generator, backbone.device)
            for tower in reversed(towers)
        )
        self.image_maps, self.text_maps = SameMaps(count, to_images), SameMaps(count, to_texts)
        shape = (backbone.feature_width, towers[1].width)
        self.projection = nn.Parameter(
            random_context(shape, towers[1].width ** -0.5, generator, like=like)
        )
        self.learned_names = tuple(name.casefold() for name in classes.names)

    @classmethod
    def recipe(cls, *, protocol: str, shots: int, dataset: str) -> Mapping[str, Any]:
        """What the authors' scripts and their settings of each dataset say. See `Method.recipe`."""
        given: dict[str, Any] = {}
        if protocol == "few_shot":
            given = {"epochs": 50, "batch_size": 32, "anchor_weight": 0.5}
        if dataset == "imagenet":
            given |= {"epochs": 5, "batch_size": 32}
        if dataset in ANCHORS:
            given["anchor_weight"] = ANCHORS[dataset]
        if dataset == "eurosat":
            given["token_width"] = 2048
        if protocol in ("cross_dataset", "domain_generalization"):
            given |= {"epochs": 1, "batch_size": 32, "warmup_epochs": 0, "anchor_weight": 0.2}
        return given

    @classmethod
    def check(cls, hyperparameters: Mapping[str, Any], *, protocol: str) -> None:
        """See `Method.check`."""
        refuse_no_place(hyperparameters["template"])

    @classmethod
    def encodings(cls, hyperparameters: Mapping[str, Any], views: ViewPolicy) -> tuple[int, int]:
        """See `Method.encodings`: the frozen tower sees what the prompted one sees."""
        return (cls.view_epochs(hyperparameters) if views.kind == "fresh" else 0), 0

    def with_classes(self, classes: Classes) -> Classifier:
        """See `Classifier.with_classes`; the tokens answer where all classes were learned."""
        twin = super().with_classes(classes)
        assert isinstance(twin, MMRL)
        twin.learned_names = self.learned_names
        return twin

    @property
    def fuses(self) -> bool:
        """Whether the tokens share in the answer: all classes are learned ones."""
        return {name.casefold() for name in self.classes.names} <= {*self.learned_names}

    @cached_property
    def frozen_texts(self) -> Float[Tensor, "k d"]:
        """Unit-norm class vectors of the frozen tower; only tuning asks for them."""
        return class_vectors(self.backbone, self.classes, (self.template,))

    def class_features(self) -> Float[Tensor, "k d"]:
        """The class vectors of texts that read the tokens."""
        tower, start = self.backbone.packed_text.tower, self.backbone.text_start
        read = {
            layer: ReadTokens(tower.layers[layer], tokens, start)  # pyright: ignore[reportArgumentType]
            for layer, tokens in zip(self.text_layers, self.text_maps(self.tokens), strict=True)
        }
        nothing = self.sentences.embeddings[:1, :0]
        return self.backbone.encode_prompts(self.sentences, nothing, attention=read)

    def both_features(self, batch: Batch) -> Float[Tensor, "b 2 d"]:
        """Of each image its own feature and that of the tokens, with length 1."""
        final = image_tower(self.backbone).layers - 1
        start, width = self.backbone.image_start, len(self.tokens)
        deep = DeepPrompts(
            self.image_maps(self.tokens), start, first=self.image_layers[0], insert=True
        )

        def encode(part: Batch) -> Tensor:
            embedded = self.backbone.embed_images(part.pixels)
            reading = self.backbone.read_images(embedded, deep_prompts=deep, layers=(final,))
            tokens = reading.states[final][:, start : start + width]
            mean = self.backbone.normed_states(tokens).mean(dim=1)
            own = F.linear(mean.to(self.projection.dtype), self.projection)
            return torch.stack([unit(reading.features), unit(own)], dim=1)

        return in_parts(encode, batch, IMAGE_ROWS)

    def image_features(self, batch: Batch) -> Float[Tensor, "b d"]:
        """The images as the tower reads them beside the tokens."""
        return self.both_features(batch)[:, 0]

    def both_logits(self, batch: Batch) -> tuple[Float[Tensor, "b 2 d"], Float[Tensor, "b 2 k"]]:
        """The two features of each image, and its logits by each."""
        features = self.both_features(batch)
        return features, self.backbone.logit_scale * features @ self.weights().T

    def logits(self, batch: Batch) -> Float[Tensor, "b k"]:
        """Of learned classes the mean of both logits, of others those of the image."""
        _, logits = self.both_logits(batch)
        return torch.lerp(logits[:, 1], logits[:, 0], self.share) if self.fuses else logits[:, 0]

    def loss(self, batch: Batch) -> Float[Tensor, ""]:
        """Cross-entropy of both logits, and the distances from the frozen features."""
        features, logits = self.both_logits(batch)
        errors = [F.cross_entropy(part, batch.labels) for part in logits.unbind(dim=1)]
        apart = cosine_distance(features[:, 0], batch.features)
        apart = apart + cosine_distance(self.weights(), self.frozen_texts)
        return self.share * errors[0] + (1 - self.share) * errors[1] + self.anchor_weight * apart


class SameMaps(nn.Module):
    """A linear map for each of some layers, which all start from the same.

    Args:
        layers: How many.
        start: The map that they start from.
    """

    def __init__(self, layers: int, start: nn.Linear) -> None:
        super().__init__()
        self.weight = nn.Parameter(start.weight.detach().repeat(layers, 1, 1))
        self.bias = nn.Parameter(start.bias.detach().repeat(layers, 1, 1))

    def forward(self, tokens: Float[Tensor, "m r"]) -> Float[Tensor, "J m w"]:
        """The tokens as each layer sees them."""
        return tokens @ self.weight.mT + self.bias


class ReadTokens:
    """The usual softmax, with tokens behind the first ones that are read and read nothing.

    Args:
        layer: Frozen; makes keys and values of the tokens.
        tokens: Before the layer's norm.
        start: Tokens of a text that do not read them: those that stand before them.
    """

    def __init__(self, layer: Layer, tokens: Float[Tensor, "m w"], start: int) -> None:
        made = layer.keys_values(layer.normed(tokens.to(layer.qkv.weight.dtype)))[None]
        self.keys, self.values = (split_heads(part, layer.heads) for part in made.chunk(2, dim=-1))
        self.start = start

    def __call__(
        self,
        q: Float[Tensor, "b h n c"],
        k: Float[Tensor, "b h n c"],
        v: Float[Tensor, "b h n c"],
        mask: Bool[Tensor, "*b n n"] | None,
    ) -> Float[Tensor, "b h n c"]:
        """What the heads read.

        Args:
            q: Queries of texts.
            k: Their keys.
            v: Their values.
            mask: True where a token may be read; as in all causal towers it is there.
        """
        assert mask is not None
        n, width = q.shape[2], self.keys.shape[2]
        behind = (torch.arange(n, device=q.device) >= self.start)[:, None].expand(n, width)
        keys, values = (
            torch.cat([own, added.expand(len(q), -1, -1, -1)], dim=2)
            for own, added in ((k, self.keys), (v, self.values))
        )
        return F.scaled_dot_product_attention(
            q, keys, values, attn_mask=torch.cat([mask, behind], dim=-1)
        )
