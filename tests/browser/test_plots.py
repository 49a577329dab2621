"""Plots of the board page: drawn as they come into sight, of the board's numbers, exported."""

import csv
import io
import xml.etree.ElementTree as ET
from functools import partial

import pytest

from tasks.pages import asking
from tasks.pages.pictures import looks, picture
from tasks.plots.drawing import PLOTS, figure

FEW = "#/image-classification/few_shot"
BASE = "#/image-classification/base_to_new"
DRAWN = {
    FEW: ["curves", "intervals", "heat-map", "cost", "critical-difference"],
    BASE: ["intervals", "heat-map", "base-to-new", "cost"],
    "#/text-classification/text_few_shot": ["curves", "intervals", "heat-map", "cost"],
}
SPLIT = {"protocol": "few_shot", "dataset": "digits", "shots": 4}


@pytest.fixture
def figure_of(drawn_board):
    """What Python makes of the same board."""
    return lambda name, **filters: figure(
        partial(asking.own_rows, drawn_board), name, looks(), filters
    )


def seen(page, name):
    """The section of a plot, scrolled to and drawn."""
    section = page.locator(f"#section-{name}")
    section.scroll_into_view_if_needed()
    section.locator("svg.marks").wait_for()
    return section


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("screen", ["phone", "wide"])
def test_every_plot_is_drawn_and_none_is_wider_than_its_place(opened, screen, scheme):
    page = opened(screen=screen, scheme=scheme)
    for route, names in DRAWN.items():
        page.evaluate("(route) => { location.hash = route }", route)
        page.wait_for_function("(route) => site.drawn === route", arg=route)
        found = page.locator("[id^=section-] > h2").evaluate_all(
            "(heads) => heads.map((head) => head.parentNode.id.slice(8))"
        )
        assert found == names
        for name in names:
            section = seen(page, name)
            assert section.locator("figcaption").inner_text()
            box = section.locator(".canvas").bounding_box()
            drawing = section.locator("svg.marks").bounding_box()
            if name != "heat-map":  # as wide as its columns; it scrolls in its box
                assert drawing["width"] <= box["width"] + 1
        assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
        assert page.locator("[role=alert]").count() == 0


@pytest.mark.parametrize(
    ("name", "filters"),
    [
        ("curves", {"protocol": "few_shot", "dataset": "digits"}),
        ("intervals", SPLIT),
        ("cost", {**SPLIT, "cost": "tune_seconds"}),
    ],
)
def test_marks_say_the_numbers_of_the_board(opened, figure_of, name, filters):
    page = opened(f"{FEW}?dataset=digits&shots=4")
    wanted = figure_of(name, **filters)
    section = seen(page, name)
    assert section.locator("figcaption").inner_text() == wanted.alt
    said = section.locator("svg [aria-label]").evaluate_all(
        "(marks) => marks.map((mark) => mark.getAttribute('aria-label'))"
    )
    drawn = [row for row in wanted.rows if name != "curves" or row["shots"]]
    for row in drawn:
        assert any(row["label"] in text and f"{row['shown']:.1f} %" in text for text in said)


def test_a_plot_leaves_as_the_picture_that_python_draws(opened, drawn_board, figure_of):
    page = opened(f"{FEW}?dataset=digits&shots=4")
    section = seen(page, "intervals")
    files = {}
    for ending in ("SVG", "PNG", "CSV"):
        with page.expect_download() as download:
            section.get_by_role("button", name=ending).click()
        files[ending] = download.value.path().read_bytes()
        assert download.value.suggested_filename.startswith("intervals-few_shot-digits")
    texts = ["".join(n.itertext()) for n in ET.fromstring(files["SVG"]).iter("{*}text")]
    known = picture(drawn_board, "intervals", SPLIT).content
    assert texts == ["".join(n.itertext()) for n in ET.fromstring(known).iter("{*}text")]
    assert files["PNG"].startswith(b"\x89PNG")
    rows = list(csv.DictReader(io.StringIO(files["CSV"].decode())))
    wanted = figure_of("intervals", **SPLIT).rows
    assert [row["label"] for row in rows] == [row["label"] for row in wanted]
    shown = [row["shown"] for row in wanted]
    assert [float(row["shown"]) for row in rows] == pytest.approx(shown, rel=1e-4)


