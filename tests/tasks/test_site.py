"""The board page without a browser: what it carries, how it begins, what it refuses."""

import base64
import gzip
import json
import re

import duckdb
import numpy as np
import pyarrow as pa
import pytest

from tasks.pages import asking
from tasks.pages.asking import BoardError
from tasks.pages.board import rebuild
from tasks.site import page
from tasks.site.attention import attention
from tasks.site.headline import first_table, in_page, lines_of, split_order
from tasks.site.libraries import as_script, libraries
from tasks.site.page import ASSETS, SCRIPTS
from tasks.site.payload import packed
from tasks.site.tables import DIGITS, JSON, ROUGH, TABLES
from tasks.storage.store import Store


def unpacked(text, ids=None):
    """What `assets/payload.js` does, for one table."""
    content = gzip.decompress(base64.b64decode(text))
    length = int.from_bytes(content[:4], "little")
    head, place = json.loads(content[4 : 4 + length]), 4 + length
    columns = {}
    for column in head["columns"]:
        codes = np.zeros(head["rows"], np.int64)
        for plane in range(column["width"]):
            codes += np.frombuffer(content, np.uint8, head["rows"], place).astype(int) << 8 * plane
            place += head["rows"]
        values = column["values"] if "values" in column else ids[column["of"]]
        if ids is None:  # the table of them
            columns[column["name"]] = values
            continue
        columns[column["name"]] = [values[code] for code in codes]
    assert place == len(content)
    return columns


def elements(html):
    return dict(re.findall(r"<script type='text/plain' id='([\w-]+)'>([^<]*)</script>", html))


@pytest.fixture(scope="module")
def html(drawn_board):
    return page(drawn_board).decode()


def test_pictures_of_what_trials_look_at_are_those_of_the_latest_within_the_budget(tmp_path):
    store, pictures = Store.at(str(tmp_path)), {"a": b"older", "b": b"newer", "d": b"candidate"}
    for trial, content in pictures.items():
        store.trial(trial).mkdir(parents=True)
        (store.trial(trial) / "attention.webp").write_bytes(content)
    with duckdb.connect() as board:
        columns = "trial_id TEXT, tested_on TEXT, status TEXT, started_at INT"
        board.sql(f"CREATE TABLE trials ({columns})")
        for at, (trial, tested) in enumerate(
            zip("abcd", ["test"] * 3 + ["validation"], strict=True)
        ):
            board.execute("INSERT INTO trials VALUES (?, ?, 'completed', ?)", [trial, tested, at])
        found = attention(store, board)
        assert found["trial_id"] == ["b", "a"]
        encoded = base64.b64encode(b"newer").decode()
        assert found["shown"][0] == f"data:image/webp;base64,{encoded}"
        assert attention(store, board, budget=40)["trial_id"] == ["b"]


@pytest.mark.parametrize("name", TABLES)
def test_each_table_is_what_sql_says_row_by_row(drawn_board, html, name):
    said = asking.rows(drawn_board, TABLES[name])
    found = elements(html)
    carried = unpacked(found[f"table-{name}"], unpacked(found["table-ids"]))
    for column in said[0] if said else ():
        values = [row[column] for row in said]
        if column in JSON:
            values = [value and json.loads(value) for value in values]
        digits = ROUGH.get(column, DIGITS)
        values = [float(f"{v:.{digits}g}") if isinstance(v, float) else v for v in values]
        assert carried[column] == values, column
    assert all(len(values) == len(said) for values in carried.values())


@pytest.mark.parametrize("count", [1, 25, 26, 100])
def test_a_curve_keeps_its_ends_and_at_most_25_epochs(count):
    losses = [2 / (epoch + 1) for epoch in range(count)]
    names = ["protocol", "backbone", "dataset", "shots", "method", "variant", "cell_id", "seed"]
    with duckdb.connect() as connection:
        columns = ", ".join(f"'' AS {name}" for name in names)
        connection.execute(
            "CREATE TABLE trials AS SELECT 'a' AS trial_id, 'completed' AS status, "
            f"'test' AS tested_on, {columns}, ?::DOUBLE[] AS losses",
            [losses],
        )
        ((trial, epochs, kept),) = connection.sql(TABLES["losses"]).fetchall()
    epochs, kept = json.loads(epochs), json.loads(kept)
    assert (trial, epochs[0], epochs[-1]) == ("a", 1, count)
    assert len(epochs) == len(kept) == min(count, 25)
    assert epochs == sorted(set(epochs))
    assert kept == pytest.approx([losses[epoch - 1] for epoch in epochs], rel=6e-3)


