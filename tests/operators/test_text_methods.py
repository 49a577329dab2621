"""What methods of text classification promise beyond the contract of all methods."""

import math

import numpy as np
import pytest
import torch

from operators.backbones.language import Template
from operators.blocks.calibration import content_free_scores
from operators.blocks.demonstrations import chosen_examples, fitting_examples
from operators.episodes.episode import Batch, Classes, FewShot, batch_of
from operators.episodes.protocols import PROTOCOLS
from operators.episodes.table import Setup, Table
from operators.episodes.texts import DatasetTexts
from operators.methods import METHODS, methods_of
from operators.methods.hyperparameters import defaults, own_of, resolve, tuning_of
from operators.tracks import TRACKS, track_of
from operators.tuning import FitReport

CLOSE = {"rtol": 1e-4, "atol": 1e-4}
TEXTS = [
    *(
        "a good movie.",
        "bad film",
        "it was great, a film!",
        "not good, not great, it was a bad film",
    ),
    *("great film", "a bad, bad movie", "good", "the movie was not great, it was bad. Not good."),
]
LABELS = [0, 1] * 4
CLASSES = Classes(
    ("praise", "complaint"), ("review: {text}\nfeeling: {answer}",), verbalizer=("good", "bad")
)
CLOZE = Classes(CLASSES.names, ("review: {text} it was {answer}.",), verbalizer=CLASSES.verbalizer)
QUICK = {"epochs": 3, "max_iterations": 30, "search_steps": 2, "n_examples": 2, "max_length": 40}
NAMES = list(methods_of("text-classification"))
ASKING = [name for name in NAMES if "answers" in METHODS[name].card.needs]
TUNED = [name for name in NAMES if METHODS[name].tuning]


@pytest.fixture(params=["causal", "masked"])
def model(request):
    return request.getfixturevalue(f"tiny_{request.param}")


def can(name, model):
    return METHODS[name].card.needs <= model.card.capabilities


def classes_for(model):
    return CLASSES if "causal" in model.card.capabilities else CLOZE


def source(model):
    return DatasetTexts(lambda rows: [TEXTS[row] for row in rows], model)


def batch_for(model, rows=range(8)):
    rows, labels = np.array(list(rows), dtype=np.int64), np.array(LABELS)
    return batch_of(source(model), rows, labels, range(2), model.device)


def build(name, model, classes=None, seed=0, **given):
    method = METHODS[name]
    known = defaults(method)
    given = {key: value for key, value in {**QUICK, **given}.items() if key in known}
    values = resolve(name, method, given, protocol="text_few_shot", shots=2)
    generator = torch.Generator().manual_seed(seed)
    built = method(
        model, classes or classes_for(model), generator=generator, **own_of(method, values)
    )
    return built, tuning_of(method, values)


def fitted(name, model, seed=0, **given):
    built, tuning = build(name, model, seed=seed, **given)
    train, val = batch_for(model, range(6)), batch_for(model, range(6, 8))
    shots = FewShot(3, train, val, seed=seed)
    report = built.fit(shots, tuning=tuning, generator=torch.Generator().manual_seed(seed))
    return built.eval(), report


@pytest.mark.parametrize("name", NAMES)
def test_padding_and_company_change_no_logit(name, model):
    if not can(name, model):
        return
    built, _ = fitted(name, model)
    batch = batch_for(model)
    with torch.no_grad():
        together = built.logits(batch)
        alone = torch.cat(
            [built.logits(batch.select(torch.tensor([i]))) for i in range(len(batch))]
        )
        torch.testing.assert_close(alone, together, **CLOSE)
        backwards = built.logits(batch.select(torch.arange(len(batch)).flip(0)))
    torch.testing.assert_close(backwards.flip(0), together, **CLOSE)
    torch.testing.assert_close(built.logits(batch).detach(), together, **CLOSE)


