"""Which files make a published data set, and where each may be had."""

import pytest

from data_catalog.fetching.offers import Sourced, offers
from data_catalog.published import PUBLISHED, Download

HUB = "hf://datasets/someone/pets"
COMMIT = "c" * 40


@pytest.fixture
def pets(published):
    return published(
        Download(url="https://a.org/images.zip", holds="images", into="img", size_bytes=10),
        Download(url="https://a.org/uc?id=7", file="split.json", holds="split", size_bytes=2),
        Download(url="https://b.org/x/images.zip", holds="images", into="img", mirror=True),
        Download(url=HUB, holds="Parquet", revision=COMMIT, mirror=True),
        Download(url="https://c.org/p/one.zip", holds="half", mirror=True),
        Download(url="https://c.org/p/two.zip", holds="half", mirror=True),
    )


def told(found):
    return [(offer.title, offer.folder, [places for _, places in offer.sources]) for offer in found]


def test_a_copy_of_one_file_is_another_place_and_other_copies_are_ways_of_their_own(pets):
    assert told(offers(pets)) == [
        (
            "the authors' files",
            "",
            [
                ("https://a.org/images.zip", "https://b.org/x/images.zip"),
                ("https://a.org/uc?id=7",),
            ],
        ),
        (HUB, "mirror-someone-pets", [(HUB,)]),
        (
            "https://c.org/p",
            "mirror-c.org-p",
            [("https://c.org/p/one.zip",), ("https://c.org/p/two.zip",)],
        ),
    ]


def test_where_the_authors_give_nothing_the_first_copy_stands_for_what_they_gave(published):
    dataset = published(
        *(
            Download(url=f"https://{host}/mnist/{name}.gz", holds=name, mirror=True)
            for host in ("a.org", "b.org")
            for name in ("train", "test")
        )
    )
    (offer,) = told(offers(dataset))
    assert offer[:2] == ("https://a.org/mnist", "")
    assert offer[2] == [
        (f"https://a.org/mnist/{name}.gz", f"https://b.org/mnist/{name}.gz")
        for name in ("train", "test")
    ]


def test_archives_are_unpacked_and_other_files_are_put_where_they_belong(pets):
    images, split = (source.parts()[0] for source in offers(pets)[0].sources)
    assert (images.file.name, images.into, images.unpacks) == ("img/images.zip", "img", True)
    assert (split.file.name, split.into, split.unpacks) == ("split.json", "", False)


def test_a_mirror_is_chosen_by_a_part_of_its_address(pets):
    assert [title for title, _, _ in told(offers(pets, "someone/pets"))] == [HUB]
    assert [title for title, _, _ in told(offers(pets, "c.org"))] == ["https://c.org/p"]


def test_a_place_of_ones_own_has_the_files_of_the_authors(pets, tmp_path):
    for base in ("https://intra.net/pets/", str(tmp_path)):
        ((title, folder, places),) = told(offers(pets, base))
        assert (title, folder) == (base.rstrip("/"), "")
        assert places == [(f"{title}/images.zip",), (f"{title}/split.json",)]


def test_a_mirror_that_is_not_there_is_refused_with_those_that_are(pets):
    with pytest.raises(ValueError, match=r"no mirror of pets .*a.org, b.org, someone/pets, c.org"):
        offers(pets, "d.org")


@pytest.mark.parametrize("name", PUBLISHED)
def test_every_download_that_is_known_has_a_name_and_a_sound_checksum(name):
    for offer in offers(PUBLISHED[name]):
        for download, places in offer.sources:
            assert places[0] == download.url
            if download.url.startswith("hf://"):
                assert len(download.revision) == 40, download.url
            else:
                (part,) = Sourced(download, places).parts()
                assert part.file.name and "?" not in part.file.name
