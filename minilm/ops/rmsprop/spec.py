"""RMSprop: one update of all parameters, in place, by the gradient over its running root mean square.

===============  ==========  =====================================================
array            shape       meaning
===============  ==========  =====================================================
param            (N,)        parameters, flat; all axes are folded into N
grad             (N,)        gradients
v                (N,)        running mean of squares
mean             (N,)        running mean of gradients, or None: not centred
momentum_buffer  (N,)        running sum of what is applied, or None: no momentum
===============  ==========  =====================================================

Definition. With learning rate η, momentum μ, weight decay λ, and v = mean = momentum_buffer = 0 before the first step::

    g = scale grad + λ param
    v = α v + (1 - α) g²
    mean = α mean + (1 - α) g                              centred only
    r = sqrt(v) + ε,  centred sqrt(v - mean²) + ε          a variance in the place of a second moment
    param -= η g / r                                       without momentum
    momentum_buffer = μ momentum_buffer + g / r            with momentum
    param -= η momentum_buffer

These are PyTorch's conventions: ε stands outside of the root, and the first steps, whose v is still small, are large.

An infinite parameter does not decay. ``scale`` is the factor of gradient clipping (`minilm.ops.clip`), and ``clear`` zeroes the
gradient: both in the same pass over memory.

No derivative: this is the optimizer.

Sources: T. Tieleman, G. Hinton, Lecture 6.5, rmsprop, COURSERA: Neural networks for machine learning, 2012; A. Graves, Generating
sequences with recurrent neural networks, arXiv:1308.0850 (centred).
"""
