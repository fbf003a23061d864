"""The chapters as Jupyter notebooks: the same text, formulas as LaTeX, every Python example a cell that runs.

A chapter's directives become cells of their own: an op its specification and its oracle, a page its source, an exercise the
question and a cell that breaks the line and prints what the gradient check says.
"""

from __future__ import annotations

import ast
import json
import os
import pathlib
import re
import textwrap
from collections.abc import Callable, Iterable

from docutils import nodes
from docutils.core import publish_doctree

from minilm import __version__
from minilm.book import directives, formulas, listings
from minilm.book.needed import require
from minilm.book.site import CHAPTERS, folder_for, source_of
from minilm.book.text import table_names
from minilm.files import written_whole
from minilm.typing import PathLike

__all__ = ["cells", "write_notebooks"]

DIRECTIVE = re.compile(r"^\.\. (code|op|page|file|columns|rates|exercise):: *(.*)\n((?:(?: +.*)?\n)*)", re.M)
RATES = "The measurements of these kernels stand in the book and in benchmarks/README.md."


def write_notebooks(out: PathLike, progress: Callable[[str], None] = lambda title: None) -> list[str]:
    """Write every chapter as ``NUMBER-NAME.ipynb`` into a folder.

    Parameters
    ----------
    out : path
        A folder, cells if it is not there. Notebooks of these names are replaced, others are left alone.
    progress : callable
        Called with each chapter's name as it is written.

    Returns
    -------
    list of str
        The paths.

    Raises
    ------
    ValueError
        docutils, pygments or latex2mathml is not installed (the extra `book`).
    NotADirectoryError
        `out` is a file.
    """
    require()
    out = folder_for("notebooks", out)
    os.makedirs(out, exist_ok=True)
    paths = []
    for number, name in enumerate(CHAPTERS, 1):
        progress(name)
        path = os.path.join(out, f"{number:02}-{name}.ipynb")
        with written_whole(path) as file:
            file.write(json.dumps(_notebook(cells(source_of(name))), ensure_ascii=False, indent=1).encode("utf-8"))
        paths.append(path)
    return paths


def cells(source: str) -> list[tuple[str, str]]:
    """The cells of a chapter, ("markdown" or "code", text) each, in order."""
    result, end = [], 0
    for match in DIRECTIVE.finditer(source):
        result.append(("markdown", markdown(source[end : match.start()])))
        result += _CELLS[match[1]](match[2].strip(), textwrap.dedent(match[3]).strip("\n"))
        end = match.end()
    result.append(("markdown", markdown(source[end:])))
    return [cell for cell in result if cell[1].strip()]


# --- directives -------------------------------------------------------------------------------------------------------


def _code(language: str, content: str) -> list[tuple[str, str]]:
    named = re.match(r":name: (.*)\n+", content)  # the content of a file, which does not run here
    if named:
        return [("markdown", f"`{named[1]}`\n\n{_fenced(content[named.end() :], language)}")]
    return [("code", content)] if language == "python" else [("markdown", _fenced(content, language))]


def _op(name: str, content: str) -> list[tuple[str, str]]:
    folder = directives.folder_of(name)
    oracle = (folder / "oracle.py").read_text(encoding="utf-8")
    title = f"The oracle, `{folder.name}/oracle.py`; the kernels are `cpu.py` and `gpu.cu` beside it:"
    words = markdown(_docstring(folder / "spec.py"), directives.parameters_of(oracle))
    return [("markdown", words), ("markdown", f"{title}\n\n{_fenced(oracle, 'python')}")]


def _page(name: str, content: str) -> list[tuple[str, str]]:
    path = directives.ROOT / "minilm" / "pages" / f"{name}.py"
    code = listings.source_of(path, listings.CODE)
    return [("markdown", markdown(_docstring(path))), ("markdown", _fenced(code, "python"))]


def _file(arguments: str, content: str) -> list[tuple[str, str]]:
    name, _, part = arguments.partition(" ")
    path = directives.ROOT / name
    return [("markdown", f"`{name}`\n\n{_fenced(listings.source_of(path, part or None), listings.LANGUAGES[path.suffix])}")]


def _columns(names: str, content: str) -> list[tuple[str, str]]:
    paths = [directives.folder_of(name) / "oracle.py" for name in names.split()]
    return [
        ("markdown", f"`{path.parent.name}`\n\n{_fenced(listings.source_of(path, directives.step_of(path)), 'python')}")
        for path in paths
    ]


def _rates(names: str, content: str) -> list[tuple[str, str]]:
    return [("markdown", RATES)]


def _exercise(op: str, content: str) -> list[tuple[str, str]]:
    old, new = (re.search(rf"^:{key}: (.*)$", content, re.M)[1] for key in ("old", "new"))
    question = markdown(re.sub(r"^:(old|new): .*\n", "", content, flags=re.M))
    run = f"from minilm.book import broken\n\nprint(broken.report({op!r}, {old!r}, {new!r}))"
    return [("markdown", f"**Exercise.** {question}\n\n{_fenced(f'- {old}{chr(10)}+ {new}', 'diff')}"), ("code", run)]


_CELLS: dict[str, Callable[[str, str], list[tuple[str, str]]]] = {
    "code": _code,
    "op": _op,
    "page": _page,
    "file": _file,
    "columns": _columns,
    "rates": _rates,
    "exercise": _exercise,
}


