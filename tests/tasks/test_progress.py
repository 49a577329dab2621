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


def test_a_log_holds_no_secret(caplog):
    caplog.set_level(logging.INFO, logger="shotboard")
    reporter = LogReporter(logging.getLogger("shotboard"), every_seconds=0)
    url = "https://anna:s3cr3t@host/a.zip?sig=s3cr3t"
    reporter.begin("ingest", 2)
    reporter.note("ingest", f"reading {url}")
    reporter.advance("ingest", 1, 2)
    reporter.say(url)
    reporter.end("ingest", url)
    assert "s3cr3t" not in caplog.text
    assert "https://anna:***@host/a.zip?sig=***" in caplog.text


@pytest.mark.parametrize(
    ("error", "outcome"),
    [(ValueError, "failed after"), (KeyboardInterrupt, "stopped after")],
)
def test_a_stage_that_raises_does_not_say_that_it_is_done(said, error, outcome):
    with pytest.raises(error), stage("ingest"):
        raise error
    assert said() == [f"ingest: {outcome}"]
