"""Numbers of this processor that are kept between runs, in the cache folder: its best rates, and the quiet times of the controls.

A busy minute lowers what is measured in it, and never raises it: the best that a processor ever showed is the truer figure.
"""

from __future__ import annotations

import json
import os

from minilm import files
from minilm.cache_folders import cache_folder


def _path(name: str) -> str:
    return cache_folder("benchmarks", f"{name}.json")


def read(name: str) -> dict:
    """What is kept under a name; empty where there is nothing yet, or a damaged file."""
    try:
        with open(_path(name), encoding="utf-8") as file:
            content = json.load(file)
    except (OSError, ValueError):
        return {}
    return content if isinstance(content, dict) else {}


def write(name: str, key: str, value) -> None:
    """Keep a value under a key, beside the others. Where the folder cannot be written to, nothing is kept."""
    try:
        os.makedirs(os.path.dirname(_path(name)), exist_ok=True)
        with files.written_whole(_path(name)) as file:
            file.write(json.dumps({**read(name), key: value}).encode())
    except OSError:
        pass
