"""The board page as its readers use it: opened, sorted, filtered, compared, exported."""

import csv
import io
import re
import shutil
from itertools import pairwise

import pytest

from tasks.pages import asking

FEW = "#/image-classification/few_shot"
TEXT = "#/text-classification/text_few_shot"
ODD = "<b>odd</b> & 'co'"
ROUTES = [
    *(FEW, f"{FEW}?intervals=1&shots=*", "#/image-classification/base_to_new", TEXT),
    *("#/methods", "#/method/coop", "#/datasets", "#/backbones", "#/backbone/mini-clip"),
    *("#/published", "#/compare?a=coop&b=maple", "#/runs", "#/trials"),
]


def texts(page, selector):
    return [text.strip() for text in page.locator(selector).all_inner_texts()]


def methods(page, table="#main table.scores >> nth=0"):
    return [name.split()[0] for name in texts(page, f"{table} >> tbody th")]


def column(page, title):
    """What a column of the first table says, by row."""
    heads = [
        head.split("\n")[0]
        for head in texts(page, "#main table >> nth=0 >> thead tr:last-child th")
    ]
    place = heads.index(title)
    return [
        texts(row, "th, td")[place]
        for row in page.locator("#main table >> nth=0 >> tbody tr").all()
    ]


@pytest.fixture
def ask(drawn_board):
    return lambda sql: asking.rows(drawn_board, sql)


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("screen", ["phone", "tablet", "wide"])
def test_no_view_scrolls_sideways_or_fails(opened, screen, scheme):
    page = opened(screen=screen, scheme=scheme)
    for route in ROUTES:
        page.evaluate("(route) => { location.hash = route }", route)
        page.wait_for_function("(route) => site.drawn === route", arg=route)
        assert page.evaluate("document.documentElement.scrollWidth <= innerWidth"), route
        assert page.locator("[role=alert]").count() == 0, route
        assert page.locator("#main h1").count() == 1, route


def test_the_first_tables_are_there_without_scripts_and_in_the_same_order(opened):
    plain = opened(scripts=False)
    scripted = opened()
    assert methods(plain) == methods(scripted)
    assert plain.locator("section.first").count() == 3
    assert plain.locator("section.first >> nth=0 >> td.best").count() > 0
    assert plain.evaluate("document.documentElement.scrollWidth <= innerWidth")


def test_scores_are_those_of_the_board(opened, ask):
    page = opened(f"{FEW}?shots=4&split=all&dataset=digits")
    said = ask(
        "SELECT method, variant, mean, std FROM leaderboard WHERE protocol = 'few_shot' "
        "AND dataset = 'digits' AND shots IN (0, 4) AND is_primary"
    )
    shown = page.evaluate(
        """() => [...document.querySelectorAll("#main table tbody tr")].map((row) =>
            ["th a", "a.cell .score"].map((part) => row.querySelector(part).textContent))"""
    )
    numbers = {name: [float(part) for part in text.split(" ± ")] for name, text in shown}
    for row in said:
        known = [row[key] * 100 for key in ("mean", "std") if row[key] is not None]
        if row["variant"] == "":
            assert numbers[row["method"]] == pytest.approx(known, abs=0.051), row["method"]
    assert len(shown) == len(said)


def test_the_best_is_first_and_bold_and_what_does_not_differ_is_marked(opened, ask):
    page = opened(f"{FEW}?shots=4&dataset=digits&test=images")
    scores = [float(text.split()[0]) for text in column(page, "digits")]
    assert scores == sorted(scores, reverse=True)
    bold = page.locator("#main table >> nth=0 >> td.best").all_inner_texts()
    assert [float(text.split()[0]) for text in bold] == [max(scores)]
    (best,) = ask(
        "SELECT cell_id FROM leaderboard WHERE protocol = 'few_shot' AND dataset = 'digits' "
        "AND is_primary AND shots IN (0, 4) ORDER BY mean DESC LIMIT 1"
    )
    near = ask(
        f"SELECT count(*) AS n FROM significance WHERE cell_a = '{best['cell_id']}' "
        "AND p_images_holm >= 0.05 AND split = 'all' AND shots IN (0, 4) AND difference <> 0"
    )
    marks = page.locator("#main table >> nth=0 >> tbody .mark").count()
    assert marks == near[0]["n"]
    assert 0 < marks < len(scores) - 1  # a mark that may be there or not


