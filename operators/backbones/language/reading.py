"""From texts to tokens, as a language model reads them: whole texts, templates, answers."""

from collections.abc import Sequence
from typing import Any

import torch

from operators.backbones.base import Tokens
from operators.backbones.language.inputs import Answers, Layout, PromptTokens, padded
from operators.backbones.language.template import FilledTemplate, Row, Template
from operators.engine.transfer import onto


class TextReader:
    """The tokenizer of a language model, and how much it reads.

    Attributes:
        name: Of the model, for messages.
        tokenizer: That of transformers.
        context_length: Most tokens of a prompt with its answer and all learned tokens.
        device: Where token ids are wanted.
        causal: An answer is what comes next, and no mask token.
        mark: The mask token; empty where there is none, or none is read.
        start: Special tokens in front of a text.
        end: Special tokens behind it.
    """

    def __init__(
        self,
        name: str,
        tokenizer: Any,
        context_length: int,
        device: torch.device,
        *,
        causal: bool,
    ) -> None:
        self.name = name
        self.tokenizer = tokenizer
        self.context_length = context_length
        self.device = device
        self.causal = causal
        self.mark = "" if causal else tokenizer.mask_token or ""
        with_special = tokenizer("a").input_ids
        alone = tokenizer("a", add_special_tokens=False).input_ids
        self.start = with_special.index(alone[0])
        self.end = len(with_special) - self.start - len(alone)

    def texts(self, texts: Sequence[str], *, cut: bool = False) -> Tokens:
        """Token ids of whole texts, with the model's special tokens.

        Args:
            texts: At least one, none without a token.
            cut: A longer text than the model reads loses its last words and is not refused.

        Raises:
            ValueError: A text is longer than the model reads, or empty; the message names it.
        """
        rows = []
        for text in texts:
            whole = FilledTemplate(text, ((0, len(text)),), len(text))
            places = self.cut_places(whole, self.context_length) if cut else self.read_text(text)
            rows.append([token for token, *_ in places])
        for text, row in zip(texts, rows, strict=True):
            self.refuse_length(text, len(row))
        return Tokens(*padded(rows, self.device))

    def prompts(
        self, rows: Sequence[Row], template: Template, *, reserve: int = 0, context: str = ""
    ) -> PromptTokens:
        """Token ids of a filled template for every row.

        A prompt that is too long loses the last tokens of its longest text, one by one. Template,
        context and the room for the answer are never cut.

        Args:
            rows: A text each, or texts by field of the template.
            template: What is asked of each.
            reserve: Tokens kept free for soft prompts and the longest answer.
            context: In front of every prompt, such as `demonstrations`.

        Raises:
            ValueError: The template does not suit the model, or leaves no room.
        """
        if self.causal and not template.answer_last:
            raise ValueError(
                f"template {template.pattern!r} goes on after {{answer}}, which {self.name} "
                "does not see: it reads from left to right. Put {answer} at the end."
            )
        ids, slots = [], []
        for row in rows:
            filled = template.fill(row, self.mark, context=context)
            places = self.cut_places(filled, self.context_length - reserve)
            ids.append([token for token, _ in places])
            # A text may hold the mask token too, so it is looked for where the answer is.
            slots.append(
                next(
                    i
                    for i, (token, begin) in enumerate(places)
                    if token == self.tokenizer.mask_token_id and begin >= filled.slot
                )
                if not self.causal
                else len(places) - 1
            )
        padded_ids, end = padded(ids, self.device)
        places = onto(torch.tensor(slots), self.device)
        return PromptTokens(padded_ids, end, places, Layout.of(ids))

    def read_text(self, text: str) -> list[tuple[int, tuple[int, int]]]:
        """Token ids of a text with special ones, each with its (first, last + 1) character."""
        read = self.tokenizer(text, return_offsets_mapping=True)
        places = list(zip(read.input_ids, read.offset_mapping, strict=True))
        # Behind an end token no answer would come.
        return places if not self.causal else places[: len(places) - self.end]

    def cut_places(self, filled: FilledTemplate, limit: int) -> list[tuple[int, int]]:
        """Token ids of a filled template, each with the character of the template where it begins.

        Texts lose their ends until all fits.

        Args:
            filled: The template, and where a row's texts are in it.
            limit: Tokens that there is room for.

        Raises:
            ValueError: What is not to be cut is longer than that.
        """
        places = self.read_text(filled.text)
        # A token that begins in a field but ends outside of it belongs to the template.
        inside: list[list[int]] = [
            [i for i, (_, (begin, end)) in enumerate(places) if begin < end and first < end <= last]
            for first, last in filled.fields
        ]
        gone = set()
        while len(places) - len(gone) > limit:
            longest = max(inside, key=len, default=[])
            if not longest:
                raise ValueError(
                    f"a prompt of {self.name} has room for {limit} tokens, and its template "
                    f"with examples takes {len(places) - len(gone)} without any text: "
                    f"{filled.text[:80]!r}. Take fewer examples or learned tokens."
                )
            gone.add(longest.pop())
        return [(t, begin) for i, (t, (begin, _)) in enumerate(places) if i not in gone]

    def answers(self, words: Sequence[str], template: Template) -> Answers:
        """The words of a verbalizer as tokens that may follow the template's text.

        Args:
            words: One a class, or several, which a method puts together.
            template: Says what stands before the answer.

        Raises:
            ValueError: A word is empty, is unknown to the tokenizer, or has the tokens of another.
        """
        seen: dict[tuple[int, ...], str] = {}
        for word in words:
            ids = tuple(self.answer_ids(word, template))
            if not word.strip() or not ids or self.tokenizer.unk_token_id in ids:
                raise ValueError(
                    f"{word!r} is no answer that {self.name} can give: its tokenizer does not "
                    "know it. Choose another word."
                )
            if ids in seen:
                raise ValueError(
                    f"the answers {seen[ids]!r} and {word!r} are the same tokens of "
                    f"{self.name}. Choose other words."
                )
            seen[ids] = word
        ids, end = padded([list(row) for row in seen], self.device)
        return Answers(tuple(words), ids, end + 1, tuple(seen))

    def answer_ids(self, word: str, template: Template) -> list[int]:
        """Token ids of one answer, read as they stand behind the template's text.

        Args:
            word: Of the verbalizer.
            template: Says what stands before the answer, and whether there is a space between.
        """
        anchor = template.before_answer[-20:] or "."
        # Some tokenizers put a space in front of all they are given, so an answer is read where
        # it stands; where that changes the tokens before it, it is read alone.
        front = self.tokenizer(anchor, add_special_tokens=False).input_ids
        both = self.tokenizer(anchor + template.space + word, add_special_tokens=False).input_ids
        if both[: len(front)] == front:
            return both[len(front) :]
        return self.tokenizer(template.space + word, add_special_tokens=False).input_ids

    def refuse_length(self, text: str, length: int) -> None:
        """Raises where a text has no token, or more than the model reads.

        Args:
            text: As the user knows it.
            length: In tokens, with special and learned ones.

        Raises:
            ValueError: Names the text, its length and the limit.
        """
        if not length:
            raise ValueError(f"the text {text!r} has no token of {self.name}; leave it out.")
        if length > self.context_length:
            raise ValueError(
                f"{text[:60]!r} has {length} tokens, but {self.name} reads "
                f"{self.context_length}. Shorten it."
            )
