"""An ingestion that is killed goes on from what was checked, and gives the same dataset."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from data_catalog import (
    DatasetCard,
    Example,
    ImageFolder,
    IngestionError,
    ParquetImages,
    ingest,
    ingestion,
)
from data_catalog.resuming import KEPT_SECONDS, expired, is_held
from data_catalog.sources import SourceUnavailable, examples_from

ROWS = 1500
BATCH = 256
INGEST = """
import sys, time
sys.path.insert(0, sys.argv[3])
from pathlib import Path
from data_catalog import DatasetCard, ImageFolder, ingest

def slow(done, total):
    print(done, flush=True)
    time.sleep(0.0005)

ingest(DatasetCard(name="many", source=ImageFolder(sys.argv[1])), Path(sys.argv[2]), progress=slow)
"""


def spool_of(folder):
    (spool,) = folder.glob(".spool-*")
    return spool


def content_of(dataset):
    """Everything of a dataset but when it was ingested."""
    card = {**dataset.card, "ingested_at": ""}
    files = ("data.parquet", "quarantine.parquet")
    return card, [(dataset.folder / name).read_bytes() for name in files]


@pytest.fixture
def many(tree, jpeg):
    """A folder of 1,500 images in two classes, three of them damaged and a few equal."""
    root = tree(*(f"{('cat', 'dog')[n % 2]}/{n:04d}.png" for n in range(ROWS)))
    for number in (7, 700, 1400):
        (root / f"{('cat', 'dog')[number % 2]}/{number:04d}.png").write_bytes(b"damaged")
    (root / "cat/0010.png").write_bytes((root / "cat/1200.png").read_bytes())
    return root


class Failing:
    """A source that breaks off after some examples, once."""

    def __init__(self, source, after):
        self.source, self.after = source, after
        self.read = 0

    def examples(self):
        return self.examples_from(0)

    def examples_from(self, start):
        for number, example in enumerate(examples_from(self.source, start), start=start):
            if number == self.after:
                self.after = None
                raise SourceUnavailable("the network is gone")
            self.read += 1
            yield example

    def __getattr__(self, name):
        return getattr(self.source, name)

    def total(self):
        return self.source.total()

    def signature(self):
        return self.source.signature()

    def describe(self):
        return self.source.describe()


def test_a_process_that_was_killed_is_gone_on_with(many, tmp_path):
    folder = tmp_path / "killed"
    process = subprocess.Popen(
        [sys.executable, "-c", INGEST, many, folder, Path(__file__).parents[2]],
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdout
    for line in process.stdout:
        if int(line) >= 0.6 * ROWS:
            os.kill(process.pid, signal.SIGKILL)
            break
    process.wait()
    process.stdout.close()
    assert not (folder / "current.json").exists()
    kept = sum(1 for _ in (spool_of(folder) / "records").open("rb")) * BATCH
    assert kept >= 2 * BATCH

    seen = []
    card = DatasetCard(name="many", source=ImageFolder(str(many)))
    found = ingest(card, folder, progress=lambda done, _: seen.append(done))
    assert seen == list(range(kept, ROWS + 1))
    assert content_of(found) == content_of(ingest(card, tmp_path / "whole"))
    assert found.verify() == []
    # The draft of the killed process is swept as any other; nothing else is left.
    assert {path.name for path in folder.iterdir() if not path.name.startswith(".draft-")} == {
        "current.json",
        found.fingerprint,
    }


@pytest.mark.parametrize("after", [255, 256, 257, 1100])
def test_a_source_that_breaks_off_is_read_from_there(many, tmp_path, after):
    source = Failing(ImageFolder(str(many)), after)
    card = DatasetCard(name="many", source=source)
    with pytest.raises(SourceUnavailable):
        ingest(card, tmp_path / "broken")
    source.read = 0
    found = ingest(card, tmp_path / "broken")
    assert source.read == ROWS - after + 1  # the last one before tells whether it is the same
    sound = DatasetCard(name="many", source=ImageFolder(str(many)))
    assert content_of(found)[1] == content_of(ingest(sound, tmp_path / "whole"))[1]


def test_extras_and_splits_that_are_not_wanted_come_back(card_of, tmp_path, png):
    rows = [
        Example(
            png(n),
            f"{n}.png",
            n % 2,
            ("cat", "dog")[n % 2],
            ("train", "test", "extra")[n % 3],
            None,
            {"mask": bytes([n % 256]), "ratio": n / 3, "count": n, "odd": (n,), "none": None},
        )
        for n in range(600)
    ]
    names = {"train": "train", "test": "test"}
    whole = ingest(card_of(*rows, split_names=names), tmp_path / "whole")
    card = card_of(*rows, split_names=names)
    listed, card.source.rows = card.source.rows, Failing(card.source, 500)
    card.source.rows = broken = _Once(listed, 500)
    with pytest.raises(SourceUnavailable):
        ingest(card, tmp_path / "broken")
    assert broken.after is None
    found = ingest(card, tmp_path / "broken")
    assert content_of(found) == content_of(whole)
    assert found.card["doubts"][0] == "split extra left out, as the card says: 200 images."
    assert found.column("odd")[1] == "(1,)"


class _Once(list):
    def __init__(self, rows, after):
        super().__init__(rows)
        self.after = after

    def __iter__(self):
        for number, row in enumerate(super().__iter__()):
            if number == self.after:
                self.after = None
                raise SourceUnavailable("gone")
            yield row


@pytest.mark.parametrize("name", ["contents", "records", "looks"])
@pytest.mark.parametrize("fault", ["cut", "flipped"])
def test_a_damaged_spool_is_used_up_to_the_damage(many, tmp_path, name, fault):
    card = DatasetCard(name="many", source=Failing(ImageFolder(str(many)), 1100))
    with pytest.raises(SourceUnavailable):
        ingest(card, tmp_path / "broken")
    file = spool_of(tmp_path / "broken") / name
    content = bytearray(file.read_bytes())
    place = len(content) // 2
    if fault == "cut":
        del content[place:]
    else:
        content[place] ^= 0x55
    file.write_bytes(content)
    sound = DatasetCard(name="many", source=ImageFolder(str(many)))
    found, whole = ingest(card, tmp_path / "broken"), ingest(sound, tmp_path / "whole")
    assert content_of(found)[1] == content_of(whole)[1]


def test_a_changed_source_or_card_is_not_gone_on_with(many, tmp_path, png):
    card = DatasetCard(name="many", source=Failing(ImageFolder(str(many)), 1100))
    with pytest.raises(SourceUnavailable):
        ingest(card, tmp_path / "broken")
    (many / "cat/0000.png").write_bytes(png(9999))
    seen = []
    found = ingest(card, tmp_path / "broken", progress=lambda done, _: seen.append(done))
    assert seen[0] == 1
    assert found.images([0]) == [png(9999)]
    assert not list((tmp_path / "broken").glob(".spool-*"))


def test_what_makes_no_dataset_leaves_nothing(many, tmp_path):
    card = DatasetCard(name="many", source=ImageFolder(str(many)), domains=("sketch",))
    with pytest.raises(IngestionError, match="domains are"):
        ingest(card, tmp_path / "refused")
    assert list((tmp_path / "refused").iterdir()) == []


def test_two_at_once_both_give_the_dataset(many, tmp_path, monkeypatch):
    card = DatasetCard(name="many", source=ImageFolder(str(many)))
    found = []

    def second(*arguments):
        monkeypatch.undo()
        (spool,) = (tmp_path / "twice").glob(".spool-*")
        assert is_held(spool)
        found.append(ingest(card, tmp_path / "twice"))
        return commit(*arguments)

    commit = ingestion.commit
    monkeypatch.setattr(ingestion, "commit", second)
    found.append(ingest(card, tmp_path / "twice"))
    assert found[0].fingerprint == found[1].fingerprint
    assert found[1].verify() == []


def test_a_spool_stays_for_a_week_and_no_longer(many, tmp_path):
    card = DatasetCard(name="many", source=Failing(ImageFolder(str(many)), 1100))
    with pytest.raises(SourceUnavailable):
        ingest(card, tmp_path / "broken")
    spool = spool_of(tmp_path / "broken")
    assert list(expired(tmp_path / "broken")) == []
    then = time.time() - KEPT_SECONDS - 60
    for path in (*spool.iterdir(), spool):
        os.utime(path, (then, then))
    assert list(expired(tmp_path / "broken")) == [spool]


def test_parquet_is_read_from_the_middle(table, png):
    source = ParquetImages(
        str(
            table(
                {
                    "image": [png(n) for n in range(100)],
                    "label": [n % 2 for n in range(100)],
                    "class_name": [("cat", "dog")[n % 2] for n in range(100)],
                }
            )
        )
    )
    whole = list(source.examples())
    for start in (0, 1, 16, 99, 100):
        assert list(source.examples_from(start)) == whole[start:]


def test_the_receipt_does_not_tell_of_a_resumption(many, tmp_path):
    card = DatasetCard(name="many", source=ImageFolder(str(many)))
    found = ingest(card, tmp_path / "many")
    assert set(json.loads((tmp_path / "many/current.json").read_text())) == {
        "fingerprint",
        "signature",
        "card",
        "version",
    }
    assert found.rows == ROWS - 3
