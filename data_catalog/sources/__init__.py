"""The ways to read raw images and texts: adding one is one file, and one line in `SOURCES`."""

from data_catalog.sources.base import (
    Example,
    Outlined,
    Picking,
    Source,
    SourceError,
    SourceUnavailable,
    examples_from,
    holds,
    picked,
    read_file,
)
from data_catalog.sources.folder import ImageFolder
from data_catalog.sources.hub import HuggingFace
from data_catalog.sources.manifest import Manifest
from data_catalog.sources.parquet import ParquetImages
from data_catalog.sources.published import Published
from data_catalog.sources.recognise import Archive, source_for
from data_catalog.sources.split_file import SplitFile
from data_catalog.sources.tables import SplitTables
from data_catalog.sources.texts import TextTables
from data_catalog.sources.webdataset import WebDataset

SOURCES = {
    "archive": Archive,
    "huggingface": HuggingFace,
    "image_folder": ImageFolder,
    "manifest": Manifest,
    "parquet": ParquetImages,
    "published": Published,
    "split_file": SplitFile,
    "split_tables": SplitTables,
    "text_tables": TextTables,
    "webdataset": WebDataset,
}

__all__ = [
    "SOURCES",
    "Archive",
    "Example",
    "HuggingFace",
    "ImageFolder",
    "Manifest",
    "Outlined",
    "ParquetImages",
    "Picking",
    "Published",
    "Source",
    "SourceError",
    "SourceUnavailable",
    "SplitFile",
    "SplitTables",
    "TextTables",
    "WebDataset",
    "examples_from",
    "holds",
    "picked",
    "read_file",
    "source_for",
]
