"""Models on one page each: plain functions on NumPy arrays and dictionaries of weights, by the operations alone.

Read in this order. Each page can be run (``python -m minilm.pages.gpt corpora/stories.txt``), and ``minilm show gpt`` prints it.

===============  ====================================================================================================
`rnn_lm`         recurrent language model: an LSTM that carries its state from batch to batch
`gpt`            GPT-2: causal attention and a position-wise network in residual blocks
`llama`          Llama: root mean square normalisation, rotary positions, a gated network, shared keys and values
`bert`           BERT: the same without a direction, trained on masked words and on next sentences
`seq2seq`        encoder and decoder LSTM with Bahdanau's attention
`transformer`    encoder and decoder of transformer blocks with attention between them
`word2vec`       skip-gram with negative sampling
`tagger`         bidirectional LSTM with a conditional random field
`bpe`            byte-level byte pair encoding: learning the merges, and encoding by them
`wordpiece`      WordPiece: the same for BERT, cut by the longest match
===============  ====================================================================================================

Every page has the same functions::

    weights(..., rng)          -> W         a dictionary of arrays, by the names of the full model
    forward(W, ...)            -> loss, saved
    backward(saved)            -> dW        a gradient for each weight
    train(...)                              a loop of some 25 lines

The classes in `minilm.models` compute the same numbers (a test holds them equal; Llama, which has no class yet, is held against
transformers), with dropout, caches, padding, devices, buffers
that are used again, and checks of the arguments: what a page leaves out so that the formula is all there is.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:  # what an editor reads; Python comes by `__getattr__`
    from types import ModuleType

    from minilm.pages import bert, bpe, gpt, llama, rnn_lm, seq2seq, tagger, transformer, word2vec, wordpiece

__all__ = ["PAGES", "bert", "bpe", "gpt", "llama", "rnn_lm", "seq2seq", "tagger", "transformer", "word2vec", "wordpiece"]

PAGES = ("rnn_lm", "gpt", "llama", "bert", "seq2seq", "transformer", "word2vec", "tagger", "bpe", "wordpiece")


def __getattr__(name: str) -> ModuleType:
    if name in PAGES:
        return importlib.import_module(f"minilm.pages.{name}")
    raise AttributeError(f"module 'minilm.pages' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted(__all__)
