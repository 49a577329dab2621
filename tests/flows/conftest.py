"""The command line in this process, and a store with a small board.

Packages of the project are imported inside the fixtures: see `tests/conftest.py`.
"""

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

CLASSES = ("cat", "dog", "boat", "tree")


class Answer:
    """What a command said, and its exit code."""

    def __init__(self, result):
        self.code = result.exit_code
        self.out = result.stdout
        self.err = result.stderr
        self.trouble = result.exception

    @property
    def sentence(self):
        """The one line of a refusal, without `error: `."""
        lines = self.err.splitlines()
        assert len(lines) == 1, self.err
        assert lines[0].startswith("error: ")
        return lines[0].removeprefix("error: ")

    @property
    def json(self):
        return json.loads(self.out)


@pytest.fixture(scope="session")
def shotboard():
    """Calls the command line, as `shotboard(*arguments)`."""
    from typer.testing import CliRunner

    from flows.cli.app import app

    runner = CliRunner()

    def call(*arguments) -> Answer:
        return Answer(runner.invoke(app, [str(argument) for argument in arguments]))

    return call


@pytest.fixture(scope="session")
def pictures(tmp_path_factory) -> Path:
    """A folder of four class folders with ten pictures each; one JPEG is cut off."""
    folder = tmp_path_factory.mktemp("raw") / "pets"
    for label, name in enumerate(CLASSES):
        for number in range(10):
            generator = np.random.default_rng([label, number])
            pixels = generator.integers(0, 80, (24, 24, 3), dtype=np.uint8) + np.uint8(label * 50)
            path = folder / name / f"{number}.jpg"
            path.parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(pixels).save(path)
    torn = folder / "dog" / "torn.jpg"
    torn.write_bytes((folder / "dog" / "0.jpg").read_bytes()[:300])
    return folder


@pytest.fixture(scope="session")
def filled(tmp_path_factory, shotboard, pictures, clip_folder):
    """A store with the pictures, three trials of two methods and a failed one, and their board."""
    from flows.leaderboard import rebuild_leaderboard
    from operators.episodes.features import FeatureStore, view_folder
    from tasks.computing.context import Context
    from tasks.computing.encode import features_folder
    from tasks.computing.worker import TrialWorker
    from tasks.planning.choices import check
    from tasks.planning.encodings import needed_rows
    from tasks.planning.plan import make_plan
    from tasks.planning.resolve import ingested
    from tasks.planning.suite import make_suite
    from tasks.storage.store import Store

    store = Store(tmp_path_factory.mktemp("filled") / "store")
    assert shotboard("datasets", "add", "pets", "--path", pictures, "--home", store.home).code == 0
    assert shotboard("datasets", "ingest", "pets", "--home", store.home).code == 0
    dataset = ingested(store, "pets")
    assert dataset is not None
    suite = {
        "name": "mini",
        "datasets": ["pets"],
        "backbones": [str(clip_folder)],
        "methods": ["zero-shot", "tip-adapter", {"tip-adapter-f": {"lr": 100, "epochs": 4}}],
        "shots": [1],
        "seeds": [1, 2],
    }
    request = check(store, make_suite(suite, where="mini"))
    ((name, card),) = request.backbones.cards.items()
    specs = make_plan(store, request, {"pets": dataset}).specs[:-1]
    folder = features_folder(store, card, dataset)
    context = Context(request.backbones.references[name], dataset.folder, folder, {"suite": "mini"})
    worker = TrialWorker(store.home, "cpu")
    ((view, rows),) = needed_rows(specs, dataset).items()
    place = view_folder(folder, view)
    features = FeatureStore.create(place, dataset.rows, card.feature_width or 0)
    features.write(rows, worker.encode(rows, context, "image-classification", view))
    assert [bool(done.error) for done in worker.compute(specs, context)] == [False] * 3 + [True]
    rebuild_leaderboard.fn(home=str(store.home))
    return store
