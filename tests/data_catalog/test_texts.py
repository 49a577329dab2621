"""Texts with labels: what one is, and how tables of them are read."""

import json
from itertools import pairwise

import numpy as np
import pytest

from data_catalog import (
    DatasetCard,
    Example,
    HuggingFace,
    IngestionError,
    SourceError,
    TextTables,
    holds,
    ingest,
    outline,
    register,
    registered_cards,
    source_for,
)
from data_catalog.kinds.text import MAX_CHARACTERS, check_text

ROWS = [
    (f"it was {word} {n}", label) for n in range(5) for label, word in enumerate(("bad", "good"))
]
NAMES = ("bad", "good")
SAID = ["a fine day", 'he said "no", twice', "two\nlines", "été 漢字"]


@pytest.fixture
def write(tmp_path):
    """Writes texts or bytes by path, and names the root."""

    def write(files):
        for name, content in files.items():
            file = tmp_path / "raw" / name
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_bytes(content if isinstance(content, bytes) else content.encode())
        return tmp_path / "raw"

    return write


def as_csv(rows, header="text,label", separator=","):
    lines = [separator.join(map(str, row)) for row in rows]
    return "\n".join([header.replace(",", separator), *lines, ""])


def as_lines(rows):
    return "".join(json.dumps({"text": text, "label": label}) + "\n" for text, label in rows)


def card_at(path, **fields):
    source = source_for(path, columns=fields.pop("columns", None), kind=fields.pop("as_kind", ""))
    fields.setdefault("classes", NAMES)
    return DatasetCard(name="says", source=source, kind=holds(source), **fields)


def text_example(text, **fields):
    content = text if isinstance(text, bytes) else text.encode("utf-8", "surrogatepass")
    return Example(content, "row", **fields)


# What one text is


def test_blanks_around_a_text_are_taken_off_and_those_inside_are_kept():
    checked = check_text(text_example(" \n a  b\tc \n"))
    assert (checked.example.content, checked.measures) == (b"a  b\tc", (6,))
    assert checked.sha256 == check_text(text_example("a  b\tc")).sha256


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("", "empty"),
        (" \t\n\u3000", "empty"),
        ("\ufeff ", "empty"),
        ("a\0b", "with control characters"),
        ("a\x1bb", "with control characters"),
        (b"caf\xe9", "not UTF-8"),
        ("half \ud83d", "not UTF-8"),
        ("x" * (MAX_CHARACTERS + 1), "too long"),
    ],
)
def test_what_is_no_text_is_set_aside_with_a_reason(text, reason):
    assert check_text(text_example(text)).error.startswith(f"{reason}: ")


@pytest.mark.parametrize("text", ["cafÃ© au lait", "caf\ufffd", "it\x92s"])
def test_what_a_wrong_encoding_leaves_is_kept_and_doubted(card_of, tmp_path, text):
    rows = [text_example(f"{each} {n}", label=n % 2) for n, each in enumerate([text, *"abcdefghi"])]
    dataset = ingest(card_of(*rows, kind="text", classes=NAMES), tmp_path)
    assert dataset.card["misread_texts"]["count"] == 1
    assert any(
        "1 text with characters that a wrong encoding leaves" in d for d in doubts_of(dataset)
    )


def doubts_of(dataset):
    return dataset.card["doubts"]


def test_the_fingerprint_of_texts_is_pinned(card_of, tmp_path):
    rows = [text_example(text, label=label) for text, label in ROWS]
    rows = [row._replace(path=str(number)) for number, row in enumerate(rows)]
    card = card_of(*rows, kind="text", classes=NAMES)
    # If this moves, every trial on texts does: bump INGESTION_VERSION.
    assert ingest(card, tmp_path).fingerprint == "81c824f475620d43"


def test_a_dataset_of_texts_gives_its_texts_by_row(write, tmp_path):
    dataset = ingest(card_at(write({"all.csv": as_csv(ROWS)}) / "all.csv"), tmp_path / "data")
    assert dataset.kind == "text"
    assert dataset.texts([3, 0]) == [ROWS[3][0], ROWS[0][0]] == dataset.examples([3, 0])
    assert dataset.column("characters").tolist() == [len(text) for text, _ in ROWS]
    assert dataset.labels.tolist() == [label for _, label in ROWS]
    assert dataset.verify() == []
    with pytest.raises(TypeError, match="says holds texts and no images"):
        dataset.images([0])


def test_a_dataset_of_images_has_no_texts(card, tmp_path):
    dataset = ingest(card, tmp_path / "data")
    assert dataset.examples([1]) == dataset.images([1])
    with pytest.raises(TypeError, match="pets holds images and no texts"):
        dataset.texts([0])


