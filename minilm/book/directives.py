"""What a chapter can include besides text: an op with its implementations, a page, a file, measured rates, an exercise.

::

    .. op:: lstm                          formulas and shapes beside oracle, Numba and CUDA in tabs
    .. page:: gpt                         a model on one page
    .. file:: minilm/ops/tile.py          a file of the package; with a name behind it one function of it
    .. columns:: rnn lstm gru             the step of several oracles side by side
    .. rates:: lstm gru                   the records' measurements of these ops
    .. exercise:: lstm                    a question; the answer is what the gradient check says of the broken oracle
        :old: f * c0 + i * g
        :new: f * c0 + i * f

        What does the check say, and why?
"""

from __future__ import annotations

import ast
import html
import json
import pathlib
from collections.abc import Callable

from docutils import nodes
from docutils.parsers.rst import Directive, directives

import minilm
from minilm import ops
from minilm.book import broken, listings, text

__all__ = ["ROOT", "Part", "register"]

ROOT = pathlib.Path(minilm.__file__).parent.parent
RECORDS = ROOT / "benchmarks" / "records"
TABS = (("oracle", "NumPy"), ("cpu", "Numba"), ("gpu", "CUDA C"))


class Part:
    """What one chapter collects: the addresses of its parts, and which ids it has given."""

    current: Part

    def __init__(self, address: Callable[[str], str | None]):
        self.address = address
        self.anchors: dict[str, str] = {}  # name of an op or page -> id
        self.used: dict[str, int] = {}

    def prefix(self, name: str) -> str:
        """An id that no other part of the chapter has."""
        self.used[name] = self.used.get(name, 0) + 1
        return name if self.used[name] == 1 else f"{name}-{self.used[name]}"


def raw(markup: str) -> nodes.raw:
    """A node of HTML."""
    return nodes.raw("", markup, format="html")


class OpDirective(Directive):
    """Formulas and shapes of an op beside its implementations."""

    required_arguments = 1

    def run(self):
        name = self.arguments[0]
        folder, prefix = folder_of(name), Part.current.prefix(name)
        Part.current.anchors.setdefault(name, prefix)
        words, formulas = _specification(folder, prefix)
        tabs = [(title, _implementation(folder, kind, f"{prefix}-{kind}", formulas.ids)) for kind, title in TABS]
        return [raw(f'<section class="op" id="op-{prefix}"><div class="words">{words}</div>{_panel(prefix, tabs)}</section>')]


class PageDirective(Directive):
    """A model on one page: its formulas beside its code."""

    required_arguments = 1

    def run(self):
        name = self.arguments[0]
        path, prefix = ROOT / "minilm" / "pages" / f"{name}.py", Part.current.prefix(f"page-{name}")
        Part.current.anchors.setdefault(f"pages.{name}", prefix)
        source = path.read_text(encoding="utf-8")
        docstring = ast.get_docstring(ast.parse(source)) or ""
        formulas = text.Formulas(prefix, text.table_names(docstring), _names(source, path.suffix))
        words = text.render(docstring, formulas, Part.current.address)
        code = listings.listing(path, ROOT, f"{prefix}-code", formulas.ids, listings.CODE)
        panel = _panel(prefix, [("NumPy", [code])])
        return [raw(f'<section class="op page" id="{prefix}"><div class="words">{words}</div>{panel}</section>')]


class FileDirective(Directive):
    """A file of the package, or one function of it."""

    required_arguments = 1
    optional_arguments = 1

    def run(self):
        path = ROOT / self.arguments[0]
        part = self.arguments[1] if len(self.arguments) > 1 else None
        listed = listings.listing(path, ROOT, Part.current.prefix(f"{path.stem}-{part or 'file'}"), {}, part)
        return [raw(f'<figure class="listing"><figcaption>{listed.title}</figcaption>{listed.html}</figure>')]


class ColumnsDirective(Directive):
    """The step of several oracles side by side."""

    required_arguments = 1
    final_argument_whitespace = True

    def run(self):
        columns = []
        for name in self.arguments[0].split():
            path = folder_of(name) / "oracle.py"
            listed = listings.listing(path, ROOT, Part.current.prefix(f"{name}-beside"), {}, step_of(path))
            columns.append(f"<div><h4>{html.escape(name)}</h4>{listed.html}</div>")
        return [raw(f'<div class="columns">{"".join(columns)}</div>')]


class RatesDirective(Directive):
    """What the records say of the ops: times as fast as the oracle and as PyTorch, forward and backward."""

    required_arguments = 1
    final_argument_whitespace = True

    def run(self):
        subjects = self.arguments[0].split()
        newest: dict[str, str] = {}  # processor -> the table of its last record: files are named by their dates
        for path in sorted(RECORDS.glob("*.json")):
            processor, table = _rates(path, subjects)
            if table:
                newest[processor] = table
        note = "<p>The measurements stand in the repository, under benchmarks/records, which is not beside this installation.</p>"
        return [raw(f'<div class="rates">{"".join(newest.values()) or note}</div>')]


class ExerciseDirective(Directive):
    """A broken line, and what the check says of it."""

    required_arguments = 1
    has_content = True
    option_spec = {"old": directives.unchanged_required, "new": directives.unchanged_required}

    def run(self):
        op, old, new = self.arguments[0], self.options["old"], self.options["new"]
        question = text.render("\n".join(self.content), text.Formulas(Part.current.prefix("exercise")), Part.current.address)
        change = f'<pre class="change"><del>{html.escape(old)}</del>\n<ins>{html.escape(new)}</ins></pre>'
        answer = f"<details><summary>What the check says</summary><pre>{html.escape(broken.report(op, old, new))}</pre></details>"
        return [raw(f'<aside class="exercise"><h4>Exercise</h4>{question}{change}{answer}</aside>')]


