"""Descriptions from a language model, asked once: every answer is kept.

Source: Pratt et al., "What does a platypus look like? Generating customized prompts for zero-shot
image classification", ICCV 2023, https://arxiv.org/abs/2209.03320, section 3. No model comes with
Shotboard and none is needed: whoever has one passes a function.
"""

import hashlib
import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Protocol

from data_catalog.card import DatasetCard
from data_catalog.descriptions.form import Descriptions
from data_catalog.json_text import load_json
from data_catalog.writing import write_text

# The five questions of the paper for ImageNet; {} is the class name, {a} its article.
QUESTIONS = (
    "Describe what {a} {} looks like",
    "How can you identify {a} {}?",
    "What does {a} {} look like?",
    "Describe an image from the internet of {a} {}",
    "A caption of an image of {a} {}:",
)


class Client(Protocol):
    """A language model; the authors of CuPL asked for ten answers of one sentence each."""

    def __call__(self, prompt: str, /) -> Sequence[str]:
        """Answers to a prompt."""
        ...


class AnswerCache:
    """Answers on disk, a JSON file a prompt: what has been asked is not asked again.

    Args:
        folder: Where they are kept.
        client: Asked where there is no answer yet.
    """

    def __init__(self, folder: Path, client: Client) -> None:
        self.folder = folder
        self.client = client

    def to(self, prompt: str) -> tuple[str, ...]:
        """Answers to a prompt, as the model gave them.

        Raises:
            ValueError: The model gives no answer, or what is no list of texts.
        """
        file = self.folder / f"{hashlib.sha256(prompt.encode()).hexdigest()[:16]}.json"
        if file.is_file():
            try:
                return tuple(load_json(file.read_bytes())["answers"])
            except (ValueError, LookupError, TypeError) as error:
                raise ValueError(
                    f"{file} is damaged ({error!r}). Delete it, and the model is asked again."
                ) from error
        answers = self.client(prompt)
        if isinstance(answers, str) or not all(isinstance(text, str) for text in answers):
            raise ValueError(
                f"the language model answers {prompt!r} with {answers!r}: it must give a list of "
                "texts."
            )
        if not any(text.strip() for text in answers):
            raise ValueError(f"the language model gives no answer to {prompt!r}.")
        kept = {"prompt": prompt, "answers": list(answers)}
        write_text(file, json.dumps(kept, ensure_ascii=False, indent=1) + "\n")
        return tuple(answers)


def generate(
    classes: Sequence[str],
    answers: AnswerCache,
    *,
    questions: Sequence[str] = QUESTIONS,
    source: str = "",
    progress: Callable[[int], None] = lambda asked: None,
) -> Descriptions:
    """Asks every question about every class; each answer becomes a sentence.

    Args:
        classes: Class names.
        answers: The model, and what it has said already.
        questions: Each with one `{}` for the class name, and `{a}` where its article goes.
        source: Goes into the file.
        progress: Called after each class with how many are done.

    Raises:
        ValueError: A question has no place for the class name, or an answer is none.
    """
    if not questions:
        raise ValueError("no question to ask. Give one, such as 'What does {a} {} look like?'.")
    for question in questions:
        if question.count("{}") != 1:
            raise ValueError(
                f"question {question!r} does not hold {{}} exactly once. Write for instance "
                "'What does {a} {} look like?'."
            )
    found: dict[str, tuple[str, ...]] = {}
    for done, name in enumerate(classes, start=1):
        if name not in found:  # two labels may share a name
            said = DatasetCard.prompt_names([name])[0]
            prompts = [q.replace("{a}", article(said)).replace("{}", said) for q in questions]
            texts = [text for prompt in prompts for text in answers.to(prompt) if text.strip()]
            found[name] = tuple(_sentence(text) for text in texts)
        progress(done)
    return Descriptions(found, source=source)


def article(noun: str) -> str:
    """`an` before a vowel, else `a`."""
    return "an" if noun[:1].lower() in set("aeiou") else "a"


def _sentence(answer: str) -> str:
    """An answer on one line and with a full stop, which a stop sequence may have cost it."""
    text = " ".join(answer.split())
    return text if text[-1] in ".!?" else f"{text}."
