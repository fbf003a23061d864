"""Several texts as one: what each keeps for validation comes last.

::

    file 1  = t_1 v_1,  file 2 = t_2 v_2         v_i: the last part of each, as `Text.split` cuts
    joined  = t_1 \\n t_2 \\n v_1 \\n v_2 \\n

so that one cut of the whole gives a training part and a validation part in which every file has its share.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Sequence
from typing import NamedTuple

from minilm.cache_folders import cache_folder
from minilm.data.texts import Text
from minilm.files import written_whole

__all__ = ["Joined", "joined"]

END = "\n"


class Joined(NamedTuple):
    """What `joined` wrote."""

    path: str  # of the whole
    parts: tuple[int, ...]  # characters of each file's training part, its line end included; they sum to the whole's


def joined(texts: Sequence[Text], fraction: float) -> Joined:
    """Write several texts as one into minilm's cache folder, under a name that its content gives.

    Parameters
    ----------
    texts : sequence of Text
        At least two.
    fraction : float
        Of each, for validation.

    Raises
    ------
    ValueError
        A text is too short to give a part of it.
    """
    pairs = [text.split(fraction) for text in texts]
    lengths = [(train.length + len(END), validation.length + len(END)) for train, validation in pairs]
    cut = int(sum(map(sum, lengths)) * (1 - fraction))  # where `Text.split` will cut the whole
    longest = max(range(len(texts)), key=lambda i: lengths[i])
    more = cut - sum(train for train, _ in lengths)  # rounding, and line ends: a few characters, of the longest text
    train, validation = pairs[longest]
    middle = train.start + train.length + more
    whole = texts[longest]
    if not train.start < middle < validation.start + validation.length:
        raise ValueError(f"{whole}: it is too short to give a fraction of {fraction} to validation")
    pairs[longest] = Text(whole.path, train.start, middle, whole.errors), Text(whole.path, middle, validation.stop, whole.errors)
    parts = [size for size, _ in lengths]
    parts[longest] += more
    return Joined(_written([side for sides in zip(*pairs, strict=True) for side in sides]), tuple(parts))


def _written(texts: Sequence[Text]) -> str:
    folder = cache_folder("texts")
    os.makedirs(folder, exist_ok=True)
    partial, digest = os.path.join(folder, f"partial-{os.urandom(8).hex()}"), hashlib.sha256()
    with written_whole(partial) as file:
        for text in texts:
            for piece in (*text, END):
                content = piece.encode("utf-8")
                file.write(content)
                digest.update(content)
    path = os.path.join(folder, f"mixture-{digest.hexdigest()[:16]}.txt")
    os.replace(partial, path)
    return path
