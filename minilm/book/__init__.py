"""The book: chapters made from the sources, as one folder of HTML that opens offline. ``minilm book OUT`` writes it.

What a chapter says of an op is the op's specification, what it shows is the code that runs, and what an exercise answers is what
the gradient check says while the book is written. Nothing is copied, so nothing goes stale.

The chapters are the files of ``chapters/``, in reStructuredText with the directives of `minilm.book.directives`.
"""

from minilm.book.needed import require

require()  # before the modules that import the libraries
from minilm.book.notebooks import write_notebooks  # noqa: E402
from minilm.book.site import CHAPTERS, write  # noqa: E402

__all__ = ["CHAPTERS", "write", "write_notebooks"]


def __dir__() -> list[str]:
    return sorted(__all__)