def register() -> None:
    """Make the directives known to docutils."""
    for name, directive in (
        ("op", OpDirective),
        ("page", PageDirective),
        ("file", FileDirective),
        ("columns", ColumnsDirective),
        ("rates", RatesDirective),
        ("exercise", ExerciseDirective),
    ):
        directives.register_directive(name, directive)


# --- pieces -----------------------------------------------------------------------------------------------------------


def folder_of(name: str) -> pathlib.Path:
    """The folder of an op, or of the several that live together in one."""
    package = ops.registry()[name].package if name in ops.registry() else f"minilm.ops.{name}"
    return ROOT.joinpath(*package.split("."))


def step_of(path: pathlib.Path) -> str:
    """The function of an oracle that is one step, as far as it has one."""
    return "step" if "\ndef step(" in path.read_text(encoding="utf-8") else "forward"


def _names(source: str, suffix: str) -> set[str]:
    """All names that some line of a source assigns."""
    return set().union(*listings.defined_on(source, suffix).values())


def _specification(folder: pathlib.Path, prefix: str) -> tuple[str, text.Formulas]:
    """An op's page of formulas as HTML, and its formulas, numbered where the oracle computes them."""
    tree = ast.parse((folder / "spec.py").read_text(encoding="utf-8"))
    docstring = ast.get_docstring(tree) or ""
    oracle = (folder / "oracle.py").read_text(encoding="utf-8")
    formulas = text.Formulas(prefix, text.table_names(docstring) | parameters_of(oracle), _names(oracle, ".py"))
    return text.render(docstring, formulas, Part.current.address), formulas


def parameters_of(source: str) -> set[str]:
    """The names of all parameters of a source's functions."""
    functions = [node for node in ast.walk(ast.parse(source)) if isinstance(node, ast.FunctionDef)]
    return {argument.arg for function in functions for argument in _arguments(function)}


def _arguments(node: ast.FunctionDef) -> list[ast.arg]:
    return [*node.args.posonlyargs, *node.args.args, *node.args.kwonlyargs]


def _implementation(folder: pathlib.Path, kind: str, prefix: str, ids: dict[str, list[str]]) -> list[listings.Listing]:
    """The files of an implementation, its versions from naive to fast; of the GPU's the kernels."""
    paths = [*sorted(folder.glob(f"{kind}_[0-9].py")), folder / f"{kind}.py"]
    if kind == "gpu":
        paths = sorted(folder.glob("*.cu"), key=lambda path: path.stem != "gpu")
    return [listings.listing(path, ROOT, f"{prefix}{number or ''}", ids) for number, path in enumerate(paths)]


def _panel(prefix: str, tabs: list[tuple[str, list[listings.Listing]]]) -> str:
    """Listings in tabs, each with a choice of versions where its kernels have numbers."""
    buttons, panels = [], []
    for number, (title, files) in enumerate(tabs):
        tab, panel, first = f"{prefix}-tab-{number}", f"{prefix}-panel-{number}", number == 0
        selected = str(first).lower()
        buttons.append(f'<button role="tab" id="{tab}" aria-controls="{panel}" aria-selected="{selected}">{title}</button>')
        versions = sorted({version for file in files for version in file.versions})
        choice = ""
        if len(versions) > 1:
            options = "".join(f'<option value="{v}">version {v}</option>' for v in versions)
            choice = f'<label class="versions">show <select><option value="">all versions</option>{options}</select></label>'
        body = "".join(f"<figcaption>{file.title}</figcaption>{file.html}" for file in files)
        hidden = "" if first else " hidden"
        panels.append(f'<div role="tabpanel" id="{panel}" aria-labelledby="{tab}"{hidden}>{choice}{body}</div>')
    return f'<div class="panel"><div role="tablist">{"".join(buttons)}</div>{"".join(panels)}</div>'


def _rates(path: pathlib.Path, subjects: list[str]) -> tuple[str, str]:
    """The processor of a record, and a table of what it says of some ops; an empty text if it says nothing of them."""
    record = json.loads(path.read_text(encoding="utf-8"))
    processor = str(record["machine"].get("cpu") or record["machine"].get("processor") or "")
    rows = [row for row in record["results"] if row["subject"] in subjects and row["ratios"]]
    if not rows:
        return processor, ""
    peers = [peer for peer in ("oracle", "torch") if any(peer in row["ratios"] for row in rows)]
    titles = {"oracle": "as the oracle", "torch": "as PyTorch"}
    head = "".join(f"<th>{titles[peer]}</th>" for peer in peers)
    body = ""
    for row in rows:
        ratios = "".join(f"<td>{_ratio(row['ratios'].get(peer))}</td>" for peer in peers)
        body += f"<tr><td>{html.escape(row['name'])}</td>{ratios}</tr>"
    caption = (
        f"How many times as fast as these the Numba kernels are, forward and backward: {html.escape(processor)}, {path.name}"
    )
    table = f"<table><caption>{caption}</caption><thead><tr><th>case</th>{head}</tr></thead><tbody>{body}</tbody></table>"
    return processor, table


def _ratio(ratio: dict | None) -> str:
    return "" if ratio is None else f"{ratio['median']:.3g}"
