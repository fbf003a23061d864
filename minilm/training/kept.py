"""Checkpoints that stay: folders step-N in a run's folder, each a run of its own that can be loaded, replayed or gone on with.

A file of a checkpoint is replaced by another, never written again, so in step-N it has a second name, at no cost of room.
"""

from __future__ import annotations

import os
import re
import shutil
from typing import TYPE_CHECKING

from minilm.files import flush_folder
from minilm.training.checkpoint import STATE
from minilm.typing import PathLike

if TYPE_CHECKING:
    from minilm.training.run_folder import Folder

__all__ = ["folder_of", "forget", "keep", "kept_steps"]

PREFIX = "step-"


def folder_of(run: PathLike, step: int) -> str:
    """Where the checkpoint of a step is kept."""
    return os.path.join(os.fspath(run), f"{PREFIX}{step}")


def kept_steps(run: PathLike) -> list[int]:
    """The steps whose checkpoints a run's folder has kept, in order."""
    names = [re.fullmatch(f"{PREFIX}([1-9][0-9]*)", name) for name in os.listdir(run)]
    steps = sorted(int(name[1]) for name in names if name)
    return [step for step in steps if os.path.isfile(os.path.join(folder_of(run, step), STATE))]


def keep(folder: Folder, step: int) -> None:
    """Keep the checkpoint that was written last; nothing if it is kept already. The folder appears whole or not at all."""
    target = folder_of(folder.path, step)
    if os.path.lexists(target):
        return
    staged = os.path.join(folder.path, f".{PREFIX}{step}.tmp")
    shutil.rmtree(staged, ignore_errors=True)
    try:
        os.mkdir(staged)
        for name in (*folder.files, folder.layout.state):
            _link(os.path.join(folder.path, name), os.path.join(staged, name))
        flush_folder(staged)
        os.rename(staged, target)
    except OSError as error:
        shutil.rmtree(staged, ignore_errors=True)
        raise OSError(error.errno, error.strerror, target) from None
    flush_folder(folder.path)


def _link(source: str, target: str) -> None:
    try:
        os.link(source, target)
    except OSError:  # a file system without second names
        shutil.copyfile(source, target)


def forget(run: PathLike) -> None:
    """Remove what was kept of a run that another one has replaced."""
    for step in kept_steps(run):
        shutil.rmtree(folder_of(run, step))
