"""Checkpoints: a set of files that is whole at every instant, whatever kills the process.

A run's folder holds ::

    training.json             how far the run has come, and size and sha256 of each file below
    config.json               the model's configuration   }
    tokenizer.json                                        }  as Hugging Face users know them
    model.safetensors         the weights to use          }
    optimizer.safetensors     what training needs beside them

Several files cannot be replaced at one stroke, but one can. So a checkpoint is written in three steps:

1. Every file that changes is written beside the one in use, as ``.NAME.next``, and flushed to the disk.
2. training.json is replaced by one with the new files' sha256: a rename, which happens or does not. **This is the commit.**
3. Each ``.NAME.next`` is renamed to ``NAME``.

Killed before 2, training.json still describes the files in use, and the ``.next`` ones are of no account. Killed after it,
a file is the one of the two whose sha256 training.json has: `Checkpoint.read` looks for it under both names, and whoever
opens the folder to write (`minilm.training.run_folder`), or writes next, first completes step 3. So weights and optimizer are
always of one step, and the plain names always hold whole files.

A new run in a folder follows the same steps, which means that with ``--overwrite`` the old run stays until the new one stands.

Checkpoints that stay (``keep_every``) are second names of these files in folders step-N: see `minilm.training.kept`.

A recipe's run does the same with files of its own, see `minilm.recipes.folder`: a `Layout` has the names.

In a folder where others may write too, a symbolic link that somebody has put at one of these names is replaced, not followed.
"""

from __future__ import annotations

import contextlib
import fnmatch
import hashlib
import os
import re
from collections.abc import Callable, Iterable, Mapping
from typing import Any, NamedTuple

from minilm.checksums import file_hash, open_file_hash
from minilm.training import log, trace
from minilm.training.state import TrainingState
from minilm.typing import PathLike
from minilm.weights import TensorFile

__all__ = [
    "FILES",
    "RECIPE_STATE",
    "SAMPLE",
    "STATE",
    "STATES",
    "TRAINING",
    "UNFINISHED",
    "Checkpoint",
    "Layout",
    "holds_run",
    "pending",
    "read_state",
]

STATE, RECIPE_STATE = STATES = "training.json", "recipe.json"  # of `minilm train`, and of a recipe
FILES = ("config.json", "tokenizer.json", "model.safetensors", "optimizer.safetensors")
SAMPLE = "sample.txt"  # what the model writes at the end of a run
ATTEMPTS = 100  # to read while a training process replaces the files
UNFINISHED = re.compile(r"\.(.+)\.(next|[0-9a-f]{8}\.tmp)")  # a file that waits for its name, or that is not whole


class Layout(NamedTuple):
    """The files of one kind of run."""

    state: str  # the one whose rename commits
    files: tuple[str, ...]  # that each checkpoint has
    read: Callable[[bytes], tuple[Any, dict[str, dict]]]  # the state, and the checkpoint's files, from the content of `state`
    more: tuple[str, ...] = ()  # that a checkpoint may have too: names, or patterns of names as `fnmatch` knows them
    beside: tuple[str, ...] = ()  # that belong to the run, and to no checkpoint

    def keeps(self, name: str) -> bool:
        """Whether a file of this name may belong to a checkpoint."""
        return os.path.basename(name) == name and any(fnmatch.fnmatchcase(name, each) for each in (*self.files, *self.more))

    def makes(self, name: str) -> bool:
        """Whether a file of this name is the run's."""
        return name == self.state or name in self.beside or self.keeps(name)


TRAINING = Layout(STATE, FILES, TrainingState.from_json, beside=(log.NAME, trace.NAME, log.PLOT, SAMPLE))


def pending(name: str) -> str:
    """What a file of a checkpoint is called until it is the one in use."""
    return f".{name}.next"


def holds_run(folder: PathLike) -> str | None:
    """The file that shows that a folder holds a run, or a model of somebody's; None if there is none."""
    return next((name for name in (*STATES, *FILES) if os.path.lexists(os.path.join(folder, name))), None)


