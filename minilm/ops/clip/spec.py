"""Clipping by the global norm: the norm of all gradients together, and the factor that bounds it.

========  ==========  =====================================================
array     shape       meaning
========  ==========  =====================================================
grad      (N,)        gradients of all parameters, flat; all axes are folded into N
========  ==========  =====================================================

Definition::

    norm  = sqrt(sum_n grad[n]²)
    scale = min(1, max_norm / (norm + 1e-6))

Multiplied by `scale`, the gradient keeps its direction and has a norm of at most max_norm. The 1e-6 is PyTorch's. The
squares are summed in float64, by chunks of fixed length whose sums are added in order, so the bits do not depend on the
number of threads. Nothing is written: the optimizers' updates take the factor as their `scale`, and so clipping costs no pass
over memory beyond the one that measures.

A norm that is not finite is no length to scale by (inf would make every gradient 0 or NaN): `scale` raises, and the caller
says at which step.

No derivative: this is part of the optimizer.

Source: R. Pascanu, T. Mikolov, Y. Bengio, On the difficulty of training recurrent neural networks, ICML 2013.
"""

from __future__ import annotations

from minilm.ops.contract import Case, Op


def draw(rng, dtype, dims, *, lead=1) -> Case:
    """Random arguments; ``lead`` is the number of axes."""
    N = dims["N"]
    return Case({"grad": rng.standard_normal({1: (N,), 2: (3, N)}[lead]).astype(dtype)}, ())


OP = Op(
    name="clip",
    package="minilm.ops.clip",
    dims={"N": (7, 1, 31, 4097, 100_003)},
    draw=draw,
    options={"lead": (1, 2)},
    flops=lambda d: 2 * d["N"],
    bytes=lambda d, size: size * d["N"],
    forward="norm",
    backward=None,
)
OPS = (OP,)
