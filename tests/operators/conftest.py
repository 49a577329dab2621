"""An empty board, and trials to put on it, for the tests of its views."""

import itertools
import json
import shutil

import duckdb
import pytest

from operators.board import completed_rows, create
from operators.metrics import Score
from operators.spec import TrialSpec
from operators.trials.results import Cost, Provenance, TrialResult

PREDICTED = ["split", "row_id", "label", "predicted", "confidence"]


def a_track(track, primary_metric, metrics, columns=PREDICTED):
    return {
        **{"track": track, "title": f"{track} of drawn rows", "kind": "image"},
        **{"primary_metric": primary_metric, "metrics": metrics, "columns": columns},
    }


def a_protocol(protocol, tests, track="image-classification", primary_metric="accuracy"):
    return {
        **{"protocol": protocol, "track": track, "title": protocol, "tests": tests},
        **{"primary_metric": primary_metric, "learns": protocol != "zero_shot"},
        **{"new_classes": tests != "all", "revision": 1},
    }


# Beside the track of the code one of which less is better, and whose predictions are no labels.
TRACKS = [
    a_track("image-classification", "accuracy", ["accuracy"]),
    a_track("language-modelling", "nll", ["nll"], ["split", "row_id", "log_probability"]),
]
PROTOCOLS = [
    a_protocol("zero_shot", "all"),
    a_protocol("few_shot", "all"),
    a_protocol("base_to_new", "base and new"),
    a_protocol("cross_dataset", "targets"),
    a_protocol("domain_generalization", "targets"),
    a_protocol("next_word", "all", "language-modelling", "nll"),
    a_protocol("next_word_elsewhere", "targets", "language-modelling", "nll"),
]


@pytest.fixture(scope="session")
def empty_board(tmp_path_factory):
    path = tmp_path_factory.mktemp("board") / "empty.duckdb"
    with duckdb.connect(path) as opened:
        create(opened, tracks=TRACKS, protocols=PROTOCOLS)
    return path


@pytest.fixture
def connection(empty_board, tmp_path):
    with duckdb.connect(shutil.copyfile(empty_board, tmp_path / "board.duckdb")) as opened:
        yield opened


@pytest.fixture
def rows(connection):
    def read(view, where="true"):
        cursor = connection.execute(f"SELECT * FROM {view} WHERE {where}")
        names = [column[0] for column in cursor.description]
        return [dict(zip(names, row, strict=True)) for row in cursor.fetchall()]

    return read


@pytest.fixture(scope="session")
def board_spec():
    def make(**changes):
        values = {
            "method": "coop",
            "method_revision": 1,
            "hyperparameters": {"n_context": 4},
            "backbone": "openai/clip-vit-base-patch16",
            "backbone_fingerprint": "b0",
            "dataset": "dtd",
            "dataset_fingerprint": "d0",
            "protocol": "few_shot",
            "shots": 4,
            "seed": 1,
        }
        return TrialSpec(**{**values, **changes})

    return make


@pytest.fixture(scope="session")
def trial_file(board_spec):
    """What the `trial.json` of a trial holds."""

    def make(
        accuracies,
        *,
        started_at="2026-01-01T00:00:00+00:00",
        cost=1.0,
        flops=(10, 90),
        extra=(),
        n=10,
        **changes,
    ):
        one = board_spec(**changes)
        result = TrialResult(
            spec=one,
            metrics=(*(Score(s, "accuracy", a, n) for s, a in accuracies.items()), *extra),
            cost=Cost(
                tune_seconds=cost,
                evaluate_seconds=cost / 2,
                peak_memory_bytes=100,
                trainable_parameters=8,
                steps=5,
                tune_flops=flops[0],
                plain_tune_flops=flops[1],
            ),
            provenance=Provenance(started_at=started_at, device="cpu", torch_version="2.13.0"),
            episode_fingerprint=f"{one.dataset}-{one.shots}-{one.seed}",
        )
        return json.loads(json.dumps(result.to_json()))

    return make


@pytest.fixture(scope="session")
def trial(trial_file):
    """The rows of one trial on the board; `n` test rows."""

    def make(accuracies, **changes):
        values = trial_file(accuracies, **changes)
        return completed_rows(values, trial_id=values["trial_id"])

    return make


@pytest.fixture(scope="session")
def cell(trial):
    """The trials of one cell, one for each accuracy; seeds from 1."""

    def make(values, *, split="all", **changes):
        return [
            trial({split: value}, seed=seed, **changes)
            for seed, value in zip(itertools.count(1), values, strict=False)
        ]

    return make


