import pytest

from tasks.plots.plot import NothingToDraw


def test_cells_say_their_score_and_their_gap_to_the_best_of_the_column(board, figure_of, drawn):
    for dataset, coop, maple in (("dtd", 0.5, 0.6), ("pets", 0.9, 0.8)):
        board.cell("coop", coop, dataset=dataset)
        board.cell("maple", maple, dataset=dataset)
    figure = figure_of("heat-map")
    cells = {(row["label"], row["dataset"]): row for row in figure.rows}
    assert cells["coop", "dtd"]["gap"] == pytest.approx(10)
    assert cells["maple", "dtd"]["best"]
    assert not cells["coop", "dtd"]["best"]
    assert cells["coop", "mean"]["shown"] == pytest.approx(70)
    assert {"50.0", "60.0", "90.0", "80.0", "70.0"} <= set(drawn("heat-map", figure).texts())


def test_a_gap_is_a_hole_and_its_method_has_no_mean(board, figure_of, drawn):
    board.cell("coop", 0.5, dataset="dtd")
    board.cell("coop", 0.9, dataset="pets")
    board.cell("maple", 0.99, dataset="dtd")
    figure = figure_of("heat-map")
    assert figure.values["labels"] == ["coop", "maple"]
    holes = [row for row in figure.rows if row["shown"] is None]
    assert [(row["label"], row["dataset"]) for row in holes] == [
        ("maple", "pets"),
        ("maple", "mean"),
    ]
    assert figure.notes == ("1 cell without a number; no mean for maple.",)
    svg = drawn("heat-map", figure)
    assert svg.texts().count("-") == 2
    assert "maple, pets: no number" in svg.text


def test_where_less_is_better_the_gap_is_above_the_least(board, figure_of):
    board.cell("coop", 0.9, protocol="reading", metric="nll")
    board.cell("maple", 0.5, protocol="reading", metric="nll")
    figure = figure_of("heat-map", protocol="reading")
    assert [(row["label"], row["gap"]) for row in figure.rows] == [
        ("maple", 0),
        ("coop", pytest.approx(0.4)),
    ]
    assert "gap to the best (nats)" in figure.values["legend"]


def test_targets_of_a_source_are_columns(board, figure_of):
    board.insert(
        "protocols",
        **{"protocol": "cross_dataset", "track": "drawn", "title": "", "tests": "targets"},
        **{"primary_metric": "accuracy", "learns": True, "new_classes": True, "revision": 1},
    )
    board.cell("coop", {"all": 0.9, "pets": 0.7, "dtd": 0.4}, protocol="cross_dataset")
    figure = figure_of("heat-map", protocol="cross_dataset")
    assert figure.values["columns"] == ["dtd", "pets", "mean"]
    assert figure.ground["source"] == "dtd"


def test_no_number_at_all_is_refused(board, figure_of):
    board.cell("coop", None)
    with pytest.raises(NothingToDraw, match="no number on 4 shots, clip, few_shot yet"):
        figure_of("heat-map")


def test_numbers_keep_their_contrast_on_every_cell(board, figure_of, drawn):
    for at in range(12):
        board.cell(f"m{at:02}", 0.9 - 0.07 * at)
    figure = figure_of("heat-map")
    for theme in ("light", "dark"):
        svg = drawn("heat-map", figure, theme=theme)
        fills = {
            node.get("aria-label"): node.get("fill")
            for node in svg.root.iter()
            if node.get("aria-label", "").startswith("m")
        }
        texts = {
            node.text: node.get("fill")
            for node in svg.root.iter()
            if node.tag.endswith("text") and node.get("fill") in ("#000", "#fff")
        }
        assert len(fills) == len(texts) == 12
        for row in figure.rows:
            said = f"{row['label']}, {row['dataset']}: {row['shown']:.1f} %"
            fill = [int(part) for part in fills[said][4:-1].split(",")]
            text = texts[f"{row['shown']:.1f}"]
            assert contrast(fill, [0] * 3 if text == "#000" else [255] * 3) >= 4.5


def contrast(one, other):
    def luminance(colour):
        parts = [part / 255 for part in colour]
        linear = [p / 12.92 if p <= 0.04045 else ((p + 0.055) / 1.055) ** 2.4 for p in parts]
        return sum(w * p for w, p in zip((0.2126, 0.7152, 0.0722), linear, strict=True))

    light, dark = sorted((luminance(one), luminance(other)), reverse=True)
    return (light + 0.05) / (dark + 0.05)
