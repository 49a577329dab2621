"""CoCoOp: context words that each image shifts by a small network of its feature.

Source: Zhou et al., "Conditional Prompt Learning for Vision-Language Models", CVPR 2022,
https://arxiv.org/abs/2203.05557, section 3.2. Departures from the authors' code: context and
network are kept in float32, and features are those of the centre crop unless the suite asks
for views. Where the code encodes the texts of one image after the other, those of many pass
the tower together here, in bounded memory.
"""

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from operators.backbones import DualEncoder, unit
from operators.blocks.linear_maps import drawn_linear
from operators.blocks.prompt_tokens import idle_start, refuse_few_words, started_prompts
from operators.bounds import Deviation, Reduction, Tokens
from operators.episodes.episode import Batch, Classes
from operators.methods.base import MethodCard
from operators.methods.image_classification.base import ImageClassifier
from operators.shapes import Float
from operators.tuning import Tuning

PAIRS = 8192  # class features that are in memory at a time where no gradient is needed


class CoCoOp(ImageClassifier):
    """Classifies an image x with the prompts `[v_1 + h(x)] ... [v_m + h(x)] <class name>.`.

    h is a network of two layers that reads the image's unit-norm feature.

    Dimensions: b images, k classes, m context tokens, w width of a token embedding, d of a
    feature.

    Args:
        backbone: Frozen image and text encoders.
        classes: The k classes.
        generator: Draws the network, and the context where it starts at random.
        n_context: m.
        context_init: Words whose first m tokens the context starts from; empty for
            N(0, init_std^2).
        init_std: Standard deviation of a random start.
        reduction: The network's inner layer is d / reduction wide, at least 1.
    """

    card = MethodCard(
        title="CoCoOp (Conditional Context Optimization)",
        family="text_prompts",
        tunes="m context vectors, and a network of two layers that shifts them for each image",
        source="Zhou et al., CVPR 2022, https://arxiv.org/abs/2203.05557",
        cost="a step takes all class prompts through the text tower and back for each image, and a "
        "test image takes them through it once more",
        seconds_per_image=60.0,
        departures=(
            "context and network in float32, not float16",
            "frozen features of the centre crop unless the suite asks for views",
        ),
    )
    tuning = Tuning(lr=0.002, epochs=10, batch_size=1)

    def __init__(
        self,
        backbone: DualEncoder,
        classes: Classes,
        *,
        generator: torch.Generator,
        n_context: Tokens = 4,
        context_init: str = "a photo of a",
        init_std: Deviation = 0.02,
        reduction: Reduction = 16,
    ) -> None:
        super().__init__(backbone, classes)
        self.prompts, context = started_prompts(
            backbone,
            classes.names,
            words=context_init,
            n_context=n_context,
            std=init_std,
            generator=generator,
        )
        self.context = nn.Parameter(context.clone())
        d, w = backbone.feature_width, backbone.token_width
        inner = max(1, d // reduction)
        self.narrow = drawn_linear(d, inner, generator, backbone.device)
        self.widen = drawn_linear(inner, w, generator, backbone.device)

    @classmethod
    def idle(cls, hyperparameters: Mapping[str, Any]) -> Mapping[str, str]:
        """See `Method.idle`."""
        return idle_start(hyperparameters)

    @classmethod
    def check(cls, hyperparameters: Mapping[str, Any], *, protocol: str) -> None:
        """See `Method.check`."""
        refuse_few_words(hyperparameters["n_context"], hyperparameters["context_init"])

    def contexts(self, images: Float[Tensor, "*b d"]) -> Float[Tensor, "*b m w"]:
        """The context of each image, v + h(x) (section 3.2), from its unit-norm feature."""
        shift = self.widen(F.relu(self.narrow(images)))
        return self.context + shift[..., None, :]

    def rows(self, images: int) -> int:
        """How many of some images are classified at once; all where a gradient is needed."""
        return images if torch.is_grad_enabled() else max(1, PAIRS // len(self.classes))

    def logits(self, batch: Batch) -> Float[Tensor, "b k"]:
        """Scaled cosine similarity of each image to the class vectors of its own context."""
        index = torch.arange(len(batch), device=batch.device).split(self.rows(len(batch)))
        return torch.cat([self.own_logits(batch.select(part)) for part in index])

    def own_logits(self, batch: Batch) -> Float[Tensor, "b k"]:
        """The logits of images at once."""
        images = unit(batch.features)
        texts = unit(self.backbone.encode_prompts(self.prompts, self.contexts(images)[:, None]))
        return self.backbone.logit_scale * torch.einsum("bd,bkd->bk", images, texts)
