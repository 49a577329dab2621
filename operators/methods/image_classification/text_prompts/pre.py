"""PRE: CoOp whose context passes a trained encoder before the text tower.

Source: Pham et al., "PRE: Vision-Language Prompt Learning with Reparameterization Encoder", 2023,
https://arxiv.org/abs/2309.07760, section 3.2. The published code runs a bidirectional LSTM of one
layer with a residual, which is the default here. Departures from it: context and encoder are kept
in float32; the encoder has no dropout, which there touches `lstm2` and `transformer` alone; one
encoder for each token is left out, since there it is neither trained nor saved.
"""

from collections.abc import Mapping
from typing import Annotated, Any

import torch
from torch import Tensor

from operators.backbones import DualEncoder
from operators.blocks.learned_context import LearnedContext
from operators.blocks.prompt_tokens import idle_start, refuse_other_length
from operators.bounds import Bounds, Deviation, Tokens
from operators.episodes.episode import Classes
from operators.methods.base import MethodCard
from operators.methods.image_classification.base import StaticClassifier
from operators.methods.image_classification.text_prompts.prompt_encoder import (
    EncoderKind,
    PromptEncoder,
)
from operators.shapes import Float
from operators.tuning import Tuning


class PRE(StaticClassifier):
    """Classifies with the prompts `[u_1] ... [u_m] <class name>.`, u = v + E(v).

    v is a learned context and E a learned network of all its tokens, see `PromptEncoder`.

    Dimensions: k classes, m context tokens, d width of a feature.

    Args:
        backbone: Frozen image and text encoders.
        classes: The k classes.
        generator: Draws a random initial context, then the encoder.
        n_context: m; the length of `context_init` where that is given.
        context_init: Words to start from; empty for N(0, init_std^2).
        init_std: Standard deviation of a random start.
        encoder: E: `lstm1`, `lstm2`, `mlp1`, `mlp2` or `transformer`.
        residual: Whether v is added to E(v).
        bottleneck: Width of the inner layer of `mlp1` and `mlp2`.
    """

    card = MethodCard(
        title="PRE (Prompt learning with Reparameterization Encoder)",
        family="text_prompts",
        tunes="4 context vectors, and an LSTM that they pass on their way to the text tower",
        source="Pham et al., 2023, https://arxiv.org/abs/2309.07760",
        cost="a step takes the context through its encoder, and all class prompts through the text "
        "tower and back",
        views="fresh",
        views_source="PRE code, configs/trainers/PRE: random_resized_crop and random_flip",
        departures=(
            "context and encoder in float32, under their mixed precision float16 in part",
            "no dropout in lstm2 and transformer",
            "one encoder for all tokens",
        ),
    )
    tuning = Tuning(lr=0.002, epochs=50, batch_size=32)

    def __init__(
        self,
        backbone: DualEncoder,
        classes: Classes,
        *,
        generator: torch.Generator,
        n_context: Tokens = 4,
        context_init: str = "a photo of a",
        init_std: Deviation = 0.02,
        encoder: EncoderKind = "lstm1",
        residual: bool = True,
        bottleneck: Annotated[int, Bounds(1, 65_536)] = 64,
    ) -> None:
        super().__init__(backbone, classes)
        self.prompt = LearnedContext(
            backbone,
            classes.names,
            generator=generator,
            n_context=n_context,
            words=context_init,
            std=init_std,
        )
        self.encoder = PromptEncoder(
            encoder,
            backbone.token_width,
            residual=residual,
            bottleneck=bottleneck,
            generator=generator,
            device=backbone.device,
        )

    @classmethod
    def idle(cls, hyperparameters: Mapping[str, Any]) -> Mapping[str, str]:
        """See `Method.idle`."""
        found = idle_start(hyperparameters)
        if hyperparameters["encoder"] not in ("mlp1", "mlp2"):
            found["bottleneck"] = "the encoder has none. Ask for encoder=mlp1 or mlp2 as well."
        return found

    @classmethod
    def check(cls, hyperparameters: Mapping[str, Any], *, protocol: str) -> None:
        """See `Method.check`."""
        refuse_other_length(hyperparameters["n_context"], hyperparameters["context_init"])

    def class_features(self) -> Float[Tensor, "k d"]:
        """The class vectors that the encoded context gives."""
        return self.prompt.class_features(self.encoder(self.prompt.context))