def test_a_changed_text_is_found(write, tmp_path):
    import pyarrow as pa
    import pyarrow.parquet as pq

    dataset = ingest(card_at(write({"all.csv": as_csv(ROWS)}) / "all.csv"), tmp_path / "data")
    file = dataset.folder / "data.parquet"
    table = pq.read_table(file)
    texts = ["it was fine 0", *table["text"].to_pylist()[1:]]
    pq.write_table(table.set_column(1, "text", pa.array(texts)), file)
    assert "row 0 (all.csv#0): the text has sha256" in dataset.verify()[0]


def test_equal_texts_are_counted_where_they_mislead(card_of, tmp_path):
    rows = [
        text_example(f"{split} {n}", label=n % 2, split=split)
        for split in ("train", "val", "test")
        for n in range(4)
    ]
    rows.append(text_example("the same", label=0, split="train"))
    rows.append(text_example(" the same ", label=1, split="test"))
    dataset = ingest(card_of(*rows, kind="text", classes=NAMES), tmp_path)
    assert dataset.card["duplicates"] == {"rows": 1, "leaked_texts": 1, "conflicting_texts": 1}
    assert doubts_of(dataset) == [
        "1 text with more than one class.",
        "1 text in more than one split.",
        "1 row with a text that an earlier row has.",
        "1 test text equal to one of train or val, so test is not unseen: row and row.",
    ]


def test_empty_texts_are_quarantined_and_counted(write, tmp_path):
    rows = [*ROWS, ('"  "', 1), ('""', 0)]
    dataset = ingest(card_at(write({"all.csv": as_csv(rows)}) / "all.csv"), tmp_path / "data")
    assert dataset.rows == len(ROWS)
    assert [row["error"] for row in dataset.quarantined()] == ["empty: no character is in it"] * 2
    assert "2 texts set aside: 2 empty." in doubts_of(dataset)


# Cards


@pytest.mark.parametrize("template", ["{text}", "{answer}", "a {}", "{text} {text} {answer}", "{"])
def test_a_template_without_text_and_answer_is_refused(template):
    with pytest.raises(ValueError, match=r"does not hold \{text\} and \{answer\} once each"):
        DatasetCard(name="says", source=TextTables("/x"), kind="text", template=template)


def test_a_card_of_texts_is_read_as_it_was_written(tmp_path):
    card = DatasetCard(
        name="says",
        source=TextTables("/data/says.csv", {"text": "review"}),
        kind="text",
        classes=NAMES,
        templates=("{text} It was {answer}.",),
        verbalizer=("terrible", "great"),
    )
    file = register(card, tmp_path)
    assert "kind: text" in file.read_text()
    assert registered_cards(tmp_path) == {"says": card}


def test_a_card_of_images_does_not_speak_of_kinds(card, tmp_path):
    assert "\nkind:" not in register(card, tmp_path).read_text()
    assert not {"kind", "verbalizer"} & card.to_json().keys()


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("bad",), "1 words for 2 classes"),
        (("bad", " "), "no word for 'good'"),
        (("fine", "Fine"), "answers 'Fine' for 'bad' and for 'good'"),
    ],
)
def test_a_verbalizer_that_tells_no_classes_apart_is_refused(words, message):
    with pytest.raises(ValueError, match=message):
        DatasetCard(
            name="says", source=TextTables("/x"), kind="text", classes=NAMES, verbalizer=words
        )


def test_a_verbalizer_is_checked_against_the_classes_of_the_source(write, tmp_path):
    path = write({"all.csv": as_csv([(text, NAMES[label]) for text, label in ROWS])}) / "all.csv"
    card = card_at(path, classes=None, verbalizer=("a", "b", "c"))
    with pytest.raises(IngestionError, match=f"^{card.name}: the verbalizer has 3 words for 2 cl"):
        ingest(card, tmp_path / "no")
    with pytest.raises(ValueError, match=f"^{card.name}: the verbalizer has 3 words for 2 classes"):
        outline(card)
    dataset = ingest(card_at(path, classes=None, verbalizer=("poor", "great")), tmp_path / "data")
    assert (dataset.classes, dataset.verbalizer) == (NAMES, ("poor", "great"))


def test_a_kind_that_is_not_that_of_the_source_is_refused(write, tmp_path):
    source = source_for(write({"all.csv": as_csv(ROWS)}) / "all.csv")
    with pytest.raises(
        IngestionError, match="the card says kind: image, and its source reads texts"
    ):
        ingest(DatasetCard(name="says", source=source, classes=NAMES), tmp_path / "data")


