"""A tokenizer.json that lacks bytes which no text has, as SmolLM2's does: read and saved, as Hugging Face's library reads it."""

import json

import pytest

from minilm import tokenizers
from minilm.tokenizers.bpe import alphabet
from minilm.tokenizers.bpe.stored import StoredBPE


def lacking(tmp_path, *bytes_):
    """A tokenizer's folder without some of its bytes."""
    whole = tokenizers.ByteLevelBPE.train_from_chunks(["the cat sat on the mat. " * 20], vocab_size=270)
    whole.save_pretrained(tmp_path)
    content = json.loads((tmp_path / "tokenizer.json").read_text(encoding="utf-8"))
    out = {alphabet.characters()[byte] for byte in bytes_}
    kept = [token for token in content["model"]["vocab"] if token not in out]
    places = {token: id for id, token in enumerate(kept)}
    content["model"]["vocab"] = places
    for token in content["added_tokens"]:
        token["id"] = places[token["content"]]
    (tmp_path / "tokenizer.json").write_text(json.dumps(content), encoding="utf-8")
    for name in ("vocab.json", "merges.txt"):
        (tmp_path / name).unlink(missing_ok=True)
    return places


def test_control_characters_may_lack(tmp_path):
    places = lacking(tmp_path, 4, 0xF1)
    text = "the cat\x04 sat\ton\n\U00050000the mat, naïve"
    tokenizer = tokenizers.load(tmp_path)
    assert isinstance(tokenizer, StoredBPE) and tokenizer.vocab_size == len(tokenizer.vocabulary) == len(places)
    ids = tokenizer.encode(text)
    assert ids.max() < len(places) and "\x04" not in tokenizer.decode(ids)
    tokenizer.save_pretrained(tmp_path / "again")
    again = tokenizers.load(tmp_path / "again")
    assert again.vocabulary == tokenizer.vocabulary and again.encode(text).tolist() == ids.tolist()
    peer = pytest.importorskip("tokenizers").Tokenizer.from_file(str(tmp_path / "tokenizer.json"))
    assert peer.encode(text).ids == ids.tolist()


def test_bytes_of_texts_may_not(tmp_path):
    lacking(tmp_path, 4, ord("q"))
    with pytest.raises(ValueError, match="the vocabulary lacks byte 0x04"):
        tokenizers.load(tmp_path)
