"""`minilm show`: the formulas and the source of one op, whole."""

from __future__ import annotations

import ast
import difflib
import pathlib
import re

from minilm import ops

OPS = pathlib.Path(ops.__file__).parent
PLUMBING = ("checks", "contract", "jit", "workspace", "table", "source", "__init__")  # of every op, with no numbers in it


def add_parser(subparsers) -> None:
    """Add the command to the parser's sub-commands."""
    parser = subparsers.add_parser(
        "show",
        help="print the formulas and the source of one op",
        description="Print the page of formulas of one op and its implementation in plain NumPy, or the file that is asked for. "
        "Without a name, list the ops.",
    )
    parser.add_argument("name", nargs="?", metavar="OP", help="such as lstm")
    which = parser.add_mutually_exclusive_group()
    which.add_argument(
        "--spec", action="store_const", dest="which", const="spec", help="formulas, shapes, what is saved, test cases"
    )
    which.add_argument(
        "--oracle", action="store_const", dest="which", const="oracle", help="plain NumPy, a line of code a line of formula"
    )
    which.add_argument("--cpu", action="store_const", dest="which", const="cpu", help="Numba")
    which.add_argument("--gpu", action="store_const", dest="which", const="gpu", help="CUDA C")
    parser.add_argument("--helpers", action="store_true", help="also the files that it shares with other ops")
    parser.set_defaults(run=run)


def run(args) -> int:
    """Print the sources; ValueError for an unknown op or an implementation it does not have."""
    if args.name is None:
        if args.which:
            raise ValueError(f"--{args.which} of which op? `minilm show` lists them")
        for folder in ops.FOLDERS:
            print(f"{', '.join(_names(folder)):<42} {_summary(folder)}")
        return 0
    folder = _folder(args.name)
    name = args.which or "oracle"
    sources = _files(folder, name)
    if args.which is None:
        print(_docstring(folder / "spec.py").strip("\n"), end="\n\n")
    helpers = [path for path in _helpers(sources) if path not in sources]
    for path in sources + helpers * args.helpers:
        print(f"# ---- {_relative(path)}\n")
        print(path.read_text(encoding="utf-8").strip("\n"), end="\n\n")
    if helpers and not args.helpers:
        print(f"# It uses {', '.join(map(_relative, helpers))}: with --helpers these are printed as well.")
    return 0


def _folder(name: str) -> pathlib.Path:
    """The folder of an op; ValueError with the nearest name."""
    folders = {each: folder for folder in ops.FOLDERS for each in (folder, *_names(folder))}
    if name not in folders:
        near = [each for each in folders if each.startswith(name.lower())]
        near = near or difflib.get_close_matches(name.lower(), folders, n=1, cutoff=0.5)
        hint = f"did you mean {' or '.join(map(repr, near))}?" if near else f"there are {', '.join(folders)}"
        raise ValueError(f"there is no op {name!r}; {hint}")
    return OPS / folders[name]


def _names(folder: str) -> list[str]:
    """The ops that live in a folder."""
    return [op.name for op in ops.registry().values() if op.package == f"minilm.ops.{folder}"]


def _summary(folder: str) -> str:
    return _docstring(OPS / folder / "spec.py").strip().splitlines()[0].partition(":")[0]


def _docstring(path: pathlib.Path) -> str:
    return ast.get_docstring(ast.parse(path.read_text(encoding="utf-8"))) or ""


def _files(folder: pathlib.Path, name: str) -> list[pathlib.Path]:
    """The files of one implementation: ``cpu.py``, or for the GPU the kernels, ``gpu.cu`` first, and what launches them."""
    kernels = sorted(folder.glob("*.cu"), key=lambda path: path.stem != name) if name == "gpu" else []
    kernels = [path for path in kernels if path.stem == name or not path.with_suffix(".py").is_file()]  # else a helper's
    found = [*kernels, *(path for path in [folder / f"{name}.py"] if path.is_file())]
    if not found:
        others = [other for other in ("spec", "oracle", "cpu", "gpu") if (folder / f"{other}.py").is_file()]
        raise ValueError(f"{folder.name} has no {name} implementation; there are {', '.join(others)}")
    return found


def _helpers(paths: list[pathlib.Path]) -> list[pathlib.Path]:
    """The files in ``minilm/ops`` with computations that `paths` import, themselves or through another such file."""
    found: list[pathlib.Path] = []
    for path in paths:
        for name in (
            re.findall(r'^#include "([\w.]+)"', path.read_text(encoding="utf-8"), re.M) if path.suffix in (".cu", ".h") else ()
        ):
            file = next((each / name for each in (path.parent, OPS / "cuda") if (each / name).is_file()), None)
            if file and file.name != "minilm_cuda.h":
                found += [each for each in [file, *_helpers([file])] if each not in found]
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))) if path.suffix == ".py" else ():
            if not isinstance(node, ast.ImportFrom) or not (node.module or "").startswith("minilm.ops"):
                continue
            parts = (node.module or "").split(".")[2:]
            for candidate in [parts, *([*parts, alias.name] for alias in node.names)]:
                file = OPS.joinpath(*candidate).with_suffix(".py") if candidate else OPS
                if file.is_file() and file.stem not in (*PLUMBING, "spec"):
                    kernels = [path for path in [file.with_suffix(".cu")] if path.is_file()]
                    found += [each for each in [*kernels, file, *_helpers([*kernels, file])] if each not in found]
    return found


def _relative(path: pathlib.Path) -> str:
    return path.relative_to(OPS.parent.parent).as_posix()
