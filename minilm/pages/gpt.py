"""GPT-2 on one page: the model, its gradient, training and writing.

B texts of T tokens, a vocabulary of V tokens, width D, H heads of K = D / H numbers each::

    x      = wte[ids] + wpe[0 ... T-1]                      (B, T, D)
    x      = x + attn(ln_1(x))                              (B, T, D)      for each block h.0, h.1, ...
    x      = x + mlp(ln_2(x))                               (B, T, D)
    logits = ln_f(x) wteᵀ                                   (B, T, V)      the output shares the tokens' table
    loss   = mean over b, t of -log softmax(logits)[targets]

    attn(n) = [softmax(q kᵀ / √K + causal mask) v] W_projᵀ + b_proj        q, k, v = n W_attnᵀ + b_attn, cut into H heads
    mlp(n)  = gelu(n W_fcᵀ + b_fc) W_projᵀ + b_proj                        with weights of its own

The gradient goes through the same lines from the last to the first. At ``x = x + f(x)`` two gradients add up: the one through f,
and the one of x itself. The tokens' table has two uses, as ``wte[ids]`` and as the output's weight, and so the sum of two
gradients.

The full model is `minilm.models.GPT`. Reference: A. Radford et al., Language models are unsupervised multitask learners, 2019.
"""

from __future__ import annotations

import pathlib
import sys

import numpy as np

from minilm.ops import adam, attention, clip, cross_entropy, embedding, gelu_tanh, layer_norm, linear


def weights(V: int, T: int, D: int, blocks: int, rng: np.random.Generator, dtype=np.float32) -> dict[str, np.ndarray]:
    """First weights by GPT-2's names: normal(0, 0.02), the last map of attn and of mlp smaller by √(2 blocks); biases 0."""
    shapes = {"wte.weight": (V, D), "wpe.weight": (T, D), "ln_f.weight": (D,), "ln_f.bias": (D,)}
    for h in (f"h.{block}" for block in range(blocks)):
        shapes |= {f"{h}.ln_1.weight": (D,), f"{h}.ln_1.bias": (D,), f"{h}.ln_2.weight": (D,), f"{h}.ln_2.bias": (D,)}
        maps = {"attn.c_attn": (3 * D, D), "attn.c_proj": (D, D), "mlp.c_fc": (4 * D, D), "mlp.c_proj": (D, 4 * D)}
        for name, (O, I) in maps.items():
            shapes |= {f"{h}.{name}.weight": (O, I), f"{h}.{name}.bias": (O,)}
    W = {}
    for name, shape in shapes.items():
        deviation = 0.02 / np.sqrt(2 * blocks) if "c_proj" in name else 0.02
        first = rng.normal(0, deviation, shape) if len(shape) == 2 else np.full(shape, "ln_" in name and "weight" in name)
        W[name] = first.astype(dtype)
    return W


def pair(W, name):
    """Weight and bias of a map or a normalisation."""
    return W[f"{name}.weight"], W[f"{name}.bias"]


# --- one block --------------------------------------------------------------------------------------------------------


