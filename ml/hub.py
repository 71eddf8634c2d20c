"""A Hugging Face style hub: which files a revision has, and the bytes of some of them, checked.

`find` turns a name such as `org/repo@v1.0` into one commit, so that what is installed can be named and fetched again.
`fetch` downloads files of that commit into a folder: a partial file is continued where it broke off (HTTP Range), and
every file is compared with the hash that the hub states: SHA-256 of large files (Git LFS), Git's own blob hash of the
others. `HF_ENDPOINT` names another hub than huggingface.co, `HF_TOKEN` opens private and gated repositories; it is
sent to the hub only, not to the storage that the hub redirects to.
"""

from __future__ import annotations

import contextlib
import fnmatch
import hashlib
import os
import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO, cast

from ml.artifacts import MANIFEST, MAX_MANIFEST_BYTES, check_name
from ml.errors import EngineUnavailable, ModelInvalid, UnknownModel

# The library would tell the hub which tools run here; it reads this when it is imported, which is later.
os.environ.setdefault("HF_HUB_DISABLE_TELEMETRY", "1")

DEFAULT_ENDPOINT = "https://huggingface.co"
TIMEOUT_SECONDS = 20.0

PARTIAL = ".partial"
"""Suffix of a file that is not complete yet."""

_REPOSITORY = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,95}/[A-Za-z0-9][A-Za-z0-9._-]{0,95}")
_BLOCK = 1 << 20


class HubUnreachable(EngineUnavailable):
    code = "hub_unreachable"


@dataclass(frozen=True, slots=True)
class HubFile:
    name: str  # relative to the repository's root
    bytes: int
    sha256: str | None  # of files in Git LFS
    git_oid: str | None  # Git's blob hash (SHA-1), of the other files

    def matches(self, pattern: str) -> bool:
        return fnmatch.fnmatchcase(self.name, pattern)


@dataclass(frozen=True, slots=True)
class HubRevision:
    """A repository at one commit."""

    repository: str  # "org/name"
    commit: str
    endpoint: str
    licence: str
    files: tuple[HubFile, ...]

    @property
    def url(self) -> str:
        return f"{self.endpoint}/{self.repository}/tree/{self.commit}"

    def select(self, patterns: Sequence[str]) -> tuple[HubFile, ...]:
        """The files that match a pattern (`*.onnx`, `data/*`). Raises `ModelInvalid` for a pattern without a match."""
        chosen: dict[str, HubFile] = {}
        for pattern in patterns:
            matching = [file for file in self.files if file.matches(pattern)]
            if not matching:
                raise ModelInvalid(f"{self.repository} at {self.commit[:12]} has no file {pattern!r}.")
            chosen.update({file.name: file for file in matching})
        return tuple(chosen[name] for name in sorted(chosen))


def endpoint() -> str:
    """The hub to talk to, without a slash at its end."""
    return (os.environ.get("HF_ENDPOINT") or DEFAULT_ENDPOINT).rstrip("/")


def split_name(name: str) -> tuple[str, str | None]:
    """("org/repo", revision or None) of `org/repo[@revision]`. Raises `UnknownModel`."""
    repository, at, revision = name.partition("@")
    if not _REPOSITORY.fullmatch(repository) or (at and not revision):
        raise UnknownModel(f"{name!r} is not a repository: it must look like org/name or org/name@revision.")
    return repository, revision or None


def find(repository: str, revision: str | None = None) -> HubRevision:
    """The repository at a branch, tag or commit (None: its main branch), pinned to the commit that this is now.

    Raises `HubUnreachable`; `UnknownModel` where there is no such repository or revision, or the token may not see it.
    """
    from huggingface_hub import HfApi

    hub = endpoint()
    with _hub_errors(hub, repository, revision):
        info = HfApi(endpoint=hub, token=_token()).model_info(
            repository, revision=revision, files_metadata=True, timeout=TIMEOUT_SECONDS
        )
    if not info.sha:
        raise ModelInvalid(f"{hub} names no commit for {repository}.")
    files = tuple(_file(sibling) for sibling in info.siblings or ())
    return HubRevision(repository, info.sha, hub, _licence(info), files)


def fetch(
    revision: HubRevision,
    files: Sequence[HubFile],
    folder: Path,
    *,
    progress: bool = True,
    fetched: Callable[[int], object] | None = None,
) -> None:
    """Downloads `files` into `folder`, whole and checked. What is there already, whole or in part, is kept and used.

    fetched: called with the bytes of each block that has come, and of what was there; what it raises ends the download.

    Raises `HubUnreachable` (what came so far stays, for the next try) and `ModelInvalid` where a hash differs (the
    file is removed).
    """
    for file in files:
        target = folder / check_name(file.name)
        if target.is_file():
            if fetched is not None:
                fetched(file.bytes)
            continue
        target.parent.mkdir(parents=True, exist_ok=True)
        _fetch(revision, file, target, progress, fetched)


def fetch_manifest(revision: HubRevision, folder: Path) -> Path:
    """Downloads the `model.json` of a repository that is a model folder, for the caller to check; its path."""
    file = next((file for file in revision.files if file.name == MANIFEST), None)
    if file is None:
        raise ModelInvalid(f"{revision.repository} has no {MANIFEST}.")
    if file.bytes > MAX_MANIFEST_BYTES:
        raise ModelInvalid(f"The {MANIFEST} of {revision.repository} is larger than {MAX_MANIFEST_BYTES} bytes.")
    target = folder / MANIFEST
    if not target.is_file():
        _fetch(revision, file, target, progress=False)
    return target


