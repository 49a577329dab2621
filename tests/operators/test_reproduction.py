"""Which published number stands beside which of ours, and when the two agree."""

import csv
from importlib.resources import files

import numpy as np
import pytest
from scipy import stats

from operators.backbones import BACKBONES, reference
from operators.board import fill
from operators.methods import METHODS
from operators.metrics import Score
from operators.spec import template_set

ELEVEN = (
    *("imagenet", "caltech101", "oxford_pets", "stanford_cars", "flowers102", "food101"),
    *("fgvc_aircraft", "sun397", "dtd", "eurosat", "ucf101"),
)
VARIANTS = ("imagenetv2", "imagenet_sketch", "imagenet_a", "imagenet_r")
COOP_ON_EUROSAT = {"protocol": "base_to_new", "shots": 16, "dataset": "eurosat"}


def shipped(name):
    return list(csv.DictReader((files("operators.board") / f"{name}.csv").open(newline="")))


@pytest.fixture
def pairs(trial):
    """Trials with base and new accuracy, one a seed."""

    def make(values, **changes):
        return [
            trial({"base": b, "new": n}, seed=s, **{**COOP_ON_EUROSAT, **changes})
            for s, (b, n) in enumerate(values, start=1)
        ]

    return make


def test_every_published_method_is_one_of_ours_or_is_listed_as_none():
    names = [row for row in shipped("reference_names") if row["kind"] == "method"]
    said = [row["published"] for row in names]
    assert len(said) == len(set(said))
    assert set(said) == {row["method"] for row in shipped("reference_results")}
    assert {row["ours"] for row in names if row["ours"]} <= set(METHODS)


def test_no_method_of_ours_is_listed_as_none():
    """A published name that is an id of ours but for its spelling, alone or with a remark.

    The published numbers are of images, where DePT is another method than that of texts.
    """
    ids = {n.replace("-", ""): n for n, m in METHODS.items() if m.track == "image-classification"}
    for row in shipped("reference_names"):
        plain = row["published"].partition(" (")[0].strip("*").lower().replace("-", "")
        if row["kind"] == "method" and plain in ids:
            assert row["ours"] == ids[plain]


def test_every_published_score_of_a_method_of_ours_can_be_reached(connection, rows, trial):
    """A board with a trial of everything that was published shows everything that was."""
    names = shipped("reference_names")
    ours = {row["published"]: row["ours"] for row in names if row["kind"] == "method"}
    backbones = {row["published"]: row["ours"] for row in names if row["kind"] == "backbone"}
    datasets = {row["published"]: row["ours"] for row in names if row["kind"] == "dataset"}
    members = {}
    for row in shipped("reference_averages"):
        members.setdefault(row["average"], []).append(row["dataset"])
    wanted, splits = 0, {}
    for row in shipped("reference_results"):
        method = ours[row["method"]]
        if not method or row["metric"] not in ("accuracy", "harmonic_mean", "auc"):
            continue
        wanted += 1
        draws = METHODS[method].card.learns
        protocol = row["protocol"].removesuffix("_test_time")
        if protocol != "base_to_new" and not draws:
            protocol = "zero_shot"
        place = (method, backbones[row["backbone"]], protocol, int(row["shots"]) if draws else 0)
        for published in members.get(row["dataset"], [row["dataset"]]):
            name = datasets[published]
            if protocol == "base_to_new":
                splits[*place, name] = ("base", "new")
            elif protocol == "compositional":
                splits[*place, name] = ("closed", "open")
            elif protocol in ("cross_dataset", "domain_generalization"):
                splits.setdefault((*place, "imagenet"), ["all"]).append(name)
            else:
                splits[*place, name] = ("all",)
    primary = {"compositional": "auc"}
    trials = [
        trial(
            {},
            extra=[
                Score(split, primary.get(protocol, "accuracy"), 0.6, 10)
                for split in dict.fromkeys(there)
                if split != dataset
            ],
            method=method,
            backbone=backbone,
            protocol=protocol,
            shots=shots,
            dataset=dataset,
        )
        for (method, backbone, protocol, shots, dataset), there in splits.items()
    ]
    fill(connection, results=trials)
    found = rows("reproduction")
    assert wanted > 1500
    assert len(found) == wanted
    assert {row["method"] for row in found} == {name for name in ours.values() if name}


