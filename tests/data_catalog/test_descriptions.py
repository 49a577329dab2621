"""Sentences about classes: the file, whose they are, where they lie, and those of a model."""

import json
from pathlib import Path

import pytest

from data_catalog import CATALOG
from data_catalog.descriptions import (
    QUESTIONS,
    AnswerCache,
    Descriptions,
    article,
    describe,
    described,
    generate,
    kept_file,
)

PICTURED = [name for name, card in CATALOG.items() if card.kind == "image"]  # say how they look
TWO = {"cat": ["A cat has fur.", "It meows."], "sea lion": ["It swims."]}


def read(values):
    return Descriptions.from_json(json.dumps(values))


@pytest.mark.parametrize("name", PICTURED)
def test_an_embedded_dataset_comes_with_sentences_on_every_class_and_their_origin(name, tmp_path):
    found = described(name, tmp_path)
    assert found is not None
    said, file = found
    assert file.name == f"{name}.json"
    assert said.source
    assert said.license == "Apache-2.0"
    counts = {len(sentences) for sentences in said.of(CATALOG[name].classes)}
    assert min(counts) >= 5
    assert max(counts) <= 10


@pytest.mark.parametrize("name", PICTURED)
def test_no_two_embedded_classes_are_described_alike(name, tmp_path):
    found = described(name, tmp_path)
    assert found is not None
    every = found[0].of(CATALOG[name].classes)
    assert len(set(every)) == len(every)


def test_both_forms_of_the_file_are_read():
    bare = read(TWO)
    assert bare.sentences["cat"] == ("A cat has fur.", "It meows.")
    assert (bare.source, bare.license) == ("", "")
    whole = read({"source": "a friend", "license": "CC0", "descriptions": TWO})
    assert whole.sentences == bare.sentences
    assert (whole.source, whole.license) == ("a friend", "CC0")


def test_a_class_may_be_called_descriptions():
    said = read({"descriptions": ["A text about something."], "source": ["Where it springs."]})
    assert said.of(["source", "descriptions"]) == (
        ("Where it springs.",),
        ("A text about something.",),
    )


def test_what_is_written_is_read_as_it_was():
    said = Descriptions({"été": ("Il fait chaud.",), 'a "b"': ("c", "d")}, "me", "CC0")
    assert Descriptions.from_json(said.to_json()) == said


def test_white_space_is_put_in_order():
    assert read({"cat": [" A  cat\n\nhas fur. "]}).sentences == {"cat": ("A cat has fur.",)}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{", "no valid JSON"),
        ("[]", "no object"),
        ("{}", "name no class"),
        ('{"cat": []}', "descriptions of 'cat' is empty"),
        ('{"cat": "It meows."}', "'cat' are 'It meows.' and no list"),
        ('{"cat": ["It meows.", " "]}', "description 1 of 'cat' is ' ' and no sentence"),
        ('{"cat": [3]}', "description 0 of 'cat' is 3"),
        ('{"cat": ["a"], "cat": ["b"]}', "name 'cat' twice"),
        ('{"sorce": "me", "descriptions": {"cat": ["a"]}}', "Did you mean source?"),
        ('{"source": 3, "descriptions": {"cat": ["a"]}}', "source of the descriptions is 3"),
        ('{"descriptions": {}}', "name no class"),
    ],
)
def test_a_faulty_file_is_refused_with_the_way_out(text, message):
    with pytest.raises(ValueError, match=message):
        Descriptions.from_json(text)


def test_sentences_come_in_the_order_of_the_classes():
    assert read(TWO).of(["sea lion", "cat"]) == (("It swims.",), ("A cat has fur.", "It meows."))


def test_names_are_found_as_in_the_dataset_as_in_a_prompt_and_in_other_capitals():
    assert read(TWO).of(["sea_lion", "Cat"]) == (("It swims.",), ("A cat has fur.", "It meows."))


def test_capitals_decide_where_two_classes_differ_by_them():
    letters = read({"a": ["small"], "A": ["large"]})
    assert letters.of(["A", "a"]) == (("large",), ("small",))


def test_two_labels_of_one_name_share_its_sentences():
    said = read(TWO)
    assert said.of(["cat", "sea lion", "cat"])[0] == said.of(["cat", "sea lion", "cat"])[2]


def test_a_class_that_is_not_there_is_refused_with_the_nearest_that_lacks_sentences():
    with pytest.raises(ValueError, match=r"no class is called 'sea lion', .* mean sealion\?"):
        read(TWO).of(["sealion", "cat"])


def test_a_class_without_sentences_is_refused_by_name():
    with pytest.raises(ValueError, match="1 of 3 classes have no description: 'dog'"):
        read(TWO).of(["cat", "sea lion", "dog"])


def test_the_digest_is_of_what_is_said_and_in_which_order_of_classes():
    said, classes = read(TWO), ["cat", "sea lion"]
    assert said.digest(classes) == Descriptions(said.sentences, "someone").digest(classes)
    assert said.digest(classes) != said.digest(classes[::-1])
    more = read({**TWO, "cat": [*TWO["cat"], "It purrs."]})
    assert said.digest(classes) != more.digest(classes)


def test_a_users_sentences_come_before_those_that_ship(tmp_path):
    shipped = described("textiles", tmp_path)
    own = Descriptions({name: ("Cloth.",) for name in CATALOG["textiles"].classes}, "me")
    file = describe("textiles", CATALOG["textiles"].classes, own, tmp_path)
    assert described("textiles", tmp_path) == (own, file) != shipped
    assert file == kept_file("textiles", tmp_path)