def _fetch(
    revision: HubRevision,
    file: HubFile,
    target: Path,
    progress: bool,
    fetched: Callable[[int], object] | None = None,
) -> None:
    partial = target.with_name(target.name + PARTIAL)
    if partial.is_file() and partial.stat().st_size > file.bytes:
        partial.unlink()
    _download(revision, file, partial, progress, fetched)
    actual, expected = _hashes(partial, file)
    if actual != expected:
        partial.unlink()
        raise ModelInvalid(
            f"{file.name} of {revision.repository} is not what the hub says it is: "
            f"its hash is {actual}, not {expected}. It was removed."
        )
    os.replace(partial, target)


def _download(
    revision: HubRevision,
    file: HubFile,
    partial: Path,
    progress: bool,
    fetched: Callable[[int], object] | None,
) -> None:
    # `hf_hub_download` starts every file anew in a new process; its own inner function is the one that can continue.
    from huggingface_hub import hf_hub_url
    from huggingface_hub.file_download import http_get
    from huggingface_hub.utils import build_hf_headers

    url = hf_hub_url(revision.repository, file.name, revision=revision.commit, endpoint=revision.endpoint)
    headers = build_hf_headers(token=_token())
    headers["Accept-Encoding"] = "identity"  # a compressed answer has no ranges
    with partial.open("ab") as stream, _hub_errors(revision.endpoint, revision.repository, revision.commit):
        present = stream.tell()
        if fetched is not None and present:
            fetched(present)
        http_get(
            url,
            cast(BinaryIO, _Watched(stream, fetched)) if fetched is not None else stream,
            resume_size=present,
            headers=headers,
            expected_size=file.bytes,
            displayed_filename=file.name,
            tqdm_class=None if progress else _silent_bar(),
        )


class _Watched:
    """A file that tells of every block that is written to it."""

    def __init__(self, stream: BinaryIO, wrote: Callable[[int], object]) -> None:
        self._stream, self._wrote = stream, wrote

    def write(self, block: bytes) -> int:
        self._wrote(len(block))  # first: who cancels wants no more
        return self._stream.write(block)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)


def _hashes(path: Path, file: HubFile) -> tuple[str, str]:
    """What the file's hash is, and what it has to be."""
    if file.sha256 is not None:
        return _digest(path, hashlib.sha256()), file.sha256
    if file.git_oid is None:
        raise ModelInvalid(f"The hub states no hash of {file.name}: it cannot be verified.")
    # Git's own name of a blob; not for secrecy, but all that the hub states of a small file.
    git = hashlib.sha1(b"blob %d\0" % path.stat().st_size, usedforsecurity=False)
    return _digest(path, git), file.git_oid


def _digest(path: Path, digest: Any) -> str:
    with path.open("rb") as stream:
        while block := stream.read(_BLOCK):
            digest.update(block)
    return digest.hexdigest()


def _file(sibling: Any) -> HubFile:
    lfs = sibling.lfs
    if sibling.size is None:
        raise ModelInvalid(f"The hub states no size of {sibling.rfilename}.")
    return HubFile(
        name=sibling.rfilename,  # checked where it becomes a path
        bytes=lfs.size if lfs else sibling.size,
        sha256=lfs.sha256 if lfs else None,
        git_oid=None if lfs else sibling.blob_id,
    )


def _licence(info: Any) -> str:
    card = getattr(info, "card_data", None)
    licence = card.get("license") if card is not None else None
    if not licence:
        licence = next((tag[8:] for tag in info.tags or () if tag.startswith("license:")), "")
    return licence if isinstance(licence, str) else ", ".join(map(str, licence))


def _token() -> str | bool:
    """False, not None, so that nobody's token from a log-in on this machine is sent unasked."""
    return os.environ.get("HF_TOKEN") or False


@contextlib.contextmanager
def _hub_errors(hub: str, repository: str, revision: str | None) -> Iterator[None]:
    """Errors of the hub and of the way there as ours, in one sentence each."""
    import httpx2
    from huggingface_hub import errors as theirs

    at = f" at {revision}" if revision else ""
    try:
        yield
    except theirs.GatedRepoError as error:
        message = f"{repository} is gated: accept its terms at {hub}/{repository} and set HF_TOKEN."
        raise UnknownModel(message) from error
    except theirs.RepositoryNotFoundError as error:
        message = f"{hub} has no repository {repository}, or it is private and HF_TOKEN does not open it."
        raise UnknownModel(message) from error
    except (theirs.RevisionNotFoundError, theirs.EntryNotFoundError) as error:
        raise UnknownModel(f"{repository}{at} is not on {hub}.") from error
    except theirs.OfflineModeIsEnabled as error:
        raise _unreachable(hub, "HF_HUB_OFFLINE is set") from error
    except theirs.HfHubHTTPError as error:
        status = getattr(error.response, "status_code", "an error")
        raise HubUnreachable(f"The hub {hub} answered {status} for {repository}{at}.") from error
    except httpx2.HTTPError as error:
        raise _unreachable(hub, str(error) or type(error).__name__) from error
    except OSError as error:
        if "Consistency check" not in str(error):  # `http_get` has no class of its own for it
            raise
        message = f"A download from {hub} broke off; run the command again to continue it."
        raise HubUnreachable(message) from error


def _unreachable(hub: str, why: str) -> HubUnreachable:
    return HubUnreachable(
        f"The model hub {hub} cannot be reached ({why}); HF_ENDPOINT names another one, and "
        "`manage.py models import` installs a model from a file."
    )


def _silent_bar() -> Any:
    from huggingface_hub.utils import tqdm

    class Silent(tqdm):  # type: ignore[misc,valid-type]
        def __init__(self, *args: Any, **kwargs: Any) -> None:
            super().__init__(*args, **{**kwargs, "disable": True})

    return Silent
