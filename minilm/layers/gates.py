"""The gates of recurrent layers, one by one: to read them, and to put others in their place.

`minilm.hooks` runs a layer through this module where gates are named. R puts a given value in the place of some gates at step t,
and leaves the others as they are; σ is the sigmoid, * goes element by element::

    LSTM   i, f, o = R(σ(a_i)), R(σ(a_f)), R(σ(a_o)),  g = R(tanh(a_g))      a = W_ih x[t] + W_hh h[t-1] + biases
           c[t] = R(f * c[t-1] + i * g)
           h[t] = R(o * tanh(c[t]))
    GRU    r, z = R(σ(a_r)), R(σ(a_z)),  n = R(tanh(W_in x[t] + b_in + r * (W_hn h[t-1] + b_hn)))
           h[t] = R((1 - z) * n + z * h[t-1])
    RNN    h[t] = R(tanh(a)), or relu

What replaces a gate is a constant, so that no gradient flows below it: the gradient by the gate itself is kept before it is
dropped. Steps are plain NumPy, and their last bits other than those of the kernels; where gates are only read, the kernels run.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from minilm import devices
from minilm.layers.saved_under_hooks import Replacement, SavedUnder
from minilm.ops import activations, checks
from minilm.ops.contract import fold
from minilm.ops.recurrence import active, or_zeros, order, states_after, states_before
from minilm.typing import Array

if TYPE_CHECKING:
    from minilm.layers.recurrent import Recurrent

__all__ = ["GATES", "OpenRun", "gates_of"]

GATES = {"lstm": ("i", "f", "g", "o", "c", "h"), "gru": ("r", "z", "n", "h"), "rnn": ("h",)}
STATES = {"lstm": ("h", "c"), "gru": ("h",), "rnn": ("h",)}


def gates_of(name: str, layer: Any) -> dict[str, tuple[str, str]]:
    """``NAME.l0.f`` and the like -> (run, gate), of a recurrent layer's runs ``l0``, ``l0_reverse``, ``l1``; none of others."""
    if not hasattr(layer, "_op_of"):  # a `Recurrent`, which hooks may not import: every layer knows of them
        return {}
    runs = [suffix for number in range(layer.num_layers) for suffix in layer._suffixes(number)]
    return {f"{name}.{run}.{gate}": (run, gate) for run in runs for gate in GATES[layer.op_name]}


