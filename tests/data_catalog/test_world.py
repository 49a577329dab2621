"""The world: the same pair for the same number, true captions, and nothing held out in it."""

import io
import random
from collections import Counter
from dataclasses import replace

import numpy as np
import pytest
from PIL import Image
from scipy.ndimage import binary_fill_holes

from data_catalog import CATALOG
from data_catalog.pairs import PairSource
from data_catalog.png import stored_png
from data_catalog.world.captions import article, caption, plural
from data_catalog.world.painting import paint
from data_catalog.world.scenes import (
    DOMAINS,
    HELD_OUT_DOMAIN,
    Place,
    Scene,
    Thing,
    plain_scene,
    random_scene,
)
from data_catalog.world.source import World
from data_catalog.world.tiles import tile
from data_catalog.world.vocabulary import (
    COLOURS,
    HELD_OUT_FONTS,
    HELD_OUT_ICON_SET,
    PAIR_COLOURS,
    PAIR_KINDS,
    held_out_pair,
    kinds,
    known,
    novel,
)

SCENES = [random_scene(random.Random(number)) for number in range(3000)]
THINGS = [thing for scene in SCENES for thing in scene.things]


def scene(kind, *, domain="clean", colour="red", background="white", place=None, seed=1):
    found = kinds()[kind]
    style = (found.seen or found.held_out)[0]
    place = place or Place(0.5, 0.5, 0.8)
    return Scene((Thing(found, style, colour, "solid", place, 0),), background, domain, "", seed)


def pixels(picture):
    return np.asarray(picture.image, np.int16)


def test_a_pair_is_a_pure_function_of_seed_and_number():
    first, again = World(3).pair(17), World(3).pair(17)
    assert first.text == again.text
    assert first.image.tobytes() == again.image.tobytes()


def test_another_seed_or_number_gives_another_pair():
    images = {World(seed).pair(number).image.tobytes() for seed in (0, 1) for number in range(5)}
    assert len(images) == 10


def test_batches_do_not_overlap_and_do_not_depend_on_what_was_drawn_before():
    world = World()
    third = [pair.image.tobytes() for pair in world.batch(2, 4)]
    assert third == [world.pair(number).image.tobytes() for number in range(8, 12)]
    assert not set(third) & {pair.image.tobytes() for pair in world.batch(1, 4)}


def test_texts_are_the_captions_of_the_first_pairs():
    assert list(World().texts(5)) == [World().pair(number).text for number in range(5)]


def test_the_curriculum_begins_with_one_clean_thing_and_its_name():
    world = World(plain_pairs=1000)
    for number in range(50):
        scene, text = world._described(number)
        assert scene.domain == "clean" and len(scene.things) == 1
        assert not set(text.replace(".", "").split()) & set(COLOURS) - {"orange"}


def test_the_curriculum_ends():
    world = World(plain_pairs=10)
    shares = [world._plain_share(number) for number in (0, 10, 15, 20, 10_000)]
    assert shares == pytest.approx([1, 1, 0.5, 0.2, 0.2])


def test_a_curriculum_has_no_negative_length():
    with pytest.raises(ValueError, match="plain_pairs=-1"):
        World(plain_pairs=-1)


def test_pretraining_sees_no_held_out_pair_in_first_pictures():
    scenes = [plain_scene(random.Random(number)) for number in range(1000)]
    assert not [t for s in scenes for t in s.things if held_out_pair(t.colour, t.kind.name)]


def test_the_world_is_a_source_of_pairs():
    world: PairSource = World()
    assert world.signature() != World(1).signature()
    assert "seed 0" in world.describe()


def test_pretraining_sees_every_known_kind():
    assert {thing.kind.name for thing in THINGS} == {
        kind.name for kind in kinds().values() if kind.seen
    }


def test_pretraining_sees_no_novel_kind():
    assert not {thing.kind.name for thing in THINGS} & {kind.name for kind in novel()}
    words = " ".join(caption(scene, random.Random(0)) for scene in SCENES).replace(".", "").split()
    assert not {"guitar", "penguin", "snowman"} & set(words)


def test_pretraining_sees_no_held_out_style():
    families = {thing.style.family for thing in THINGS}
    faces = {face for names in HELD_OUT_FONTS.values() for face in names}
    assert not families & {HELD_OUT_ICON_SET, *faces}


