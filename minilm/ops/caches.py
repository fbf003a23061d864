"""Sizes of this machine's caches, which products cut their operands to. Results do not depend on them."""

from __future__ import annotations

import functools
import os
import pathlib

# bytes by level, where the machine does not say: the least of what processors of the last ten years have
LEAST = {1: 2**15, 2: 2**18, 3: 2**21}
SHOWN = pathlib.Path("/sys/devices/system/cpu/cpu0/cache")  # Linux: a folder index0, index1, ... for each cache


@functools.cache
def size(level: int) -> int:
    """Bytes of one core's cache for data, of level 1 or 2, or of that of level 3, which several cores share."""
    return _of_system(level) or _of_files(level) or LEAST[level]


def _of_system(level: int) -> int:
    """What the C library says; 0 where it does not know."""
    name = f"SC_LEVEL{level}_{'D' if level == 1 else ''}CACHE_SIZE"
    known = getattr(os, "sysconf_names", {})
    return max(0, os.sysconf(name)) if name in known else 0


def _of_files(level: int) -> int:
    """What Linux shows in its files, as "48K"; 0 where there are none."""
    for folder in SHOWN.glob("index*"):
        try:
            number, kind, text = ((folder / name).read_text().strip() for name in ("level", "type", "size"))
        except OSError:
            continue
        if number == str(level) and kind in ("Data", "Unified") and text[:-1].isdigit():
            return int(text[:-1]) * {"K": 2**10, "M": 2**20}.get(text[-1], 0)
    return 0