class OpenRun:
    """Stands in the place of an op, ``minilm.ops.lstm`` for one, in one layer and direction of a recurrent layer.

    Parameters
    ----------
    layer : Recurrent
    run : str
        Such as "l0".
    names : mapping of str to str
        Gate -> its whole name, of those to keep.
    replaced : mapping of str to number, ndarray or callable
        Gate -> what stands in its place: an array that broadcasts to (T, B, H), or ``f(value (B, H), t) -> (B, H)``.
    seen : Activations, or None
        Where those to keep are kept.
    """

    def __init__(self, layer: Recurrent, run: str, names: Mapping[str, str], replaced: Mapping[str, Any], seen: Any):
        self.op, self.kind = layer._op, layer.op_name
        self.around = around = layer._op_of(run)  # hooks around these
        self.replaced = {**getattr(around, "replaced", {}), **replaced}
        self.kept = [*getattr(around, "kept", []), *((gate, name, seen) for gate, name in names.items())]
        self.replaces = getattr(around, "replaces", None)  # where nothing is replaced here, what a block around this one does
        if replaced:
            self.replaces = Replacement(f"the gate {next(iter(replaced))}", layer, self.replaced)

    def forward(self, x: Array, *arguments: Any, reverse: bool = False, **options: Any) -> tuple[Any, Any]:
        """The op's ``forward``."""
        if devices.on_gpu(x):
            raise TypeError("gates are kept and replaced on the CPU, got an array of the GPU")
        if self.replaces is not None:
            self._take_effect()
            output, saved = self._stepwise(x, *arguments, reverse=reverse, **options)
        else:
            output, saved = self.op.forward(x, *arguments, reverse=reverse, **options)
        values = _values(self.kind, saved)
        for gate, name, seen in self.kept:
            seen.record(name, None, values[gate])
        return output, saved if self.replaces is None else SavedUnder(self.replaces, saved)

    def cell_forward(self, x: Array, *arguments: Any, **options: Any) -> tuple[Any, Any]:
        """The op's ``cell_forward``: x (B, D), as a sequence of one step; a gate is then (1, B, H)."""
        if not self.replaced and not self.kept:
            return self.op.cell_forward(x, *arguments, **options)
        output, saved = self.forward(x[None], *arguments, None, **options)
        return output[1] if len(output) == 2 else output[1:], saved

    def backward(self, dy: Any, saved: Any) -> tuple[Array, ...]:
        """The op's ``backward``."""
        replaced: Mapping[str, Any] = {}  # of forward, which may have run without what stands here now
        if isinstance(saved, SavedUnder):
            replaced, saved = saved.by.values, saved.saved
        for gate, value in replaced.items():
            if callable(value):
                raise ValueError(
                    f"a function replaced the gate {gate}, and its derivative is not known: replace by an array, or run "
                    "forward alone"
                )
        parts = tuple(None if part is None else part.copy() for part in dy)
        gradients: dict[str, Array] = {gate: np.zeros_like(states_after(saved.h, saved.reverse)) for gate, *_ in self.kept}
        whole = _backward(self.kind, parts, saved, set(replaced), gradients)
        for gate, name, seen in self.kept:
            seen.record_gradient(name, gradients[gate], None)
        return whole if replaced else self.op.backward(dy, saved)

    def _take_effect(self) -> None:
        """Note that what replaces gates was used, also that of hooks around these."""
        if self.replaces is not None:
            self.replaces.took_effect = True
        if isinstance(self.around, OpenRun):
            self.around._take_effect()

    def _stepwise(self, x, *arguments, reverse, nonlinearity="tanh"):
        """`forward` with gates replaced: output and saved are the op's own."""
        spec, count = self.op, len(STATES[self.kind])
        starts, (W_ih, W_hh, b_ih, b_hh), lengths = arguments[:count], arguments[count : count + 4], arguments[count + 4]
        (T, B, _), H = x.shape, W_hh.shape[1]
        first, last, before, after, steps = order(T, reverse)
        takes_part = active(T, B, lengths)  # (T, B, 1)
        states = [np.empty((T + 1, B, H), x.dtype) for _ in starts]  # h and c
        gates = np.empty((T, B, len(W_hh)), x.dtype)  # (T, B, G H)
        inner = np.empty((T, B, H), x.dtype)  # what a GRU's reset gate multiplies
        replace = self._replacing((T, B, H))
        for state, start in zip(states, starts, strict=True):
            state[first] = start
        a_x = x @ W_ih.T + b_ih  # (T, B, G H)
        for t in steps:
            a_h = states[0][t + before] @ W_hh.T + b_hh  # (B, G H)
            R = lambda gate, value, t=t: replace(gate, value, t)  # noqa: E731
            past = [state[t + before] for state in states]  # (B, H) each
            values, gates[t], inner[t] = STEPS[self.kind](a_x[t], a_h, *past, R, nonlinearity)
            for state, value in zip(states, values, strict=True):
                state[t + after] = np.where(takes_part[t], value, state[t + before])  # (B, H)
        y = np.where(takes_part, states_after(states[0], reverse), 0).astype(x.dtype)  # (T, B, H)
        output = spec.Output(y, *(state[last].copy() for state in states))
        kept = {"lstm": (states[0], states[-1], gates), "gru": (states[0], gates, inner), "rnn": (states[0],)}[self.kind]
        more = (nonlinearity,) if self.kind == "rnn" else ()
        return output, spec.Saved(x, *kept, W_ih, W_hh, lengths, reverse, *more)

    def _replacing(self, shape) -> Callable[[str, Array, int], Array]:
        """R: ``(gate, value (B, H), t) -> (B, H)``."""
        constants = {gate: _broadcast(gate, value, shape) for gate, value in self.replaced.items() if not callable(value)}

        def replace(gate, value, t):
            if gate in constants:
                return constants[gate][t].astype(value.dtype)
            if gate not in self.replaced:
                return value
            new = np.asarray(self.replaced[gate](value.copy(), t))  # (B, H)
            if new.shape != value.shape:
                raise ValueError(
                    f"the gate {gate} at step {t} has shape {value.shape}, which its replacement must have, got {new.shape}"
                )
            return new.astype(value.dtype)

        return replace


def _broadcast(gate: str, value, shape):
    try:
        return np.broadcast_to(value, shape)
    except (ValueError, TypeError):
        raise ValueError(
            f"the gate {gate} has shape (T, B, H) = {shape}; its replacement must broadcast to it, got {checks.describe(value)}"
        ) from None


