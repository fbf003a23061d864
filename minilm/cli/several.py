"""Several texts in one word of a command: --corpus A,B."""

from __future__ import annotations

import os


def several(corpus: str) -> list[str]:
    """The names of texts with a comma between them; a file whose own name has a comma in it is one."""
    return [corpus] if os.path.exists(corpus) else corpus.split(",")
