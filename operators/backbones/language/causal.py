"""Causal language models: read from left to right, an answer is what comes next.

What is computed once, exactly:

- Answers share the prompt's pass. Their tokens stand behind it in one sequence, each answer sees
  the prompt and itself alone, and all begin at the position after the prompt's last token.
- Tokens that all rows of a batch have in front (examples, a soft prompt) go through the layers
  once; rows read their keys and values.
- The head sees the states that are asked for, and no others.
"""

from collections.abc import Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from operators.backbones.base import BackboneCard, Tokens, freeze, widened
from operators.backbones.language.base import LanguageModel
from operators.backbones.language.files import describe_folder, load_folder
from operators.backbones.language.inputs import (
    Answers,
    KeyValues,
    PromptEmbeddings,
    PromptTokens,
    additive,
    by_layer,
    cache_of,
)
from operators.backbones.language.reading import TextReader
from operators.engine.transfer import onto
from operators.shapes import Float, Int


class Tails(NamedTuple):
    """Tokens of answers behind their first, one after another.

    Attributes:
        answer: (t,) answer that each belongs to.
        step: (t,) its place in the answer, from 0: there its predecessor stands.
        read: (t,) token before it, which enters the model.
        target: (t,) the token itself.
        longest: Most tokens of an answer behind its first.
    """

    answer: Tensor
    step: Tensor
    read: Tensor
    target: Tensor
    longest: int


