"""End-to-end memory network: answers a question from a story, by looking into it several times.

A sentence of J words w_1 ... w_J becomes one vector, the weighted sum of its words' rows in a table E (V, D), and so does the
question. The weights say where a word stands: in the position encoding, word j has for dimension d (1 ... D) the weight

.. math:: l_{jd} = s (1 - j/J) - s (d/D)(1 - 2j/J)

where s is 1 in the paper, and 2 in its authors' program, with which a word's mean weight is 1, as it is without the encoding.
A sentence of the story also gets a vector for its age, which counts from the last sentence::

    bag(E)[d] = sum_j l[j, d] E[w_j, d]            (D,)           without position encoding all weights are 1

    m_k = bag(A_k) of each sentence + S_k[age]     (B, M, D)      by which a sentence is found, in hop k = 1 ... K
    c_k = bag(C_k) of each sentence + R_k[age]     (B, M, D)      what it then gives
    u_1 = bag(B) of the question                   (B, D)
    p_k = softmax(u_k · m_k) over the sentences    (B, M)         in a linear start: u_k · m_k itself
    u_{k+1} = u_k + sum_i p_k[i] c_k[i]            (B, D)         layer-wise: H u_k + ...
    logits  = W u_{K+1}                            (B, V)
    loss    = mean over the batch of -log softmax(logits)[answer]

With an empty place, p_k is over one more row, m_k = S_k[none] and c_k = R_k[none], learned like those of the ages: a hop for
which no sentence matters can look there. (The authors' program has such places, of zeros, wherever a story is shorter than the
longest.)

Tied "adjacent", a hop's output table is the next one's input table: A_{k+1} = C_k, S_{k+1} = R_k, B = A_1, W = C_K. Tied
"layerwise", all hops have the same A, C, S and R, and there is a matrix H, as in a recurrent network.

How bags and their gradients are computed stands in `minilm.models.bags`.

Backward of a hop, with du the gradient by u_{k+1}; the op `minilm.ops.attention`, with one query and one head, does this part::

    dc_k[i] = p_k[i] du          dp[i] = c_k[i] · du             ds = dp through the softmax
    dm_k[i] = ds[i] u_k          du_k  = du + sum_i ds[i] m_k[i]        layer-wise: Hᵀ du + ...

Reference: S. Sukhbaatar, A. Szlam, J. Weston, R. Fergus, End-to-end memory networks, NIPS 2015 (position encoding, temporal
encoding, linear start, and the noise in time; tying in section 2.2).
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from minilm import devices
from minilm.layers import Embedding, Layer, Linear, initialisers
from minilm.layers.base import generator_of
from minilm.models.bags import BagEmbedding, bags_of
from minilm.ops import attention, checks, cross_entropy, dropout, padding
from minilm.random import Key
from minilm.typing import DType, Ids, Scalar, Seed

__all__ = ["MemoryNetwork", "Reading"]

TYINGS = ("adjacent", "layerwise")


class Reading(NamedTuple):
    """What the network makes of a batch of questions."""

    logits: np.ndarray  # (B, V)
    attention: np.ndarray  # (B, K, M) how much each hop took of each sentence; the empty place has the rest


class Hop(NamedTuple):
    """What backward needs of a hop; with an empty place M is one more than there are sentences."""

    u: np.ndarray  # (B, D)
    m: np.ndarray  # (B, M, D)
    c: np.ndarray  # (B, M, D)
    p: np.ndarray  # (B, M)
    attention: Any  # what the op saved; None in a linear start
    H: Any  # what `hop` saved, or None


class Saved(NamedTuple):
    """What backward needs."""

    sentences: list[tuple]  # for each table what it saved, and what the embedding of the ages did
    question: Any
    hops: list[Hop]
    mask: np.ndarray  # (B, M), likewise
    output: Any = None
    loss: Any = None


class MemoryNetwork(Layer):
    """Answers a question with a word.

    Parameters
    ----------
    vocab_size : int
        V, of words and answers together. Id 0 is padding.
    embed_dim : int
        D.
    hops : int
        K.
    memory_size : int
        Of ages: sentences that are older share the last one.
    tying : {"adjacent", "layerwise"}
    position_encoding : bool
    position_scale : float
        s, more than 0.
    time_noise : float
        Probability of an empty place before each sentence, where `forward` is given a key: ages then differ from pass to pass.
    empty_place : bool
        Whether a hop can read nothing.
    linear_steps : int
        Steps without a softmax over the memories, counted by the key: a linear start. It keeps training from a poor minimum.
    dtype : {float32, float64}
    seed : int, Generator or None

    Notes
    -----
    Parameters: ``tables.K.weight`` (V, D) and ``times.K.weight`` (memory_size, D), one more than hops where "adjacent"; else
    those of A and C, and ``question.weight``, ``hop.weight`` and ``output.weight``. The last row of ``times`` is one more, the
    empty place's, where there is one. All normal(0, 0.1) at first.

    Examples
    --------
    >>> import numpy as np
    >>> from minilm import models
    >>> model = models.MemoryNetwork(20, seed=0)
    >>> story = np.array([[[1, 2, 3], [4, 2, 5]]])  # (B, M, J)
    >>> loss, saved = model.forward(story, np.array([[6, 1]]), np.array([3]))
    >>> model.backward(saved)
    """

    def __init__(
        self,
        vocab_size: int,
        embed_dim: int = 32,
        *,
        hops: int = 3,
        memory_size: int = 50,
        tying: str = "adjacent",
        position_encoding: bool = True,
        position_scale: float = 1.0,
        time_noise: float = 0.1,
        empty_place: bool = False,
        linear_steps: int = 0,
        dtype: DType = np.float32,
        seed: Seed = None,
    ):
        generator = generator_of(seed)
        super().__init__(dtype=dtype, seed=generator)
        self.vocab_size = checks.whole("vocab_size", vocab_size, 2, 2**31)
        self.embed_dim = checks.whole("embed_dim", embed_dim, 1, 2**31)
        self.hops = checks.whole("hops", hops, 1, 64)
        self.memory_size = checks.whole("memory_size", memory_size, 1, 2**31)
        self.tying = checks.option("tying", tying, TYINGS)
        self.position_encoding = checks.flag("position_encoding", position_encoding)
        scale = checks.number("position_scale", position_scale, 0, float("inf"), low_open=True, high_open=True)
        self._scale = scale if position_encoding else 0.0
        self.time_noise = checks.number("time_noise", time_noise, 0, 1)
        self.empty_place = checks.flag("empty_place", empty_place)
        self.linear_steps = checks.whole("linear_steps", linear_steps, 0, 2**62)
        options = {"initialise": initialisers.normal(0.1), "dtype": dtype, "seed": generator}
        tables = hops + 1 if tying == "adjacent" else 2
        self.tables = [BagEmbedding(vocab_size, embed_dim, **options) for _ in range(tables)]
        rows = memory_size + self.empty_place
        self.times = [Embedding(rows, embed_dim, **options) for _ in range(tables)]
        if tying == "adjacent":
            self.question, self.hop = BagEmbedding(vocab_size, embed_dim, weight=self.tables[0].weight, dtype=dtype), None
            self.output = Linear(embed_dim, vocab_size, bias=False, weight=self.tables[-1].weight, dtype=dtype)
        else:
            self.question = BagEmbedding(vocab_size, embed_dim, **options)
            self.hop = Linear(embed_dim, embed_dim, bias=False, **options)
            self.output = Linear(embed_dim, vocab_size, bias=False, **options)

    # --- forward and backward ----------------------------------------------------------------------------------------

    def forward(self, story: Ids, question: Ids, answers: Ids, *, key: Key | None = None) -> tuple[Scalar, Saved]:
        """Mean cross-entropy of the answers.

        Parameters
        ----------
        story : ndarray of integers, shape (B, M, J)
            Words of each sentence, oldest sentence first, 0 where there is none; a row of zeros is no sentence. Every story
            has one sentence at least.
        question : ndarray of integers, shape (B, Q)
            Likewise.
        answers : ndarray of integers, shape (B,)
            Words. On a GPU ids, shapes aside, are checked only outside of `minilm.devices.ids_are_checked`.
        key : Key, optional
            For the noise in time and the linear start; without it there is neither.

        Returns
        -------
        loss : scalar
        saved : Saved

        Raises
        ------
        TypeError, ValueError
            If an argument has a wrong shape or dtype, an id is out of range, or a story is empty.
        """
        linear = key is not None and key.step < self.linear_steps
        u, saved = self._read(story, question, key, linear)  # (B, D)
        logits, output = self.output.forward(u)  # (B, V)
        answers = checks.ids("answers", answers, self.vocab_size, (len(logits),), "(B,)", ignore=-100)
        loss, saved_loss = cross_entropy.forward(logits, answers)
        return loss, saved._replace(output=output, loss=saved_loss)

    def backward(self, saved: Saved, *, dloss: float = 1.0) -> None:
        """Add `dloss` times the gradients of the loss by all parameters to their buffer, from what `forward` saved."""
        dlogits = cross_entropy.backward(dloss, saved.loss)  # (B, V)
        du = self.output.backward(dlogits, saved.output)  # (B, D)
        dsentences: list[Any] = [0.0 for _ in self.tables]  # (B, M, D) each
        for number, hop in reversed(list(enumerate(saved.hops))):
            du, dm, dc = self._hop_backward(du, hop, saved.mask)
            before, after = self._places(number)
            dsentences[before] = dsentences[before] + dm
            dsentences[after] = dsentences[after] + dc
        self._sentences_backward(dsentences, saved.sentences)
        self.question.backward(du, saved.question)

    def read(self, story: Ids, question: Ids) -> Reading:
        """Logits of all words as answers to questions (B, Q) on stories (B, M, J), and where each hop looked; see `forward`."""
        u, saved = self._read(story, question, None, False)  # (B, D)
        attention = np.stack([hop.p for hop in saved.hops], axis=1)  # (B, K, M)
        return Reading(self.output(u), attention[:, :, :-1] if self.empty_place else attention)

    # --- halves ------------------------------------------------------------------------------------------------------

    def _read(self, story, question, key, linear):
        """u after the last hop, (B, D), and a `Saved`."""
        story = checks.ids("story", story, self.vocab_size, (None, None, None), "(B, M, J)")
        question = checks.ids("question", question, self.vocab_size, (len(story), None), "(B, Q)")
        mask = (story != 0).any(axis=2)  # (B, M)
        if not len(story) or not (checks.trusted(mask) or mask.any(axis=1).all()):
            empty = "there is none" if not len(story) else f"story {int(np.argmin(mask.any(axis=1)))} has none"
            raise ValueError(f"story must have a sentence at least in each row, {empty}")
        ages = self._ages(mask, key)  # (B, M)
        if self.empty_place:  # M is one more from here on
            story, mask, ages = _with_column(story, 0), _with_column(mask, True), _with_column(ages, self.memory_size)
        sentences, saved_sentences = self._sentences(story, mask, ages)  # (B, M, D) each
        u, saved_question = self.question.forward(bags_of(question, self._scale, self.dtype))  # (B, D)
        hops = []
        for number in range(self.hops):
            before, after = self._places(number)
            u, hop = self._hop(u, sentences[before], sentences[after], mask, linear)
            hops.append(hop)
        return u, Saved(saved_sentences, saved_question, hops, mask)

    def _sentences(self, story, mask, ages):
        """The sentences' vectors by each table, (B, M, D) each: bags of words, and ages."""
        bags, sentences, saved = bags_of(story, self._scale, self.dtype), [], []
        for table, time in zip(self.tables, self.times, strict=True):
            age, saved_ages = time.forward(ages)  # (B, M, D); first, since it says what is wrong where ids lie on the host
            x, saved_bags = table.forward(bags)  # (B, M, D)
            sentences.append(padding.zeroed(x + age, mask))
            saved.append((saved_bags, saved_ages))
        return sentences, saved

    def _sentences_backward(self, dsentences, saved) -> None:
        for table, time, (saved_bags, saved_ages), dx in zip(self.tables, self.times, saved, dsentences, strict=True):
            table.backward(dx, saved_bags)
            time.backward(dx, saved_ages)  # where there is no sentence dx is 0

    def _places(self, number: int) -> tuple[int, int]:
        """Which table a hop finds sentences by, and which it reads them with."""
        return (number, number + 1) if self.tying == "adjacent" else (0, 1)

    def _ages(self, mask, key):
        """How many sentences came after each, (B, M), and with a key how many empty places."""
        steps = mask.astype(np.int64)  # (B, M): what each sentence adds to the age of those before it
        if key is not None and self.time_noise > 0:
            ones = devices.array_module(mask).ones(mask.shape, np.float32)  # (B, M)
            steps = steps + (dropout.forward(ones, self.time_noise, key.at("ages"))[0] == 0) * mask
        later = np.cumsum(steps[:, ::-1], axis=1)[:, ::-1] - steps  # (B, M)
        return np.minimum(later, self.memory_size - 1)

    def _hop(self, u, m, c, mask, linear):
        if linear:
            p = np.where(mask, (m @ u[:, :, None])[:, :, 0], 0).astype(u.dtype)  # (B, M)
            o, attended = (p[:, None] @ c)[:, 0], None  # (B, D)
        else:
            one = (u[:, None, None], m[:, :, None], c[:, :, None])  # (B, 1, 1, D), (B, M, 1, D) twice
            (y, weights), attended = attention.forward(*one, key_mask=mask, scale=1.0, return_weights=True)
            o, p = y[:, 0, 0], weights[:, 0, 0]  # (B, D), (B, M)
        base, H = (u, None) if self.hop is None else self.hop.forward(u)  # (B, D)
        return base + o, Hop(u, m, c, p, attended, H)

    def _hop_backward(self, do, hop: Hop, mask):
        """Gradients by u (B, D), m and c (B, M, D)."""
        if hop.attention is None:
            dc = hop.p[:, :, None] * do[:, None]  # (B, M, D)
            dp = np.where(mask, (hop.c @ do[:, :, None])[:, :, 0], 0).astype(do.dtype)  # (B, M)
            dm = dp[:, :, None] * hop.u[:, None]  # (B, M, D)
            du = (dp[:, None] @ hop.m)[:, 0]  # (B, D)
        else:
            dq, dk, dv = attention.backward(do[:, None, None], hop.attention)
            du, dm, dc = dq[:, 0, 0], dk[:, :, 0], dv[:, :, 0]
        base = do if self.hop is None else self.hop.backward(do, hop.H)
        return base + du, dm, dc

    def settings(self) -> str:
        return f"{self.vocab_size}, {self.embed_dim}, hops={self.hops}, memory_size={self.memory_size}, tying={self.tying!r}"


def _with_column(rows, value):
    """One more place for each story, of `value`: (B, M + 1, ...)."""
    module = devices.array_module(rows)
    return module.concatenate([rows, module.full_like(rows[:, :1], value)], axis=1)
