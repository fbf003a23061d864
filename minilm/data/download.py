"""Downloads: resumed where they stopped, checked, and never in place of a file that was there."""

from __future__ import annotations

import contextlib
import http.client
import os
import sys
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator

from minilm import bars
from minilm.checksums import file_hash
from minilm.data.manifest import Corpus, named
from minilm.files import named_errors

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

    Of several processes or threads that fetch one corpus, one downloads and the others wait: FILE.part is locked. Where the
    system has no locks each downloads into a part of its own. FILE itself only ever appears by a rename, whole and checked.
    """
    entry = name if isinstance(name, Corpus) else named(name)
    while (fault := entry.fault()) is not None:
        if entry.url is None:
            raise ValueError(f"corpus {entry.name} is built in, but {entry.path} is wrong ({fault}); install minilm again")
        os.makedirs(os.path.dirname(entry.path), exist_ok=True)
        with _part(entry, progress) as part:
            if part is not None:
                _bring(entry, part, progress)
    return entry.path


def _bring(entry: Corpus, part: str, progress: bool | None) -> None:
    """Download into `part`, which no other process writes to, check it, and move it into place."""
    fault = entry.fault()
    if fault is None:  # another one brought it since we looked
        os.remove(part)
        return
    resumed = os.path.exists(part) and os.path.getsize(part) > 0
    _download(entry, part, progress)
    if resumed and file_hash(part) != entry.sha256:  # the first part may have been of something else: once more from nothing
        os.truncate(part, 0)
        _download(entry, part, progress)
    digest = file_hash(part)
    if digest != entry.sha256:
        os.remove(part)
        raise ValueError(f"{entry.url} is not {entry.name} any more: sha256 {digest}, wanted {entry.sha256}; {entry.by_hand()}")
    if fault != "missing":
        os.replace(entry.path, _aside(entry.path))
    os.replace(part, entry.path)


@contextlib.contextmanager
def _part(entry: Corpus, progress: bool | None) -> Iterator[str | None]:
    """The path of a part that this thread alone writes to; None if another one put it in its place while we waited."""
    part = entry.path + ".part"
    descriptor = os.open(part, os.O_RDWR | os.O_CREAT, 0o666)
    try:
        if not _locked(descriptor, lambda: _say(progress, f"{entry.name} is being fetched by another process: waiting for it")):
            yield f"{entry.path}.{os.getpid()}-{os.urandom(4).hex()}.part"
        elif _is_at(descriptor, part):
            yield part
        else:
            yield None
    finally:
        os.close(descriptor)


def _locked(descriptor: int, waiting: Callable[[], None]) -> bool:
    """Lock a file until its descriptor is closed, perhaps after `waiting`; False where there are no locks."""
    try:
        import fcntl
    except ImportError:
        return False
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        waiting()
        fcntl.flock(descriptor, fcntl.LOCK_EX)
    except OSError:  # a file system without locks
        return False
    return True


def _is_at(descriptor: int, path: str) -> bool:
    """Whether an open file is still the one that has this name."""
    try:
        return os.path.samestat(os.fstat(descriptor), os.stat(path))
    except FileNotFoundError:
        return False


def _quiet(progress: bool | None) -> bool:
    return not (bars.can_draw() if progress is None else progress)


def _say(progress: bool | None, text: str) -> None:
    if not _quiet(progress):
        print(text, file=sys.stderr, flush=True)


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
    units = {"unit": "B", "unit_scale": True, "unit_divisor": 1024}
    bar = bars.bar(total=entry.bytes, desc=entry.name, disable=_quiet(progress), leave=False, **units)
    with named_errors(part), open(part, "ab") as file, bar:
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
