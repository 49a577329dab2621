"""The words that a text tower reads as one token each."""

import re
from typing import Any

# How vocabularies mark the end of a word, its beginning, and what goes on inside of one.
_ENDS, _BEGINS, _GOES_ON = "</w>", "\u2581", "##"
_WORD = re.compile(r"[a-z]{2,}")


def whole_words(tokenizer: Any) -> list[str]:
    """Lower-case words of two letters or more that are one token, in the order of their ids.

    Args:
        tokenizer: Of a backbone; CLIP's byte pairs, WordPiece or SentencePiece.
    """
    ids: dict[str, int] = tokenizer.get_vocab()
    ends = any(token.endswith(_ENDS) for token in ids)
    begins = any(token.startswith(_BEGINS) for token in ids)
    words = {}
    for token, number in ids.items():
        if ends and not token.endswith(_ENDS):
            continue
        if begins and not token.startswith(_BEGINS):
            continue
        word = token.removesuffix(_ENDS).removeprefix(_BEGINS)
        if not token.startswith(_GOES_ON) and _WORD.fullmatch(word):
            words[word] = number
    return sorted(words, key=lambda word: words[word])