def test_ours_stands_beside_each_source_with_the_spread_of_all(connection, rows, pairs):
    fill(connection, results=pairs([(0.91, 0.5), (0.93, 0.6)]))
    found = rows("reproduction", "split = 'base'")
    published = [
        (row["method"], row["source"], float(row["value"]))
        for row in shipped("reference_results")
        if row["method"].partition(" (")[0] == "CoOp"
        and (row["backbone"], row["dataset"], row["split"]) == ("ViT-B/16", "EuroSAT", "base")
    ]
    assert sorted((r["published_method"], r["source"], r["published"]) for r in found) == sorted(
        published
    )
    values = [value for *_, value in published]
    for row in found:
        assert row["difference"] == pytest.approx(0.92 - row["published"])
        assert row["published_min"] == min(values) < row["published_max"] == max(values)
        assert row["published_median"] == pytest.approx(np.median(values))
        assert row["sources"] == len({source for _, source, _ in published})
    assert {r["split"] for r in rows("reproduction")} == {"base", "new", "HM"}
    h = rows("reproduction", "split = 'HM'")[0]
    assert h["mean"] == pytest.approx(2 * 0.92 * 0.55 / (0.92 + 0.55))


def test_what_is_known_against_a_published_number_stands_beside_it(connection, rows, cell, pairs):
    ensemble = cell([0.6], method="zero-shot-ensemble", protocol="zero_shot", shots=0)
    fill(connection, results=pairs([(0.9, 0.6)], dataset="caltech101") + ensemble)
    noted = {r["published_method"]: r["note"] for r in rows("reproduction", "note IS NOT NULL")}
    assert "base 0.9800 and new 0.8931 of the same source give 0.9345" in noted["CoOp"]
    said = noted["CLIP zero-shot (template ensemble, DataComp eval)"]
    assert said.startswith("the prompts of CLIP's authors")


def test_a_published_deviation_stands_beside_its_mean_and_is_not_taken_for_one(
    connection, rows, pairs
):
    fill(connection, results=pairs([(0.9, 0.7)], method="promptsrc", dataset="dtd"))
    (row,) = rows("reproduction", "published_method = 'PromptSRC (user rerun)' AND split = 'new'")
    assert row["published"] > 0.5
    assert row["published_std"] == 0.0352


@pytest.mark.parametrize(
    "backbone",
    [
        "/models/my/clip-vit-base-patch16",
        "clip-vit-base-patch16",
        "somebody/clip-vit-base-patch16",
        "openai/clip-vit-base-patch32",
        "vit-b16",
    ],
)
def test_a_backbone_of_another_name_is_not_that_of_the_papers(connection, rows, pairs, backbone):
    fill(connection, results=pairs([(0.9, 0.6)], backbone=backbone))
    assert rows("reproduction", "protocol = 'base_to_new'") == []


@pytest.mark.parametrize(
    ("backbone", "method"),
    [
        ("timm/resnet50_clip.openai", "tip-adapter"),
        ("clip-rn50", "tip-adapter-f"),
        ("clip-rn50", "coop"),
    ],
)
def test_a_resnet_of_the_hub_is_that_of_the_papers(connection, rows, cell, backbone, method):
    fill(connection, results=cell([0.6], backbone=backbone, method=method))
    found = rows("reproduction")
    assert {row["dataset"] for row in found} == {"dtd"}
    assert {row["backbone_known_by"] for row in found} == {"name"}


def test_weights_are_known_by_their_fingerprint_whatever_they_are_called(connection, rows, pairs):
    connection.execute(
        "INSERT INTO reference_names VALUES ('fingerprint', 'same', 'ViT-B/16', NULL), "
        "('fingerprint', 'other', 'ViT-B/32', NULL)"
    )
    mine = pairs([(0.9, 0.6)], backbone="my-copy", backbone_fingerprint="same")
    false = pairs([(0.9, 0.6)], backbone="clip-vit-b16", backbone_fingerprint="other")
    fill(connection, results=mine + false)
    found = rows("reproduction")
    assert {(r["backbone"], r["backbone_known_by"]) for r in found} == {("my-copy", "fingerprint")}


def test_a_folder_never_has_the_name_of_a_known_backbone(tmp_path):
    for name in ("clip-vit-b16", "clip-vit-base-patch16", "mini-clip"):
        (tmp_path / "models" / name).mkdir(parents=True)
        found = reference(str(tmp_path / "models" / name)).name
        assert found not in BACKBONES
        assert found.endswith(name)


