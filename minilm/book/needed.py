"""The libraries of the extra `book`, asked for before a module that imports one of them."""

from __future__ import annotations

import importlib

__all__ = ["require"]


def require() -> None:
    """ValueError in one line unless all of them can be imported."""
    for name in ("docutils", "latex2mathml.converter", "pygments"):
        try:
            importlib.import_module(name)
        except ImportError:
            raise ValueError(f"the book needs {name.partition('.')[0]}: pip install 'minilm[book]'") from None
