"""Contracts of text classification: a frozen language model, and what is asked of it."""

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

import torch
from torch import Tensor

from operators.backbones.language import LanguageModel, PromptEmbeddings, PromptTokens, Template
from operators.backbones.language.base import TEXT_BATCH
from operators.episodes.episode import Batch, Classes
from operators.methods.classifier import Classifier
from operators.shapes import Float


class TextClassifier(Classifier):
    """Classifies texts with a language model or an encoder of sentences.

    Dimensions: b texts, k classes, w width of a token embedding, d of a sentence feature.

    Attributes:
        backbone: Frozen; its parameters are not this module's.
    """

    track: ClassVar[str] = "text-classification"
    other_backbone: ClassVar[str] = "a causal or masked language model"
    backbone: LanguageModel

    def __init__(self, backbone: LanguageModel, classes: Classes) -> None:
        """See `Classifier`."""
        super().__init__(backbone, classes)

    @classmethod
    def view_epochs(cls, hyperparameters: Mapping[str, Any]) -> int:
        """See `Method.view_epochs`; a text has no views."""
        return 0


class PromptClassifier(TextClassifier):
    """Asks a language model for the answer word of a class, in the template of the dataset's card.

    What differs between methods is what enters the model in front of the question, or is added to
    it. The score of a class is the log-probability of its word.

    Args:
        backbone: Causal or masked, with a head.
        classes: Their words are the answers, and their first template the question.
        learned_tokens: Places that a method takes beside the question and the answer.

    Attributes:
        template: The question, as the model reads it.
        answers: The word of each class as tokens.
    """

    def __init__(
        self, backbone: LanguageModel, classes: Classes, *, learned_tokens: int = 0
    ) -> None:
        super().__init__(backbone, classes)
        self.template = template_for(backbone, classes.templates[0])
        self.answers = backbone.tokenize_answers(classes.words, self.template)
        self.learned_tokens = learned_tokens

    @property
    def shown(self) -> str:
        """Text in front of every question; none for most."""
        return ""

    def tokens(self, texts: Sequence[str]) -> PromptTokens:
        """The questions about some texts; a long one is cut to what the model reads."""
        reserve = self.learned_tokens + self.answers.longest
        return self.backbone.tokenize_prompts(
            texts, self.template, reserve=reserve, context=self.shown
        )

    def prompts(self, tokens: PromptTokens) -> PromptEmbeddings:
        """What enters the model."""
        return self.backbone.embed_prompts(tokens)

    def ask(self, texts: Sequence[str]) -> Float[Tensor, "b k"]:
        """Log-probability of each class's word; without gradients some texts at a time."""
        tokens = self.tokens(texts)
        if torch.is_grad_enabled():
            return self.backbone.answer_logits(self.prompts(tokens), self.answers)
        order = tokens.end.argsort(stable=True)  # texts of like length, so that little is padded
        parts = [
            self.backbone.answer_logits(self.prompts(tokens.rows(rows)), self.answers)
            for rows in order.split(TEXT_BATCH)
        ]
        return torch.cat(parts)[order.argsort()]

    def logits(self, batch: Batch) -> Float[Tensor, "b k"]:
        """Log-probability of each class's word."""
        return self.ask(batch.texts)


def template_for(backbone: LanguageModel, pattern: str) -> Template:
    """A template as a model reads it: what follows the answer is nothing to a causal one.

    Args:
        backbone: Says whether it is causal.
        pattern: Of the dataset's card.
    """
    front, place, _ = pattern.partition("{answer}")
    if "causal" in backbone.card.capabilities and "{text}" in front:
        return Template(front + place)
    return Template(pattern)
