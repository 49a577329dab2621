"""A whole run over three hosts: what it computes, and where it is told."""

import json
import signal
from types import SimpleNamespace

import pytest

pytestmark = [pytest.mark.slow, pytest.mark.served, pytest.mark.timeout(1500)]
# Of methods whose seeds are never tuned together: of others equal bits are not promised.
SUITE = """
name: tiny
datasets: [digits]
views: none
backbones: [mini-clip]
methods: [zero-shot, tip-adapter, tip-adapter-f: {epochs: 2}, clip-adapter: {epochs: 2}]
shots: [1, 2]
seeds: [1, 2, 3]
test_rows_per_class: 5
"""
TRIALS, CELLS = 19, 7


@pytest.fixture(scope="module")
def ended(cluster, bucket):
    """The suite on all hosts: what the run said."""
    cluster.head.put("tiny.yaml", SUITE)
    where = ("--ray-address", cluster.address, "--home", bucket.url)
    run = cluster.head.shotboard("run", "tiny.yaml", *where, "--json")
    return SimpleNamespace(said=run.stderr, answer=json.loads(run.stdout))


@pytest.fixture
def servers(cluster, ended):
    """Those over PostgreSQL, once they were told of the run."""
    if isinstance(cluster.servers, str):
        pytest.skip(cluster.servers)
    return cluster.servers


def test_it_runs_on_all_hosts(cluster, bucket, ended):
    assert f"workers: 3 on {cluster.address}" in ended.said
    assert ended.answer["summary"].startswith(f"{TRIALS} trials: {TRIALS} computed")
    # A worker's working copy has what it computed; that of the driver has all.
    count = "find .cache/shotboard/stores/*/trials -name predictions.parquet | wc -l"
    there = [int(host.run("sh", "-c", count).stdout) for host in cluster.others]
    assert 0 < sum(there) < TRIALS
    counted = "SELECT count(*) AS n, count(DISTINCT trial_id) AS ids FROM trials"
    (row,) = json.loads(
        cluster.others[0].shotboard("sql", counted, "--home", bucket.url, "--json").stdout
    )
    assert row == {"n": TRIALS, "ids": TRIALS}


def test_all_is_bit_for_bit_what_one_machine_computes(cluster, bucket, ended, found_in):
    alone = cluster.head
    alone.shotboard("run", "tiny.yaml", "--home", "alone", "--workers", 2)
    alone.shotboard("copy", bucket.url, "copied")
    here, there = found_in(alone, "alone"), found_in(alone, "copied")
    assert len(there["trials"]) == TRIALS
    assert all("predictions.parquet" in files for files in there["trials"].values())
    assert there["trials"] == here["trials"]
    assert there["board"] == here["board"] != []


def test_servers_over_postgresql_are_told_each_cell_once(servers):
    runs = servers.ask("prefect", "SELECT name, state_type FROM flow_run")
    assert ["tiny", "COMPLETED"] in runs
    assert {state for _, state in runs} == {"COMPLETED"}
    cells = """
        SELECT experiments.name, tags.value, runs.status FROM runs
        JOIN experiments USING (experiment_id)
        JOIN tags ON tags.run_uuid = runs.run_uuid AND tags.key = 'cell_id'
        WHERE runs.lifecycle_stage = 'active'
    """
    told = servers.ask("mlflow", cells)
    assert {(name, status) for name, _, status in told} == {("tiny", "FINISHED")}
    assert len({cell for _, cell, _ in told}) == CELLS


def test_doctor_asks_them_and_finds_what_is_there(cluster, bucket, servers):
    asked = ("doctor", "--audit", "--home", bucket.url, "--json")
    found = json.loads(cluster.others[0].shotboard(*asked).stdout)
    checks = {check["name"]: check for check in found}
    assert not [check for check in found if check["status"] == "fail"]
    assert checks["tracking"]["detail"] == servers.env["MLFLOW_TRACKING_URI"]
    assert checks["prefect server"]["detail"] == servers.env["PREFECT_API_URL"]
    assert checks["tracking numbers"]["detail"] == "all agree with the trial folders"


def test_clean_leaves_their_histories_alone_and_says_whose_they_are(cluster, bucket, servers):
    told = cluster.head.shotboard("clean", "--older-than", 0, "--home", bucket.url).stdout
    last = told.splitlines()[-1]
    assert f"Prefect at {servers.env['PREFECT_API_URL']}" in last
    assert f"MLflow at {servers.env['MLFLOW_TRACKING_URI']} stay" in last
    assert servers.ask("prefect", "SELECT count(*) FROM flow_run") != [["0"]]
    counting = ("sql", "SELECT count(*) AS n FROM trials", "--home", bucket.url, "--json")
    assert json.loads(cluster.head.shotboard(*counting).stdout) == [{"n": TRIALS}]


def test_up_shows_their_mlflow_and_says_that_its_prefect_is_another_one(cluster, bucket, servers):
    up = cluster.others[1].popen("shotboard", "up", "--home", bucket.url)
    said = []
    for line in up.stdout:
        said.append(line)
        if "Ctrl-C stops all" in line:
            break
    up.send_signal(signal.SIGINT)
    _, err = up.communicate(timeout=300)
    assert f"MLflow UI     {servers.env['MLFLOW_TRACKING_URI']}\n" in said, err
    assert f"PREFECT_API_URL is {servers.env['PREFECT_API_URL']}: what is started there" in err
    assert up.returncode == 0
