"""The files of a data set of the Hugging Face hub at one commit, as `RemoteFile`s."""

import logging
from collections.abc import Iterator
from fnmatch import fnmatch
from typing import Any

from data_catalog.fetching.checksum import checksum
from data_catalog.fetching.files import RemoteFile
from data_catalog.sources import SourceError, SourceUnavailable

HUB = "hf://datasets/"


def hub_files(place: str, revision: str, into: str = "") -> list[RemoteFile]:
    """Lists what a repository holds, with sizes and digests, and fetches none of it.

    `HF_ENDPOINT` and the token of `hf auth login` are heeded, as by the hub's own library.

    Args:
        place: `hf://datasets/owner/name`, and a path or a pattern in it for a part of its files.
        revision: Commit of the repository.
        into: Folder, below that of the data set, that the files go to.

    Raises:
        SourceError: There is no such repository, commit or file, or it has to be asked for.
        SourceUnavailable: The hub cannot be reached.
    """
    from huggingface_hub import HfApi, hf_hub_url
    from huggingface_hub.hf_api import RepoFile
    from huggingface_hub.utils import build_hf_headers

    owner, _, rest = place.removeprefix(HUB).partition("/")
    name, _, wanted = rest.partition("/")
    repo = f"{owner}/{name}"
    api = HfApi()
    headers = build_hf_headers()
    found = []
    for entry in _asked(api, repo, revision):
        if not isinstance(entry, RepoFile) or not _is_wanted(entry.path, wanted):
            continue
        url = hf_hub_url(
            repo, entry.path, repo_type="dataset", revision=revision, endpoint=api.endpoint
        )
        digest = (
            checksum("sha256", entry.lfs.sha256) if entry.lfs else checksum("git", entry.blob_id)
        )
        path = f"{into}/{entry.path}" if into else entry.path
        found.append(RemoteFile(path, (url,), entry.size, digest, {url: headers}))
    if not found:
        raise SourceError(
            f"{HUB}{repo} at {revision} has no file {wanted!r}. See its files on the hub."
        )
    return found


def _asked(api: Any, repo: str, revision: str) -> Iterator[Any]:
    from huggingface_hub import errors

    log = logging.getLogger("huggingface_hub")  # it tells each of its tries
    before = log.level
    log.setLevel(logging.ERROR)
    try:
        yield from api.list_repo_tree(repo, repo_type="dataset", revision=revision, recursive=True)
    except errors.GatedRepoError as error:
        raise SourceError(
            f"{HUB}{repo} asks for its terms to be accepted: do so at "
            f"{api.endpoint}/datasets/{repo}, then sign in here with `hf auth login`."
        ) from error
    except errors.RevisionNotFoundError as error:
        raise SourceError(f"{HUB}{repo} has no commit {revision}.") from error
    except errors.RepositoryNotFoundError as error:
        raise SourceError(
            f"{HUB}{repo} is not on the hub, or only for those who sign in (`hf auth login`)."
        ) from error
    except Exception as error:  # its client raises kinds of its own, which have changed before
        reason = " ".join(str(error).split()) or type(error).__name__
        raise SourceUnavailable(f"{HUB}{repo} could not be reached ({reason}).") from error
    finally:
        log.setLevel(before)


def _is_wanted(path: str, wanted: str) -> bool:
    hidden = path.rpartition("/")[2].startswith(".")
    return not hidden if not wanted else path.startswith(f"{wanted}/") or fnmatch(path, wanted)
