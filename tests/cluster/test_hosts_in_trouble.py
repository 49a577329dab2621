"""A run over hosts of which one has no more room, and one no way to the bucket any more."""

import json
import logging
import threading
import urllib.request
from types import SimpleNamespace

import pytest

pytestmark = [pytest.mark.slow, pytest.mark.served, pytest.mark.timeout(1800)]
# A method of a user's own that waits until the bucket says that all has happened, and does not
# where it cannot be asked: so that the trouble comes in the middle of trials, on any machine.
PATIENT = """
import os
import time
import urllib.error
import urllib.request
from pathlib import Path

from operators.methods.image_classification.feature_heads.tip_adapter import TipAdapter

GO = "{go}"


class Patient(TipAdapter):
    def fit(self, *shots, **how):
        Path.home().joinpath("fits").touch()
        ends = time.monotonic() + 900
        while time.monotonic() < ends and waits():
            time.sleep(0.2)
        return super().fit(*shots, **how)


def waits():
    try:
        with urllib.request.urlopen(os.environ["AWS_ENDPOINT_URL"] + GO, timeout=2):
            return False
    except urllib.error.HTTPError as error:
        return error.code == 404  # 403 is what somebody without a key gets for what is there
    except OSError:
        return False
"""
ASKED = (
    *("quickstart", "--datasets", "digits", "--backbones", "mini-clip"),
    *("--methods", "./patient.py:Patient", "--test-rows-per-class", "20"),
)
CACHE = ".cache"  # where working copies are
DISK_BYTES = 64 * 2**20  # of the host that is filled


@pytest.fixture(scope="module")
def ran(rig, bucket, hosts_module, found_in):
    """How a run went in whose middle one host loses the bucket, and the disk of another is full."""
    logging.getLogger("werkzeug").setLevel(logging.ERROR)
    head, small, apart = rig.host("head"), rig.host("small"), rig.host("apart")
    small.path(CACHE).mkdir()
    small.run("mount", "-t", "tmpfs", "-o", f"size={DISK_BYTES}", "tmpfs", CACHE)
    address = head.start_ray()
    for host in (small, apart):
        host.start_ray(head)
    go = f"/{bucket.url.removeprefix('s3://')}/probes/go"
    head.put("patient.py", PATIENT.format(go=go))
    run = head.popen(
        *("shotboard", "run", *ASKED, "--ray-address", address, "--home", bucket.url, "--json")
    )
    said: list[str] = []
    reading = threading.Thread(target=lambda: said.extend(run.stderr))
    reading.start()

    def until(true):
        """Waits for something, or for the end of the run, which has the reason."""
        hosts_module.wait_for(lambda: run.poll() is not None or true(), 900)

    until(lambda: all(host.path("fits").exists() for host in (head, small, apart)))
    apart.run("ip", "route", "add", "unreachable", rig.address)
    until(lambda: any(f"host {apart.address} is left out" in line for line in said))
    filled = small.run("sh", "-c", f"cat /dev/zero > {CACHE}/full", check=False)
    assert "No space left" in filled.stderr
    asked = urllib.request.Request(bucket.env["AWS_ENDPOINT_URL"] + go, b"go", method="PUT")
    urllib.request.urlopen(asked, timeout=60).close()
    out = run.stdout.read()
    reading.join()
    assert run.wait(900) == 0, "".join(said)
    head.shotboard("copy", bucket.url, "copied")
    hosts = {"head": head, "small": small, "apart": apart}
    store = found_in(head, "copied")
    return SimpleNamespace(**hosts, said="".join(said), answer=json.loads(out), store=store)


def test_every_trial_is_computed_and_none_is_blamed(ran, bucket):
    planned = len(ran.store["trials"])
    assert ran.answer["summary"].startswith(f"{planned} trials: {planned} computed.")
    assert bucket.count("files/failures/") == 0


def test_who_is_left_out_is_told_with_the_reason(ran, bucket):
    left_out = [line for line in ran.said.splitlines() if "is left out: " in line]
    assert len(left_out) == 2
    apart, small = left_out
    assert f"host {ran.apart.address} is left out: it cannot go on: RemoteError: the" in apart
    assert bucket.url in apart
    assert f"host {ran.small.address} is left out: it cannot go on: OSError: [Errno 28] No" in small
    assert "Traceback" not in ran.said


def test_the_figures_are_bit_for_bit_those_of_one_machine(ran, found_in):
    ran.head.shotboard("run", *ASKED, "--home", "alone", "--workers", 2)
    alone = found_in(ran.head, "alone")
    assert ran.store["trials"] == alone["trials"] != {}
    assert ran.store["board"] == alone["board"] != []
