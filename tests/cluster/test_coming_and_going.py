"""The nightly suite on hosts that are cut off, come back and join in the middle of it."""

import json
import logging
import threading
import urllib.request
from types import SimpleNamespace

import pytest

pytestmark = [pytest.mark.slow, pytest.mark.served, pytest.mark.timeout(1800)]
# A method of a user's own that takes its time until the bucket says that all has happened: so that
# the night is not over before, on any machine.
PATIENT = """
import os
import time
import urllib.request

from operators.methods.image_classification.feature_heads.tip_adapter import TipAdapter

GO = "{go}"


class Patient(TipAdapter):
    def fit(self, *shots, **how):
        ends = time.monotonic() + 8
        while time.monotonic() < ends and not there():
            time.sleep(0.2)
        return super().fit(*shots, **how)


def there():
    try:
        with urllib.request.urlopen(os.environ["AWS_ENDPOINT_URL"] + GO, timeout=2) as answer:
            return answer.status == 200
    except OSError:
        return False
"""
# Seeds of these methods are never tuned together: of others equal bits are not promised.
NIGHTLY = (
    *("nightly", "--datasets", "digits", "--backbones", "mini-clip"),
    *("--methods", "zero-shot,linear-probe,tip-adapter,./patient.py:Patient"),
    *("--test-rows-per-class", "20"),
)
# So that a host that does not answer is given up in some ten seconds, not in most of a minute.
IMPATIENT = {"RAY_health_check_period_ms": "1000", "RAY_health_check_timeout_ms": "3000"}
COMPUTED = "find .cache/shotboard/stores/*/trials -name predictions.parquet 2> /dev/null | wc -l"


@pytest.fixture(scope="module")
def two(rig, bucket):
    """A head, and a host without our code."""
    logging.getLogger("werkzeug").setLevel(logging.ERROR)
    head, other = rig.host("head"), rig.host("other", code=False)
    address = head.start_ray(env=IMPATIENT)
    other.start_ray(head)
    return SimpleNamespace(head=head, other=other, address=address)


@pytest.fixture(scope="module")
def night(rig, bucket, two, hosts_module, found_in):
    """A night in which a host is cut off, one joins, and the first comes back; how it went."""
    where = ("--ray-address", two.address, "--home", bucket.url)
    go = f"/{bucket.url.removeprefix('s3://')}/probes/go"
    two.head.put("patient.py", PATIENT.format(go=go))
    run = two.head.popen("shotboard", "run", *NIGHTLY, *where, "--json")
    said: list[str] = []
    reading = threading.Thread(target=lambda: said.extend(run.stderr))
    reading.start()

    def until(true):
        """Waits for something, or for the end of the run, which has the reason."""
        hosts_module.wait_for(lambda: run.poll() is not None or true(), 900)

    def told(text):
        return lambda: any(text in line for line in said)

    until(lambda: bucket.count("trials/") >= 6)
    two.other.cut()
    third = rig.host("third", code=False)
    third.start_ray(two.head)
    until(told(f"host {two.other.address} is gone"))
    until(lambda: int(third.run("sh", "-c", COMPUTED).stdout))
    two.other.rejoin()
    two.other.stop_ray(force=True)  # as whoever looks after it would; Ray has given it up
    two.other.start_ray(two.head)
    until(told(f"host {two.other.address} joins"))
    asked = urllib.request.Request(bucket.env["AWS_ENDPOINT_URL"] + go, b"go", method="PUT")
    urllib.request.urlopen(asked, timeout=60).close()
    out = run.stdout.read()
    reading.join()
    assert run.wait(900) == 0, "".join(said)
    two.head.shotboard("copy", bucket.url, "copied")
    store = found_in(two.head, "copied")
    return SimpleNamespace(said="".join(said), answer=json.loads(out), store=store, third=third)


def test_every_trial_of_the_night_is_computed_once_and_none_is_blamed(night, bucket):
    planned = len(night.store["trials"])
    assert night.answer["summary"].startswith(f"{planned} trials: {planned} computed.")
    assert bucket.count("files/failures/") == 0


def test_who_goes_and_who_comes_is_told(night, two):
    said = night.said
    assert f"host {two.other.address} is gone, with 1 worker." in said
    assert f"host {night.third.address} joins, with 1 worker." in said
    assert f"host {two.other.address} joins, with 1 worker." in said
    assert "Traceback" not in said


def test_the_host_that_joins_computes_without_having_had_our_code(night):
    assert int(night.third.run("sh", "-c", COMPUTED).stdout) > 0
    assert night.third.run("python", "-c", "import tasks", check=False).returncode == 1


def test_the_figures_are_bit_for_bit_those_of_one_machine(night, two, found_in):
    two.head.shotboard("run", *NIGHTLY, "--home", "alone", "--workers", 2)
    alone = found_in(two.head, "alone")
    assert night.store["trials"] == alone["trials"] != {}
    assert night.store["board"] == alone["board"] != []


def test_a_store_that_only_the_driver_sees_leaves_the_others_out(two):
    asked = (*NIGHTLY[:5], "--methods", "zero-shot", "--ray-address", two.address, "--json")
    ran = two.head.shotboard("run", *asked, "--home", "folder")
    assert f"host {two.other.address} is left out: it does not see the store" in ran.stderr
    assert "--home" in ran.stderr
    counting = ("sql", "SELECT count(*) AS n FROM trials", "--home", "folder", "--json")
    assert json.loads(two.head.shotboard(*counting).stdout)[0]["n"] > 0


def test_from_outside_a_cluster_is_joined_as_a_client_or_not_at_all(rig, two, bucket):
    outside = rig.host("outside")
    asked = (*NIGHTLY[:5], "--methods", "zero-shot", "--home", bucket.url.replace("store", "own"))
    no = outside.shotboard("run", *asked, "--ray-address", two.address, check=False)
    assert no.returncode == 2
    assert f"--ray-address ray://{two.head.address}:10001" in no.stderr
    client = f"ray://{two.head.address}:10001"
    ran = outside.shotboard("run", *asked, "--ray-address", client, "--json")
    assert json.loads(ran.stdout)["summary"].startswith("3 trials: 3 computed.")
