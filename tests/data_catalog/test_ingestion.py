"""From a source to a committed dataset, and what stops on the way."""

import json
import logging
from collections import Counter
from dataclasses import replace

import pytest

from data_catalog import (
    DatasetCard,
    Example,
    ImageFolder,
    IngestionError,
    ParquetImages,
    SourceError,
    current,
    ingest,
    ingestion,
)


def test_a_folder_becomes_a_dataset_in_the_order_of_the_source(card, tmp_path, png):
    dataset = ingest(card, tmp_path / "pets")
    assert (dataset.name, dataset.rows, dataset.classes) == ("pets", 20, ("cat", "dog"))
    assert dataset.labels.tolist() == [0] * 10 + [1] * 10
    assert list(dataset.column("path")) == [
        f"{c}/{n}.png" for c in dataset.classes for n in range(10)
    ]
    assert dataset.images(range(20)) == [png(n) for n in range(20)]
    assert Counter(dataset.splits.tolist()) == {"train": 10, "val": 4, "test": 6}
    assert (dataset.column("width")[0], dataset.column("height")[0]) == (6, 5)


def test_the_card_file_has_the_counts(card, tmp_path):
    found = ingest(card, tmp_path / "pets").card
    assert found["splits"] == {"train": 10, "val": 4, "test": 6}
    assert found["class_counts"]["train"] == [5, 5]
    assert found["quarantined"] == {"count": 0, "share": 0.0, "kinds": {}, "first": []}
    assert found["template"] == "a photo of a {}."
    assert found["split_rule"].startswith("no official split")


def test_the_second_time_no_image_is_read(card, tmp_path, monkeypatch):
    first = ingest(card, tmp_path / "pets")
    monkeypatch.setattr(ImageFolder, "examples", None)
    assert ingest(card, tmp_path / "pets").folder == first.folder


def test_a_changed_source_is_read_again(card, tmp_path, pets, png):
    first = ingest(card, tmp_path / "pets")
    (pets / "cat/0.png").write_bytes(png(99))
    second = ingest(card, tmp_path / "pets")
    assert second.fingerprint != first.fingerprint
    assert current(tmp_path / "pets").fingerprint == second.fingerprint
    assert first.verify() == []


def test_a_changed_template_keeps_the_fingerprint_and_reaches_the_dataset(card, tmp_path):
    first = ingest(card, tmp_path / "pets")
    second = ingest(replace(card, template="a sketch of a {}."), tmp_path / "pets")
    assert second.fingerprint == first.fingerprint
    assert second.templates == ("a sketch of a {}.",)


def test_a_source_that_is_gone_leaves_the_dataset_usable(card, tmp_path, pets, caplog):
    first = ingest(card, tmp_path / "pets")
    pets.rename(tmp_path / "elsewhere")
    with caplog.at_level(logging.WARNING):
        assert ingest(card, tmp_path / "pets").fingerprint == first.fingerprint
    assert "using what was ingested before" in caplog.text


def test_a_source_that_was_never_there_is_refused(tmp_path):
    card = DatasetCard(name="pets", source=ImageFolder(str(tmp_path / "gone")))
    with pytest.raises(SourceError, match="no file or folder at"):
        ingest(card, tmp_path / "pets")
    assert not (tmp_path / "pets").exists()


def test_a_deleted_dataset_is_made_again(card, tmp_path):
    first = ingest(card, tmp_path / "pets")
    (first.folder / "data.parquet").unlink()
    assert current(tmp_path / "pets") is None
    assert ingest(card, tmp_path / "pets").verify() == []