def test_an_unknown_kind_is_refused_by_name(tmp_path):
    with pytest.raises(ValueError, match=r"called 'txt'\. Did you mean text\?"):
        DatasetCard(name="says", source=TextTables("/x"), kind="txt")
    with pytest.raises(ValueError, match="no kind of data is called 'txt'"):
        source_for(tmp_path, kind="txt")


# Tables


def parquet_of(tmp_path, rows, name="raw/all.parquet", **columns):
    import pyarrow as pa
    import pyarrow.parquet as pq

    texts, labels = zip(*rows, strict=True)
    file = tmp_path / name
    file.parent.mkdir(parents=True, exist_ok=True)
    pq.write_table(pa.table({"text": texts, "label": labels, **columns}), file)
    return file


FORMATS = {
    "all.csv": as_csv(ROWS),
    "all.tsv": as_csv(ROWS, separator="\t"),
    "semicolons.csv": as_csv(ROWS, separator=";"),
    "marked.csv": b"\xef\xbb\xbf" + as_csv(ROWS).encode(),
    "wide.csv": as_csv(ROWS).encode("utf-16"),
    "windows.csv": as_csv(ROWS).replace("\n", "\r\n"),
    "all.jsonl": as_lines(ROWS),
    "marked.jsonl": b"\xef\xbb\xbf" + as_lines(ROWS).encode(),
    "list.json": json.dumps([{"sentence": text, "labels": label} for text, label in ROWS]),
    "words.csv": as_csv([(t, NAMES[n]) for t, n in ROWS], header="review,sentiment"),
}


@pytest.mark.parametrize("name", FORMATS)
def test_a_table_of_any_format_gives_every_row(write, tmp_path, name):
    dataset = ingest(card_at(write({name: FORMATS[name]}) / name), tmp_path / "data")
    assert dataset.texts(range(len(ROWS))) == [text for text, _ in ROWS]
    assert dataset.labels.tolist() == [label for _, label in ROWS]


@pytest.mark.parametrize("name", ["says.csv", "says.tsv"])
def test_quotes_separators_and_line_breaks_inside_a_text_are_kept(write, tmp_path, name):
    import csv
    from io import StringIO

    file = StringIO(newline="")
    writer = csv.writer(file, delimiter="\t" if name.endswith("tsv") else ",")
    writer.writerows([("text", "label"), *((text, n % 2) for n, text in enumerate(SAID * 2))])
    dataset = ingest(card_at(write({name: file.getvalue()}) / name), tmp_path / "data")
    assert dataset.texts(range(8)) == SAID * 2


def test_a_tab_separated_table_without_quoting_loses_no_row(write, tmp_path):
    rows = [('"Great" , they said', 1), ('"never closed', 0), ('closed"', 1), ("plain", 0)] * 3
    path = write({"all.tsv": as_csv(rows, separator="\t")}) / "all.tsv"
    dataset = ingest(card_at(path), tmp_path / "data")
    assert dataset.texts(range(12)) == [text for text, _ in rows]


def test_a_quote_that_swallows_rows_is_refused_with_the_line(write):
    text = 'text,label\nfine,1\n"it was,0\nbad,0\nend",1\n'
    with pytest.raises(SourceError, match=r"line 3: the text holds a line break.*'bad,0'"):
        outline(card_at(write({"all.csv": text}) / "all.csv"))


def test_a_quote_that_never_closes_is_refused_with_the_line(write):
    with pytest.raises(SourceError, match="a quote opens on line 2 and never closes"):
        card_at(write({"all.csv": 'text,label\n"it was,0\nbad,0\n'}) / "all.csv", as_kind="text")


def test_a_table_of_another_encoding_is_refused_with_the_line(write):
    content = as_csv([("fine", 1), ("café", 0)]).encode("latin-1")
    with pytest.raises(SourceError, match=r"line 3 holds b'\\xe9'"):
        card_at(write({"all.csv": content}) / "all.csv", as_kind="text")


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ('{"text": "a", "label": 0}\n{"text": "b", "lab\n', "line 2: it is no JSON"),
        (b'{"text": "a", "label": 0}\n{"text": "caf\xe9", "label": 1}\n', "line 2: it is no JSON"),
        ('{"text": "a", "label": 0}\n["b", 1]\n', "line 2: .* is no object"),
    ],
)
def test_a_line_that_is_no_object_is_refused_with_its_number(write, content, message):
    with pytest.raises(SourceError, match=message):
        card_at(write({"all.jsonl": content}) / "all.jsonl", as_kind="text")