def _values(kind: str, saved) -> dict[str, Array]:
    """Gate -> (T, B, H)."""
    values = {"h": states_after(saved.h, saved.reverse)}
    if kind == "lstm":
        values["c"] = states_after(saved.c, saved.reverse)
    if kind != "rnn":
        letters = GATES[kind][: saved.gates.shape[2] // saved.h.shape[2]]
        values.update(zip(letters, np.split(saved.gates, len(letters), axis=2), strict=True))
    return values


# --- one step --------------------------------------------------------------------------------------------------------


def _sigmoid(a):
    return activations.sigmoid.forward(a)[0]


def _lstm(a_x, a_h, h0, c0, R, nonlinearity):
    i, f, g, o = np.split(a_x + a_h, 4, axis=1)  # (B, H) each
    i, f, g, o = R("i", _sigmoid(i)), R("f", _sigmoid(f)), R("g", np.tanh(g)), R("o", _sigmoid(o))
    c = R("c", f * c0 + i * g)  # (B, H)
    h = R("h", o * np.tanh(c))  # (B, H)
    return (h, c), np.concatenate([i, f, g, o], axis=1), h


def _lstm_backward(dh, dc, before, after, saved, t, K):
    (_, c0), (_, c) = before, after
    i, f, g, o = np.split(saved.gates[t], 4, axis=1)  # (B, H) each
    tanh_c = np.tanh(c)  # (B, H)
    dh = K("h", dh)
    do = K("o", dh * tanh_c)  # (B, H)
    dc = K("c", dc + dh * o * (1 - tanh_c**2))  # (B, H)
    di, df, dg = K("i", dc * g), K("f", dc * c0), K("g", dc * i)  # (B, H) each
    da = np.concatenate([di * i * (1 - i), df * f * (1 - f), dg * (1 - g**2), do * o * (1 - o)], axis=1)  # (B, 4H)
    return da, da, (0, dc * f)


def _gru(a_x, a_h, h0, R, nonlinearity):
    (r_x, z_x, n_x), (r_h, z_h, u) = np.split(a_x, 3, axis=1), np.split(a_h, 3, axis=1)  # (B, H) each
    r, z = R("r", _sigmoid(r_x + r_h)), R("z", _sigmoid(z_x + z_h))
    n = R("n", np.tanh(n_x + r * u))  # (B, H)
    h = R("h", (1 - z) * n + z * h0)  # (B, H)
    return (h,), np.concatenate([r, z, n], axis=1), u


def _gru_backward(dh, before, after, saved, t, K):
    (h0,), u = before, saved.inner[t]  # (B, H) each
    r, z, n = np.split(saved.gates[t], 3, axis=1)  # (B, H) each
    dh = K("h", dh)
    dz, dn = K("z", dh * (h0 - n)), K("n", dh * (1 - z))  # (B, H) each
    da_n = dn * (1 - n**2)  # (B, H)
    dr = K("r", da_n * u)  # (B, H)
    da_r, da_z = dr * r * (1 - r), dz * z * (1 - z)  # (B, H) each
    da = np.concatenate([da_r, da_z, da_n], axis=1)  # (B, 3H) on the side of the input
    return da, np.concatenate([da_r, da_z, da_n * r], axis=1), (dh * z,)


def _rnn(a_x, a_h, h0, R, nonlinearity):
    h = a_x + a_h  # (B, H)
    h = R("h", np.tanh(h) if nonlinearity == "tanh" else np.maximum(h, 0))
    return (h,), h, h


def _rnn_backward(dh, before, after, saved, t, K):
    (h,) = after
    da = K("h", dh) * (1 - h**2 if saved.nonlinearity == "tanh" else h > 0)  # (B, H)
    return da, da, (0,)


STEPS: dict[str, Callable] = {"lstm": _lstm, "gru": _gru, "rnn": _rnn}
STEPS_BACKWARD: dict[str, Callable] = {"lstm": _lstm_backward, "gru": _gru_backward, "rnn": _rnn_backward}


def _backward(kind: str, dy, saved, constants: set[str], gradients: dict[str, Array]) -> tuple[Array, ...]:
    """The op's ``backward``; fills `gradients`, gate -> (T, B, H), and lets nothing through what is constant."""
    states = [getattr(saved, name) for name in STATES[kind]]  # (T + 1, B, H) each
    dy, *dstates = or_zeros(dy, (states_after(saved.h, saved.reverse), *(state[0] for state in states)))
    (T, B, _), W_ih, W_hh = saved.x.shape, saved.W_ih, saved.W_hh
    _, _, before, after, steps = order(T, saved.reverse)
    takes_part = active(T, B, saved.lengths)  # (T, B, 1)
    da, dg = (np.zeros((T, B, len(W_hh)), saved.x.dtype) for _ in range(2))  # by W_ih x and W_hh h
    for t in reversed(steps):

        def K(gate, d, t=t):  # keeps the gradient by a gate
            if gate in gradients:
                gradients[gate][t] = np.where(takes_part[t], d, 0)
            return np.zeros_like(d) if gate in constants else d

        around = [state[t + before] for state in states], [state[t + after] for state in states]  # (B, H) each
        da_t, dg_t, direct = STEPS_BACKWARD[kind](dstates[0] + dy[t], *dstates[1:], *around, saved, t, K)
        da[t], dg[t] = np.where(takes_part[t], da_t, 0), np.where(takes_part[t], dg_t, 0)  # (B, G H) each
        through = [direct[0] + dg[t] @ W_hh, *direct[1:]]  # (B, H) each
        dstates = [np.where(takes_part[t], new, old) for new, old in zip(through, dstates, strict=True)]
    dW_ih, dW_hh = fold(da).T @ fold(saved.x), fold(dg).T @ fold(states_before(saved.h, saved.reverse))
    return da @ W_ih, *dstates, dW_ih, dW_hh, fold(da).sum(axis=0), fold(dg).sum(axis=0)