@pytest.mark.parametrize("name", TUNED)
def test_gradients_reach_what_is_learned_and_nothing_of_the_model(name, model):
    if not can(name, model):
        return
    built, report = fitted(name, model)
    assert report.losses
    assert all(map(math.isfinite, report.losses))
    built.train()
    built.loss(batch_for(model)).backward()
    trained = [parameter for parameter in built.parameters() if parameter.requires_grad]
    assert trained
    assert all(parameter.grad.abs().sum() > 0 for parameter in trained)
    for module in model.modules():
        assert all(p.grad is None and not p.requires_grad for p in module.parameters())


@pytest.mark.parametrize("name", ASKING)
def test_words_of_the_card_are_the_answers(name, model):
    if not can(name, model):
        return
    built, _ = build(name, model)
    assert built.answers.words == ("good", "bad")
    bare = Classes(("good", "bad"), built.classes.templates)
    other, _ = build(name, model, bare)
    assert other.answers.words == ("good", "bad")
    turned, _ = build(name, model, built.classes.subset([1, 0]))
    assert turned.answers.words == ("bad", "good")


def test_a_word_is_asked_for_in_the_template(model):
    built, _ = build("verbalizer", model)
    template = built.template
    with torch.no_grad():
        prompts = model.embed_prompts(model.tokenize_prompts(TEXTS[:3], template))
        wanted = model.answer_logits(prompts, model.tokenize_answers(["good", "bad"], template))
        found = built.logits(batch_for(model, range(3)))
    torch.testing.assert_close(found, wanted, **CLOSE)


def test_a_causal_model_does_without_what_follows_the_answer(tiny_causal):
    built, _ = build("verbalizer", tiny_causal, CLOZE)
    assert built.template == Template("review: {text} it was {answer}")
    with pytest.raises(ValueError, match=r"Put {answer} at the end"):
        late = Classes(CLASSES.names, ("it was {answer}: {text}",), verbalizer=CLASSES.verbalizer)
        build("verbalizer", tiny_causal, late)[0].logits(batch_for(tiny_causal))


@torch.no_grad()
def test_calibration_divides_by_the_mean_of_three_texts_without_content(model):
    plain, _ = build("verbalizer", model)
    calibrated, _ = build("verbalizer-calibrated", model)
    empty = [plain.ask([text])[0].double().exp() for text in ("N/A", "", "[MASK]")]
    mean = torch.stack(empty).mean(dim=0)
    batch = batch_for(model)
    chances = plain.logits(batch).double().exp()
    chances = chances / chances.sum(dim=1, keepdim=True)
    weighed = chances @ torch.diag(mean / mean.sum()).inverse()
    wanted = weighed / weighed.sum(dim=1, keepdim=True)
    torch.testing.assert_close(calibrated.logits(batch).softmax(dim=1).double(), wanted, **CLOSE)


def test_scores_without_content_by_hand():
    chances = torch.tensor([[0.5, 0.1], [0.3, 0.3], [0.1, 0.2]])
    found = content_free_scores(lambda texts: chances[: len(texts)].log())
    torch.testing.assert_close(found.exp(), torch.tensor([0.3, 0.2]))


def test_classes_take_turns_among_examples():
    order = chosen_examples([0, 0, 0, 0, 1, 1, 2], torch.Generator().manual_seed(3))
    assert sorted(order) == list(range(7))
    labels = [[0, 0, 0, 0, 1, 1, 2][row] for row in order]
    assert set(labels[:3]) == {0, 1, 2}
    assert set(labels[3:5]) == {0, 1}
    again = chosen_examples([0, 0, 0, 0, 1, 1, 2], torch.Generator().manual_seed(4))
    assert again != order