def test_corrupt_images_are_quarantined_counted_and_named(card, tmp_path, pets, jpeg):
    whole = jpeg(1)
    (pets / "cat/cut.jpg").write_bytes(whole[: len(whole) // 2])
    (pets / "dog/notes").write_text("not an image")
    dataset = ingest(card, tmp_path / "pets")
    assert dataset.rows == 20
    assert dataset.card["quarantined"]["count"] == 2
    assert [row["path"] for row in dataset.card["quarantined"]["first"]] == [
        "cat/cut.jpg",
        "dog/notes",
    ]
    first, second = dataset.quarantined()
    assert "truncated" in first["error"].lower()
    assert (first["class_name"], first["size_bytes"]) == ("cat", len(whole) // 2)
    assert second["error"] == "damaged: UnidentifiedImageError: cannot identify image file"


def test_an_image_is_decoded_by_content_and_not_by_suffix(card, tmp_path, pets, jpeg):
    (pets / "cat/photo.png").write_bytes(jpeg(1))
    dataset = ingest(card, tmp_path / "pets")
    row = list(dataset.column("path")).index("cat/photo.png")
    assert dataset.images([row]) == [jpeg(1)]


def test_too_many_corrupt_images_stop_ingestion(card, tmp_path, pets):
    for number in range(5):
        (pets / f"cat/{number}.png").write_bytes(b"broken")
    found = r"5 of 20 images \(25%\) .* above max_corrupt_share=0.2: 5 damaged: cat/0.png .* and 2"
    with pytest.raises(IngestionError, match=found):
        ingest(replace(card, max_corrupt_share=0.2), tmp_path / "pets")
    assert list((tmp_path / "pets").iterdir()) == []
    assert ingest(card, tmp_path / "pets").rows == 15


def test_a_source_without_images_is_refused(card_of, tmp_path):
    with pytest.raises(IngestionError, match="holds no images"):
        ingest(card_of(), tmp_path)


def test_copies_are_kept_and_leaks_and_conflicts_are_counted(card_of, tmp_path, png, three_ways):
    copies = [
        Example(png(0), "copy in test", 0, "cat", "test", "photo"),
        Example(png(1), "copy as cat", 0, "cat", "train", "photo"),
    ]
    dataset = ingest(card_of(*three_ways, *copies), tmp_path)
    assert dataset.rows == 8
    assert dataset.card["duplicates"] == {
        "rows": 2,
        "leaked_images": 1,
        "conflicting_images": 1,
    }


def test_a_draft_of_a_killed_process_is_harmless(card, tmp_path):
    draft = tmp_path / "pets" / f".draft-{'0' * 32}"
    draft.mkdir(parents=True)
    (draft / "data.parquet").write_bytes(b"half")
    assert ingest(card, tmp_path / "pets").verify() == []


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("current.json", b"noise"),
        ("current.json", b"[" * 100_000),
        ("current.json", b'{"fingerprint": 5}'),
        ("*/card.json", b"{half"),
        ("*/data.parquet", b"PAR1"),
    ],
)
def test_a_damaged_dataset_is_ingested_again(card, tmp_path, caplog, name, content):
    before = ingest(card, tmp_path / "pets").fingerprint
    (file,) = (tmp_path / "pets").glob(name)
    file.write_bytes(content)
    again = ingest(card, tmp_path / "pets")
    assert (again.fingerprint, again.verify()) == (before, [])
    assert "pets: ingested again, since" in caplog.text


def test_a_kill_before_the_last_rename_leaves_the_old_dataset(
    card, tmp_path, pets, png, monkeypatch
):
    first = ingest(card, tmp_path / "pets")
    (pets / "cat/0.png").write_bytes(png(99))

    def killed(*_):
        raise KeyboardInterrupt

    for step in ("write_data", "write_quarantine", "commit"):
        with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
            patch.setattr(ingestion, step, killed)
            ingest(card, tmp_path / "pets")
        assert current(tmp_path / "pets").fingerprint == first.fingerprint
    assert ingest(card, tmp_path / "pets").fingerprint != first.fingerprint


def test_a_damaged_dataset_of_the_same_content_is_healed(card, tmp_path):
    dataset = ingest(card, tmp_path / "pets")
    (dataset.folder / "data.parquet").write_bytes(b"damaged")
    (tmp_path / "pets/current.json").unlink()
    assert ingest(card, tmp_path / "pets").verify() == []


def test_a_class_without_train_rows_is_refused(card_of, tmp_path, three_ways):
    rows = [row for row in three_ways if (row.class_name, row.split) != ("dog", "train")]
    with pytest.raises(IngestionError, match="1 of 2 classes have no train row: dog"):
        ingest(card_of(*rows), tmp_path)


def test_a_test_set_alone_is_ingested_for_evaluation(card_of, tmp_path, three_ways):
    dataset = ingest(card_of(*(row for row in three_ways if row.split == "test")), tmp_path)
    assert dataset.card["splits"] == {"train": 0, "val": 0, "test": 2}
    assert "for evaluation only" in dataset.card["split_rule"]


def test_an_unlabelled_row_is_refused(card_of, tmp_path, three_ways, png):
    with pytest.raises(IngestionError, match=r"pets: 1 of 7 rows have no label: x\.png"):
        ingest(card_of(*three_ways, Example(png(9), "x.png", split="train")), tmp_path)


def test_counts_other_than_those_of_the_card_are_refused(card_of, tmp_path, three_ways):
    sizes = {"train": 2, "val": 2, "test": 3}
    with pytest.raises(IngestionError, match="rows are train 2, val 2, test 2 and 0 corrupt"):
        ingest(card_of(*three_ways, split_sizes=sizes), tmp_path)


def test_domains_other_than_those_of_the_card_are_refused(card_of, tmp_path, three_ways):
    with pytest.raises(IngestionError, match="domains are photo, the card says sketch"):
        ingest(card_of(*three_ways, domains=("sketch",)), tmp_path)


def test_extras_keep_their_type_and_hide_no_column_of_ours(card_of, tmp_path, three_ways):
    for number, row in enumerate(three_ways):
        extras = {"coarse": number, "sha256": "theirs", "mixed": number or "none", "gap": None}
        three_ways[number] = row._replace(extras=extras)
    dataset = ingest(card_of(*three_ways), tmp_path)
    assert dataset.card["extras"] == ["coarse", "source_sha256", "mixed", "gap"]
    assert dataset.column("coarse").tolist() == list(range(6))
    assert dataset.column("mixed")[1] == "1"
    assert dataset.verify() == []


def test_an_ingested_dataset_can_be_ingested_from_its_own_file(card, tmp_path):
    first = ingest(card, tmp_path / "pets")
    again = DatasetCard(name="pets", source=ParquetImages(str(first.folder / "data.parquet")))
    assert ingest(again, tmp_path / "again").fingerprint == first.fingerprint


def test_progress_counts_every_image(card, tmp_path):
    seen = []
    ingest(card, tmp_path / "pets", progress=lambda done, total: seen.append((done, total)))
    assert seen == [(number, 20) for number in range(1, 21)]


def test_current_names_fingerprint_signature_and_version(card, tmp_path):
    dataset = ingest(card, tmp_path / "pets")
    assert json.loads((tmp_path / "pets/current.json").read_text()) == {
        "fingerprint": dataset.fingerprint,
        "signature": card.source.signature(),
        "card": card.digest(),
        "version": ingestion.INGESTION_VERSION,
    }
