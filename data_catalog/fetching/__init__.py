"""Downloads of published data sets: resumed, checked, from one place after another, unpacked."""

from data_catalog.fetching.checksum import Noted
from data_catalog.fetching.files import Ways
from data_catalog.fetching.getting import Telling, download_bytes, get_published

__all__ = ["Noted", "Telling", "Ways", "download_bytes", "get_published"]
