"""Tokenizers go to other processes: pickled, copied, forked, spawned; and do there what they do here."""

import copy
import functools
import multiprocessing
import pickle

import pytest

from minilm import tokenizers
from minilm.tokenizers import AddedToken, Character, DecodeStream, Tokenizer, Word, WordLevel, WordPiece

from .added.cases import tokenizer_with

TEXT = "The new 漢字 café <e> the dog's naïve 😀.\nA new line"
ADDED = [AddedToken("<e>", special=True, rstrip=True), AddedToken("New", normalized=True)]


@functools.cache
def everything() -> dict:
    """One of every public class that holds something, as it is made, and the same after it was used."""
    made = {
        "Character": Character.train_from_chunks(TEXT),
        "WordLevel": WordLevel.train_from_chunks(TEXT),
        "WordPiece": tokenizer_with("wordpiece", ADDED),
        "GPT1BPE": tokenizer_with("gpt1", ADDED),
        "ByteLevelBPE": tokenizer_with("bpe", ADDED),
        "Word": Word(num_words=5, oov_token="?"),
    }
    made["Word"].fit_on_texts([TEXT])
    used = {f"{name}, used": copy.deepcopy(each) for name, each in made.items()}
    for each in used.values():
        results(each)
    streams = {}
    for name, each in made.items():
        if isinstance(each, Tokenizer):
            streams[f"DecodeStream of {name}"] = each.decode_stream()
            ids = each.encode(TEXT)
            streams[f"DecodeStream of {name}, within a text"] = each.decode_stream()
            streams[f"DecodeStream of {name}, within a text"].feed(ids[: ids.size // 2 + 1])  # of bytes within a character
    single = made["WordPiece"].encode_pair("The dog", "the")
    return {**made, **used, **streams, "AddedToken": ADDED[0], "Encoding": single}


def results(thing):
    """What it does, as something to compare."""
    if isinstance(thing, DecodeStream):
        ids = thing.tokenizer.encode(TEXT)
        return thing.feed(ids[ids.size // 2 + 1 :]), thing.flush()
    if isinstance(thing, Word):
        return thing.texts_to_sequences([TEXT]), thing.to_json()
    if not isinstance(thing, Tokenizer):
        return repr(thing)
    ids = thing.encode(TEXT)
    offsets = thing.encode_with_offsets(TEXT)[1].tolist() if hasattr(thing, "encode_with_offsets") else None
    return ids.tolist(), thing.decode(ids), offsets, thing.to_json(), thing.vocabulary, thing.special_tokens


def all_results(things: dict) -> dict:
    return {name: results(thing) for name, thing in things.items()}


def wanted() -> dict:
    return all_results(copy.deepcopy(everything()))


def test_every_public_class_is_here():
    classes = {each for each in vars(tokenizers).values() if isinstance(each, type)}
    assert classes - {type(each) for each in everything().values()} == {Tokenizer}


def test_pickled_and_copied():
    for protocol in range(2, pickle.HIGHEST_PROTOCOL + 1):
        assert all_results(pickle.loads(pickle.dumps(everything(), protocol))) == wanted()
    for thing in everything().values():
        if isinstance(thing, Tokenizer):
            for other in (copy.copy(thing), copy.deepcopy(thing), pickle.loads(pickle.dumps(thing))):
                assert other == thing and results(other) == results(thing)
    heavy = everything()["WordPiece, used"]
    assert len(pickle.dumps(heavy)) < 2 * len(pickle.dumps(WordPiece(heavy.vocabulary)))  # no tables travel


@pytest.mark.parametrize("method", multiprocessing.get_all_start_methods())
def test_in_pools(method):
    with multiprocessing.get_context(method).Pool(1) as pool:
        assert pool.apply(all_results, (everything(),)) == wanted()
