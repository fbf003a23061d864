"""Recurrent language models as the explanations see them."""

from __future__ import annotations

import numpy as np

from minilm.interpret.components import Component
from minilm.interpret.probes.base import Probe
from minilm.layers import GRU, LSTM
from minilm.layers.gates import GATES
from minilm.ops.recurrence import states_after

__all__ = ["RecurrentProbe", "WindowProbe"]

NAMES = {
    LSTM: ("input gate i", "forget gate f", "candidate g", "output gate o"),
    GRU: ("reset gate r", "update gate z", "candidate n"),
}
UNITS = ".units"  # behind a gate's letter: each unit by itself


class RecurrentProbe(Probe):
    """The probe of `minilm.models.RNNLanguageModel`."""

    recurs = True
    ablated = f"h{UNITS}"

    @property
    def gates(self) -> tuple[str, ...]:
        """The letters of gates and states."""
        return GATES[self.model.recurrent.op_name]

    @property
    def kinds(self):
        return *self.gates, *(f"{gate}{UNITS}" for gate in self.gates)

    @property
    def patched(self):
        """Where the past is: in an LSTM's cell, in the state of the others."""
        return "c" if "c" in self.gates else "h"

    def components(self, kind):
        layer, gate = self.model.recurrent, kind.removesuffix(UNITS)
        parts = layer.hidden_size if kind.endswith(UNITS) else 1
        return [Component(f"recurrent.l{number}.{gate}", "outputs", parts, True) for number in range(layer.num_layers)]

    @property
    def table(self):
        return self.model.embedding.weight.value

    def body(self, x):
        model = self.model
        out, recurrent = model.recurrent.forward(np.ascontiguousarray(x.transpose(1, 0, 2)))  # (T, B, H)
        y, norm, projection = out.y, None, None
        if model.norm is not None:
            y, norm = model.norm.forward(y)
        if model.projection is not None:
            y, projection = model.projection.forward(y)  # (T, B, E)
        return y.transpose(1, 0, 2), (recurrent, norm, projection)

    def body_backward(self, dh, saved):
        model, (recurrent, norm, projection) = self.model, saved
        dy = np.ascontiguousarray(dh.transpose(1, 0, 2))  # (T, B, E or H)
        if projection is not None:
            dy = model.projection.backward(dy, projection)
        if norm is not None:
            dy = model.norm.backward(dy, norm)
        return model.recurrent.backward(dy, recurrent)[0].transpose(1, 0, 2)  # (B, T, E)

    @property
    def head(self):
        return self.model.output

    def traces(self, ids):
        x = np.ascontiguousarray(self.embed(ids)[:, None])  # (T, 1, E)
        recurrent = self.model.recurrent
        runs = recurrent.forward(x)[1].runs
        names = NAMES.get(type(recurrent), ())
        H, traces = recurrent.hidden_size, {}
        for number, name in enumerate(names):
            traces[name] = np.stack([run.gates[:, 0, number * H : (number + 1) * H] for run in runs])  # (L, T, H)
        if type(recurrent) is LSTM:
            traces["cell c"] = np.stack([states_after(run.c, False)[:, 0] for run in runs])
        traces["state h"] = np.stack([states_after(run.h, False)[:, 0] for run in runs])
        return traces


class WindowProbe(Probe):
    """The probe of `minilm.models.WindowLanguageModel`, whose windows begin with the padding's vector.

    Its gates and states are (W, N, H), of every place of every window: a gate held at its mean is held at that of each window.
    """

    gates = GATES["lstm"]
    kinds = gates
    ablated = "h"

    def components(self, kind):
        return [Component(f"recurrent.{number}.l0.{kind}", "outputs", 1, True) for number in range(len(self.model.recurrent))]

    @property
    def lacks(self):
        reason = "this model reads a window of tokens anew for each prediction: its states are of a window, not of the text"
        return {**super().lacks, "traces": reason}

    @property
    def table(self):
        return self.model.embedding.weight.value

    def body(self, x):
        before = np.full((len(x), self.model.config.window - 1), self.model.config.pad_token_id)  # (B, W - 1)
        return self.model.pooled(np.concatenate([self.table[before], x], axis=1))

    def body_backward(self, dh, saved):
        return self.model.pooled_backward(dh, saved)[:, self.model.config.window - 1 :]

    @property
    def head(self):
        return self.model.output
