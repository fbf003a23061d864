"""WordPiece beside tokenizers of other libraries, with the same vocabulary: a part of `cases_tokenizers`.

The vocabulary is that of all-MiniLM-L6-v2, which is bert-base-uncased's, if the environment variable MINILM_TEST_MINILM_L6 names
its folder, else one trained on the built-in stories. BlingFire has only that of bert-base-uncased and needs the first. None keeps
a cache of words between calls: cold and warm differ by the compilation alone, which the first, untimed call pays.
Ids are compared before anything is timed, on text that is not ASCII only with Hugging Face's `tokenizers`: the others normalise
some scripts in ways of their own, and cut words of 100 letters and more, so they do not run on the worst inputs.
"""

from __future__ import annotations

import functools
import os
import pathlib
import tempfile
from collections.abc import Callable

import numpy as np

from benchmarks.case import Case
from benchmarks.peers import Peers
from benchmarks.timing import Contestant
from minilm import data, tokenizers

NON_ASCII = "Übermäßig façade наука и жизнь Ελληνικά 東京は日本の首都です。 العربية हिन्दी Việt Nam – “naïve” … 한국어 😀 "
WORST = {"letters": "a", "spaces": " ", "digits": "7", "emoji": "😀", "marks": "\u0301", "ideographs": "漢", "stops": "."}