def test_rows_without_a_label_are_refused_and_not_dropped(write):
    with pytest.raises(ValueError, match=r"2 of 12 rows have no label: all\.csv#10"):
        outline(card_at(write({"all.csv": as_csv([*ROWS, ("a", ""), ("b", "")])}) / "all.csv"))


# Layouts


def test_tables_called_after_splits_are_those_splits(write, tmp_path):
    root = write({f"{split}.csv": as_csv(ROWS[:size]) for split, size in
                  (("train", 8), ("dev", 4), ("test", 6))} | {"README.md": "about"})  # fmt: skip
    card = card_at(root)
    told = outline(card)
    assert (told.examples, told.splits) == (18, {"train": 8, "val": 4, "test": 6})
    assert told.notes == ["1 other file, not read: 1 .md (README.md)."]
    assert ingest(card, tmp_path / "data").card["splits"] == told.splits


def test_shards_of_a_hub_dataset_are_read_with_the_names_of_their_metadata(tmp_path):
    import pyarrow as pa
    import pyarrow.parquet as pq

    features = {"label": {"names": ["bad", "good"], "_type": "ClassLabel"}}
    metadata = {"huggingface": json.dumps({"info": {"features": features}})}
    for name in ("train-00000-of-00002", "train-00001-of-00002", "test-00000-of-00001"):
        table = pa.table(
            {"sentence": [f"{t} {name}" for t, _ in ROWS], "label": [n for _, n in ROWS]}
        )
        file = tmp_path / "raw/data" / f"{name}.parquet"
        file.parent.mkdir(parents=True, exist_ok=True)
        pq.write_table(table.replace_schema_metadata(metadata), file)
    told = outline(card_at(tmp_path / "raw", classes=None))
    assert told.classes == NAMES
    assert told.splits == {"train": 16, "val": 4, "test": 10}
    assert told.what.startswith("texts in column 'sentence', classes in 'label', of 3 tables at")


@pytest.mark.parametrize("kind", ["", "text"])
def test_a_hub_dataset_of_texts_is_read_in_any_format(write, tmp_path, kind):
    commit = "0123456789" * 4
    write({f"owner/says@{commit}/{split}.jsonl": as_lines(ROWS) for split in ("train", "test")})
    source = HuggingFace("owner/says", commit, root=str(tmp_path / "raw"), kind=kind)
    card = DatasetCard(name="says", source=source, kind=holds(source), classes=NAMES)
    assert (card.kind, outline(card).examples) == ("text", 20)
    assert source_for(f"hf://datasets/owner/says@{commit}", kind="text").kind == "text"


def test_a_test_split_without_labels_is_left_out_and_told(write):
    root = write({"train.csv": as_csv(ROWS), "test.csv": "text\nwho knows\n"})
    told = outline(card_at(root))
    assert told.splits == {"train": 4, "val": 2, "test": 4}
    assert "split test left out, it has no labels: 1 text." in told.notes


@pytest.mark.parametrize(
    "files",
    [
        {"train.csv": as_csv(ROWS), "train.jsonl": as_lines(ROWS)},
        {"train.csv": as_csv(ROWS), "train_small.csv": as_csv(ROWS[:4])},
        {"en/train.csv": as_csv(ROWS), "de/train.csv": as_csv(ROWS)},
        {"a.csv": as_csv(ROWS), "b.csv": as_csv(ROWS)},
        {"train.csv": as_csv(ROWS), "everything.csv": as_csv(ROWS)},
    ],
    ids=["formats", "sizes", "configurations", "no split", "beside splits"],
)
def test_rows_that_may_be_there_twice_are_doubted(write, files):
    with pytest.raises(SourceError, match="--table"):
        source_for(write(files))


def test_the_table_that_is_named_is_read_alone(write):
    root = write({"a.csv": as_csv(ROWS), "b.csv": as_csv(ROWS[:6])})
    source = source_for(root, table="b.csv")
    assert len(list(source.examples())) == 6
    with pytest.raises(SourceError, match=r"no file c\.csv in .*Did you mean"):
        source_for(root, table="c.csv")


def test_names_of_labels_beside_them_are_the_classes(write):
    rows = [{"text": text, "label": label, "label_text": NAMES[label]} for text, label in ROWS]
    told = outline(card_at(write({"all.jsonl": "\n".join(map(json.dumps, rows))}), classes=None))
    assert told.classes == NAMES


def test_a_test_split_of_labels_below_zero_is_left_out_and_told(tmp_path):
    parquet_of(tmp_path, ROWS, "raw/train-00000-of-00001.parquet")
    parquet_of(tmp_path, [(text, -1) for text, _ in ROWS], "raw/test-00000-of-00001.parquet")
    told = outline(card_at(tmp_path / "raw"))
    assert "split test left out, it has no labels: 10 texts." in told.notes
    assert told.splits == {"train": 4, "val": 2, "test": 4}


