"""What CLIP's official tokenizer does to a text before it cuts it into words.

Source: openai/CLIP (a1d071733d), `clip/simple_tokenizer.py`, `basic_clean` and `whitespace_clean`;
mlfoundations/open_clip's `clean: lower` is the same: `ftfy.fix_text`, HTML entities read twice,
white space made single blanks, lower case. transformers' tokenizer does the last two and composes
letters. Other families have rules of their own: docs/fidelity.md, "Texts".
"""

import re
import unicodedata
from collections.abc import Iterable

# Of what a tokenizer is given. 1: as written, with white space, case and composition of letters
# made one. 2: cleaned, where that gives another text; where it does not, it stays 1.
TEXT_VERSION = 2

# Nothing of a text without these can be an entity, or what `ftfy` mends, or a token by its name.
ODD = re.compile(r"[^\x20-\x7e]|&|<\|")
SHOUTED = re.compile(r"<\|(?=[a-z]*[A-Z])(?i:startoftext|endoftext)\|>")  # spelled out till then
WHITE_SPACE = re.compile(r"[\t-\r \x85\xa0\u1680\u2000-\u200a\u2028\u2029\u202f\u205f\u3000]+")


def clean(text: str) -> str:
    """`text` as CLIP's tokenizer reads it."""
    if ODD.search(text):
        import html

        import ftfy

        text = html.unescape(html.unescape(ftfy.fix_text(text)))
    return " ".join(text.split()).lower()


def plain(text: str) -> str:
    """`text` as transformers' tokenizer of CLIP reads it, which was all until text version 2."""
    # Letter by letter, as there: the last sigma of a Greek word is none of its own.
    lower = "".join(letter.lower() for letter in unicodedata.normalize("NFC", text))
    return WHITE_SPACE.sub(" ", lower).strip(" ")


def text_version(texts: Iterable[str]) -> int:
    """Under which version a trial is filed that reads such texts: 1 or `TEXT_VERSION`."""
    return TEXT_VERSION if any(ODD.search(text) and _moved(text) for text in texts) else 1


def _moved(text: str) -> bool:
    return clean(text) != plain(text) or SHOUTED.search(text) is not None
