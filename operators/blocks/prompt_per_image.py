"""A context of its own for every test image, tuned on views of that image alone."""

import math
from collections.abc import Callable

import torch
from torch import Tensor

from operators.backbones import DualEncoder
from operators.backbones.dual.base import unit
from operators.blocks.prompt_tokens import prompt_tokens, worded_context
from operators.episodes.episode import Batch, Classes
from operators.shapes import Float, Int

PROMPTS = 1024  # class prompts that are tuned at a time, those of one image at least


class PromptPerImage:
    """The prompts `[v_1] ... [v_m] <class name>.`, where v starts anew for each image.

    Images of a block are tuned side by side, each with a prompt and an optimiser state of its own,
    which gives what one after the other does.

    Dimensions: b images, n views, k classes, m context tokens, w width of a token embedding, d of a
    feature.

    Attributes:
        start: (1, m, w) embeddings that v starts from.
        prompts: Tokens of the class prompts.

    Args:
        backbone: Frozen image and text encoders.
        classes: The k classes.
        words: That v starts from.

    Source: Shu et al., "Test-Time Prompt Tuning", NeurIPS 2022, section 3.
    """

    def __init__(self, backbone: DualEncoder, classes: Classes, words: str) -> None:
        self.backbone = backbone
        self.start = worded_context(backbone, words)
        self.prompts = prompt_tokens(
            backbone, classes.names, n_context=self.start.shape[1], position="end"
        )
        self.images_at_once = max(1, PROMPTS // len(classes))

    def blocks(self, batch: Batch) -> list[Batch]:
        """A batch in parts that are tuned side by side."""
        index = torch.arange(len(batch))
        return [batch.select(block) for block in index.split(self.images_at_once)]

    def tuned(
        self,
        features: Float[Tensor, "b n d"],
        choose: Callable[[Float[Tensor, "b n k"]], Int[Tensor, "b kept"]],
        *,
        steps: int,
        lr: float,
        weight_decay: float,
    ) -> Float[Tensor, "b k"]:
        """Logits of the first view of each image after tuning on those that are chosen.

        Args:
            features: Of unit norm.
            choose: From the logits before the first step to the views that all steps look at.
            steps: Of AdamW, on the entropy of the mean prediction.
            lr: Its learning rate.
            weight_decay: Of AdamW.
        """
        context = self.start.expand(len(features), 1, -1, -1).clone().requires_grad_()
        # AdamW moves each number by its own history alone, so images cannot mix in it.
        optimizer = torch.optim.AdamW([context], lr=lr, weight_decay=weight_decay)
        chosen: Tensor | None = None
        for _ in range(steps):
            with torch.enable_grad():
                logits = self.compared(features, context)
                if chosen is None:
                    chosen = choose(logits.detach())
                picked = logits.gather(1, chosen[..., None].expand(-1, -1, logits.shape[2]))
                (context.grad,) = torch.autograd.grad(entropy_of_mean(picked).sum(), context)
            optimizer.step()
        with torch.no_grad():
            return self.compared(features[:, :1], context)[:, 0]

    def compared(
        self, features: Float[Tensor, "b n d"], context: Float[Tensor, "b 1 m w"]
    ) -> Float[Tensor, "b n k"]:
        """Scaled cosine similarity of the views of each image to its own class vectors.

        Args:
            features: Of n views of each of b images, of unit norm.
            context: m learned tokens of width w for each image, which all its views share.
        """
        texts = unit(self.backbone.encode_prompts(self.prompts, context))
        return self.backbone.logit_scale * features @ texts.mT


def refuse_no_words(context_init: str) -> None:
    """Raises where there is no word for a context to start from.

    Args:
        context_init: As a user gave it.

    Raises:
        ValueError: It is empty or blank.
    """
    if not context_init.split():
        raise ValueError("context_init='': give the words to start from, as 'a photo of a'.")


def most_confident(logits: Float[Tensor, "b n k"], kept: int) -> Int[Tensor, "b kept"]:
    """Of the n views of each image, the `kept` whose predictions have the least entropy.

    Args:
        logits: Of k classes.
        kept: 1 to n.

    Returns:
        Positions among the views, the most certain first; the earlier of equals.

    Source: Shu et al., "Test-Time Prompt Tuning", NeurIPS 2022, section 3.2, confidence selection.
    """
    log = torch.log_softmax(logits, dim=2)
    entropy = -(log.exp() * log).sum(dim=2)
    return entropy.argsort(dim=1, stable=True)[:, :kept]


def entropy_of_mean(logits: Float[Tensor, "b n k"]) -> Float[Tensor, "b"]:  # noqa: F821
    """Entropy of the mean over n views of the predicted probabilities, in nats.

    Source: Shu et al., NeurIPS 2022, equations 2 and 3.
    """
    views = logits.shape[1]
    mean = torch.log_softmax(logits, dim=2).logsumexp(dim=1) - math.log(views)
    return -(mean.exp() * mean).sum(dim=1)
