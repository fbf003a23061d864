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
over memory but the one that sums the squares.

With a norm that is not finite there is nothing to scale (inf would make every gradient 0 or NaN): `scale` raises, and the
caller names the step.

No derivative: this is part of the optimizer.

Source: R. Pascanu, T. Mikolov, Y. Bengio, On the difficulty of training recurrent neural networks, ICML 2013.
"""
