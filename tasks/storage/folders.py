"""Folders of files as objects: the files under their digests, then a manifest that names them.

The manifest is made last and exclusively, so that it exists is all that anybody asks: without it
nothing counts, and of two writers one is first. Small JSON files stand in the manifest itself,
which saves a request each and lets people read it.
"""

import hashlib
import json
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from operators.files import commit_folder
from tasks.storage.remote import DamagedError, Remote, digest_of

AT_ONCE = 16  # requests side by side
_INLINE_BYTES = 256 << 10


def pack(remote: Remote, files: Mapping[str, Path], *, check: Path | None = None) -> bytes:
    """Puts the files of a folder among the blobs; returns the manifest that is to be created.

    Args:
        remote: Gets them.
        files: By name.
        check: A folder, if every blob is to be read back and compared by digest; it is written
            there for a moment.

    Raises:
        RemoteError: One cannot be written; nothing counts then.
        DamagedError: What was read back is not what was written.
    """
    entries: dict[str, Any] = {}
    for name, path in sorted(files.items()):
        if (text := _inline(path)) is not None:
            digest = hashlib.sha256(text.encode()).hexdigest()
            entries[name] = {"sha256": digest, "size": len(text.encode()), "text": text}
            continue
        digest, size = remote.put_blob(path)
        if check is not None:
            again = check / digest
            remote.get_blob(digest, again)
            again.unlink()
        entries[name] = {"sha256": digest, "size": size}
    return json.dumps({"files": entries}, indent=1, sort_keys=True).encode()


def unpack(remote: Remote, manifest: bytes, folder: Path) -> None:
    """Makes a folder of the files that a manifest names, whole or not at all.

    Args:
        remote: Has the blobs.
        manifest: Content of it.
        folder: Is made; where it is there already, nothing happens.

    Raises:
        DamagedError: The manifest cannot be read, or a file is not what it says.
        RemoteError: One cannot be read.
    """
    entries = entries_of(manifest, folder.name)
    with commit_folder(folder) as draft, ThreadPoolExecutor(AT_ONCE) as several:
        waiting = []
        for name, entry in entries.items():
            if "text" in entry:
                content = entry["text"].encode()
                if hashlib.sha256(content).hexdigest() != entry["sha256"]:
                    raise DamagedError(f"{name} of {folder.name} is not what was written.")
                (draft / name).write_bytes(content)
            else:
                waiting.append(several.submit(remote.get_blob, entry["sha256"], draft / name))
        for each in waiting:
            each.result()


def files_in(folder: Path) -> dict[str, Path]:
    """The files of a folder by name; hidden ones are not of it.

    Raises:
        FileNotFoundError: There is no such folder.
    """
    return {path.name: path for path in folder.iterdir() if not path.name.startswith(".")}


def is_of(folder: Path, manifest: bytes) -> bool:
    """Whether a folder holds what a manifest names, and nothing else.

    Args:
        folder: Is read through.
        manifest: Content of it.
    """
    wanted = {n: e["sha256"] for n, e in entries_of(manifest, folder.name).items()}
    return {n: digest_of(path)[0] for n, path in files_in(folder).items()} == wanted


def entries_of(manifest: bytes, name: str) -> dict[str, dict[str, Any]]:
    """The files that a manifest names, each with `sha256`, `size` and maybe `text`.

    Args:
        manifest: Content of it.
        name: Of what, for messages.

    Raises:
        DamagedError: It is none; a name that leads elsewhere is refused as well.
    """
    try:
        entries = json.loads(manifest)["files"]
        for file, entry in entries.items():
            if Path(file).name != file or file.startswith(".") or "\\" in file:
                raise ValueError(f"{file!r} is no name of a file")
            bytes.fromhex(entry["sha256"])
            if not isinstance(entry.get("text", ""), str):
                raise ValueError(f"the text of {file!r} is none")
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise DamagedError(f"the manifest of {name} cannot be read: {error}.") from error
    return entries


def _inline(path: Path) -> str | None:
    """The text of a small JSON file; None for all others."""
    if path.suffix != ".json" or path.stat().st_size > _INLINE_BYTES:
        return None
    try:
        return path.read_bytes().decode()
    except UnicodeDecodeError:
        return None
