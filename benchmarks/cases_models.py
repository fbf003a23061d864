"""Training steps of layers and models, as users run them. Here the recurrent ones; the others stand in modules beside this.

``RNN``, ``LSTM``, ``GRU``
    A layer's forward and backward with the gradients by its weights and its input.
``char_lm``, ``word_lm``
    A language model's whole step: forward, backward, clipping, Adam, with carried state. Without dropout, so that the
    first two losses and gradient norms can be compared with the peer's.

A new case is one more line of a table here (`SHAPES`, `STEPS`), or one more `Case` in the list of `cases`.
"""

from __future__ import annotations

import numpy as np

import minilm
from benchmarks import cases_sequential, cases_tasks, cases_transformers, cases_translation, peer_models, peer_ops
from benchmarks.case import Case, twice
from benchmarks.cases_ops import aside, under
from benchmarks.peers import Peers
from benchmarks.timing import Contestant
from minilm import layers, models, ops, optimizers

SHAPES = ((32, 64, 256, 256), (64, 128, 512, 512), (16, 35, 192, 192))  # (B, T, D, H)
TARGETS = {"RNN": (2.0, 1.5, 2.0), "LSTM": (1.05, 1.05, 1.05), "GRU": (2.0, 1.5, 2.0)}  # at each of the shapes
# subject -> (configuration, B, T)
CHARACTERS = {"vocab_size": 65, "embedding_size": 64, "hidden_size": 256}
WORDS = {"vocab_size": 10_000, "embedding_size": 650, "hidden_size": 650, "num_layers": 2, "tied": True, "init_range": 0.05}
STEPS = (  # subject, configuration, B, T, target
    ("char_lm", {**CHARACTERS, "cell": "lstm"}, 32, 64, 1.05),
    ("char_lm", {**CHARACTERS, "cell": "gru"}, 32, 64, 2.0),
    ("word_lm", {**WORDS, "cell": "lstm"}, 20, 35, 1.05),
)


def cases(quick: bool = False) -> list[Case]:
    """All of them; `quick` shrinks every size to what a test can afford."""
    all_cases = []
    for kind, targets in TARGETS.items():
        for shape, target in list(zip(SHAPES, targets, strict=True))[: 1 if quick else None]:
            all_cases.append(layer_case(kind, (2, 3, 4, 5) if quick else shape, target))
    for subject, settings, B, T, target in STEPS:
        if quick:
            settings = {**settings, "vocab_size": 7, "embedding_size": 4, "hidden_size": 4}
        config = models.RNNLanguageModelConfig(**settings)
        all_cases.append(step_case(subject, config, *((2, 3) if quick else (B, T)), target))
    others = (cases_transformers, cases_translation, cases_tasks, cases_sequential)
    return [*all_cases, *(case for part in others for case in part.cases(quick))]


def work(*parts: tuple[str, dict]) -> dict:
    """Arithmetic and traffic of several ops together, by their own account; nothing where an op is not there yet."""
    registry = ops.registry()
    known = [(registry[name], dims) for name, dims in parts if name in registry]
    if len(known) < len(parts):
        return {}
    return {"flops": sum(op.flops(dims) for op, dims in known), "moved": sum(op.bytes(dims, 4) for op, dims in known)}


def layer_case(kind: str, shape, target: float | None) -> Case:
    """One recurrent layer's training step."""
    sizes = dict(zip("BTDH", shape, strict=True))
    name = " ".join([kind, "layer", *(f"{letter} {size}" for letter, size in sizes.items())])
    return Case(
        name, "models", kind, lambda peers: layer_contestants(kind, sizes, peers), **work((kind.lower(), sizes)), target=target
    )


