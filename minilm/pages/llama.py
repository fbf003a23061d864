"""Llama on one page: the model, its gradient, training and writing.

B texts of T tokens, a vocabulary of V tokens, width D, H heads of K = D / H numbers for queries and G heads, a divisor of H,
for keys and values, a position-wise network of F numbers::

    x      = embed_tokens[ids]                              (B, T, D)
    x      = x + attn(input_layernorm(x))                   (B, T, D)      for each layer 0, 1, ...
    x      = x + mlp(post_attention_layernorm(x))           (B, T, D)
    logits = norm(x) W_headᵀ                                (B, T, V)
    loss   = mean over b, t of -log softmax(logits)[targets]

    attn(n) = P v W_oᵀ                                      q, k, v = n W_qᵀ, n W_kᵀ, n W_vᵀ, cut into heads
    P       = softmax(rotated(q) rotated(k)ᵀ / √K + causal mask)
    mlp(n)  = (silu(n W_gateᵀ) * (n W_upᵀ)) W_downᵀ

Five things differ from GPT-2: the normalisation is by the root mean square alone; positions rotate queries and keys, and are not
added to x; the network has a gate; H / G heads of queries share one head of keys and values (grouped-query attention); and no map
has a bias.

Names and layout of the weights are Hugging Face's. Reference: H. Touvron et al., LLaMA: open and efficient foundation
language models, arXiv:2302.13971; J. Ainslie et al., GQA, arXiv:2305.13245.
"""

from __future__ import annotations

import pathlib
import sys

import numpy as np

from minilm.ops import adam, attention, clip, cross_entropy, embedding, linear, rms_norm, rotary, swiglu

EPS = 1e-5  # of the normalisations


