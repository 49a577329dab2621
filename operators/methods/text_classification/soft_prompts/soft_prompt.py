"""Prompt tuning: learn token embeddings in front of the question; the language model is frozen.

Source: Lester et al., "The Power of Scale for Parameter-Efficient Prompt Tuning", EMNLP 2021,
https://arxiv.org/abs/2104.08691. The authors tune T5, whose word embeddings are tens of times
larger than those of causal models, with Adafactor at a constant rate of 0.3 for 30,000 steps. Here
stand the settings of the guide to prompt tuning of causal models in Hugging Face's `peft`, which is
about as few examples as ours: AdamW at 0.03 that falls to 0 over 50 epochs in batches of 8, and 8
tokens. The authors' are `optimizer=adafactor lr=0.3 schedule=constant n_tokens=100`.
"""

import torch
from torch import nn

from operators.backbones.language import LanguageModel, PromptEmbeddings, PromptTokens
from operators.blocks.soft_prompt import SoftTokens, Start, started_prompt
from operators.episodes.episode import Classes
from operators.methods.base import MethodCard
from operators.methods.text_classification.base import PromptClassifier
from operators.tuning import Tuning


class SoftPrompt(PromptClassifier):
    """Classifies with `[v_1] .. [v_m] <question> <answer>`, where v is learned.

    Dimensions: m learned tokens, w width of a token embedding.

    Args:
        backbone: Causal or masked language model.
        classes: Their template and words.
        generator: Source of the start.
        n_tokens: m.
        start: `labels` (the classes' words, then common ones), `vocabulary` or `random`.
    """

    card = MethodCard(
        title="Prompt tuning (soft prompt)",
        family="soft_prompts",
        tunes="m token embeddings in front of the question",
        source="Lester et al., EMNLP 2021, https://arxiv.org/abs/2104.08691",
        cost="a step takes its texts through the language model and back",
        needs=frozenset({"answers"}),
        features=False,
        departures=(
            "the loss is cross-entropy over the classes' words, not over the whole vocabulary",
            "AdamW at 0.03 for 50 epochs and 8 tokens, as peft's guide for causal models has it, "
            "not Adafactor at 0.3 for 30,000 steps and 100 tokens of T5",
        ),
    )
    tuning = Tuning(
        optimizer="adamw",
        lr=0.03,
        epochs=50,
        batch_size=8,
        weight_decay=0.01,
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
        n_tokens: SoftTokens = 8,
        start: Start = "labels",
    ) -> None:
        super().__init__(backbone, classes, learned_tokens=n_tokens)
        self.prompt = nn.Parameter(
            started_prompt(
                backbone, self.answers, n_tokens=n_tokens, start=start, generator=generator
            )
        )

    def prompts(self, tokens: PromptTokens) -> PromptEmbeddings:
        """The question behind the soft prompt."""
        return super().prompts(tokens).with_soft_prompt(self.prompt)