WORDS = ("good", "bad", "great", "movie", "film", "a", "it", "was", "review", "feeling", "not")
BERT_TOKENS = ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]")


def drawn_weights(model, seed=0):
    """The model with weights none of which is zero; norms stay near one."""
    import torch

    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for name, weight in model.named_parameters():
            centre = 1.0 if ("norm" in name.lower() or "ln_" in name) and "weight" in name else 0.0
            weight.copy_(centre + 0.2 * torch.randn(weight.shape, generator=generator))
    return model


@pytest.fixture(scope="session")
def byte_pair_tokenizer():
    """A byte-level vocabulary in which the common words are one token each, behind a space too."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers
    from transformers import PreTrainedTokenizerFast

    merges = []
    for word in WORDS:
        parts = list(word)
        while len(parts) > 1:
            merges.append((parts[0], parts[1]))
            parts[:2] = ["".join(parts[:2])]
    merges = list(dict.fromkeys([*merges, *(("Ġ", word) for word in WORDS)]))
    letters = sorted(pre_tokenizers.ByteLevel.alphabet())
    tokens = ["<end>", *letters, *dict.fromkeys("".join(pair) for pair in merges)]
    own = Tokenizer(models.BPE({token: i for i, token in enumerate(tokens)}, merges))
    own.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    own.decoder = decoders.ByteLevel()
    return PreTrainedTokenizerFast(tokenizer_object=own, eos_token="<end>")


@pytest.fixture(scope="session")
def word_piece_tokenizer():
    """A vocabulary of BERT's kind: whole words, and pieces of the others."""
    from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors
    from transformers import PreTrainedTokenizerFast

    letters = "abcdefghijklmnopqrstuvwxyz0123456789.,:;!?'-"
    tokens = [*BERT_TOKENS, *letters, *(f"##{letter}" for letter in letters), "##ness"]
    tokens += [word for word in WORDS if word not in tokens]
    own = Tokenizer(models.WordPiece({t: i for i, t in enumerate(tokens)}, unk_token="[UNK]"))
    own.normalizer = normalizers.BertNormalizer(lowercase=True)
    own.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    own.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]",
        special_tokens=[(name, tokens.index(name)) for name in ("[CLS]", "[SEP]")],
    )
    named = ("pad", "unk", "cls", "sep", "mask")
    special = {f"{name}_token": f"[{name.upper()}]" for name in named}
    return PreTrainedTokenizerFast(tokenizer_object=own, **special)


@pytest.fixture(scope="session")
def language_folder(tmp_path_factory):
    """Writes a model of transformers with drawn weights beside its tokenizer; gives the folder."""

    def write(kind, config, tokenizer):
        folder = tmp_path_factory.mktemp("language") / f"tiny-{config.model_type}"
        drawn_weights(kind(config)).save_pretrained(folder)
        tokenizer.save_pretrained(folder)
        return folder

    return write


@pytest.fixture(scope="session")
def causal_folder(language_folder, byte_pair_tokenizer):
    """A Llama with grouped heads, three layers and 64 places."""
    from transformers import LlamaConfig, LlamaForCausalLM

    config = LlamaConfig(
        vocab_size=len(byte_pair_tokenizer),
        hidden_size=32,
        intermediate_size=40,
        num_hidden_layers=3,
        num_attention_heads=4,
        num_key_value_heads=2,
        max_position_embeddings=64,
        tie_word_embeddings=True,
    )
    return language_folder(LlamaForCausalLM, config, byte_pair_tokenizer)


@pytest.fixture(scope="session")
def masked_folder(language_folder, word_piece_tokenizer):
    """A BERT with three layers and 64 places."""
    from transformers import BertConfig, BertForMaskedLM

    config = BertConfig(
        vocab_size=len(word_piece_tokenizer),
        hidden_size=32,
        intermediate_size=40,
        num_hidden_layers=3,
        num_attention_heads=4,
        max_position_embeddings=64,
    )
    return language_folder(BertForMaskedLM, config, word_piece_tokenizer)


def _loaded(kind, folder):
    import torch

    card = kind.describe(folder.name, str(folder))
    return kind.load(card, str(folder), torch.device("cpu"), torch.float32)


@pytest.fixture(scope="session")
def tiny_causal(causal_folder):
    """A random causal language model; "good" and "bad" are one token each, most words several."""
    from operators.backbones.language import CausalLM

    return _loaded(CausalLM, causal_folder)


@pytest.fixture(scope="session")
def tiny_masked(masked_folder):
    """A random masked language model; "goodness" is two tokens."""
    from operators.backbones.language import MaskedLM

    return _loaded(MaskedLM, masked_folder)
