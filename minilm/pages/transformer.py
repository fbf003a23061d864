"""The Transformer on one page: an encoder reads the source, a decoder writes the target and attends to what was read.

B pairs, S tokens of the source and T of the target, width D, H heads of K = D / H numbers::

    x      = √D source_embedding[source] + positions        (B, S, D)
    x      = ln_1(x + attn(x));  x = ln_2(x + mlp(x))       (B, S, D)      for each block of the encoder
    y      = √D target_embedding[inputs] + positions        (B, T, D)
    y      = ln_1(y + attn(y))                              (B, T, D)      for each block of the decoder: causal
    y      = ln_cross_attn(y + crossattention(y, x))        (B, T, D)      queries from y, keys and values from x
    y      = ln_2(y + mlp(y))                               (B, T, D)
    logits = y target_embeddingᵀ                            (B, T, V)      the output shares the target's table
    loss   = mean over b, t of -log softmax(logits)[targets]

    positions[t, 2i] = sin(t / 10000^(2i/D)),  positions[t, 2i+1] = cos(t / 10000^(2i/D))

The gradient by the encoder's output is a sum over the decoder's blocks, since each of them reads it.

The full model is `minilm.models.Transformer`. Reference: A. Vaswani et al., Attention is all you need, NIPS 2017.
"""

from __future__ import annotations

import numpy as np

from minilm.ops import adam, attention, clip, cross_entropy, embedding, layer_norm, linear, relu

PAD, BEGIN, END = range(3)  # the first ids of the vocabulary


def weights(V: int, D: int, blocks: int, rng: np.random.Generator, dtype=np.float32) -> dict[str, np.ndarray]:
    """First weights by the names of `minilm.models.Transformer`: tables normal(0, 1/√D), maps uniform by Glorot's rule."""
    maps, norms = {}, []
    for number in range(blocks):
        for block in (f"encoder.{number}", f"decoder.{number}"):
            maps |= {f"{block}.attn.c_attn": (3 * D, D), f"{block}.attn.c_proj": (D, D)}
            maps |= {f"{block}.mlp.c_fc": (4 * D, D), f"{block}.mlp.c_proj": (D, 4 * D)}
            norms += [f"{block}.ln_1", f"{block}.ln_2"]
        cross = f"decoder.{number}.crossattention"
        maps |= {f"{cross}.{part}": (D, D) for part in ("query", "key", "value", "c_proj")}
        norms.append(f"decoder.{number}.ln_cross_attn")
    W = {f"{side}_embedding.weight": rng.normal(0, D**-0.5, (V, D)) for side in ("source", "target")}
    for name, (O, I) in maps.items():
        W |= {f"{name}.weight": rng.uniform(-1, 1, (O, I)) * np.sqrt(6 / (O + I)), f"{name}.bias": np.zeros(O)}
    for name in norms:
        W |= {f"{name}.weight": np.ones(D), f"{name}.bias": np.zeros(D)}
    return {name: w.astype(dtype) for name, w in W.items()}


def pair(W, name):
    """Weight and bias of a map or a normalisation."""
    return W[f"{name}.weight"], W[f"{name}.bias"]


def embedded(W, side, ids):
    """Tokens and positions of one side: (B, T, D), and what the gradient needs."""
    x, saved = embedding.forward(ids, W[f"{side}_embedding.weight"])  # (B, T, D)
    T, D = x.shape[1:]
    angle = np.arange(T)[:, None] / 10000 ** (np.arange(0, D, 2) / D)  # (T, D / 2)
    positions = np.stack([np.sin(angle), np.cos(angle)], axis=2).reshape(T, D)
    return x * x.dtype.type(np.sqrt(D)) + positions.astype(x.dtype), saved


def embedded_backward(dx, saved):
    """The gradient with respect to the table (V, D)."""
    return embedding.backward(dx * dx.dtype.type(np.sqrt(dx.shape[2])), saved)


# --- the parts of a block: each is norm(x + f(x)) -----------------------------------------------------------------------


