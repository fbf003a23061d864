"""Stochastic gradient descent with momentum: one update of all parameters, in place.

========  ==========  =====================================================
array     shape       meaning
========  ==========  =====================================================
param     (N,)        parameters, flat; all axes are folded into N
grad      (N,)        gradients
momentum  (N,)        the buffer b: a running sum of gradients, or None
========  ==========  =====================================================

Definition. With learning rate η, momentum μ, dampening δ, weight decay λ, and step counted from 1::

    g = scale grad + λ param
    b = g                        at the first step
    b = μ b + (1 - δ) g          at later ones
    param -= η g                 without momentum
    param -= η b                 with momentum
    param -= η (g + μ b)         with Nesterov's

These are PyTorch's conventions: the learning rate multiplies the buffer and is not in it, the first step is not dampened,
and weight decay is added to the gradient.

An infinite parameter does not decay, λ param is 0 then: a score of -inf, which forbids a tag of `minilm.ops.crf`, stays so.

``scale`` is the factor of gradient clipping (`minilm.ops.clip`), and ``clear`` zeroes the gradient: both in the same pass
over memory. Groups of parameters with settings of their own are calls on slices of the flat buffers.

No derivative: this is the optimizer.

Sources: B. T. Polyak, Some methods of speeding up the convergence of iteration methods (1964); I. Sutskever, J. Martens,
G. Dahl, G. Hinton, On the importance of initialization and momentum in deep learning, ICML 2013 (Nesterov's form).
"""
