"""Where minilm keeps files of its own: the cache, a folder of it for code that is run, and a temporary one for want of both."""

from __future__ import annotations

import atexit
import functools
import os
import shutil
import sys
import tempfile
import warnings

__all__ = ["NOWHERE", "cache_folder", "is_own", "own_cache_folder", "private_folder"]

NOWHERE = os.path.join(os.devnull, "minilm")  # a folder that cannot be: reading and writing there fail, for everybody


def cache_folder(*parts: str) -> str:
    """The folder for what can be had again: downloaded corpora, encoded texts, compiled kernels. It need not exist yet.

    ``MINILM_CACHE`` if that is set; else ``minilm`` in the platform's cache folder (``LOCALAPPDATA`` on Windows,
    ``XDG_CACHE_HOME`` or ``~/.cache`` elsewhere); and where no home folder is known, a `private_folder`, with a warning: a
    folder relative to the current one could be anybody's.
    """
    base = os.environ.get("MINILM_CACHE")
    if not base:
        home = os.environ.get("XDG_CACHE_HOME") or os.path.join(os.path.expanduser("~"), ".cache")
        home = os.environ.get("LOCALAPPDATA", home) if sys.platform == "win32" else home
        if os.path.isabs(home):
            base = os.path.join(home, "minilm")
        else:
            base = private_folder()
            warnings.warn(
                f"the cache is a temporary folder, since no home folder is known (a cache in {home!r}); "
                "set MINILM_CACHE to a folder of yours",
                RuntimeWarning,
                stacklevel=2,
            )
    return os.path.join(base, *parts)


@functools.cache
def private_folder() -> str:
    """A temporary folder that only this user can read and write; it goes when the process ends.

    `NOWHERE` where no place can be written to, as in a read-only container: a process then runs without.
    """
    try:
        path = tempfile.mkdtemp(prefix="minilm-")
    except OSError:
        return NOWHERE
    atexit.register(_remove_folder, path, os.getpid())
    return path


def _remove_folder(path: str, process: int) -> None:
    if os.getpid() == process:  # a forked child leaves the folder to its parent
        shutil.rmtree(path, ignore_errors=True)


def own_cache_folder(name: str, *, write: bool = False) -> tuple[str, str | None]:
    """A folder of the cache for what is run: compiled code. It is made, it belongs to this user, and nobody else may write to it.

    Parameters
    ----------
    name : str
    write : bool
        Whether one that can only be read, as of a read-only disk, is of no use.

    Returns
    -------
    path : str
        Where no such folder can be had, a `private_folder`.
    reason : str or None
        Why it is one, or why nothing can be kept in it.
    """
    path = cache_folder(name)
    try:
        os.makedirs(path, mode=0o700, exist_ok=True)
        status = os.stat(path)
        if not is_own(status):
            others = "others may write to it; chmod 700 closes it" if status.st_uid == os.geteuid() else "it is another user's"
            return private_folder(), f"{path} cannot be trusted ({others})"
    except OSError as error:
        return private_folder(), f"{path} cannot be used ({error.strerror or error})"
    try:
        with tempfile.TemporaryFile(dir=path):
            return path, None
    except OSError as error:
        return private_folder() if write else path, f"{path} cannot be written to ({error.strerror or error})"


def is_own(status: os.stat_result) -> bool:
    """Whether a file or folder belongs to this user and nobody else may write to it."""
    return not hasattr(os, "geteuid") or (status.st_uid == os.geteuid() and not status.st_mode & 0o022)
