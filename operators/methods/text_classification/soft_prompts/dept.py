"""DePT: a short soft prompt, and a low-rank change of the word embeddings by their position.

Source: Shi and Lipani, "DePT: Decomposed Prompt Tuning for Parameter-Efficient Fine-tuning", ICLR
2024, https://arxiv.org/abs/2309.05173, section 2.3, and the authors' `prompt_tuning_lora.py`: the
embedding at position i of a text becomes e_i + (alpha / sqrt(r)) (A B)_i with A (L x r) and
B (r x w), and the soft prompt stands in front; A and B have a learning rate of their own.
"""

import math
from typing import Annotated

import torch
from torch import Tensor, nn

from operators.backbones.language import LanguageModel, PromptEmbeddings, PromptTokens
from operators.blocks.soft_prompt import SoftTokens, Start, started_prompt
from operators.bounds import Bounds, Rate, Weight
from operators.episodes.episode import Classes, FewShot
from operators.methods.base import MethodCard
from operators.methods.text_classification.base import PromptClassifier
from operators.shapes import Float
from operators.tuning import FitReport, Tuning, tune


class DePT(PromptClassifier):
    """Classifies with a short soft prompt and shifted word embeddings.

    Dimensions: m learned tokens, n tokens of a question, L longest question, r rank, w width of a
    token embedding.

    Args:
        backbone: Causal or masked language model.
        classes: Their template and words.
        generator: Source of the start.
        n_tokens: m.
        rank: r.
        alpha: Weight of the change, over the root of r.
        max_length: L; a longer text is cut.
        matrix_lr: Learning rate of A and B; `lr` is that of the soft prompt.
        start: Of the soft prompt, see `SoftPrompt`.
    """

    card = MethodCard(
        title="DePT (decomposed prompt tuning)",
        family="soft_prompts",
        tunes="m token embeddings, and two low-rank matrices that shift those of the question",
        source="Shi and Lipani, ICLR 2024, https://arxiv.org/abs/2309.05173",
        cost="a step takes its texts through the language model and back",
        needs=frozenset({"answers"}),
        features=False,
        departures=(
            "the loss is cross-entropy over the classes' words, not over the whole vocabulary",
            "positions are counted from the start of the question, which the authors' code does "
            "for T5; it pads texts of causal models in front",
            "an answer is not shifted: it is scored, not read",
            "4 tokens, rank 4, 128 places and 50 epochs of AdamW at 0.03, as the soft prompt has "
            "them, not 40, 45, 256 and 40,000 steps at 0.3 of T5",
        ),
    )
    tuning = Tuning(
        optimizer="adamw",
        lr=0.03,
        epochs=50,
        batch_size=8,
        weight_decay=0.0,
        warmup_epochs=0,
        schedule="linear",
        drop_last=False,
    )

    def __init__(
        self,
        backbone: LanguageModel,
        classes: Classes,
        *,
        generator: torch.Generator,
        n_tokens: SoftTokens = 4,
        rank: Annotated[int, Bounds(1, 1024)] = 4,
        alpha: Weight = 8.0,
        max_length: Annotated[int, Bounds(1, 100_000)] = 128,
        matrix_lr: Rate = 5e-4,
        start: Start = "labels",
    ) -> None:
        # What a question may not take is as good as learned tokens.
        beyond = backbone.context_length - max_length
        super().__init__(backbone, classes, learned_tokens=max(n_tokens, beyond))
        self.scaling = alpha / math.sqrt(rank)
        self.matrix_lr = matrix_lr
        self.prompt = nn.Parameter(
            started_prompt(
                backbone, self.answers, n_tokens=n_tokens, start=start, generator=generator
            )
        )
        # Kaiming's uniform start with a = sqrt(5): within one over the root of the columns.
        drawn = (2 * torch.rand(max_length, rank, generator=generator) - 1) / math.sqrt(rank)
        self.a = nn.Parameter(drawn.to(backbone.device))
        self.b = nn.Parameter(torch.zeros(rank, backbone.token_width, device=backbone.device))

    def offsets(self, length: int) -> Float[Tensor, "n w"]:
        """What is added to the first `length` embeddings."""
        return self.scaling * self.a[:length] @ self.b

    def prompts(self, tokens: PromptTokens) -> PromptEmbeddings:
        """The shifted question behind the soft prompt."""
        question = super().prompts(tokens)
        shifted = question.added(self.offsets(question.embeddings.shape[1]))
        return shifted.with_soft_prompt(self.prompt)

    def fit(
        self, shots: FewShot, *, tuning: Tuning | None, generator: torch.Generator
    ) -> FitReport:
        """See `Method.fit`; the matrices learn at a rate of their own."""
        if tuning is None:
            return FitReport()
        own = self.matrix_lr / tuning.lr
        return tune(self, shots, tuning, generator, rates={"a": own, "b": own})
