"""Arrows point one way: which package may import which, at a module's head or in a function, and there is no circle."""

import ast
import pathlib
import re

import pytest

import minilm

ROOT = pathlib.Path(minilm.__file__).parent.parent
ORDER = (  # each may import those before it; those of one line not each other
    ("typing",),
    ("mistaken", "forks", "bars", "random", "streams", "gpu_trial", "cache_folders"),
    ("files", "hub"),
    ("checksums", "pictures"),
    ("compiled",),
    ("threads",),
    ("devices",),
    ("ops",),
    ("pages",),
    ("layers", "tokenizers"),
    ("optimizers", "weights", "data", "metrics"),
    ("quantized",),
    ("models",),
    ("generation",),
    ("distributed",),
    ("training",),
    ("sequential", "interpret"),
    ("recipes",),
    ("planner",),
    ("gradcheck",),
    ("book", "examples"),
    ("cli",),
)


def modules(package):
    """Every module of a package by its dotted name."""
    for path in (ROOT / package).rglob("*.py"):
        parts = path.relative_to(ROOT).with_suffix("").parts
        yield ".".join(parts[:-1] if parts[-1] == "__init__" else parts), path


def executed(tree):
    """Every node but those under ``if TYPE_CHECKING:``, which a checker of types reads and Python does not run."""
    yield tree
    for child in ast.iter_child_nodes(tree):
        if not (isinstance(child, ast.If) and ast.unparse(child.test) == "TYPE_CHECKING"):
            yield from executed(child)


def graph(package):
    """module -> the modules of the package that it imports, anywhere in it."""
    every = dict(modules(package))
    edges = {}
    for name, path in every.items():
        edges[name] = set()
        for node in executed(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Import):
                targets = [alias.name for alias in node.names]
            elif isinstance(node, ast.ImportFrom):
                here = name.split(".") if path.name == "__init__.py" else name.split(".")[:-1]
                above = here[: len(here) - node.level + 1] if node.level else []
                base = ".".join([*above, *filter(None, [node.module])])
                targets = [f"{base}.{alias.name}" if f"{base}.{alias.name}" in every else base for alias in node.names]
            else:
                continue
            edges[name].update(target for target in targets if target in every and target != name)
    return edges


def circle(edges):
    """The modules of a circle, or None."""
    done, way = set(), []

    def visit(name):
        if name in way:
            return way[way.index(name) :] + [name]
        if name in done:
            return None
        way.append(name)
        found = next((found for target in sorted(edges[name]) if (found := visit(target))), None)
        way.pop()
        done.add(name)
        return found

    return next((found for name in sorted(edges) if (found := visit(name))), None)


@pytest.mark.parametrize("package", ["minilm", "benchmarks"])
def test_no_module_imports_itself_in_a_circle(package):
    if not (ROOT / package).is_dir():
        pytest.skip(f"{package} is not beside this installation")
    assert circle(graph(package)) is None


def test_a_circle_would_be_seen():
    assert circle({"a": {"b"}, "b": {"c"}, "c": {"b"}}) == ["b", "c", "b"]
    assert circle({"a": {"b", "c"}, "b": {"c"}, "c": set()}) is None


def test_the_arrows_point_one_way():
    place = {name: number for number, names in enumerate(ORDER) for name in names}
    wrong = set()
    for name, targets in graph("minilm").items():
        source = name.split(".")[1] if "." in name else None
        for target in targets:
            wanted = target.split(".")[1] if "." in target else None
            if source is None or wanted is None or source == wanted or source == "__main__":
                continue
            if place[source] <= place[wanted]:
                wrong.add(f"{name} imports {target}")
    assert not wrong


def test_the_chapter_on_architecture_names_every_package():
    chapter = (ROOT / "minilm" / "book" / "chapters" / "architecture.rst").read_text(encoding="utf-8")
    described = re.findall(r"^    (\w+)  +\S", chapter.partition("Arrows")[0], re.M)
    assert sorted(described) == sorted(path.parent.name for path in (ROOT / "minilm").glob("*/__init__.py"))
