"""WordPiece beside Hugging Face's `tokenizers` (Rust), with the same vocabulary: a part of `cases_tokenizers`.

The vocabulary is that of all-MiniLM-L6-v2 if the environment variable MINILM_TEST_MINILM_L6 names its folder, else one trained on
the built-in stories. Neither side keeps a cache of words between calls, so there is no difference of cold and warm but the
compilation, which the first, untimed call pays. Ids are compared before anything is timed.
"""

from __future__ import annotations

import os

import numpy as np

from benchmarks.case import Case
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
    all_cases += [_encoding(f"{size:,} {name}", [unit * size], None) for name, unit in WORST.items()]
    training = lambda peers: _training(stories, 400 if quick else 8_000, peers.get("tokenizers"))  # noqa: E731
    size = len(stories.encode())
    return [*all_cases, Case("wordpiece training", "tokenizers", "wordpiece", training, text_bytes=size, against="tokenizers")]


def _encoding(name: str, texts: list[str], target: float | None) -> Case:
    return Case(
        name=f"wordpiece encoding {name}",
        suite="tokenizers",
        subject="wordpiece",
        build=lambda peers: _encoders(texts, peers.get("tokenizers")),
        text_bytes=sum(len(text.encode()) for text in texts),
        target=target,
        against="tokenizers",
    )


def _encoders(texts, peer) -> list[Contestant]:
    folder = os.environ.get("MINILM_TEST_MINILM_L6")
    tokenizer = (
        tokenizers.load(folder) if folder else tokenizers.WordPiece.train_from_chunks(data.text("stories"), vocab_size=8000)
    )
    contestants = [Contestant("minilm", lambda: [tokenizer.encode(text) for text in texts], lambda ids: [np.concatenate(ids)])]
    if peer is not None:
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
