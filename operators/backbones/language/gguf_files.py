"""GGUF files of Llama models as transformers' own: weights expanded, tokenizer rebuilt.

transformers reads them too, with a package more (accelerate), in five times as long: 17 CPU seconds
for SmolLM2-135M and not 3.5. Its weights, tokens and logits were the same to the last bit.
"""

from pathlib import Path
from typing import Any

import numpy as np
import torch

from operators.backbones.base import BackboneUnavailable

CONTROL = 3  # type of tokens that stand for no text
# Names of the tensors of a layer in GGUF, and in transformers' Llama.
LAYER = {
    "attn_q": "self_attn.q_proj",
    "attn_k": "self_attn.k_proj",
    "attn_v": "self_attn.v_proj",
    "attn_output": "self_attn.o_proj",
    "attn_norm": "input_layernorm",
    "ffn_gate": "mlp.gate_proj",
    "ffn_up": "mlp.up_proj",
    "ffn_down": "mlp.down_proj",
    "ffn_norm": "post_attention_layernorm",
}
WHOLE = {"token_embd": "model.embed_tokens", "output_norm": "model.norm", "output": "lm_head"}


def read_gguf(path: Path) -> tuple[Any, Any]:
    """Model and tokenizer of transformers from a GGUF file of a Llama with a byte-pair vocabulary.

    Raises:
        BackboneUnavailable: It holds a model or a tokenizer of another kind.
    """
    from gguf import GGUFReader, dequantize  # pyright: ignore[reportMissingImports]
    from transformers import LlamaConfig, LlamaForCausalLM

    reader = GGUFReader(path)

    def value(key: str) -> Any:
        return reader.fields[key].contents()

    kind, words = value("general.architecture"), value("tokenizer.ggml.model")
    if (kind, words) != ("llama", "gpt2"):
        raise BackboneUnavailable(
            f"{path} holds a {kind!r} model with a {words!r} tokenizer; read are 'llama' with "
            "'gpt2'."
        )
    heads, groups = value("llama.attention.head_count"), value("llama.attention.head_count_kv")
    weights = {}
    for tensor in reader.tensors:
        block, _, rest = tensor.name.removesuffix(".weight").partition(".")
        numbers = dequantize(tensor.data, tensor.tensor_type)
        if block == "blk":
            layer, _, part = rest.partition(".")
            name = f"model.layers.{layer}.{LAYER[part]}"
            if part in ("attn_q", "attn_k"):
                numbers = halves_apart(numbers, heads if part == "attn_q" else groups)
        else:
            name = WHOLE[block]
        weights[f"{name}.weight"] = torch.from_numpy(np.array(numbers, dtype=np.float32))
    tied = "lm_head.weight" not in weights
    config = LlamaConfig(
        vocab_size=len(weights["model.embed_tokens.weight"]),
        hidden_size=value("llama.embedding_length"),
        intermediate_size=value("llama.feed_forward_length"),
        num_hidden_layers=value("llama.block_count"),
        num_attention_heads=heads,
        num_key_value_heads=groups,
        max_position_embeddings=value("llama.context_length"),
        rms_norm_eps=value("llama.attention.layer_norm_rms_epsilon"),
        rope_parameters={"rope_type": "default", "rope_theta": value("llama.rope.freq_base")},
        tie_word_embeddings=tied,
    )
    if tied:
        weights["lm_head.weight"] = weights["model.embed_tokens.weight"]
    with torch.device("meta"):
        model = LlamaForCausalLM(config)
    model.load_state_dict(weights, assign=True)
    model.tie_weights()
    model.model.rotary_emb = type(model.model.rotary_emb)(config)  # its angles are no weights
    return model, tokenizer(value)


def halves_apart(weight: np.ndarray, heads: int) -> np.ndarray:
    """Rows of a query or key projection in the order of transformers.

    GGUF has the two numbers that are turned together side by side; transformers has one in the
    first half of a head and one in the second.

    Args:
        weight: (heads * width, input).
        heads: Of the projection.
    """
    rows, columns = weight.shape
    pairs = weight.reshape(heads, rows // heads // 2, 2, columns)
    return pairs.swapaxes(1, 2).reshape(rows, columns)


def tokenizer(value: Any) -> Any:
    """The tokenizer; `value` gives what the file has under a key.

    Raises:
        BackboneUnavailable: It splits texts in a way that is not known here.
    """
    from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers
    from transformers import PreTrainedTokenizerFast

    if value("tokenizer.ggml.pre") != "smollm":
        raise BackboneUnavailable(
            f"the tokenizer splits texts as {value('tokenizer.ggml.pre')!r} does; known is "
            "'smollm'."
        )
    tokens, kinds = value("tokenizer.ggml.tokens"), value("tokenizer.ggml.token_type")
    merges = [tuple(pair.split(" ")) for pair in value("tokenizer.ggml.merges")]
    own = Tokenizer(models.BPE({token: i for i, token in enumerate(tokens)}, merges))
    own.pre_tokenizer = pre_tokenizers.Sequence(  # pyright: ignore[reportAttributeAccessIssue]
        [
            pre_tokenizers.Digits(individual_digits=True),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=True),
        ]
    )
    own.decoder = decoders.ByteLevel()  # pyright: ignore[reportAttributeAccessIssue]
    control = [token for token, kind in zip(tokens, kinds, strict=True) if kind == CONTROL]
    own.add_special_tokens([AddedToken(token, special=True) for token in control])
    named = {
        f"{name}_token": tokens[value(f"tokenizer.ggml.{key}_token_id")]
        for name, key in {"bos": "bos", "eos": "eos", "unk": "unknown", "pad": "padding"}.items()
    }
    return PreTrainedTokenizerFast(tokenizer_object=own, **named)
