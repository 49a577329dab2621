"""The page of one trial: where it went wrong, with names and pictures."""

import shutil

import pytest

from tasks.ingestion.ingest import ingest_dataset
from tasks.pages import asking
from tasks.site import page as page_of
from tasks.storage.store import Store

MINE = "protocol = 'few_shot' AND method = 'coop' AND shots = 4 AND seed = 1 AND variant = ''"


@pytest.fixture(scope="module")
def store(drawn_board, tmp_path_factory):
    """The drawn board, with images behind the rows of one of its data sets."""
    home = shutil.copytree(drawn_board.home, tmp_path_factory.mktemp("with-images") / "store")
    ingested = ingest_dataset("digits", Store(home))
    shutil.copytree(ingested.folder, home / "data" / "digits" / "d0")
    return Store(home)


@pytest.fixture(scope="module")
def file(store, tmp_path_factory):
    path = tmp_path_factory.mktemp("page") / "board.html"
    path.write_bytes(page_of(store))
    return path


@pytest.fixture
def ask(store):
    return lambda sql: asking.rows(store, sql)


@pytest.fixture
def digits(ask):
    """A trial on the data set that has images."""
    return ask(f"SELECT * FROM trials WHERE {MINE} AND dataset = 'digits'")[0]


def test_the_surest_wrong_answers_have_their_images(opened, file, ask, digits):
    page = opened(f"#/trial/{digits['trial_id'][:6]}", file=file)
    assert digits["trial_id"] in page.locator("#main h1").inner_text()
    wrong = ask(
        f"SELECT row_id, confidence FROM predictions WHERE trial_id = '{digits['trial_id']}' "
        "AND label <> predicted ORDER BY confidence DESC, row_id LIMIT 6"
    )
    said = page.locator("ul.mistakes > li").all_inner_texts()
    assert len(said) == len(wrong)
    for text, row in zip(said, wrong, strict=True):
        assert f"row {row['row_id']}" in text
        assert f"{100 * row['confidence']:.1f} %" in text
    shown = page.locator("ul.mistakes img")
    assert shown.count() == len(wrong)
    for image in shown.all():
        image.scroll_into_view_if_needed()
        image.evaluate("(image) => image.decode()")
        assert image.evaluate("(image) => image.naturalWidth") == 8
        assert "digits" in image.get_attribute("alt")


def test_confusions_are_those_of_the_board(opened, file, ask, digits):
    page = opened(f"#/trial/{digits['trial_id']}", file=file)
    said = ask(
        f"SELECT n, share FROM confusions WHERE trial_id = '{digits['trial_id']}' "
        "AND label <> predicted ORDER BY n DESC, share DESC"
    )
    rows = page.locator("table[aria-label=Confusions] tbody tr").all_inner_texts()
    assert [row.split("\t")[3] for row in rows] == [str(row["n"]) for row in said]
    assert [row.split("\t")[4] for row in rows] == [f"{100 * row['share']:.1f}" for row in said]


def test_rows_whose_data_set_is_gone_are_told_without_images(opened, file, ask):
    (trial,) = ask(f"SELECT trial_id FROM trials WHERE {MINE} AND dataset <> 'digits'")
    page = opened(f"#/trial/{trial['trial_id']}", file=file)
    assert page.locator("ul.mistakes li").count() > 0
    assert page.locator("ul.mistakes img").count() == 0
    assert page.locator("ul.mistakes .absent").first.inner_text() == "not on this page"


def test_a_trial_leads_to_its_cell_its_method_and_back(opened, file, digits):
    page = opened(f"#/trial/{digits['trial_id']}", file=file)
    page.get_by_role("link", name="All metrics, over the seeds").click()
    page.wait_for_function("location.hash.startsWith('#/cell/')")
    page.get_by_role("link", name=digits["trial_id"]).click()
    page.wait_for_function("location.hash.startsWith('#/trial/')")
    page.get_by_role("link", name="coop, revision 1").click()
    page.wait_for_function("location.hash === '#/method/coop'")


def test_an_id_that_names_none_says_so(opened, file):
    page = opened("#/trial/zz", file=file)
    assert page.locator("#main h1").inner_text() == "No trial is called zz"
    assert page.get_by_role("link", name="All trials").count() == 1
