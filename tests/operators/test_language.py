"""Language models: what they answer equals what transformers gives in the plain form."""

import copy
import json
import shutil

import pytest
import torch

from operators.backbones import (
    BACKBONES,
    BackboneUnavailable,
    DualEncoder,
    LanguageModel,
    family_of,
    is_a,
    reference,
)
from operators.backbones.language import (
    CausalLM,
    MaskedLM,
    MiniLM,
    PromptEmbeddings,
    SentenceEncoder,
    Template,
    demonstrations,
)

TEXTS = ["a good movie.", "it was a very bad film, and not great!", "bad"]
ENDING = Template("review: {text}\nfeeling: {answer}")
CLOZE = Template("review: {text} it was {answer}.")
ANSWERS = {
    "causal": ("good", "not good at all", "bad", "awful"),
    "masked": ("good", "bad", "badness"),
}
CLOSE = {"rtol": 1e-4, "atol": 1e-4}


@pytest.fixture(params=["causal", "masked"])
def kind(request):
    return request.param


@pytest.fixture
def model(kind, request):
    return request.getfixturevalue(f"tiny_{kind}")


@pytest.fixture
def template(kind):
    return ENDING if kind == "causal" else CLOZE


@pytest.fixture
def answers(model, kind, template):
    return model.tokenize_answers(ANSWERS[kind], template)


@pytest.fixture
def prompts(model, template):
    return model.embed_prompts(model.tokenize_prompts(TEXTS, template))


def noise(*shape, seed=3):
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


def plainly(model, template, text, word):
    """Log-probability of an answer as transformers gives it for one text, without our code."""
    tokenizer, theirs = model.reader.tokenizer, model.model
    if isinstance(model, CausalLM):
        prompt = tokenizer(template.fill(text).text, return_tensors="pt").input_ids
        answer = tokenizer(" " + word, return_tensors="pt", add_special_tokens=False).input_ids
        ids = torch.cat([prompt, answer], dim=1)
        chances = theirs(input_ids=ids).logits[0].log_softmax(dim=-1)
        places = range(prompt.shape[1] - 1, ids.shape[1] - 1)
    else:
        answer = tokenizer(word, return_tensors="pt", add_special_tokens=False).input_ids
        filled = template.fill(text, " ".join(["[MASK]"] * answer.shape[1])).text
        ids = tokenizer(filled, return_tensors="pt").input_ids
        chances = theirs(input_ids=ids).logits[0].log_softmax(dim=-1)
        places = (ids[0] == tokenizer.mask_token_id).nonzero()[:, 0]
    return sum(chances[p, t] for p, t in zip(places, answer[0], strict=True))


@torch.no_grad()
def test_answers_have_the_log_probability_that_transformers_gives_them_one_by_one(
    model, kind, template, prompts, answers
):
    assert answers.lengths.unique().numel() > 1
    found = model.answer_logits(prompts, answers)
    wanted = torch.tensor([[plainly(model, template, t, w) for w in ANSWERS[kind]] for t in TEXTS])
    torch.testing.assert_close(found, wanted, **CLOSE)


@torch.no_grad()
def test_padding_changes_no_number(model, template, prompts, answers):
    together = model.answer_logits(prompts, answers)
    for row, text in enumerate(TEXTS):
        alone = model.embed_prompts(model.tokenize_prompts([text], template))
        torch.testing.assert_close(model.answer_logits(alone, answers)[0], together[row], **CLOSE)
    features = model.sentence_features(TEXTS)
    alone = torch.cat([model.sentence_features([text]) for text in TEXTS])
    torch.testing.assert_close(features, alone, **CLOSE)


@torch.no_grad()
def test_a_soft_prompt_of_words_is_those_words(model, template, answers):
    whole = Template("a great film " + template.pattern)
    wanted = model.answer_logits(model.embed_prompts(model.tokenize_prompts(TEXTS, whole)), answers)
    # Behind a space, as the same words stand in the middle of a text.
    tokens = model.reader.tokenizer(
        "a great film", add_special_tokens=False, return_tensors="pt"
    ).input_ids
    rest = Template((" " if isinstance(model, CausalLM) else "") + template.pattern)
    prompts = model.embed_prompts(model.tokenize_prompts(TEXTS, rest))
    soft = model.embed(tokens)[0]
    for given in (soft, soft.expand(len(TEXTS), -1, -1)):
        found = model.answer_logits(prompts.with_soft_prompt(given), answers)
        torch.testing.assert_close(found, wanted, **CLOSE)


