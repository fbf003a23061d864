"""Downloads: resumed where they stopped, checked, and never in the place of a file that was there."""

from __future__ import annotations

import contextlib
import http.client
import os
import urllib.error
import urllib.request

from minilm import bars
from minilm.data.manifest import Corpus, file_hash, named

TIMEOUT = 30  # seconds without a byte
ATTEMPTS = 4  # connections; one that brought nothing is the last


def fetch(name: str | Corpus, progress: bool | None = None) -> str:
    """Download a corpus of the manifest into the cache folder, unless it is there.

    Parameters
    ----------
    name : str or Corpus
        Which.
    progress : bool, optional
        Show a bar on stderr; without it, if stderr is a terminal.

    Returns
    -------
    path : str
        The file, with the size and sha256 that the manifest says.

    Raises
    ------
    ValueError
        There is no such corpus, or what the address sends is not it.
    OSError
        The address cannot be reached (says what to put where instead), or the cache folder cannot be written.

    Notes
    -----
    What came is kept beside the place as FILE.part, and the next call asks for the rest (HTTP Range). A file already there is
    used if it is right. One that is not is neither overwritten nor deleted: when the right one has come whole, the other is
    renamed to FILE.wrong-HASH.
    """
    entry = name if isinstance(name, Corpus) else named(name)
    fault = entry.fault()
    if fault is None:
        return entry.path
    if entry.url is None:
        raise ValueError(f"corpus {entry.name} is built in, but {entry.path} is wrong ({fault}); install minilm again")
    os.makedirs(os.path.dirname(entry.path), exist_ok=True)
    part = entry.path + ".part"
    resumed = os.path.exists(part)
    _download(entry, part, progress)
    if resumed and file_hash(part) != entry.sha256:  # the first part may have been of something else: once more from nothing
        os.remove(part)
        _download(entry, part, progress)
    found = file_hash(part)
    if found != entry.sha256:
        os.remove(part)
        raise ValueError(f"{entry.url} is not {entry.name} any more: sha256 {found}, wanted {entry.sha256}; {entry.by_hand()}")
    if fault != "missing":
        os.replace(entry.path, _aside(entry.path))
    os.replace(part, entry.path)
    return entry.path


def _aside(path: str) -> str:
    """A free name beside `path` for a file that is not the right one."""
    name = f"{path}.wrong-{file_hash(path)[:8]}"
    free = name
    count = 1
    while os.path.exists(free):
        count += 1
        free = f"{name}-{count}"
    return free


def _download(entry: Corpus, part: str, progress: bool | None) -> None:
    """Bring `part` to the entry's size."""
    quiet = not (bars.wanted() if progress is None else progress)
    bar = bars.bar(total=entry.bytes, unit="B", unit_scale=True, unit_divisor=1024, desc=entry.name, disable=quiet, leave=False)
    with open(part, "ab") as file, bar:
        if file.tell() > entry.bytes:
            _empty(file)
        for _ in range(ATTEMPTS):
            before = file.tell()
            if before == entry.bytes:
                break
            try:
                _receive(entry, file, bar)
                reason = f"the connection ended after {file.tell():,} of {entry.bytes:,} bytes"
            except (urllib.error.URLError, http.client.HTTPException, TimeoutError, ConnectionError) as error:
                reason = _reason(error)
            if file.tell() <= before:
                break
        file.flush()
        os.fsync(file.fileno())
        if file.tell() < entry.bytes:
            kept = f" {file.tell():,} bytes are kept, and the next fetch goes on from there;" if file.tell() else ""
            raise ConnectionError(
                f"cannot download {entry.name} from {entry.url} ({reason});{kept} without a network {entry.by_hand()}"
            )


def _receive(entry: Corpus, file, bar) -> None:
    """One request for what `file` lacks, and what comes of it. Never more than the entry's size."""
    have = file.tell()
    request = urllib.request.Request(entry.url, headers={"User-Agent": "minilm", "Accept-Encoding": "identity"})
    if have:
        request.add_header("Range", f"bytes={have}-")
    try:
        response = urllib.request.urlopen(request, timeout=TIMEOUT)
    except urllib.error.HTTPError as error:
        if have and error.code == http.HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE:
            error.close()
            _empty(file)  # what is there is the address's whole file, or of another: begin again
            return _receive(entry, file, bar)
        raise
    with response, contextlib.suppress(http.client.IncompleteRead):
        if have and not _goes_on(response, have):
            _empty(file)
        bar.n = file.tell()
        while file.tell() < entry.bytes and (chunk := response.read(min(1 << 16, entry.bytes - file.tell()))):
            file.write(chunk)
            bar.update(len(chunk))


def _empty(file) -> None:
    file.seek(0)  # truncate alone leaves the position where it was
    file.truncate()


def _goes_on(response, have: int) -> bool:
    """Whether a response has the rest of the file: a server may also send all of it."""
    place = response.headers.get("Content-Range", "")
    return response.status == http.HTTPStatus.PARTIAL_CONTENT and place.startswith(f"bytes {have}-")


def _reason(error: Exception) -> str:
    if isinstance(error, urllib.error.HTTPError):
        return f"HTTP {error.code} {error.reason}"
    reason = error.reason if isinstance(error, urllib.error.URLError) else error
    return str(reason) or type(reason).__name__
