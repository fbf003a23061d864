"""Two types of LLVM's that llvmlite has no class for: a bfloat16, and the contents of a matrix tile's register."""

from __future__ import annotations

from llvmlite import ir


class _Named(ir.Type):
    """A type of which only the name is known."""

    null = "zeroinitializer"

    def __init__(self, name: str):
        super().__init__()
        self._name = name

    def __str__(self) -> str:
        return self._name

    def __eq__(self, other) -> bool:
        return isinstance(other, _Named) and other._name == self._name

    def __hash__(self) -> int:
        return hash(self._name)


BFLOAT, TILE = _Named("bfloat"), _Named("x86_amx")