def test_what_is_shared_is_computed_once_with_the_same_numbers_and_gradients(
    model, prompts, answers
):
    soft = noise(4, model.token_width).requires_grad_()
    found = []
    for shared in (True, False):
        inputs = prompts.with_soft_prompt(soft)
        assert inputs.shared > 4
        if not shared:
            inputs = inputs.with_embeddings(inputs.embeddings)
            assert inputs.shared == 0
        logits = model.answer_logits(inputs, answers)
        loss = logits.log_softmax(dim=1)[:, 0].sum()
        found.append((logits.detach(), *torch.autograd.grad(loss, soft)))
    torch.testing.assert_close(*found, **CLOSE)
    assert float(found[0][1].abs().min()) > 0


def test_prompts_of_each_row_have_gradients_of_their_own(model, prompts, answers):
    """Equal numbers in all rows, as where a network begins, are not one parameter."""
    soft = torch.zeros(len(TEXTS), 2, model.token_width, requires_grad=True)
    logits = model.answer_logits(prompts.with_soft_prompt(soft), answers)
    [together] = torch.autograd.grad(logits[:, 0].sum(), soft)
    [alone] = torch.autograd.grad(
        model.answer_logits(prompts.with_soft_prompt(soft), answers)[1, 0], soft
    )
    torch.testing.assert_close(together[1], alone[1], **CLOSE)
    assert not alone[[0, 2]].any()
    assert not torch.allclose(together[0], together[1], atol=1e-5)


@torch.no_grad()
def test_offsets_by_position_are_added_where_rows_are_alike_and_where_they_are_not(
    model, prompts, answers
):
    n = prompts.embeddings.shape[1]
    offsets = 0.1 * noise(n, model.token_width)
    one = model.answer_logits(prompts.added(offsets), answers)
    each = model.answer_logits(prompts.added(offsets.expand(len(TEXTS), -1, -1)), answers)
    torch.testing.assert_close(one, each, **CLOSE)
    assert not torch.allclose(one, model.answer_logits(prompts, answers), atol=1e-3)


@torch.no_grad()
def test_keys_and_values_of_words_are_those_words_before_a_causal_model(tiny_causal):
    answers = tiny_causal.tokenize_answers(ANSWERS["causal"], ENDING)
    ids = tiny_causal.reader.tokenizer("a great film", return_tensors="pt").input_ids
    past = tiny_causal.model(input_ids=ids, use_cache=True).past_key_values
    stacked = torch.stack(
        [torch.stack([layer.keys[0], layer.values[0]]) for layer in past.layers]
    )  # (l, 2, heads, m, width of a head)
    key_values = stacked.transpose(2, 3).flatten(3)
    prompts = tiny_causal.embed_prompts(tiny_causal.tokenize_prompts(TEXTS, ENDING))
    wanted = tiny_causal.answer_logits(prompts.with_soft_prompt(tiny_causal.embed(ids)[0]), answers)
    found = tiny_causal.answer_logits(prompts, answers, key_values)
    torch.testing.assert_close(found, wanted, **CLOSE)


def test_learned_keys_and_values_are_read_in_every_layer(model, prompts, answers):
    key_values = noise(model.layers, 2, 5, model.key_value_width).requires_grad_()
    logits = model.answer_logits(prompts, answers, key_values)
    [gradient] = torch.autograd.grad(logits[:, 0].sum(), key_values)
    assert gradient.flatten(2).abs().amax(dim=2).min() > 0
    each = key_values.detach().expand(len(TEXTS), -1, -1, -1, -1)
    torch.testing.assert_close(model.answer_logits(prompts, answers, each), logits, **CLOSE)
    assert not torch.allclose(logits, model.answer_logits(prompts, answers), atol=1e-2)


