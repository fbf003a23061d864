"""Adam and AdamW: one update of all parameters, in place.

========  ==========  =====================================================
array     shape       meaning
========  ==========  =====================================================
param     (N,)        parameters, flat; all axes are folded into N
grad      (N,)        gradients
m         (N,)        running mean of the gradients
v         (N,)        running mean of their squares
v_max     (N,)        the largest v so far (AMSGrad), or None
========  ==========  =====================================================

Definition. With learning rate η, weight decay λ, and step t counted from 1::

    g      = scale grad + λ param                   Adam: the decay is a part of the gradient
    g      = scale grad,   param -= η λ param       AdamW (decoupled): the decay is not seen by m and v
    m      = β1 m + (1 - β1) g
    v      = β2 v + (1 - β2) g²
    param -= η (m / (1 - β1^t)) / (sqrt(v / (1 - β2^t)) + eps)

m and v start at zero, so their means are too small by the factors 1 - β^t, by which they are divided. With AMSGrad
v_max = max(v_max, v) replaces v in the last line. The order of operations and the place of eps are PyTorch's. The factors
are computed once a step, in float64.

An infinite parameter does not decay: λ param counts as 0. So a score of -inf, which forbids a tag of `minilm.ops.crf`, stays.

``scale`` is the factor of gradient clipping (`minilm.ops.clip`), and ``clear`` zeroes the gradient: both in the same pass
over memory. Groups of neighbours with settings of their own, such as no decay for biases, are updated together: `ends` says where
each ends in the flat buffer, the last one at N, and there is an η and a λ for each. Weights and biases take turns in a
buffer, and a call for each of them took a thirtieth of a training step of a small GPT.

No derivative: this is the optimizer.

Sources: D. P. Kingma, J. Ba, Adam: a method for stochastic optimization, ICLR 2015; I. Loshchilov, F. Hutter, Decoupled
weight decay regularization, ICLR 2019; S. J. Reddi, S. Kale, S. Kumar, On the convergence of Adam and beyond, ICLR 2018.
"""
