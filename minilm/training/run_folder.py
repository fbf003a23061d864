"""A run's folder as the process that trains has it: checkpoints are written there as `minilm.training.checkpoint` says."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable, Mapping
from typing import Any

from minilm import __version__
from minilm.checksums import file_hash
from minilm.files import Hashed, flush_folder, locked_folder, written_whole
from minilm.training.checkpoint import STATES, TRAINING, UNFINISHED, Checkpoint, Layout, holds_run, pending, read_state
from minilm.typing import PathLike

__all__ = ["Folder", "ReadFolder"]


class Folder:
    """A run's folder as the process that trains sees it: it alone writes, and holds a lock until `close`.

    Parameters
    ----------
    path : path
        Made if it is not there.
    created : bool
        Whether the caller has just created it.
    layout : Layout

    Raises
    ------
    ValueError
        If another process trains there.
    """

    def __init__(self, path: PathLike, created: bool = False, layout: Layout = TRAINING):
        self.path, self.layout = os.fspath(path), layout
        self._created = created or not os.path.isdir(self.path)
        os.makedirs(self.path, exist_ok=True)
        self._lock = locked_folder(self.path)
        self.files: dict[str, dict] = {}
        self._complete()
        self._clean()

    def read(self) -> Checkpoint:
        """The checkpoint to go on from."""
        self._complete()
        checkpoint = Checkpoint.read(self.path, layout=self.layout)
        self.files = checkpoint.files
        return checkpoint

    def renew(self) -> bool:
        """Make the folder again if somebody removed it.

        Returns
        -------
        missing : bool
            Whether files of the last checkpoint are no longer there, so that the next one must have all of them.

        Raises
        ------
        FileExistsError, ValueError
            Another run has been put, or is trained, in its place.
        """
        if not self._is_locked_one():
            if os.path.isdir(self.path) and (held := holds_run(self.path)):
                raise FileExistsError(f"{self.path} was removed while a run trained there, and holds {held} of another one")
            os.makedirs(self.path, exist_ok=True)
            lock = locked_folder(self.path)
            self.close()
            self._lock = lock
        names = set(os.listdir(self.path))
        return any(not names & {name, pending(name)} for name in self.files)

    def _is_locked_one(self) -> bool:
        """Whether the folder is still the one that was locked."""
        try:
            now = os.stat(self.path)
        except FileNotFoundError:
            return False
        return self._lock is None or os.path.samestat(now, os.fstat(self._lock))

    def save(self, state: Any, writers: Mapping[str, Callable]) -> None:
        """Write a checkpoint.

        Parameters
        ----------
        state : TrainingState, or what the layout reads
        writers : mapping of str to callable
            For each file that changes, ``write(file)``; the others stay.

        Raises
        ------
        OSError
            With the file's name. The checkpoint before is still there, or this one is.
        """
        files, content = dict(self.files), None
        self._complete()
        try:
            for name, write in writers.items():
                files[name] = self._write_next(name, write)
            flush_folder(self.path)
            content = state.to_json(files, __version__)
            with written_whole(os.path.join(self.path, self.layout.state)) as file:
                file.write(content)
        except BaseException:
            if content is None or not self._committed(content):
                for name in writers:
                    with contextlib.suppress(OSError):
                        os.remove(os.path.join(self.path, pending(name)))
            raise
        self.files = files
        self._rename(writers)

    def close(self) -> None:
        """Let other processes train here."""
        if self._lock is not None:
            os.close(self._lock)
            self._lock = None

    def discard(self) -> None:
        """Close it, and remove the folder if it was made here and nothing was put into it."""
        self.close()
        if self._created:
            with contextlib.suppress(OSError):
                os.rmdir(self.path)

    def _complete(self) -> None:
        """The third step, where what wrote the checkpoint came to its end before it."""
        names = {name[1:].removesuffix(".next"): name for name in os.listdir(self.path)}
        waiting = [name for name, shown in names.items() if shown == pending(name) and self.layout.keeps(name)]
        if not waiting:
            return
        try:
            _, files = self.layout.read(read_state(self.path, self.layout.state))
        except (OSError, ValueError, TypeError, KeyError, OverflowError):  # no checkpoint: none of them is committed
            return
        paths = {name: os.path.join(self.path, pending(name)) for name in waiting if name in files}
        self._rename([name for name, path in paths.items() if not os.path.islink(path) and _same(path, files[name])])

    def _clean(self) -> None:
        """Remove what processes that were killed have left: files that were never committed, or not whole.

        A run of the other kind is left alone, whose committed files may still wait for their names.
        """
        if any(os.path.lexists(os.path.join(self.path, state)) for state in STATES if state != self.layout.state):
            return
        for name in os.listdir(self.path):
            left = UNFINISHED.fullmatch(name)
            if left and self.layout.makes(left[1]):
                with contextlib.suppress(OSError):
                    os.remove(os.path.join(self.path, name))

    def _write_next(self, name: str, write) -> dict:
        path = os.path.join(self.path, pending(name))
        try:
            with contextlib.suppress(FileNotFoundError):
                os.remove(path)
            with open(path, "xb") as file:  # a file of this process's own, not one that a link leads to
                hashed = Hashed(file)
                write(hashed)
                file.flush()
                os.fsync(file.fileno())
        except OSError as error:
            raise OSError(error.errno, error.strerror, os.path.join(self.path, name)) from None
        return {"bytes": hashed.bytes, "sha256": hashed.digest.hexdigest()}

    def _committed(self, content: bytes) -> bool:
        """Whether the rename that commits took place before whatever was raised, such as Ctrl-C."""
        with contextlib.suppress(OSError), open(os.path.join(self.path, self.layout.state), "rb") as file:
            return file.read() == content
        return False

    def _rename(self, names) -> None:
        """The third step: committed files get their names."""
        for name in names:
            os.replace(os.path.join(self.path, pending(name)), os.path.join(self.path, name))
        flush_folder(self.path)


class ReadFolder:
    """A run's folder as those ranks of a job see it that leave the writing to another one.

    Parameters
    ----------
    path : path
    """

    def __init__(self, path: PathLike, layout: Layout = TRAINING):
        self.path, self.layout = os.fspath(path), layout

    def read(self) -> Checkpoint:
        """The checkpoint to go on from."""
        return Checkpoint.read(self.path, layout=self.layout)

    def close(self) -> None:
        """Nothing was taken."""

    discard = close


def _same(path: str, entry: Mapping) -> bool:
    return os.path.getsize(path) == entry["bytes"] and file_hash(path) == entry["sha256"]