def test_keys_and_values_of_another_shape_are_refused(model, prompts, answers):
    with pytest.raises(ValueError, match=r"shape \(2, 2, 5, 7\): tiny-\w+ takes \(\.\., 3, 2, m,"):
        model.answer_logits(prompts, answers, noise(2, 2, 5, 7))


@torch.no_grad()
def test_probability_of_a_text_is_the_product_over_its_tokens(tiny_causal):
    found = tiny_causal.log_prob(TEXTS)
    for row, text in enumerate(TEXTS):
        ids = tiny_causal.reader.tokenizer(text, return_tensors="pt").input_ids
        if ids.shape[1] == 1:
            assert float(found[row]) == 0
            continue
        theirs = tiny_causal.model(input_ids=ids, labels=ids).loss * (ids.shape[1] - 1)
        torch.testing.assert_close(found[row], -theirs, **CLOSE)


@torch.no_grad()
def test_pseudo_likelihood_masks_each_token_in_turn(tiny_masked):
    found = tiny_masked.log_prob(TEXTS)
    for row, text in enumerate(TEXTS):
        ids = tiny_masked.reader.tokenizer(text, return_tensors="pt").input_ids
        total = 0.0
        for place in range(1, ids.shape[1] - 1):
            hidden = ids.clone()
            hidden[0, place] = tiny_masked.reader.tokenizer.mask_token_id
            chances = tiny_masked.model(input_ids=hidden).logits[0, place].log_softmax(dim=-1)
            total += float(chances[ids[0, place]])
        assert float(found[row]) == pytest.approx(total, abs=1e-3)


def test_many_states_go_through_the_head_in_pieces(tiny_causal, monkeypatch):
    states = noise(20, tiny_causal.token_width).requires_grad_()
    targets = torch.arange(20)
    whole = tiny_causal.token_log_probs(states, targets)
    [wanted] = torch.autograd.grad(whole.sum(), states)
    monkeypatch.setattr("operators.backbones.language.base.HEAD_ROWS", 7)
    pieces = tiny_causal.token_log_probs(states, targets)
    torch.testing.assert_close(pieces, whole)
    torch.testing.assert_close(torch.autograd.grad(pieces.sum(), states)[0], wanted)
    with torch.no_grad():
        torch.testing.assert_close(tiny_causal.token_log_probs(states, targets), whole.detach())


def test_of_a_long_prompt_the_text_is_cut_and_nothing_else(model, template):
    long = "good movie " * 60
    tokens = model.tokenize_prompts([long, "bad"], template, reserve=10)
    decoded = model.reader.tokenizer.decode(tokens.ids[0])
    assert tokens.ids.shape == (2, model.context_length - 10)
    assert tokens.end[0] == model.context_length - 11
    before, after = template.pattern.replace("{answer}", model.reader.mark).split("{text}")
    said = "".join(decoded.split()).replace("[CLS]", "").replace("[SEP]", "")
    assert said.startswith("".join(before.split()) + "goodmovie")
    assert said.endswith("good" + "".join(after.split())) or said.endswith(
        "movie" + "".join(after.split())
    )


def test_of_two_texts_the_longer_is_cut(tiny_causal):
    pair = Template("{first} ? {second} {answer}")
    row = {"first": "good " * 60, "second": "it was bad"}
    tokens = tiny_causal.tokenize_prompts([row], pair)
    said = tiny_causal.reader.tokenizer.decode(tokens.ids[0])
    assert said.endswith("? it was bad")
    assert tokens.ids.shape == (1, 64)


def test_what_cannot_be_cut_is_refused(tiny_causal):
    shown = demonstrations(ENDING, ["a good film"] * 9, ["good"] * 9)
    with pytest.raises(ValueError, match="has room for 54 tokens, and its template with examples"):
        tiny_causal.tokenize_prompts(["bad"], ENDING, reserve=10, context=shown)


