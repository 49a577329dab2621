"""`shotboard datasets describe`: what it keeps, shows and refuses."""

import json

import pytest

SAID = {"cat": ["A cat has fur."], "dog": ["It barks."], "boat": ["It floats."], "tree": ["Green."]}


@pytest.fixture
def store(tmp_path, pictures, shotboard):
    home = tmp_path / "store"
    assert shotboard("datasets", "add", "pets", "--path", pictures, "--home", home).code == 0
    assert shotboard("datasets", "ingest", "pets", "--home", home).code == 0
    return home


@pytest.fixture
def describe(shotboard, store):
    return lambda *arguments: shotboard("datasets", "describe", *arguments, "--home", store)


@pytest.fixture
def file(tmp_path):
    def write(values):
        path = tmp_path / "said.json"
        path.write_text(json.dumps(values))
        return path

    return write


def test_what_is_given_is_kept_and_shown(describe, shotboard, store, file):
    answer = describe("pets", "--file", file(SAID))
    assert answer.code == 0, answer.err
    assert answer.out == f"descriptions: {store / 'datasets' / 'pets.descriptions.json'}\n"
    shown = describe("pets")
    assert "A cat has fur." in shown.out
    assert "4 sentences on 4 classes; source not given." in shown.out
    assert describe("pets", "--json").json["sentences"] == SAID
    card = shotboard("datasets", "show", "pets", "--home", store)
    assert "classes: 4, sentences: 4" in card.out
    assert describe("pets", "--file", file({**SAID, "cat": ["Paws."]})).code == 2
    assert describe("pets", "--file", file({**SAID, "cat": ["Paws."]}), "--replace").code == 0
    assert describe("pets", "--json").json["sentences"]["cat"] == ["Paws."]


def test_a_plan_has_the_method_as_soon_as_there_are_sentences(
    describe, shotboard, store, file, clip_folder
):
    arguments = ("plan", "--datasets", "pets", "--methods", "cupl", "--backbones", clip_folder)
    refused = shotboard(*arguments, "--home", store)
    assert refused.code == 2
    assert "cupl on pets: it reads sentences about each class" in refused.sentence
    assert describe("pets", "--file", file(SAID)).code == 0
    assert "cupl" in shotboard(*arguments, "--home", store).out


def test_sentences_that_ship_are_shown(describe):
    answer = describe("digits", "--json").json
    assert len(answer["sentences"]) == 10
    assert answer["license"] == "Apache-2.0"


def test_a_model_can_be_asked(describe, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "their_model.py").write_text("def say(prompt):\n    return [prompt]\n")
    answer = describe("pets", "--generate", "their_model:say", "--question", "What is {a} {}?")
    assert answer.code == 0, answer.err
    assert describe("pets", "--json").json["sentences"]["boat"] == ["What is a boat?"]


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["pts"], "no dataset is called 'pts'. Did you mean pets?"),
        (["pets"], "nobody has described pets yet: `shotboard datasets describe pets --file"),
        (["pets", "--file", "absent.json"], "absent.json"),
        (["pets", "--file", "a", "--generate", "b:c"], "give one of them"),
        (["pets", "--question", "What is {}?"], "name one with --generate"),
        (["pets", "--generate", "b"], "--generate b: write module:callable"),
        (["pets", "--generate", "no_such:c"], "no module 'no_such'"),
    ],
)
def test_a_wrong_request_is_one_sentence(describe, arguments, said):
    answer = describe(*arguments)
    assert answer.code == 2
    assert said in answer.sentence


@pytest.mark.parametrize(
    ("values", "said"),
    [
        ({**SAID, "catt": ["x"]}, "no class is called 'catt'"),
        ({"cat": ["x"]}, "3 of 4 classes have no description: 'boat', 'dog', 'tree'"),
        ({**SAID, "cat": []}, "the list of descriptions of 'cat' is empty"),
    ],
)
def test_a_file_that_does_not_fit_is_refused_and_not_kept(describe, store, file, values, said):
    answer = describe("pets", "--file", file(values))
    assert answer.code == 2
    assert said in answer.sentence
    assert not (store / "datasets" / "pets.descriptions.json").exists()