def test_a_plot_shows_what_is_chosen_for_the_table_and_what_is_chosen_below(opened, figure_of):
    page = opened(f"{FEW}?dataset=digits&shots=1")
    caption = page.locator("#section-cost figcaption")
    seen(page, "cost")
    filters = {**SPLIT, "shots": 1}
    assert caption.inner_text() == figure_of("cost", **filters, cost="tune_seconds").alt
    page.locator("#plot-cost-cost").select_option(label="trainable parameters")
    wanted = figure_of("cost", **filters, cost="trainable_parameters").alt
    page.wait_for_function(
        "(text) => document.querySelector('#section-cost figcaption').innerText === text",
        arg=wanted,
    )
    assert page.evaluate("document.activeElement.id") == "plot-cost-cost"
    page.locator("#choose-shots").select_option("4")
    seen(page, "cost")  # the cost that was chosen stays
    assert caption.inner_text() == figure_of("cost", **SPLIT, cost="trainable_parameters").alt


def test_vega_is_not_unpacked_before_a_plot_comes_into_sight(opened):
    page = opened(f"{FEW}?dataset=digits", screen="phone")
    assert page.locator("#section-cost").count() == 1
    assert page.locator("#section-cost svg.marks").count() == 0
    seen(page, "cost")
    assert page.evaluate("typeof window.vega") == "object"


def test_a_plot_follows_the_theme_and_the_width(opened):
    page = opened(FEW)
    section = seen(page, "curves")
    colour = "getComputedStyle(document.querySelector('#section-curves svg text')).fill"
    width = "document.querySelector('#section-curves svg.marks').getBoundingClientRect().width"
    before = page.evaluate(colour), page.evaluate(width)
    page.get_by_role("button", name="Switch to the dark theme").click()
    page.wait_for_function(f"(before) => {colour} !== before", arg=before[0])
    page.set_viewport_size({"width": 700, "height": 900})
    page.wait_for_function(f"(before) => {width} < before", arg=before[1] - 300)
    assert section.locator("svg.marks").count() == 1


def test_the_losses_of_a_trial_are_drawn_before_those_of_its_other_seeds(opened, drawn_board):
    (trial, *_) = asking.rows(
        drawn_board, "SELECT trial_id FROM trials WHERE method = 'coop' AND protocol = 'few_shot'"
    )
    page = opened(f"#/trial/{trial['trial_id']}")
    section = seen(page, "loss")
    said = section.locator("svg [aria-label^=epoch]").evaluate_all(
        "(marks) => marks.map((mark) => mark.getAttribute('aria-label'))"
    )
    assert said == ["epoch 1: loss 1", "epoch 2: loss 0.5", "epoch 3: loss 0.25"]
    assert "grey: 2 other seeds" in section.inner_text()


def test_every_plot_of_the_board_is_on_the_page_but_what_has_no_numbers(opened):
    page = opened()
    names = page.evaluate("site.extra('plots').plots.map((plot) => plot.name)")
    assert {*names, "loss"} == set(PLOTS)


def test_plots_are_drawn_in_a_sandboxed_frame_and_leave_it_as_text(new_page, board_page, tmp_path):
    """As MLflow shows artifacts: no storage, no origin, no downloads; Vega may make functions."""
    outer = tmp_path / "outer.html"
    outer.write_text(
        "<!doctype html><iframe sandbox='allow-scripts' style='width:1200px;height:900px'></iframe>"
    )
    page = new_page()
    errors = []
    page.on("pageerror", lambda error: errors.append(str(error)))
    page.on("console", lambda said: errors.append(said.text))
    page.goto(outer.as_uri())
    page.evaluate(
        "(text) => { document.querySelector('iframe').srcdoc = text }", board_page.read_text()
    )
    frame = page.frame_locator("iframe")
    frame.locator("html[data-ready]").wait_for(state="attached")
    for ending, start in (("SVG", "<svg"), ("CSV", "label,")):
        section = seen(frame, "curves")
        section.get_by_role("button", name=ending).click()
        text = frame.locator("dialog textarea")
        text.wait_for()
        assert text.input_value().startswith(start)
        frame.get_by_role("button", name="Close").click()
    assert errors == []
