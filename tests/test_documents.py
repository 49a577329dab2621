"""Boards in README and docs are those of the records, and the records those of today's settings."""

import json
import re
import runpy
from pathlib import Path

import pytest

PROJECT = Path(__file__).parents[1]
BENCHMARK = PROJECT / "benchmarks" / "documents.py"
TRIAL = re.compile(r"(?:shotboard (?:predict|show)|trial) ([0-9a-f]{4,16})\b")

LINK = re.compile(r"""(?:\]\(|(?:src|srcset)=")([^)"\s]+)""")

DESCRIBED = re.compile(
    r"^trial (?P<trial_id>[0-9a-f]{16}): (?P<method>\S+) on (?P<backbone>\S+) and (?P<dataset>\S+) "
    r"\((?P<protocol>\w+), (?P<shots>\d+) shots?, seed (?P<seed>\d+)\)",
    re.M,
)


@pytest.fixture(scope="module")
def documents():
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(BENCHMARK.parent)  # as for any script: they share modules
        yield runpy.run_path(str(BENCHMARK))


@pytest.fixture(scope="module")
def specs(documents):
    """The first seed of each cell, by the record that it is in."""
    from operators.spec import TrialSpec

    return {
        name: [TrialSpec.from_json(cell) for cell in documents["read"](name)["cells"].values()]
        for name in documents["RECIPES"]
    }


@pytest.fixture
def named_quickstart(documents, tmp_path, monkeypatch):
    """A record of one's own in the place of the shipped one."""

    def write(rows):
        (tmp_path / "quickstart.json").write_text(json.dumps({"rows": rows}))
        monkeypatch.setitem(documents["read"].__globals__, "FIGURES", tmp_path)
        return documents

    return write


def a_row(**changes):
    row = {"dataset": "digits", "protocol": "few_shot", "backbone": "mini-clip", "method": "coop"}
    row |= {"variant": "", "shots": 1, "split": "all", "mean": 0.5, "std": 0.01, "n": 3}
    row |= {"metric": "accuracy", "unit": "share", "better": "higher"}
    return row | changes


def test_every_block_is_as_its_record_says(documents):
    for path in documents["DOCUMENTS"]:
        text = (PROJECT / path).read_text(encoding="utf-8")
        assert "<!-- figures: " in text, path
        assert text.count("<!-- figures: ") == text.count("<!-- end of figures -->"), path
        assert documents["written"](text) == text, (
            f"{path}: run `python benchmarks/documents.py write`"
        )


def test_a_block_follows_its_record(named_quickstart):
    documents = named_quickstart([a_row(), a_row(method="zero-shot", shots=0, std=None, n=1)])
    text = "<!-- figures: quickstart board digits/few_shot -->\nold\n<!-- end of figures -->"
    lines = documents["written"](text).splitlines()
    assert lines[2] == "digits · few_shot · mini-clip"
    assert any(re.fullmatch(r" coop +50\.0 ± 1\.0", line) for line in lines)
    heads = "digits/few_shot/all@0,1=All digits/base_to_new/new@1=New"
    table = f"<!-- figures: quickstart table {heads} -->\n<!-- end of figures -->"
    assert documents["written"](table).splitlines()[1:-1] == [
        "| Method | All | New |",
        "|---|---:|---:|",
        "| zero-shot | 50.0 |  |",
        "| coop | 50.0 ± 1.0 |  |",
    ]


def test_a_block_of_what_is_not_recorded_is_refused(named_quickstart):
    text = "<!-- figures: quickstart board pets/few_shot -->\n<!-- end of figures -->"
    with pytest.raises(ValueError, match="quickstart has nothing of pets/few_shot"):
        named_quickstart([a_row()])["written"](text)


def test_a_store_is_held_against_its_record(named_quickstart, monkeypatch):
    documents = named_quickstart([a_row(), a_row(shots=4), a_row(shots=16)])
    store = {"rows": [a_row(mean=0.504), a_row(shots=4, mean=0.52)]}
    monkeypatch.setitem(documents["differences"].__globals__, "board_of", lambda home: store)
    found = [str(difference) for difference in documents["differences"]("quickstart", Path())]
    assert found == [
        "digits few_shot mini-clip coop  4 all: recorded 50.00, found 52.00",
        "digits few_shot mini-clip coop  16 all: recorded 50.00, found absent",
    ]