def layer_contestants(kind: str, sizes: dict, peers: Peers) -> list[Contestant]:
    """Time first for minilm; torch may choose."""
    B, T, D, H = sizes.values()
    rng = np.random.default_rng(0)
    x, dy = (rng.standard_normal((T, B, width)).astype(np.float32) for width in (D, H))  # (T, B, D), (T, B, H)

    def arrays(output):
        y, dx, gradients = output
        return [np.asarray(array) for array in (y, dx, *(gradients[name] for name in sorted(gradients)))]

    contestants = [
        Contestant(name, under(name, layer_step(kind, x, dy)), arrays, rounds=aside(name)) for name in ("minilm", "oracle")
    ]
    torch = peers.get("torch")
    if torch is not None:
        weights = getattr(layers, kind)(D, H, seed=0).parameters.state_dict()
        ways = [peer_models.layer_step(torch, kind, weights, x, dy, batch_first) for batch_first in (False, True)]
        contestants.append(Contestant("torch", peer_ops.quickest(ways), arrays))
    return contestants


def layer_step(kind: str, x, dy):
    """Forward and backward of one layer of minilm, time first: y, dx and the weights' gradients by name."""
    layer = getattr(layers, kind)(x.shape[2], dy.shape[2], batch_first=False, seed=0)
    parameters, workspace = layer.parameters, minilm.Workspace()

    def step():
        parameters.zero_gradients()
        with workspace.step():
            output, saved = layer.forward(x)  # (T, B, H)
            dx, _ = layer.backward(dy, saved)  # (T, B, D)
        return output.y, dx, parameters.gradients

    return step


def step_case(subject: str, config, B: int, T: int, target: float) -> Case:
    """One step of training a language model."""
    V, E, H = config.vocab_size, config.embedding_size, config.hidden_size
    widths = [E] + [H] * (config.num_layers - 1)
    parts = [(config.cell, {"B": B, "T": T, "D": width, "H": H}) for width in widths]
    parts += [("embedding", {"N": B * T, "V": V, "D": E}), ("linear", {"N": B * T, "I": H, "O": V})]
    parts += [("cross_entropy", {"N": B * T, "V": V})]
    name = f"{subject} {config.cell} B {B} T {T} V {V:,} H {H}" + (f" x {config.num_layers}" if config.num_layers > 1 else "")
    build = lambda peers: step_contestants(config, B, T, peers)  # noqa: E731
    return Case(name, "models", subject, build, **work(*parts), tokens=B * T, target=target)


def step_contestants(config, B: int, T: int, peers: Peers, lr: float = 1e-3, clip_norm: float = 1.0) -> list[Contestant]:
    """The same weights, batches and settings for all."""
    rng = np.random.default_rng(0)
    tokens = rng.integers(0, config.vocab_size, (8, B, T + 1))
    batches = [(np.ascontiguousarray(part[:, :-1]), np.ascontiguousarray(part[:, 1:])) for part in tokens]  # (B, T) each

    def contestant(name):
        run = under(name, training_step(config, batches, lr, clip_norm))
        return Contestant(name, run, twice(run), rounds=aside(name))

    weights = models.RNNLanguageModel(config, seed=0).parameters.state_dict()

    def make(torch, prepare):
        def build(batch_first):
            return peer_models.training_step(torch, config, weights, batches, lr, clip_norm, batch_first, prepare)

        trials = [build(False), build(True)]
        return build(trials.index(peer_ops.quickest(trials)) == 1)  # anew: the trials have trained

    return [contestant("minilm"), contestant("oracle"), *peer_models.steps(peers, make, twice)]


def training_step(config, batches: list, lr: float, clip_norm: float):
    """One step of training after another, with carried state; returns loss and norm of the gradients."""
    model = models.RNNLanguageModel(config, seed=0)
    adam = optimizers.Adam(model.parameters, lr=lr, clip_norm=clip_norm)
    workspace, state, count = minilm.Workspace(), None, 0

    def step():
        nonlocal state, count
        with workspace.step():
            loss, saved = model.forward(*batches[count % len(batches)], state)
            model.backward(saved)
        norm = adam.step()
        state = saved.state
        count += 1
        return float(loss), norm

    return step
