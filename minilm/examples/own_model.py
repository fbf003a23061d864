"""A model of one's own in minilm's training loop: the network of Bengio et al., which predicts a token from the last N.

    e = [E[w_1], ..., E[w_N]]           N vectors side by side
    h = tanh(e W_hᵀ + b_h)
    p = softmax(h Vᵀ + c)               and the loss is -log p(next)

A model needs `forward`, which gives the loss, and `backward`, which adds its gradients: see `minilm.training.Trainable`.

Source: Y. Bengio, R. Ducharme, P. Vincent, C. Jauvin, A neural probabilistic language model, JMLR 3 (2003), 1137-1155.
"""

from __future__ import annotations

import numpy as np

from minilm import data, layers, optimizers, tokenizers, training
from minilm.ops import cross_entropy, tanh

N = 6  # tokens that the next one is predicted from


class LastTokens(layers.Layer):
    """The network; its batches are windows (B, N) and the token after each (B,)."""

    def __init__(self, vocab_size, size=32, hidden=128, **options):
        super().__init__(**options)
        self.embedding = layers.Embedding(vocab_size, size, seed=self._generator)
        self.hidden = layers.Linear(N * size, hidden, seed=self._generator)
        self.output = layers.Linear(hidden, vocab_size, seed=self._generator)

    def forward(self, windows, targets, *, key=None):
        e, embedded = self.embedding.forward(windows)  # (B, N, D)
        a, hidden = self.hidden.forward(e.reshape(len(e), -1))  # (B, H)
        h, bent = tanh.forward(a)
        logits, output = self.output.forward(h)  # (B, V)
        loss, missed = cross_entropy.forward(logits, targets)
        return loss, (e.shape, embedded, hidden, bent, output, missed)

    def backward(self, saved):
        shape, embedded, hidden, bent, output, missed = saved
        dh = self.output.backward(cross_entropy.backward(1.0, missed), output)  # (B, H)
        de = self.hidden.backward(tanh.backward(dh, bent), hidden)  # (B, N D)
        self.embedding.backward(de.reshape(shape), embedded)


class Printer(training.Callback):
    """Prints the loss now and then."""

    def on_step_end(self, loop):
        if loop.state.step % 200 == 0:
            print(f"step {loop.state.step:5}  loss {loop.loss:.3f}")


def main(steps: int = 2000) -> float:
    """Train on the built-in stories; the loss of the last step, in nats a character."""
    text = data.text("stories")
    tokenizer = tokenizers.Character.train_from_chunks(text)
    tokens = data.tokens(text, tokenizer).astype(np.int64)  # (M,)
    windows = np.lib.stride_tricks.sliding_window_view(tokens, N + 1)  # (M - N, N + 1)
    rng = np.random.default_rng(0)

    def batches():
        while True:
            rows = windows[rng.integers(0, len(windows), 64)]  # (B, N + 1)
            yield np.ascontiguousarray(rows[:, :-1]), np.ascontiguousarray(rows[:, -1])

    model = LastTokens(tokenizer.vocab_size, seed=0)
    adam = optimizers.Adam(model.parameters, lr=3e-3)
    loop = training.Loop(model, adam, batches(), steps=steps, callbacks=[Printer()])
    loop.run()
    print(f"after {steps} steps: {loop.loss:.3f} nats a character")
    return float(loop.loss)


if __name__ == "__main__":
    main()
