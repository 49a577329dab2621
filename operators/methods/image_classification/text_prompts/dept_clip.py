"""DePT: beside the cosine head a linear one, which takes up what only the learned classes need.

Source: Zhang et al., "DePT: Decoupled Prompt Tuning", CVPR 2024, https://arxiv.org/abs/2309.07439,
section 3.2. It goes round another method's prompts, its host: CoOp, KgCoOp, CoCoOp or MaPLe, each
with the tokens that the authors' code gives it. The features of images and of the texts of their
classes pass a scale and a shift for each channel, and one linear head classifies both. Classes that
were learned are classified by both heads, new ones by the host's alone, as in the code, where the
name of the split decides; here the names of the classes do. So variants of a dataset whose classes
are some of the learned ones have the head's rows of these, which is what the code does as well.
"""

from collections.abc import Mapping
from functools import partial
from typing import Any, Literal

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from operators.backbones import DualEncoder, unit
from operators.blocks.anchor_loss import cosine_distance
from operators.blocks.deep_prompts import CoupledPrompts
from operators.blocks.learned_context import ConditionalContext, LearnedContext
from operators.blocks.linear_maps import drawn_linear
from operators.bounds import Rate, Share, Weight
from operators.episodes.episode import Batch, Classes, FewShot
from operators.episodes.names import keyed
from operators.methods.base import MethodCard
from operators.methods.image_classification.hosted import Host, HostedClassifier
from operators.shapes import Float
from operators.tuning import FitReport, Tuning, tune

WORDED: dict[str, Any] = {"words": "a photo of a", "std": 0.02}
HOSTS = {
    "coop": Host(partial(LearnedContext, n_context=16, words="", std=0.02)),
    "kgcoop": Host(partial(LearnedContext, n_context=4, **WORDED), anchored=True),
    "cocoop": Host(
        partial(ConditionalContext, n_context=4, reduction=16, **WORDED), own_texts=True
    ),
    "maple": Host(partial(CoupledPrompts, n_context=2, depth=9, **WORDED), reads_images=True),
}


class ChannelMap(nn.Module):
    """Scales and shifts each number of a feature; it begins as what changes nothing.

    Args:
        width: d of a feature.
        device: Where its numbers go.

    Source: Zhang et al., "DePT", section 3.2, the channel-wise transformation.
    """

    def __init__(self, width: int, device: torch.device) -> None:
        super().__init__()
        self.scale = nn.Parameter(torch.ones(width, device=device))
        self.shift = nn.Parameter(torch.zeros(width, device=device))

    def forward(self, features: Float[Tensor, "n d"]) -> Float[Tensor, "n d"]:
        """The features, each channel by itself."""
        return torch.addcmul(self.shift, features, self.scale)


