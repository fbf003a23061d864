"""The parts of a Transformer that experiments take out, move between texts, and measure, and the names their hooks have.

::

    stream     x after a block                  output of the block              (B, T, D)
    attn       what attention adds to it        output of its attention          (B, T, D)
    mlp        what the network adds            output of its network            (B, T, D)
    heads      what each head gives             input of the output projection   (B, T, H K), K numbers a head
    neurons    what each hidden unit gives      input of the network's last map  (B, T, hidden)

A head and a neuron are therefore slices of the last axis of an input, the others whole outputs: `Component` says which.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from minilm.interpret.probes import Probe
from minilm.ops import checks

__all__ = ["COMPONENTS", "Component", "components_of"]

COMPONENTS = ("stream", "attn", "mlp", "heads", "neurons")


class Component(NamedTuple):
    """One kind of part in one block."""

    hook: str  # the layer's dotted name
    side: str  # of the hook: "inputs" or "outputs"
    parts: int  # heads or neurons; 1 for a whole output

    def slices(self, width: int) -> list[slice]:
        """Of the last axis, one a part."""
        size = width // self.parts
        return [slice(size * part, size * (part + 1)) for part in range(self.parts)]

    def of(self, seen) -> np.ndarray:
        """Its activation (B, T, width), from a `minilm.hooks`."""
        return getattr(seen, self.side)[self.hook]

    def gradient(self, seen) -> np.ndarray:
        """The gradient by it, (B, T, width)."""
        return (seen.input_gradients if self.side == "inputs" else seen.gradients)[self.hook]


def components_of(probe: Probe, kind: str) -> list[Component]:
    """One for each of L blocks.

    Raises
    ------
    ValueError
        For an unknown kind, and for a model without attention.
    """
    checks.option("component", kind, COMPONENTS)
    if not probe.attends:
        raise ValueError(f"component {kind!r} is of a Transformer; this model is recurrent, and has layers and gates")
    names = {id(layer): name for name, layer in probe.model.named_layers()}
    components = []
    for block in probe.blocks:
        layer, side, parts = {
            "stream": lambda block: (block, "outputs", 1),
            "attn": lambda block: (block.attn, "outputs", 1),
            "mlp": lambda block: (block.mlp, "outputs", 1),
            "heads": lambda block: (block.attn.c_proj, "inputs", block.attn.num_heads),
            "neurons": lambda block: (block.mlp.c_proj, "inputs", block.mlp.c_proj.in_features),
        }[kind](block)
        components.append(Component(names[id(layer)], side, parts))
    return components
