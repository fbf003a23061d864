"""Sequence to sequence on one page: an LSTM reads the source, another writes the target and attends to what was read.

B pairs, S tokens of the source and T of the target, embeddings of E numbers, states of H::

    memory, last = LSTM(source_embedding[source])           (B, S, H)      the state after each token, and the last one
    h            = LSTM(target_embedding[inputs])           (B, T, H)      begins with `last`
    score[t, s]  = v · tanh(W_q h[t] + b_q + W_m memory[s])                Bahdanau's attention
    context[t]   = sum over s of softmax(score[t])[s] memory[s]            (B, T, H)
    logits       = tanh([h ; context] W_cᵀ + b_c) Wᵀ + b    (B, T, V)
    loss         = mean over b, t of -log softmax(logits)[targets]

In training the decoder reads the true target, moved right by one token (teacher forcing); in writing, what it wrote itself. Since
context[t] is a sum over s, the gradient reaches every state of the encoder directly, not only through the last one.

The full model is `minilm.models.Seq2Seq`. References: I. Sutskever, O. Vinyals, Q. Le, Sequence to sequence learning with neural
networks, NIPS 2014; D. Bahdanau, K. Cho, Y. Bengio, Neural machine translation by jointly learning to align and translate, ICLR
2015.
"""

from __future__ import annotations

import numpy as np

from minilm.ops import adam, additive_attention, clip, cross_entropy, embedding, linear, lstm, tanh

PAD, BEGIN, END = range(3)  # the first ids of the vocabulary
LSTM = ("weight_ih_l0", "weight_hh_l0", "bias_ih_l0", "bias_hh_l0")
ENCODER, DECODER = "encoder", "decoder.recurrent"


def weights(V: int, E: int, H: int, rng: np.random.Generator, dtype=np.float32) -> dict[str, np.ndarray]:
    """First weights by the names of `minilm.models.Seq2Seq`: uniform in ±1/√H."""
    shapes = {"source_embedding.weight": (V, E), "target_embedding.weight": (V, E)}
    for layer in (ENCODER, DECODER):
        for name, shape in zip(LSTM, ((4 * H, E), (4 * H, H), (4 * H,), (4 * H,)), strict=True):
            shapes[f"{layer}.{name}"] = shape
    shapes |= {"decoder.attention.query.weight": (H, H), "decoder.attention.query.bias": (H,)}
    shapes |= {"decoder.attention.memory.weight": (H, H), "decoder.attention.v": (H,)}
    shapes |= {"decoder.combine.weight": (H, 2 * H), "decoder.combine.bias": (H,), "output.weight": (V, H), "output.bias": (V,)}
    return {name: (rng.uniform(-1, 1, shape) / np.sqrt(H)).astype(dtype) for name, shape in shapes.items()}


def pair(W, name):
    """Weight and bias of a map."""
    return W[f"{name}.weight"], W[f"{name}.bias"]


# --- the model --------------------------------------------------------------------------------------------------------


def read(W, source, lengths):
    """What the decoder gets of the source (B, S), whose rows have `lengths` (B,) tokens; and what the gradient needs."""
    x, embedded = embedding.forward(source.T, W["source_embedding.weight"])  # (S, B, E)
    zero = np.zeros((len(source), W["output.weight"].shape[1]), x.dtype)  # (B, H)
    (y, h, c), encoder = lstm.forward(x, zero, zero, *(W[f"{ENCODER}.{name}"] for name in LSTM), lengths)
    memory = np.ascontiguousarray(y.transpose(1, 0, 2))  # (B, S, H)
    keys, projected = linear.forward(memory, W["decoder.attention.memory.weight"])  # (B, S, H)
    mask = np.arange(source.shape[1]) < lengths[:, None]  # (B, S) True for tokens, False for padding
    return (memory, keys, mask), (h, c), (embedded, encoder, projected)


def predict(W, inputs, state, source):
    """Logits (B, T, V) of the token after each of inputs (B, T), the decoder's state after them, and what the gradient needs."""
    memory, keys, mask = source
    x, embedded = embedding.forward(inputs.T, W["target_embedding.weight"])  # (T, B, E)
    (y, *state), decoder = lstm.forward(x, *state, *(W[f"{DECODER}.{name}"] for name in LSTM))
    h = np.ascontiguousarray(y.transpose(1, 0, 2))  # (B, T, H)
    query, queried = linear.forward(h, *pair(W, "decoder.attention.query"))  # (B, T, H)
    context, attended = additive_attention.forward(query, keys, W["decoder.attention.v"], memory, key_mask=mask)  # (B, T, H)
    a, combined = linear.forward(np.concatenate([h, context], axis=2), *pair(W, "decoder.combine"))  # (B, T, H)
    g, curve = tanh.forward(a)  # (B, T, H)
    logits, output = linear.forward(g, *pair(W, "output"))  # (B, T, V)
    return logits, tuple(state), (embedded, decoder, queried, attended, combined, curve, output)


