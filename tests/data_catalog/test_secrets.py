"""Secrets in texts: none is shown, and nothing else is taken out."""

import json
import stat

import pytest

from data_catalog import (
    Archive,
    DatasetCard,
    ImageFolder,
    ParquetImages,
    SourceError,
    ingest,
    register,
    source_for,
)
from data_catalog.pairs import ParquetPairs
from data_catalog.secrets import redact, redacted

AWS = (
    "https://b.s3.amazonaws.com/a.zip?X-Amz-Algorithm=AWS4-HMAC-SHA256&X-Amz-Credential=AKIAS3CR3T%2F"
    "20250101&X-Amz-Date=20250101T000000Z&X-Amz-Expires=60&X-Amz-SignedHeaders=host"
    "&X-Amz-Security-Token=FwoGS3CR3T&X-Amz-Signature=s3cr3t0123"
)
AZURE = (
    "https://a.blob.core.windows.net/c/a.csv?sv=2022-11-02&sr=b&sp=r&se=2030&sig=s3cr3t%2Babc%3D"
)
GCS = (
    "https://storage.googleapis.com/b/a.zip?X-Goog-Signature=s3cr3t&X-Goog-Credential=s3cr3t%40iam"
)
SECRETS = [
    AWS,
    AZURE,
    GCS,
    "https://anna:s3cr3t@host/a.zip",
    "https://anna:p@s3cr3t@host/a.zip",
    "https://anna:with/s3cr3t@host/a.zip",
    "https://s3cr3t@host/a.zip",
    "https://s3cr3t:x-oauth-basic@host/a.zip".replace("s3cr3t", "s3cr3t" * 4),
    "https://s3cr3t:@host/a.zip",
    "https://host/a.zip?token=s3cr3t",
    "https://host/a.zip?dl=1&access_token=s3cr3t",
    "https://host/a.zip?api_key=s3cr3t#top",
    "https://host/a.zip?key=s3cr3t",
    "https://host/a.zip#access_token=s3cr3t",
    "https://host/a.zip?s3cr3t-of-no-name",
    "https://host/a.zip?Policy=s3cr3t&Key-Pair-Id=s3cr3t",
    "https://host/a.zip?what=s3cr3t-and-more",
    "zip://a.csv::https://anna:s3cr3t@host/a.zip?sig=s3cr3t",
    "ray://anna:s3cr3t@host:10001",
    "postgresql+psycopg://anna:s3cr3t@host:5432/db?sslmode=require",
    "postgresql:///db?password=s3cr3t&x=1",
    "Max retries exceeded with url: /a.zip?sig=s3cr3t (Caused by ..)",
    "401, message='Unauthorized', url=URL('https://host/a.zip?token=s3cr3t')",
    "Authorization: Bearer s3cr3t-s3cr3t",
    "the token hf_s3cr3tABCDEFGHIJKLMN is wrong",
    "ghp_s3cr3tABCDEFGHIJKLMN and github_pat_s3cr3t_ABCDEFGHIJK and AKIAs3cr3tABCDEFGHIJ",
]
HARMLESS = [
    "https://host:8080/owner/name@main/a.zip",
    "hf://datasets/owner/name@0123456789abcdef0123456789abcdef01234567/data/train-*.parquet",
    "s3://bucket/data/train-0000?-of-00002.parquet",
    "https://host/a.zip?raw=true&dl=1",
    "a folder hf_hidden_test_of_many_words, key=value and a@b.c",
    "C:\\data\\a.png & b?",
    "registered sk-learn-and-other-things",
    "dsn user:password@ without a scheme is a text",
]


@pytest.mark.parametrize("text", SECRETS)
def test_no_secret_stays(text):
    shown = redact(f"{text} could not be reached")
    assert "s3cr3t" not in shown.lower()
    assert "***" in shown
    assert redact(shown) == shown
    assert json.loads(redact(json.dumps({"a": [text, 1]})))["a"][1] == 1


@pytest.mark.parametrize("text", HARMLESS)
def test_what_is_no_secret_stays(text):
    assert redact(text) == text


def test_what_is_left_says_what_it_was():
    assert (
        redact("https://anna:s3cr3t@host/a.zip?dl=1&sig=x")
        == "https://anna:***@host/a.zip?dl=1&sig=***"
    )
    assert redacted({"a": ("https://t0ken@host/", None, 3)}) == {
        "a": ["https://***@host/", None, 3]
    }


@pytest.mark.parametrize("url", [AWS, "http://anna:s3cr3t@127.0.0.1:9/a.zip?token=s3cr3t"])
def test_errors_of_sources_and_their_causes_hold_no_secret(url, tmp_path):
    import traceback

    places = [url, url.replace("a.zip", "a.csv"), url.replace("a.zip", "data")]
    for place in places:
        place = place.replace("https://b.s3.amazonaws.com", "http://127.0.0.1:9")
        with pytest.raises(SourceError) as said:
            source_for(place, cache=tmp_path).total()
        told = "".join(traceback.format_exception(said.value))
        assert "s3cr3t" not in told.lower()
        assert "127.0.0.1:9" in str(said.value)


@pytest.fixture
def with_token(table, png):
    """A dataset behind a URL with a token, which its file system does not mind."""
    import fsspec

    file = table({"image": [png(n) for n in range(12)], "label": ["cat", "dog"] * 6})
    url = "memory://anna:s3cr3t@host/a.parquet"
    with fsspec.open(url, "wb") as remote:
        remote.write(file.read_bytes())  # pyright: ignore[reportAttributeAccessIssue]
    return DatasetCard(name="pets", source=ParquetImages(url))


def test_an_ingested_dataset_shows_no_secret(with_token, tmp_path):
    dataset = ingest(with_token, tmp_path / "pets")
    for file in (tmp_path / "pets").rglob("*.json"):
        assert "s3cr3t" not in file.read_text()
    assert "anna:***@host" in dataset.card["source_description"]
    assert ingest(with_token, tmp_path / "pets").fingerprint == dataset.fingerprint


def test_a_registered_card_with_a_secret_is_read_by_its_owner_alone(with_token, tmp_path):
    file = register(with_token, tmp_path)
    assert "s3cr3t" in file.read_text()  # it fetches the data again
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    open_card = DatasetCard(name="cats", source=ImageFolder("/data/cats"))
    assert stat.S_IMODE(register(open_card, tmp_path).stat().st_mode) & 0o044
    assert "s3cr3t" not in with_token.place()


def test_an_archive_and_pairs_are_described_without_secrets(tmp_path, with_token, table, png):
    import fsspec

    file = table({"image": [png(1)], "text": ["a cat"]}, name="pairs.parquet")
    url = "memory://anna:s3cr3t@host/pairs.parquet"
    with fsspec.open(url, "wb") as remote:
        remote.write(file.read_bytes())  # pyright: ignore[reportAttributeAccessIssue]
    assert "s3cr3t" not in ParquetPairs(url).describe()
    card = DatasetCard(name="zips", source=Archive("https://host/a.zip?sig=s3cr3t", "0" * 64))
    assert card.place() == "archive: https://host/a.zip?sig=***"


def test_what_is_hidden_from_a_flow_run_is_whole_in_this_process():
    from data_catalog.secrets import hidden, revealed

    url = "https://reader:s3cr3t-word@example.org/pairs.parquet?sig=0123456789abcdef"
    shown = hidden(url)
    assert "s3cr3t-word" not in shown
    assert "0123456789abcdef" not in shown
    assert revealed(shown) == url
    assert hidden("pairs/a.parquet") == "pairs/a.parquet" == revealed("pairs/a.parquet")
