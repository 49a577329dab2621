"""The ways to read raw images: adding one is one file, and one line in `SOURCES`."""

from data_catalog.sources.archive import Archive
from data_catalog.sources.base import Example, Source, SourceError, SourceUnavailable, read_file
from data_catalog.sources.folder import ImageFolder
from data_catalog.sources.hub import HuggingFace
from data_catalog.sources.manifest import Manifest
from data_catalog.sources.parquet import ParquetImages
from data_catalog.sources.recognise import source_for

SOURCES = {
    "archive": Archive,
    "huggingface": HuggingFace,
    "image_folder": ImageFolder,
    "manifest": Manifest,
    "parquet": ParquetImages,
}

__all__ = [
    "SOURCES",
    "Archive",
    "Example",
    "HuggingFace",
    "ImageFolder",
    "Manifest",
    "ParquetImages",
    "Source",
    "SourceError",
    "SourceUnavailable",
    "read_file",
    "source_for",
]