def test_tables_that_matter_have_rows(drawn_board):
    for name in (
        "scores",
        "significance",
        "trials",
        "trial_scores",
        "runs",
        "run_trials",
        "losses",
    ):
        assert asking.rows(drawn_board, TABLES[name]), name
    for name in ("confusions", "mistakes"):
        assert asking.rows(drawn_board, TABLES[name]), name


def there_and_back(table, **changes):
    found = packed({"t": table}, **{"json_columns": (), "digits": {}, "ids": {}, **changes})
    return unpacked(found["t"], unpacked(found["ids"]))


@pytest.mark.parametrize("count", [0, 1, 2, 256, 257, 65_537])
def test_columns_of_any_size_come_back(count):
    rows = {"text": [f"é{i}" for i in range(count)], "number": [i / 4 for i in range(count)]}
    rows |= {"none": [None] * count, "id": [f"{i % 300:04x}" for i in range(count)]}
    arrow = dict(zip(rows, pa.table(rows).columns, strict=True))
    assert there_and_back(arrow, ids={"id": "kind"}) == rows
    assert there_and_back(rows, ids={"id": "kind"}) == rows


def test_ids_of_several_tables_are_there_once():
    tables = {"a": {"x": ["1", "2"]}, "b": {"y": ["2", None], "z": ["2", "3"]}}
    kinds = {"x": "one", "y": "one", "z": "other"}
    found = packed(tables, json_columns=(), digits={}, ids=kinds)
    ids = unpacked(found["ids"])
    assert ids == {"one": ["1", "2", None], "other": ["2", "3"]}
    assert {name: unpacked(found[name], ids) for name in tables} == tables


def test_numbers_that_are_none_and_texts_that_could_harm_are_made_harmless():
    back = there_and_back(
        {
            "a": [float("nan"), float("inf"), 0.123456],
            "b": ["\x1b[31m", "a\u202eb", "c"],
            "c": ['{"k": "\\u202e"}', None, "[]"],
        },
        json_columns={"c"},
        digits={"a": 4},
    )
    assert back["a"] == [None, None, 0.1235]
    assert back["b"] == [r"\x1b[31m", r"a\u202eb", "c"]
    assert back["c"] == [{"k": r"\u202e"}, None, []]


def test_the_page_is_whole_and_asks_for_nothing(html):
    assert html.startswith("<!doctype html>")
    assert html.endswith("</html>\n")
    assert not re.findall(r"<!--\w+-->", html)
    for attribute, value in re.findall(r"<[^<>]* (src|href)=[\"']([^\"']*)", html):
        assert value.startswith(("#", "data:image/svg+xml")), (attribute, value)
    assert "@import" not in html and "url(http" not in html
    assert sorted(SCRIPTS) == sorted(path.name for path in ASSETS.glob("*.js"))


def test_the_page_says_when_it_was_made_of_what_and_by_which_code(html, drawn_board):
    (said,) = asking.rows(drawn_board, "SELECT count(*) AS n, max(git_commit) AS c FROM trials")
    foot = html[html.index("<footer>") : html.index("</footer>")]
    assert f"{said['n']} trials" in foot
    assert re.search(r"made \d{4}-\d\d-\d\d \d\d:\d\d UTC by Shotboard \d", foot)
    assert said["c"][:10] in foot


def test_two_pages_of_one_board_differ_in_their_date_alone(drawn_board):
    first, second = (re.sub(rb"\d\d:\d\d", b"", page(drawn_board)) for _ in range(2))
    assert first == second


def row(method, mean, **changes):
    place = {"protocol": "few_shot", "backbone": "b", "test_rows_per_class": None, "dataset": "d"}
    place |= {"metric": "accuracy", "unit": "share", "better": "higher", "shots": 1, "split": "all"}
    return {**place, "method": method, "variant": "", "mean": mean, "std": 0.038, "n": 3, **changes}


NATS = {"metric": "nll", "unit": "nats", "better": "lower"}


@pytest.mark.parametrize(
    ("metric", "order", "bold"),
    [({}, ["b", "a", "c"], "75.0"), (NATS, ["a", "b", "c"], "0.500")],
)
def test_the_best_is_first_and_bold_whichever_its_direction(metric, order, bold):
    rows = [row(name, mean, **metric) for name, mean in (("a", 0.5), ("b", 0.75), ("c", None))]
    table = first_table(rows)
    assert [line.method for line in table.lines] == order
    best = re.findall(r"<td class='best'>.*?</td>", in_page(table, "t"))
    assert len(best) == 1
    assert bold in best[0]


def test_a_score_never_wraps_and_its_spread_stays_beside_it():
    html = in_page(first_table([row("a", 0.5)]), "t")
    assert "<span class='score'>50.0 <small>± 3.8</small></span>" in html
    assert re.search(r"\.score \{[^}]*white-space: nowrap", (ASSETS / "style.css").read_text())


