"""Verified downloads into a cache folder; a broken one goes on where it stopped."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Final

from tqdm import tqdm

from phdyn.data.files import fault, reason
from phdyn.errors import DataError, MissingExtraError

FOLDER: Final = "PHDYN_DATA_DIR"
"""The environment variable that names the cache folder."""

ATTEMPTS: Final = 4
"""So many in a row may bring nothing new."""

_TIMEOUT: Final = (10.0, 60.0)
"""Seconds to connect, and without a byte."""

_TRANSIENT: Final = frozenset({408, 429, 500, 502, 503, 504})
"""HTTP statuses of a server that may answer later."""

_BEYOND_THE_END: Final = 416
_PARTIAL: Final = 206
_CHUNK: Final = 1 << 16
"""Bytes read at once; a cut connection loses up to so many."""

PAUSE: Final = 1.0
"""Seconds before the second attempt; doubled before each further one that brings nothing."""


@dataclass(frozen=True)
class RemoteFile:
    """A file on a server and what it must be.

    Attributes
    ----------
    name : str
        Of the file in the cache folder.
    url : str
        Where it is.
    sha256 : str
        Its checksum, 64 hexadecimal digits.
    """

    name: str
    url: str
    sha256: str


class _CutError(Exception):
    """A download stopped early; another attempt may go on."""


def cache_folder() -> Path:
    """Return the folder of downloaded data: what PHDYN_DATA_DIR names, or the operating system's place for caches.

    Raises
    ------
    MissingExtraError
        When pooch is not installed.
    """
    named = os.environ.get(FOLDER)
    return Path(named).expanduser() if named else Path(_require_pooch().os_cache("phdyn"))


def fetch(remote: RemoteFile) -> Path:
    """Return the path of a file in the cache folder, downloaded if it is not there or not what it must be.

    What has arrived of a broken download is kept next to it as ``.part``. Processes that want the same file wait for the
    first of them.

    Parameters
    ----------
    remote : RemoteFile
        What is wanted.

    Returns
    -------
    Path
        Of a file with the right checksum.

    Raises
    ------
    MissingExtraError
        When pooch is not installed.
    DataError
        The server cannot be reached or does not have the file, the file is not what it must be, or the folder cannot be
        written.
    """
    pooch = _require_pooch()
    folder = cache_folder()
    target = folder / remote.name
    if _is_whole(remote, target):  # before anything is written: the folder may be read-only
        return target
    with _writing(folder), _lock(folder, remote):
        pooch.retrieve(
            remote.url,
            known_hash=f"sha256:{remote.sha256}",
            fname=remote.name,
            path=folder,
            downloader=partial(_download, remote=remote, part=folder / f"{remote.name}.part"),
        )
    return target


def _require_pooch() -> Any:
    try:
        import pooch
    except ImportError as error:
        msg = "downloads need pooch: pip install 'phdyn[experiments]' (or name a folder that has the data: data_dir=)"
        raise MissingExtraError(msg) from error
    return pooch


@contextmanager
def _writing(folder: Path) -> Iterator[None]:
    """Turn what goes wrong in the cache folder into an error that says so."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        yield
    except DataError:
        raise
    except OSError as error:
        msg = f"the cache folder {folder} cannot be used: {reason(error)}. Set {FOLDER} to a folder that can be written."
        raise DataError(msg) from error


@contextmanager
def _lock(folder: Path, remote: RemoteFile) -> Iterator[None]:
    from filelock import FileLock  # torch needs it, so it is there

    with FileLock(folder / f"{remote.name}.lock"):
        yield


def _download(_url: str, output_file: str, _pooch: Any, *, remote: RemoteFile, part: Path) -> None:
    """Fill pooch's temporary file: the downloader that pooch calls."""
    if not _is_whole(remote, part):
        _complete(remote, part)
        _verify(remote, part)
    part.replace(output_file)