def forward(W, source, lengths, inputs, targets):
    """Mean cross-entropy in nats of the targets (B, T), of which those of -100 do not count; and what `backward` needs."""
    memory, state, saved_reading = read(W, source, lengths)
    logits, _, saved_writing = predict(W, inputs, state, memory)
    loss, saved_loss = cross_entropy.forward(logits, targets)
    return loss, (saved_reading, saved_writing, saved_loss)


def backward(saved):
    """The gradient of the loss by every weight, by name."""
    (source, encoder, projected), (target, decoder, queried, attended, combined, curve, output), saved_loss = saved
    d, dW = {}, {}  # gradients of weight and bias of a map, and of single weights
    dlogits = cross_entropy.backward(1.0, saved_loss)  # (B, T, V)
    dg, *d["output"] = linear.backward(dlogits, output)  # (B, T, H)
    dboth, *d["decoder.combine"] = linear.backward(tanh.backward(dg, curve), combined)  # (B, T, 2H)
    dh, dcontext = (np.ascontiguousarray(part) for part in np.split(dboth, 2, axis=2))  # (B, T, H) each
    dquery, dkeys, dW["decoder.attention.v"], dmemory = additive_attention.backward(dcontext, attended)
    dthrough, *d["decoder.attention.query"] = linear.backward(dquery, queried)  # (B, T, H)
    dy = np.ascontiguousarray((dh + dthrough).transpose(1, 0, 2))  # (T, B, H)
    dx, dh0, dc0, *of_decoder = lstm.backward(dy, decoder)  # (T, B, E), (B, H), (B, H)
    dW["target_embedding.weight"] = embedding.backward(dx, target)  # (V, E)

    dthrough, dW["decoder.attention.memory.weight"], _ = linear.backward(dkeys, projected)  # (B, S, H)
    dy = np.ascontiguousarray((dmemory + dthrough).transpose(1, 0, 2))  # (S, B, H)
    dx, _, _, *of_encoder = lstm.backward((dy, dh0, dc0), encoder)  # (S, B, E)
    dW["source_embedding.weight"] = embedding.backward(dx, source)  # (V, E)
    for layer, gradients in ((DECODER, of_decoder), (ENCODER, of_encoder)):
        dW |= {f"{layer}.{name}": gradient for name, gradient in zip(LSTM, gradients, strict=True)}
    for name, both in d.items():
        dW |= {f"{name}.{part}": gradient for part, gradient in zip(("weight", "bias"), both, strict=True)}
    return dW


def write(W, source, lengths, most: int):
    """The target of each source (B, S), the most probable token each time: (B, at most `most`). Ignore what follows END."""
    memory, state, _ = read(W, source, lengths)
    ids = [np.full(len(source), BEGIN)]
    while len(ids) <= most and not (np.array(ids) == END).any(axis=0).all():
        logits, state, _ = predict(W, ids[-1][:, None], state, memory)  # (B, 1, V)
        ids.append(logits[:, 0].argmax(axis=1))
    return np.stack(ids[1:], axis=1)


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


def train(steps: int = 400, B=32, E=16, H=32, lr=1e-2, seed=0, report=print):
    """Learn to write a text backwards, by Adam; returns the weights and the mean loss of the last 50 steps."""
    rng = np.random.default_rng(seed)
    W = weights(13, E, H, rng)
    m, v = ({name: np.zeros_like(w) for name, w in W.items()} for _ in range(2))
    losses = []
    for step in range(1, steps + 1):
        loss, saved = forward(W, *backwards(B, rng))
        dW = backward(saved)
        norm = clip.norm(np.concatenate([gradient.ravel() for gradient in dW.values()]))
        for name in W:
            adam.step(W[name], dW[name], m[name], v[name], step=step, lr=lr, scale=clip.scale(norm, 1.0))
        losses.append(float(loss))
        if step % 50 == 0:
            report(f"step {step}: loss {np.mean(losses[-50:]):.3f}")
    return W, float(np.mean(losses[-50:]))


if __name__ == "__main__":
    W, _ = train()
    source, lengths, _, _ = backwards(1, np.random.default_rng(1))
    print("source ", source[0, : lengths[0]], "\nwritten", write(W, source, lengths, 12)[0])