@torch.no_grad()
def test_examples_in_front_are_text(tiny_causal):
    shown = demonstrations(ENDING, ["a film"], ["bad"])
    assert shown == "review: a film\nfeeling: bad\n\n"
    tokens = tiny_causal.tokenize_prompts(TEXTS, ENDING, context=shown)
    said = tiny_causal.reader.tokenizer.decode(tokens.ids[1])
    assert said == shown + "review: " + TEXTS[1] + "\nfeeling:"
    context = tiny_causal.reader.tokenizer(shown + "review:").input_ids
    assert tiny_causal.embed_prompts(tokens).shared >= len(context)


def test_prompts_with_learned_tokens_that_are_too_long_are_refused(model, prompts, answers):
    with pytest.raises(ValueError, match=r"has \d+ tokens, but tiny-\w+ reads 64\. Keep room"):
        model.answer_logits(prompts.with_soft_prompt(noise(60, model.token_width)), answers)


def test_a_mask_token_in_a_text_is_not_the_answers(tiny_masked):
    tokens = tiny_masked.tokenize_prompts(["a [MASK] film", "a film"], CLOZE)
    masks = (tokens.ids[0] == tiny_masked.reader.tokenizer.mask_token_id).nonzero()[:, 0]
    assert len(masks) == 2
    assert int(tokens.slots[0]) == int(masks[1])


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["good", " "], "' ' is no answer"),
        (["good", "good"], "'good' and 'good' are the same tokens"),
    ],
)
def test_answers_that_cannot_be_told_apart_are_refused(model, template, words, message):
    with pytest.raises(ValueError, match=message):
        model.tokenize_answers(words, template)


def test_a_word_that_the_tokenizer_does_not_know_is_no_answer(tiny_masked):
    with pytest.raises(ValueError, match="'☃' is no answer that tiny-bert can give"):
        tiny_masked.tokenize_answers(["☃"], CLOZE)


@pytest.mark.parametrize(
    ("pattern", "message"),
    [
        ("{text}", "needs {answer} once"),
        ("{answer}", "needs {answer} once"),
        ("{text} {answer} {answer}", "needs {answer} once"),
        ("{} {answer}", "needs {answer} once"),
        ("{text", "Write {{ and }} for braces"),
        ("{text!r} {answer}", "write {text} without a format"),
    ],
)
def test_odd_templates_are_refused(pattern, message):
    with pytest.raises(ValueError, match=message.replace("{", r"\{")):
        Template(pattern)


def test_a_causal_model_does_not_see_behind_the_answer(tiny_causal):
    with pytest.raises(ValueError, match=r"reads from left to right\. Put {answer} at the end"):
        tiny_causal.tokenize_prompts(TEXTS, CLOZE)


def test_a_row_without_a_field_is_refused(tiny_causal):
    with pytest.raises(ValueError, match="a row has no 'second'"):
        tiny_causal.tokenize_prompts([{"first": "a"}], Template("{first} {second} {answer}"))


def test_a_text_that_is_too_long_or_empty_is_named(model):
    with pytest.raises(ValueError, match=r"'good good .* reads 64\. Shorten it"):
        model.tokenize(["good " * 70])
    assert model.sentence_features(["good " * 70]).shape == (1, model.feature_width)


def test_nothing_frozen_has_a_gradient(model, prompts, answers):
    soft = noise(2, model.token_width).requires_grad_()
    model.answer_logits(prompts.with_soft_prompt(soft), answers).sum().backward()
    for module in model.modules():
        assert not module.training
        assert all(p.grad is None and not p.requires_grad for p in module.parameters())


@torch.no_grad()
@pytest.mark.parametrize("precision", [torch.bfloat16, torch.float16])
def test_in_half_precision_numbers_leave_in_single(kind, request, template, precision):
    folder = request.getfixturevalue(f"{kind}_folder")
    family = CausalLM if kind == "causal" else MaskedLM
    half = family.load(
        family.describe("half", str(folder)), str(folder), torch.device("cpu"), precision
    )
    whole = request.getfixturevalue(f"tiny_{kind}")
    assert next(half.modules()[0].parameters()).dtype == precision
    for found, wanted in zip(half.model.buffers(), whole.model.buffers(), strict=True):
        assert torch.equal(found, wanted)  # angles of rotary positions among them
    words = whole.tokenize_answers(ANSWERS[kind], template)
    tokens = whole.tokenize_prompts(TEXTS, template)
    found, wanted = (m.answer_logits(m.embed_prompts(tokens), words) for m in (half, whole))
    assert found.dtype == torch.float32
    assert half.sentence_features(TEXTS).dtype == torch.float32
    torch.testing.assert_close(found, wanted, rtol=0.1, atol=0.5)


