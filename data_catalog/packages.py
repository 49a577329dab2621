"""Python packages that bring images: where they are, or how to get them."""

from importlib.metadata import PackageNotFoundError, version
from importlib.util import find_spec
from pathlib import Path

from data_catalog.sources.base import SourceUnavailable


def find_package(module: str, distribution: str) -> Path:
    """Returns the folder of an installed package, without importing it.

    Args:
        module: What is imported.
        distribution: What pip installs.

    Raises:
        SourceUnavailable: It is not installed.
    """
    spec = find_spec(module)
    if spec is None or spec.origin is None:
        raise SourceUnavailable(
            f"the images come with the package {distribution}, which is not installed. "
            f"Run: pip install {distribution}"
        )
    return Path(spec.origin).parent


def installed_version(distribution: str) -> str:
    """Version of an installed package, `(not installed)` if it is not."""
    try:
        return version(distribution)
    except PackageNotFoundError:
        return "(not installed)"
