"""Where notifications of regressions go."""

import pytest

from tasks.services.notifying import address

SECRET = "T1JJ3T3L2/A1BRTD4JD/TIiajkdnlazkcOXrIdevi7FQ"


@pytest.mark.parametrize(
    ("named", "url", "shown"),
    [
        (f"https://hooks.slack.com/services/{SECRET}", None, "Slack at hooks.slack.com"),
        ("mailto://anna:s3cret@example.org", None, "E-Mail"),
        ("https://bot:s3cret@ci.org/hook", "jsons://bot:s3cret@ci.org/hook", "JSON at ci.org"),
        ("http://ci.org:80/hook?key=s3cret", "json://ci.org:80/hook?-key=s3cret", "JSON at ci.org"),
    ],
)
def test_an_address_is_what_apprise_reads_and_shows_no_secret(named, url, shown, monkeypatch):
    monkeypatch.setenv("SHOTBOARD_NOTIFY", named)
    found = address()
    assert (found.url, found.shown) == (url or named, shown)


@pytest.mark.parametrize("named", ["s3cret", "nowhere://s3cret", "ftp://a:s3cret@b/c"])
def test_an_address_that_cannot_be_read_is_refused_without_being_told(named, monkeypatch):
    monkeypatch.setenv("SHOTBOARD_NOTIFY", named)
    with pytest.raises(ValueError, match="SHOTBOARD_NOTIFY is no address") as refused:
        address()
    assert "s3cret" not in str(refused.value)


def test_without_an_address_nobody_is_notified(monkeypatch):
    monkeypatch.setenv("SHOTBOARD_NOTIFY", "")
    assert address() is None
