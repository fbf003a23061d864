"""What `minilm.hooks` keeps of a running model: the inputs and outputs of layers, and the loss's gradients by them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

__all__ = ["Activations", "EveryCall", "copied", "like"]


class Activations(Mapping[str, Any]):
    """What layers gave and were given, by their dotted names; of several calls the last one's.

    Attributes
    ----------
    inputs : dict of str to ndarray
        The first input.
    outputs : dict of str to ndarray, or to a tuple of them
        ``seen[name]`` is ``seen.outputs[name]``. Of a recurrent layer the tuple (y, h_n, ...), inside
        a model with y (T, B, H), or (B, H) where it runs once a token.
    gradients, input_gradients : dict of str to ndarray, or to a tuple of them
        Of the loss by the output and by the inputs, where ``backward`` ran.
    calls : dict of str to int
        How often the layer's ``forward`` ran, of an alignment ``attend``.

    Notes
    -----
    A subclass may keep something else: see `record`.
    """

    def __init__(self) -> None:
        self.inputs: dict[str, Any] = {}
        self.outputs: dict[str, Any] = {}
        self.gradients: dict[str, Any] = {}
        self.input_gradients: dict[str, Any] = {}
        self.calls: dict[str, int] = {}

    def record(self, name: str, x: Any, y: Any) -> None:
        """Called after a layer's ``forward`` with its first input and its output, which later layers may write over."""
        self.inputs[name], self.outputs[name] = copied(x), copied(y)
        self.calls[name] = self.calls.get(name, 0) + 1

    def record_gradient(self, name: str, dy: Any, dx: Any) -> None:
        """Called after a layer's ``backward`` with what it was given and what it returned."""
        self.gradients[name], self.input_gradients[name] = dy, copied(dx)

    def __getitem__(self, name: str) -> Any:
        return self.outputs[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self.outputs)

    def __len__(self) -> int:
        return len(self.outputs)

    def __repr__(self) -> str:
        shapes = (f"{name} {getattr(output, 'shape', '')}".rstrip() for name, output in self.outputs.items())
        return f"Activations({', '.join(shapes)})"


class EveryCall(Activations):
    """`Activations` with a list in the place of each array: one entry a call, in the order of the calls, also of gradients."""

    def record(self, name: str, x: Any, y: Any) -> None:
        self.inputs.setdefault(name, []).append(copied(x))
        self.outputs.setdefault(name, []).append(copied(y))
        self.calls[name] = self.calls.get(name, 0) + 1

    def record_gradient(self, name: str, dy: Any, dx: Any) -> None:
        self.gradients.setdefault(name, []).insert(0, dy)  # backward goes from the last call to the first
        self.input_gradients.setdefault(name, []).insert(0, copied(dx))

    def __repr__(self) -> str:
        return f"EveryCall({', '.join(f'{name} x {count}' for name, count in self.calls.items())})"


def copied(value: Any) -> Any:
    """A copy of an array, or of each array in a tuple; what cannot be copied is returned as it is."""
    if isinstance(value, tuple):
        return like(value, [copied(part) for part in value])
    return value.copy() if hasattr(value, "copy") else value


def like(value: tuple, parts: list) -> tuple:
    """Other parts in a tuple of the same kind."""
    return type(value)(*parts) if hasattr(value, "_fields") else tuple(parts)