def block(W, h, x, H):
    """Block `h`, such as "h.0", of x (B, T, D): its output (B, T, D), and what its gradient needs."""
    B, T, D = x.shape
    n, ln_1 = layer_norm.forward(x, *pair(W, f"{h}.ln_1"))  # (B, T, D)
    qkv, c_attn = linear.forward(n, *pair(W, f"{h}.attn.c_attn"))  # (B, T, 3D)
    q, k, v = qkv.reshape(B, T, 3, H, D // H).transpose(2, 0, 1, 3, 4)  # (B, T, H, K) each
    heads, attn = attention.forward(q, k, v, causal=True)  # (B, T, H, K)
    a, c_proj = linear.forward(heads.reshape(B, T, D), *pair(W, f"{h}.attn.c_proj"))  # (B, T, D)
    x = x + a

    n, ln_2 = layer_norm.forward(x, *pair(W, f"{h}.ln_2"))  # (B, T, D)
    f, c_fc = linear.forward(n, *pair(W, f"{h}.mlp.c_fc"))  # (B, T, 4D)
    g, gelu = gelu_tanh.forward(f)  # (B, T, 4D)
    m, mlp_proj = linear.forward(g, *pair(W, f"{h}.mlp.c_proj"))  # (B, T, D)
    return x + m, (ln_1, c_attn, attn, c_proj, ln_2, c_fc, gelu, mlp_proj)


def block_backward(dx, h, H, saved):
    """Gradients by the block's input (B, T, D) and by its weights."""
    ln_1, c_attn, attn, c_proj, ln_2, c_fc, gelu, mlp_proj = saved
    B, T, D = dx.shape
    d = {}

    dg, *d[f"{h}.mlp.c_proj"] = linear.backward(dx, mlp_proj)  # (B, T, 4D)
    df = gelu_tanh.backward(dg, gelu)  # (B, T, 4D)
    dn, *d[f"{h}.mlp.c_fc"] = linear.backward(df, c_fc)  # (B, T, D)
    dn, *d[f"{h}.ln_2"] = layer_norm.backward(dn, ln_2)  # (B, T, D)
    dx = dx + dn

    dheads, *d[f"{h}.attn.c_proj"] = linear.backward(dx, c_proj)  # (B, T, D)
    dqkv = attention.backward(dheads.reshape(B, T, H, D // H), attn)  # three of (B, T, H, K)
    dqkv = np.stack(dqkv, axis=2).reshape(B, T, 3 * D)  # (B, T, 3D)
    dn, *d[f"{h}.attn.c_attn"] = linear.backward(dqkv, c_attn)  # (B, T, D)
    dn, *d[f"{h}.ln_1"] = layer_norm.backward(dn, ln_1)  # (B, T, D)
    return dx + dn, d


# --- the model --------------------------------------------------------------------------------------------------------


def predict(W, ids, H):
    """Logits (B, T, V) of the token after each of ids (B, T), and what the gradient needs."""
    x, tokens = embedding.forward(ids, W["wte.weight"])  # (B, T, D)
    x = x + W["wpe.weight"][: ids.shape[1]]  # (B, T, D)
    blocks = []
    for h in (f"h.{number}" for number in range(sum(name.endswith("ln_1.weight") for name in W))):
        x, saved = block(W, h, x, H)  # (B, T, D)
        blocks.append((h, saved))
    y, ln_f = layer_norm.forward(x, *pair(W, "ln_f"))  # (B, T, D)
    logits, head = linear.forward(y, W["wte.weight"])  # (B, T, V)
    return logits, (tokens, blocks, ln_f, head, H)


def forward(W, ids, targets, H):
    """Mean cross-entropy in nats of the targets (B, T), and what `backward` needs."""
    logits, saved = predict(W, ids, H)
    loss, saved_loss = cross_entropy.forward(logits, targets)
    return loss, (W["wpe.weight"], saved, saved_loss)


def backward(saved):
    """The gradient of the loss by every weight, by name."""
    wpe, (tokens, blocks, ln_f, head, H), saved_loss = saved
    d = {}  # name of a map -> gradients of its weight and bias
    dlogits = cross_entropy.backward(1.0, saved_loss)  # (B, T, V)
    dy, dwte, _ = linear.backward(dlogits, head)  # (B, T, D), (V, D)
    dx, *d["ln_f"] = layer_norm.backward(dy, ln_f)  # (B, T, D)
    for h, saved_block in blocks[::-1]:
        dx, of_block = block_backward(dx, h, H, saved_block)  # (B, T, D)
        d |= of_block
    dwpe = np.zeros_like(wpe)  # (T, D)
    dwpe[: dx.shape[1]] = dx.sum(axis=0)
    dwte = dwte + embedding.backward(dx, tokens)  # (V, D)
    dW = {f"{name}.{part}": gradient for name, both in d.items() for part, gradient in zip(("weight", "bias"), both, strict=True)}
    return {"wte.weight": dwte, "wpe.weight": dwpe, **dW}


# --- training and writing ---------------------------------------------------------------------------------------------


def train(text: str, steps: int = 300, B=12, T=64, D=64, H=4, blocks=2, lr=3e-3, seed=0, report=print):
    """Train on the characters of a text by Adam; returns the weights, the characters, and the last loss."""
    rng = np.random.default_rng(seed)
    characters = sorted(set(text))
    ids = np.array([characters.index(c) for c in text])  # (n,)
    W = weights(len(characters), T, D, blocks, rng)
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


def write(W, ids: list[int], tokens: int, H: int) -> list[int]:
    """Continue a text with the most probable token each time. Without a cache, the whole text is read again for every token."""
    context = len(W["wpe.weight"])
    for _ in range(tokens):
        logits, _ = predict(W, np.array([ids[-context:]]), H)  # (1, T, V)
        ids = [*ids, int(logits[0, -1].argmax())]
    return ids


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit("usage: python -m minilm.pages.gpt FILE")
    text = pathlib.Path(sys.argv[1]).read_text(encoding="utf-8")
    W, characters, _ = train(text)
    print("".join(characters[i] for i in write(W, [characters.index(text[0])], 200, H=4)))
