"""Small files of one folder of a URL, by name: what leases ask of a place where they lie."""

from collections.abc import Iterable

from tasks.storage.remote import Remote


class Below:
    """The objects of a folder.

    Args:
        remote: What the folder is of.
        folder: Its name, without a slash at its end.
    """

    def __init__(self, remote: Remote, folder: str) -> None:
        self.remote = remote
        self.folder = folder

    def create(self, name: str, content: bytes) -> bool:
        """Writes a file where there is none; says whether this content is there then."""
        return self.remote.create(self._key(name), content) is not None

    def read(self, name: str) -> bytes | None:
        """Content of a file; None where there is none."""
        return self.remote.read(self._key(name))

    def replace(self, name: str, content: bytes) -> None:
        """Writes a file whether or not there is one."""
        self.remote.replace(self._key(name), content)

    def delete(self, name: str) -> None:
        """Removes a file, if there is one."""
        self.remote.delete(self._key(name))

    def names(self) -> Iterable[str]:
        """Names of the files that are there."""
        return [name for name in self.remote.listed(self.folder) if "/" not in name]

    def _key(self, name: str) -> str:
        return f"{self.folder}/{name}"
