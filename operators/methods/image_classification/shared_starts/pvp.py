"""PVP: learned tokens of the image tower start from what they learned on a large labelled dataset.

Source: Song et al., "PVP: Pre-trained Visual Parameter-Efficient Tuning", 2023,
https://arxiv.org/abs/2304.13639. No code was released; what follows is read from its description.
The first stage tunes the tokens of VPT-deep and a linear head with labels of another dataset; it is
a trial of this method with `head=linear`. The head belongs to the classes of that dataset and is
dropped. The second stage starts from the tokens.

Inferred: the head reads the tower's feature, as the towers that are tuned here give it; in the
second stage hand-written class prompts stand in for a new linear head, as in VPT (vpt.py), so that
one image a class is enough and new classes can be named (`head=linear` has the head of the paper's
single tower); both stages have the settings of VPT. A tower with fewer layers than `depth` is
prompted in all it has.
"""

from collections.abc import Mapping
from typing import Any, Literal

import torch
from torch import Tensor, nn

from operators.backbones import DualEncoder
from operators.blocks.class_text import class_vectors, refuse_no_place
from operators.blocks.deep_tokens import prompted_images, uniform_image_tokens
from operators.blocks.linear_maps import drawn_linear
from operators.bounds import Layers, Tokens
from operators.episodes.episode import Batch, Classes
from operators.methods.base import MethodCard
from operators.methods.classifier import Classifier
from operators.methods.image_classification.base import StaticClassifier
from operators.methods.leaning import Starting
from operators.shapes import Float
from operators.tuning import Tuning

OWN_CLASSES = ("few_shot", "domain_generalization")  # protocols that ask about no others


class PVP(StaticClassifier):
    """Classifies prompted images by hand-written class prompts, or by a linear head.

    Dimensions: b images, k classes, n learned tokens, v width of the image tower, d of a feature.

    Args:
        backbone: Frozen image and text encoders.
        classes: The k classes.
        generator: Draws the initial tokens, uniform as VPT's authors draw them, then the head.
        image_tokens: n.
        depth: Layers that are prompted, the input included.
        head: What a feature is classified by: `texts`, the frozen features of class prompts, or
            `linear`, a map that is learned.
        template: Sentence with one `{}` that class names are put into; empty for that of the
            dataset's card.
    """

    card = MethodCard(
        title="PVP (Pre-trained Visual Parameter-efficient tuning)",
        family="shared_starts",
        tunes="tokens in several layers of the image tower, started from what they and a linear "
        "head learned on another dataset",
        source="Song et al., 2023, https://arxiv.org/abs/2304.13639",
        cost="a step takes its images through the image tower and back; before it, once a seed, a "
        "trial on the source dataset",
        needs=frozenset({"visual-prompts"}),
        views="fresh",
        views_source="not published; as VPT in MaPLe code, configs/trainers/VPT",
        departures=(
            "no code was released: the two stages are inferred from the paper's description",
            "the second stage has frozen class texts in the place of a new linear head "
            "(head=linear has one)",
            "both stages have the settings of VPT in MaPLe's code, and its depth 12 means every "
            "layer of a tower that has fewer",
        ),
    )
    tuning = Tuning(lr=0.0025, epochs=5, batch_size=4)
    starting = Starting(source_datasets="imagenet", source_shots=-1)

    def __init__(
        self,
        backbone: DualEncoder,
        classes: Classes,
        *,
        generator: torch.Generator,
        image_tokens: Tokens = 8,
        depth: Layers = 12,
        head: Literal["texts", "linear"] = "texts",
        template: str = "a photo of a {}.",
    ) -> None:
        super().__init__(backbone, classes)
        self.image = nn.Parameter(uniform_image_tokens(backbone, image_tokens, depth, generator))
        texts, self.head = None, None
        if head == "linear":
            width = backbone.feature_width
            self.head = drawn_linear(width, len(classes), generator, backbone.device)
        else:
            templates = (template,) if template else classes.templates
            texts = class_vectors(backbone, classes, templates)
        self.register_buffer("texts", texts, persistent=False)

    texts: Tensor

    @classmethod
    def check(cls, hyperparameters: Mapping[str, Any], *, protocol: str) -> None:
        """See `Method.check`."""
        refuse_no_place(hyperparameters["template"])
        sources = hyperparameters["source_datasets"]
        if "," in sources:
            raise ValueError(
                f"source_datasets={sources!r}: the head of the first stage belongs to the classes "
                "of one dataset, so name one."
            )
        if hyperparameters["head"] == "linear" and protocol not in OWN_CLASSES:
            raise ValueError(
                f"head='linear' learns a map for each of its own classes and has none for another "
                f"one: use head='texts' in {protocol}."
            )

    @classmethod
    def idle(cls, hyperparameters: Mapping[str, Any]) -> Mapping[str, str]:
        """See `Method.idle`."""
        if hyperparameters["head"] == "texts":
            return {}
        return {"template": "a linear head reads no texts. Ask for head=texts as well."}

    @classmethod
    def source_settings(cls, hyperparameters: Mapping[str, Any]) -> Mapping[str, Any]:
        """As many tokens in the same layers, and a linear head. See `Method.source_settings`."""
        same = "image_tokens", "depth"
        return {**{name: hyperparameters[name] for name in same}, "head": "linear"}

    def start_from(self, learned: Mapping[str, Tensor]) -> None:
        """Takes over the tokens; the head of other classes is dropped. See `Method.start_from`."""
        with torch.no_grad():
            self.image.copy_(learned["image"])

    def with_classes(self, classes: Classes) -> Classifier:
        """See `Classifier.with_classes`; a linear head stays with its classes."""
        if self.head is not None and classes.names != self.classes.names:
            raise ValueError(
                "PVP with head='linear' learned a map for its own classes, so it cannot classify "
                "others: tune it with head='texts'."
            )
        return super().with_classes(classes)

    def class_features(self) -> Float[Tensor, "k d"]:
        """The frozen class vectors."""
        return self.texts

    def image_features(self, batch: Batch) -> Float[Tensor, "b d"]:
        """The images as the prompted tower reads them."""
        return prompted_images(self.backbone, batch, self.image, behind_norm=True)

    def logits(self, batch: Batch) -> Float[Tensor, "b k"]:
        """Scaled cosine similarity to the class vectors, or what the linear head says."""
        if self.head is None:
            return super().logits(batch)
        return self.head(self.image_features(batch))
