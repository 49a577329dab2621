"""What a language model is: frozen, prompted at its input, read in the place of an answer.

Not in the operation counts of engine/accounting.py yet: their plain form is that of towers.
"""

from abc import abstractmethod
from collections.abc import Callable, Sequence

import torch
from torch import Tensor
from torch.nn import functional as F
from torch.utils.checkpoint import checkpoint

from operators.backbones.base import Backbone, Tokens
from operators.backbones.language.inputs import (
    Answers,
    PromptEmbeddings,
    PromptTokens,
    common_prefix,
)
from operators.backbones.language.reading import TextReader
from operators.backbones.language.template import Row, Template
from operators.engine.room import in_room
from operators.shapes import Float, Int

TEXT_BATCH = 32  # texts a forward pass where no gradient is needed
HEAD_ROWS = 512  # states that go through the head at once: 100 MB of logits at 49,152 tokens

# What a method may ask of a language model beyond sentence features.
CAPABILITIES = {
    "answers": "scores of words as answers to a template: it has a language-model head",
    "causal": "reads from left to right: whole texts have a probability, and examples a cache",
    "key-value-prompts": "learned keys and values in front of every layer (P-Tuning v2)",
}


class LanguageModel(Backbone):
    """A frozen language model, or an encoder of sentences.

    Dimensions: b texts, n tokens a text, w width of a token embedding, m learned tokens, c answers,
    V tokens of the vocabulary, l layers. Weights and the arithmetic with them have the precision
    that the model was loaded in; embeddings, states and logits leave it in float32 at least.
    Padding changes no number.

    Attributes:
        reader: Its tokenizer, and what it reads of texts and templates.
        token_width: w.
        feature_width: Size of a sentence feature.
        dtype: Of its weights.
        layers: l.
        key_value_width: Numbers of one layer's key, and as many of its value, of one token.
    """

    title = "language model"
    reader: TextReader
    token_width: int
    feature_width: int
    dtype: torch.dtype
    layers: int
    key_value_width: int

    @abstractmethod
    def embed(self, ids: Int[Tensor, "b n"]) -> Float[Tensor, "b n w"]:
        """Word embeddings, before positions are added: where soft prompts are learned."""

    @abstractmethod
    def states(
        self, prompts: PromptEmbeddings, key_values: Float[Tensor, "*b l 2 m h"] | None = None
    ) -> Float[Tensor, "b n w"]:
        """Hidden states after the last layer; those of padding mean nothing.

        Differentiable in the embeddings and in `key_values`.

        Args:
            prompts: Padded to the longest.
            key_values: m keys and m values of width h = `key_value_width` that every token of
                every row sees in each layer, before its own: the same for all rows, or one set
                each. The text's positions begin at m. Needs the capability `key-value-prompts`.

        Source of `key_values`: Liu et al., "P-Tuning v2: Prompt Tuning Can Be Comparable to
        Fine-tuning Universally Across Scales and Tasks", ACL 2022,
        https://arxiv.org/abs/2110.07602, section 3.2.
        """

    @property
    def context_length(self) -> int:
        """Most tokens of a prompt with its answer and all learned tokens."""
        return self.reader.context_length

    def tokenize(self, texts: Sequence[str], *, cut: bool = False) -> Tokens:
        """Token ids of whole texts; see `TextReader.texts`."""
        return self.reader.texts(texts, cut=cut)

    def tokenize_prompts(
        self, rows: Sequence[Row], template: Template, *, reserve: int = 0, context: str = ""
    ) -> PromptTokens:
        """Token ids of a filled template for every row; see `TextReader.prompts`."""
        self.refuse_without_head()
        return self.reader.prompts(rows, template, reserve=reserve, context=context)

    def tokenize_answers(self, words: Sequence[str], template: Template) -> Answers:
        """The words of a verbalizer as tokens; see `TextReader.answers`."""
        self.refuse_without_head()
        return self.reader.answers(words, template)

    def embed_prompts(self, tokens: PromptTokens) -> PromptEmbeddings:
        """What enters the model where nothing is learned."""
        known, start = tokens.layout, self.reader.start
        shared = common_prefix(tokens.ids, tokens.end) if known is None else known.shared
        full = None if known is None else known.full
        embeddings = self.embed(tokens.ids)
        return PromptEmbeddings(embeddings, tokens.end, tokens.slots, start, shared, full)

    def head(self, states: Float[Tensor, "*b w"]) -> Float[Tensor, "*b V"]:
        """Logits over the vocabulary.

        Raises:
            ValueError: The model has no language-model head.
        """
        self.refuse_without_head()
        raise NotImplementedError

    def slot_logits(
        self, prompts: PromptEmbeddings, key_values: Float[Tensor, "*b l 2 m h"] | None = None
    ) -> Float[Tensor, "b V"]:
        """Logits over the vocabulary in the answer's place; see `states`."""
        states = self.states(prompts, key_values)
        return self.head(states[torch.arange(len(states), device=self.device), prompts.slots])

    def answer_logits(
        self,
        prompts: PromptEmbeddings,
        answers: Answers,
        key_values: Float[Tensor, "*b l 2 m h"] | None = None,
    ) -> Float[Tensor, "b c"]:
        """Log-probability of each answer in its place, the sum over its tokens.

        Its softmax over the answers is that of a verbalizer. Differentiable as `states` is.

        Args:
            prompts: With the soft prompt, where there is one.
            answers: Of one or more tokens each.
            key_values: See `states`.

        Raises:
            ValueError: The model has no head, or a prompt leaves no room for an answer.
        """
        self.refuse_without_head()
        raise NotImplementedError

    def log_prob(self, texts: Sequence[str]) -> Float[Tensor, "b"]:  # noqa: F821
        """Log-probability of each text in nats, without gradients.

        Raises:
            ValueError: The model has no head.
        """
        self.refuse_without_head()
        raise NotImplementedError

    @torch.no_grad()
    def sentence_features(self, texts: Sequence[str]) -> Float[Tensor, "b d"]:
        """Mean of the last hidden states over a text's tokens; a longer text is cut."""
        return self.by_length(self.tokenize(texts, cut=True), self.pooled)

    def pooled(self, tokens: Tokens) -> Float[Tensor, "b d"]:
        """One vector a text: the mean over its tokens, special ones included."""
        states = self.states(self.embed_prompts(PromptTokens(tokens.ids, tokens.end, tokens.end)))
        weights = self.mask(tokens.end, states.shape[1]).to(states.dtype)[..., None]
        return (states * weights).sum(dim=1) / weights.sum(dim=1)

    def by_length(self, tokens: Tokens, read: Callable[[Tokens], Tensor]) -> Tensor:
        """What `read` gives for all texts, in their order.

        Args:
            tokens: Of all texts.
            read: Is given some of like length at a time, so that little is padded.
        """
        order = tokens.end.argsort()

        def some(start: int, stop: int) -> Tensor:
            rows = order[start:stop]
            longest = int(tokens.end[rows].max()) + 1
            return read(Tokens(tokens.ids[rows, :longest], tokens.end[rows]))

        return torch.cat(in_room(some, len(order), TEXT_BATCH, "texts"))[order.argsort()]

    def token_log_probs(
        self,
        states: Float[Tensor, "r w"],
        targets: Int[Tensor, "r"],  # noqa: F821
    ) -> Float[Tensor, "r"]:  # noqa: F821
        """Log-probability of one token after each state.

        Logits of a whole vocabulary are large: they are made for some states at a time, and made
        again on the way back.

        Args:
            states: After the last layer.
            targets: Token ids.
        """

        def read(some: Tensor, wanted: Tensor) -> Tensor:
            return -F.cross_entropy(self.head(some), wanted, reduction="none")

        if len(states) <= HEAD_ROWS:
            return read(states, targets)
        chunks = zip(states.split(HEAD_ROWS), targets.split(HEAD_ROWS), strict=True)
        if not (torch.is_grad_enabled() and states.requires_grad):
            return torch.cat([read(*chunk) for chunk in chunks])
        return torch.cat([checkpoint(read, *chunk, use_reentrant=False) for chunk in chunks])

    def mask(self, end: Int[Tensor, "b"], length: int) -> Tensor:  # noqa: F821
        """(b, length): whether a position is a token and no padding.

        Args:
            end: Position of each row's last token.
            length: n, tokens a row with its padding.
        """
        return torch.arange(length, device=end.device) <= end[:, None]

    def refuse_without_head(self) -> None:
        """Raises where the model only encodes sentences.

        Raises:
            ValueError: It has no language-model head.
        """
        if "answers" not in self.card.capabilities:
            raise ValueError(
                f"{self.card.name} encodes sentences and has no language-model head, so it answers "
                "nothing. Take a causal or masked language model."
            )

    def refuse_key_values(self, key_values: Tensor | None) -> None:
        """Raises where keys and values cannot be put into the layers.

        Raises:
            ValueError: The model does not take them, or their shape is another.
        """
        if key_values is None:
            return
        if "key-value-prompts" not in self.card.capabilities:
            raise ValueError(
                f"{self.card.name} takes no keys and values in its layers. Prompt it at its input."
            )
        shape, wanted = tuple(key_values.shape), (self.layers, 2, self.key_value_width)
        if (*shape[-4:-2], shape[-1]) != wanted:
            raise ValueError(
                f"keys and values of shape {shape}: {self.card.name} takes (.., {self.layers}, 2, "
                f"m, {self.key_value_width})."
            )

    def room_for(self, length: int) -> None:
        """Raises where a prompt with its learned tokens and answers is too long.

        Raises:
            ValueError: It is; `reserve` of `tokenize_prompts` keeps room.
        """
        if length > self.context_length:
            raise ValueError(
                f"a prompt with its learned tokens and answers has {length} tokens, but "
                f"{self.card.name} reads {self.context_length}. Keep room with `reserve`."
            )