def cases(quick: bool = False) -> list[Case]:
    """Encoding real text, much non-ASCII text, single sentences, the worst inputs; training."""
    size = 3_000 if quick else 1_000_000
    stories = ("".join(data.text("stories")) * 10)[:size]
    texts = {"English": stories, "non-ASCII": NON_ASCII * (size // len(NON_ASCII))}
    all_cases = [_encoding(name, [text], 1.0) for name, text in texts.items()]
    sentences = stories[:20_000].replace("\n", " ").split(". ")
    all_cases.append(_encoding(f"{len(sentences)} sentences one by one", sentences, 1.0))
    all_cases.append(_encoding(f"{len(sentences)} sentences in a batch", sentences, 1.0, _batches))
    all_cases += [_encoding(f"{size:,} {name}", [unit * size], None, _beside_tokenizers) for name, unit in WORST.items()]
    training = lambda peers: _training(stories, 400 if quick else 8_000, peers.get("tokenizers"))  # noqa: E731
    size = len(stories.encode())
    return [*all_cases, Case("wordpiece training", "tokenizers", "wordpiece", training, text_bytes=size, against="tokenizers")]


def _encoding(name: str, texts: list[str], target: float | None, encoders: Callable | None = None) -> Case:
    return Case(
        name=f"wordpiece encoding {name}",
        suite="tokenizers",
        subject="wordpiece",
        build=functools.partial(encoders or _beside_all, texts),
        text_bytes=sum(len(text.encode()) for text in texts),
        target=target,
        against="tokenizers",
    )


def _tokenizer():
    return _tokenizer_of(os.environ.get("MINILM_TEST_MINILM_L6"))


@functools.cache
def _tokenizer_of(folder: str | None):
    if folder:
        return tokenizers.load(folder)
    return tokenizers.WordPiece.train_from_chunks(data.text("stories"), vocab_size=8000)


def _beside_tokenizers(texts: list[str], peers: Peers) -> list[Contestant]:
    tokenizer = _tokenizer()
    contestants = [Contestant("minilm", lambda: [tokenizer.encode(text) for text in texts], lambda ids: [np.concatenate(ids)])]
    if (peer := peers.get("tokenizers")) is not None:
        peer_tokenizer = peer.Tokenizer.from_str(tokenizer.to_json())
        # encode_fast leaves the offsets out, as our encode does.
        contestants.append(
            Contestant(
                "tokenizers",
                lambda: [peer_tokenizer.encode_batch_fast([text], add_special_tokens=False)[0] for text in texts],
                lambda encodings: [np.concatenate([np.array(each.ids, np.int64) for each in encodings])],
            )
        )
    return contestants


def _beside_all(texts: list[str], peers: Peers) -> list[Contestant]:
    contestants, tokenizer = _beside_tokenizers(texts, peers), _tokenizer()
    comparable = (lambda ids: [np.concatenate(ids)]) if all(text.isascii() for text in texts) else None
    longest = max(map(len, texts)) + 2  # in tokens, [CLS] and [SEP] among them: none of these texts has more than characters
    if "MINILM_TEST_MINILM_L6" in os.environ and (blingfire := peers.get("blingfire")) is not None:
        model = blingfire.load_model(str(pathlib.Path(blingfire.__file__).with_name("bert_base_tok.bin")))
        unknown = tokenizer.token_to_id("[UNK]")
        contestants.append(
            Contestant(
                "blingfire",
                lambda: [blingfire.text_to_ids(model, text, longest, unk=unknown, no_padding=True) for text in texts],
                comparable,
            )
        )
    if (flash := peers.get("flash-tokenizer")) is not None:
        encoder = _flash_tokenizer(flash, tokenizer, longest)
        without = lambda ids: comparable([each[1:-1] for each in ids])  # noqa: E731 - [CLS] and [SEP]
        contestants.append(
            Contestant(
                "flash-tokenizer",
                lambda: [encoder.encode(text, "longest", longest) for text in texts],
                without if comparable else None,
            )
        )
    return contestants


def _batches(texts: list[str], peers: Peers) -> list[Contestant]:
    tokenizer, longest = _tokenizer(), max(map(len, texts)) + 2
    contestants = [Contestant("minilm", lambda: tokenizer.encode_batch(texts), lambda ids: [np.concatenate(ids)])]
    if (peer := peers.get("tokenizers")) is not None:
        peer_tokenizer = peer.Tokenizer.from_str(tokenizer.to_json())
        run = lambda: [each.ids for each in peer_tokenizer.encode_batch_fast(texts, add_special_tokens=False)]  # noqa: E731
        contestants.append(Contestant("tokenizers", run, lambda ids: [np.concatenate(ids)]))
    if (flash := peers.get("flash-tokenizer")) is not None:
        encoder = _flash_tokenizer(flash, tokenizer, longest)
        padding = tokenizer.pad_token_id  # of which [CLS] and [SEP] are no part either
        words = lambda rows: [np.concatenate([[id for id in row if id != padding][1:-1] for row in rows])]  # noqa: E731
        contestants.append(Contestant("flash-tokenizer", lambda: encoder.batch_encode(texts, "longest", longest, True), words))
    return contestants


def _flash_tokenizer(flash, tokenizer, longest: int):
    """FlashBertTokenizer, which reads its vocabulary from a file, a token a line."""
    with tempfile.TemporaryDirectory() as folder:
        path = pathlib.Path(folder, "vocab.txt")
        tokenizer.save_vocabulary(path)
        return flash.BertTokenizerFlash(str(path), do_lower_case=True, model_max_length=longest).tokenizer


def _training(text: str, size: int, peer) -> list[Contestant]:
    contestants = [Contestant("minilm", lambda: tokenizers.WordPiece.train_from_chunks(text, vocab_size=size))]
    if peer is not None:
        special = list(tokenizers.word_piece.SPECIAL_TOKENS)

        def train():
            peer_tokenizer = peer.Tokenizer(peer.models.WordPiece(unk_token="[UNK]"))
            peer_tokenizer.normalizer = peer.normalizers.BertNormalizer()
            peer_tokenizer.pre_tokenizer = peer.pre_tokenizers.BertPreTokenizer()
            trainer = peer.trainers.WordPieceTrainer(
                vocab_size=size, min_frequency=2, special_tokens=special, show_progress=False
            )
            peer_tokenizer.train_from_iterator(text.splitlines(keepends=True), trainer)

        contestants.append(Contestant("tokenizers", train))
    return contestants