def test_examples_take_half_of_what_is_read_at_most(tiny_causal):
    template = Template("{text} {answer}")
    lengths = [
        len(tiny_causal.reader.read_text(f"{text} good\n\n")) for text in ("good", "film " * 5)
    ]
    short, long = "good", "film " * 5
    most = tiny_causal.context_length // 2 // lengths[0]
    found = fitting_examples(tiny_causal, template, [short] * 99, ["good"] * 99, 99)
    assert found == list(range(most))
    assert fitting_examples(tiny_causal, template, [short] * 9, ["good"] * 9, 3) == [0, 1, 2]
    huge = "movie " * 60
    assert fitting_examples(tiny_causal, template, [huge, long], ["good"] * 2, 3) == [1]
    with pytest.raises(
        ValueError, match="no example fits into the 64 tokens that tiny-llama reads"
    ):
        fitting_examples(tiny_causal, template, [huge], ["good"], 3)


def test_examples_are_shown_in_an_order_of_the_seed(model):
    first, again, other = (fitted("in-context", model, seed=s)[0].shown for s in (0, 0, 5))
    assert first == again != other
    template = classes_for(model).templates[0]
    assert first.count(template.partition("{")[0]) == 2
    assert {word for word in ("good", "bad") if f" {word}" in first} == {"good", "bad"}


@torch.no_grad()
def test_in_context_is_asking_behind_the_examples(model):
    built, _ = fitted("in-context", model)
    tokens = model.tokenize_prompts(TEXTS[:2], built.template, reserve=1, context=built.shown)
    wanted = model.answer_logits(model.embed_prompts(tokens), built.answers)
    torch.testing.assert_close(built.logits(batch_for(model, range(2))), wanted, **CLOSE)
    twin, _ = fitted("in-context", model, calibrated=True)
    torch.testing.assert_close(
        twin.logits(batch_for(model, range(2))), wanted - content_free_scores(built.ask), **CLOSE
    )


@torch.no_grad()
@pytest.mark.parametrize("start", ["labels", "vocabulary", "random"])
def test_a_soft_prompt_starts_where_it_says(model, start):
    built, _ = build("soft-prompt", model, n_tokens=5, start=start)
    again, _ = build("soft-prompt", model, n_tokens=5, start=start)
    other, _ = build("soft-prompt", model, n_tokens=5, start=start, seed=1)
    assert torch.equal(built.prompt, again.prompt)
    assert not torch.equal(built.prompt, other.prompt)
    vocabulary = model.embed(torch.arange(len(model.reader.tokenizer))[None])[0]
    known = (built.prompt[:, None] == vocabulary).all(dim=2).any(dim=1)
    if start == "labels":
        for row, length in enumerate(built.answers.lengths.tolist()):
            words = model.embed(built.answers.ids[row : row + 1, :length])[0]
            torch.testing.assert_close(built.prompt[row].detach(), words.mean(dim=0))
        known = known[2:]
    assert known.all() == (start != "random")
    if start == "random":
        assert float(built.prompt.abs().max()) <= 0.5


def test_learned_tokens_leave_room_for_themselves(model):
    texts = ["movie " * 100, "good"]
    batch = batch_of(
        DatasetTexts(lambda rows: [texts[row] for row in rows], model),
        np.arange(2), np.array([0, 1]), range(2), model.device,
    )  # fmt: skip
    for name in ("soft-prompt", "dept"):
        built, _ = build(name, model)
        assert built.logits(batch).isfinite().all()


@torch.no_grad()
def test_dept_shifts_embeddings_by_position_alone(tiny_causal):
    built, _ = build("dept", tiny_causal, n_tokens=3, rank=2, alpha=6.0)
    built.b.copy_(torch.randn(built.b.shape, generator=torch.Generator().manual_seed(1)))
    tokens = built.tokens(TEXTS)
    found = built.prompts(tokens)
    n = tokens.ids.shape[1]
    shift = 6.0 / math.sqrt(2) * built.a[:n] @ built.b
    wanted = tiny_causal.embed(tokens.ids) + shift
    torch.testing.assert_close(found.embeddings[:, 3:], wanted)
    torch.testing.assert_close(found.embeddings[:, :3], built.prompt.expand(len(TEXTS), -1, -1))
    assert float(built.a.abs().max()) <= 1 / math.sqrt(2)
    assert torch.equal(found.end, tokens.end + 3)


