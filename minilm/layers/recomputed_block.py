"""What `TransformerBlock` and `LlamaBlock` share: they can compute forward again in backward, in place of keeping what it saved.

::

    forward     x -> _forward -> y, saved        kept: saved;          with recompute: x and the other arguments
    backward    saved, dy -> dx                                        with recompute: x -> _forward -> saved, and then the same

Reference: T. Chen, B. Xu, C. Zhang, C. Guestrin, Training deep nets with sublinear memory cost, arXiv:1604.06174.
"""

from __future__ import annotations

from typing import Any, NamedTuple

from minilm.layers.base import Layer
from minilm.layers.saved_under_hooks import Replacement, replacements_inside, require_same
from minilm.ops.workspace import empty, scratch
from minilm.typing import Array

__all__ = ["RecomputedBlock", "Unsaved"]


class Unsaved(NamedTuple):
    """In the place of what forward saved: what it is computed again from."""

    arguments: dict[str, Any]
    replacements: tuple[Replacement, ...]  # of `minilm.hooks`, that forward ran with, and that it must run with again


class RecomputedBlock(Layer):
    """A layer whose ``_forward(x, ..., cache)`` returns y, of the shape (B, T, D) of x, and what it saved.

    With ``recompute`` it keeps of forward only the arguments: the same gradients, bit for bit, for the memory of one layer and a
    third more arithmetic.
    """

    recompute: bool

    def _forward(self, **arguments: Any) -> tuple[Array, Any]:
        raise NotImplementedError

    def _run(self, **arguments: Any) -> tuple[Array, Any]:
        """y of `_forward`, and what it saved, or `Unsaved`; a forward that extends a cache cannot run twice, and saves."""
        if not self.recompute or arguments["cache"] is not None:
            return self._forward(**arguments)
        x = arguments["x"]
        y = empty(x.shape, x.dtype, like=x)  # (B, T, D)
        with scratch():
            y[...] = self._forward(**arguments)[0]
        return y, Unsaved(arguments, replacements_inside(self))

    def _saved_again(self, saved: Any) -> Any:
        """What `_forward` saved; `backward` asks for it inside its own `scratch`, which then takes it back."""
        if not isinstance(saved, Unsaved):
            return saved
        require_same(self, saved.replacements)
        return self._forward(**saved.arguments)[1]