def test_pretraining_sees_no_held_out_pair():
    assert not [t for t in THINGS if held_out_pair(t.colour, t.kind.name)]


def test_one_pair_in_four_is_held_out_and_every_part_of_it_is_seen():
    pairs = [(c, k) for c in PAIR_COLOURS for k in PAIR_KINDS if held_out_pair(c, k)]
    assert len(pairs) == len(PAIR_COLOURS) * len(PAIR_KINDS) / 4
    assert {count for count in Counter(colour for colour, _ in pairs).values()} == {2}
    assert {count for count in Counter(kind for _, kind in pairs).values()} == {2}


def test_pretraining_sees_every_domain_but_one():
    assert {scene.domain for scene in SCENES} == {*DOMAINS} - {HELD_OUT_DOMAIN}


def test_a_thing_never_has_the_colour_of_its_ground():
    assert not [s for s in SCENES for t in s.things if t.colour == s.background]


def test_every_style_of_every_kind_has_a_form():
    from data_catalog.world.tiles import tile

    for kind in kinds().values():
        for style in (*kind.seen, *kind.held_out):
            covered = np.asarray(tile(style)) > 128
            assert 0.01 < covered.mean() < 0.95, (kind.name, style)


def test_an_inked_drawing_is_solid_up_to_its_outline_with_blank_inner_lines():
    looks = {style.finish: style for style in kinds()["envelope"].seen if style.family == "lucide"}
    line, inked = (np.asarray(tile(looks[finish])) > 128 for finish in ("line", "inked"))
    assert inked.sum() > 1.5 * line.sum()
    assert not (line & ~binary_fill_holes(inked)).any()  # the outline is still there
    assert (line & ~inked).sum() > 50  # the flap, which was drawn, is now blank


def test_every_known_icon_is_seen_in_two_sets_or_more():
    few = {k.name for k in known("icon") if len({style.family for style in k.seen}) < 2}
    assert not few


def test_a_mirrored_thing_is_the_other_way_round():
    right = scene("arrow")
    (shown,) = right.things
    left = replace(right, things=(replace(shown, mirrored=True),))
    plain, mirrored = (paint(shot).forms[0] for shot in (right, left))
    middle = plain.shape[1] // 2
    assert plain[:, middle:].sum() > plain[:, :middle].sum()  # the head is on the right
    assert mirrored[:, middle:].sum() < mirrored[:, :middle].sum()


def test_no_two_kinds_look_the_same():
    from data_catalog.world.tiles import tile

    # Letters are left out: an l and an I are one form in some faces.
    owner = {}
    for kind in kinds().values():
        for style in (*kind.seen, *kind.held_out):
            if kind.group != "letter":
                found = owner.setdefault(tile(style).tobytes(), kind.name)
                assert found == kind.name, (found, kind.name, style)


def test_every_caption_names_the_kind():
    for number, drawn in enumerate(SCENES):
        text = caption(drawn, random.Random(number))
        for thing in drawn.things:
            name = thing.kind.name
            assert name in text or plural(name) in text, (text, name)


def test_a_caption_says_nothing_untrue_of_colours():
    for number, drawn in enumerate(SCENES):
        words = caption(drawn, random.Random(number)).replace(".", "").split()
        true = {thing.colour for thing in drawn.things} | {drawn.background}
        assert not (set(words) & set(COLOURS)) - true - {"orange"}


def test_captions_of_one_scene_vary():
    assert len({caption(SCENES[0], random.Random(number)) for number in range(50)}) > 20


@pytest.mark.parametrize(("word", "expected"), [("apple", "an"), ("star", "a"), ("hourglass", "an"),
                                                ("one", "a"), ("euro sign", "a")])  # fmt: skip
def test_articles(word, expected):
    assert article(word) == expected


@pytest.mark.parametrize(("one", "many"), [("leaf", "leaves"), ("bus", "buses"), ("star", "stars"),
                                           ("wine glass", "wine glasses")])  # fmt: skip
def test_plurals(one, many):
    assert plural(one) == many


def test_a_clean_thing_is_painted_in_its_colour_on_its_ground():
    picture = paint(scene("square", colour="red", background="white"))
    assert np.abs(pixels(picture)[32, 32] - COLOURS["red"]).max() < 32
    assert np.abs(pixels(picture)[1, 1] - COLOURS["white"]).max() < 45


