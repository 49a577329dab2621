"""Where published numbers disagree: with other sources, and with what stands beside them."""

import csv
from importlib.resources import files

import pytest

SHARES = {"accuracy", "harmonic_mean"}


def shipped(name):
    return list(csv.DictReader((files("operators.board") / f"{name}.csv").open(newline="")))


@pytest.fixture
def conflicts(rows):
    return rows("reference_conflicts")


def test_all_published_numbers_are_there_once(connection):
    ((count, distinct),) = connection.execute(
        "SELECT count(*), count(DISTINCT (method, backbone, protocol, dataset, shots, split, "
        "metric, source)) FROM reference_results"
    ).fetchall()
    assert count == distinct == 3429


@pytest.mark.parametrize(
    ("kind", "words", "place"),
    [
        # What is known of the sources, each looked at again: a slip of the pen shows where what
        # stands beside it is computed anew.
        ("harmonic mean", "CoOp (Koorye/SkipTuning", ("coop", "Caltech101")),
        ("harmonic mean", "CoCoOp (Koorye/SkipTuning", ("cocoop", "SUN397")),
        ("harmonic mean", "PromptSRC (Koorye/SkipTuning", ("promptsrc", "DTD")),
        ("harmonic mean", "ProDA (as printed there)", ("proda", "AVERAGE11")),
        ("harmonic mean", "PromptKD (zhengli97/PromptKD", ("promptkd", "UCF101")),
        ("harmonic mean", "RPO (", ("RPO", "AVERAGE11")),  # by another convention
        ("harmonic mean", "HPT (", ("HPT", "AVERAGE11")),
        ("average", "CoCoOp+ATPrompt (", ("CoCoOp+ATPrompt", "AVERAGE10")),
        ("average", "MaPLe+ATPrompt (", ("MaPLe+ATPrompt", "AVERAGE10")),
        ("average", "CoOp (DePT rerun)", ("coop", "AVERAGE11")),
        ("average", "CoCoOp (DePT rerun)", ("cocoop", "AVERAGE11")),
        ("average", "PromptAlign (Sketch cell", ("PromptAlign", "AVERAGE4")),
    ],
)
def test_known_slips_are_named(conflicts, kind, words, place):
    found = [
        row
        for row in conflicts
        if row["kind"] == kind and (row["method"], row["dataset"]) == place and words in row["said"]
    ]
    assert found
    assert all(row["note"] and row["spread"] > 0.0006 for row in found)


def test_the_sources_of_a_cell_are_set_against_each_other(connection, conflicts):
    """Computed again from the shipped file, cell by cell."""
    ours = {r["published"]: r["ours"] for r in shipped("reference_names") if r["kind"] == "method"}
    cells, names = {}, ("backbone", "protocol", "dataset", "shots", "split", "metric")
    for row in shipped("reference_results"):
        if row["metric"] in SHARES and ours[row["method"]]:
            key = (ours[row["method"]], *(row[name] for name in names))
            cells.setdefault(key, {}).setdefault(row["source"], []).append(float(row["value"]))
    wanted = {}
    for key, sources in cells.items():
        values = [value for found in sources.values() for value in found]
        if len(sources) > 1 and max(values) - min(values) > 0.0006:
            wanted[key] = (min(values), max(values), len(sources))
    found = {
        (r["method"], *(str(r[name]) for name in names)): (r["least"], r["greatest"], r["sources"])
        for r in conflicts
        if r["kind"] == "between sources" and r["method"] in set(ours.values())
    }
    assert found == wanted
    assert len(found) > 300


def test_two_sources_say_in_how_many_cells_they_differ(rows):
    found = rows("reference_sources", "method = 'coop' AND label_a = 'CoOp (DePT rerun)'")
    (row,) = [
        r
        for r in found
        if r["label_b"] == "CoOp" and r["source_b"].endswith("PromptKD images/exp_results.png")
    ]
    values = {}
    for line in shipped("reference_results"):
        key = tuple(line[n] for n in ("backbone", "protocol", "dataset", "shots", "split"))
        if line["metric"] in SHARES:
            values.setdefault((line["method"], line["source"]), {})[key] = float(line["value"])
    a, b = values[row["label_a"], row["source_a"]], values[row["label_b"], row["source_b"]]
    gaps = [a[key] - b[key] for key in a.keys() & b.keys()]
    assert row["cells"] == len(gaps)
    assert row["differ"] == sum(abs(gap) > 0.0006 for gap in gaps)
    assert row["mean_difference"] == pytest.approx(sum(gaps) / len(gaps))
    assert row["largest"] == pytest.approx(max(map(abs, gaps)))