def self_attention(W, name, norm, x, H, **mask):
    """norm(x + attention of x (B, T, D) to itself), and what the gradient needs."""
    B, T, D = x.shape
    qkv, c_attn = linear.forward(x, *pair(W, f"{name}.c_attn"))  # (B, T, 3D)
    q, k, v = qkv.reshape(B, T, 3, H, D // H).transpose(2, 0, 1, 3, 4)  # (B, T, H, K) each
    heads, attn = attention.forward(q, k, v, **mask)  # (B, T, H, K)
    a, c_proj = linear.forward(heads.reshape(B, T, D), *pair(W, f"{name}.c_proj"))  # (B, T, D)
    y, ln = layer_norm.forward(x + a, *pair(W, norm))  # (B, T, D)
    return y, (c_attn, attn, c_proj, ln)


def self_attention_backward(dy, name, norm, saved, d):
    """The gradient with respect to x (B, T, D); those of the weights are put into `d`, here and below."""
    c_attn, attn, c_proj, ln = saved
    dx, *d[norm] = layer_norm.backward(dy, ln)  # (B, T, D)
    dheads, *d[f"{name}.c_proj"] = linear.backward(dx, c_proj)  # (B, T, D)
    dqkv = attention.backward(dheads.reshape(attn.y.shape), attn)  # three of (B, T, H, K)
    dqkv = np.stack(dqkv, axis=2).reshape(*dx.shape[:2], -1)  # (B, T, 3D)
    da, *d[f"{name}.c_attn"] = linear.backward(dqkv, c_attn)  # (B, T, D)
    return dx + da


def cross_attention(W, name, norm, y, memory, H, mask):
    """norm(y + attention of y (B, T, D) to memory (B, S, D)), and what the gradient needs."""
    (B, T, D), qkv, maps = y.shape, [], []
    for part, x in (("query", y), ("key", memory), ("value", memory)):
        projected, saved = linear.forward(x, *pair(W, f"{name}.{part}"))  # (B, T or S, D)
        qkv.append(projected.reshape(B, -1, H, D // H))
        maps.append(saved)
    heads, attn = attention.forward(*qkv, key_mask=mask)  # (B, T, H, K)
    a, c_proj = linear.forward(heads.reshape(B, T, D), *pair(W, f"{name}.c_proj"))  # (B, T, D)
    y, ln = layer_norm.forward(y + a, *pair(W, norm))  # (B, T, D)
    return y, (maps, attn, c_proj, ln)


def cross_attention_backward(dy, name, norm, saved, d):
    """The gradients with respect to y (B, T, D) and the memory (B, S, D)."""
    maps, attn, c_proj, ln = saved
    dx, *d[norm] = layer_norm.backward(dy, ln)  # (B, T, D)
    dheads, *d[f"{name}.c_proj"] = linear.backward(dx, c_proj)  # (B, T, D)
    dq, dk, dv = attention.backward(dheads.reshape(attn.y.shape), attn)  # (B, T, H, K), (B, S, H, K) twice
    da, *d[f"{name}.query"] = linear.backward(dq.reshape(dx.shape), maps[0])  # (B, T, D)
    dkeys, *d[f"{name}.key"] = linear.backward(dk.reshape(*dk.shape[:2], -1), maps[1])  # (B, S, D)
    dvalues, *d[f"{name}.value"] = linear.backward(dv.reshape(*dv.shape[:2], -1), maps[2])  # (B, S, D)
    return dx + da, dkeys + dvalues


def mlp(W, name, norm, x):
    """norm(x + W_2 relu(W_1 x + b_1) + b_2) of x (B, T, D), and what the gradient needs."""
    f, c_fc = linear.forward(x, *pair(W, f"{name}.c_fc"))  # (B, T, 4D)
    g, curve = relu.forward(f)  # (B, T, 4D)
    m, c_proj = linear.forward(g, *pair(W, f"{name}.c_proj"))  # (B, T, D)
    y, ln = layer_norm.forward(x + m, *pair(W, norm))  # (B, T, D)
    return y, (c_fc, curve, c_proj, ln)


def mlp_backward(dy, name, norm, saved, d):
    """The gradient with respect to x (B, T, D)."""
    c_fc, curve, c_proj, ln = saved
    dx, *d[norm] = layer_norm.backward(dy, ln)  # (B, T, D)
    dg, *d[f"{name}.c_proj"] = linear.backward(dx, c_proj)  # (B, T, 4D)
    dm, *d[f"{name}.c_fc"] = linear.backward(relu.backward(dg, curve), c_fc)  # (B, T, D)
    return dx + dm


# --- the model --------------------------------------------------------------------------------------------------------


def read(W, source, mask, H):
    """The encoder's output (B, S, D) for source (B, S), mask (B, S) False for padding; and what the gradient needs."""
    x, tokens = embedded(W, "source", source)  # (B, S, D)
    blocks = []
    for number in range(sum(name.startswith("encoder.") and name.endswith("ln_1.weight") for name in W)):
        block = f"encoder.{number}"
        x, attn = self_attention(W, f"{block}.attn", f"{block}.ln_1", x, H, key_mask=mask)
        x, network = mlp(W, f"{block}.mlp", f"{block}.ln_2", x)
        blocks.append((block, attn, network))
    return x, (tokens, blocks)


def predict(W, inputs, memory, mask, H):
    """Logits (B, T, V) of the token after each of inputs (B, T), and what the gradient needs."""
    y, tokens = embedded(W, "target", inputs)  # (B, T, D)
    blocks = []
    for number in range(sum(name.endswith("ln_cross_attn.weight") for name in W)):
        block = f"decoder.{number}"
        y, attn = self_attention(W, f"{block}.attn", f"{block}.ln_1", y, H, causal=True)
        y, cross = cross_attention(W, f"{block}.crossattention", f"{block}.ln_cross_attn", y, memory, H, mask)
        y, network = mlp(W, f"{block}.mlp", f"{block}.ln_2", y)
        blocks.append((block, attn, cross, network))
    logits, output = linear.forward(y, W["target_embedding.weight"])  # (B, T, V)
    return logits, (tokens, blocks, output)


def forward(W, source, lengths, inputs, targets, H):
    """Mean cross-entropy in nats of the targets (B, T), of which those of -100 do not count; and what `backward` needs."""
    mask = np.arange(source.shape[1]) < lengths[:, None]  # (B, S)
    memory, saved_reading = read(W, source, mask, H)  # (B, S, D)
    logits, saved_writing = predict(W, inputs, memory, mask, H)  # (B, T, V)
    loss, saved_loss = cross_entropy.forward(logits, targets)
    return loss, (saved_reading, saved_writing, saved_loss)


def backward(saved):
    """The gradient of the loss by every weight, by name."""
    (source, encoder), (target, decoder, output), saved_loss = saved
    d = {}
    dy, dtable, _ = linear.backward(cross_entropy.backward(1.0, saved_loss), output)  # (B, T, D), (V, D)
    dmemory = 0
    for block, attn, cross, network in decoder[::-1]:
        dy = mlp_backward(dy, f"{block}.mlp", f"{block}.ln_2", network, d)  # (B, T, D)
        dy, dread = cross_attention_backward(dy, f"{block}.crossattention", f"{block}.ln_cross_attn", cross, d)
        dy = self_attention_backward(dy, f"{block}.attn", f"{block}.ln_1", attn, d)
        dmemory = dmemory + dread  # (B, S, D)
    dx = dmemory
    for block, attn, network in encoder[::-1]:
        dx = mlp_backward(dx, f"{block}.mlp", f"{block}.ln_2", network, d)  # (B, S, D)
        dx = self_attention_backward(dx, f"{block}.attn", f"{block}.ln_1", attn, d)
    dW = {f"{name}.{part}": gradient for name, both in d.items() for part, gradient in zip(("weight", "bias"), both, strict=True)}
    dW["target_embedding.weight"] = dtable + embedded_backward(dy, target)
    dW["source_embedding.weight"] = embedded_backward(dx, source)
    return dW


def write(W, source, lengths, most: int, H: int):
    """The target of each source (B, S), the most probable token each time: (B, at most `most`). Ignore what follows END."""
    mask = np.arange(source.shape[1]) < lengths[:, None]  # (B, S)
    memory, _ = read(W, source, mask, H)
    ids = np.full((len(source), 1), BEGIN)
    while ids.shape[1] <= most and not (ids == END).any(axis=1).all():
        logits, _ = predict(W, ids, memory, mask, H)  # (B, t, V)
        ids = np.concatenate([ids, logits[:, -1].argmax(axis=1)[:, None]], axis=1)
    return ids[:, 1:]


# --- training ---------------------------------------------------------------------------------------------------------


def backwards(B: int, rng, V=13, longest=8):
    """Made-up pairs to learn from: the target of a source, of tokens 3 ... V - 1, is the source backwards."""
    lengths = rng.integers(2, longest + 1, B)  # (B,)
    place = np.arange(longest)
    source = np.where(place < lengths[:, None], rng.integers(END + 1, V, (B, longest)), PAD)  # (B, S)
    target = np.take_along_axis(source, (lengths[:, None] - 1 - place) % longest, axis=1)  # (B, S)
    targets = np.full((B, longest + 1), -100)  # (B, T): the target, END, and -100
    targets[:, :longest] = np.where(place < lengths[:, None], target, -100)
    targets[np.arange(B), lengths] = END
    inputs = np.concatenate([np.full((B, 1), BEGIN), np.maximum(targets[:, :-1], 0)], axis=1)  # (B, T)
    return source, lengths, inputs, targets


def train(steps: int = 400, B=32, D=32, H=4, blocks=2, lr=3e-3, seed=0, report=print):
    """Learn to write a text backwards, by Adam; returns the weights and the mean loss of the last 50 steps."""
    rng = np.random.default_rng(seed)
    W = weights(13, D, blocks, rng)
    m, v = ({name: np.zeros_like(w) for name, w in W.items()} for _ in range(2))
    losses = []
    for step in range(1, steps + 1):
        loss, saved = forward(W, *backwards(B, rng), H)
        dW = backward(saved)
        norm = clip.norm(np.concatenate([gradient.ravel() for gradient in dW.values()]))
        for name in W:
            adam.step(W[name], dW[name], m[name], v[name], step=step, lr=lr * min(1, step / 50), scale=clip.scale(norm, 1.0))
        losses.append(float(loss))
        if step % 50 == 0:
            report(f"step {step}: loss {np.mean(losses[-50:]):.3f}")
    return W, float(np.mean(losses[-50:]))


if __name__ == "__main__":
    W, _ = train()
    source, lengths, _, _ = backwards(1, np.random.default_rng(1))
    print("source ", source[0, : lengths[0]], "\nwritten", write(W, source, lengths, 12, H=4)[0])
