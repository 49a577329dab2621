"""Prompts in words: what a template scores, who is asked for more, and what is kept."""

from dataclasses import replace
from itertools import pairwise

import pytest
import torch

from operators import functions
from operators.blocks.kept_text import KeptText
from operators.blocks.prompt_bounds import error_bound, uniform_prior
from operators.blocks.template_scores import right_answers, template_vectors
from operators.episodes.episode import Classes
from operators.methods import METHODS
from operators.methods.classifier import accuracy_on
from operators.methods.image_classification.written_prompts.promptcap import LISTED
from operators.methods.image_classification.written_prompts.proposers import (
    BANK,
    LONGEST,
    drawn_templates,
    is_template,
    mutated,
)
from operators.methods.image_classification.written_prompts.whole_words import whole_words

LABELS = [0, 1, 2, 3] * 3


@pytest.fixture(autouse=True)
def forgotten(monkeypatch):
    monkeypatch.setattr(functions, "_OWN", {})


@pytest.fixture
def shots(few_shot, clip):
    return few_shot(clip.feature_width, LABELS)


def own(function):
    name = functions.own_name("mine:given", "0" * 16)
    functions.add_own(name, function)
    return name


def build(name, clip, classes, **given):
    return METHODS[name](clip, classes, generator=torch.Generator(), **given)


def fit(method, shots, seed=0):
    return method.fit(shots, tuning=None, generator=torch.Generator().manual_seed(seed))


def zero_shot(clip, classes, template):
    return build("zero-shot", clip, replace(classes, templates=(template,))).eval()


def test_a_template_scores_what_zero_shot_classification_with_it_has_right(clip, classes, shots):
    templates = ["a photo of a {}.", "{}.", "a dog beside the {}."]
    found = right_answers(clip, classes, templates, shots.train).tolist()
    wanted = [accuracy_on(zero_shot(clip, classes, t), shots.train) for t in templates]
    assert [n / len(LABELS) for n in found] == pytest.approx(wanted)


def test_a_template_that_is_too_long_for_the_tower_loses_its_last_words(clip, classes, shots):
    long = f"{'a dog beside ' * 12}the {{}} on a road."
    (vectors,) = template_vectors(clip, classes, [long])
    torch.testing.assert_close(vectors, vectors[:1].expand(4, -1))  # the same text, to its end
    method = build("llm-bbo", clip, classes, starts=1, calls=1, proposer=own(lambda *_: [long]))
    assert fit(method, shots).found["tried"][1]["template"] == long
    method.template.text = long
    assert method.eval().logits(shots.train).isfinite().all()


def test_templates_are_scored_alike_however_many_at_a_time(clip, classes, shots, monkeypatch):
    whole = right_answers(clip, classes, BANK[:7], shots.train)
    monkeypatch.setattr("operators.blocks.template_scores.PROMPTS", 9)
    assert torch.equal(right_answers(clip, classes, BANK[:7], shots.train), whole)


def test_a_kept_text_survives_a_file_whatever_its_length():
    text = KeptText(torch.device("cpu"))
    text.text = "a photo \u00e9 of {}."
    other = KeptText(torch.device("cpu"))
    other.load_state_dict(text.state_dict())
    assert other.text == "a photo \u00e9 of {}."


@pytest.mark.parametrize(
    ("text", "holds"),
    [("a {}.", True), ("a cat.", False), ("{} and {}.", False), ("a {x} {}.", False), ("{", False)],
)
def test_what_a_template_is(text, holds):
    assert is_template(text) == holds


def test_a_pool_begins_with_the_bank_then_pairs_of_it():
    drawn = drawn_templates(len(BANK) + 20, torch.Generator().manual_seed(0))
    assert set(drawn[: len(BANK)]) == set(BANK)
    assert len(set(drawn)) == len(BANK) + 20
    assert all(map(is_template, drawn))
    assert len(drawn_templates(10**4, torch.Generator())) < 10**4  # there are no more


def test_mutations_are_new_templates_without_words_that_only_the_worst_have():
    best, worst = ["a photo of a {}."], ["a tattoo of the {}."]
    found = mutated(best, worst, 200, torch.Generator().manual_seed(1))
    assert all(map(is_template, found))
    assert not {*best, *worst} & set(found)
    assert len(set(found)) > 150
    words = {word for text in found for word in text.rstrip(".").split()}
    assert "tattoo" not in words
    assert max(len(text.split()) for text in found) <= LONGEST
    again = mutated(best, worst, 200, torch.Generator().manual_seed(1))
    assert again == found


def test_the_best_and_the_worst_are_shown_and_what_is_written_is_scored(clip, classes, shots):
    calls = []

    def propose(best, worst, count, generator):
        calls.append((list(best), list(worst), count))
        return [f"answer {len(calls)} is a {{}}.", "no place", "{} {}"]

    method = build("llm-bbo", clip, classes, proposer=own(propose), starts=6, calls=3, shown=2)
    found = fit(method, shots).found
    scores = {each["template"]: each["accuracy"] for each in found["tried"]}
    assert len(scores) == 6 + 3
    assert list(scores)[6:] == [f"answer {n} is a {{}}." for n in (1, 2, 3)]
    best, worst, count = calls[0]
    first = list(scores.items())[:6]
    ranked = sorted(first, key=lambda item: -item[1])
    assert (best, count) == ([text for text, _ in ranked[:2]], 1)
    assert worst == [text for text, _ in ranked[:-3:-1]]
    assert found["template"] == max(scores, key=lambda text: scores[text])
    assert method.template.text == found["template"]
    expected = zero_shot(clip, classes, found["template"]).logits(shots.train)
    torch.testing.assert_close(method.eval().logits(shots.train), expected)


