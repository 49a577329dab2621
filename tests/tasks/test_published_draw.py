"""The published draw on a split file, from the file through ingestion to an episode."""

import io
import json
import math
import random
from collections import defaultdict

import numpy as np
import pytest
from PIL import Image

from data_catalog import ingest, known_card
from data_catalog.published import PUBLISHED
from operators.episodes.protocols import PROTOCOLS
from operators.episodes.table import Setup
from tasks.planning.data import TrialData

CLASSES = 7


def picture(number):
    file = io.BytesIO()
    Image.new("RGB", (4, 4), (number % 256, number // 256, 9)).save(file, format="PNG")
    return file.getvalue()


@pytest.fixture(scope="module")
def split():
    """Lists as a split file has them: shuffled, classes of many sizes, some below 16 rows."""
    made = random.Random(5)
    lists = {}
    for name, most in (("train", 22), ("val", 6), ("test", 4)):
        sizes = [made.randint(1, most) for _ in range(CLASSES)]
        rows = [
            [f"{name}_{c}_{n}.jpg", c, f"c{c}"] for c in range(CLASSES) for n in range(sizes[c])
        ]
        made.shuffle(rows)
        lists[name] = rows
    return lists


@pytest.fixture(scope="module")
def data(split, tmp_path_factory):
    """That split file beside its images, ingested as OxfordPets of another split."""
    root = tmp_path_factory.mktemp("oxford_pets")
    (root / "images").mkdir()
    for number, (path, _, _) in enumerate(row for rows in split.values() for row in rows):
        (root / "images" / path).write_bytes(picture(number))
    (root / "split_zhou_OxfordPets.json").write_text(json.dumps(split))
    card = known_card(PUBLISHED["oxford_pets"], root)
    return ingest(card, tmp_path_factory.mktemp("store"))


def dassl(split, shots, seed):
    """`generate_fewshot_dataset` in its own terms, for train and then val."""
    generator = random.Random(seed)  # draws what random.seed(seed) and random.sample draw
    drawn = []
    for part, count in (("train", shots), ("val", min(shots, 4))):
        tracker = defaultdict(list)
        for item in split[part]:
            tracker[item[1]].append(item)
        found = []
        for items in tracker.values():
            found += generator.sample(items, count) if len(items) >= count else items
        drawn.append(found)
    return drawn


def subsample(items, side):
    """`subsample_classes`: the first half of the sorted labels is the base, the rest is new."""
    half = math.ceil(CLASSES / 2)
    labels = range(half) if side == "base" else range(half, CLASSES)
    return files(item for item in items if item[1] in labels)


def files(items):
    """Where the images of some items are, below the folder of the dataset."""
    return [f"images/{path}" for path, _, _ in items]


@pytest.mark.parametrize("seed", [1, 2, 3])
@pytest.mark.parametrize("shots", [1, 2, 4, 8, 16])
def test_an_episode_has_the_images_that_dassl_draws(data, split, shots, seed):
    paths = np.array(data.column("path"))
    train, val = dassl(split, shots, seed)
    setup = Setup(table=TrialData(data).table, shots=shots, seed=seed)

    episode = PROTOCOLS["few_shot"].episode(setup)
    assert paths[episode.train].tolist() == files(train)
    assert paths[episode.val].tolist() == files(val)
    (tested,) = episode.evaluations
    assert sorted(paths[tested.rows]) == sorted(files(split["test"]))

    episode = PROTOCOLS["base_to_new"].episode(setup)
    assert paths[episode.train].tolist() == subsample(train, "base")
    assert paths[episode.val].tolist() == subsample(val, "base")
    for tested in episode.evaluations:
        assert sorted(paths[tested.rows]) == sorted(subsample(split["test"], tested.split))