def test_inverted_is_the_negative_of_clean():
    clean, negative = (paint(scene("star", domain=d)) for d in ("clean", "inverted"))
    assert np.abs(255 - pixels(clean) - pixels(negative)).max() <= 1


def test_blurred_has_lost_its_edges():
    steepest = [
        np.abs(np.diff(pixels(paint(scene("square", domain=d))), axis=1)).max()
        for d in ("clean", "blurred")
    ]
    assert steepest[1] < steepest[0] / 2


def test_a_sketch_has_no_colour():
    image = pixels(paint(scene("heart", domain="sketch", colour="red")))
    assert np.ptp(image, axis=2).max() <= 1


def test_a_photo_has_noise_and_a_clean_picture_none():
    roughness = [
        np.abs(np.diff(pixels(paint(scene("star", domain=domain)))[:6, :, 0], axis=1)).mean()
        for domain in ("clean", "photo")
    ]
    assert roughness[0] <= 1 < 3 < roughness[1]


def test_the_mask_covers_the_thing_and_the_box_bounds_it():
    picture = paint(scene("square", place=Place(0.25, 0.25, 0.4)))
    covered = np.asarray(picture.mask()) == 1
    assert covered[16, 16] and not covered[:, 40:].any()
    (box,) = picture.boxes()
    rows, columns = np.nonzero(covered)
    assert box == (columns.min(), rows.min(), columns.max() + 1, rows.max() + 1)


def test_what_is_painted_last_is_on_top():
    below, above = scene("square").things[0], scene("circle", colour="blue").things[0]
    picture = paint(Scene((below, above), "white", "clean", "", 1))
    assert np.asarray(picture.mask())[32, 32] == 2


@pytest.mark.parametrize("shape", [(5, 7), (5, 7, 3), (200, 150, 3)])
def test_a_stored_png_decodes_to_its_pixels(shape):
    pixels = np.random.default_rng(0).integers(0, 256, shape, dtype=np.uint8)
    opened = Image.open(io.BytesIO(stored_png(pixels)))
    assert np.array_equal(np.asarray(opened), pixels)


def test_world_pairs_say_which_pairs_are_held_out():
    rows = list(replace(CATALOG["world-pairs"].source, per_class={"test": 1}).examples())
    assert {row.class_name for row in rows if not row.extras["pretrained"]} == {
        f"{colour} {kind}"
        for colour in PAIR_COLOURS
        for kind in PAIR_KINDS
        if held_out_pair(colour, kind)
    }
    assert all(f"{r.extras['attribute']} {r.extras['object']}" == r.class_name for r in rows)


def test_world_scenes_bring_a_mask_in_which_the_labelled_shape_is_one():
    row = next(iter(CATALOG["world-scenes"].source.examples()))
    covered = np.asarray(Image.open(io.BytesIO(row.extras["mask"]))) == 1
    assert covered.any()
    assert row.extras["box_left"] == np.nonzero(covered)[1].min()


def test_world_icons_are_in_the_held_out_style_alone():
    source = CATALOG["world-icons"].source
    for name in source.classes:
        drawn = source.draw(random.Random(0), name, "clean")
        assert drawn.scene.things[0].style.family == HELD_OUT_ICON_SET


def test_world_novel_is_all_that_pretraining_never_sees():
    assert set(CATALOG["world-novel"].classes) == {kind.name for kind in novel()}


def test_each_domain_is_as_frequent_in_each_class_and_split():
    source = replace(CATALOG["world-domains"].source, per_class={"train": 5, "test": 10})
    rows = Counter((row.split, row.class_name, row.domain) for row in source.examples())
    assert len(rows) == 2 * 20 * 5
    assert {count for (split, _, _), count in rows.items() if split == "test"} == {2}


def test_a_larger_set_begins_with_the_smaller_one():
    source = replace(CATALOG["world-novel"].source, per_class={"test": 1})
    larger = {row.path: row.content for row in replace(source, per_class={"test": 2}).examples()}
    assert all(larger[row.path] == row.content for row in source.examples())


def test_known_kinds_of_a_group():
    assert [kind.name for kind in known("digit")][:3] == ["zero", "one", "two"]
