"""Numbers in YAML that people write, and texts that look like them."""

import pytest

from data_catalog import DatasetCard
from data_catalog.yaml_text import YAMLError, dump_yaml, load_yaml


@pytest.mark.parametrize(
    ("text", "value"),
    [("1e-3", 1e-3), ("1E5", 1e5), ("-2.e+3", -2000.0), ("1.5e3", 1500.0), (".5e1", 5.0)],
)
def test_an_exponent_makes_a_number(text, value):
    found = load_yaml(f"lr: {text}")["lr"]
    assert (found, type(found)) == (value, float)


@pytest.mark.parametrize("text", ["e3", "1e", "1e-", "1e3x", "v1e3", "1e3 shots", "2e3-b", "'1e3'"])
def test_what_only_looks_like_a_number_is_a_text(text):
    assert load_yaml(f"name: {text}")["name"] == text.strip("'")


def test_other_scalars_are_what_they_were():
    assert load_yaml("[3, 0.5, 1.0e+30, true, null, .inf, a b]") == [
        *(3, 0.5, 1e30, True, None, float("inf"), "a b")
    ]


def test_what_is_written_is_read_back():
    values = {"z": ["1e-3", "1e5", "é", "3"], "a": [1e-3, 1e5, 1e30, 3]}
    found = load_yaml(dump_yaml(values))
    assert (found, list(found)) == (values, ["z", "a"])


def test_a_card_takes_a_small_share_as_people_write_it():
    source = "{kind: image_folder, path: /data}"
    text = f"name: pets\nclasses: [cat, dog]\nsource: {source}\nmax_corrupt_share: 1e-3\n"
    assert DatasetCard.from_yaml(text).max_corrupt_share == 1e-3


LAUGHS = "a0: &a0 [x, x]\n" + "".join(
    f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 10)}]\n" for n in range(1, 12)
)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("[" * 50_000, "nested too deeply"),
        ("&a [*a]", "nested too deeply, or in itself"),
        ("on: 2024-13-40", "a value cannot be read"),
        (LAUGHS, "its aliases stand for more than"),
    ],
)
def test_yaml_that_nobody_writes_is_an_error_of_its_own(text, said):
    with pytest.raises(YAMLError, match=said):
        load_yaml(text)
