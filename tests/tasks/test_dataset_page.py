"""That docs/datasets.md says what is known of published datasets today."""

import re
from pathlib import Path

from data_catalog.published import PUBLISHED
from tasks.pages.dataset_page import COMMAND, page

FILE = Path(__file__).parents[2] / "docs" / "datasets.md"


def test_the_page_in_docs_is_that_of_the_datasets():
    assert FILE.read_text() == page(), f"what is known has changed: run `{COMMAND}`"


def test_every_dataset_has_a_section_and_a_line_in_the_table():
    found = page()
    assert re.findall(r"^## (.*)$", found, re.M) == list(PUBLISHED)
    assert re.findall(r"^\| \[(.*?)\]\(#", found, re.M) == list(PUBLISHED)


def test_a_section_has_counts_prompts_and_digests():
    _, _, section = page().partition("## oxford_pets\n")
    section = section.partition("\n## ")[0]
    assert "- rows, split file: train 2,944, val 736, test 3,669" in section
    assert "| `coop` | a photo of a {}, a type of pet. |" in section
    assert "md5 `5c4f3ee8e5d25df40f4fd59a7f44e54c`" in section
    assert "791,918,971" in section
