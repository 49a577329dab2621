import json
import re
import socket
from pathlib import Path

import pytest

from tasks.plots.cost import COSTS
from tasks.plots.drawing import PLOTS, figure, figures, render
from tasks.plots.places import spread


def test_names_that_do_not_exist_come_with_those_that_do(board, figure_of):
    board.cell("coop", 0.5)
    with pytest.raises(LookupError, match=r"no plot is called 'curve'. Did you mean curves"):
        figure_of("curve")
    with pytest.raises(LookupError, match="has nothing for dataset 'dtt': there is dtd"):
        figure_of("curves", dataset="dtt")
    with pytest.raises(LookupError, match="the plot curves has no shots to choose: it has prot"):
        figure_of("curves", shots=4)
    with pytest.raises(LookupError, match="no format of pictures is called 'gif'"):
        render(PLOTS["curves"], figure_of("curves"), format="gif")
    with pytest.raises(LookupError, match=r"no theme is called 'sepia'. There is: dark, light"):
        render(PLOTS["curves"], figure_of("curves"), theme="sepia")


def test_filters_that_meet_nowhere_are_told(board, figure_of):
    board.cell("coop", 0.5, dataset="dtd", backbone="a")
    board.cell("coop", 0.5, dataset="pets", backbone="b")
    with pytest.raises(LookupError, match="nothing for the plot curves with dataset dtd, backbone"):
        figure_of("curves", dataset="dtd", backbone="b")


def test_without_filters_the_place_with_most_methods_is_drawn(board, figure_of):
    board.cell("coop", 0.5, dataset="dtd")
    board.cell("coop", 0.5, dataset="pets", shots=1)
    board.cell("maple", 0.5, dataset="pets", shots=1)
    assert figure_of("curves").ground["dataset"] == "pets"
    assert figure_of("cost").ground["shots"] == 1


@pytest.mark.parametrize(
    ("format", "start"), [("svg", b"<svg"), ("png", b"\x89PNG"), ("pdf", b"%PDF")]
)
def test_pictures_need_no_network(board, figure_of, monkeypatch, format, start):
    board.cell("coop", 0.5)
    monkeypatch.setattr(socket, "getaddrinfo", lambda *_: pytest.fail("asked the network"))
    content = render(PLOTS["curves"], figure_of("curves"), format=format, theme="dark")
    assert content.startswith(start)
    assert len(content) > 4000


def test_a_specification_is_whole_json_with_its_rows(board, figure_of):
    board.cell("coop", 0.5)
    drawn = figure_of("curves")
    spec = json.loads(render(PLOTS["curves"], drawn, format="json"))
    assert spec["datasets"]["rows"] == drawn.rows
    assert spec["description"] == drawn.alt
    assert '"$"' not in json.dumps(spec)


def test_every_place_of_the_board_has_a_figure(board, looks):
    for dataset in ("dtd", "pets"):
        for protocol in ("few_shot", "base_to_new"):
            scores = {"base": 0.5, "new": 0.6} if protocol == "base_to_new" else {"all": 0.5}
            board.cell("coop", scores, scores, dataset=dataset, protocol=protocol)
    grounds = [figure.ground for figure in figures(board.ask, PLOTS["curves"], looks)]
    assert [ground["dataset"] for ground in grounds] == ["AVERAGE", "dtd", "pets"]
    for each in figures(board.ask, PLOTS["cost"], looks):
        assert each == figure(board.ask, "cost", looks, each.ground)


def test_labels_keep_their_distance_and_move_no_more_than_they_must():
    assert spread([9, 5, 1], 1, 0, 10) == [9, 5, 1]
    assert spread([5, 5, 5], 1, 0, 10) == [6, 5, 4]
    assert spread([10, 10], 1, 0, 10) == [10, 9]
    assert spread([0, 0, 0], 2, 0, 10) == [4, 2, 0]
    assert spread([], 1, 0, 10) == []


def test_the_page_of_plots_names_each_and_what_chooses_it():
    page = (Path(__file__).parents[3] / "docs/plots.md").read_text()
    rows = dict(re.findall(r"^\| `([\w-]+)` \|.*\| ([\w, ]+) \|$", page, re.M))
    assert rows == {name: ", ".join(plot.ground) for name, plot in PLOTS.items()}
    assert all(f"`{cost}`" in page for cost in COSTS)
