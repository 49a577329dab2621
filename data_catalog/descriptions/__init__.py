"""Sentences about the classes of a dataset, from outside of it, and how they are had.

`<name>.json` in this folder describes an embedded dataset. A user's own file lies in the store
beside the card; it is read first.
"""

from data_catalog.descriptions.form import Descriptions
from data_catalog.descriptions.generation import (
    QUESTIONS,
    AnswerCache,
    Client,
    article,
    generate,
)
from data_catalog.descriptions.keeping import describe, described, kept_file

__all__ = [
    "QUESTIONS",
    "AnswerCache",
    "Client",
    "Descriptions",
    "article",
    "describe",
    "described",
    "generate",
    "kept_file",
]
