"""Links between the pages of a store."""

import pytest

from tasks.pages.links import Pages, served_pages

SERVED = Pages("http://127.0.0.1:4280", "http://127.0.0.1:5000", "http://127.0.0.1:4200")


def test_each_page_has_an_address_for_what_is_on_it():
    assert SERVED.on_board() == "http://127.0.0.1:4280/"
    assert SERVED.on_board("trial", "0f" * 8) == "http://127.0.0.1:4280/#/trial/" + "0f" * 8
    assert SERVED.on_board("method", "./mine.py:A b") == (
        "http://127.0.0.1:4280/#/method/.%2Fmine.py%3AA%20b"
    )
    assert SERVED.flow_run("b2") == "http://127.0.0.1:4200/runs/flow-run/b2"


def test_a_page_that_nobody_serves_has_no_link():
    pages = served_pages({})
    assert pages == Pages()
    assert [pages.on_board(), pages.flow_run("b2")] == [None] * 2


def test_another_process_reads_what_it_was_told():
    assert served_pages(SERVED.environment()) == SERVED
    assert served_pages({"SHOTBOARD_BOARD_URL": "http://board/"}).on_board() == "http://board/"


@pytest.mark.parametrize(
    ("uri", "root"),
    [
        ("https://anna:s3cret@mlflow.org/lab/?token=x", "https://mlflow.org/lab"),
        ("http://mlflow:5000", "http://mlflow:5000"),
        ("databricks", None),
        ("sqlite:////store/mlflow.db", None),
    ],
)
def test_a_tracking_server_has_pages_of_its_own(uri, root):
    assert served_pages({"MLFLOW_TRACKING_URI": uri}).mlflow == root