class DePTClip(HostedClassifier):
    """Tunes a host's prompts by (1 - a) CE(z, y) + a CE(head([t_y; f]), [y; y]).

    z is the host's logits of an image f, and t_y the text feature of its class, both features
    scaled and shifted by channel before the head. A learned class has the logit (1 - a) z + a head,
    another one z.

    Dimensions: b images, k classes, d width of a feature.

    Args:
        backbone: Frozen image and text encoders.
        classes: The k classes, with the card's template.
        generator: Draws the host's prompts, then the head.
        host: Whose prompts: key of `HOSTS`.
        head_weight: a, the share of the head in loss and logits.
        head_rate: Learning rate of the head and the maps over that of the prompts.
        anchor_weight: Of the distance of texts to hand-written prompts, which KgCoOp has.
    """

    card = MethodCard(
        title="DePT (Decoupled Prompt Tuning)",
        family="text_prompts",
        tunes="the prompts of CoOp, KgCoOp, CoCoOp or MaPLe, and beside them a linear head over "
        "the learned classes behind a scale and a shift of each channel",
        source="Zhang et al., CVPR 2024, https://arxiv.org/abs/2309.07439",
        cost="a step is that of its host",
        unseen_head="the host's cosine head alone; the linear head knows the learned classes",
        seconds_per_image=60.0,
        views="fresh",
        views_source="DePT code, configs/trainers: random_resized_crop and random_flip",
        departures=(
            "prompts, maps and head in float32, not float16",
            "all classes of a few-shot episode have the linear head, where the code builds one for "
            "base classes and ImageNet alone",
            "whether classes are learned ones is told by their names, not by the name of the split",
            "the learning rate of the head is 6.5 times that of the prompts in the warm-up, too",
            "hand-written prompts are those of the dataset's card, which differ on DTD",
            "host=coop has the class name at the end",
            "host=cocoop was published with lr=0.002 batch_size=1, which is to be asked for",
            "host=maple prompts every layer of a tower that has fewer than 9, and needs a ViT",
        ),
    )
    tuning = Tuning(lr=0.0035, epochs=10, batch_size=4)
    hosts = HOSTS

    def __init__(
        self,
        backbone: DualEncoder,
        classes: Classes,
        *,
        generator: torch.Generator,
        host: Literal["coop", "kgcoop", "cocoop", "maple"] = "kgcoop",
        head_weight: Share = 0.7,
        head_rate: Rate = 6.5,
        anchor_weight: Weight = 2.0,
    ) -> None:
        super().__init__(backbone, classes, host)
        self.prompt = self.host.prompts(backbone, classes.names, generator=generator)
        d, device = backbone.feature_width, backbone.device
        self.text_map, self.image_map = ChannelMap(d, device), ChannelMap(d, device)
        self.head = drawn_linear(d, len(classes), generator, device)
        self.learned_names = classes.names
        self.rows: Tensor | None = torch.arange(len(classes), device=device)
        self.head_weight, self.head_rate = head_weight, head_rate
        self.anchor_weight = anchor_weight if self.host.anchored else 0.0

    @classmethod
    def idle(cls, hyperparameters: Mapping[str, Any]) -> Mapping[str, str]:
        """See `Method.idle`."""
        host = hyperparameters["host"]
        if HOSTS[host].anchored:
            return {}
        return {"anchor_weight": f"{host} has no anchors. Ask for host=kgcoop as well."}

    def fit(
        self, shots: FewShot, *, tuning: Tuning | None, generator: torch.Generator
    ) -> FitReport:
        """Tunes the prompts, and the head with its own rate. See `Method.fit`."""
        if tuning is None:
            return FitReport()
        own = ("head.", "text_map.", "image_map.")
        rates = {n: self.head_rate for n, _ in self.named_parameters() if n.startswith(own)}
        return tune(self, shots, tuning, generator, rates=rates)

    def with_classes(self, classes: Classes) -> "DePTClip":
        """See `Classifier.with_classes`; the head stays where all of them were learned."""
        build: Any = type(self)
        twin = build(self.backbone, classes, generator=torch.Generator(), **self.hyperparameters)
        place = {key: row for row, key in enumerate(keyed(self.learned_names))}
        rows = [place.get(key, -1) for key in keyed(classes.names)]
        twin.learned_names = self.learned_names
        twin.head = drawn_linear(
            self.head.in_features, len(place), torch.Generator(), self.backbone.device
        )
        twin.rows = None if -1 in rows else torch.tensor(rows, device=self.backbone.device)
        twin.load_state_dict(self.state_dict())
        return twin.eval()

    def class_features(self) -> Float[Tensor, "k d"]:
        """The class vectors of a host that has the same for every image."""
        return self.prompt.class_features()

    def own_class_features(self, batch: Batch) -> Float[Tensor, "b k d"]:
        """Those of CoCoOp."""
        return self.prompt.class_features(unit(batch.features)[:, None])

    def logits(self, batch: Batch) -> Float[Tensor, "b k"]:
        """Of learned classes both heads, of others the host's."""
        images = self.image_features(batch)
        found = self.host_logits(batch, images)
        if self.rows is None:
            return found
        head = self.head(self.image_map(images)).index_select(1, self.rows)
        return torch.lerp(found, head, self.head_weight)

    def loss(self, batch: Batch) -> Float[Tensor, ""]:
        """Cross-entropy of both heads, and the distance to anchors where the host has them."""
        images, labels = self.image_features(batch), batch.labels
        texts = self.class_texts(batch)
        if texts.ndim == 2:
            own = texts.index_select(0, labels)
        else:
            own = texts[torch.arange(len(labels), device=labels.device), labels]
        seen = torch.cat([self.text_map(own), self.image_map(images)])
        found = F.cross_entropy(self.compare(images, unit(texts)), labels)
        loss = torch.lerp(
            found, F.cross_entropy(self.head(seen), labels.repeat(2)), self.head_weight
        )
        if self.host.anchored:
            loss = loss + self.anchor_weight * cosine_distance(texts, self.hand_written)
        return loss
