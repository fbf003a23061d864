"""The model of the package g2p_en: a GRU reads a word's letters, another writes its phonemes.

::

    enc_emb (V_s, H)  enc_w_ih enc_w_hh (3H, H)  enc_b_ih enc_b_hh (3H,)     gates r z n, as in PyTorch
    dec_emb (V_t, H)  dec_w_ih ...                                           likewise
    fc_w (V_t, H)  fc_b (V_t,)

The source ends with </s>, a target begins with <s> and ends with </s>. vocab.json lists "graphemes" and "phonemes".

Source: https://github.com/Kyubyong/g2p (checkpoint20.npz)
"""

from __future__ import annotations

from typing import Any

from minilm.files import read_json
from minilm.weights.converters.checkpoint import Checkpoint, arrays_in, checked, names_in
from minilm.weights.converters.vocabularies import beside, spelled_rules, words

__all__ = ["read", "recognises"]

MOST = 20  # phonemes that g2p_en writes
PARTS = {"w_ih": "weight_ih_l0", "w_hh": "weight_hh_l0", "b_ih": "bias_ih_l0", "b_hh": "bias_hh_l0"}
SIDES = {"enc": ("encoder", "source", "graphemes"), "dec": ("decoder.recurrent", "target", "phonemes")}


def recognises(path: str) -> bool:
    """Whether the arrays have these names."""
    return {"enc_emb", "dec_emb", "enc_w_ih", "fc_w"} <= names_in(path)


def read(path: str, vocabulary: str | None = None) -> Checkpoint:
    """The `minilm.models.Seq2Seq` of a file, and tokenizers of letters and phonemes between spaces."""
    stored = arrays_in(path)
    try:
        (letters, E), (phonemes, _), H = stored["enc_emb"].shape, stored["dec_emb"].shape, stored["enc_w_hh"].shape[1]
    except (KeyError, ValueError, IndexError):
        raise ValueError(f"{path} has no matrices enc_emb, dec_emb and enc_w_hh") from None
    sides = {"w_ih": (3 * H, E), "w_hh": (3 * H, H), "b_ih": (3 * H,), "b_hh": (3 * H,)}
    shapes = {f"{side}_{name}": shape for side in SIDES for name, shape in sides.items()}
    shapes |= {"enc_emb": (letters, E), "dec_emb": (phonemes, E), "fc_w": (phonemes, H), "fc_b": (phonemes,)}
    checked(path, stored, shapes)
    arrays: dict[str, Any] = {"output.weight": stored["fc_w"], "output.bias": stored["fc_b"]}
    for side, (target, table, _) in SIDES.items():
        arrays[f"{table}_embedding.weight"] = stored[f"{side}_emb"]
        arrays |= {f"{target}.{name}": stored[f"{side}_{old}"] for old, name in PARTS.items()}
    sizes = {"vocab_size": letters, "target_vocab_size": phonemes, "embedding_size": E, "hidden_size": H}
    config = {"model_type": "seq2seq", **sizes, "cell": "gru", "attention": None}
    tokenizers = _tokenizers(path, vocabulary, {"source": letters, "target": phonemes})
    return Checkpoint(config, arrays, tokenizers, spelled_rules(tokenizers, MOST, source_end="</s>"))


def _tokenizers(path: str, vocabulary: str | None, sizes: dict[str, int]):
    file = beside(path, vocabulary)
    if file is None:
        return {}
    lists = read_json(file)
    tokenizers = {}
    for _, table, name in SIDES.values():
        tokens = lists.get(name)
        if not isinstance(tokens, list) or len(tokens) != sizes[table] or not all(isinstance(token, str) for token in tokens):
            raise ValueError(f"{file}: {name} must be a list of {sizes[table]} tokens")
        tokenizers[f"{table}.json"], _ = words(tokens, None, None)
    return tokenizers
