"""Training steps and generation in PyTorch, as a user of PyTorch would write them.

A step is a function without arguments. Wherever layouts differ in speed the caller gets one step for each and lets the
quickest compete. Optimizers are the fused ones, gradients are set to None and not to zero, states are detached.
"""

from __future__ import annotations

import functools
from collections.abc import Callable

from benchmarks.peers import Peers
from benchmarks.timing import Contestant

ROUGH = 0.1  # of losses and norms in bfloat16, of which a number has 8 bits


def steps(peers: Peers, make: Callable, outputs: Callable) -> list[Contestant]:
    """A training step in PyTorch's ways: eager, compiled, and with products in bfloat16.

    Parameters
    ----------
    make : callable
        ``make(torch, prepare)`` builds the model anew, passes it to `prepare` and returns a step.
    outputs : callable
        ``outputs(step)`` gives what a `Contestant` wants as `arrays`.
    """
    ways = {"torch": _as_it_is, "torch-compile": _compiled, "torch-bf16": _as_it_is}
    contestants = []
    for name, prepare in ways.items():
        torch = peers.get(name)
        if torch is None:
            continue
        step = make(torch, functools.partial(prepare, torch))
        rough = {"around": functools.partial(bfloat16, torch), "tolerance": ROUGH} if name == "torch-bf16" else {}
        contestants.append(Contestant(name, step, outputs(step), **rough))
    return contestants


def bfloat16(torch):
    """The context in which products are in bfloat16. Weights are rounded at each use: a step changes them."""
    return torch.autocast("cpu", torch.bfloat16, cache_enabled=False)


def _as_it_is(torch, model):
    return model


def _compiled(torch, model):
    return torch.compile(model)


def layer_step(torch, kind: str, weights: dict | None, x, dy, batch_first: bool) -> Callable:
    """Forward and backward of one nn.RNN, nn.LSTM or nn.GRU, with gradients by its weights and its input.

    `x` (T, B, D) and `dy` (T, B, H) are NumPy arrays; the step returns y, dx and the weights' gradients by name, in the
    same order of time.
    """
    layer = getattr(torch.nn, kind)(x.shape[2], dy.shape[2], batch_first=batch_first)
    if weights is not None:
        layer.load_state_dict({name: torch.from_numpy(value.copy()) for name, value in weights.items()})
    x, dy = torch.from_numpy(x), torch.from_numpy(dy)
    if batch_first:
        x, dy = x.transpose(0, 1).contiguous(), dy.transpose(0, 1).contiguous()
    x.requires_grad_()

    def step():
        layer.zero_grad(set_to_none=True)
        x.grad = None
        y, _ = layer(x)
        y.backward(dy)
        sides = (side.transpose(0, 1) if batch_first else side for side in (y.detach(), x.grad))  # (T, B, H), (T, B, D)
        return *sides, {name: parameter.grad for name, parameter in layer.named_parameters()}

    return step


def language_model(torch, config, weights: dict | None, batch_first: bool = True):
    """Embedding, recurrent layers and an affine map, with minilm's names of parameters."""

    class LanguageModel(torch.nn.Module):
        def __init__(self):
            super().__init__()
            E, H = config.embedding_size, config.hidden_size
            kind = {"lstm": torch.nn.LSTM, "gru": torch.nn.GRU, "rnn": torch.nn.RNN}[config.cell]
            self.embedding = torch.nn.Embedding(config.vocab_size, E)
            self.recurrent = kind(E, H, config.num_layers, batch_first=batch_first)
            self.output = torch.nn.Linear(H, config.vocab_size)
            if config.tied:
                self.output.weight = self.embedding.weight

        def forward(self, ids, state=None):
            y, state = self.recurrent(self.embedding(ids), state)
            return self.output(y), state

    model = LanguageModel()
    if weights is None:  # torch's own first values
        return model
    weights = {name: torch.from_numpy(value.copy()) for name, value in weights.items()}
    if config.tied:
        weights["output.weight"] = weights["embedding.weight"]
    model.load_state_dict(weights)
    return model


def training_step(
    torch,
    config,
    weights: dict | None,
    batches: list,
    lr: float,
    clip_norm: float,
    batch_first: bool,
    prepare=lambda model: model,
) -> Callable:
    """One step of training after another over `batches` of (ids, targets), (B, T) each, with carried state.

    The step returns the loss and the norm of the gradients before clipping.
    """
    model = language_model(torch, config, weights, batch_first)
    adam = torch.optim.Adam(model.parameters(), lr=lr, fused=True)
    tensors = [tuple(torch.from_numpy(a if batch_first else a.T.copy()) for a in batch) for batch in batches]
    parameters, call = list(model.parameters()), prepare(model)
    state, count = None, 0

    def step():
        nonlocal state, count
        ids, targets = tensors[count % len(tensors)]
        adam.zero_grad(set_to_none=True)
        logits, state = call(ids, state)
        loss = torch.nn.functional.cross_entropy(logits.flatten(0, 1), targets.flatten())
        loss.backward()
        norm = torch.nn.utils.clip_grad_norm_(parameters, clip_norm)
        adam.step()
        state = tuple(part.detach() for part in state) if isinstance(state, tuple) else state.detach()
        count += 1
        return loss.item(), norm.item()

    return step


def generation(torch, config, weights: dict, tokens: int) -> list[Callable]:
    """The most probable token after another for one text, from a fresh state; the logits of the last one.

    Two ways: the sequence module on one step, and the cell.
    """
    model = language_model(torch, config, weights).eval()
    cell = None
    if config.num_layers == 1:
        kind = {"lstm": torch.nn.LSTMCell, "gru": torch.nn.GRUCell, "rnn": torch.nn.RNNCell}[config.cell]
        cell = kind(config.embedding_size, config.hidden_size)
        cell.load_state_dict({name.removesuffix("_l0"): value for name, value in model.recurrent.state_dict().items()})

    @torch.inference_mode()
    def by_module():
        ids, state = torch.zeros(1, 1, dtype=torch.long), None
        for _ in range(tokens):
            logits, state = model(ids, state)
            ids = logits.argmax(-1)
        return logits[:, -1]

    @torch.inference_mode()
    def by_cell():
        ids, state = torch.zeros(1, dtype=torch.long), None
        for _ in range(tokens):
            state = cell(model.embedding(ids), state)
            logits = model.output(state[0] if isinstance(state, tuple) else state)
            ids = logits.argmax(-1)
        return logits

    return [by_module] if cell is None else [by_module, by_cell]
