"""Files of weights are read or refused in a sentence, and no code in them is run."""

import json
import pickle
import runpy
import shutil
from functools import partial
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from hypothesis import example, given
from hypothesis import strategies as st
from safetensors.torch import save

from operators.backbones import reference
from operators.backbones.base import BackboneUnavailable

BAD = SimpleNamespace(**runpy.run_path(str(Path(__file__).parents[1] / "bad_input.py")))
SOME, DEEP = BAD.fewer(4), BAD.deep(100_000)
is_a_sentence = partial(BAD.is_a_sentence, longest=5_000)
TYPES = ("F32", "F16", "BF16", "I64", "U8", "BOOL", "F64", "F8_E4M3", "C64", "F4", "X", "", None)


@pytest.fixture
def broken(clip_folder, tmp_path_factory):
    """Loads a copy of the tiny CLIP in which a file has another content; nothing is written."""

    def load(name, content, without=()):
        with BAD.surroundings(tmp_path_factory) as around:
            folder = shutil.copytree(clip_folder, around.place / "model")
            for other in without:
                (folder / other).unlink(missing_ok=True)
            (folder / name).write_bytes(BAD.as_bytes(content))
            before = BAD.tree(folder)
            try:
                found = reference(str(folder))
                found.load(found.describe())
            except BackboneUnavailable as error:
                is_a_sentence(error)
            assert BAD.tree(folder) == before
            shutil.rmtree(folder)

    return load


def packed(header, body=b""):
    """A safetensors file."""
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    return len(text).to_bytes(8, "little") + text + body


OFFSETS = st.lists(st.integers(-5, 2**64), max_size=3)
ENTRY = st.fixed_dictionaries(
    {},
    optional={
        "dtype": st.sampled_from(TYPES),
        "shape": st.lists(st.integers(-2, 2**63), max_size=3),
        "data_offsets": OFFSETS,
        "other": st.none(),
    },
)
HEADERS = st.one_of(
    st.dictionaries(st.text(max_size=8), ENTRY, max_size=3),
    st.binary(max_size=30),
    st.sampled_from((DEEP.encode(), b"{}", b"null", b'{"__metadata__": 1}')),
)


@SOME
@given(HEADERS, st.binary(max_size=40), st.one_of(st.none(), st.integers(0, 2**64 - 1)))
@example({"a": {"dtype": "F32", "shape": [2**62, 2**62], "data_offsets": [0, 4]}}, b"", None)
@example(b"{}", b"", 2**63)
def test_weights_are_read_or_refused_in_a_sentence(broken, header, body, length):
    content = packed(header, body)
    if length is not None:
        content = length.to_bytes(8, "little") + content[8:]
    broken("model.safetensors", content)


@SOME
@given(
    st.sampled_from(("config.json", "tokenizer.json", "vocab.json", "merges.txt")),
    st.one_of(
        st.binary(max_size=40),
        st.dictionaries(st.text(max_size=8), st.integers(), max_size=2).map(json.dumps),
        st.just(DEEP),
    ),
)
def test_settings_and_words_are_read_or_refused_in_a_sentence(broken, name, content):
    broken(name, content)


@pytest.mark.parametrize("name", ["pytorch_model.bin", "model.safetensors"])
@pytest.mark.parametrize("wrap", [pickle.dumps, None], ids=["pickle", "torch"])
def test_no_code_of_a_checkpoint_is_run(broken, tmp_path, name, wrap):
    trap = BAD.Trap(tmp_path / "trapped")
    content = {"a": torch.zeros(2), "b": trap}
    if wrap:
        written = wrap(content)
    else:
        torch.save(content, tmp_path / "file")
        written = (tmp_path / "file").read_bytes()
    broken(name, written, without=["model.safetensors"])
    trap.check()


def test_a_part_that_an_index_names_lies_in_its_folder(broken, tmp_path):
    """An index names its parts by file; none of them is looked for elsewhere."""
    (tmp_path / "outside.safetensors").write_bytes(save({"a": torch.zeros(2)}))
    index = {"weight_map": {"a": str(tmp_path / "outside.safetensors"), "b": "../../x"}}
    broken(
        "model.safetensors.index.json", json.dumps(index).encode(), without=["model.safetensors"]
    )
