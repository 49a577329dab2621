"""Soft prompts: learned tokens at the input of a language model, and where they start."""

from typing import Annotated, Literal

import torch
from torch import Tensor

from operators.backbones.language import Answers, LanguageModel
from operators.bounds import Bounds
from operators.shapes import Float

COMMON = 5000  # token ids that a start is drawn from; tokenizers number common words first
UNIFORM = 0.5

Start = Literal["labels", "vocabulary", "random"]
SoftTokens = Annotated[int, Bounds(1, 1024)]


@torch.no_grad()
def started_prompt(
    backbone: LanguageModel,
    answers: Answers,
    *,
    n_tokens: int,
    start: Start,
    generator: torch.Generator,
) -> Float[Tensor, "m w"]:
    """Token embeddings to learn from, m of them.

    Args:
        backbone: Gives word embeddings.
        answers: The words of the classes.
        n_tokens: m.
        start: `labels`, the mean embedding of each class's word and common words where there are
            more places than classes; `vocabulary`, common words; `random`, uniform within 0.5.
        generator: Draws words or numbers, on the CPU.

    Source: Lester et al., EMNLP 2021, https://arxiv.org/abs/2104.08691, section 3.2.
    """
    width = backbone.token_width
    if start == "random":
        drawn = torch.rand(n_tokens, width, generator=generator) * 2 * UNIFORM - UNIFORM
        return drawn.to(backbone.device)
    special = set(backbone.reader.tokenizer.all_special_ids)
    known = [i for i in range(min(COMMON, len(backbone.reader.tokenizer))) if i not in special]
    order = torch.randperm(len(known), generator=generator)
    ids = [known[int(order[place % len(known)])] for place in range(n_tokens)]
    prompt = backbone.embed(torch.tensor([ids], device=backbone.device))[0]
    if start == "labels":
        rows = [
            backbone.embed(row[None, :length])[0].mean(dim=0)
            for row, length in zip(answers.ids, answers.lengths.tolist(), strict=True)
        ][:n_tokens]
        prompt[: len(rows)] = torch.stack(rows)
    return prompt
