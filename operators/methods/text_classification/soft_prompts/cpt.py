"""CPT: the embeddings of in-context examples are moved a little, their labels apart.

Source: Blau et al., "Context-aware Prompt Tuning: Advancing In-Context Learning with Adversarial
Methods", 2024, https://arxiv.org/abs/2410.17222, sections 3.2 and 3.3, and the authors' code in
Hugging Face's `peft` (tuners/cpt). The examples stand in front of the question as token embeddings;
what is learned is added to those of their texts and of the template, and is projected onto a ball
about zero before each pass. The loss is that of the labels in the context and of the text's own.
"""

from collections.abc import Sequence
from dataclasses import replace
from typing import Annotated, Any, NamedTuple

import torch
from torch import Tensor, nn

from operators.backbones.language import (
    Answers,
    LanguageModel,
    PromptEmbeddings,
    PromptTokens,
    Template,
)
from operators.backbones.language.inputs import padded
from operators.blocks.demonstrations import chosen_examples, fitting_examples
from operators.bounds import Bounds, Brief, Share
from operators.engine.transfer import onto
from operators.episodes.episode import Batch, Classes, FewShot
from operators.methods.base import MethodCard
from operators.methods.text_classification.base import PromptClassifier
from operators.shapes import Float
from operators.tuning import FitReport, Tuning, tune

SEPARATOR, INPUT_TEMPLATE, INPUT, OUTPUT_TEMPLATE, LABEL = range(5)  # what a token is part of
BETWEEN = "\n\n"  # examples
WIDTH = 2048  # of the embeddings that the published radii are for

Radius = Annotated[float, Bounds(0, 1000)]


class ExampleTokens(NamedTuple):
    """Examples as tokens.

    Attributes:
        ids: (n,) token ids.
        parts: (n,) what each is part of.
        example: (n,) which example each belongs to, from 0.
    """

    ids: Tensor
    parts: Tensor
    example: Tensor


