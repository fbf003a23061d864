"""Which files belong to an op, a page, a layer or a model, for `minilm show`."""

from __future__ import annotations

import ast
import functools
import pathlib
import re
import sys

from minilm import ops
from minilm.examples import EXAMPLES
from minilm.mistaken import nearest
from minilm.pages import PAGES

OPS = pathlib.Path(ops.__file__).parent
PACKAGE = OPS.parent
PLUMBING = ("checks", "contract", "jit", "workspace", "table", "source", "__init__")  # of every op, with no numbers in it
COMMON = ("base", "parameters", "initialisers", "summary", "config", "pretrained", "diagnosis", "hooks")  # of every layer, model


# --- names -----------------------------------------------------------------------------------------------------------


def names(folder: str) -> list[str]:
    """The ops that live in a folder of `minilm.ops`."""
    return [op.name for op in ops.registry().values() if op.package == f"minilm.ops.{folder}"]


@functools.cache
def classes(package: str) -> dict[str, pathlib.Path]:
    """The files of a package's layers or models, by the names of their classes: ``classes("models")["GPT"]``."""
    from minilm import layers, models

    module = {"layers": layers, "models": models}[package]
    kinds = {name: getattr(module, name) for name in module.__all__}
    kinds = {name: kind for name, kind in kinds.items() if isinstance(kind, type) and hasattr(kind, "forward")}
    return {name: pathlib.Path(sys.modules[kind.__module__].__file__ or "") for name, kind in kinds.items()}


def unit(name: str) -> pathlib.Path:
    """The folder of the op, or the file of the page, example, layer or model, that has this name.

    A page's name is in small letters (``gpt``), a layer's and model's that of its class (``GPT``). Classes are known in any case
    where no op and no page has the name.

    Raises
    ------
    ValueError
        With the nearest name.
    """
    folders = {each: OPS / folder for folder in ops.FOLDERS for each in (folder, *names(folder))}
    pages = {name: PACKAGE / "pages" / f"{name}.py" for name in PAGES}
    scripts = {name: PACKAGE / "examples" / f"{name}.py" for name in EXAMPLES}
    exact = {**pages, **scripts, **classes("layers"), **classes("models")}
    loose = {path.stem: path for path in classes("models").values()} | {each.lower(): path for each, path in exact.items()}
    for known in (exact, folders):
        if name in known:
            return known[name]
    if name.lower() in loose and name.lower() not in folders:
        return loose[name.lower()]
    every = {**folders, **loose, **exact}
    near = [each for each in folders if each.startswith(name.lower())]
    near = near or nearest(name, every)
    hint = f"did you mean {' or '.join(map(repr, near))}?" if near else f"there are {', '.join([*folders, *exact])}"
    raise ValueError(f"there is no op, page, example, layer or model {name!r}; {hint}")


# --- files -----------------------------------------------------------------------------------------------------------


def files(folder: pathlib.Path, name: str) -> list[pathlib.Path]:
    """The files of one implementation of an op: ``oracle.py``, the CPU's versions, naive to fast, or all that makes the GPU's.

    These are the kernels, ``gpu.cu`` first, what launches them, and minilm's headers that they include.
    """
    kernels = sorted(folder.glob("*.cu"), key=lambda path: path.stem != name) if name == "gpu" else []
    beside = [path.with_suffix(".py") for path in kernels if path.stem != name]
    versions = sorted(folder.glob(f"{name}_[0-9].py"))
    chosen = [*kernels, *(path for path in [*versions, folder / f"{name}.py", *beside] if path.is_file())]
    if not chosen:
        others = [other for other in ("spec", "oracle", "cpu", "gpu", "cases") if (folder / f"{other}.py").is_file()]
        raise ValueError(f"{folder.name} has no {name} implementation; there are {', '.join(others)}")
    headers = dict.fromkeys(header for kernel in kernels for header in _included(kernel))
    return [*chosen, *_common_last(headers)]


def helpers(paths: list[pathlib.Path]) -> list[pathlib.Path]:
    """The files of the package with computations that `paths` use, themselves or through another such file."""
    reached: list[pathlib.Path] = []
    waiting = list(paths)[::-1]
    while waiting:
        path = waiting.pop()
        following = []
        for file in _imported(path) if path.suffix == ".py" else _included(path):
            more = [file.with_suffix(".cu"), file] if file.is_relative_to(OPS) and file.suffix == ".py" else [file]
            following += [each for each in more if each.is_file() and each not in (*reached, *following)]
        reached += following
        waiting += following[::-1]
    return [path for path in reached if path not in paths]


def _included(path: pathlib.Path) -> list[pathlib.Path]:
    """minilm's headers that a kernel's file includes, directly or through another."""
    headers: list[pathlib.Path] = []
    for name in re.findall(r'^#include "([\w.]+)"', path.read_text(encoding="utf-8"), re.M):
        file = next((each / name for each in (path.parent, OPS / "cuda") if (each / name).is_file()), None)
        headers += [each for each in ([file, *_included(file)] if file else []) if each not in headers]
    return _common_last(headers)


def _common_last(headers) -> list[pathlib.Path]:
    return sorted(headers, key=lambda header: header.name == "minilm_cuda.h")


def _imported(path: pathlib.Path) -> list[pathlib.Path]:
    """The files with computations that a Python file imports: an op's of ops, a model's of layers and models."""
    imported: list[pathlib.Path] = []
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if not isinstance(node, ast.ImportFrom) or not (node.module or "").startswith("minilm."):
            continue
        parts = (node.module or "").split(".")[1:]
        same = parts[0] == "ops" if path.is_relative_to(OPS) else parts[0] in ("layers", "models")
        for alias in node.names if same else ():
            candidates = [PACKAGE.joinpath(*parts).with_suffix(".py"), PACKAGE.joinpath(*parts, alias.name).with_suffix(".py")]
            if parts[0] != "ops":
                candidates.append(classes(parts[0]).get(alias.name, PACKAGE))
            imported += [each for each in candidates if each.is_file() and _computes(each) and each not in imported]
    return [each for each in imported if each != path]


def _computes(path: pathlib.Path) -> bool:
    return path.stem not in ((*PLUMBING, "spec", "cases") if path.is_relative_to(OPS) else (*COMMON, "__init__"))