@pytest.mark.parametrize("name", ["quickstart", "zoo", "caltech"])
def test_recorded_trials_are_those_that_would_run_today(specs, documents, name):
    from operators.backbones import reference
    from operators.board.variants import variants_of
    from operators.episodes.protocols import PROTOCOLS
    from operators.images import TRANSFORM_VERSION
    from operators.methods import METHODS
    from tasks.planning.planned import chosen_of

    cards = {spec.backbone: reference(spec.backbone).describe() for spec in specs[name]}
    for spec in specs[name]:
        assert spec.method_revision == METHODS[spec.method].revision, spec
        assert spec.protocol_revision == PROTOCOLS[spec.protocol].revision, spec
        assert spec.transform_version == TRANSFORM_VERSION, spec
        assert spec.backbone_fingerprint == cards[spec.backbone].fingerprint, spec
    key = ("dataset", "protocol", "method", "shots")
    told = {(*(row[k] for k in key), row["variant"]) for row in documents["read"](name)["rows"]}
    cells = {s.cell_id: ((s.method, s.protocol), chosen_of(s)) for s in specs[name]}
    names = variants_of(cells)
    assert told == {(*(getattr(s, k) for k in key), names[s.cell_id][0]) for s in specs[name]}


@pytest.mark.parametrize(("name", "suite"), [("quickstart", "quickstart"), ("zoo", "zoo")])
def test_recorded_settings_are_those_of_the_suite(specs, name, suite):
    from flows.suites import load_suite
    from tasks.planning import resolve
    from tasks.planning.settings import hyperparameters

    asked = load_suite(suite)
    starts = {aid.cell_id for spec in specs[name] for aid in [spec.aids.get("source")] if aid}
    own = [spec for spec in specs[name] if spec.cell_id not in starts]
    assert {spec.dataset for spec in own} == set(asked.datasets)
    assert {spec.method for spec in own} == {choice.id for choice in asked.methods}
    for spec in own:
        place = {"protocol": spec.protocol, "shots": spec.shots, "dataset": spec.dataset}
        mine = [choice for choice in asked.methods if choice.id == spec.method]
        expected = [hyperparameters(c, resolve.method(c.id), **place) for c in mine]
        assert spec.hyperparameters in expected, spec
        assert spec.test_rows_per_class == asked.test_rows_per_class


def test_trials_that_the_readme_names_are_in_the_quickstart(documents):
    trials = documents["read"]("quickstart")["trials"]
    text = (PROJECT / "README.md").read_text(encoding="utf-8")
    named = set(TRIAL.findall(text))
    assert named
    for start in named:
        assert [t for t in trials if t.startswith(start)], f"README names a trial {start}"


def test_the_trial_that_the_readme_predicts_with_is_the_one_that_it_describes(specs):
    told = DESCRIBED.search((PROJECT / "README.md").read_text(encoding="utf-8"))
    assert told is not None
    (spec,) = [spec for spec in specs["quickstart"] if spec.trial_id == told["trial_id"]]
    asdict = {name: str(getattr(spec, name)) for name in told.groupdict()}
    assert asdict == told.groupdict()


def test_documents_show_the_commands_that_made_their_records(documents):
    text = (PROJECT / "docs/data.md").read_text(encoding="utf-8")
    text = " ".join(text.replace("\\\n", " ").split())
    for command in documents["RECIPES"]["caltech"].commands:
        assert command.replace("DATA/", "") in text


def test_every_page_and_picture_that_a_document_leads_to_is_there():
    documents = [PROJECT / "README.md", PROJECT / "CONTRIBUTING.md", *PROJECT.glob("docs/*.md")]
    found = 0
    for document in documents:
        text = document.read_text(encoding="utf-8")
        for place in LINK.findall(text):
            path = place.partition("#")[0]
            if path and "://" not in path:
                assert (document.parent / path).exists(), f"{document.name} leads to {place}"
                found += 1
    assert found > 20
