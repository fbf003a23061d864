"""`minilm show`: the formulas and the source of one op, whole; a model on one page; and the source of a layer or model."""

from __future__ import annotations

import ast
import pathlib

from minilm import ops
from minilm.cli import pager, sources
from minilm.examples import EXAMPLES
from minilm.pages import PAGES

LANGUAGES = {".py": "python", ".cu": "cuda", ".h": "cuda"}


def add_parser(subparsers) -> None:
    """Add the command to the parser's sub-commands."""
    parser = subparsers.add_parser(
        "show",
        help="print the formulas and the source of an op, or a model on one page",
        description="Print the page of formulas of one op and its implementation in plain NumPy, or one of its implementations "
        "whole; a model on one page (gpt), an example (own_op), or the source of a layer or of the full model (GPT). Without a "
        "name, list them. On a terminal the text is shown by $PAGER (less), in colour where pygments is installed.",
    )
    parser.add_argument(
        "name", nargs="?", metavar="NAME", help="an op (lstm), a page (gpt), an example (own_op), a layer (LSTM) or a model (GPT)"
    )
    which = parser.add_mutually_exclusive_group()
    which.add_argument("--spec", action="store_const", dest="which", const="spec", help="formulas, shapes, what is saved")
    which.add_argument("--cases", action="store_const", dest="which", const="cases", help="sizes and arguments of the tests")
    which.add_argument(
        "--oracle", action="store_const", dest="which", const="oracle", help="plain NumPy, a line of code a line of formula"
    )
    which.add_argument("--cpu", action="store_const", dest="which", const="cpu", help="Numba: every version, naive to fast")
    which.add_argument(
        "--gpu", action="store_const", dest="which", const="gpu", help="CUDA C, with what launches it and the headers it includes"
    )
    parser.add_argument("--helpers", action="store_true", help="also the files that it shares with others")
    parser.set_defaults(run=run)


def run(args) -> int:
    """Print the sources; ValueError for an unknown name or an implementation that it does not have."""
    if args.name is None:
        if args.which:
            raise ValueError(f"--{args.which} of which op? `minilm show` lists them")
        _list()
        return 0
    place = sources.unit(args.name)
    if place.is_dir():
        paths = sources.files(place, args.which or "oracle")
    elif args.which:
        raise ValueError(f"--{args.which} is of an op, {args.name!r} is a page, layer or model: `minilm show {args.name}`")
    else:
        paths = [place]
    sections = []
    if place.is_dir() and args.which is None:
        sections.append(pager.Section(None, _docstring(place / "spec.py").strip("\n")))
    more = sources.helpers(paths)
    sections += [_section(path) for path in paths + more * args.helpers]
    if more and not args.helpers:
        names = ", ".join(map(_relative, more))
        sections.append(pager.Section(None, f"# It uses {names}: with --helpers these are printed as well."))
    pager.show(sections)
    return 0


def _list() -> None:
    """The ops, pages, layers and models, a line each."""
    for folder in ops.FOLDERS:
        title = _docstring(sources.OPS / folder / "spec.py").strip().splitlines()[0].partition(":")[0]
        print(f"{', '.join(sources.names(folder)):<48} {title}")
    print("\npages: a model on one page")
    for name in PAGES:
        title = _docstring(sources.PACKAGE / "pages" / f"{name}.py").strip().partition(" on one page")[0]
        print(f"{name:<48} {title}")
    print("\nexamples: a script each, run by python -m minilm.examples.NAME")
    for name in EXAMPLES:
        title = _docstring(sources.PACKAGE / "examples" / f"{name}.py").strip().splitlines()[0].removesuffix(".")
        print(f"{name:<48} {title}")
    for package in ("layers", "models"):
        print(f"\n{package}")
        by_file: dict[pathlib.Path, list[str]] = {}
        for name, path in sources.classes(package).items():
            by_file.setdefault(path, []).append(name)
        for path, names in by_file.items():
            title = _docstring(path).strip().splitlines()[0].removesuffix(".")
            print(f"{', '.join(names):<48} {title}" if len(", ".join(names)) <= 48 else f"{', '.join(names)}\n{'':<48} {title}")


def _section(path: pathlib.Path) -> pager.Section:
    return pager.Section(_relative(path), path.read_text(encoding="utf-8").strip("\n"), LANGUAGES[path.suffix])


def _docstring(path: pathlib.Path) -> str:
    return ast.get_docstring(ast.parse(path.read_text(encoding="utf-8"))) or ""


def _relative(path: pathlib.Path) -> str:
    return path.relative_to(sources.PACKAGE.parent).as_posix()
