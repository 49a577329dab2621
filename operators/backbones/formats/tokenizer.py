"""The tokenizer of a model's folder, as transformers makes it of the same files, but without it.

Importing transformers takes longer than all else that a worker or a prediction loads. What decides
tokens is the package `tokenizers`, which both use. Of settings that are not known here to change no
token the folder is read with transformers itself: nothing is guessed. The tests compare what is
built here with what transformers builds, to the last field.
"""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal, NamedTuple

SPECIAL = ("bos", "eos", "unk", "sep", "pad", "cls", "mask")
END = "<|endoftext|>"
CLIP = {"bos_token": "<|startoftext|>", "eos_token": END, "unk_token": END, "pad_token": END}
CLIP_WORDS = (
    r"<\|startoftext\|>|<\|endoftext\|>|'s|'t|'re|'ve|'m|'ll|'d|[\p{L}]+|[\p{N}]|[^\s\p{L}\p{N}]+"
)
# Classes whose tokenizer is what `tokenizer.json` says, and nothing more.
FROM_FILE = ("PreTrainedTokenizerFast", "TokenizersBackend")
# Settings on which no token depends, as texts are read here: what pads them, and how ids become
# texts again; for the class BERT's, which repeat what stands in its `tokenizer.json`.
IDLE = {
    *("tokenizer_class", "processor_class", "model_max_length", "name_or_path", "errors"),
    *("do_lower_case", "clean_up_tokenization_spaces", "special_tokens_map_file", "backend"),
    *("is_local", "local_files_only", "transformers_version", "pad_token_type_id", "max_length"),
    *(
        "do_basic_tokenize",
        "never_split",
        "strip_accents",
        "tokenize_chinese_chars",
        "chat_template",
    ),
    *("chat_template", "sp_model_kwargs", "use_default_system_prompt", "stride"),
    "pad_to_multiple_of",
}
# Settings that have the value that holds where nothing is said.
SILENT: dict[str, tuple[Any, ...]] = {
    "padding_side": ("right",),
    "truncation_side": ("right",),
    "truncation_strategy": ("longest_first",),
    "split_special_tokens": (False,),
    "add_prefix_space": (False,),
    "additional_special_tokens": (None, []),
    "extra_special_tokens": (None, [], {}),
}
Rules = Literal["clip", "file"]


class Read(NamedTuple):
    """What is read of a text, or of each of several.

    Attributes:
        input_ids: Token ids.
        offset_mapping: First and last + 1 character of each token; (0, 0) of special ones.
    """

    input_ids: Any
    offset_mapping: Any


class TextTokenizer:
    """Texts to token ids; called as tokenizers of transformers are.

    Args:
        own: Of the package `tokenizers`.
        named: Special tokens by name, such as `eos_token`.
    """

    def __init__(self, own: Any, named: dict[str, str]) -> None:
        self.own = own
        self._named = named
        own.no_padding()

    def __call__(
        self,
        texts: str | Sequence[str],
        *,
        add_special_tokens: bool = True,
        truncation: bool = False,
        max_length: int = 0,
        return_offsets_mapping: bool = True,
    ) -> Read:
        """Token ids of a text, or of each of several.

        Args:
            texts: One, or several.
            add_special_tokens: With those that begin and end a text.
            truncation: A longer text than `max_length` loses its last tokens before the end token.
            max_length: In tokens, special ones included.
            return_offsets_mapping: Ignored: offsets are there in any case.
        """
        if truncation:
            self.own.enable_truncation(max_length)
        else:
            self.own.no_truncation()
        one = isinstance(texts, str)
        found = self.own.encode_batch(
            [texts] if one else list(texts), add_special_tokens=add_special_tokens
        )
        rows = [Read(each.ids, each.offsets) for each in found]
        if one:
            return rows[0]
        return Read([row.input_ids for row in rows], [row.offset_mapping for row in rows])

    def __getattr__(self, name: str) -> Any:
        """`eos_token`, `eos_token_id` and their like; None where there is no such token."""
        kind, _, rest = name.partition("_")
        if kind not in SPECIAL or rest not in ("token", "token_id"):
            raise AttributeError(name)
        token = self._named.get(f"{kind}_token")
        if token is None or rest == "token":
            return token
        return self.own.token_to_id(token)

    def get_vocab(self) -> dict[str, int]:
        """Ids of all tokens, by how the vocabulary writes them."""
        return self.own.get_vocab(with_added_tokens=True)

    @property
    def all_special_ids(self) -> list[int]:
        """Ids of the special tokens, each once."""
        return [self.own.token_to_id(token) for token in dict.fromkeys(self._named.values())]


def load_tokenizer(folder: Path, rules: Rules | None = None) -> Any:
    """The tokenizer of a folder: a `TextTokenizer`, or that of transformers.

    Args:
        folder: With `tokenizer.json`, or for a CLIP `vocab.json` and `merges.txt`.
        rules: Whether texts are read as every CLIP does or as `tokenizer.json` says; by default
            the class that the files name decides, as it does in transformers.
    """
    found = read_tokenizer(folder, rules or rules_of(folder))
    if found is not None:
        return found
    import transformers  # seconds to import

    if rules is None:
        return transformers.AutoTokenizer.from_pretrained(folder)
    kind = transformers.CLIPTokenizer if rules == "clip" else transformers.PreTrainedTokenizerFast
    return kind.from_pretrained(folder)


