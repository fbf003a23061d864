"""Lion: one update of all parameters, in place, by the sign of a running mean.

========  ==========  =====================================================
array     shape       meaning
========  ==========  =====================================================
param     (N,)        parameters, flat; all axes are folded into N
grad      (N,)        gradients
m         (N,)        running mean of gradients
========  ==========  =====================================================

Definition. With learning rate η, weight decay λ, and m = 0 before the first step::

    g = scale grad
    u = sign(β1 m + (1 - β1) g)                -1, 0 or 1
    param -= η (u + λ param)
    m = β2 m + (1 - β2) g

Every number moves by the same η, whatever its gradient's size; so η is three to ten times smaller than Adam's, and λ as much
larger. The state is half of Adam's. The mean that decides, of β1 = 0.9, forgets sooner than the one that is kept, of β2 = 0.99.

An infinite parameter does not decay. ``scale`` is the factor of gradient clipping (`minilm.ops.clip`), and ``clear`` zeroes the
gradient: both in the same pass over memory.

No derivative: this is the optimizer.

Source: X. Chen et al., Symbolic discovery of optimization algorithms, NeurIPS 2023, arXiv:2302.06675, program 1.
"""