def test_a_dataset_that_nobody_described_has_none(tmp_path):
    assert described("pets", tmp_path) is None


def test_others_give_way_on_request_alone(tmp_path):
    first, second = read(TWO), read({**TWO, "cat": ["It sleeps."]})
    classes = ["cat", "sea lion"]
    describe("pets", classes, first, tmp_path)
    describe("pets", classes, first, tmp_path)
    with pytest.raises(ValueError, match=r"others were given before: .*Replace them"):
        describe("pets", classes, second, tmp_path)
    assert described("pets", tmp_path) == (first, kept_file("pets", tmp_path))
    describe("pets", classes, second, tmp_path, replace=True)
    assert described("pets", tmp_path) == (second, kept_file("pets", tmp_path))


def test_what_does_not_fit_the_classes_is_not_kept(tmp_path):
    with pytest.raises(ValueError, match="'dog'"):
        describe("pets", ["cat", "sea lion", "dog"], read(TWO), tmp_path)
    assert described("pets", tmp_path) is None


def test_a_damaged_file_is_named(tmp_path):
    kept_file("pets", tmp_path).write_text("{")
    with pytest.raises(ValueError, match=r"pets\.descriptions\.json: .* no valid JSON"):
        described("pets", tmp_path)


class Model:
    """Answers every prompt with it, and remembers what it was asked."""

    def __init__(self, *answers):
        self.answers = answers
        self.asked: list[str] = []

    def __call__(self, prompt):
        self.asked.append(prompt)
        return [answer.format(prompt) for answer in self.answers]


def test_every_question_is_asked_of_every_class_and_each_answer_is_a_sentence(tmp_path):
    model = Model("first to {}", "  second\nto {}!", " ")
    said = generate(
        ["apple", "sea_lion"],
        AnswerCache(tmp_path, model),
        questions=("What is {a} {}?", "Describe {}"),
        source="a model",
    )
    assert model.asked == [
        "What is an apple?",
        "Describe apple",
        "What is a sea lion?",
        "Describe sea lion",
    ]
    assert said.source == "a model"
    assert said.sentences["apple"] == (
        "first to What is an apple?",
        "second to What is an apple?!",
        "first to Describe apple.",
        "second to Describe apple!",
    )
    assert list(said.sentences) == ["apple", "sea_lion"]


def test_the_questions_of_the_paper_are_asked_unless_there_are_others(tmp_path):
    model = Model("Grey.")
    said = generate(["platypus"], AnswerCache(tmp_path, model))
    assert len(said.sentences["platypus"]) == len(model.asked) == len(QUESTIONS) == 5
    assert "What does a platypus look like?" in model.asked


def test_what_was_answered_is_not_asked_again(tmp_path):
    first, second = Model("one"), Model("two")
    said = generate(["cat", "dog"], AnswerCache(tmp_path, first))
    again = generate(["cat", "dog", "fox"], AnswerCache(tmp_path, second))
    assert {name: again.sentences[name] for name in said.sentences} == said.sentences
    assert all("fox" in prompt for prompt in second.asked)


def test_answers_before_a_failure_are_kept(tmp_path):
    class Breaks(Model):
        def __call__(self, prompt):
            if "dog" in prompt:
                raise ConnectionError("no model today")
            return super().__call__(prompt)

    with pytest.raises(ConnectionError):
        generate(["cat", "dog"], AnswerCache(tmp_path, Breaks("one")))
    model = Model("two")
    assert generate(["cat", "dog"], AnswerCache(tmp_path, model)).sentences["cat"] == ("one.",) * 5
    assert not any("cat" in prompt for prompt in model.asked)


def test_two_labels_of_one_name_are_asked_about_once(tmp_path):
    model = Model("one")
    assert list(generate(["cat", "dog", "cat"], AnswerCache(tmp_path, model)).sentences) == [
        "cat",
        "dog",
    ]
    assert len(model.asked) == 2 * len(QUESTIONS)


@pytest.mark.parametrize(
    ("answer", "message"),
    [("one text", "must give a list of texts"), ([3], "must give a list"), ([" "], "no answer")],
)
def test_what_is_no_answer_is_refused_and_not_kept(tmp_path, answer, message):
    with pytest.raises(ValueError, match=message):
        generate(["cat"], AnswerCache(tmp_path / "answers", lambda _: answer))
    assert not (tmp_path / "answers").exists()


@pytest.mark.parametrize("questions", [("What is it?",), ("{} or {}?",), ()])
def test_a_question_without_the_class_name_is_refused_before_any_is_asked(tmp_path, questions):
    model = Model("one")
    with pytest.raises(ValueError, match="question"):
        generate(["cat"], AnswerCache(tmp_path, model), questions=questions)
    assert not model.asked


def test_an_apple_and_a_pear_have_their_articles():
    assert [article(noun) for noun in ("apple", "pear", "Owl", "")] == ["an", "a", "an", "a"]


def test_no_file_ships_that_describes_no_dataset():
    import data_catalog.descriptions

    folder = Path(data_catalog.descriptions.__file__).parent
    assert {file.stem for file in folder.glob("*.json")} <= set(CATALOG)


def test_json_that_is_nested_too_deeply_is_one_sentence():
    with pytest.raises(ValueError, match="descriptions are no valid JSON: it is nested too deeply"):
        Descriptions.from_json("[" * 100_000)
