"""APE and APE-T: which channels and rows count, the search of three scalars, what is learned."""

from itertools import product

import pytest
import torch
from torch.nn import functional as F

from operators.blocks.cache_head import grid
from operators.blocks.channel_choice import telling_channels
from operators.methods import METHODS
from operators.methods.image_classification.feature_heads.weighted_search import (
    right,
    search_weighted,
)
from operators.tuning import Tuning

APE, APET = METHODS["ape"], METHODS["ape-t"]
TRAIN, VAL = [0, 1, 2, 3, 1, 3, 3], [0, 1, 2, 3] * 4
QUICK = Tuning(
    optimizer="adamw", lr=0.01, epochs=3, batch_size=64, warmup_epochs=0, schedule="step"
)
unit = F.normalize


def seeded(seed=3):
    return torch.Generator().manual_seed(seed)


@pytest.fixture(scope="module")
def shots(clip, few_shot):
    return few_shot(clip.feature_width, TRAIN, VAL)


def fitted(method, clip, classes, shots, tuning=None, **given):
    built = method(clip, classes, generator=seeded(), **given)
    report = built.fit(shots, tuning=tuning, generator=seeded())
    return built.eval(), report


def class_text(clip, classes):
    """Unit mean of the units of the sentences about each class and of its prompt."""
    rows = []
    for name, own in zip(classes.names, classes.descriptions, strict=True):
        features = clip.whole_text_features([*own, f"a photo of a {name}."], cut=True)
        rows.append(unit(unit(features).mean(dim=0), dim=0))
    return torch.stack(rows)


def plain_channels(texts, features, labels, count, share):
    """The choice in the order of the authors' code: over all pairs of different classes."""
    rows = [*zip(range(len(texts)), texts, strict=True), *zip(labels, features, strict=True)]
    products = [x * y for (i, x), (j, y) in product(rows, rows) if i != j]
    similarity = torch.stack(products).mean(dim=0)
    value = (1 - share) * texts.T.var(dim=1) - share * similarity
    return value.argsort(descending=True)[:count].tolist()


def test_channels_are_chosen_as_over_all_pairs_of_classes():
    texts, features = (unit(torch.randn(n, 12, generator=seeded())) for n in (4, 7))
    labels = torch.tensor(TRAIN)
    for share in (0.0, 0.4, 1.0):
        found = telling_channels(texts, features, labels, count=5, similarity_share=share)
        assert found.tolist() == plain_channels(texts, features, TRAIN, 5, share)


def test_the_search_finds_the_first_of_the_best_of_all_triples():
    generator = seeded(4)
    features, keys = (unit(torch.randn(n, 6, generator=generator)) for n in (40, 9))
    labels = torch.randint(0, 3, (40,), generator=generator)
    values = F.one_hot(torch.tensor([0, 2, 1, 1, 2, 0, 1, 1, 2]), 3).float()
    divergence = torch.rand(9, generator=generator)
    base = torch.randn(40, 3, generator=generator)
    grids = {"alphas": grid(3.0, 5), "betas": grid(9.0, 7), "gammas": [0.0, 0.7, 2.0, 5.0]}
    best, wanted = -1, None
    for beta, alpha, gamma in product(grids["betas"], grids["alphas"], grids["gammas"]):
        weights = (gamma * divergence).exp()[:, None]
        votes = (-beta * (1 - features @ keys.T)).exp() @ (values * weights)
        hits = int(((base + alpha * votes).argmax(1) == labels).sum())
        if hits > best:
            best, wanted = hits, (alpha, beta, gamma)
    found = search_weighted(base, features @ keys.T, values, divergence, labels, **grids)
    assert tuple(found) == wanted != (0.1, 0.1, 0.0)


def test_the_search_is_the_same_in_blocks_of_images(monkeypatch):
    generator = seeded(5)
    affinity, base = torch.rand(8, 6, generator=generator), torch.rand(8, 2, generator=generator)
    values, divergence = F.one_hot(torch.arange(6) % 2, 2).float(), torch.arange(6) / 6
    given = (base, affinity, values, divergence, torch.arange(8) % 2)
    grids = {"alphas": grid(9.0, 9), "betas": grid(9.0, 9), "gammas": [0.0, 1.0]}
    whole = search_weighted(*given, **grids)
    place = "operators.methods.image_classification.feature_heads.weighted_search.AT_ONCE"
    monkeypatch.setattr(place, 1)
    assert search_weighted(*given, **grids) == whole