class CausalLM(LanguageModel):
    """What transformers reads as `AutoModelForCausalLM`, of the kinds in `files.py`.

    Args:
        card: What is known of it.
        model: Of transformers, with its language-model head.
        tokenizer: That of transformers.
        device: Where the weights go.
        dtype: Of the frozen weights and of the arithmetic with them.
    """

    def __init__(
        self,
        card: BackboneCard,
        model: Any,
        tokenizer: Any,
        device: torch.device,
        dtype: torch.dtype,
    ) -> None:
        config = model.config
        self.card = card
        self.model = model
        self.device = device
        self.dtype = dtype
        self.tower = model.base_model
        self.embedding = model.get_input_embeddings()
        self.output = model.get_output_embeddings()
        self.soft_cap = getattr(config, "final_logit_softcapping", None)
        self.token_width = self.embedding.embedding_dim
        self.feature_width = config.hidden_size
        self.layers = config.num_hidden_layers
        self.heads = getattr(config, "num_key_value_heads", None) or config.num_attention_heads
        split = config.hidden_size // config.num_attention_heads
        self.key_value_width = self.heads * (getattr(config, "head_dim", None) or split)
        # Up to its window a model that slides one sees all there is.
        window = getattr(config, "sliding_window", None) or config.max_position_embeddings
        longest = min(config.max_position_embeddings, window)
        self.reader = TextReader(card.name, tokenizer, longest, device, causal=True)
        freeze(self.modules(), device, dtype, buffers=torch.float32)

    @staticmethod
    def describe(name: str, location: str) -> BackboneCard:
        """See `describe_folder`."""
        return describe_folder(name, location, "causal-lm")

    @classmethod
    def load(
        cls, card: BackboneCard, location: str, device: torch.device, dtype: torch.dtype
    ) -> "CausalLM":
        """Loads the weights that `card` describes.

        Args:
            card: As `describe` gave it.
            location: Folder, or id on the Hugging Face hub.
            device: Where the weights go.
            dtype: Of the frozen weights and of the arithmetic with them.

        Raises:
            BackboneUnavailable: The files are gone, damaged, or lack weights.
        """
        return cls(card, *load_folder("AutoModelForCausalLM", location), device, dtype)

    def modules(self) -> Sequence[nn.Module]:
        """See `LanguageModel.modules`."""
        return (self.model,)

    def embed(self, ids: Int[Tensor, "b n"]) -> Float[Tensor, "b n w"]:
        """See `LanguageModel.embed`."""
        return widened(self.embedding(ids))

    def head(self, states: Float[Tensor, "*b w"]) -> Float[Tensor, "*b V"]:
        """See `LanguageModel.head`."""
        logits = widened(self.output(states.to(self.dtype)))
        return logits if self.soft_cap is None else self.soft_cap * (logits / self.soft_cap).tanh()

    def states(
        self, prompts: PromptEmbeddings, key_values: Float[Tensor, "*b l 2 m h"] | None = None
    ) -> Float[Tensor, "b n w"]:
        """See `LanguageModel.states`."""
        return self.states_with_tails(prompts, None, key_values)

    def states_with_tails(
        self,
        prompts: PromptEmbeddings,
        tails: Tails | None,
        key_values: Float[Tensor, "*b l 2 m h"] | None,
    ) -> Float[Tensor, "b nt w"]:
        """States of prompts, and behind them those of the tokens of all answers.

        Args:
            prompts: n tokens.
            tails: t tokens; None where answers have one token each, which none follows.
            key_values: See `LanguageModel.states`.

        Raises:
            ValueError: They are too long together, or `key_values` are of another shape.
        """
        self.refuse_key_values(key_values)
        rows, length, _ = prompts.embeddings.shape
        past = [] if key_values is None else by_layer(key_values.to(self.dtype), self.heads)
        before = 0 if key_values is None else key_values.shape[-2]
        longest = 0 if tails is None else tails.longest
        self.room_for(before + length + longest)
        embeddings = prompts.embeddings.to(self.dtype)
        common = prompts.shared if rows > 1 and (key_values is None or key_values.ndim == 4) else 0
        front: list[Tensor] = []
        if common:
            places = torch.arange(before, before + common, device=self.device)[None]
            states, past = self.layers_of(embeddings[:1, :common], places, None, past, keep=True)
            front.append(states.expand(rows, -1, -1))
        embeddings = embeddings[:, common:]
        places = torch.arange(before + common, before + length, device=self.device)
        places = places.expand(rows, -1)
        mask: Tensor | None = self.mask(prompts.end, length)
        if tails is None:
            seen = F.pad(mask, (before, 0), value=True)
            full = bool(mask.all()) if prompts.full is None else prompts.full
            mask = None if full else seen.long()
        else:
            answers = widened(self.embedding(tails.read)).to(self.dtype).expand(rows, -1, -1)
            embeddings = torch.cat([embeddings, answers], dim=1)
            after = before + prompts.end[:, None] + 1 + tails.step
            places = torch.cat([places, after], dim=1)
            mask = self.mask_of_tails(mask, tails, before, common)
        states, _ = self.layers_of(embeddings, places, mask, past)
        return widened(torch.cat([*front, states], dim=1))

    def layers_of(
        self,
        embeddings: Float[Tensor, "b n w"],
        places: Int[Tensor, "*b n"],
        mask: Tensor | None,
        past: KeyValues,
        *,
        keep: bool = False,
    ) -> tuple[Float[Tensor, "b n w"], KeyValues]:
        """States after the last layer, and the keys and values of all tokens so far.

        Args:
            embeddings: Tokens.
            places: Their positions.
            mask: (b, p + n) for `past` and tokens; additive (b, 1, n, p + n); None if all count.
            past: Keys and values of p tokens before them.
            keep: Whether keys and values are returned.
        """
        cache: Any = cache_of(past, len(embeddings)) if past or keep else None
        output = self.tower(
            inputs_embeds=embeddings,
            position_ids=places,
            attention_mask=mask,
            past_key_values=cache,
            use_cache=cache is not None,
        )
        kept = [(layer.keys, layer.values) for layer in cache.layers] if keep else []
        return output.last_hidden_state, kept

    def mask_of_tails(self, mask: Tensor, tails: Tails, before: int, common: int) -> Tensor:
        """(b, 1, n - common + t, before + n + t), to be added to scores: who sees whom.

        Args:
            mask: (b, n) tokens of prompts, padding apart.
            tails: Answers' tokens.
            before: Learned keys and values.
            common: Tokens in front that went through the layers before.
        """
        rows, n = mask.shape
        order = torch.arange(n, device=mask.device)
        prompt = (order <= order[common:, None]) & mask[:, None]  # (b, n - common, n)
        own = (tails.answer == tails.answer[:, None]) & (tails.step <= tails.step[:, None])
        count = len(own)
        above = F.pad(prompt, (before, 0), value=True)
        above = F.pad(above, (0, count), value=False)
        below = F.pad(mask, (before, 0), value=True)[:, None].expand(-1, count, -1)
        below = torch.cat([below, own.expand(rows, -1, -1)], dim=2)
        return additive(torch.cat([above, below], dim=1)[:, None], self.dtype)

    def answer_logits(
        self,
        prompts: PromptEmbeddings,
        answers: Answers,
        key_values: Float[Tensor, "*b l 2 m h"] | None = None,
    ) -> Float[Tensor, "b c"]:
        """See `LanguageModel.answer_logits`."""
        tails = tails_of(answers)
        states = self.states_with_tails(prompts, tails, key_values)
        rows = torch.arange(len(states), device=self.device)
        first = self.head(states[rows, prompts.slots]).log_softmax(dim=-1)[:, answers.ids[:, 0]]
        if tails is None:
            return first
        behind = states[:, prompts.embeddings.shape[1] :].flatten(0, 1)
        rest = self.token_log_probs(behind, tails.target.repeat(len(states)))
        return first.index_add(1, tails.answer, rest.view(len(states), -1).to(first.dtype))

    def next_token_log_probs(
        self,
        prompts: PromptEmbeddings,
        rows: Int[Tensor, "r"],  # noqa: F821
        places: Int[Tensor, "r"],  # noqa: F821
        targets: Int[Tensor, "r"],  # noqa: F821
        key_values: Float[Tensor, "*b l 2 m h"] | None = None,
    ) -> Float[Tensor, "r"]:  # noqa: F821
        """Log-probability that chosen tokens come next, each given all before it.

        Differentiable as `states` is. So a loss on words in the midst of a prompt is computed, such
        as the labels of its examples.

        Args:
            prompts: With everything that is learned in them.
            rows: Row of each choice.
            places: Position in the row, learned tokens counted, behind which the token comes.
            targets: Token ids.
            key_values: See `states`.
        """
        return self.token_log_probs(self.states(prompts, key_values)[rows, places], targets)

    @torch.no_grad()
    def log_prob(self, texts: Sequence[str]) -> Float[Tensor, "b"]:  # noqa: F821
        """See `LanguageModel.log_prob`.

        Of all tokens but the first, which follows nothing; where the tokenizer has a start token,
        that is the first.
        """

        def read(tokens: Tokens) -> Tensor:
            ids, end = tokens
            prompts = self.embed_prompts(PromptTokens(ids, end, end))
            rows, places = self.mask(end, ids.shape[1])[:, 1:].nonzero(as_tuple=True)
            found = self.next_token_log_probs(prompts, rows, places, ids[rows, places + 1])
            return torch.zeros_like(end, dtype=found.dtype).index_add(0, rows, found)

        return self.by_length(self.tokenize(texts), read)


def tails_of(answers: Answers) -> Tails | None:
    """What stands behind the first tokens of answers; None where nothing does."""
    behind = [(place, i) for place, ids in enumerate(answers.rows) for i in range(len(ids) - 1)]
    if not behind:
        return None
    answer, step = onto(torch.tensor(behind), answers.ids.device).T
    read, target = answers.ids[answer, step], answers.ids[answer, step + 1]
    return Tails(answer, step, read, target, answers.longest - 1)
