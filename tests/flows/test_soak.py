"""The soak in short: two parts of a run are killed, and at the end all is as it should be."""

import random
import runpy
import time
from pathlib import Path

import pytest

SOAK = Path(__file__).parents[2] / "benchmarks" / "soak.py"
SEED = 1
pytestmark = [pytest.mark.slow, pytest.mark.served, pytest.mark.timeout(3000)]


@pytest.fixture(scope="module")
def soak():
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(SOAK.parent)
        return runpy.run_path(str(SOAK))


def test_parts_of_a_run_are_killed_and_nothing_is_lost(soak, tmp_path):
    size, tally = soak["Size"](2, 3, faults=True), soak["Tally"]()
    places = [soak["Place"](soak["made"](tmp_path / name), size) for name in ("peace", "war")]
    seconds = soak["undisturbed"](places[0], soak["Tally"]())  # too short to grow
    targets, until = ("driver", "gcs_server"), time.monotonic() + 3000
    soak["disturbed"](places[1], random.Random(SEED), tally, seconds, 2, until, targets)
    assert tally.lost + soak["lost"](places[1], places[0]) + soak["orphans"](places) == []
    assert sum(tally.injected.values()) >= 1
    assert len(places[1].store.done()) >= 10
