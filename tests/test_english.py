"""Names are the field's own: an identifier says what a value is, not what was done to it."""

import ast
import pathlib

import minilm

ROOT = pathlib.Path(minilm.__file__).parent.parent
VAGUE = set(  # say results, indices, keys, expected, allowed, on the device, ... instead
    "asked found given here made mine ours said says taken theirs there thing told turned wanted".split()
)


def identifiers(tree):
    """(name, line) of whatever a module defines: variables, arguments, functions, classes, attributes."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
            yield node.id, node.lineno
        elif isinstance(node, ast.Attribute) and isinstance(node.ctx, ast.Store):
            yield node.attr, node.lineno
        elif isinstance(node, ast.arg):
            yield node.arg, node.lineno
        elif isinstance(node, ast.FunctionDef | ast.ClassDef):
            yield node.name, node.lineno


def vague(source):
    """The identifiers of a module that have such a word in them, with their lines."""
    return [(name, line) for name, line in identifiers(ast.parse(source)) if VAGUE & set(name.lower().split("_"))]


def test_identifiers_say_what_they_hold():
    wrong = []
    for path in sorted([*(ROOT / "minilm").rglob("*.py"), *(ROOT / "benchmarks").rglob("*.py")]):
        file = path.relative_to(ROOT).as_posix()
        wrong += [f"{file}:{line} {name}" for name, line in vague(path.read_text(encoding="utf-8"))]
    assert not wrong, "\n".join(wrong)


def test_vague_identifiers_are_seen():
    source = "def f(given):\n    self.as_asked, found_rows = 1, 2\n\n\nclass Thing:\n    results: int = 3\n"
    assert {name for name, _ in vague(source)} == {"given", "as_asked", "found_rows", "Thing"}
