"""Block P, prompt tokens: sentences with places for learned context vectors."""

from collections.abc import Mapping, Sequence
from typing import Any, Literal

import torch
from torch import Tensor

from operators.backbones import DualEncoder, TextPrompts
from operators.shapes import Float

ClassPosition = Literal["end", "middle", "front"]
PLACEHOLDER = "X"  # one token in every vocabulary


@torch.no_grad()
def prompt_tokens(
    backbone: DualEncoder,
    names: Sequence[str],
    *,
    n_context: int,
    position: ClassPosition,
    ending: str = ".",
    cut: bool = False,
) -> TextPrompts:
    """Lays out `[context] name.`, `[context] name [context].` or `name [context].`.

    Args:
        backbone: Gives tokens and embeddings.
        names: Class names.
        n_context: m, context tokens a prompt.
        position: Where the class name stands; in the middle, the first half of the context,
            rounded down, goes before it.
        ending: What follows the last word; public code mostly has a full stop there.
        cut: A prompt that is too long loses its last words, and is not refused.

    Raises:
        ValueError: A prompt is longer than the text tower reads.

    Source: Zhou et al., "Learning to Prompt for Vision-Language Models", IJCV 2022, sec. 3.2.
    """
    before = {"end": n_context, "middle": n_context // 2, "front": 0}[position]
    head = f"{PLACEHOLDER} " * before
    tail = f" {PLACEHOLDER}" * (n_context - before)
    tokens = backbone.tokenize([f"{head}{name}{tail}{ending}" for name in names], cut=cut)
    # A name's own length: its tokens less the end token, and the start token where there is one.
    name_lengths = backbone.tokenize(list(names), cut=cut).end - backbone.text_start
    index = torch.arange(n_context, device=tokens.ids.device)
    after_name = torch.where(index >= before, name_lengths[:, None], 0)
    slots = backbone.text_start + index + after_name
    return TextPrompts(tokens.ids, backbone.embed(tokens.ids), tokens.end, slots)


@torch.no_grad()
def first_learned(
    backbone: DualEncoder, texts: Sequence[str], n_context: int, *, cut: bool = False
) -> TextPrompts:
    """Texts, of which the first tokens are learned.

    Args:
        backbone: Gives tokens and embeddings.
        texts: One a class; each begins with as many tokens, which give way to learned ones.
        n_context: m, how many.
        cut: A prompt that is too long loses its last words, and is not refused.

    Raises:
        ValueError: A prompt is longer than the text tower reads.
    """
    tokens = backbone.tokenize(texts, cut=cut)
    index = torch.arange(n_context, device=tokens.ids.device)
    slots = (backbone.text_start + index).expand(len(texts), -1)
    return TextPrompts(tokens.ids, backbone.embed(tokens.ids), tokens.end, slots)


@torch.no_grad()
def worded_context(backbone: DualEncoder, words: str) -> Float[Tensor, "1 m w"]:
    """The embeddings of a phrase such as `a photo of a`, as a first context.

    Args:
        backbone: Gives tokens and embeddings.
        words: m is the number of its tokens, which for a rare word is more than one.
    """
    tokens = backbone.tokenize([words])
    return backbone.embed(tokens.ids)[:, backbone.text_start : int(tokens.end[0])].clone()


def random_context(
    shape: Sequence[int], std: float, generator: torch.Generator, like: Tensor
) -> Tensor:
    """Draws N(0, std^2) on the CPU, so that the same seed gives the same start anywhere.

    Args:
        shape: Of what is drawn.
        std: Standard deviation.
        generator: On the CPU.
        like: On whose device the result goes; its numbers are not read.
    """
    return (std * torch.randn(tuple(shape), generator=generator)).to(like.device)


@torch.no_grad()
def started_prompts(
    backbone: DualEncoder,
    names: Sequence[str],
    *,
    words: str,
    n_context: int,
    std: float,
    generator: torch.Generator,
    cut: bool = False,
) -> tuple[TextPrompts, Float[Tensor, "m w"]]:
    """Lays out `words name.`, where the first words are learned, and gives what they start from.

    With `a photo of a` and two tokens, `a photo` is learned and `of a` stays as it is: that
    is what MaPLe's code does. Without words it is `[context] name.` and a random start.

    Args:
        backbone: Gives tokens and embeddings.
        names: Class names.
        words: At least `n_context` of them, or none.
        n_context: m, learned tokens a prompt.
        std: Standard deviation of a random start.
        generator: Draws a random start.
        cut: A prompt that is too long loses its last words.
    """
    if not words:
        prompts = prompt_tokens(backbone, names, n_context=n_context, position="end", cut=cut)
        shape = (n_context, backbone.token_width)
        return prompts, random_context(shape, std, generator, like=prompts.embeddings)
    texts = [f"{words} {name}." for name in names]
    prompts = first_learned(backbone, texts, n_context, cut=cut)
    return prompts, worded_context(backbone, words)[0, :n_context]


def refuse_few_words(n_context: int, words: str, *, called: str = "n_context") -> None:
    """Raises where more tokens are to start from words than there are words.

    Args:
        n_context: Tokens that are learned.
        words: What they start from; empty for a random start.
        called: Name of the hyperparameter that asks for `n_context`.

    Raises:
        ValueError: Names both and the ways out.
    """
    if words and len(words.split()) < n_context:
        count = len(words.split())
        raise ValueError(
            f"{called}={n_context}, but context_init {words!r} has {count} words: ask for "
            f"{called}={count} or fewer, or context_init='' for a random start."
        )


def idle_start(hyperparameters: Mapping[str, Any]) -> dict[str, str]:
    """For `Method.idle`: with words to start from, nothing of the first context is random."""
    words = hyperparameters["context_init"]
    if not words:
        return {}
    return {"init_std": f"the context starts from {words!r}. Ask for context_init='' as well."}


def refuse_other_length(n_context: int, words: str) -> None:
    """Raises where not as many tokens are learned as there are words to start from.

    Args:
        n_context: Tokens that are learned.
        words: What they start from; empty for a random start.

    Raises:
        ValueError: Names both and the ways out.
    """
    count = len(words.split())
    if words and count != n_context:
        raise ValueError(
            f"n_context={n_context}, but context_init {words!r} has {count} words: "
            f"ask for n_context={count}, or context_init='' for a random start."
        )
