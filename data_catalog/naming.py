"""Names of classes: what tells them apart in a prompt, and which are refused."""

import html
import unicodedata
from collections.abc import Sequence

from data_catalog.wording import some


def prompt_names(classes: Sequence[str]) -> tuple[str, ...]:
    """Class names as they stand in a prompt: underscores become spaces (protocol.md, 1.4)."""
    return tuple(name.replace("_", " ") for name in classes)


def prompt_key(name: str) -> str:
    """What tells a class name from others once it stands in a prompt.

    Tokenizers read text in lower case and composed letters, blanks as one, entities of HTML as
    their characters, and what `ftfy` mends (wide letters, curly quotes, UTF-8 taken for Latin-1)
    as it should be; cards read underscores as blanks. Two names of one key are one prompt.
    """
    if not name.isascii():
        import ftfy

        name = ftfy.fix_text(name)
    text = unicodedata.normalize("NFC", html.unescape(html.unescape(name)))
    seen = "".join(each for each in text if unicodedata.category(each) != "Cf")
    return " ".join(prompt_names([seen])[0].casefold().split())


def check_class_names(dataset: str, classes: Sequence[str], *, duplicates: bool) -> None:
    """Refuses empty names, fewer than two classes, and repetition that is not declared.

    Args:
        dataset: What to call the dataset in errors.
        classes: Names in label order.
        duplicates: Whether repetition is declared.

    Raises:
        ValueError: As said; the message names the labels.
    """
    if len(classes) < 2:
        raise ValueError(
            f"{dataset}: {len(classes)} class is nothing to tell apart: {', '.join(classes)}. "
            "Give two or more."
        )
    first: dict[str, int] = {}
    for label, name in enumerate(classes):
        if not name.strip():
            raise ValueError(f"{dataset}: class {label} has an empty name. Name it.")
        if first.setdefault(name, label) != label and not duplicates:
            raise ValueError(
                f"{dataset}: class name {name!r} is used by labels {first[name]} and {label}. "
                "Tell them apart, or declare duplicate_class_names: true if the dataset means it "
                "(--same-names)."
            )


def check_prompts(dataset: str, classes: Sequence[str], *, duplicates: bool) -> None:
    """Refuses names that are spelled apart and make one prompt, and names of several lines.

    Args:
        dataset: What to call the dataset in errors.
        classes: Names in label order.
        duplicates: Whether it is declared that names may be alike.

    Raises:
        ValueError: As said; the message has both spellings.
    """
    first: dict[str, int] = {}
    for label, name in enumerate(classes):
        if any(each in name for each in "\n\r\0"):
            raise ValueError(
                f"{dataset}: the name of class {label}, {name!r}, holds a line break. Look for a "
                "quote that is never closed, or name the class."
            )
        earlier = first.setdefault(prompt_key(name), label)
        if earlier == label or classes[earlier] == name or duplicates:
            continue
        raise ValueError(
            f"{dataset}: class names {ascii_if_alike(classes[earlier], name)} are spelled apart, "
            "but make the same prompt: case, blanks, underscores and the way letters are composed "
            "do not count. Rename one; if they are one class, give the class names once "
            "(--classes); if not, declare duplicate_class_names: true (--same-names)."
        )


def ascii_if_alike(*names: str) -> str:
    """Names in quotes, joined by `and`; with escapes where they would look the same."""
    composed = {unicodedata.normalize("NFKC", name).strip() for name in names}
    alike = len(composed) < len(names)
    return " and ".join(ascii(name) if alike else repr(name) for name in names)


def check_verbalizer(dataset: str, words: Sequence[str], classes: Sequence[str]) -> None:
    """Refuses a verbalizer that has not one word of its own for each class.

    Args:
        dataset: What to call the dataset in errors.
        words: Word of each class.
        classes: Their names.

    Raises:
        ValueError: As said; the message names the classes.
    """
    if len(words) != len(classes):
        raise ValueError(
            f"{dataset}: the verbalizer has {len(words)} words for {len(classes)} classes. Give "
            f"one each, in the order {some(classes)}."
        )
    first: dict[str, str] = {}
    for word, name in zip(words, classes, strict=True):
        if not word.strip():
            raise ValueError(f"{dataset}: the verbalizer has no word for {name!r}. Give one.")
        if first.setdefault(prompt_key(word), name) != name:
            raise ValueError(
                f"{dataset}: the verbalizer answers {word!r} for {first[prompt_key(word)]!r} and "
                f"for {name!r}, so no answer tells them apart. Give each a word of its own."
            )
