"""What a stage of work says of how it ended."""

import logging

import pytest

from tasks.progress import LogReporter, reporting_to, stage


@pytest.fixture
def said(caplog):
    """Every line of the reporter, with numbers left out."""
    caplog.set_level(logging.INFO, logger="shotboard")
    with reporting_to(LogReporter(logging.getLogger("shotboard"))):
        yield lambda: [line.rstrip("0123456789. s") for line in caplog.messages]


def test_a_stage_that_is_over_says_so(said):
    with stage("encode"):
        pass
    with stage("ingest") as this:
        this.summary = "no images"
    assert said() == ["encode: done in", "ingest: no image"]


@pytest.mark.parametrize(
    ("error", "outcome"),
    [(ValueError, "failed after"), (KeyboardInterrupt, "stopped after")],
)
def test_a_stage_that_raises_does_not_say_that_it_is_done(said, error, outcome):
    with pytest.raises(error), stage("ingest"):
        raise error
    assert said() == [f"ingest: {outcome}"]
