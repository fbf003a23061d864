"""A file of a run that grows with the steps, and how much of it each checkpoint owns."""

from __future__ import annotations

import hashlib
import os
from typing import NamedTuple

from minilm.files import named_errors, open_in_place, under_its_name
from minilm.typing import PathLike

__all__ = ["GrowingFile", "Mark"]


class Mark(NamedTuple):
    """How much of a growing file belongs to a checkpoint."""

    bytes: int
    sha256: str


class GrowingFile:
    """A file of a run's folder, at whose end something is added step by step.

    Parameters
    ----------
    folder : str or os.PathLike
    name : str
    keep : int
        How many bytes belong to the checkpoint that the run goes on from. What follows them is cut off, so that a resumed run has
        the same file as one that was never stopped. 0 begins the file anew, and so do more than it has.
    head : bytes
        What a new file begins with.

    Raises
    ------
    OSError
        From each method, with the file's name: it cannot be opened or written.
    """

    def __init__(self, folder: PathLike, name: str, keep: int = 0, head: bytes = b""):
        self.path = os.path.join(os.fspath(folder), name)
        self._digest = hashlib.sha256()
        with named_errors(self.path):
            self._file = open_in_place(self.path)
            content = self._file.read(keep)
            if len(content) < keep:
                content = b""
            self._file.truncate(len(content))
            self._file.seek(len(content))
            self._digest.update(content)
            if not content:
                self.append(head)
                self._file.flush()

    def append(self, data: bytes) -> None:
        """Add to the file's end; `flush` brings it to the disk."""
        with named_errors(self.path):
            self._file.write(data)
        self._digest.update(data)

    def flush(self) -> Mark:
        """Bring to the disk what there is, and say how much it is; where somebody has removed the file, it is written again."""
        with named_errors(self.path):
            self._file = under_its_name(self._file, self.path)
            self._file.flush()
            os.fsync(self._file.fileno())
        return Mark(self._file.tell(), self._digest.hexdigest())

    def close(self) -> None:
        """Close the file."""
        with named_errors(self.path):
            self._file.close()
