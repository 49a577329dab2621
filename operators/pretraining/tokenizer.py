"""A byte-level tokenizer in CLIP's format, learned from captions.

Source: Sennrich et al., "Neural Machine Translation of Rare Words with Subword Units", ACL
2016, over bytes and with CLIP's lower-casing, word pattern and end-of-word suffix. Every byte
is a token, within a word and at its end, so that any class name can be spelled.
"""

import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from operators.backbones.formats.cleaning import clean

START, END = "<|startoftext|>", "<|endoftext|>"
WORD_END = "</w>"
SMALLEST_VOCABULARY = 2 * 256 + 2  # each byte within a word and at its end, start and end token


def train_tokenizer(
    texts: Iterable[str], vocabulary: int, context_length: int, folder: Path
) -> None:
    """Learns the merges of a CLIP tokenizer and writes it as transformers reads it.

    The same texts, in any order, give the same files. Ids are those of CLIP: bytes, bytes at
    the end of a word, merges in the order learned, start token, end token.

    Args:
        texts: Captions, as a person writes them.
        vocabulary: Most tokens to know. Texts with few different words give fewer.
        context_length: Most tokens of a text, start and end included.
        folder: Made where it is not there.

    Raises:
        ValueError: `vocabulary` has no room for the bytes.
    """
    from tokenizers import Tokenizer, models, trainers
    from tokenizers.pre_tokenizers import ByteLevel
    from transformers import CLIPTokenizer

    if vocabulary < SMALLEST_VOCABULARY:
        raise ValueError(
            f"vocabulary={vocabulary}: must be at least {SMALLEST_VOCABULARY}, or a tokenizer "
            "could not spell every class name."
        )
    letters = sorted(ByteLevel.alphabet())
    alphabet = [*letters, *(letter + WORD_END for letter in letters)]

    rules: Any = CLIPTokenizer().backend_tokenizer  # how CLIP cuts a text into words
    learner: Any = Tokenizer(models.BPE(end_of_word_suffix=WORD_END))
    learner.normalizer, learner.pre_tokenizer = rules.normalizer, rules.pre_tokenizer
    trainer = trainers.BpeTrainer(
        vocab_size=vocabulary - 2,
        end_of_word_suffix=WORD_END,
        special_tokens=alphabet,  # only gives them fixed ids, by which ties are broken
        show_progress=False,
    )
    learner.train_from_iterator(map(clean, texts), trainer)
    merges = [tuple(pair) for pair in json.loads(learner.to_str())["model"]["merges"]]

    # Two ways to merge can spell the same token; it has one id.
    tokens = list(dict.fromkeys([*alphabet, *("".join(pair) for pair in merges), START, END]))
    tokenizer = CLIPTokenizer(
        vocab={token: number for number, token in enumerate(tokens)},
        merges=merges,  # pyright: ignore[reportArgumentType]
        model_max_length=context_length,
    )
    tokenizer.save_pretrained(folder)
