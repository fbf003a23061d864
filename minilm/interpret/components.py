"""The parts of a model that experiments take out, move between texts, and measure, and the names their hooks have.

::

    stream     x after a block                  output of the block              (B, T, D)         a Transformer's
    attn       what attention adds to it        output of its attention          (B, T, D)
    mlp        what the network adds            output of its network            (B, T, D)
    heads      what each head gives             input of the output projection   (B, T, H K), K numbers a head
    neurons    what each hidden unit gives      input of the network's last map  (B, T, hidden)

    i f g o    an LSTM's gates                  gates of the layer, by steps     (T, B, H)         a recurrent model's
    r z n      a GRU's
    c h        cell and state after a step
    i.units    and so on: each unit of them by itself

A head, a neuron and a unit are therefore slices of the last axis, the others whole: `Component` says which.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from minilm.ops import checks

if TYPE_CHECKING:
    from minilm.interpret.probes import Probe

__all__ = ["Component", "Edit", "components_of"]


class Edit(NamedTuple):
    """What is put into one row of a batch."""

    place: int | None  # of the text; None: all places
    columns: slice  # of the last axis
    value: np.ndarray | float  # broadcasts to these


class Component(NamedTuple):
    """One kind of part in one layer."""

    hook: str  # the layer's dotted name, or the gate's
    side: str  # of the hook: "inputs" or "outputs"
    parts: int  # heads, neurons or units; 1 for a whole activation
    stepwise: bool  # a gate: step by step, (T, B, H) in place of (B, T, width)

    def slices(self, width: int) -> list[slice]:
        """The slices of the last axis, one for each part."""
        size = width // self.parts
        return [slice(size * part, size * (part + 1)) for part in range(self.parts)]

    def of(self, seen: Any) -> np.ndarray:
        """The component's activation (B, T, width), from a `minilm.hooks`."""
        return self._batch_first(getattr(seen, self.side)[self.hook])

    def gradient(self, seen: Any) -> np.ndarray:
        """The gradient by it, (B, T, width)."""
        return self._batch_first((seen.input_gradients if self.side == "inputs" else seen.gradients)[self.hook])

    def edited(self, edits: list[Edit]) -> dict[str, dict[str, Callable]]:
        """Arguments of `minilm.hooks` that make edit n of `edits` in row n of a batch."""

        def in_all(activation: np.ndarray) -> np.ndarray:  # (n, T, width)
            activation = activation.copy()
            for row, (place, columns, value) in enumerate(edits):
                activation[row, slice(None) if place is None else place, columns] = value
            return activation

        def in_step(activation: np.ndarray, t: int) -> np.ndarray:  # (n, width)
            for row, (place, columns, value) in enumerate(edits):
                if place is None or place == t:
                    activation[row, columns] = value
            return activation

        return {self.side: {self.hook: in_step if self.stepwise else in_all}}

    def _batch_first(self, activation: np.ndarray) -> np.ndarray:
        return activation.transpose(1, 0, 2) if self.stepwise else activation


def components_of(probe: Probe, kind: str) -> list[Component]:
    """One for each of L layers.

    Raises
    ------
    ValueError
        For a kind that this model has not.
    """
    return probe.components(checks.option("component", kind, probe.kinds))
