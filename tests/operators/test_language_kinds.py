"""Every kind of language model that is read, against transformers' own logits."""

import pytest
import torch

from operators.backbones.language import CausalLM, MaskedLM, Template
from operators.backbones.language.files import CAUSAL, KEY_VALUES, MASKED

ENDING = Template("review: {text} it was {answer}")
CLOZE = Template("review: {text} it was {answer}.")
TEXTS = ["a good movie.", "it was a very bad film!", "bad"]
SIZES = {
    "hidden_size": 32,
    "intermediate_size": 40,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "max_position_embeddings": 64,
}
# What kinds call these, or want beside them.
OWN = {
    "gpt2": {"n_embd": 32, "n_layer": 2, "n_head": 4, "n_positions": 64},
    "opt": {"ffn_dim": 40, "word_embed_proj_dim": 32},
    "qwen2": {"num_key_value_heads": 2},
    "qwen3": {"head_dim": 16, "num_key_value_heads": 2},
    "gemma2": {"head_dim": 16, "num_key_value_heads": 2, "sliding_window": 64},
    "mistral": {"num_key_value_heads": 2, "sliding_window": 48},
    "distilbert": {"dim": 32, "hidden_dim": 40, "n_layers": 2, "n_heads": 4},
    "electra": {"embedding_size": 24},
}
CLOSE = {"rtol": 1e-4, "atol": 1e-4}


def made(kind, auto, family, language_folder, tokenizer):
    """A tiny model of a kind, as transformers has it and as a backbone."""
    import transformers

    settings = {"vocab_size": len(tokenizer), "pad_token_id": 0, "eos_token_id": 0}
    config = transformers.AutoConfig.for_model(kind, **settings, **SIZES, **OWN.get(kind, {}))
    folder = language_folder(getattr(transformers, auto).from_config, config, tokenizer)
    theirs = getattr(transformers, auto).from_pretrained(folder).eval()
    card = family.describe(f"tiny-{kind}", str(folder))
    return theirs, family.load(card, str(folder), torch.device("cpu"), torch.float32)


@torch.no_grad()
@pytest.mark.parametrize("kind", CAUSAL)
def test_causal_kinds_answer_as_transformers_does(kind, language_folder, byte_pair_tokenizer):
    theirs, ours = made(
        kind, "AutoModelForCausalLM", CausalLM, language_folder, byte_pair_tokenizer
    )
    words = ("good", "not at all")
    answers = ours.tokenize_answers(words, ENDING)
    tokens = ours.tokenize_prompts(TEXTS, ENDING)
    prompts = ours.embed_prompts(tokens)
    assert prompts.shared > 0
    found = ours.answer_logits(prompts, answers)
    for row, text in enumerate(TEXTS):
        for column, word in enumerate(words):
            ids = byte_pair_tokenizer(
                ENDING.fill(text).text + " " + word, return_tensors="pt"
            ).input_ids
            chances = theirs(input_ids=ids).logits[0].log_softmax(dim=-1)
            wanted = sum(
                chances[place - 1, ids[0, place]]
                for place in range(int(tokens.end[row]) + 1, ids.shape[1])
            )
            torch.testing.assert_close(found[row, column], wanted, **CLOSE)
    key_values = torch.randn(ours.layers, 2, 3, ours.key_value_width)
    moved = ours.answer_logits(prompts, answers, key_values)
    alone = ours.answer_logits(
        ours.embed_prompts(ours.tokenize_prompts(TEXTS[2:], ENDING)), answers, key_values
    )
    torch.testing.assert_close(moved[2:], alone, **CLOSE)
    assert not torch.allclose(moved, found, atol=1e-3)


@torch.no_grad()
@pytest.mark.parametrize("kind", MASKED)
def test_masked_kinds_answer_as_transformers_does(kind, language_folder, word_piece_tokenizer):
    theirs, ours = made(
        kind, "AutoModelForMaskedLM", MaskedLM, language_folder, word_piece_tokenizer
    )
    answers = ours.tokenize_answers(["good", "bad"], CLOZE)
    tokens = ours.tokenize_prompts(TEXTS, CLOZE)
    prompts = ours.embed_prompts(tokens)
    found = ours.answer_logits(prompts, answers)
    for row, text in enumerate(TEXTS):
        ids = word_piece_tokenizer(CLOZE.fill(text, "[MASK]").text, return_tensors="pt").input_ids
        chances = theirs(input_ids=ids).logits[0, tokens.slots[row]].log_softmax(dim=-1)
        torch.testing.assert_close(found[row], chances[answers.ids[:, 0]], **CLOSE)
    assert ("key-value-prompts" in ours.card.capabilities) == (kind in KEY_VALUES)
    key_values = torch.randn(ours.layers, 2, 3, ours.key_value_width)
    if kind not in KEY_VALUES:
        with pytest.raises(ValueError, match="takes no keys and values in its layers"):
            ours.answer_logits(prompts, answers, key_values)
        return
    moved = ours.answer_logits(prompts, answers, key_values)
    alone = ours.answer_logits(
        ours.embed_prompts(ours.tokenize_prompts(TEXTS[2:], CLOZE)), answers, key_values
    )
    torch.testing.assert_close(moved[2:], alone, **CLOSE)
    assert not torch.allclose(moved, found, atol=1e-3)


def test_a_sliding_window_is_the_most_that_is_read(language_folder, byte_pair_tokenizer):
    _, ours = made(
        "mistral", "AutoModelForCausalLM", CausalLM, language_folder, byte_pair_tokenizer
    )
    assert ours.context_length == 48
