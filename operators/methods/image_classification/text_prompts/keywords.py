"""Block T, keywords: the words by which the description of a class differs from the others'.

Source: Spärck Jones, "A statistical interpretation of term specificity and its application in
retrieval", Journal of Documentation, 1972: a word counts for how often the class is described by
it, times the logarithm of how few classes are.
"""

import math
import re
from collections import Counter
from collections.abc import Sequence

_WORD = re.compile(r"[^\W\d_]+(?:['\u2019-][^\W\d_]+)*")
_FUNCTION_WORDS = (
    "a about above across after all along also although among an and another any are around as at "
    "be because been before being below beneath between both but by can could do does each either "
    "else every few for from had has have having he her here hers him his how however i if in into "
    "is it its itself just like looks made many may me might more most much must my near no nor "
    "not of off often on once one only onto or other our out over own per quite rather same seen "
    "shall she should so some such than that the their them then there these they this those "
    "though through to together too under until up upon us usually very was we well were what when "
    "where which while who whose why will with within without would you your"
)
FUNCTION_WORDS = frozenset(_FUNCTION_WORDS.split())


def keywords(
    names: Sequence[str], descriptions: Sequence[Sequence[str]], count: int
) -> list[tuple[str, ...]]:
    """Up to `count` words for each class, those that tell it apart best first.

    A word that all classes share, one of the class's own name and one that carries no meaning of
    its own are none; so a class that is described as all others has no keyword.

    Args:
        names: Of the classes.
        descriptions: Sentences about each of them.
        count: Most words of a class.
    """
    words = [
        [w for w in _words(" ".join(own)) if w not in FUNCTION_WORDS and w not in _words(name)]
        for name, own in zip(names, descriptions, strict=True)
    ]
    classes_with = Counter(word for own in words for word in set(own))
    found = []
    for own in words:
        times = Counter(own)  # in order of first occurrence, which decides between equals
        weight = {w: n * math.log(len(words) / classes_with[w]) for w, n in times.items()}
        ranked = sorted((w for w in weight if weight[w] > 0), key=lambda w: -weight[w])
        found.append(tuple(ranked[:count]))
    return found


def _words(text: str) -> list[str]:
    return _WORD.findall(text.lower())
