"""BERT on one page: the encoder, its two tasks of pretraining, their gradient, and training.

B pairs of segments, T tokens each, a vocabulary of V tokens, width D, H heads of K = D / H numbers::

    x      = word[ids] + position[0 ... T-1] + segment[segments]            (B, T, D)
    x      = norm(x)                                        (B, T, D)
    x      = ln_1(x + attn(x))                              (B, T, D)      for each block; normalised after the sum
    x      = ln_2(x + mlp(x))                               (B, T, D)
    z      = norm(gelu(x[masked] Wᵀ + b))                   (M, D)         at the M masked places only
    logits = z wordᵀ + b                                    (M, V)         the output shares the words' table
    next   = tanh(x[:, 0] W_pᵀ + b_p) W_nᵀ + b_n            (B, 2)         from the first token: does b follow a?
    loss   = mean cross-entropy of the masked tokens + mean cross-entropy of next

attn and mlp are those of `minilm.pages.gpt` without the causal mask: every token sees all others, itself included, so there is
something to predict only where a token is masked.

The full model is `minilm.models.BERTForPreTraining`. Reference: J. Devlin, M.-W. Chang, K. Lee, K. Toutanova, BERT: pre-training
of deep bidirectional transformers for language understanding, NAACL 2019.
"""

from __future__ import annotations

import numpy as np

from minilm.ops import adam, attention, clip, cross_entropy, embedding, gelu_erf, layer_norm, linear, tanh

PAD, CLS, SEP, MASK = range(4)  # the first ids of the vocabulary
EMBEDDINGS, HEAD = "bert.embeddings", "cls.predictions"


def weights(V: int, T: int, D: int, blocks: int, rng: np.random.Generator, dtype=np.float32) -> dict[str, np.ndarray]:
    """First weights by the names of `minilm.models.BERTForPreTraining`: normal(0, 0.02), biases 0, normalisations 1 and 0."""
    maps = {"bert.pooler.dense": (D, D), f"{HEAD}.transform.dense": (D, D), "cls.seq_relationship": (2, D)}
    norms = [f"{EMBEDDINGS}.LayerNorm", f"{HEAD}.transform.LayerNorm"]
    for layer in (f"bert.encoder.layer.{block}" for block in range(blocks)):
        maps |= {f"{layer}.attn.{part}": (D, D) for part in ("query", "key", "value", "c_proj")}
        maps |= {f"{layer}.mlp.c_fc": (4 * D, D), f"{layer}.mlp.c_proj": (D, 4 * D)}
        norms += [f"{layer}.ln_1", f"{layer}.ln_2"]
    tables = {"word_embeddings": V, "position_embeddings": T, "token_type_embeddings": 2}
    W = {f"{EMBEDDINGS}.{name}.weight": rng.normal(0, 0.02, (rows, D)) for name, rows in tables.items()}
    for name, (O, I) in maps.items():
        W |= {f"{name}.weight": rng.normal(0, 0.02, (O, I)), f"{name}.bias": np.zeros(O)}
    for name in norms:
        W |= {f"{name}.weight": np.ones(D), f"{name}.bias": np.zeros(D)}
    return {name: w.astype(dtype) for name, w in {**W, f"{HEAD}.bias": np.zeros(V)}.items()}


def pair(W, name):
    """Weight and bias of a map or a normalisation."""
    return W[f"{name}.weight"], W[f"{name}.bias"]


# --- one block --------------------------------------------------------------------------------------------------------


