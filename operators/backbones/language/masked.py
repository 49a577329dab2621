"""Masked language models: an answer stands where the mask token was.

An answer of several tokens has as many mask tokens, and its log-probability is the sum over them,
each given the others masked. So answers of one length share a pass, and a batch costs a pass for
each length.
"""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from operators.backbones.base import BackboneCard, BackboneUnavailable, Tokens, freeze, widened
from operators.backbones.language.base import LanguageModel
from operators.backbones.language.files import (
    UNBOUNDED,
    describe_folder,
    load_folder,
    sentence_length,
)
from operators.backbones.language.inputs import (
    Answers,
    PromptEmbeddings,
    additive,
    by_layer,
    cache_of,
)
from operators.backbones.language.reading import TextReader
from operators.shapes import Float, Int


class SentenceEncoder(LanguageModel):
    """What transformers reads as `AutoModel`, bidirectional and without a head.

    Args:
        card: What is known of it.
        tower: Model of transformers without a head.
        tokenizer: That of transformers.
        device: Where the weights go.
        dtype: Of the frozen weights and of the arithmetic with them.
        most: Tokens of a text that are read, or as many as the model has positions, if fewer.
    """

    def __init__(
        self,
        card: BackboneCard,
        tower: Any,
        tokenizer: Any,
        device: torch.device,
        dtype: torch.dtype,
        most: int = UNBOUNDED,
    ) -> None:
        """See `load`; of a text at most `most` tokens are read, or as many as there are places."""
        config = tower.config
        self.card = card
        self.tower = tower
        self.device = device
        self.dtype = dtype
        self.embedding = tower.get_input_embeddings()
        self.token_width = self.embedding.embedding_dim
        self.feature_width = config.hidden_size
        self.layers = config.num_hidden_layers
        self.key_value_width = config.hidden_size
        self.heads = config.num_attention_heads
        # RoBERTa counts positions from that behind its padding token.
        places = tower.embeddings.position_embeddings
        self.first_position = 0 if places.padding_idx is None else places.padding_idx + 1
        longest = min(config.max_position_embeddings - self.first_position, most)
        self.reader = TextReader(card.name, tokenizer, longest, device, causal=False)
        freeze(self.modules(), device, dtype, buffers=torch.float32)

    @staticmethod
    def describe(name: str, location: str) -> BackboneCard:
        """See `describe_folder`."""
        return describe_folder(name, location, "sentence-encoder")

    @classmethod
    def load(
        cls, card: BackboneCard, location: str, device: torch.device, dtype: torch.dtype
    ) -> "SentenceEncoder":
        """Loads the weights that `card` describes. See `CausalLM.load`."""
        most = sentence_length(location)
        return cls(card, *load_folder("AutoModel", location), device, dtype, most)

    def modules(self) -> Sequence[nn.Module]:
        """See `LanguageModel.modules`."""
        return (self.tower,)

    def embed(self, ids: Int[Tensor, "b n"]) -> Float[Tensor, "b n w"]:
        """See `LanguageModel.embed`."""
        return widened(self.embedding(ids))

    def states(
        self, prompts: PromptEmbeddings, key_values: Float[Tensor, "*b l 2 m h"] | None = None
    ) -> Float[Tensor, "b n w"]:
        """See `LanguageModel.states`."""
        self.refuse_key_values(key_values)
        rows, length, _ = prompts.embeddings.shape
        before = 0 if key_values is None else key_values.shape[-2]
        self.room_for(before + length)
        mask, cache = self.mask(prompts.end, length), {}
        if key_values is not None:
            past = by_layer(key_values.to(self.dtype), self.heads)
            cache = {"past_key_values": cache_of(past, rows)}
            seen = F.pad(mask, (before, 0), value=True)[:, None, None]
            mask = additive(seen, self.dtype).expand(-1, -1, length, -1)
        first = self.first_position + before
        places = torch.arange(first, first + length, device=self.device).expand(rows, -1)
        output = self.tower(
            inputs_embeds=prompts.embeddings.to(self.dtype),
            attention_mask=mask if cache else mask.long(),
            position_ids=places,
            **cache,
        )
        return widened(output.last_hidden_state)