def test_averages_are_the_boards_and_gaps_are_named(opened, ask):
    page = opened(f"{FEW}?shots=4")
    said = {
        r["method"]: r
        for r in ask(
            "SELECT * FROM averages WHERE protocol = 'few_shot' AND shots = 4 AND variant = ''"
        )
    }
    shown = dict(zip(methods(page), column(page, "Average"), strict=True))
    for method in ("maple", "kgcoop"):
        assert float(shown[method]) == pytest.approx(said[method]["mean"] * 100, abs=0.051)
    assert said["prograd"]["mean"] is None
    assert shown["prograd"] == "incomplete"
    page.locator("tr", has_text="prograd").locator(".gap").first.focus()
    assert f"no score on {ODD}" in page.locator("#tip").inner_text()
    ranks = dict(zip(methods(page), column(page, "Mean rank"), strict=True))
    (maple,) = ask(
        "SELECT mean_rank FROM ranks WHERE protocol = 'few_shot' AND shots = 4 AND method = 'maple'"
    )
    assert ranks["maple"] == f"{maple['mean_rank']:.1f}"


def test_names_that_are_markup_are_shown_as_they_are(opened):
    page = opened(f"{FEW}?shots=4")
    assert ODD in page.locator("#main thead").first.inner_text()
    assert page.locator("#main thead b").count() == 0


def test_a_column_sorts_both_ways_and_gaps_stay_last(opened):
    page = opened(f"{FEW}?shots=4")
    seen = []
    for order in ("ascending", "descending"):
        page.get_by_role("columnheader", name="Average").first.click()
        page.wait_for_selector(f"th[aria-sort={order}]")
        seen.append(column(page, "Average"))
    numbers = [[float(text) for text in texts if text[0].isdigit()] for texts in seen]
    assert numbers[0] == sorted(numbers[0], reverse=numbers[0][0] > numbers[0][-1])
    assert numbers[1] == numbers[0][::-1]
    for texts_ in seen:
        assert not texts_[-1][0].isdigit()
        assert texts_[0][0].isdigit()


def test_a_search_filters_and_stays_in_the_address(opened):
    page = opened(f"{FEW}?shots=4")
    every = len(methods(page))
    page.get_by_label("Search in").first.fill("maple")
    page.wait_for_function("location.hash.includes('search=maple')")
    assert methods(page) == ["maple"]
    again = opened(page.evaluate("location.hash"))
    assert methods(again) == ["maple"]
    again.get_by_label("Search in").first.fill("")
    assert len(methods(again)) == every


def test_choosers_change_the_table_and_the_address(opened):
    page = opened(f"{FEW}?dataset=digits")
    page.locator("#choose-shots").select_option("1")
    assert "shots=1" in page.evaluate("location.hash")
    page.locator("#choose-family").select_option("text_prompts")
    left = methods(page)
    assert "kgcoop" in left and "zero-shot" not in left and "maple" not in left
    page.locator("#choose-metric").focus()
    page.locator("#choose-metric").select_option("ece")
    ece = [float(text.split()[0]) for text in column(page, "digits")]
    assert ece == sorted(ece)  # less is better
    assert page.evaluate("document.activeElement.id") == "choose-metric"
    note = page.locator("#main .note").first
    assert "tested in accuracy alone" in note.inner_text()
    again = opened("#/image-classification/base_to_new?split=H")
    again.locator("#choose-metric").select_option("ece")  # which has no H
    assert methods(again)


def test_an_address_that_names_nothing_shows_what_there_is(opened):
    assert opened("#/no-track/no-protocol").locator("#main h1").inner_text() == "Few shot"
    assert "No method is called gone" in opened("#/method/gone").locator("h1").inner_text()
    page = opened(f"{FEW}?shots=77&backbone=gone&metric=none&dataset=x")
    assert methods(page)


def test_an_interval_is_told_on_focus_and_as_columns(opened, ask):
    page = opened(f"{FEW}?shots=4&dataset=digits")
    (maple,) = ask(
        "SELECT * FROM leaderboard WHERE protocol = 'few_shot' AND dataset = 'digits' "
        "AND method = 'maple' AND shots = 4 AND is_primary"
    )
    interval = f"[{maple['ci95_low'] * 100:.1f}, {maple['ci95_high'] * 100:.1f}]"
    page.locator("tr", has_text="maple").locator("a.cell").focus()
    assert interval in page.locator("#tip").inner_text()
    page.keyboard.press("Escape")
    assert page.locator("#tip").is_hidden()
    page.locator("#choose-intervals").check()
    assert dict(zip(methods(page), column(page, "digits 95 %"), strict=True))["maple"] == interval