def names_of_averages(found):
    return {row["dataset"] for row in found if row["dataset"].startswith("average")}


def test_an_average_is_matched_by_the_names_of_its_data_sets(connection, rows, cell):
    changes = {"protocol": "few_shot", "shots": 16}
    ten = [t for name in ELEVEN[1:] for t in cell([0.6, 0.7], dataset=name, **changes)]
    eleventh = cell([0.1, 0.2], dataset="digits", **changes)
    fill(connection, results=ten + eleventh)
    assert names_of_averages(rows("reproduction")) == set()
    whole = cell([0.9, 0.8], dataset="imagenet", **changes)
    fill(connection, results=whole)
    found = rows("reproduction", "dataset = 'average11'")
    assert {row["n"] for row in found} == {2}
    assert found[0]["mean"] == pytest.approx((10 * 0.65 + 0.85) / 11)
    assert {row["published"] for row in found} == {0.7989}


def test_an_average_needs_a_seed_that_all_its_data_sets_have(connection, rows, trial):
    changes = {"protocol": "few_shot", "shots": 16}
    results = [
        trial({"all": 0.6}, dataset=name, seed=2 if name == "dtd" else 1, **changes)
        for name in ELEVEN
    ]
    fill(connection, results=results)
    assert names_of_averages(rows("reproduction")) == set()


def test_an_average_takes_the_latest_cell_of_each_data_set(connection, rows, cell):
    changes = {"protocol": "few_shot", "shots": 16}
    results = [t for name in ELEVEN for t in cell([0.6], dataset=name, **changes)]
    results += cell([0.71], dataset="dtd", method_revision=2, started_at="2026-02-01", **changes)
    fill(connection, results=results)
    (row, *_) = rows("reproduction", "dataset = 'average11'")
    assert row["mean"] == pytest.approx((10 * 0.6 + 0.71) / 11)


@pytest.mark.parametrize(
    ("protocol", "targets", "average"),
    [
        ("cross_dataset", ELEVEN[1:], "average10"),
        ("domain_generalization", VARIANTS, "average4"),
    ],
)
def test_a_transfer_is_matched_by_its_source_and_its_targets(
    connection, rows, trial, protocol, targets, average
):
    splits = {"all": 0.7, **dict.fromkeys(targets, 0.5)}
    changes = {"protocol": protocol, "shots": 16}
    fill(connection, results=[trial(splits, dataset="imagenet", **changes)])
    found = {row["dataset"]: row["mean"] for row in rows("reproduction")}
    assert found["imagenet"] == 0.7
    assert found[average] == pytest.approx(0.5)
    fill(connection, results=[trial(splits, dataset="digits", **changes)], present=[])
    assert rows("reproduction") == []


def test_prompts_are_compared_with_those_that_were_published(connection, rows, cell):
    def agree(template, templates=(), **changes):
        changes = {"method": "zero-shot", "shots": 0, "protocol": "base_to_new", **changes}
        prompts = template_set(template, templates)
        results = cell([0.4], split="base", template_set=prompts, **changes)
        fill(connection, results=results, present=[])
        return {(r["published_method"], r["templates_agree"]) for r in rows("reproduction")}

    assert agree("{} texture.") == {("CLIP zero-shot", True)}
    assert agree("{} texture.", ["{} texture."]) == {("CLIP zero-shot", True)}
    assert agree("{} texture.", ["{} texture.", "a {}."]) == {("CLIP zero-shot", False)}
    assert agree("a photo of a {}.") == {("CLIP zero-shot", False)}
    of_its_code = agree("a photo of a {}, a type of texture.", method="kgcoop", shots=16)
    assert ("KgCoOp", True) in of_its_code
    assert ("KgCoOp (DePT rerun)", False) in of_its_code


def test_prompts_that_are_not_known_agree_with_none_and_sentences_of_classes_are_apart(
    connection, rows, cell
):
    known = template_set("{} texture.")
    changes = {"protocol": "zero_shot", "shots": 0}
    results = cell([0.4], method="zero-shot-ensemble", template_set=known, **changes)
    changes |= {"method": "zero-shot", "backbone": "clip-rn50"}
    results += cell([0.4], template_set=f"{known}+descriptions:0", **changes)
    fill(connection, results=results)
    found = {r["method"]: r["templates_agree"] for r in rows("reproduction")}
    assert found == {"zero-shot-ensemble": None, "zero-shot": True}