def test_answers_without_a_template_use_their_call_up(clip, classes, shots):
    asked = []
    silent = own(lambda best, worst, count, generator: asked.append(count) or [])
    method = build("llm-bbo", clip, classes, starts=2, calls=2, proposer=silent)
    assert len(fit(method, shots).found["tried"]) == 2
    assert len(asked) == 2 * 15


def test_the_bound_of_a_search_is_that_of_its_template(clip, classes, shots):
    method = build("llm-bbo", clip, classes, starts=5, calls=0)
    found = fit(method, shots).found
    wrong = round(len(LABELS) * (1 - accuracy_on(method, shots.train)))
    nats = uniform_prior(found["template"], clip)
    assert found["error_bound"] == error_bound(wrong, len(LABELS), nats)
    assert found["train_error"] == pytest.approx(wrong / len(LABELS))


def test_a_prompt_grows_by_the_word_that_is_best_among_those_tried(clip, classes, shots):
    words = whole_words(clip.tokenizer)
    method = build("pac-bayes", clip, classes, words=2, candidates=len(words))
    tried = fit(method, shots).found["tried"]
    assert [each["template"].count(" ") for each in tried] == [0, 1, 2]
    for before, after in pairwise(tried):
        start = before["template"].removesuffix("{}.")
        texts = [f"{start}{word} {{}}." for word in words]
        best = int(right_answers(clip, classes, texts, shots.train).max()) / len(LABELS)
        assert after["accuracy"] == pytest.approx(best)
    best = max(each["accuracy"] for each in tried)
    assert method.template.text == next(t["template"] for t in tried if t["accuracy"] == best)


def test_a_penalty_keeps_a_prompt_short(clip, classes, shots):
    method = build("pac-bayes", clip, classes, words=2, candidates=4, penalty=1000.0)
    assert fit(method, shots).found["template"] == "{}."


def test_the_templates_of_the_card_are_bounded_too(clip, classes, shots):
    method = build("pac-bayes", clip, classes, search="card", prior=own(lambda text, backbone: 7.5))
    found = fit(method, shots).found
    assert found["template"] == classes.templates[0]
    assert found["complexity_nats"] == 7.5
    expected = zero_shot(clip, classes, classes.templates[0]).logits(shots.train)
    torch.testing.assert_close(method.eval().logits(shots.train), expected)


def test_words_of_a_vocabulary_are_one_token_each(clip, effnet):
    for backbone in (clip, effnet):
        words = whole_words(backbone.tokenizer)
        assert len(words) > 3
        lengths = {len(row) - 2 for row in backbone.tokenizer(words).input_ids}
        assert lengths == {1}


@pytest.fixture
def pictures(clip, drawn_pictures):
    from operators.contract.case import Case

    return Case("promptcap", METHODS["promptcap"], clip).few.train


def test_a_caption_is_classified_by_its_text(clip, classes, pictures):
    seen = []

    def describe(pixels, prompt, names, backbone):
        seen.append((tuple(pixels.shape[1:]), prompt, tuple(names)))
        return [f"a {names[row % 2]} of some kind." for row in range(len(pixels))]

    method = build("promptcap", clip, classes, captioner=own(describe)).eval()
    found = method.logits(pictures)
    texts = clip.text_features([f"a {classes.names[row % 2]} of some kind." for row in range(12)])
    wanted = clip.logit_scale * texts @ method.hand_written.T
    torch.testing.assert_close(found, wanted)
    (shape, prompt, names) = seen[0]
    side = clip.preprocess.size
    assert shape == (3, side, side)
    assert names == classes.names
    assert prompt.startswith("please describe this image according to the given question: what is")
    assert all(name in prompt for name in classes.names)


def test_the_captioner_that_ships_picks_the_nearest_sentence(clip, classes, pictures):
    method = build("promptcap", clip, classes).eval()
    captions = method.describe(pictures.pixels, "", classes.names, clip)
    sentences = [text.replace("{}", name) for text in LISTED for name in classes.names]
    images = torch.nn.functional.normalize(clip.encode_images(pictures.pixels))
    nearest = (images @ clip.text_features(sentences).T).argmax(dim=1)
    assert captions == [sentences[place] for place in nearest]


def test_the_image_has_a_share_where_asked_and_all_of_it_is_zero_shot(clip, classes, pictures):
    plain = build("zero-shot", clip, classes).eval().logits(pictures)
    found = build("promptcap", clip, classes, image_share=1.0).eval().logits(pictures)
    torch.testing.assert_close(found, plain, rtol=1e-4, atol=1e-4)


def test_a_captioner_that_paints_over_its_images_spoils_none(clip, classes, pictures):
    before = pictures.pixels.clone()
    describe = own(lambda pixels, *_: ["one"] * len(pixels.zero_()))
    build("promptcap", clip, classes, captioner=describe).eval().logits(pictures)
    assert torch.equal(pictures.pixels, before)


def test_another_number_of_captions_is_refused(clip, classes, pictures):
    method = build("promptcap", clip, classes, captioner=own(lambda *given: ["one"])).eval()
    with pytest.raises(ValueError, match="gave 1 captions of 12 images: one each"):
        method.logits(pictures)


def test_classes_of_one_name_alone_make_a_question(clip, pictures):
    one = Classes(("cat",), ("a {}.",))
    assert build("promptcap", clip, one).prompt.endswith("what is in the picture, cat?")
