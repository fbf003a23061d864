"""What a training step of a Llama or a relative costs: grouped queries, rotary positions, a gated network, experts.

Beside a GPT's block (`minilm.planner.cost.block`): keys and values have G heads where queries have H, the network is three maps,
and a window W of attention leaves each position W keys at most. Of a mixture each position goes through k of E networks, though
all of them are parameters.
"""

from __future__ import annotations

from minilm.models import LlamaConfig
from minilm.planner.cost import F32, KEYS, PASSES, Cost, embedding, linear, softmax, total

__all__ = ["cache", "llama"]


def llama(config: LlamaConfig, B: int, T: int) -> Cost:
    """The cost of B rows of T tokens, forward and backward."""
    N, V, D = B * T, config.vocab_size, config.hidden_size
    layers = [_layer(config, B, T, config.window_of(layer)) for layer in range(config.num_hidden_layers)]
    body = total(layers)
    if config.recompute:  # the forward again, a third of all; kept is what goes into each layer, and one layer's activations
        kept = F32 * N * D * len(layers) + max(layer.activations for layer in layers)
        more = {name: getattr(body, name) * 4 / 3 for name in ("products", "short", "moved", "operands")}
        body = body._replace(**more, exponentials=body.exponentials * 1.5, activations=kept)
    head = linear(N, D, V, shared=config.tie_word_embeddings, bias=False)
    cost = total([embedding(N, V, D), body, _norms(N, D, 1), head, softmax(N, V)])
    return cost._replace(parameters=config.parameter_count)


def cache(config: LlamaConfig, T: int) -> float:
    """Bytes of keys and values of one text of T tokens; a layer with a window keeps no more than that."""
    windows = (config.window_of(layer) for layer in range(config.num_hidden_layers))
    return sum(2.0 * F32 * min(T, window or T) * config.groups * config.width for window in windows)


def _layer(config: LlamaConfig, B: int, T: int, window: int | None) -> Cost:
    """One layer; its parameters are `LlamaConfig.parameter_count`'s affair."""
    N, D, F = B * T, config.hidden_size, config.intermediate_size
    HK, GK = config.num_attention_heads * config.width, config.groups * config.width
    sandwich, experts = config.traits.sandwich, config.experts
    maps = linear(N, D, HK) + 2 * linear(N, D, GK) + linear(N, HK, D)
    rotations = Cost(moved=PASSES * F32 * N * (HK + GK), calls=4)  # rotary positions of q and k
    k = config.num_experts_per_tok if experts else 1
    network = 2 * linear(k * N, D, F) + linear(k * N, F, D)
    network += Cost(moved=PASSES * 1.5 * F32 * k * N * F, exponentials=0.5 * k * N * F)  # act(gate) * up
    router = linear(N, D, experts) if experts else Cost()
    parts = maps + rotations + _attention(config, B, T, window) + network + router + _norms(N, D, 4 if sandwich else 2)
    # kept: two sums, their norms and what maps read (6 D); q, k, v, q and k rotated, their mixture; both maps and their product
    kept = F32 * N * ((6.0 + 2 * sandwich) * D + 3 * HK + 3 * GK + config.num_attention_heads + 3 * k * F)
    return parts._replace(parameters=0, activations=kept, working=F32 * N * (10.0 * D + 2 * HK + 2 * k * F))


def _attention(config: LlamaConfig, B: int, T: int, window: int | None) -> Cost:
    """Scores, softmax and mixture of the values, of a causal text: a position sees (T + 1) / 2 keys, or those of its window."""
    W, heads = min(window or T, T), config.num_attention_heads
    keys = W * (1 - (W - 1) / (2 * T))  # of a position, on average
    seen = B * T * keys
    short = 7 * 2.0 * B * T * heads * config.width * max(0.0, KEYS - keys)
    return Cost(products=7 * 2.0 * seen * heads * config.width, exponentials=2 * seen * heads, calls=4, short=short)


def _norms(N: int, D: int, count: int) -> Cost:
    """RMSNorm with the residual before it."""
    return Cost(moved=count * PASSES * 2.0 * F32 * N * D, calls=4.0 * count)