def test_dept_learns_at_two_rates(tiny_causal):
    _, report = fitted("dept", tiny_causal)
    still, _ = build("dept", tiny_causal)
    slow, _ = fitted("dept", tiny_causal, matrix_lr=1e-6)
    quick, _ = fitted("dept", tiny_causal, matrix_lr=1e-2)
    assert report.steps == 3
    apart = [float((each.a - still.a).detach().abs().max()) for each in (slow, quick)]
    assert apart[0] < 1e-5 < apart[1]
    moved = [float((each.prompt - still.prompt).detach().abs().max()) for each in (slow, quick)]
    assert min(moved) > 1e-3


def test_a_dept_question_is_no_longer_than_it_says(tiny_causal):
    built, _ = build("dept", tiny_causal, max_length=30)
    tokens = built.tokens(["movie " * 50])
    assert tokens.ids.shape[1] == 30 - built.answers.longest


def test_cpt_moves_texts_and_template_within_their_radii_and_no_label(tiny_causal):
    built, _ = fitted("cpt", tiny_causal, lr=10.0, radius=0.8, template_radius=0.4)
    built.context()
    length = built.shift.detach().norm(dim=1)
    scale = math.sqrt(tiny_causal.token_width / 2048)
    said = tiny_causal.reader.tokenizer.convert_ids_to_tokens(built.ids)
    by_part = {part: length[built.parts == part] for part in range(5)}
    assert not by_part[4].any()
    assert not by_part[0].any()
    torch.testing.assert_close(by_part[2], torch.full_like(by_part[2], 0.8 * scale))
    for part in (1, 3):
        torch.testing.assert_close(by_part[part], torch.full_like(by_part[part], 0.4 * scale))
    labels = [word for word, part in zip(said, built.parts.tolist(), strict=True) if part == 4]
    assert sorted("".join(labels).split("Ġ")) == ["", "bad", "good"]


@torch.no_grad()
def test_cpt_reads_its_examples_as_text_before_it_learns(tiny_causal):
    built, _ = build("cpt", tiny_causal)
    shots = FewShot(3, batch_for(tiny_causal, range(6)), batch_for(tiny_causal, range(0)))
    built.fit(shots, tuning=None, generator=torch.Generator().manual_seed(0))
    twin, _ = fitted("in-context", tiny_causal)
    assert tiny_causal.reader.tokenizer.decode(built.ids) == twin.shown
    batch = batch_for(tiny_causal)
    torch.testing.assert_close(built.logits(batch), twin.logits(batch), **CLOSE)


def test_loss_of_cpt_is_that_of_labels_in_context_and_text(tiny_causal):
    """Against transformers, text by text, with the weights written out."""
    built, _ = fitted("cpt", tiny_causal)
    batch = batch_for(tiny_causal, [0, 1, 3])
    found = built.loss(batch).detach()
    context = built.context().detach()
    total, count = 0.0, 0
    known = [place for place, part in enumerate(built.parts.tolist()) if part == 4]
    before = [0.95 ** (2 - int(built.example[place])) for place in known]
    for text, label in zip(batch.texts, batch.labels.tolist(), strict=True):
        question = built.template.fill(text).text
        ids = tiny_causal.reader.tokenizer(question, return_tensors="pt").input_ids[0]
        answer = built.answers.ids[label, : int(built.answers.lengths[label])]
        whole = torch.cat([built.ids, ids, answer])
        words = tiny_causal.embed(torch.cat([ids, answer])[None])[0]
        inputs = torch.cat([context, words])[None]
        logits = tiny_causal.model(inputs_embeds=inputs).logits[0].log_softmax(dim=-1)
        places = [*known, *range(len(whole) - len(answer), len(whole))]
        weights = [*before, *[1.0] * len(answer)]
        for place, weight in zip(places, weights, strict=True):
            total -= weight * float(logits[place - 1, whole[place]].detach())
            count += 1
    assert float(found) == pytest.approx(total / count, rel=1e-4)


