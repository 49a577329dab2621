"""Texts: sentences or documents of valid, readable characters."""

import hashlib
import re
import unicodedata
from array import array
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import numpy as np

from data_catalog.kinds.base import Checked, Kept, Preview
from data_catalog.reasons import CONTROLS, EMPTY, NOT_UTF8, TOO_LONG
from data_catalog.sources.base import Example
from data_catalog.wording import plural, some

MAX_CHARACTERS = 100_000  # a novel in one row is a file whose rows were not told apart
_LISTED = 20  # texts named in card.json
_SHOWN = 200  # characters of a preview
_CONTROL = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f]")  # all of ASCII's but tab and line ends
_ASIDE = re.compile(r"""[!"#%&'()*,./:;?@\[\\\]_{}-]""")  # punctuation of ASCII, as Unicode has it
# What a wrong decoding leaves: its replacement sign, and controls that Windows has letters for.
_MISREAD = re.compile("[\ufffd\x80-\x9f]")
_PLACES = ("{text}", "{answer}")
_LOOK_BYTES = 16


class Texts:
    """Each example is one text without the blanks around it; equal texts are duplicates.

    The content is UTF-8. Inside, a text is stored as the source has it, line breaks included.
    See `Kind`.
    """

    noun = "text"
    column = "text"
    arrow = "string"
    compression = "ZSTD"
    measures: tuple[str, ...] = ("characters",)
    template = "{text}\nCategory: {answer}"
    look_bytes = _LOOK_BYTES
    radius = 0
    near = "but for case, blanks and punctuation equal"

    def check(self, examples: Iterable[Example]) -> Iterator[Checked]:
        """Takes off the blanks around each text, and sets aside what is none."""
        return map(check_text, examples)

    def hashes(self, looks: np.ndarray) -> np.ndarray:
        """The first 64 bits of each look."""
        return np.ascontiguousarray(looks[:, :8]).view(np.uint64).reshape(-1)

    def alike(self, first: np.ndarray, second: np.ndarray) -> np.ndarray:
        """Whether looks are equal; see `Kind`.

        Args:
            first: Looks.
            second: Likewise.
        """
        return (first == second).all(axis=1)

    def named(self, text: str) -> bytes:
        """The text itself; see `Kind`."""
        return text.encode()

    def stored(self, content: bytes) -> str:
        """The characters."""
        return content.decode()

    def content(self, value: str) -> bytes:
        """Their UTF-8."""
        return value.encode()

    def preview(self, value: str) -> Preview:
        """The text on one line, cut where it is long; see `Kind`."""
        line = " ".join(value.split())
        return Preview(text=line if len(line) <= _SHOWN else f"{line[: _SHOWN - 1]}…")

    def check_template(self, dataset: str, template: str) -> None:
        """Refuses a template without exactly one `{text}` and one `{answer}`; see `Kind`.

        Args:
            dataset: What to call the dataset in errors.
            template: Of the card.
        """
        rest = template if isinstance(template, str) else "{"
        for place in _PLACES:
            rest = rest.replace(place, "", 1)
        if (
            not isinstance(template, str)
            or any(place not in template for place in _PLACES)
            or any(brace in rest for brace in "{}")
        ):
            raise ValueError(
                f"{dataset}: template {template!r} does not hold {{text}} and {{answer}} once "
                "each, and no other brace. Write for instance 'Review: {text} Feeling: {answer}'"
            )

    def report(self, kept: Iterable[Kept]) -> dict[str, Any]:
        """Lengths, and texts that seem to be decoded wrongly."""
        lengths = array("i")
        misread: list[str] = []
        count = 0
        for row in kept:
            lengths.append(row.measures[0])
            if row.findings.get("misread"):
                count += 1
                misread += [row.path] if count <= _LISTED else []
        ordered = np.sort(np.frombuffer(lengths, np.int32))
        return {
            "characters": {
                "shortest": int(ordered[0]),
                "median": int(ordered[len(ordered) // 2]),
                "longest": int(ordered[-1]),
            },
            "misread_texts": {"count": count, "first": misread},
        }

    def doubts(self, report: Mapping[str, Any]) -> list[str]:
        """Texts that seem to be decoded wrongly."""
        misread = report["misread_texts"]
        if not misread["count"]:
            return []
        return [
            f"{plural(misread['count'], 'text')} with characters that a wrong encoding leaves "
            f"(such as the sign U+FFFD, or `Ã©` for `é`): {some(misread['first'], 3)}. If they are "
            "not meant, save the source as UTF-8 again."
        ]


def check_text(example: Example) -> Checked:
    """Checks one text, and takes off the blanks around it.

    Set aside are what is empty, no UTF-8 or longer than `MAX_CHARACTERS`, and control characters
    of ASCII, NUL among them: no tokenizer was trained on them, and Parquet readers differ.
    """
    error, text = example.error, ""
    if not error:
        try:
            text = example.content.decode().strip().removeprefix("\ufeff").strip()
        except UnicodeDecodeError as fault:
            error = f"{NOT_UTF8}: it holds {example.content[fault.start : fault.end]!r}"
        else:
            error = _fault(text)
    if error:
        return Checked(example, hashlib.sha256(example.content).hexdigest(), error)
    example = example._replace(content=text.encode())
    digest = hashlib.sha256(example.content).hexdigest()
    checked = Checked(example, digest, "", (len(text),), look=look_of(text))
    return checked._replace(findings={"misread": True}) if _is_misread(text) else checked


def look_of(text: str) -> bytes:
    """Digest of a text in lower case and composed form, without blanks and punctuation.

    Empty where nothing else is in it.
    """
    if not text.isascii():
        text = unicodedata.normalize("NFKC", text.casefold())
        text = "".join(" " if unicodedata.category(each)[0] in "PZC" else each for each in text)
    words = " ".join(_ASIDE.sub(" ", text.casefold()).split())
    return hashlib.blake2b(words.encode(), digest_size=_LOOK_BYTES).digest() if words else b""


def _fault(text: str) -> str:
    """Why a text without blanks around it cannot be used; empty if it can."""
    if not text:
        return f"{EMPTY}: no character is in it"
    if len(text) > MAX_CHARACTERS:
        return f"{TOO_LONG}: {len(text):,} characters, above {MAX_CHARACTERS:,}"
    control = _CONTROL.search(text)
    return f"{CONTROLS}: it holds {control[0]!r}" if control else ""


def _is_misread(text: str) -> bool:
    if text.isascii():
        return False
    from ftfy.badness import is_bad

    return bool(_MISREAD.search(text)) or is_bad(text)
