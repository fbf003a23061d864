"""The date translator of the book Deep Learning from Scratch 2: an LSTM reads the reversed source, another attends and writes.

::

    encoder.embedding.weight (V, E)  weight_ih (4H, E)  weight_hh (4H, H)  bias (4H,)      gates i f g o
    decoder. ...                                                                          likewise
    output.weight (V, 2H): of what attention gave, then of the decoder's state; output.bias (V,)

The decoder begins with the encoder's last h, and a cell of zeros; its attention is by dot products; "_" begins a target.

Source: https://github.com/oreilly-japan/deep-learning-from-scratch-2 (ch07, ch08)
"""

from __future__ import annotations

from typing import Any

import numpy as np

from minilm.weights.converters.checkpoint import Checkpoint, arrays_in, checked, names_in
from minilm.weights.converters.vocabularies import beside, characters, read_tokens, reordered

__all__ = ["read", "recognises"]

DIGITS, BLANKS = 10, 29  # 1994-09-27; and the source, with the blanks behind it
PARTS = {"weight_ih": "weight_ih_l0", "weight_hh": "weight_hh_l0", "bias": "bias_ih_l0"}


def recognises(path: str) -> bool:
    """Whether the arrays have these names."""
    return {"encoder.embedding.weight", "decoder.weight_ih", "encoder.bias", "output.weight"} <= names_in(path)


def read(path: str, vocabulary: str | None = None) -> Checkpoint:
    """The `minilm.models.Seq2Seq` of a file, and its tokenizer."""
    stored = arrays_in(path)
    try:
        (V, E), H = stored["encoder.embedding.weight"].shape, stored["encoder.weight_hh"].shape[1]
    except (KeyError, ValueError, IndexError):
        raise ValueError(f"{path} has no matrices encoder.embedding.weight and encoder.weight_hh") from None
    sides = {"embedding.weight": (V, E), "weight_ih": (4 * H, E), "weight_hh": (4 * H, H), "bias": (4 * H,)}
    shapes = {f"{side}.{name}": shape for side in ("encoder", "decoder") for name, shape in sides.items()}
    checked(path, stored, {**shapes, "output.weight": (V, 2 * H), "output.bias": (V,)})
    arrays: dict[str, Any] = {"output.bias": stored["output.bias"]}
    for side, target, table in (("encoder", "encoder", "source"), ("decoder", "decoder.recurrent", "target")):
        arrays[f"{table}_embedding.weight"] = stored[f"{side}.embedding.weight"]
        arrays |= {f"{target}.{name}": stored[f"{side}.{old}"] for old, name in PARTS.items()}
        arrays[f"{target}.bias_hh_l0"] = np.zeros(4 * H, np.float32)
    context, state = stored["output.weight"][:, :H], stored["output.weight"][:, H:]
    arrays["output.weight"] = np.concatenate([state, context], axis=1)  # (V, 2H)
    options = {"attention": "dot", "reverse": True, "combine": False, "carry_cell": False}
    config = {"model_type": "seq2seq", "vocab_size": V, "embedding_size": E, "hidden_size": H, **options}
    file = beside(path, vocabulary)
    if file is None:
        return Checkpoint(config, arrays)
    tokenizer, order = characters(read_tokens(file, V))
    tables = ("source_embedding.weight", "target_embedding.weight", "output.weight", "output.bias")
    arrays = reordered(arrays, order, tables)
    begin = tokenizer.token_to_id("_")
    generation = {"decoder_start_token_id": begin, "eos_token_id": None, "max_new_tokens": DIGITS, "source_length": BLANKS}
    own = {"source.json": tokenizer, "target.json": tokenizer}
    return Checkpoint(config, arrays, own, {} if begin is None else generation)
