"""A tagger on one page: a bidirectional LSTM that scores tags, and a conditional random field that chooses them together.

B sentences of up to T words, K tags, embeddings of E numbers, a state of H in each direction::

    x    = embedding[ids]                                   (T, B, E)
    h    = [LSTM(x) ; LSTM(x read backwards)]               (T, B, 2H)
    e    = h Wᵀ + b                                         (B, T, K)      how well each tag fits each word
    s(y) = start[y_1] + sum_t e[t, y_t] + sum_t transitions[y_t-1, y_t] + end[y_n]      the score of a sequence of tags
    loss = mean over sentences of -s(tags) + log sum over all sequences y of exp s(y)

The sum over all K^n sequences of n tags is computed word by word (the forward algorithm), and so is the best sequence (Viterbi):
see `minilm.ops.crf.spec`, where the gradient is derived. The full model is `minilm.models.Tagger`. Reference: Z. Huang, W. Xu,
K. Yu, Bidirectional LSTM-CRF models for sequence tagging, 2015.
"""

from __future__ import annotations

import numpy as np

from minilm.ops import adam, clip, crf, embedding, linear, lstm

LSTM = ("weight_ih_l0", "weight_hh_l0", "bias_ih_l0", "bias_hh_l0")
CRF = ("crf.transitions", "crf.start_transitions", "crf.end_transitions")


def weights(V: int, K: int, E: int, H: int, rng: np.random.Generator, dtype=np.float32) -> dict[str, np.ndarray]:
    """First weights by the names of `minilm.models.Tagger`: uniform in ±1/√H, words normal(0, 0.3)."""
    shapes = {"output.weight": (K, 2 * H), "output.bias": (K,)}
    shapes |= dict(zip(CRF, ((K, K), (K,), (K,)), strict=True))
    for direction in ("", "_reverse"):
        for name, shape in zip(LSTM, ((4 * H, E), (4 * H, H), (4 * H,), (4 * H,)), strict=True):
            shapes[f"recurrent.{name}{direction}"] = shape
    W = {name: rng.uniform(-1, 1, shape) / np.sqrt(H) for name, shape in shapes.items()}
    return {name: w.astype(dtype) for name, w in {"embedding.weight": rng.normal(0, 0.3, (V, E)), **W}.items()}


def emissions(W, ids, lengths):
    """Scores (B, T, K) of the tags of ids (B, T), whose rows have `lengths` (B,) words; and what the gradient needs."""
    x, embedded = embedding.forward(ids.T, W["embedding.weight"])  # (T, B, E)
    zero = np.zeros((len(ids), W["recurrent.weight_hh_l0"].shape[1]), x.dtype)  # (B, H)
    states, saved = [], []
    for direction in ("", "_reverse"):
        layer = (W[f"recurrent.{name}{direction}"] for name in LSTM)
        (h, _, _), kept = lstm.forward(x, zero, zero, *layer, lengths, reverse=bool(direction))  # (T, B, H)
        states.append(h)
        saved.append(kept)
    e, output = linear.forward(np.concatenate(states, axis=2), W["output.weight"], W["output.bias"])  # (T, B, K)
    return np.ascontiguousarray(e.transpose(1, 0, 2)), (embedded, saved, output)


def forward(W, ids, tags, lengths):
    """Mean negative log-likelihood of the tags (B, T), in nats a sentence, and what `backward` needs."""
    e, saved = emissions(W, ids, lengths)  # (B, T, K)
    nll, field = crf.forward(e, tags, *(W[name] for name in CRF), lengths)  # (B,)
    return nll.mean(), (saved, field)


def backward(saved):
    """The gradient of the loss by every weight, by name."""
    (embedded, recurrent, output), field = saved
    dW, B = {}, len(field.tags)
    de, *of_field = crf.backward(np.full(B, 1 / B, field.alpha.dtype), field)  # (B, T, K)
    dW |= dict(zip(CRF, of_field, strict=True))
    de = np.ascontiguousarray(de.transpose(1, 0, 2))  # (T, B, K)
    dh, dW["output.weight"], dW["output.bias"] = linear.backward(de, output)  # (T, B, 2H)
    dx = 0
    for direction, kept, dy in zip(("", "_reverse"), recurrent, np.split(dh, 2, axis=2), strict=True):
        part, _, _, *of_lstm = lstm.backward(np.ascontiguousarray(dy), kept)  # (T, B, E)
        dW |= {f"recurrent.{name}{direction}": gradient for name, gradient in zip(LSTM, of_lstm, strict=True)}
        dx = dx + part
    dW["embedding.weight"] = embedding.backward(dx, embedded)  # (V, E)
    return dW


def decode(W, ids, lengths):
    """The best tags (B, T), -100 beyond a sentence's end."""
    return crf.decode(emissions(W, ids, lengths)[0], *(W[name] for name in CRF), lengths)[0]


# --- training ---------------------------------------------------------------------------------------------------------


def sentences(B: int, rng):
    """Made-up sentences, to learn from: ids, tags (B, T) and lengths (B,).

    Words 1 to 9 are names of one word, tag B. Words 10 to 19 begin a name (B) that goes on (I) with all words from 20 to 29 that
    follow; without such a beginning these are no name (O), as are all other words. So a word's tag is known only by what stands
    before it.
    """
    ids, lengths = rng.integers(1, 40, (B, 12)), rng.integers(3, 13, B)  # (B, T), (B,)
    tags = np.zeros_like(ids)  # O, B, I = 0, 1, 2
    for t in range(ids.shape[1]):
        inside = (ids[:, t] >= 20) & (ids[:, t] < 30) & (t > 0)
        goes_on = inside & ((tags[:, t - 1] == 2) | ((tags[:, t - 1] == 1) & (ids[:, t - 1] >= 10)))
        tags[:, t] = np.where(ids[:, t] < 20, 1, np.where(goes_on, 2, 0))
    return ids, tags, lengths


def train(steps: int = 150, B=16, E=16, H=16, lr=1e-2, seed=0, report=print):
    """Train on made-up sentences by Adam; returns the weights and the last loss."""
    rng = np.random.default_rng(seed)
    W = weights(40, 3, E, H, rng)
    m, v = ({name: np.zeros_like(w) for name, w in W.items()} for _ in range(2))
    for step in range(1, steps + 1):
        loss, saved = forward(W, *sentences(B, rng))
        dW = backward(saved)
        norm = clip.norm(np.concatenate([gradient.ravel() for gradient in dW.values()]))
        for name in W:
            adam.step(W[name], dW[name], m[name], v[name], step=step, lr=lr, scale=clip.scale(norm, 5.0))
        if step % 50 == 0:
            report(f"step {step}: loss {loss:.3f}")
    return W, float(loss)


if __name__ == "__main__":
    W, _ = train()
    ids, tags, lengths = sentences(1, np.random.default_rng(1))
    print("words ", ids[0, : lengths[0]], "\ntags  ", tags[0, : lengths[0]], "\nchosen", decode(W, ids, lengths)[0, : lengths[0]])