def test_a_score_leads_to_its_cell_and_from_there_to_its_trials(opened):
    page = opened(f"{FEW}?shots=4&dataset=digits")
    page.locator("tr", has_text="maple").locator("a.cell").click()
    assert page.locator("#main h1").inner_text() == "maple on digits, 4 shots"
    assert page.locator("#main table >> nth=1 >> tbody tr").count() == 3
    assert page.locator("#main table >> nth=1 >> tbody a[href^='#/trial/']").count() == 3


def test_two_methods_are_compared_as_sql_does(opened, ask):
    page = opened("#/compare?a=maple&b=kgcoop")
    said = ask(
        "SELECT difference FROM significance WHERE method_a = 'maple' AND method_b = 'kgcoop'"
    )
    wins = sum(row["difference"] > 0 for row in said)
    losses = sum(row["difference"] < 0 for row in said)
    tiles = texts(page, ".tile dd .big")
    assert tiles == [str(wins), str(len(said) - wins - losses), str(losses)]
    page.get_by_label("Method B").select_option("coop")
    assert "b=coop" in page.evaluate("location.hash")
    assert page.locator("#main thead").first.inner_text().count("coop")


def test_two_runs_are_compared(opened):
    page = opened("#/runs?a=few_shot-1&b=few_shot-2")
    tiles = dict(zip(texts(page, ".tile dt"), texts(page, ".tile dd"), strict=True))
    assert (tiles["Only in A"], tiles["Only in B"], tiles["Moved"]) == ("0", "1", "0")
    assert int(tiles["Same"]) > 10


def exported(page, title):
    page.get_by_role("group", name="Export").first.get_by_role("button", name=title).click()
    text = page.locator("dialog textarea").input_value()
    page.get_by_role("button", name="Close").click()
    return text


def test_tables_leave_as_csv_markdown_and_latex(opened):
    page = opened(f"{FEW}?shots=4")
    page.get_by_label("Search in").first.fill("p")  # what is seen is what leaves
    seen = methods(page)
    rows = list(csv.DictReader(io.StringIO(exported(page, "CSV"))))
    assert [row["Method"].split(" · ")[0] for row in rows] == seen
    assert 0 < float(rows[0]["digits mean"]) < 1
    assert f"{ODD} ci95_low" in rows[0]
    markdown = exported(page, "Markdown").splitlines()
    assert len(markdown) == 2 + len(seen)
    assert len({re.sub(r"\\.", "", line).count("|") for line in markdown}) == 1
    assert "**" in "".join(markdown) and r"\<b\>odd" in markdown[0]
    latex = exported(page, "LaTeX")
    assert latex.index(r"\toprule") < latex.index(r"\midrule") < latex.index(r"\bottomrule")
    assert r"\textbf{" in latex and r"$\pm$" in latex and r"\& 'co'" in latex
    body = latex.split(r"\midrule")[1].split(r"\bottomrule")[0].strip().splitlines()
    assert len(body) == len(seen)
    assert len({re.sub(r"\\&", "", line).count("&") for line in body}) == 1


def test_a_table_is_saved_as_a_file(opened):
    page = opened("#/methods")
    page.get_by_role("button", name="CSV").first.click()
    with page.expect_download() as download:
        page.get_by_role("button", name="Save methods.csv").click()
    rows = list(csv.DictReader(download.value.path().open()))
    assert "coop" in [row["Method"] for row in rows]


def test_a_card_says_what_is_known_of_a_method(opened):
    text = opened("#/method/promptkd").locator("#main").inner_text()
    assert "arxiv.org" in text
    assert "has a teacher" in text
    assert "Departures" in text and "Hyperparameters" in text


def test_the_theme_follows_the_system_and_the_button(opened):
    page = opened(scheme="dark")
    ground = "getComputedStyle(document.body).backgroundColor"
    dark = page.evaluate(ground)
    page.get_by_role("button", name="Switch to the light theme").click()
    light = page.evaluate(ground)
    assert sum(map(int, re.findall(r"\d+", dark))) < 150 < sum(map(int, re.findall(r"\d+", light)))
    page.reload()
    page.wait_for_selector("html[data-ready]", state="attached")
    assert page.evaluate(ground) == light  # remembered where there is a place for it


