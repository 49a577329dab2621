"""Odd files of a model are one sentence, whatever is wrong with them."""

import json
import shutil

import pytest


@pytest.fixture
def broken(clip_folder, tmp_path):
    """A copy of a whole CLIP in which one file holds something else."""
    from operators.backbones import BackboneUnavailable, reference

    def refused(name: str, content: bytes) -> str:
        folder = tmp_path / "clip"
        shutil.copytree(clip_folder, folder)
        (folder / name).write_bytes(content)
        which = reference(str(folder))
        with pytest.raises(BackboneUnavailable) as said:
            which.load(which.describe())
        assert "\n" not in str(said.value)
        return str(said.value)

    return refused


NESTED = b"[" * 100_000


@pytest.mark.parametrize("name", ["config.json", "preprocessor_config.json"])
@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"", "cannot be read as JSON"),
        (b"{", "cannot be read as JSON"),
        (b"\xff\xfe\x00", "cannot be read as JSON"),
        (NESTED, "cannot be read as JSON"),
        (b"[1, 2]", "holds [1, 2] where settings by name should be"),
        (b"null", "holds null where settings by name should be"),
        (b'"clip"', 'holds "clip" where settings by name should be'),
    ],
)
def test_settings_that_are_none_are_refused(broken, name, content, said):
    assert said in broken(name, content)


@pytest.mark.parametrize(
    ("values", "said"),
    [
        ({}, "holds a 'nameless' model"),
        ({"model_type": None}, "holds a 'nameless' model"),
        ({"model_type": ["clip"]}, "holds a 'nameless' model"),
        ({"model_type": "clip"}, "the image tower reads 224 pixels"),
        ({"model_type": "clip", "vision_config": None, "text_config": None}, "cannot be used"),
        ({"model_type": "clip", "vision_config": [1], "text_config": {}}, "cannot be used"),
        ({"model_type": "clip", "vision_config": {"image_size": "big"}}, "reads big pixels"),
    ],
)
def test_settings_of_no_model_are_refused(broken, values, said):
    assert said in broken("config.json", json.dumps(values).encode())


def test_weights_that_are_missing_are_not_drawn_at_random(broken):
    no_weights = (8).to_bytes(8, "little") + b"{}      "
    assert "weights are missing in" in broken("model.safetensors", no_weights)


@pytest.mark.parametrize("content", [b"", b"not weights", b"\xff" * 64])
def test_weights_that_are_none_are_refused(broken, content):
    assert "the weights or the tokenizer of" in broken("model.safetensors", content)


@pytest.mark.parametrize("content", [b"", b"{", NESTED, b"[]", b'{"model": 3}'])
def test_a_tokenizer_that_is_none_is_refused(broken, content):
    assert "cannot be used" in broken("tokenizer.json", content)