def test_of_classes_with_equal_votes_the_first_of_the_largest_wins():
    base = torch.tensor([[1.0, 1.0, 0.0], [1.0, 1.0, 0.0], [0.0, 1.0, 2.0]])
    found = right(base, torch.zeros(3, 1, 3), torch.tensor([0, 1, 2]), torch.tensor([0.5, 2.0]))
    assert found[..., 0].tolist() == [[True, False, True]] * 2


def test_logits_are_those_of_the_plain_arithmetic(clip, classes, shots):
    given = {"search_on": "none", "alpha": 2.0, "beta": 3.0, "gamma": 0.5, "channel_share": 0.5}
    built, report = fitted(APE, clip, classes, shots, **given)
    texts, features = class_text(clip, classes), unit(shots.train.features)
    chosen = plain_channels(texts, features, TRAIN, round(0.5 * texts.shape[1]), 0.5)
    near, keys = (unit(x[:, chosen]) for x in (texts, features))
    label = F.one_hot(torch.tensor(TRAIN), 4).float()
    said = (keys @ near.T).softmax(dim=1)
    gap = (label * ((label + 1e-6) / (said + 1e-6)).log2()).sum(dim=1, keepdim=True)
    tested = unit(shots.val.features)
    votes = (-3 * (1 - unit(tested[:, chosen]) @ keys.T)).exp() @ (label * (0.5 * gap).exp())
    wanted = clip.logit_scale * tested @ texts.T + 2 * votes
    torch.testing.assert_close(built.logits(shots.val), wanted, rtol=1e-4, atol=1e-4)
    assert report.selected is None


def test_what_the_search_chose_is_kept_and_told(clip, classes, shots):
    built, report = fitted(APE, clip, classes, shots, search_steps_beta=5)
    kept = [*built.cache.scalars.tolist(), built.gamma.item()]
    assert [report.selected[name] for name in ("alpha", "beta", "gamma")] == pytest.approx(kept)


def test_a_step_is_that_of_moved_texts_keys_and_labels(clip, classes, shots, moved):
    built, _ = fitted(APET, clip, classes, shots, alpha=2.0, beta=3.0, search_on="none")
    moved(built).train()
    cache, features = built.cache, unit(shots.train.features)
    residual = torch.zeros_like(cache.texts).index_copy(1, built.channels, built.residual)
    texts, keys = cache.texts + residual, cache.keys.detach() + residual[torch.tensor(TRAIN)]
    values = cache.values * built.row_weights[:, None]
    votes = (-3 * (1 - features @ keys.T)).exp() @ values
    wanted = F.cross_entropy(cache.scale * features @ texts.T + 2 * votes, shots.train.labels)
    found = built.loss(shots.train)
    torch.testing.assert_close(found, wanted)
    parameters = [built.residual, built.row_weights]
    for one, other in zip(
        *(torch.autograd.grad(loss, parameters) for loss in (found, wanted)), strict=True
    ):
        torch.testing.assert_close(one, other, rtol=1e-4, atol=1e-5)


def test_the_search_of_what_was_learned_is_over_its_own_logits(clip, classes, shots):
    built, report = fitted(APET, clip, classes, shots, QUICK, search_steps_beta=6)
    right_by = {}
    for beta, alpha in product(grid(7.0, 6), grid(7.0, 20)):
        built.cache.scalars.copy_(torch.tensor([alpha, beta]))
        hits = (built.logits(shots.val).argmax(1) == shots.val.labels).sum()
        right_by.setdefault(int(hits), (alpha, beta))
    found = report.selected["alpha"], report.selected["beta"]
    assert found == right_by[max(right_by)]


def test_channels_labels_and_row_weights_come_back_from_a_file(clip, classes, shots):
    built, _ = fitted(APET, clip, classes, shots, QUICK, search_on="none")
    assert not torch.equal(built.row_weights, torch.ones(7))
    twin = APET(clip, classes, generator=seeded(9), search_on="none")
    twin.load_state_dict(built.learned())
    assert torch.equal(twin.eval().logits(shots.val), built.logits(shots.val))


def test_settings_of_the_authors_hold_on_their_datasets():
    found = APE.recipe(protocol="few_shot", shots=4, dataset="dtd")
    assert found["channel_share"] * 1024 == 400
    assert APE.whole_validation(found)
    assert APET.recipe(protocol="few_shot", shots=2, dataset="food101")["eps"] == 0.01
    assert "selection" not in APET.recipe(protocol="few_shot", shots=2, dataset="imagenet")


def test_what_is_searched_and_what_is_not_is_told():
    assert set(APE.idle({"search_on": "shots"})) == {"alpha", "beta", "gamma"}
    assert set(APE.idle({"search_on": "none", "search_gamma": 1.0})) == {"search_gamma"}
    assert APET.idle({"search_on": "shots"}) == {}
