"""In which precision float32 products are computed: one setting, for the CPU and the GPU.

==========  ================  ============  ==================================================================
setting     operands          sums          where
==========  ================  ============  ==================================================================
float32     float32           float32       everywhere; the default
tf32        10 bits           float32       GPU: tensor cores round the operands as they read them
bf16        7 bits            float32       GPU; CPU with AMX or AVX512-BF16: operands are rounded to bfloat16
==========  ================  ============  ==================================================================

The bits are those of the significand; weights stay in float32, and the loss needs no scaling, since bfloat16 has float32's
exponents. Products of float64 are float64 under every setting.

Products are those of linear and recurrent layers, forward and backward, and on a GPU those inside attention, which stay float32
on a CPU. `minilm.ops.cuda.products` and `minilm.ops.bfloat16` make them; what cannot be made so is refused, never made otherwise.
"""

from __future__ import annotations

import contextlib
import contextvars
from collections.abc import Iterator

__all__ = ["PRECISIONS", "chosen", "fastest", "precision", "require"]

PRECISIONS = ("float32", "tf32", "bf16")
_chosen: contextvars.ContextVar[str] = contextvars.ContextVar("minilm_precision", default="float32")


@contextlib.contextmanager
def precision(name: str) -> Iterator[None]:
    """Choose how float32 products are computed inside a ``with`` block: ``"float32"``, ``"tf32"`` or ``"bf16"``.

    Raises
    ------
    ValueError
        If there is no setting of that name; and, from the first product, if arrays on the CPU are multiplied in ``"tf32"``, or
        in ``"bf16"`` by a processor that has neither AMX nor AVX512-BF16.

    Examples
    --------
    ::

        with minilm.precision("bf16"):
            loss, saved = model.forward(ids, targets)
            model.backward(saved)  # gradients, and the weights that they are of, are float32
    """
    if name not in PRECISIONS:
        raise ValueError(f"precision must be one of {', '.join(PRECISIONS)}, got {name!r}")
    token = _chosen.set(name)
    try:
        yield
    finally:
        _chosen.reset(token)


def require(device: str, name: str) -> None:
    """ValueError in one line, unless products can be computed so on ``"cpu"`` or ``"cuda"``: before data are read."""
    if device != "cpu" or name == "float32":
        return
    if name == "tf32":
        raise ValueError("precision 'tf32' is for a GPU: on a CPU it is 'float32' or 'bf16'")
    from minilm.ops import target

    target.bfloat16_unit()


def fastest(device: str) -> str:
    """What ``precision="auto"`` of a run stands for: ``"bf16"`` on a CPU that can multiply so, else ``"float32"``."""
    try:
        require(device, "bf16")
    except ValueError:
        return "float32"
    return "bf16" if device == "cpu" else "float32"


def bfloat16(dtype) -> bool:
    """Whether products of this dtype on the CPU are made in bfloat16; ValueError where they cannot be made as chosen."""
    setting = _chosen.get()
    if setting == "float32" or dtype != "float32":
        return False
    require("cpu", setting)
    return True


def chosen() -> str:
    """The setting that holds here: that of the innermost `precision` block, ``"float32"`` outside any."""
    return _chosen.get()
