"""The forms of the flows in the UI of Prefect: every field is described and refuses nonsense."""

import pytest

from flows.benchmark import benchmark
from flows.ingestion import ingest
from flows.leaderboard import rebuild_leaderboard
from flows.pretraining import pretrain
from operators.episodes.protocols import PROTOCOLS
from operators.methods import METHODS


def fields(flow):
    return flow.parameters.model_dump()["properties"]


@pytest.mark.parametrize("flow", [benchmark, ingest, rebuild_leaderboard, pretrain])
def test_every_parameter_of_a_flow_is_described_in_one_line(flow):
    described = {name: field.get("description") or "" for name, field in fields(flow).items()}
    assert described
    assert [name for name, text in described.items() if not text or "\n" in text] == []


def test_the_form_of_a_benchmark_offers_what_there_is_and_refuses_the_rest():
    form = fields(benchmark)
    assert form["methods"]["anyOf"][0]["items"]["enum"] == list(METHODS)
    assert form["protocols"]["anyOf"][0]["items"]["enum"] == list(PROTOCOLS)
    least = {name: form[name]["anyOf"][0]["items"]["minimum"] for name in ("shots", "seeds")}
    assert least == {"shots": 1, "seeds": 0}
    assert form["workers"]["anyOf"][0]["minimum"] == 1
    assert form["gpus_per_worker"]["minimum"] == 0
    assert "bank" in form["views"]["anyOf"][0]["pattern"]


def test_the_forms_of_ingestion_and_pretraining_refuse_what_cannot_be():
    assert fields(ingest)["datasets"]["minItems"] == 1
    form = fields(pretrain)
    assert form["device"]["enum"] == ["auto", "cpu", "cuda"]
    least = {name: form[name]["anyOf"][0]["minimum"] for name in ("seed", "steps", "threads")}
    assert least == {"seed": 0, "steps": 1, "threads": 1}
    assert form["workers"]["anyOf"][0]["minimum"] == 0


def test_a_pretraining_reads_the_url_that_prefect_does_not_see(monkeypatch, tmp_path):
    from data_catalog.secrets import hidden
    from flows import pretraining

    url = "https://reader:an0ther-word@example.org/pairs.parquet"
    asked = []

    def check(store, recipe, *, data, **_):
        asked.append(data)
        raise LookupError("far enough")

    monkeypatch.setattr(pretraining, "check", check)
    with pytest.raises(LookupError, match="far enough"):
        pretraining.pretrain.fn(data=hidden(url), home=str(tmp_path))
    assert asked == [url]
