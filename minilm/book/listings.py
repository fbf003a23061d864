"""Sources as the book shows them: highlighted, each line with a name, and tied to the formulas that it computes.

A line is tied to a formula where it assigns what the formula defines: ``c = f * c0 + i * g`` to c[t] = f c' + i g. So nobody
keeps a list of links, and a formula whose code is gone loses its number.
"""

from __future__ import annotations

import ast
import pathlib
import re
from typing import NamedTuple

__all__ = ["CODE", "Listing", "defined_on", "listing"]

LANGUAGES = {".py": "python", ".cu": "cuda", ".h": "cuda"}
NAME = r"(?:[A-Za-z_]\w*\s+\*?|args\.)?([^\W\d]\w*)"  # with its type before it, or as a field of a kernel's struct
ASSIGNED = re.compile(rf"^\s*(?:(?:const|static|__shared__)\s+)*{NAME}(?:\[[^]]*\])?\s*[-+*/]?=(?!=)")
VERSION = re.compile(r"__global__ void (?:__launch_bounds__\([^)]*\) )?\w*?_(\d)\(|^// --- version (\d)")


CODE = "code"  # all of a file but its docstring, where that stands beside it already


class Listing(NamedTuple):
    """One file of the package."""

    title: str  # its path in the package
    html: str
    versions: tuple[int, ...]  # of its kernels, naive to fast; none where there is but one


def defined_on(source: str, suffix: str) -> dict[int, set[str]]:
    """The names that each line of a source assigns, by the line's number from 1."""
    lines: dict[int, set[str]] = {}

    def add(number: int, name: str) -> None:
        lines.setdefault(number, set()).add(re.sub(r"_t$", "", name))  # c_t is c at step t

    if suffix == ".py":
        tree = ast.parse(source)
        for number in _returned_gradients(tree):
            add(number, "dx")
        for node in ast.walk(tree):
            targets = node.targets if isinstance(node, ast.Assign) else [node.target] if isinstance(node, ast.AugAssign) else []
            for target in targets:
                for part in ast.walk(target):
                    if isinstance(part, ast.Name) and isinstance(part.ctx, ast.Store) or _is_item(part, target):
                        add(node.lineno, part.id)  # type: ignore[attr-defined]
    else:
        for number, line in enumerate(source.splitlines(), 1):
            if match := ASSIGNED.match(line):
                add(number, match[1])
    return lines


def _returned_gradients(tree: ast.AST) -> list[int]:
    """The lines on which a backward returns an expression: the gradient with respect to its one input, which gets no name."""
    backwards = [node for node in ast.walk(tree) if isinstance(node, ast.FunctionDef) and node.name.endswith("backward")]
    returns = [node for function in backwards for node in ast.walk(function) if isinstance(node, ast.Return)]
    return [node.lineno for node in returns if not isinstance(node.value, (ast.Name, ast.Tuple, type(None)))]


def _is_item(part: ast.AST, target: ast.AST) -> bool:
    """Whether `part` is the array of ``array[...] = ...``."""
    holders = [node for node in ast.walk(target) if isinstance(node, ast.Subscript) and isinstance(node.ctx, ast.Store)]
    return any(part is holder.value and isinstance(part, ast.Name) for holder in holders)


def listing(
    path: pathlib.Path, root: pathlib.Path, prefix: str, formulas: dict[str, list[str]], part: str | None = None
) -> Listing:
    """A file, or one function of it, as HTML.

    Parameters
    ----------
    path, root : Path
        The file, and the folder that its title is relative to.
    prefix : str
        What the names of its lines begin with.
    formulas : dict of str to list of str
        For each name that a formula defines, the ids of these formulas.
    part : str, optional
        The name of a function or class, or `CODE` for all but the docstring; without it all of the file.
    """
    from pygments import highlight
    from pygments.formatters import HtmlFormatter
    from pygments.lexers import get_lexer_by_name

    source = source_of(path, part)
    names = {number: defined & set(formulas) for number, defined in defined_on(source, path.suffix).items()}
    text = highlight(source, get_lexer_by_name(LANGUAGES[path.suffix]), HtmlFormatter(nowrap=True, classprefix="k-"))
    versions = _versions(path, source.splitlines())
    lines = []
    for number, line in enumerate(text.rstrip("\n").split("\n"), 1):
        links = " ".join(sorted({id for name in names.get(number, ()) for id in formulas[name]}))
        tied = f' data-links="{links}" tabindex="0"' if links else ""
        version = f' data-version="{versions[number]}"' if number in versions else ""
        lines.append(f'<span class="line" id="{prefix}-{number}"{tied}{version}>{line}\n</span>')
    title = path.relative_to(root).as_posix() + (f": {part}" if part not in (None, CODE) else "")
    return Listing(title, f'<pre class="code"><code>{"".join(lines)}</code></pre>', tuple(sorted(set(versions.values()))))


def source_of(path: pathlib.Path, part: str | None = None) -> str:
    """The source of a file, or of a part of it, see `listing`."""
    source = path.read_text(encoding="utf-8").strip("\n")
    if part is None:
        return source
    return _without_docstring(source) if part == CODE else _function(source, part)


def _without_docstring(source: str) -> str:
    (first, *_) = ast.parse(source).body
    return "\n".join(source.splitlines()[first.end_lineno :]).strip("\n")


def _function(source: str, name: str) -> str:
    for node in ast.parse(source).body:
        if isinstance(node, (ast.FunctionDef, ast.ClassDef)) and node.name == name:
            start = min([node.lineno, *(decorator.lineno for decorator in node.decorator_list)])
            return "\n".join(source.splitlines()[start - 1 : node.end_lineno])
    raise ValueError(f"there is no function or class {name!r}")


def _versions(path: pathlib.Path, lines: list[str]) -> dict[int, int]:
    """The version of each line, where there are several: of CUDA C in one file, of Numba in files of their own."""
    if path.suffix == ".cu":
        return _kernel_versions(lines)
    files = [*sorted(path.parent.glob("cpu_[0-9].py")), path.parent / "cpu.py"]
    return dict.fromkeys(range(1, len(lines) + 1), files.index(path) + 1) if len(files) > 1 and path in files else {}


def _kernel_versions(lines: list[str]) -> dict[int, int]:
    """The version of each line of CUDA C that is a part of a numbered kernel, with the comment above it."""
    versions: dict[int, int] = {}
    section = None  # of a heading "// --- version 2 ---", for the kernels whose names have no number
    for number, line in enumerate(lines, 1):
        match = VERSION.search(line)
        if match and match[2]:
            section = int(match[2])
        if match is None or not match[1]:
            if not (section and re.search(r"__global__ void ", line)):
                continue
            version = section
        else:
            version = int(match[1])
        first = number
        while first > 1 and lines[first - 2].startswith("//") and not lines[first - 2].startswith("// ---"):
            first -= 1
        last = number
        while last < len(lines) and lines[last - 1] != "}":
            last += 1
        versions |= dict.fromkeys(range(first, last + 1), version)
    return versions
