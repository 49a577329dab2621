"""The folder of a language model: which family it is of, and what its files say."""

from pathlib import Path
from typing import Any

from operators.backbones.base import BackboneCard, BackboneUnavailable, digest_files
from operators.backbones.formats.clip_files import TOKENIZER, WEIGHTS, fetch, place_of, read_license
from operators.backbones.formats.model_files import load_whole, read_settings

# `model_type` of the models that were compared with transformers' own (the tests do it again).
# Others have positions, masks or heads of another kind, in which an answer would be read wrongly.
CAUSAL = (
    "gpt2",
    "gpt_neox",
    "opt",
    "llama",
    "mistral",
    "qwen2",
    "qwen3",
    "gemma2",
    "phi",
    "phi3",
    "olmo2",
    "smollm3",
)
MASKED = ("bert", "roberta", "xlm-roberta", "camembert", "distilbert", "electra")
KEY_VALUES = ("bert", "roberta", "xlm-roberta", "camembert", "electra")  # of the masked ones
ARCHITECTURES = {"ForCausalLM": "causal-lm", "LMHeadModel": "causal-lm", "ForMaskedLM": "masked-lm"}
UNBOUNDED = 10**9  # tokens
READING = "language 1"  # moves when the same files are read to other numbers


def family_of(config: dict[str, Any]) -> str | None:
    """The family that a configuration of transformers asks for; None for no language model."""
    for name in config.get("architectures") or ():
        for ending, family in ARCHITECTURES.items():
            if str(name).endswith(ending):
                return family
    kind = config.get("model_type")
    return "sentence-encoder" if kind in MASKED else "causal-lm" if kind in CAUSAL else None


def family_at(location: str) -> str | None:
    """The family of the language model at a folder or hub id; None where there is no such model.

    Raises:
        BackboneUnavailable: Nothing is there.
    """
    path = fetch(location) / "config.json"
    return family_of(read_settings(path)) if path.is_file() else None


def describe_folder(name: str, location: str, family: str) -> BackboneCard:
    """The card of a language model at a local folder or hub id, without loading its weights.

    Args:
        name: As it stands on the board.
        location: Folder or hub id.
        family: Key of `FAMILIES`.

    Raises:
        BackboneUnavailable: It is not there, or is no model that is read here.
    """
    folder = fetch(location)
    config = read_settings(folder / "config.json")
    kind, known = str(config.get("model_type")), CAUSAL if family == "causal-lm" else MASKED
    if kind not in known or config.get("is_encoder_decoder"):
        raise BackboneUnavailable(
            f"{folder} holds a {kind!r} model; read as {family} are {', '.join(known)}."
        )
    if not (folder / "tokenizer.json").is_file():
        raise BackboneUnavailable(
            f"{folder} holds no tokenizer.json. Save its tokenizer in that form beside the "
            "weights, or take the model's own files from the hub, which has it."
        )
    width = config.get("hidden_size") or config.get("n_embd") or config.get("dim")
    return BackboneCard(
        name=name,
        family=family,
        source=place_of(location, folder),
        license=read_license(folder),
        fingerprint=fingerprint(folder),
        feature_width=width,
        capabilities=capabilities(family, kind),
    )


def load_folder(kind: str, location: str) -> tuple[Any, Any]:
    """Model and tokenizer of a folder or hub id.

    Args:
        kind: One of transformers' Auto classes.
        location: Folder or hub id.

    Raises:
        BackboneUnavailable: Weights are missing.
    """
    import transformers  # seconds to import

    folder = fetch(location)
    model = load_whole(getattr(transformers, kind), folder)
    return model, transformers.PreTrainedTokenizerFast.from_pretrained(folder)


def sentence_length(location: str) -> int:
    """Most tokens of a sentence that an encoder was made for, as sentence-transformers notes it.

    Raises:
        BackboneUnavailable: Its features are not the mean over tokens.
    """
    folder = fetch(location)
    pooling = folder / "1_Pooling" / "config.json"
    if pooling.is_file() and not read_settings(pooling).get("pooling_mode_mean_tokens", True):
        raise BackboneUnavailable(
            f"{folder} has another feature than the mean over tokens (1_Pooling/config.json), "
            "which is the one that is read here. Take an encoder with mean pooling."
        )
    noted = folder / "sentence_bert_config.json"
    return read_settings(noted).get("max_seq_length") or UNBOUNDED if noted.is_file() else UNBOUNDED


def capabilities(family: str, kind: str) -> frozenset[str]:
    """What a model can do; see `CAPABILITIES` in base.py.

    Args:
        family: Key of `FAMILIES`.
        kind: Its `model_type`.
    """
    found = set()
    if family != "sentence-encoder":
        found.add("answers")
    if family == "causal-lm":
        found.add("causal")
    if family == "causal-lm" or kind in KEY_VALUES:
        found.add("key-value-prompts")
    return frozenset(found)


def fingerprint(folder: Path) -> str:
    """Digest of the bytes of weights, configuration and tokenizer, and of our reading of them.

    Raises:
        BackboneUnavailable: The folder holds no weights.
    """
    files = {path for pattern in WEIGHTS for path in folder.glob(pattern)}
    if not files:
        raise BackboneUnavailable(f"{folder} holds no weights (*.safetensors or *.bin).")
    files |= {folder / name for name in (*TOKENIZER, "config.json") if (folder / name).is_file()}
    return digest_files(sorted(files), READING)
