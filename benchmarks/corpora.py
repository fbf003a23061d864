"""Where the public texts are that some cases and tasks want: a folder, else minilm's own corpora by name."""

from __future__ import annotations

import os

FOLDER = "MINILM_TEST_CORPORA"  # the environment variable that names the folder
FILES = {  # name -> the file in the folder, or the folder of its parts
    "tinyshakespeare": "tinyshakespeare.txt",
    "dates": "date.txt",
    "sst2": "sst2",  # train.tsv and dev.tsv
    "wikitext": "wikitext2-valid.txt",
}
NAMED = {"tinyshakespeare": "tinyshakespeare", "dates": "date", "wikitext": "wikitext2-valid"}  # name -> of minilm's manifest


def path(name: str, folder: str | None = None) -> str | None:
    """The path of a text: in `folder`, in the one that the environment names, or in minilm's cache; None where it is not."""
    for place in (folder, os.environ.get(FOLDER)):
        if place and os.path.exists(file := os.path.join(place, FILES[name])):
            return file
    if folder is not None or name not in NAMED:
        return None
    from minilm import data

    try:
        return data.corpus(NAMED[name])
    except ValueError:
        return None


def missing(name: str) -> str:
    """What to do where a text is missing."""
    fetch = f", or `minilm corpus fetch {NAMED[name]}`" if name in NAMED else ""
    return f"{name} is not here: {FOLDER} (or --corpora) names a folder with {FILES[name]}{fetch}"
