"""Templates: a text becomes a question whose answer is one of a few words (a cloze).

Source: Schick and Schütze, "Exploiting Cloze Questions for Few Shot Text Classification and Natural
Language Inference", EACL 2021, https://arxiv.org/abs/2001.07676, section 3 (pattern, verbalizer).
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from string import Formatter
from typing import NamedTuple

ANSWER = "answer"

Row = str | Mapping[str, str]  # one text, or several by field, such as premise and hypothesis


class FilledTemplate(NamedTuple):
    """A template with one row's texts in it.

    Attributes:
        text: All of it, with nothing, or the mask token, in the place of the answer.
        fields: (first, last + 1) character of each text of the row, in order.
        slot: Character where the answer begins.
    """

    text: str
    fields: tuple[tuple[int, int], ...]
    slot: int


@dataclass(frozen=True)
class Template:
    r"""Text with fields in braces, one of which is `{answer}`: "Review: {text}\nFeeling: {answer}".

    Spaces before the answer belong to the answer: tokenizers of byte pairs have " good" as a
    token, and never see "good" after a space.

    Attributes:
        pattern: As a user writes it; `{{` stands for a brace.

    Raises:
        ValueError: It has not exactly one `{answer}`, no other field, or a field without a name.
    """

    pattern: str

    def __post_init__(self) -> None:
        names = [name for _, name in self.parts if name is not None]
        if names.count(ANSWER) != 1 or len(names) < 2 or not all(n.isidentifier() for n in names):
            raise ValueError(
                f"template {self.pattern!r} needs {{answer}} once and a named field for each text, "
                "as in 'Review: {text} Sentiment: {answer}'."
            )

    @cached_property
    def parts(self) -> tuple[tuple[str, str | None], ...]:
        """Literal text, and the name of the field behind it."""
        try:
            found = list(Formatter().parse(self.pattern))
        except ValueError as error:
            raise ValueError(
                f"template {self.pattern!r}: {error}. Write {{{{ and }}}} for braces."
            ) from error
        parts: list[tuple[str, str | None]] = []
        for literal, name, spec, conversion in found:
            if spec or conversion:
                raise ValueError(f"template {self.pattern!r}: write {{{name}}} without a format.")
            parts.append((literal, name))
        return tuple(parts)

    @cached_property
    def fields(self) -> tuple[str, ...]:
        """Names of the texts, in order."""
        return tuple(name for _, name in self.parts if name not in (None, ANSWER))  # pyright: ignore

    @property
    def answer_last(self) -> bool:
        """Whether nothing but white space follows the answer, as a causal model needs it."""
        names = [name for _, name in self.parts]
        return not any(
            name is not None or literal.strip()
            for literal, name in self.parts[names.index(ANSWER) + 1 :]
        )

    @property
    def before_answer(self) -> str:
        """The literal text right before the answer, without the spaces that belong to it."""
        return self._before_answer.rstrip(" ")

    @cached_property
    def _before_answer(self) -> str:
        return next(literal for literal, name in self.parts if name == ANSWER)

    @property
    def space(self) -> str:
        """What an answer begins with: a space where the template has one before it."""
        return " " if self._before_answer.endswith(" ") else ""

    def fill(self, row: Row, answer: str = "", *, context: str = "") -> FilledTemplate:
        """The template with a row's texts.

        Args:
            row: The text of the only field, or texts by field.
            answer: What stands in the slot: the mask token, or the answer of an example. What
                follows the answer is left out where this is empty.
            context: Put in front of all, such as examples with their answers.

        Raises:
            ValueError: The row lacks a field.
        """
        texts = {self.fields[0]: row} if isinstance(row, str) else row
        if missing := [name for name in self.fields if name not in texts]:
            raise ValueError(
                f"a row has no {missing[0]!r}, which template {self.pattern!r} asks for."
            )
        filled, spans, slot = context, [], 0
        for literal, name in self.parts:
            filled += self.before_answer if name == ANSWER else literal
            if name == ANSWER:
                slot = len(filled)
                if not answer:
                    break
                filled += self.space + answer
            elif name is not None:
                spans.append((len(filled), len(filled) + len(texts[name])))
                filled += texts[name]
        return FilledTemplate(filled, tuple(spans), slot)


def demonstrations(
    template: Template, rows: Sequence[Row], answers: Sequence[str], separator: str = "\n\n"
) -> str:
    """Examples with their answers as the `context` of `tokenize_prompts`: in-context learning.

    Args:
        template: The same for the examples and the question.
        rows: Of the examples, in the order in which they are shown.
        answers: Word of each example's class.
        separator: After every example.
    """
    pairs = zip(rows, answers, strict=True)
    return "".join(template.fill(row, word).text + separator for row, word in pairs)