def test_bytes_are_read_as_utf8_and_others_set_aside(tmp_path):
    path = parquet_of(
        tmp_path, [(text.encode(), label) for text, label in ROWS] + [(b"\xe9t\xe9", 0)]
    )
    dataset = ingest(card_at(path, columns={"text": "text"}), tmp_path / "data")
    assert dataset.texts([2]) == [ROWS[2][0]]
    assert [row["error"] for row in dataset.quarantined()] == ["not UTF-8: it holds b'\\xe9'"]


def test_a_column_that_holds_no_texts_is_refused(tmp_path):
    path = parquet_of(tmp_path, ROWS, tags=[["a"]] * 10)
    with pytest.raises(
        SourceError, match="column 'tags', chosen as text, holds other and no texts"
    ):
        source_for(path, columns={"text": "tags"})


def test_a_table_without_a_header_is_refused_with_the_way_out(write):
    root = write({"all.csv": "3,Bears are back,Sellers see green\n1,Oil,It stops\n"})
    with pytest.raises(SourceError, match="The first line of a table is its header"):
        source_for(root / "all.csv", kind="text")


def test_a_pattern_of_tables_is_read(write):
    root = write({f"{split}.csv": as_csv(ROWS) for split in ("train", "test", "unsupervised")})
    assert outline(card_at(f"{root}/t*.csv")).examples == 20


def test_an_archive_of_tables_holds_texts(write, tmp_path):
    import shutil

    root = write({"train.csv": as_csv(ROWS), "test.csv": as_csv(ROWS)})
    archive = shutil.make_archive(str(tmp_path / "says"), "zip", root)
    source = source_for(archive, cache=tmp_path / "cache")
    assert (holds(source), len(list(source.examples()))) == ("text", 20)


def test_columns_of_other_names_are_named(write):
    root = write({"all.csv": as_csv(ROWS, header="verbatim,verdict")})
    with pytest.raises(SourceError, match=r"no column of texts.*--columns text="):
        source_for(root, kind="text")
    told = outline(card_at(root, columns={"text": "verbatim", "label": "verdict"}))
    assert told.examples == 10


def test_a_second_column_of_texts_is_told(write):
    rows = [(f"title {n}", text, label) for n, (text, label) in enumerate(ROWS)]
    told = outline(card_at(write({"all.csv": as_csv(rows, header="title,content,label")})))
    assert "texts in column 'content'" in told.what
    assert any("column 'title' may hold the texts too" in note for note in told.notes)


def test_a_second_column_that_may_be_the_class_is_doubted(tmp_path):
    fine = [n for n in range(10)]
    card = card_at(parquet_of(tmp_path, ROWS, fine_label=fine).parent)
    with pytest.raises(ValueError, match="column 'fine_label' may be the class too"):
        outline(card)


def test_a_column_of_domains_is_kept(tmp_path):
    domains = ["books", "films"] * 5
    card = card_at(parquet_of(tmp_path, ROWS, domain=domains).parent)
    assert outline(card).domains == {"books": 5, "films": 5}
    dataset = ingest(card, tmp_path / "data")
    assert dataset.domain_names == ("books", "films")
    assert np.array(dataset.domain_names)[dataset.domain_codes].tolist() == domains


def test_a_split_called_all_is_no_split(tmp_path):
    told = outline(card_at(parquet_of(tmp_path, ROWS, split=["all"] * 10).parent))
    assert told.splits == {"train": 4, "val": 2, "test": 4}
    assert told.split_rule.startswith("no official split")


@pytest.mark.parametrize(
    "files",
    [
        {"captions.csv": as_csv(ROWS, header="text,label"), "cat/1.png": b"", "dog/1.png": b""},
        {"all.csv": "image_path,text,label\n1.png,a,0\n2.png,b,1\n"},
    ],
    ids=["beside images", "paths of images"],
)
def test_a_table_about_images_is_none_of_texts(write, files):
    assert holds(source_for(write(files))) == "image"


def test_a_table_that_may_be_of_images_is_one_of_texts_where_that_is_said(write):
    root = write({"all.csv": "path,text,label\na.txt,fine,0\nb.txt,bad,1\n"})
    assert holds(source_for(root, kind="text")) == "text"


def test_the_signature_moves_with_a_table_and_reads_none(write):
    root = write({"all.csv": as_csv(ROWS)})
    source = source_for(root)
    prints = [source.signature()]
    write({"all.csv": as_csv(ROWS * 2)})
    prints.append(source.signature())
    assert all(a != b for a, b in pairwise(prints))
