"""word2vec on one page: skip-gram with negative sampling, its gradient, training, and the neighbours of a word.

A vocabulary of V words, vectors of D numbers; N pairs of a word and a neighbour of it, K words drawn at random for each pair::

    h    = input[word]                                                      (N, D)
    loss = mean over n of -log σ(h · output[neighbour]) - sum over k of log σ(-h · output[negative_k])

A step pulls a word's vector towards the output vectors of its neighbours and pushes it from those of the negatives, so that words
with similar neighbours get similar vectors. Negatives are drawn in proportion to count^(3/4); of frequent words some occurrences
are left out.

The full model is `minilm.models.Word2Vec`, which takes a step of gradient descent at every word. Reference: T. Mikolov et al.,
Distributed representations of words and phrases and their compositionality, NIPS 2013.
"""

from __future__ import annotations

import pathlib
import sys
from collections import Counter

import numpy as np

from minilm.ops import embedding, negative_sampling


def weights(V: int, D: int, rng: np.random.Generator, dtype=np.float32) -> dict[str, np.ndarray]:
    """Input vectors uniform in ±1/(2 D), output vectors zero."""
    return {"input": rng.uniform(-0.5 / D, 0.5 / D, (V, D)).astype(dtype), "output": np.zeros((V, D), dtype)}


def forward(W, words, neighbours, negatives):
    """Mean loss of pairs: words and neighbours (N,), negatives (N, K); and what `backward` needs."""
    h, embedded = embedding.forward(words, W["input"])  # (N, D)
    loss, saved = negative_sampling.forward(h, W["output"], neighbours, negatives)
    return loss, (embedded, saved)


def backward(saved):
    """The gradient of the loss by both tables (V, D)."""
    embedded, saved_loss = saved
    dh, doutput = negative_sampling.backward(1.0, saved_loss)  # (N, D), (V, D)
    return {"input": embedding.backward(dh, embedded), "output": doutput}


# --- training and use -------------------------------------------------------------------------------------------------


def pairs(ids, keep, window: int, rng):
    """Words and their neighbours, (N,) each, of a text from which a word of id i is kept with probability keep[i]."""
    ids = ids[rng.random(len(ids)) < keep[ids]]
    reach = rng.integers(1, window + 1, len(ids))  # (n,) how far each word looks: so near words are neighbours more often
    words, neighbours = [], []
    for distance in range(1, window + 1):
        for looks, seen in ((ids[distance:], ids[:-distance]), (ids[:-distance], ids[distance:])):
            near = reach[distance:] >= distance if looks is ids[distance:] else reach[: len(looks)] >= distance
            words.append(looks[near])
            neighbours.append(seen[near])
    order = rng.permutation(sum(map(len, words)))
    return np.concatenate(words)[order], np.concatenate(neighbours)[order]


def train(text: str, epochs: int = 3, D=32, window=4, K=5, batch=64, lr=2.0, seed=0, report=print):
    """Train on the words of a text by gradient descent; returns the weights, the vocabulary, and the last epoch's mean loss."""
    rng = np.random.default_rng(seed)
    counts = Counter(text.split())
    vocabulary = [word for word, count in counts.most_common() if count >= 3]
    number = {word: i for i, word in enumerate(vocabulary)}
    ids = np.array([number[word] for word in text.split() if word in number])
    count = np.array([counts[word] for word in vocabulary], float)  # (V,)
    noise = count**0.75 / (count**0.75).sum()  # (V,)
    rare = 1e-3 * count.sum() / count  # (V,)
    keep = np.minimum(1, np.sqrt(rare) + rare)  # (V,)
    W = weights(len(vocabulary), D, rng)
    for epoch in range(epochs):
        words, neighbours = pairs(ids, keep, window, rng)
        losses = []
        for start in range(0, len(words), batch):
            chosen = slice(start, start + batch)
            negatives = rng.choice(len(vocabulary), (len(words[chosen]), K), p=noise)  # (N, K)
            loss, saved = forward(W, words[chosen], neighbours[chosen], negatives)
            rate = lr * (1 - (epoch + start / len(words)) / epochs)
            for name, gradient in backward(saved).items():
                W[name] -= np.float32(rate) * gradient
            losses.append(loss)
        report(f"epoch {epoch + 1}: loss {np.mean(losses):.3f}")
    return W, vocabulary, float(np.mean(losses))


def nearest(W, word: int, count: int = 5) -> list[int]:
    """The words whose vectors have the smallest angles with that of a word."""
    unit = W["input"] / np.linalg.norm(W["input"], axis=1, keepdims=True)  # (V, D)
    return [int(i) for i in np.argsort(-(unit @ unit[word]), kind="stable") if i != word][:count]


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit("usage: python -m minilm.pages.word2vec FILE")
    W, vocabulary, _ = train(pathlib.Path(sys.argv[1]).read_text(encoding="utf-8"))
    for word in vocabulary[20:30]:
        print(word, "->", *(vocabulary[i] for i in nearest(W, vocabulary.index(word))))