def rules_of(folder: Path) -> Rules | None:
    """How the tokenizer of a CLIP's folder reads; None where its class is none of those known."""
    for name in ("tokenizer_config.json", "config.json"):
        settings = _settings(folder / name)
        if "auto_map" in settings:
            return None
        if kind := settings.get("tokenizer_class"):
            if kind.removesuffix("Fast") == "CLIPTokenizer":
                return "clip"
            return "file" if kind in FROM_FILE else None
    return "clip"


def read_tokenizer(folder: Path, rules: Rules | None) -> TextTokenizer | None:
    """The tokenizer of a folder; None where only transformers knows what its settings mean.

    Source of the order in which tokens are added: transformers 5.23, `_from_pretrained` of
    tokenization_utils_base.py and `TokenizersBackend`.

    Args:
        folder: With its files.
        rules: See `load_tokenizer`.
    """
    settings = _settings(folder / "tokenizer_config.json")
    file = folder / "tokenizer.json"
    if rules is None or (folder / "added_tokens.json").is_file() or not _known(settings):
        return None
    written = json.loads(file.read_bytes()) if file.is_file() else {}
    named = {f"{name}_token": settings.get(f"{name}_token") for name in SPECIAL}
    if rules == "clip":
        named = {name: CLIP.get(name) if named[name] is None else named[name] for name in named}
    added = {int(i): token for i, token in settings.get("added_tokens_decoder", {}).items()}
    if "added_tokens_decoder" not in settings:
        more = _settings(folder / "special_tokens_map.json")
        if more.keys() - named.keys():
            return None
        named |= more
        added = {token["id"]: token for token in written.get("added_tokens", ())}
    texts = {name: _text(token) for name, token in named.items() if token is not None}
    own = _clip(folder, written, texts) if rules == "clip" else _as_written(file, written)
    if own is None:
        return None
    _add(own, [token for token in named.values() if token is not None], added)
    if rules == "clip":
        from tokenizers import processors

        start, end = texts["bos_token"], texts["eos_token"]
        own.post_processor = processors.RobertaProcessing(
            (end, own.token_to_id(end)), (start, own.token_to_id(start)), False, False
        )
    return TextTokenizer(own, texts)


def _settings(path: Path) -> dict[str, Any]:
    return json.loads(path.read_bytes()) if path.is_file() else {}


def _known(settings: dict[str, Any]) -> bool:
    """Whether no token depends on any of these settings but those that are read here."""
    named = {f"{name}_token" for name in SPECIAL}
    return all(
        key in IDLE
        or key == "added_tokens_decoder"
        or (key in named and (not isinstance(value, dict) or "__type" in value))
        or (key in SILENT and value in SILENT[key])
        for key, value in settings.items()
    )


def _clip(folder: Path, written: dict[str, Any], named: dict[str, str]) -> Any:
    """CLIP's own rules with the vocabulary of a folder; None where it has none."""
    from tokenizers import Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers

    if written:
        vocabulary = written["model"]["vocab"]
        merges: Any = [
            tuple(pair.split(" ") if isinstance(pair, str) else pair)
            for pair in written["model"]["merges"]
        ]
    else:
        files = folder / "vocab.json", folder / "merges.txt"
        if not all(path.is_file() for path in files):
            return None
        vocabulary, merges = models.BPE.read_file(*map(str, files))
    own: Any = Tokenizer(
        models.BPE(
            vocabulary,
            merges,
            continuing_subword_prefix="",
            end_of_word_suffix="</w>",
            fuse_unk=False,
            unk_token=named["unk_token"],
        )
    )
    own.normalizer = normalizers.Sequence(
        [normalizers.NFC(), normalizers.Replace(Regex(r"\s+"), " "), normalizers.Lowercase()]
    )
    own.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(Regex(CLIP_WORDS), behavior="removed", invert=True),
            pre_tokenizers.ByteLevel(add_prefix_space=False),
        ]
    )
    own.decoder = decoders.ByteLevel()
    return own


def _as_written(file: Path, written: dict[str, Any]) -> Any:
    """What `tokenizer.json` says; None where special tokens round a text are left to settings."""
    from tokenizers import Tokenizer

    return Tokenizer.from_file(str(file)) if written.get("post_processor") else None


def _add(own: Any, named: list[Any], added: dict[int, Any]) -> None:
    """Adds tokens that are read whole, as the files have them.

    One that is named twice, once with how it is read and once without, is added twice, and the last
    time counts: as in transformers.

    Args:
        own: Gets them.
        named: Special tokens, with or without how they are read.
        added: Tokens by id, with how they are read.
    """
    from tokenizers import AddedToken

    texts = {_text(token) for token in named}
    tokens: list[Any] = [
        AddedToken(
            **_fields(token, special=token["content"] in texts or token.get("special", False))
        )
        for _, token in sorted(added.items())
    ]
    there = {token.content for token in [*own.get_added_tokens_decoder().values(), *tokens]}
    for token in named:
        whole = token if isinstance(token, str) else AddedToken(**_fields(token, special=True))
        if _text(token) not in there and whole not in tokens:
            tokens.append(whole)
    own.add_tokens([AddedToken(t, special=True) if isinstance(t, str) else t for t in tokens])


def _fields(token: dict[str, Any], *, special: bool) -> dict[str, Any]:
    names = ("content", "single_word", "lstrip", "rstrip", "normalized")
    return {**{name: token[name] for name in names if name in token}, "special": special}


def _text(token: Any) -> str:
    return token["content"] if isinstance(token, dict) else token