def weights(V: int, D: int, H: int, G: int, F: int, layers: int, rng: np.random.Generator, dtype=np.float32) -> dict:
    """First weights by Hugging Face's names: normal(0, 0.02), scales of 1."""
    shapes = {"model.embed_tokens.weight": (V, D), "model.norm.weight": (D,), "lm_head.weight": (V, D)}
    for layer in (f"model.layers.{number}" for number in range(layers)):
        shapes |= {f"{layer}.input_layernorm.weight": (D,), f"{layer}.post_attention_layernorm.weight": (D,)}
        maps = {"q_proj": (D, D), "k_proj": (G * D // H, D), "v_proj": (G * D // H, D), "o_proj": (D, D)}
        shapes |= {f"{layer}.self_attn.{name}.weight": shape for name, shape in maps.items()}
        shapes |= {f"{layer}.mlp.{name}.weight": shape for name, shape in zip(MLP, ((F, D), (F, D), (D, F)), strict=True)}
    return {name: (rng.normal(0, 0.02, s) if len(s) == 2 else np.ones(s)).astype(dtype) for name, s in shapes.items()}


MLP = ("gate_proj", "up_proj", "down_proj")


# --- one layer --------------------------------------------------------------------------------------------------------


def layer_forward(W, name, x, H, tables):
    """Layer `name` of x (B, T, D): its output (B, T, D), and what its gradient needs."""
    (B, T, D), saved = x.shape, {}

    def linear_of(h, part):
        y, saved[part] = linear.forward(h, W[f"{name}.{part}.weight"])
        return y

    n, saved["input_layernorm"] = rms_norm.forward(x, W[f"{name}.input_layernorm.weight"], eps=EPS)  # (B, T, D)
    q, k, v = (linear_of(n, f"self_attn.{part}_proj").reshape(B, T, -1, D // H) for part in "qkv")  # (B, T, H or G, K)
    q, saved["rotary q"] = rotary.forward(q, *tables)  # (B, T, H, K)
    k, saved["rotary k"] = rotary.forward(k, *tables)  # (B, T, G, K)
    heads, saved["attention"] = attention.forward(q, k, v, causal=True)  # (B, T, H, K)
    x = x + linear_of(heads.reshape(B, T, D), "self_attn.o_proj")  # (B, T, D)

    n, saved["post_attention_layernorm"] = rms_norm.forward(x, W[f"{name}.post_attention_layernorm.weight"], eps=EPS)
    gate, up = linear_of(n, "mlp.gate_proj"), linear_of(n, "mlp.up_proj")  # (B, T, F) each
    h, saved["swiglu"] = swiglu.forward(gate, up)  # (B, T, F)
    return x + linear_of(h, "mlp.down_proj"), saved


def layer_backward(dx, name, H, saved):
    """Gradients by the layer's input (B, T, D) and by its weights."""
    (B, T, D), d = dx.shape, {}

    def linear_back(dy, part):
        dh, d[f"{name}.{part}.weight"], _ = linear.backward(dy, saved[part])
        return dh

    def norm_back(dy, part):
        dh, d[f"{name}.{part}.weight"] = rms_norm.backward(dy, saved[part])
        return dh

    dgate, dup = swiglu.backward(linear_back(dx, "mlp.down_proj"), saved["swiglu"])  # (B, T, F) each
    dn = linear_back(dgate, "mlp.gate_proj") + linear_back(dup, "mlp.up_proj")  # (B, T, D)
    dx = dx + norm_back(dn, "post_attention_layernorm")  # (B, T, D)

    dheads = linear_back(dx, "self_attn.o_proj").reshape(B, T, H, D // H)  # (B, T, H, K)
    dq, dk, dv = attention.backward(dheads, saved["attention"])  # (B, T, H, K), (B, T, G, K) twice
    dq, dk = rotary.backward(dq, saved["rotary q"]), rotary.backward(dk, saved["rotary k"])
    parts = zip("qkv", (dq, dk, dv), strict=True)
    dn = sum(linear_back(part.reshape(B, T, -1), f"self_attn.{which}_proj") for which, part in parts)  # (B, T, D)
    return dx + norm_back(dn, "input_layernorm"), d


# --- the model --------------------------------------------------------------------------------------------------------


def predict(W, ids, H, base=10_000.0):
    """Logits (B, T, V) of the token after each of ids (B, T), and what the gradient needs."""
    x, tokens = embedding.forward(ids, W["model.embed_tokens.weight"])  # (B, T, D)
    tables = rotary.tables(ids.shape[1], x.shape[2] // H, base=base, dtype=x.dtype)  # (T, K/2) each
    layers = []
    for name in (f"model.layers.{number}" for number in range(sum("input_layernorm" in name for name in W))):
        x, saved = layer_forward(W, name, x, H, tables)  # (B, T, D)
        layers.append((name, saved))
    y, norm = rms_norm.forward(x, W["model.norm.weight"], eps=EPS)  # (B, T, D)
    logits, head = linear.forward(y, W["lm_head.weight"])  # (B, T, V)
    return logits, (tokens, layers, norm, head, H)


def forward(W, ids, targets, H, base=10_000.0):
    """Mean cross-entropy in nats of the targets (B, T), and what `backward` needs."""
    logits, saved = predict(W, ids, H, base)
    loss, saved_loss = cross_entropy.forward(logits, targets)
    return loss, (saved, saved_loss)


def backward(saved):
    """The gradient of the loss by every weight, by name."""
    (tokens, layers, norm, head, H), saved_loss = saved
    dW = {}
    dlogits = cross_entropy.backward(1.0, saved_loss)  # (B, T, V)
    dy, dW["lm_head.weight"], _ = linear.backward(dlogits, head)  # (B, T, D), (V, D)
    dx, dW["model.norm.weight"] = rms_norm.backward(dy, norm)  # (B, T, D)
    for name, saved_layer in layers[::-1]:
        dx, of_layer = layer_backward(dx, name, H, saved_layer)  # (B, T, D)
        dW |= of_layer
    dW["model.embed_tokens.weight"] = embedding.backward(dx, tokens)  # (V, D)
    return dW


# --- training and writing ---------------------------------------------------------------------------------------------


def train(text: str, steps: int = 300, B=12, T=64, D=64, H=4, G=2, F=128, layers=2, lr=3e-3, seed=0, report=print):
    """Train on the characters of a text by Adam; returns the weights, the characters, and the last loss."""
    rng = np.random.default_rng(seed)
    characters = sorted(set(text))
    ids = np.array([characters.index(c) for c in text])  # (n,)
    W = weights(len(characters), D, H, G, F, layers, rng)
    m, v = ({name: np.zeros_like(w) for name, w in W.items()} for _ in range(2))
    for step in range(1, steps + 1):
        starts = rng.integers(0, len(ids) - T, B)  # (B,)
        window = ids[starts[:, None] + np.arange(T + 1)]  # (B, T + 1)
        loss, saved = forward(W, window[:, :-1], window[:, 1:], H)
        dW = backward(saved)
        norm = clip.norm(np.concatenate([gradient.ravel() for gradient in dW.values()]))
        for name in W:
            adam.step(W[name], dW[name], m[name], v[name], step=step, lr=lr, scale=clip.scale(norm, 1.0))
        if step % 50 == 0:
            report(f"step {step}: loss {loss:.3f}")
    return W, characters, float(loss)


def write(W, ids: list[int], tokens: int, H: int, base=10_000.0) -> list[int]:
    """Continue a text with the most probable token each time. Without a cache, the whole text is read again for every token."""
    for _ in range(tokens):
        logits, _ = predict(W, np.array([ids]), H, base)  # (1, T, V)
        ids = [*ids, int(logits[0, -1].argmax())]
    return ids


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit("usage: python -m minilm.pages.llama FILE")
    text = pathlib.Path(sys.argv[1]).read_text(encoding="utf-8")
    W, characters, _ = train(text)
    print("".join(characters[i] for i in write(W, [characters.index(text[0])], 200, H=4)))