class CPT(PromptClassifier):
    """Shows examples whose embeddings are learned within a radius, and asks.

    Dimensions: b texts, n tokens of the examples, w width of a token embedding.

    Args:
        backbone: Causal language model.
        classes: Their template and words.
        generator: Not used.
        n_examples: Examples that are shown at most, the classes in turn; fewer where they would
            take more than half of what the model reads.
        radius: Of what is added to a token of an example's text, at a width of 2,048; it grows
            with the root of the width.
        template_radius: The same of a token of the template.
        decay: Weight of each example's label over that of the next one; the text's own has 1.
    """

    card = MethodCard(
        title="CPT (context-aware prompt tuning)",
        family="soft_prompts",
        tunes="what is added to the embeddings of in-context examples, their labels apart",
        source="Blau et al., 2024, https://arxiv.org/abs/2410.17222",
        cost="a step takes its texts behind all examples through the language model and back",
        needs=frozenset({"answers", "causal"}),
        features=False,
        departures=(
            "examples are told apart by an empty line of the separator's kind and no end token",
            "examples that are shown are not trained on, as in peft's guide, unless all are shown",
        ),
    )
    tuning = Tuning(
        optimizer="adamw",
        lr=1e-4,
        epochs=5,
        batch_size=1,
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
        n_examples: Annotated[int, Bounds(1, 1024), Brief(1)] = 10,
        radius: Radius = 0.2,
        template_radius: Radius = 0.1,
        decay: Share = 0.95,
    ) -> None:
        super().__init__(backbone, classes)
        self.n_examples = n_examples
        self.radius = radius
        self.template_radius = template_radius
        self.decay = decay
        self.show(ExampleTokens(*(torch.empty(0, dtype=torch.long, device=backbone.device),) * 3))

    ids: Tensor
    parts: Tensor
    example: Tensor

    def show(self, context: ExampleTokens) -> None:
        """Puts examples in front of every question, not moved yet."""
        for name, value in context._asdict().items():
            self.register_buffer(name, value.to(self.backbone.device))
        # Read once, not in each step: which tokens are labels, and how many examples they are of.
        self.labels = (self.parts == LABEL).nonzero()[:, 0]
        self.examples = int(self.example[-1]) + 1 if len(self.labels) else 0
        shape = (len(context.ids), self.backbone.token_width)
        self.shift = nn.Parameter(torch.zeros(shape, device=self.backbone.device))
        self.learned_tokens = len(context.ids)

    def fit(
        self, shots: FewShot, *, tuning: Tuning | None, generator: torch.Generator
    ) -> FitReport:
        """Draws the examples, and moves them by what the other texts teach. See `Method.fit`."""
        labels, texts = shots.train.host_labels.tolist(), shots.train.texts
        order = chosen_examples(labels, generator)
        texts = [texts[row] for row in order]
        words = [self.classes.words[labels[row]] for row in order]
        shown = fitting_examples(self.backbone, self.template, texts, words, self.n_examples)
        texts, words = ([values[place] for place in shown] for values in (texts, words))
        self.show(context_of(self.backbone, self.template, texts, words))
        if tuning is None:
            return FitReport()
        rest = [row for place, row in enumerate(order) if place not in shown] or order
        train = shots.train.select(torch.tensor(rest))
        return tune(self, replace(shots, train=train), tuning, generator)

    def radii(self) -> Float[Tensor, "n"]:  # noqa: F821
        """How far each token may be moved; labels and separators not at all."""
        scale = (self.backbone.token_width / WIDTH) ** 0.5
        found = torch.zeros(len(self.parts), device=self.parts.device)
        found[self.parts == INPUT] = self.radius * scale
        template = (self.parts == INPUT_TEMPLATE) | (self.parts == OUTPUT_TEMPLATE)
        found[template] = self.template_radius * scale
        return found

    def context(self) -> Float[Tensor, "n w"]:
        """The moved embeddings of the examples, projected first."""
        radii = self.radii()
        with torch.no_grad():
            length = self.shift.norm(dim=1).clamp(min=1e-12)
            self.shift.mul_((radii / length).clamp(max=1.0)[:, None])
        return self.backbone.embed(self.ids[None])[0] + self.shift * (radii > 0)[:, None]

    def prompts(self, tokens: PromptTokens) -> PromptEmbeddings:
        """The question behind the examples."""
        return super().prompts(tokens).with_soft_prompt(self.context())

    def loss(self, batch: Batch) -> Float[Tensor, ""]:
        """Mean weighted cross-entropy of all label tokens, over the whole vocabulary."""
        start = self.backbone.reader.start
        # What the host knows says where all stands, so nothing is read from a device.
        right = batch.host_labels.tolist()
        tokens = self.tokens(batch.texts)
        answered = with_answers(tokens, self.answers, right)
        prompts = self.backbone.embed_prompts(answered).with_soft_prompt(self.context())
        states = self.backbone.states(prompts)
        # Of the context, the same in every row, and of each row's own answer behind it.
        known = self.labels
        weights = self.decay ** (self.examples - self.example[known])
        own_tokens = [(r, i) for r, c in enumerate(right) for i in range(len(self.answers.rows[c]))]
        row, step = onto(torch.tensor(own_tokens), batch.device).T
        place = len(self.ids) + tokens.end[row] + 1 + step
        read = torch.cat([states[0, start + known - 1], states[row, place - 1]])
        wanted = torch.cat([self.ids[known], self.answers.ids[batch.labels[row], step]])
        found = -self.backbone.token_log_probs(read, wanted)
        of_context, own = found[: len(known)], found[len(known) :]
        total = len(right) * (of_context * weights).sum() + own.sum()
        return total / (len(right) * len(known) + len(own))

    def load_state_dict(self, state_dict: Any, *args: Any, **kwargs: Any) -> Any:
        """Takes the examples from the file."""
        self.show(ExampleTokens(*(state_dict[name].clone() for name in ExampleTokens._fields)))
        return super().load_state_dict(state_dict, *args, **kwargs)


def context_of(
    backbone: LanguageModel, template: Template, texts: list[str], words: list[str]
) -> ExampleTokens:
    """Examples as tokens, and what each token is part of.

    Args:
        backbone: Gives the tokenizer.
        template: Of the question, which the examples share.
        texts: Of the examples, in order.
        words: Answer of each.
    """
    ids, parts, example = [], [], []
    start = backbone.reader.start
    for number, (text, word) in enumerate(zip(texts, words, strict=True)):
        filled = template.fill(text, word)
        ((first, last),) = filled.fields
        answer_end = filled.slot + len(template.space + word)
        for token, (begin, end) in backbone.reader.read_text(filled.text + BETWEEN)[start:]:
            if end > len(filled.text):
                part = SEPARATOR
            elif end > filled.slot:
                part = LABEL if begin < answer_end else OUTPUT_TEMPLATE
            elif end > last:
                part = OUTPUT_TEMPLATE
            else:
                part = INPUT if end > first else INPUT_TEMPLATE
            ids.append(token)
            parts.append(part)
            example.append(number)
    return ExampleTokens(
        *(torch.tensor(values, dtype=torch.long) for values in (ids, parts, example))
    )


def with_answers(tokens: PromptTokens, answers: Answers, right: Sequence[int]) -> PromptTokens:
    """Questions with an answer behind each.

    Args:
        tokens: Questions, as the model's reader gives them.
        answers: Of all classes.
        right: Class of each question.
    """
    assert tokens.layout is not None
    layout = tokens.layout.followed([answers.rows[label] for label in right])
    ids, end = padded(list(map(list, layout.rows)), tokens.ids.device)
    return PromptTokens(ids, end, tokens.slots, layout)
