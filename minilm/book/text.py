"""From reStructuredText, which the chapters and the docstrings are written in, to HTML; literal blocks become formulas."""

from __future__ import annotations

import html
import re
from collections.abc import Callable, Iterable

from docutils import core, nodes
from docutils.writers import html5_polyglot

from minilm.book import formulas

__all__ = ["Formulas", "render", "table_names"]


class Formulas:
    """The formulas of a part of a chapter, as they are met.

    Parameters
    ----------
    prefix : str
        What their ids begin with.
    names : iterable of str
        Of arrays and parameters, beside what the formulas define.
    computed : iterable of str
        The names that some line of code assigns: a formula that defines one of them gets a number.
    """

    def __init__(self, prefix: str, names: Iterable[str] = (), computed: Iterable[str] = ()):
        self.prefix, self.names, self.computed = prefix, set(names), set(computed)
        self.ids: dict[str, list[str]] = {}  # name -> the formulas that define it
        self.count = 0

    def block(self, text: str) -> str:
        """A literal block as HTML."""
        rows = formulas.rows(text)
        self.names |= {name for row in rows for name in row.defines}
        return f'<div class="formulas">{"".join(self._row(row) for row in rows)}</div>'

    def _row(self, row: formulas.Row) -> str:
        defined = [name for name in dict.fromkeys(row.defines) if name in self.computed]
        cells = "".join(f'<span class="cell">{self._cell(cell)}</span>' for cell in row)
        if not defined:
            return f'<div class="formula"><span class="cells">{cells}</span></div>'
        self.count += 1
        id = f"{self.prefix}-f{self.count}"
        for name in defined:
            self.ids.setdefault(name, []).append(id)
        number = f'<a class="number" href="#{id}">({self.count})</a>'
        return f'<div class="formula" id="{id}" data-links="{id}" tabindex="0"><span class="cells">{cells}</span>{number}</div>'

    def _cell(self, cell: str) -> str:
        pieces = [formulas.mathml(piece, self.names) for piece in formulas.pieces(cell)]
        if None not in pieces:
            return " ".join(pieces)
        return formulas.mathml(cell, self.names) or f'<span class="remark">{_inline(cell)}</span>'


def _inline(text: str) -> str:
    return re.sub(r"`+([^`]+)`+", r"<code>\1</code>", html.escape(text))


def table_names(docstring: str) -> set[str]:
    """The arrays that a docstring's table of shapes lists in its first column."""
    names: set[str] = set()
    edges = [number for number, line in enumerate(docstring.splitlines()) if re.fullmatch(r"(=+ *)+", line)]
    if len(edges) >= 3:
        for line in docstring.splitlines()[edges[1] + 1 : edges[2]]:
            names.update(re.findall(r"[^\W\d]\w*", re.split(r" {2,}|\(", line)[0]))
    return names


class _Translator(html5_polyglot.HTMLTranslator):
    """Literal blocks as formulas, names of modules as links."""

    def visit_literal_block(self, node):
        if "code" in node["classes"]:
            return super().visit_literal_block(node)
        self.body.append(self.settings.formulas.block(node.astext()))
        raise nodes.SkipNode

    def visit_title_reference(self, node):
        target = self.settings.address(node.astext())
        code = f"<code>{html.escape(node.astext())}</code>"
        self.body.append(f'<a href="{html.escape(target)}">{code}</a>' if target else code)
        raise nodes.SkipNode


class _Writer(html5_polyglot.Writer):
    def __init__(self):
        super().__init__()
        self.translator_class = _Translator


def render(source: str, formulas: Formulas, address: Callable[[str], str | None] = lambda name: None, level: int = 2) -> str:
    """HTML of a text.

    Parameters
    ----------
    source : str
    formulas : Formulas
        Gets the formulas of the text.
    address : callable
        Where the book speaks of a name in single backticks; None where it does not.
    level : int
        Of the text's own headings.

    Raises
    ------
    ValueError
        With docutils's message, where the text is not what it should be.
    """
    settings = {
        "formulas": formulas,
        "address": address,
        "initial_header_level": level,
        "doctitle_xform": False,
        "syntax_highlight": "short",
        "report_level": 2,
        "halt_level": 2,
        "warning_stream": False,
        "file_insertion_enabled": False,
        "smart_quotes": False,
        "table_style": "colwidths-auto",
    }
    try:
        return core.publish_parts(source, writer=_Writer(), settings_overrides=settings)["body"]
    except Exception as error:  # docutils's SystemMessage, and what a directive raises
        raise ValueError(f"{str(error).strip()[:600]} in the text that begins with {source[:60]!r}") from error