def test_no_column_is_styled_by_its_place_in_the_table():
    assert not re.findall(r"t[dh]:(last|first|nth)-child", (ASSETS / "style.css").read_text())


def test_a_method_without_labelled_images_stands_at_every_number_of_shots():
    rows = [row("zero", 0.5, shots=0), row("a", 0.6), row("a", 0.7, shots=4)]
    table = first_table(rows)
    (zero,) = (line for line in table.lines if line.method == "zero")
    assert [place.shots for place in table.places] == [1, 4]
    assert [zero.cells[place]["mean"] for place in table.places] == [0.5, 0.5]


def test_two_settings_of_a_method_are_lines_of_their_own_where_they_meet():
    rows = [
        row("a", 0.5),
        row("a", 0.6, variant="lr=1"),
        row("b", 0.5),
        row("b", 0.6, variant="x", shots=4),
    ]
    assert [(line.method, line.variant) for line in lines_of(rows)] == [
        ("a", "published"),
        ("a", "lr=1"),
        ("b", ""),
    ]


def test_splits_stand_as_in_papers():
    splits = ["AVERAGE", "H", "sketch", "new", "all", "base", "cartoon"]
    assert sorted(splits, key=split_order) == [
        "all",
        "base",
        "new",
        "H",
        "cartoon",
        "sketch",
        "AVERAGE",
    ]


def test_names_are_shown_as_they_are():
    html = in_page(first_table([row("a\x1b&\"'", 0.5, dataset="<script>x")]), "<i>")
    assert "<script>" not in html and "<i>" not in html
    assert r"a\x1b&amp;&quot;&#x27;" in html


def test_an_empty_board_says_how_to_fill_it(tmp_path):
    from tasks.storage.store import Store

    store = Store(tmp_path)
    with pytest.raises(BoardError, match="run `shotboard run`"):
        page(store)
    rebuild(store)
    assert "The board is empty" in page(store).decode()


def test_a_board_of_another_version_is_refused_with_the_remedy(tmp_path):
    from tasks.storage.store import Store

    store = Store(tmp_path)
    with duckdb.connect(store.board) as connection:
        connection.sql("CREATE TABLE trials (trial_id VARCHAR)")
    with pytest.raises(BoardError, match="board --rebuild"):
        page(store)


def test_a_page_begins_with_the_protocol_that_is_asked_for(drawn_board):
    for protocol in ("few_shot", "base_to_new"):
        assert (
            json.loads(elements(page(drawn_board, begin=protocol).decode())["about"])["home"]
            == protocol
        )


def test_libraries_are_made_once(tmp_path, monkeypatch):
    found = libraries.__wrapped__(tmp_path)
    assert len(list(tmp_path.glob("libraries-*.json"))) == 1
    monkeypatch.setattr("tasks.site.libraries._made", lambda: pytest.fail("made again"))
    assert libraries.__wrapped__(tmp_path) == found
    script = gzip.decompress(base64.b64decode(found["datatables"])).decode()
    assert "window.DataTables={" in script and '"default":' in script


def test_a_bundle_of_another_form_is_refused():
    with pytest.raises(ValueError, match="2 export statements"):
        as_script("export {a};export {b as c};")
    assert as_script("let a=1;export {a as b}") == (
        '(()=>{"use strict";let a=1;window.DataTables={"b":a}\n})();'
    )


def luminance(colour):
    """Relative luminance of `#rrggbb`. Source: WCAG 2.2."""
    shares = [int(colour[at : at + 2], 16) / 255 for at in (1, 3, 5)]
    linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in shares]
    return sum(c * w for c, w in zip(linear, (0.2126, 0.7152, 0.0722), strict=True))


TEXTS = [
    (text, ground)
    for text in ("text", "muted", "accent", "near", "fault")
    for ground in ("page", "card", "raised")
]
TEXTS += [
    (text, ground)
    for text in ("text", "muted", "near")
    for ground in ("fill-colour", "best-colour")
]
TEXTS += [("on-accent", "accent"), ("page", "text")]
PAIRS = [(pair, 4.5) for pair in TEXTS] + [
    (("control", ground), 3.0) for ground in ("card", "page")
]


@pytest.mark.parametrize("theme", ["light", "dark"])
@pytest.mark.parametrize(("pair", "least"), PAIRS, ids=str)
def test_colours_have_the_contrast_of_wcag_aa(theme, pair, least):
    style = (ASSETS / "style.css").read_text()
    known = dict(re.findall(r"--([\w-]+): light-dark\(([^)]*)\)", style))
    shades = [luminance(known[name].split(", ")[theme == "dark"]) for name in pair]
    assert (max(shades) + 0.05) / (min(shades) + 0.05) >= least