@torch.no_grad()
def test_an_encoder_without_a_head_gives_features_and_answers_nothing(
    language_folder, word_piece_tokenizer
):
    from transformers import BertConfig, BertModel

    config = BertConfig(
        vocab_size=len(word_piece_tokenizer),
        hidden_size=16,
        intermediate_size=20,
        num_hidden_layers=2,
        num_attention_heads=2,
        max_position_embeddings=32,
    )
    folder = language_folder(BertModel, config, word_piece_tokenizer)
    card = SentenceEncoder.describe("tiny", str(folder))
    encoder = SentenceEncoder.load(card, str(folder), torch.device("cpu"), torch.float32)
    features = encoder.sentence_features(TEXTS)
    tokens = encoder.reader.tokenizer(TEXTS, padding=True, return_tensors="pt")
    states = encoder.tower(**tokens).last_hidden_state
    mask = tokens["attention_mask"][..., None]
    torch.testing.assert_close(features, (states * mask).sum(1) / mask.sum(1), **CLOSE)
    with pytest.raises(ValueError, match="tiny encodes sentences and has no language-model head"):
        encoder.tokenize_answers(["good"], CLOZE)
    inputs = PromptEmbeddings(encoder.embed(tokens.input_ids), *[torch.tensor([1, 1, 1])] * 2)
    with pytest.raises(ValueError, match="no language-model head"):
        encoder.slot_logits(inputs)


def test_fingerprints_follow_the_files(causal_folder, tmp_path):
    twin = shutil.copytree(causal_folder, tmp_path / "twin")
    first = CausalLM.describe("one", str(causal_folder)).fingerprint
    assert CausalLM.describe("two", str(twin)).fingerprint == first
    settings = json.loads((twin / "config.json").read_text())
    (twin / "config.json").write_text(json.dumps({**settings, "rms_norm_eps": 1e-3}))
    assert CausalLM.describe("two", str(twin)).fingerprint != first


@pytest.mark.parametrize(
    ("file", "content", "message"),
    [
        ("config.json", {"model_type": "bloom"}, "holds a 'bloom' model; read as causal-lm are"),
        ("tokenizer.json", None, "holds no tokenizer.json"),
        ("model.safetensors", None, "holds no weights"),
    ],
)
def test_a_folder_that_cannot_be_read_is_refused_before_its_weights(
    causal_folder, tmp_path, file, content, message
):
    twin = shutil.copytree(causal_folder, tmp_path / "twin")
    if content is None:
        (twin / file).unlink()
    else:
        settings = json.loads((twin / file).read_text())
        (twin / file).write_text(json.dumps({**settings, **content}))
    with pytest.raises(BackboneUnavailable, match=message):
        CausalLM.describe("twin", str(twin))


def test_words_in_the_midst_of_a_prompt_have_a_probability(tiny_causal):
    shown = demonstrations(ENDING, ["a film"], ["bad"])
    tokens = tiny_causal.tokenize_prompts(TEXTS, ENDING, context=shown)
    prompts = tiny_causal.embed_prompts(tokens)
    soft = noise(2, tiny_causal.token_width).requires_grad_()
    [word] = tiny_causal.tokenize_answers(["bad"], ENDING).ids[0].tolist()
    place = tokens.ids[0].tolist().index(word)
    found = tiny_causal.next_token_log_probs(
        prompts.with_soft_prompt(soft),
        *(torch.tensor(each) for each in ([0, 2], [place + 1] * 2, [word] * 2)),
    )
    before = torch.cat([soft, prompts.embeddings[0, :place]])[None]
    wanted = tiny_causal.model(inputs_embeds=before).logits[0, -1].log_softmax(dim=-1)[word]
    torch.testing.assert_close(found, wanted.expand(2), **CLOSE)
    [gradient] = torch.autograd.grad(found[0], soft)
    assert float(gradient.abs().min()) > 0


