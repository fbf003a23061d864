"""Mutants of a backward: its source with one operator, one factor, one term or one statement changed."""

from __future__ import annotations

import ast
import copy
import inspect
from collections.abc import Iterator
from typing import NamedTuple

SWAPPED = {ast.Add: ast.Sub, ast.Sub: ast.Add, ast.Mult: ast.Div, ast.Div: ast.Mult}
NEGATED = {ast.Lt: ast.GtE, ast.GtE: ast.Lt, ast.Gt: ast.LtE, ast.LtE: ast.Gt, ast.Eq: ast.NotEq, ast.NotEq: ast.Eq}


class Mutant(NamedTuple):
    """One changed version of a function."""

    change: str  # "source of the statement or expression -> what it became"
    line: str  # the source line
    module: ast.Module


def own_functions(tree: ast.Module, name: str, other: str) -> set[str]:
    """Functions of a module that `name` reaches and `other` does not: a change in a shared one changes both alike."""
    bodies = {node.name: node for node in tree.body if isinstance(node, ast.FunctionDef)}

    def reach(start):
        own, todo = set(), [start]
        while todo:
            function = todo.pop()
            if function in bodies and function not in own:
                own.add(function)
                todo += [n.id for n in ast.walk(bodies[function]) if isinstance(n, ast.Name)]
        return own

    return reach(name) - reach(other)


def mutants(module, backward: str, forward: str) -> Iterator[Mutant]:
    """Every mutant of `backward` and of the helpers that only it calls."""
    tree = ast.parse(inspect.getsource(module))
    chosen = own_functions(tree, backward, forward)
    seen = set()
    for index, node in enumerate(ast.walk(tree)):
        function = next((f for f in tree.body if isinstance(f, ast.FunctionDef) and f.name in chosen and contains(f, node)), None)
        if function is None:
            continue
        for number, change in enumerate(changes(node)):
            mutated = copy.deepcopy(tree)
            target = list(ast.walk(mutated))[index]
            before = ast.unparse(node)
            replacement = list(changes(target))[number]
            replace(mutated, target, replacement)
            after = ast.unparse(ast.fix_missing_locations(change)) if not isinstance(change, ast.Pass) else "(deleted)"
            text = ast.unparse(ast.fix_missing_locations(mutated))
            if text in seen:
                continue
            seen.add(text)
            yield Mutant(f"{before} -> {after}", statement(function, node), ast.parse(text))


def contains(function: ast.FunctionDef, node: ast.AST) -> bool:
    """Whether `node` stands in the function's body."""
    return any(n is node for part in function.body for n in ast.walk(part))


def statement(function, node) -> str:
    """The innermost statement around `node`, as source."""
    around = [s for s in ast.walk(function) if isinstance(s, ast.stmt) and any(n is node for n in ast.walk(s))]
    return ast.unparse(around[-1]).splitlines()[0]


def changes(node: ast.AST) -> Iterator[ast.AST]:
    """What a node may be changed into."""
    if isinstance(node, ast.BinOp):
        if type(node.op) in SWAPPED:
            yield ast.BinOp(node.left, SWAPPED[type(node.op)](), node.right)
        if isinstance(node.op, (ast.Add, ast.Sub, ast.Mult, ast.Div, ast.MatMult, ast.Pow)):
            yield node.left
            yield node.right
    elif isinstance(node, ast.UnaryOp) and isinstance(node.op, (ast.USub, ast.Not, ast.Invert)):
        yield node.operand
    elif isinstance(node, ast.Compare) and len(node.ops) == 1 and type(node.ops[0]) in NEGATED:
        yield ast.Compare(node.left, [NEGATED[type(node.ops[0])]()], node.comparators)
    elif isinstance(node, ast.IfExp):
        yield node.body
        yield node.orelse
    elif isinstance(node, ast.AugAssign):
        if type(node.op) in SWAPPED:
            yield ast.AugAssign(node.target, SWAPPED[type(node.op)](), node.value)
        yield ast.Assign([node.target], node.value)
        yield ast.Pass()
    elif isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Subscript):
        yield ast.Pass()


def replace(tree: ast.AST, target: ast.AST, replacement: ast.AST) -> None:
    """Put `replacement` in the place of `target`."""
    for parent in ast.walk(tree):
        for field, value in ast.iter_fields(parent):
            if value is target:
                setattr(parent, field, replacement)
            elif isinstance(value, list):
                parent_list = [replacement if item is target else item for item in value]
                setattr(parent, field, parent_list)


def compiled(mutant: Mutant, module, name: str):
    """The mutant's function `name`, in a namespace of its own."""
    namespace = {"__name__": module.__name__, "__package__": module.__package__}
    exec(compile(mutant.module, f"<mutant: {mutant.change}>", "exec"), namespace)
    return namespace[name]
