"""Readers on files that are changed at random, for as long as one likes: ``python -m tests.fuzz --minutes 60``.

The readers and changes are those of `tests.strangers` and `tests.test_strangers_files` (folders of models, runs and tokenizers)
and `tests.data.test_damaged_files` (texts, corpora, token files, vectors), with other draws for every --seed. A reader must give
a result, or a ValueError, TypeError or OSError in one line, within 5 s and 3 GiB; what does else is printed, and the status is 1.
"""

from __future__ import annotations

import argparse
import collections
import pathlib
import random
import shutil
import sys
import tempfile
import time
import warnings

import numpy as np

from tests import test_strangers_files as folders
from tests.data import test_damaged_files as files

ROUND = 20  # changes of a file before the next reader comes


class Folder:
    """A folder that a reader of `tests.strangers` reads."""

    def __init__(self, name: str, where: pathlib.Path):
        make, self.read = folders.READERS[name]
        self.name, self.folder, self.whole = name, where / "folder", where / "whole"
        self.folder.mkdir(parents=True)
        make(self.folder)
        shutil.copytree(self.folder, self.whole)

    def once(self, rng: random.Random) -> bool:
        """Whether it was refused."""
        path = rng.choice(list(folders.read_files(self.folder, self.name)))
        return folders.read_changed(self.read, self.folder, self.whole, path, rng)


class File:
    """A file that a loader of `tests.data.test_damaged_files` reads."""

    def __init__(self, name: str, where: pathlib.Path):
        self.content, self.read = files.LOADERS[name]
        where.mkdir()
        self.path = where / ("data.json" if name in ("answer", "counts of questions") else "data")

    def once(self, rng: random.Random) -> bool:
        """Whether it was refused."""
        new = files.mutated(np.random.default_rng(rng.getrandbits(64)), self.content)
        self.path.write_bytes(new)
        return folders.read_one(self.read, self.path, f"{new[:3000]!r}")


def main() -> int:
    """Change and read until the time is over."""
    parser = argparse.ArgumentParser(prog="python -m tests.fuzz", description=__doc__.partition("\n")[0])
    parser.add_argument("--minutes", type=float, default=1.0)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("names", nargs="*", metavar="NAME", help="readers whose names hold one of these (all)")
    args = parser.parse_args()
    warnings.simplefilter("ignore")
    rng, end = random.Random(args.seed), time.monotonic() + 60 * args.minutes
    changes, refused, wrong = collections.Counter(), collections.Counter(), collections.Counter()
    with tempfile.TemporaryDirectory() as scratch:
        subjects: dict[str, Folder | File] = {}
        for kind, table, made in (("", folders.READERS, Folder), ("file: ", files.LOADERS, File)):
            chosen = [name for name in table if not args.names or any(part in kind + name for part in args.names)]
            subjects |= {kind + name: made(name, pathlib.Path(scratch, f"{made.__name__} {name}")) for name in chosen}
        if not subjects:
            parser.error(f"no reader's name holds {' or '.join(args.names)}")
        while time.monotonic() < end:
            for name, subject in subjects.items():
                for _ in range(ROUND):
                    changes[name] += 1
                    try:
                        refused[name] += subject.once(rng)
                    except AssertionError as error:
                        wrong[name] += 1
                        print(f"{name}: {error}", flush=True)
    for name in subjects:
        print(f"{name:<28}{changes[name]:>9,} changed{refused[name]:>9,} refused{wrong[name]:>5,} wrong")
    print(f"{'all':<28}{changes.total():>9,} changed{refused.total():>9,} refused{wrong.total():>5,} wrong")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