def test_cpt_trains_on_texts_that_are_not_shown(tiny_causal, monkeypatch):
    seen = []
    monkeypatch.setattr(
        "operators.methods.text_classification.soft_prompts.cpt.tune",
        lambda built, shots, *_: seen.append(shots.train.texts) or FitReport(),
    )
    built, tuning = build("cpt", tiny_causal)
    shots = FewShot(3, batch_for(tiny_causal, range(6)), batch_for(tiny_causal, range(0)))
    built.fit(shots, tuning=tuning, generator=torch.Generator().manual_seed(0))
    shown = tiny_causal.reader.tokenizer.decode(built.ids)
    assert len(seen[0]) == 4
    assert not any(f"review: {text}\n" in shown for text in seen[0])


def test_the_probe_reads_sentence_features_and_no_text_otherwise(model):
    built, report = fitted("text-linear-probe", model)
    batch = batch_for(model)
    wanted = model.sentence_features(TEXTS) @ built.head.weight.T + built.head.bias
    torch.testing.assert_close(built.logits(batch), wanted, **CLOSE)
    assert set(report.selected) == {"C"}


def test_texts_are_read_once_for_a_whole_and_its_parts(tiny_causal):
    read = []
    texts = DatasetTexts(
        lambda rows: read.append(rows.tolist()) or [TEXTS[r] for r in rows], tiny_causal
    )
    batch = Batch(texts, np.arange(4), torch.tensor(LABELS[:4]))
    part = batch.select(torch.tensor([2, 0]))
    assert part.texts == [TEXTS[2], TEXTS[0]]
    assert part.select(torch.tensor([1])).texts == [TEXTS[0]]
    assert read == [[0, 1, 2, 3]]


def test_the_track_is_that_of_its_protocols():
    track = TRACKS["text-classification"]
    for name in ("text_zero_shot", "text_few_shot"):
        assert track_of(name) is track
        assert PROTOCOLS[name].learns == (name == "text_few_shot")
    assert track.kind == "text"
    assert all(issubclass(METHODS[name], track.contract) for name in NAMES)


def test_the_draw_is_that_of_lm_bff():
    """The rows that numpy's older generator gives, as written in the authors' script."""
    labels = np.array([row % 3 for row in range(60)])
    table = Table(labels, np.array(["train"] * 48 + ["test"] * 12), 3)
    episode = PROTOCOLS["text_few_shot"].episode(Setup(table=table, shots=4, seed=13))
    lines = [[int(label), row] for row, label in enumerate(labels[:48])]
    np.random.seed(13)  # noqa: NPY002
    np.random.shuffle(lines)  # noqa: NPY002
    by_label = {}
    for label, row in lines:
        by_label.setdefault(label, []).append(row)
    assert episode.train.tolist() == [row for rows in by_label.values() for row in rows[:4]]
    assert episode.val.tolist() == [row for rows in by_label.values() for row in rows[4:8]]
    assert not set(episode.train) & set(episode.val)


def test_a_small_class_is_learned_before_it_is_chosen_on():
    table = Table(np.array([0, 0, 0, 1, 1, 0, 1]), np.array(["train"] * 5 + ["test"] * 2), 2)
    episode = PROTOCOLS["text_few_shot"].episode(Setup(table=table, shots=2, seed=1))
    assert np.bincount(table.labels[episode.train]).tolist() == [2, 2]
    assert np.bincount(table.labels[episode.val], minlength=2).tolist() == [1, 0]
    with pytest.raises(ValueError, match="shots=-2"):
        PROTOCOLS["text_few_shot"].episode(Setup(table=table, shots=-2, seed=1))
