"""A recurrent language model on one page: an LSTM that predicts the next token from all before it.

B texts of T tokens, a vocabulary of V tokens, embeddings of E numbers, a state of H::

    x[t]     = embedding[ids[t]]                            (B, E)
    i, f, o  = σ(W_i· x[t] + b_i· + W_h· h[t-1] + b_h·)     (B, H) each      gates: input, forget, output
    g        = tanh(the same with its own weights)          (B, H)           candidate
    c[t]     = f c[t-1] + i g                               (B, H)           the memory
    h[t]     = o tanh(c[t])                                 (B, H)
    logits   = h Wᵀ + b                                     (T, B, V)
    loss     = mean over t, b of -log softmax(logits)[targets]

The weights of i, f, g and o stand below one another in one matrix, in this order. The text is longer than a batch: each of the B
rows goes on in the next batch where it ended in the last, and so does its state, but no gradient flows from a batch into the one
before (truncated backpropagation through time). In each batch a tenth of the rows start from a state of zeros, as `write` does.

The full model is `minilm.models.RNNLanguageModel`; the gradient through time is derived in `minilm.ops.lstm.spec`. References:
S. Hochreiter, J. Schmidhuber, Long short-term memory, 1997; T. Mikolov et al., Recurrent neural network based language model,
2010.
"""

from __future__ import annotations

import pathlib
import sys

import numpy as np

from minilm.ops import adam, clip, cross_entropy, embedding, linear, lstm

LSTM = ("weight_ih_l0", "weight_hh_l0", "bias_ih_l0", "bias_hh_l0")


def weights(V: int, E: int, H: int, rng: np.random.Generator, dtype=np.float32) -> dict[str, np.ndarray]:
    """First weights: uniform in ±1/√H, but the forget gate's bias is 1, so that at first the memory c keeps what it holds."""
    shapes = {"embedding.weight": (V, E), "output.weight": (V, H), "output.bias": (V,)}
    shapes |= {f"recurrent.{name}": shape for name, shape in zip(LSTM, ((4 * H, E), (4 * H, H), (4 * H,), (4 * H,)), strict=True)}
    W = {name: rng.uniform(-1, 1, shape).astype(dtype) / dtype(np.sqrt(H)) for name, shape in shapes.items()}
    W["recurrent.bias_ih_l0"][H : 2 * H] = 1
    return W


def predict(W, ids, state):
    """Logits (T, B, V) of the token after each of ids (T, B), the state after the last, and what the gradient needs."""
    x, embedded = embedding.forward(ids, W["embedding.weight"])  # (T, B, E)
    (h, *state), recurrent = lstm.forward(x, *state, *(W[f"recurrent.{name}"] for name in LSTM))  # (T, B, H)
    logits, output = linear.forward(h, W["output.weight"], W["output.bias"])  # (T, B, V)
    return logits, tuple(state), (embedded, recurrent, output)


def forward(W, ids, targets, state):
    """Mean cross-entropy in nats of the targets (T, B), the state after the last step, and what `backward` needs.

    The state is (h, c), (B, H) each.
    """
    logits, state, saved = predict(W, ids, state)
    loss, saved_loss = cross_entropy.forward(logits, targets)
    return loss, state, (*saved, saved_loss)


def backward(saved):
    """The gradient of the loss by every weight, by name."""
    embedded, recurrent, output, saved_loss = saved
    dW = {}
    dlogits = cross_entropy.backward(1.0, saved_loss)  # (T, B, V)
    dh, dW["output.weight"], dW["output.bias"] = linear.backward(dlogits, output)  # (T, B, H)
    dx, _, _, *of_lstm = lstm.backward(dh, recurrent)  # (T, B, E); the gradients by the first state end here
    dW |= {f"recurrent.{name}": gradient for name, gradient in zip(LSTM, of_lstm, strict=True)}
    dW["embedding.weight"] = embedding.backward(dx, embedded)  # (V, E)
    return dW


# --- training and writing ---------------------------------------------------------------------------------------------


def train(text: str, steps: int = 300, B=16, T=64, E=32, H=128, lr=4e-3, seed=0, report=print):
    """Train on the characters of a text by Adam; returns the weights, the characters, and the last loss."""
    rng = np.random.default_rng(seed)
    characters = sorted(set(text))
    ids = np.array([characters.index(c) for c in text])
    rows = ids[: len(ids) // B * B].reshape(B, -1).T  # (n, B): row b of the batch reads its own part of the text
    W = weights(len(characters), E, H, rng)
    m, v = ({name: np.zeros_like(w) for name, w in W.items()} for _ in range(2))
    h, c = np.zeros((2, B, H), np.float32)  # (B, H) each
    for step in range(1, steps + 1):
        start = (step - 1) * T % (len(rows) - T - 1)
        begins = rng.random(B) < (0.1 if start else 1)  # (B,)
        h[begins], c[begins] = 0, 0
        loss, (h, c), saved = forward(W, rows[start : start + T], rows[start + 1 : start + T + 1], (h, c))
        dW = backward(saved)
        norm = clip.norm(np.concatenate([gradient.ravel() for gradient in dW.values()]))
        for name in W:
            adam.step(W[name], dW[name], m[name], v[name], step=step, lr=lr, scale=clip.scale(norm, 1.0))
        if step % 50 == 0:
            report(f"step {step}: loss {loss:.3f}")
    return W, characters, float(loss)


def write(W, ids: list[int], tokens: int) -> list[int]:
    """Continue a text with the most probable token each time. Only the new token is read then: the state stands for the rest."""
    H = W["recurrent.weight_hh_l0"].shape[1]
    state, new = tuple(np.zeros((2, 1, H), W["output.weight"].dtype)), ids
    for _ in range(tokens):
        logits, state, _ = predict(W, np.array(new)[:, None], state)  # (T, 1, V)
        new = [int(logits[-1, 0].argmax())]
        ids = ids + new
    return ids


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit("usage: python -m minilm.pages.rnn_lm FILE")
    text = pathlib.Path(sys.argv[1]).read_text(encoding="utf-8")
    W, characters, _ = train(text)
    print("".join(characters[i] for i in write(W, [characters.index(text[0])], 200)))