def test_the_page_works_by_keyboard(opened):
    page = opened(f"{FEW}?shots=4")
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.className") == "skip"
    page.keyboard.press("Enter")
    assert page.evaluate("document.activeElement.id") == "main"
    reached = []
    for _ in range(60):
        page.keyboard.press("Tab")
        reached.append(
            page.evaluate(
                "((node) => node.closest('th') ? 'head' : node.id)(document.activeElement)"
            )
        )
        if reached[-1] == "head":
            break
    assert "choose-backbone" in reached and reached[-1] == "head"
    before = methods(page)
    page.keyboard.press("Enter")
    page.wait_for_function("document.querySelector('[aria-sort=descending]') !== null")
    assert methods(page) != before


NAMELESS = """() => {
  const named = (node) =>
    node.getAttribute("aria-label") || node.textContent.trim() || node.title ||
    (node.labels && node.labels.length) || node.getAttribute("aria-labelledby");
  const parts =
    "button, a, input, select, textarea, nav, table, [role=region], [role=graphics-document]";
  return [...document.querySelectorAll(parts)]
    .filter((node) => node.offsetParent !== null && !named(node))
    .map((node) => node.outerHTML.slice(0, 120));
}"""
REPEATED = """() => {
  const ids = [...document.querySelectorAll("[id]")].map((node) => node.id);
  return ids.filter((id, place) => ids.indexOf(id) !== place);
}"""


HEADINGS = "[...document.querySelectorAll('#main :is(h1,h2,h3,h4)')].map((h) => +h.tagName[1])"


def test_everything_has_a_name_and_headings_follow_each_other(opened):
    page = opened()
    for route in ROUTES:
        page.evaluate("(route) => { location.hash = route }", route)
        page.wait_for_function("(route) => site.drawn === route", arg=route)
        assert page.evaluate(NAMELESS) == [], route
        assert page.evaluate(REPEATED) == [], route
        levels = page.evaluate(HEADINGS)
        assert levels[0] == 1, route
        assert all(after - before <= 1 for before, after in pairwise(levels)), route


def test_a_sandboxed_frame_shows_it_too(new_page, board_page, tmp_path):
    """As MLflow shows artifacts: no storage, no origin, no downloads."""
    outer = tmp_path / "outer.html"
    outer.write_text(
        "<!doctype html><iframe sandbox='allow-scripts' style='width:1200px;height:900px'></iframe>"
    )
    page = new_page()
    errors = []
    page.on("pageerror", lambda error: errors.append(str(error)))
    page.on("console", lambda said: errors.append(said.text) if said.type == "error" else None)
    page.goto(outer.as_uri())
    page.evaluate(
        "(text) => { document.querySelector('iframe').srcdoc = text }", board_page.read_text()
    )
    frame = page.frame_locator("iframe")
    frame.locator("html[data-ready]").wait_for(state="attached")
    frame.locator("#choose-shots").select_option("1")
    frame.locator("#protocols a", has_text="Base to new").click()
    frame.locator("h1", has_text="Base to new").wait_for()
    frame.get_by_role("button", name="LaTeX").first.click()
    assert r"\toprule" in frame.locator("dialog textarea").input_value()
    frame.get_by_role("button", name="Close").click()
    frame.get_by_role("button", name="Switch to the").click()
    assert errors == []


def test_a_head_for_unseen_classes_is_marked_where_such_are_shown(opened, drawn_board, tmp_path):
    """Beside the method, in the table of a protocol, and on its own page."""
    import duckdb

    from tasks.site import page
    from tasks.storage.store import Store

    store = Store(shutil.copytree(drawn_board.home, tmp_path / "store"))
    with duckdb.connect(store.home / "leaderboard.duckdb") as board:
        board.execute(
            """UPDATE methods SET card = json_merge_patch(card, '{"unseen_head": "the other one"}')
            WHERE method = 'maple'"""
        )
    file = tmp_path / "board.html"
    file.write_bytes(page(store))
    both = opened("#/image-classification/base_to_new", file=file)
    assert "unseen head" in row_of(both, "maple")
    assert "unseen head" not in row_of(both, "coop")
    said = both.locator("abbr", has_text="unseen head").get_attribute("title")
    assert said == "classes that were not learned are classified by the other one"
    learned = opened("#/image-classification/base_to_new?split=base", file=file)
    assert "unseen head" not in row_of(learned, "maple")
    assert "the other one" in opened("#/method/maple", file=file).inner_text("#main")


def row_of(page, method):
    """The line of a method in the first table."""
    rows = texts(page, "#main table >> nth=0 >> tbody tr")
    return next(row for row in rows if method in row)