def test_an_average_has_the_published_prompts_where_all_its_data_sets_have(connection, rows, cell):
    prompts = {
        row["dataset"]: row["template"]
        for row in shipped("reference_templates")
        if not row["method"]
    }
    names = {
        row["ours"]: row["published"]
        for row in shipped("reference_names")
        if row["kind"] == "dataset"
    }

    def agree(odd=None):
        results = []
        for name in ELEVEN:
            template = prompts[names[name]] if name != odd else "a {}."
            results += cell([0.6], dataset=name, shots=16, template_set=template_set(template))
        fill(connection, results=results, present=[])
        return {r["templates_agree"] for r in rows("reproduction", "dataset = 'average11'")}

    assert agree() == {True}
    assert agree(odd="food101") == {False}


def verdicts(rows, where="split = 'base' AND published_method = 'CoOp'"):
    found = rows("reproduction", where)
    return {row["verdict"] for row in found}, {row["within_ci95"] for row in found}


PUBLISHED = 0.9219  # CoOp, base classes of EuroSAT


def test_a_narrow_interval_decides(connection, rows, pairs):
    whole = {"n": 4200}
    near = [PUBLISHED - 0.004, PUBLISHED, PUBLISHED + 0.004]
    fill(connection, results=pairs([(value, 0.5) for value in near], **whole))
    assert verdicts(rows) == ({"within"}, {True})
    (row, *_) = rows("reproduction", "split = 'base'")
    low, high = stats.t.interval(0.95, 2, np.mean(near), stats.sem(near))
    assert (row["ci95_low"], row["ci95_high"]) == pytest.approx((low, high))
    assert (row["test_rows"], row["same_images"]) == (4200, True)
    far = [value - 0.03 for value in near]
    fill(connection, results=pairs([(value, 0.5) for value in far], **whole), present=[])
    assert verdicts(rows) == ({"outside"}, {False})


def test_noise_is_not_rewarded(connection, rows, pairs):
    """Two seeds of one test row a class: everything is within such an interval."""
    noisy = [(0.8, 0.4), (1.0, 0.8)]
    fill(connection, results=pairs(noisy, n=5, test_rows_per_class=1))
    found = rows("reproduction")
    assert found
    assert {(row["verdict"], row["within_ci95"]) for row in found} == {("too wide to decide", None)}


def test_seeds_that_agree_on_a_few_images_are_not_certain(connection, rows, pairs):
    fill(connection, results=pairs([(0.8, 0.4)] * 3, n=5, test_rows_per_class=1))
    (row, *_) = rows("reproduction", "split = 'base'")
    assert row["ci95_low"] < 0.6 < row["ci95_high"]
    assert row["same_images"] is False
    assert row["verdict"] == "too wide to decide"


def test_an_interval_counts_test_images_where_they_are_not_the_published_ones(
    connection, rows, pairs
):
    values = [0.9, 0.902, 0.904]
    fill(connection, results=pairs([(v, 0.5) for v in values], n=100, test_rows_per_class=20))
    (row, *_) = rows("reproduction", "split = 'base'")
    share = (90.2 + 2) / 104
    half = np.hypot(
        stats.t.ppf(0.975, 2) * stats.sem(values),
        stats.norm.ppf(0.975) * np.sqrt(share * (1 - share) / 104),
    )
    assert row["ci95_low"] == pytest.approx(0.902 - half, abs=1e-5)
    assert row["ci95_high"] == pytest.approx(0.902 + half, abs=1e-5)


def test_one_seed_of_a_method_that_draws_decides_nothing(connection, rows, pairs):
    fill(connection, results=pairs([(PUBLISHED, 0.5)], n=4200))
    assert verdicts(rows) == ({"too wide to decide"}, {None})
    (row, *_) = rows("reproduction", "split = 'base'")
    assert row["ci95_low"] is row["ci95_high"] is None


def test_a_method_without_draws_has_the_interval_of_its_test_images(connection, rows, cell):
    fill(
        connection,
        results=cell(
            [0.5683],
            method="zero-shot",
            shots=0,
            split="base",
            n=4200,
            protocol="base_to_new",
            dataset="eurosat",
        ),
    )
    (row, *_) = rows("reproduction")
    assert row["verdict"] in ("within", "outside")
    wilson = stats.binomtest(round(0.5683 * 4200), 4200).proportion_ci(method="wilson")
    assert (row["ci95_low"], row["ci95_high"]) == pytest.approx((wilson.low, wilson.high), abs=1e-4)
