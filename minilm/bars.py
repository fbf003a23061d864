"""Progress bars: on a terminal, and in a notebook's cell. tqdm is imported with the first one."""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from tqdm import tqdm

__all__ = ["bar", "can_draw"]


def can_draw() -> bool:
    """Whether a bar can be drawn where stderr goes: to a terminal, or into a notebook."""
    return _in_a_notebook() or (sys.stderr is not None and sys.stderr.isatty() and _has_columns(sys.stderr))


def bar(*arguments: Any, **options: Any) -> tqdm:
    """A bar with tqdm's arguments; in a notebook its own, made of widgets, where ipywidgets is installed."""
    if _in_a_notebook():
        from tqdm.auto import tqdm  # costs more to import than a terminal's
    else:
        from tqdm import tqdm
    return tqdm(*arguments, **options)


def _has_columns(stream) -> bool:
    """Whether a terminal has a size: tqdm draws nothing on one without columns, such as a new pseudo-terminal."""
    try:
        return os.get_terminal_size(stream.fileno()).columns > 0
    except (OSError, ValueError, AttributeError):  # no real file, as in a test
        return True


def _in_a_notebook() -> bool:
    """Whether a kernel of Jupyter runs this program."""
    shell = getattr(sys.modules.get("IPython"), "get_ipython", lambda: None)()
    return shell is not None and "IPKernelApp" in shell.config