def _complete(remote: RemoteFile, part: Path) -> None:
    """Fetch what is missing, in as many attempts as bring something, and a few that do not."""
    failures, most = 0, _size(part)
    while True:
        try:
            _attempt(remote, part)
        except _CutError as error:
            failures = 0 if _size(part) > most else failures
            failures, most = failures + 1, max(most, _size(part))
            if failures == ATTEMPTS:
                raise _failed(remote, part, str(error)) from error
            time.sleep(PAUSE * 2 ** (failures - 1))
        else:
            return


def _attempt(remote: RemoteFile, part: Path) -> None:
    """Ask once for what is missing.

    Raises
    ------
    _CutError
        It may go better next time.
    DataError
        It will not.
    """
    import requests
    from urllib3.exceptions import HTTPError

    held = _size(part)
    headers = {"Accept-Encoding": "identity"} | ({"Range": f"bytes={held}-"} if held else {})
    try:
        with requests.get(remote.url, headers=headers, stream=True, timeout=_TIMEOUT) as response:
            _require_content(remote, part, response)
            _append(remote, part, response)
    except (requests.ConnectionError, requests.Timeout, HTTPError) as error:
        raise _CutError(_cause(error)) from error
    except requests.RequestException as error:
        raise _failed(remote, part, str(error)) from error


def _require_content(remote: RemoteFile, part: Path, response: Any) -> None:
    status = response.status_code
    if status == _BEYOND_THE_END:  # what is held is not of this file
        part.unlink(missing_ok=True)
    if status in _TRANSIENT or status == _BEYOND_THE_END:
        raise _CutError(f"the server answered {status} {response.reason}")
    if status >= 400:
        raise _failed(remote, part, f"the server answered {status} {response.reason}")
    begins = response.headers.get("Content-Range", "").removeprefix("bytes ").partition("-")[0]
    if status == _PARTIAL and begins != str(_size(part)):
        part.unlink(missing_ok=True)
        raise _CutError(f"the server sent another part of the file, from byte {begins or 'unknown'} on")


def _append(remote: RemoteFile, part: Path, response: Any) -> None:
    """Write the bytes as they come: a server may call a ``.gz`` file an encoding, which must not be taken off."""
    held = _size(part) if response.status_code == _PARTIAL else 0
    length = response.headers.get("Content-Length")
    total = held + int(length) if length else None
    bar = tqdm(desc=remote.name, total=total, initial=held, unit="B", unit_scale=True, leave=False, disable=None)
    with bar, part.open("ab" if held else "wb") as file:
        for chunk in response.raw.stream(_CHUNK, decode_content=False):
            file.write(chunk)
            bar.update(len(chunk))


def _sha256(path: Path) -> str:
    return str(_require_pooch().file_hash(str(path), alg="sha256"))


def _is_whole(remote: RemoteFile, path: Path) -> bool:
    return path.is_file() and _sha256(path) == remote.sha256


def _verify(remote: RemoteFile, part: Path) -> None:
    found = _sha256(part)
    if found != remote.sha256:
        part.unlink()
        what = f"the download from {remote.url} has SHA-256 {found}, not {remote.sha256}, and was removed"
        raise fault(part.with_suffix(""), what, "Call again to download it anew")


def _failed(remote: RemoteFile, part: Path, cause: str) -> DataError:
    target = part.with_suffix("")
    remedy = f"Call again with a connection (what has arrived is kept), or put the file there yourself, or set {FOLDER} to a folder with it"
    state = "the copy there is damaged, and " if target.exists() else ""
    return fault(target, f"{state}the download from {remote.url} failed: {cause}", remedy)


def _cause(error: Exception) -> str:
    """Return what the operating system said, which the libraries wrap several times, or else what the error says."""
    inner: BaseException | None = error
    while inner is not None and not getattr(inner, "strerror", None):
        inner = inner.__cause__ or inner.__context__
    return reason(inner or error)


def _size(part: Path) -> int:
    return part.stat().st_size if part.exists() else 0