class MaskedLM(SentenceEncoder):
    """What transformers reads as `AutoModelForMaskedLM`, of the kinds in `files.py`.

    See `CausalLM`.
    """

    def __init__(
        self,
        card: BackboneCard,
        model: Any,
        tokenizer: Any,
        device: torch.device,
        dtype: torch.dtype,
    ) -> None:
        self.model = model
        self.prediction: Any = masked_head(model)
        if not tokenizer.mask_token:
            raise BackboneUnavailable(
                f"the tokenizer of {card.name} names no mask token, so nothing can be asked. Fetch "
                "its special_tokens_map.json too."
            )
        super().__init__(card, model.base_model, tokenizer, device, dtype)

    @staticmethod
    def describe(name: str, location: str) -> BackboneCard:
        """See `describe_folder`."""
        return describe_folder(name, location, "masked-lm")

    @classmethod
    def load(
        cls, card: BackboneCard, location: str, device: torch.device, dtype: torch.dtype
    ) -> "MaskedLM":
        """Loads the weights that `card` describes. See `CausalLM.load`."""
        return cls(card, *load_folder("AutoModelForMaskedLM", location), device, dtype)

    def modules(self) -> Sequence[nn.Module]:
        """See `LanguageModel.modules`."""
        return (self.model,)

    def head(self, states: Float[Tensor, "*b w"]) -> Float[Tensor, "*b V"]:
        """See `LanguageModel.head`."""
        return widened(self.prediction(states.to(self.dtype)))

    def answer_logits(
        self,
        prompts: PromptEmbeddings,
        answers: Answers,
        key_values: Float[Tensor, "*b l 2 m h"] | None = None,
    ) -> Float[Tensor, "b c"]:
        """See `LanguageModel.answer_logits`; a pass for each length of an answer."""
        rows = torch.arange(len(prompts.end), device=self.device)[:, None]
        columns, parts = [], []
        for length in answers.lengths.unique().tolist():
            chosen = (answers.lengths == length).nonzero()[:, 0]
            wide = self.widened_slots(prompts, length)
            places = prompts.slots[:, None] + torch.arange(length, device=self.device)
            chances = self.head(self.states(wide, key_values)[rows, places]).log_softmax(dim=-1)
            wanted = answers.ids[chosen, :length]  # (a, t) among chances (b, t, V)
            each = [chances[:, place, wanted[:, place]] for place in range(length)]
            parts.append(torch.stack(each).sum(dim=0))
            columns.append(chosen)
        return torch.cat(parts, dim=1)[:, torch.cat(columns).argsort()]

    def widened_slots(self, prompts: PromptEmbeddings, length: int) -> PromptEmbeddings:
        """Prompts with `length` mask tokens in place of the one.

        Args:
            prompts: With one mask token a row, at `slots`.
            length: Tokens of the answer that is scored; the rest of each row moves back by one
                less.
        """
        more = length - 1
        if not more:
            return prompts
        n = prompts.embeddings.shape[1] + more
        places = torch.arange(n, device=self.device)
        slots = prompts.slots[:, None]
        source = torch.where(places <= slots, places, (places - more).maximum(slots))
        index = source[..., None].expand(-1, -1, self.token_width)
        return replace(
            prompts, embeddings=prompts.embeddings.gather(1, index), end=prompts.end + more
        )

    @torch.no_grad()
    def log_prob(self, texts: Sequence[str]) -> Float[Tensor, "b"]:  # noqa: F821
        """See `LanguageModel.log_prob`: each token masked in turn, given all others.

        A pseudo-log-likelihood: it is comparable between texts, and no probability.

        Source: Salazar et al., "Masked Language Model Scoring", ACL 2020,
        https://arxiv.org/abs/1910.14659, equation 1.
        """
        ids, end = self.tokenize(texts)
        last = end - self.reader.end  # of a text's own tokens
        row, place = torch.nonzero(
            (torch.arange(ids.shape[1], device=self.device) >= self.reader.start)
            & self.mask(last, ids.shape[1]),
            as_tuple=True,
        )
        hidden = ids[row].clone()
        wanted = hidden[torch.arange(len(row), device=self.device), place]
        hidden[torch.arange(len(row), device=self.device), place] = (
            self.reader.tokenizer.mask_token_id
        )

        found = []
        for some in torch.arange(len(row), device=self.device).split(64):
            longest = int(end[row[some]].max()) + 1
            tokens = Tokens(hidden[some, :longest], end[row[some]])
            prompts = PromptEmbeddings(self.embed(tokens.ids), tokens.end, place[some])
            states = self.states(prompts)[torch.arange(len(some), device=self.device), place[some]]
            found.append(self.token_log_probs(states, wanted[some]))
        chances = torch.cat(found)
        return torch.zeros(len(texts), dtype=chances.dtype, device=self.device).index_add(
            0, row, chances
        )


def masked_head(model: Any) -> Any:
    """From states of a masked model to logits: the part of it behind its layers."""
    kind = model.config.model_type
    if kind == "bert":
        return model.cls
    if kind == "distilbert":
        return nn.Sequential(
            model.vocab_transform, model.activation, model.vocab_layer_norm, model.vocab_projector
        )
    if kind == "electra":
        return nn.Sequential(model.generator_predictions, model.generator_lm_head)
    return model.lm_head  # RoBERTa and its kin