def block(W, layer, x, H, key_mask):
    """Block `layer` of x (B, T, D): its output (B, T, D), and what its gradient needs."""
    B, T, D = x.shape
    qkv, maps = [], []
    for part in ("query", "key", "value"):
        y, saved = linear.forward(x, *pair(W, f"{layer}.attn.{part}"))  # (B, T, D)
        qkv.append(y.reshape(B, T, H, D // H))
        maps.append(saved)
    heads, attn = attention.forward(*qkv, key_mask=key_mask)  # (B, T, H, K)
    a, c_proj = linear.forward(heads.reshape(B, T, D), *pair(W, f"{layer}.attn.c_proj"))  # (B, T, D)
    x, ln_1 = layer_norm.forward(x + a, *pair(W, f"{layer}.ln_1"), eps=1e-12)  # (B, T, D)

    f, c_fc = linear.forward(x, *pair(W, f"{layer}.mlp.c_fc"))  # (B, T, 4D)
    g, gelu = gelu_erf.forward(f)  # (B, T, 4D)
    m, mlp_proj = linear.forward(g, *pair(W, f"{layer}.mlp.c_proj"))  # (B, T, D)
    x, ln_2 = layer_norm.forward(x + m, *pair(W, f"{layer}.ln_2"), eps=1e-12)  # (B, T, D)
    return x, (maps, attn, c_proj, ln_1, c_fc, gelu, mlp_proj, ln_2)


def block_backward(dx, layer, saved, d):
    """The gradient with respect to the block's input (B, T, D); those of its weights are put into `d`."""
    maps, attn, c_proj, ln_1, c_fc, gelu, mlp_proj, ln_2 = saved
    dx, *d[f"{layer}.ln_2"] = layer_norm.backward(dx, ln_2)  # (B, T, D)
    dg, *d[f"{layer}.mlp.c_proj"] = linear.backward(dx, mlp_proj)  # (B, T, 4D)
    dn, *d[f"{layer}.mlp.c_fc"] = linear.backward(gelu_erf.backward(dg, gelu), c_fc)  # (B, T, D)

    dx, *d[f"{layer}.ln_1"] = layer_norm.backward(dx + dn, ln_1)  # (B, T, D)
    dheads, *d[f"{layer}.attn.c_proj"] = linear.backward(dx, c_proj)  # (B, T, D)
    dqkv = attention.backward(dheads.reshape(attn.y.shape), attn)  # three of (B, T, H, K)
    for part, dy, saved_map in zip(("query", "key", "value"), dqkv, maps, strict=True):
        dn, *d[f"{layer}.attn.{part}"] = linear.backward(dy.reshape(dx.shape), saved_map)  # (B, T, D)
        dx = dx + dn
    return dx


# --- the model --------------------------------------------------------------------------------------------------------


def encode(W, ids, segments, H):
    """A vector (B, T, D) for each of ids (B, T), and what the gradient needs. No token attends to padding."""
    word, words = embedding.forward(ids, W[f"{EMBEDDINGS}.word_embeddings.weight"], PAD)  # (B, T, D)
    segment, types = embedding.forward(segments, W[f"{EMBEDDINGS}.token_type_embeddings.weight"])  # (B, T, D)
    x = word + W[f"{EMBEDDINGS}.position_embeddings.weight"][: ids.shape[1]] + segment
    x, norm = layer_norm.forward(x, *pair(W, f"{EMBEDDINGS}.LayerNorm"), eps=1e-12)  # (B, T, D)
    blocks = []
    for number in range(sum(name.endswith("ln_1.weight") for name in W)):
        x, saved = block(W, f"bert.encoder.layer.{number}", x, H, ids != PAD)  # (B, T, D)
        blocks.append(saved)
    return x, (words, types, norm, blocks, len(W[f"{EMBEDDINGS}.position_embeddings.weight"]))


def fill(W, x):
    """Logits (..., V) of the token at the place of each vector of x (..., D), and what the gradient needs."""
    a, dense = linear.forward(x, *pair(W, f"{HEAD}.transform.dense"))  # (..., D)
    g, gelu = gelu_erf.forward(a)  # (..., D)
    z, norm = layer_norm.forward(g, *pair(W, f"{HEAD}.transform.LayerNorm"), eps=1e-12)  # (..., D)
    logits, decoder = linear.forward(z, W[f"{EMBEDDINGS}.word_embeddings.weight"], W[f"{HEAD}.bias"])  # (..., V)
    return logits, (dense, gelu, norm, decoder)


def forward(W, ids, segments, targets, follows, H):
    """The loss of a batch, and what `backward` needs.

    ids, segments (B, T); targets (B, T), the true token at the masked places and -100 elsewhere; follows (B,), 0 where segment b
    follows a and 1 where it does not.
    """
    x, encoder = encode(W, ids, segments, H)  # (B, T, D)
    masked = targets != -100  # (B, T)
    logits, head = fill(W, x[masked])  # (M, V)
    loss, saved_loss = cross_entropy.forward(logits, targets[masked])

    p, dense = linear.forward(x[:, 0], *pair(W, "bert.pooler.dense"))  # (B, D)
    pooled, curve = tanh.forward(p)  # (B, D)
    logits, relationship = linear.forward(pooled, *pair(W, "cls.seq_relationship"))  # (B, 2)
    next_loss, saved_next = cross_entropy.forward(logits, follows)
    return loss + next_loss, (encoder, x.shape, masked, head, saved_loss, dense, curve, relationship, saved_next)


def backward(saved):
    """The gradient of the loss by every weight, by name."""
    (words, types, norm, blocks, positions), shape, masked, head, saved_loss, dense, curve, relationship, saved_next = saved
    d, dx = {}, np.zeros(shape, norm.x.dtype)  # (B, T, D)
    dpooled, *d["cls.seq_relationship"] = linear.backward(cross_entropy.backward(1.0, saved_next), relationship)  # (B, D)
    dx[:, 0], *d["bert.pooler.dense"] = linear.backward(tanh.backward(dpooled, curve), dense)  # (B, D)

    transform, gelu, head_norm, decoder = head
    dz, dword, dbias = linear.backward(cross_entropy.backward(1.0, saved_loss), decoder)  # (M, D), (V, D), (V,)
    dg, *d[f"{HEAD}.transform.LayerNorm"] = layer_norm.backward(dz, head_norm)  # (M, D)
    dmasked, *d[f"{HEAD}.transform.dense"] = linear.backward(gelu_erf.backward(dg, gelu), transform)  # (M, D)
    dx[masked] += dmasked

    for number, saved_block in reversed(list(enumerate(blocks))):
        dx = block_backward(dx, f"bert.encoder.layer.{number}", saved_block, d)  # (B, T, D)
    dx, *d[f"{EMBEDDINGS}.LayerNorm"] = layer_norm.backward(dx, norm)  # (B, T, D)
    dposition = np.zeros((positions, shape[2]), dx.dtype)  # (T, D)
    dposition[: shape[1]] = dx.sum(axis=0)
    dW = {f"{name}.{part}": gradient for name, both in d.items() for part, gradient in zip(("weight", "bias"), both, strict=True)}
    dW[f"{HEAD}.bias"] = dbias
    dW[f"{EMBEDDINGS}.word_embeddings.weight"] = dword + embedding.backward(dx, words)
    dW[f"{EMBEDDINGS}.position_embeddings.weight"] = dposition
    dW[f"{EMBEDDINGS}.token_type_embeddings.weight"] = embedding.backward(dx, types)
    return dW


# --- training ---------------------------------------------------------------------------------------------------------

TOPICS, WORDS = 8, 5  # of the made-up language, in which a segment has words of one topic alone
VOCABULARY = MASK + 1 + TOPICS * WORDS


def batch(B: int, n: int, rng):
    """Made-up pairs of segments [CLS] a [SEP] b [SEP] of n words each with 15 % of these masked: the arguments of `forward`.

    The words of a segment are of one topic; b follows a where it has the same one, in half of the pairs. Of the masked words 80 %
    become [MASK], 10 % a random word, and 10 % stay what they are, so that every word must be looked at.
    """
    follows = rng.integers(0, 2, B)  # (B,) 0: b follows a
    topics = rng.integers(0, TOPICS, B)  # (B,)
    others = (topics + follows * rng.integers(1, TOPICS, B)) % TOPICS  # (B,)
    a, b = (MASK + 1 + WORDS * topic[:, None] + rng.integers(0, WORDS, (B, n)) for topic in (topics, others))  # (B, n)
    cls, sep = (np.full((B, 1), special) for special in (CLS, SEP))
    true = np.concatenate([cls, a, sep, b, sep], axis=1)  # (B, T)
    segments = np.tile(np.arange(true.shape[1]) >= n + 2, (B, 1)).astype(np.int64)  # (B, T)
    masked = (rng.random(true.shape) < 0.15) & (true > MASK)
    masked[0, 1] = True  # at least one
    kind = rng.random(true.shape)
    shown = np.where(masked & (kind < 0.8), MASK, true)
    shown = np.where(masked & (kind >= 0.9), rng.integers(MASK + 1, VOCABULARY, true.shape), shown)
    return shown, segments, np.where(masked, true, -100), follows


def train(steps: int = 300, B=16, n=8, D=32, H=2, blocks=2, lr=2e-3, seed=0, report=print):
    """Train on the made-up language by Adam; returns the weights, and the mean loss of the last 50 steps.

    It begins at log 40 + log 2 = 4.4 nats, and cannot fall below log 5 = 1.6: nothing tells which word of its topic is masked.
    """
    rng = np.random.default_rng(seed)
    W = weights(VOCABULARY, 2 * n + 3, D, blocks, rng)
    m, v = ({name: np.zeros_like(w) for name, w in W.items()} for _ in range(2))
    losses = []
    for step in range(1, steps + 1):
        loss, saved = forward(W, *batch(B, n, rng), H)
        dW = backward(saved)
        norm = clip.norm(np.concatenate([gradient.ravel() for gradient in dW.values()]))
        for name in W:
            adam.step(W[name], dW[name], m[name], v[name], step=step, lr=lr, scale=clip.scale(norm, 1.0))
        losses.append(float(loss))
        if step % 50 == 0:
            report(f"step {step}: loss {np.mean(losses[-50:]):.3f}")
    return W, float(np.mean(losses[-50:]))


if __name__ == "__main__":
    train()