class Checkpoint:
    """A checkpoint that was read: the state, and the files' contents by name, each with the sha256 it must have.

    Those of arrays are `TensorFile`, open and not yet read: what replaces a file meanwhile does not change the open one.
    """

    def __init__(self, folder: str, state: Any, files: dict[str, dict], contents: dict[str, Any]):
        self.folder, self.state, self.files, self.contents = folder, state, files, contents

    @classmethod
    def read(
        cls, folder: PathLike, names: Iterable[str] | None = None, layout: Layout = TRAINING, without: Iterable[str] = ()
    ) -> Checkpoint:
        """Read a run's checkpoint; nothing is written.

        Parameters
        ----------
        folder : path
        names : sequence of str, optional
            The files wanted; all of the checkpoint without it.
        layout : Layout
        without : sequence of str
            Files that are not wanted.

        Raises
        ------
        FileNotFoundError
            There is no such folder, or no run in it.
        ValueError
            A file is damaged; says which, what it is and what was wanted.
        """
        folder = os.fspath(folder)
        content = read_state(folder, layout.state)
        for _ in range(ATTEMPTS):
            try:
                state, files = layout.read(content)
                requested = dict.fromkeys((*layout.files, *files) if names is None else names)
                requested = [name for name in requested if name not in without]
                for name in requested:
                    _check_entry(name, files[name], layout)
            except (ValueError, TypeError, KeyError, OverflowError) as error:
                wrong = f"it lacks {error}" if isinstance(error, KeyError) else error
                raise ValueError(f"{os.path.join(folder, layout.state)} is damaged: {wrong}") from None
            contents = {name: _find(folder, name, files[name]) for name in requested}
            before, content = content, read_state(folder, layout.state)
            if None not in contents.values():
                return cls(folder, state, files, contents)
            if content == before:  # nobody replaced the checkpoint meanwhile
                break
        name = next(name for name in requested if contents[name] is None)
        raise ValueError(_fault(folder, name, files[name], state.step))


def _check_entry(name: str, entry, layout: Layout) -> None:
    """TypeError unless the state says of a file how many bytes it has, and their sha256; ValueError for one of another kind."""
    if not layout.keeps(name):
        raise ValueError(f"{name!r} is no file of a checkpoint")
    if not isinstance(entry, dict) or type(entry.get("bytes")) is not int or not isinstance(entry.get("sha256"), str):
        raise TypeError(f"files.{name} must be a JSON object with bytes and sha256, got {entry!r}")


def read_state(folder: str, state: str) -> bytes:
    if not os.path.isdir(folder):
        raise FileNotFoundError(f"there is no folder {folder}")
    try:
        with open(os.path.join(folder, state), "rb") as file:
            return file.read()
    except FileNotFoundError:
        raise FileNotFoundError(f"there is no run in {folder}: it has no {state}") from None


def _find(folder: str, name: str, entry: Mapping) -> bytes | TensorFile | None:
    """The content of a file under either name, if it is what training.json says."""
    for candidate in (name, pending(name), name):  # once more, where it got its name between the two looks
        with contextlib.suppress(FileNotFoundError), open(os.path.join(folder, candidate), "rb") as file:
            if os.fstat(file.fileno()).st_size != entry["bytes"]:
                continue
            if name.endswith(".safetensors"):
                if open_file_hash(file) == entry["sha256"]:
                    return TensorFile(os.path.join(folder, name), os.dup(file.fileno()))
            elif hashlib.sha256(content := file.read()).hexdigest() == entry["sha256"]:
                return content
    return None


def _fault(folder: str, name: str, entry: Mapping, step: int) -> str:
    path = os.path.join(folder, name)
    if not os.path.exists(path):
        return f"{path} is missing; it belongs to the checkpoint of step {step}"
    size = os.path.getsize(path)
    if size != entry["bytes"]:
        return f"{path} is damaged or not of this run: {size:,} bytes, wanted the {entry['bytes']:,} of step {step}"
    digest = file_hash(path)
    return f"{path} is damaged or not of this run: sha256 {digest[:16]}..., wanted {entry['sha256'][:16]}... of step {step}"