def test_an_empty_text_leaves_the_template(model, template):
    """As contextual calibration asks what a model answers to nothing."""
    tokens = model.tokenize_prompts(["", "a bad film"], template)
    assert 0 < int(tokens.end[0]) < int(tokens.end[1])


def test_rows_of_prompts_are_padded_to_the_longest_of_them(model, template):
    tokens = model.tokenize_prompts(TEXTS, template)
    some = tokens.rows(torch.tensor([2, 0]))
    alone = model.tokenize_prompts([TEXTS[2], TEXTS[0]], template)
    for found, wanted in zip(some[:3], alone[:3], strict=True):
        assert torch.equal(found, wanted)


@pytest.mark.parametrize(
    ("architecture", "family"),
    [
        ("LlamaForCausalLM", "causal-lm"),
        ("GPT2LMHeadModel", "causal-lm"),
        ("BertForMaskedLM", "masked-lm"),
        ("BertModel", "sentence-encoder"),
        ("CLIPModel", "clip"),
    ],
)
def test_the_configuration_says_which_family_it_is(tmp_path, architecture, family):
    kind = {"LlamaForCausalLM": "llama", "GPT2LMHeadModel": "gpt2", "CLIPModel": "clip"}
    settings = {"architectures": [architecture], "model_type": kind.get(architecture, "bert")}
    (tmp_path / "config.json").write_text(json.dumps(settings))
    assert family_of(str(tmp_path)) == family


def test_a_folder_is_loaded_as_what_it_is(causal_folder, tiny_causal):
    found = reference(str(causal_folder))
    card = found.describe()
    assert card == tiny_causal.card
    assert isinstance(found.load(card), CausalLM)
    assert is_a(card, LanguageModel)
    assert not is_a(card, DualEncoder)


def test_names_on_the_board_are_those_of_the_packages():
    assert BACKBONES["smollm2-135m-q4"].family == "smollm2"
    assert reference("minilm").describe().fingerprint == MiniLM.describe("x", "").fingerprint


def test_braces_that_stand_for_themselves_are_text():
    template = Template("{{answer}} {text}: {{{answer}")
    filled = template.fill("a film", "good")
    assert filled.text == "{answer} a film: {good"
    assert filled.text[filled.slot :] == "good"
    assert (template.space, template.answer_last) == ("", True)


@torch.no_grad()
def test_learned_tokens_stand_behind_the_start_token_and_no_end_token_comes_before_an_answer(
    language_folder, byte_pair_tokenizer
):
    from tokenizers import processors
    from transformers import GPT2Config, GPT2LMHeadModel

    both = copy.deepcopy(byte_pair_tokenizer)
    both.backend_tokenizer.post_processor = processors.TemplateProcessing(
        single="<end> $A <end>", special_tokens=[("<end>", 0)]
    )
    config = GPT2Config(
        vocab_size=len(both), n_embd=32, n_layer=2, n_head=4, n_positions=64, bos_token_id=0
    )
    folder = language_folder(GPT2LMHeadModel, config, both)
    model = reference(str(folder)).load(reference(str(folder)).describe())
    tokens = model.tokenize_prompts(TEXTS, ENDING)
    assert (tokens.ids[:, 0] == 0).all()
    assert not (tokens.ids[torch.arange(3), tokens.slots] == 0).any()
    prompts = model.embed_prompts(tokens)
    soft = noise(2, 32)
    inputs = prompts.with_soft_prompt(soft)
    assert inputs.shared >= 3
    torch.testing.assert_close(inputs.embeddings[:, :1], prompts.embeddings[:, :1])
    torch.testing.assert_close(inputs.embeddings[:, 1:3], soft.expand(3, -1, -1))
    whole = model.model(inputs_embeds=inputs.embeddings[1:2, : int(inputs.end[1]) + 1])
    torch.testing.assert_close(model.slot_logits(inputs)[1], whole.logits[0, -1], **CLOSE)
    each = prompts.with_soft_prompt(soft.expand(3, -1, -1))
    assert each.shared == 1
    torch.testing.assert_close(model.slot_logits(each), model.slot_logits(inputs), **CLOSE)