def _docstring(path: pathlib.Path) -> str:
    return ast.get_docstring(ast.parse(path.read_text(encoding="utf-8"))) or ""


def _fenced(text: str, language: str) -> str:
    return f"```{language}\n{text.strip()}\n```"


# --- text -------------------------------------------------------------------------------------------------------------


def markdown(source: str, names: Iterable[str] = ()) -> str:
    """reStructuredText as Markdown; literal blocks become formulas, in which `names` are variables and other words are text."""
    settings = {"report_level": 5, "file_insertion_enabled": False, "doctitle_xform": False, "smart_quotes": False}
    visitor = _Markdown(publish_doctree(source, settings_overrides=settings), {*names, *table_names(source)})
    visitor.document.walkabout(visitor)
    return re.sub(r"\n{3,}", "\n\n", "".join(visitor.parts)).strip()


class _Markdown(nodes.GenericNodeVisitor):
    """Writes `parts`."""

    MARKS = {nodes.emphasis: "*", nodes.strong: "**"}

    def __init__(self, document: nodes.document, names: set[str]):
        super().__init__(document)
        self.parts: list[str] = []
        self.names = names
        self.level = 0

    def default_visit(self, node: nodes.Node) -> None:
        self.parts.append(self.MARKS.get(type(node), ""))

    def default_departure(self, node: nodes.Node) -> None:
        self.parts.append(self.MARKS.get(type(node), ""))

    def visit_Text(self, node: nodes.Text) -> None:
        self.parts.append(re.sub(r"([*_$<])", r"\\\1", node.astext().replace("\n", " ")))

    def visit_literal(self, node: nodes.Node) -> None:
        self.parts.append(f"`{node.astext()}`")
        raise nodes.SkipNode

    visit_title_reference = visit_literal

    def visit_section(self, node: nodes.Node) -> None:
        self.level += 1

    def depart_section(self, node: nodes.Node) -> None:
        self.level -= 1

    def visit_title(self, node: nodes.Node) -> None:
        self.parts.append(f"\n\n{'#' * max(1, self.level)} ")

    def depart_title(self, node: nodes.Node) -> None:
        self.parts.append("\n\n")

    def visit_reference(self, node: nodes.Node) -> None:
        self.parts.append("[")

    def depart_reference(self, node: nodes.Node) -> None:
        self.parts.append(f"]({node.get('refuri', '')})")

    def visit_list_item(self, node: nodes.Node) -> None:
        self.parts.append("\n- " if isinstance(node.parent, nodes.bullet_list) else f"\n{node.parent.index(node) + 1}. ")

    def depart_paragraph(self, node: nodes.Node) -> None:
        self.parts.append("" if isinstance(node.parent, (nodes.list_item, nodes.entry)) else "\n\n")

    def depart_bullet_list(self, node: nodes.Node) -> None:
        self.parts.append("\n\n")

    depart_enumerated_list = depart_bullet_list

    def visit_term(self, node: nodes.Node) -> None:
        self.parts.append("\n**")

    def depart_term(self, node: nodes.Node) -> None:
        self.parts.append("**: ")

    def visit_literal_block(self, node: nodes.Node) -> None:
        if "code" in node["classes"]:
            self.parts.append(f"\n\n{_fenced(node.astext(), ' '.join(node['classes'][1:]))}\n\n")
            raise nodes.SkipNode
        rows = formulas.rows(node.astext())
        self.names |= {name for row in rows for name in row.defines}
        lines = [r" \qquad ".join(self._cell(cell) for cell in row) for row in rows if row]
        self.parts.append("\n\n$$\\begin{aligned}\n" + " \\\\\n".join(f"& {line}" for line in lines) + "\n\\end{aligned}$$\n\n")
        raise nodes.SkipNode

    def visit_row(self, node: nodes.Node) -> None:
        self.parts.append("\n|")

    def depart_row(self, node: nodes.Node) -> None:
        if isinstance(node.parent, nodes.thead):
            self.parts.append("\n|" + " --- |" * len(node))

    def visit_entry(self, node: nodes.Node) -> None:
        self.parts.append(" ")

    def depart_entry(self, node: nodes.Node) -> None:
        self.parts.append(" |")

    def depart_table(self, node: nodes.Node) -> None:
        self.parts.append("\n\n")

    def _cell(self, cell: str) -> str:
        """A formula as LaTeX, or a remark as text."""
        if formulas.mathml(cell, self.names):
            return formulas.latex(cell, self.names)
        return rf"\text{{{re.sub(r'[`$]', '', cell)}}}".replace("_", r"\_")

    visit_comment = visit_system_message = visit_problematic = lambda self, node: self._skipped()

    def _skipped(self) -> None:
        raise nodes.SkipNode


# --- the file ---------------------------------------------------------------------------------------------------------


def _notebook(content: list[tuple[str, str]]) -> dict:
    """A notebook of format 4.5."""
    kernel = {"display_name": "Python 3", "language": "python", "name": "python3"}
    cells = []
    for number, (kind, text) in enumerate(content):
        cell = {"cell_type": kind, "id": f"cell-{number}", "metadata": {}, "source": text.splitlines(keepends=True)}
        cells.append(cell | ({"execution_count": None, "outputs": []} if kind == "code" else {}))
    return {
        "cells": cells,
        "metadata": {"kernelspec": kernel, "language_info": {"name": "python"}, "minilm": __version__},
        "nbformat": 4,
        "nbformat_minor": 5,
    }
